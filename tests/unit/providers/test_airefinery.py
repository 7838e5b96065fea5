"""AI Refinery's SDK: what it loses is found again or told (reference 004). With the SDK itself where it is there."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from headwater.errors import (
    ConfigError,
    InputError,
    ProviderError,
    ProviderProtocolError,
    ProviderRejected,
    ProviderTimeout,
    ProviderTruncated,
    ProviderUnreachable,
    StreamEnded,
    UnsupportedField,
)
from headwater.events import Done, Event, Metadata, Reasoning, Text, ToolCall, Usage
from headwater.providers import airefinery
from headwater.providers.airefinery import AIRefinery, check_sdk
from headwater.providers.options import ProviderOptions
from headwater.request import ChatRequest
from headwater.tables import ProviderTable
from tests.conformance.providers.kit import KeepingWriter, chat
from tests.upstream import Script, Upstream, closed_url

from . import airefinery_sdk


def _installed() -> bool:
    try:
        check_sdk()
    except ConfigError:
        return False
    return True


INSTALLED = _installed()


def stand_in(options: ProviderOptions) -> Any:
    return airefinery_sdk.AsyncAIRefinery(
        options.api_key, base_url=options.base_url, default_headers=dict(options.headers)
    )


@pytest.fixture(params=["stand-in", *(["sdk"] if INSTALLED else [])])
def connect(request: pytest.FixtureRequest) -> Callable[[ProviderOptions], Any] | None:
    return stand_in if request.param == "stand-in" else None


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream(api_key="k") as server:
        yield server


Make = Callable[..., AIRefinery]


@pytest.fixture
def make(connect: Callable[[ProviderOptions], Any] | None, upstream: Upstream) -> Make:
    def made(url: str = "", api_key: str = "k", **table: Any) -> AIRefinery:
        options = ProviderOptions(
            name="air",
            base_url=url or upstream.url,
            api_key=api_key,
            headers={"x-team": "t"},
            table=ProviderTable(**table),
        )
        return AIRefinery(options, connect=connect)

    return made


async def run(provider: AIRefinery, request: ChatRequest) -> KeepingWriter:
    writer = KeepingWriter()
    await provider.producer(request, "fake-1").run(writer)
    return writer


async def failure(provider: AIRefinery, request: ChatRequest) -> tuple[ProviderError, KeepingWriter]:
    writer = KeepingWriter()
    with pytest.raises(ProviderError) as caught:
        await provider.producer(request, "fake-1").run(writer)
    assert caught.value.provider == "air"
    return caught.value, writer


def text_of(writer: KeepingWriter) -> str:
    return "".join(event.text for event in writer.of(Text))


async def test_a_stream(make: Make, upstream: Upstream) -> None:
    """The original forces `stream=False` (reference 004)."""
    writer = await run(make(), chat("air/fake-1", {"temperature": 0.5}, tokens=9))
    assert text_of(writer) == Script(tokens=9).answer()
    assert len(writer.of(Text)) == 9
    assert [type(event) for event in writer.events[-2:]] == [Usage, Done]
    sent = upstream.requests[-1]
    assert (sent.body["stream"], sent.body["stream_options"], sent.body["temperature"]) == (
        True,
        {"include_usage": True},
        0.5,
    )
    assert sent.headers["x-team"] == "t"
    assert writer.connections > 0


async def test_tool_calls(make: Make) -> None:
    call = {"name": "weather", "arguments": {"city": "Zürich"}, "id": "c"}
    writer = await run(make(), chat(tool_calls=[call]))
    assert "".join(event.arguments for event in writer.of(ToolCall)) == '{"city":"Zürich"}'
    assert writer.of(Done) == [Done("tool_calls")]


async def test_whole_answers_keep_their_reasoning(make: Make, upstream: Upstream) -> None:
    """It drops `reasoning_content` (reference 004): in its streamed types only."""
    provider = make(stream=False)
    request = chat("m", {"stream_options": {"include_usage": True}}, tokens=3, reasoning="let me see")
    writer = await run(provider, request)
    assert "".join(event.text for event in writer.of(Reasoning)) == "let me see"
    assert text_of(writer) == Script(tokens=3).answer()
    assert [type(event) for event in writer.events[-2:]] == [Usage, Done]
    assert upstream.requests[-1].body["stream"] is False
    assert "stream_options" not in upstream.requests[-1].body


@pytest.mark.parametrize("fault", ["comments", "cut_clean", "no_finish"])
async def test_a_stream_that_ends_early_is_no_success(make: Make, fault: str) -> None:
    """An SSE comment silently ends its stream (reference 004), as does a body that is cut: portkey #1797."""
    error, _ = await failure(make(), chat(tokens=8, fault=fault))
    assert type(error) is ProviderTruncated


async def test_an_unknown_finish_reason_does_not_raise(make: Make) -> None:
    """It raises (reference 004), which would lose the end of an answer that is whole."""
    writer = await run(make(), chat(tokens=4, finish_reason="eos_token"))
    assert text_of(writer) == Script(tokens=4).answer()
    assert writer.of(Done) == [Done("stop")]
    assert writer.of(Metadata)[-1] == Metadata({"finish_reason": "eos_token"})


@pytest.mark.parametrize(
    ("fault", "error", "status"),
    [
        ("status:401", ProviderRejected, 401),
        ("status:429+retry_after:7", ProviderRejected, 429),
        ("status:500", ProviderRejected, 500),
        ("error_mid", ProviderRejected, 500),
        ("error_event", ProviderRejected, 500),
        ("garbage", ProviderProtocolError, 502),
        ("not_a_chunk", ProviderProtocolError, 502),
        ("refuse", ProviderUnreachable, 502),
        ("cut_mid_frame", ProviderTruncated, 502),
        ("rst_mid", ProviderTruncated, 502),
    ],
)
async def test_errors_are_typed(make: Make, fault: str, error: type[ProviderError], status: int) -> None:
    found, _ = await failure(make(), chat(tokens=6, fault=fault))
    assert (type(found), found.http_status) == (error, status)
    if status == 429:
        assert found.retry_after_s == 7
    if fault.startswith("error"):
        assert "had an error while processing" in found.message


async def test_nobody_there(make: Make) -> None:
    """The SDK takes it for a wrong key; it may pass, so it is tried again."""
    provider = make(closed_url())
    error, _ = await failure(provider, chat())
    assert (error.message, error.retryable) == ("the AI Refinery SDK cannot start (AuthenticationError)", True)


async def test_a_server_that_went_away(connect: Callable[[ProviderOptions], Any] | None) -> None:
    async with Upstream() as upstream:
        provider = AIRefinery(ProviderOptions(name="air", base_url=upstream.url, api_key="k"), connect=connect)
        await provider.client()
    error, _ = await failure(provider, chat())
    assert (type(error), error.message) == (ProviderUnreachable, "the provider refused the connection")


async def test_models(make: Make) -> None:
    assert await make().models() == ["fake-1", "fake-mini"]
    assert await make(models=["a"]).models() == ["a"]
    with pytest.raises(ProviderError, match="cannot start"):
        await make(api_key="wrong").models()


async def test_a_list_that_is_refused(make: Make, upstream: Upstream) -> None:
    provider = make()
    await provider.client()
    upstream._api_key = "another"
    with pytest.raises(ProviderRejected) as caught:
        await provider.models()
    assert (caught.value.http_status, caught.value.provider) == (401, "air")


async def test_a_cancellation_closes_the_upstream_socket(make: Make, upstream: Upstream) -> None:
    """P4; upstream left running after the client is gone: litellm #30244."""
    writer = KeepingWriter()
    task = asyncio.create_task(make().producer(chat(tokens=8, fault="hang_mid"), "fake-1").run(writer))
    await writer.until(lambda held: held.of(Text))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await upstream.until(lambda: upstream.aborted == 1 and upstream.active == 0)


async def test_a_stream_that_ended_elsewhere_closes_the_upstream_socket(make: Make, upstream: Upstream) -> None:
    class Ending(KeepingWriter):
        def write(self, events: Sequence[Event]) -> bool:
            flowing = super().write(events)
            self.ended = bool(self.of(Text))
            return flowing

    with pytest.raises(StreamEnded):
        await make().producer(chat(tokens=8, fault="hang_mid"), "fake-1").run(Ending())
    await upstream.until(lambda: upstream.aborted == 1 and upstream.active == 0)


async def test_a_slow_log_is_waited_for(make: Make) -> None:
    writer = KeepingWriter(capacity=2)
    task = asyncio.create_task(make().producer(chat(tokens=6), "fake-1").run(writer))
    await writer.until(lambda held: held.drains)
    writer.release()
    await task
    assert text_of(writer) == Script(tokens=6).answer()


# What does not depend on which SDK it is.


def options(**table: Any) -> ProviderOptions:
    return ProviderOptions(name="air", base_url="http://h", api_key="hush", table=ProviderTable(**table))


@pytest.mark.parametrize("name", ["extra_headers", "extra_body", "timeout", "messages", "model"])
def test_the_sdks_own_arguments_are_not_the_callers(name: str) -> None:
    with pytest.raises(UnsupportedField) as caught:
        AIRefinery(options(), connect=stand_in).producer(ChatRequest("m", [], {name: {}}), "m")
    assert caught.value.param == name


def test_stream_options_of_a_wrong_type() -> None:
    with pytest.raises(InputError):
        AIRefinery(options(), connect=stand_in).producer(ChatRequest("m", [], {"stream_options": 1}), "m")


async def test_the_client_is_made_once_and_off_the_loop() -> None:
    """Its constructor makes blocking HTTP calls (reference 004)."""
    threads: list[str] = []

    def connect(_: ProviderOptions) -> object:
        threads.append(threading.current_thread().name)
        return object()

    provider = AIRefinery(options(), connect=connect)
    first, second = await asyncio.gather(provider.client(), provider.client())
    assert first is second
    assert len(threads) == 1
    assert threads[0] != threading.current_thread().name
    await provider.close()


async def test_a_client_that_cannot_start_is_asked_for_again() -> None:
    failures = [ImportError("no module"), OSError("no network")]

    def connect(_: ProviderOptions) -> object:
        if failures:
            raise failures.pop()
        return "client"

    provider = AIRefinery(options(), connect=connect)
    for _ in range(2):
        with pytest.raises(ProviderError, match="cannot start"):
            await provider.client()
    assert await provider.client() == "client"


async def test_closing_gives_up_a_client_that_is_being_made() -> None:
    started, go_on = threading.Event(), threading.Event()

    def connect(_: ProviderOptions) -> None:
        started.set()
        go_on.wait(10)

    provider = AIRefinery(options(), connect=connect)
    waiting = asyncio.create_task(provider.client())
    await asyncio.to_thread(started.wait, 10)
    await provider.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go_on.set()
    await AIRefinery(options(), connect=connect).close()


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (TimeoutError("SSE idle timeout"), ProviderTimeout),
        (RuntimeError("Upstream error payload: [broken"), ProviderRejected),
        (RuntimeError("anything"), ProviderProtocolError),
        (RuntimeError("Invalid chunk payload (strict streaming): [1]"), ProviderProtocolError),
        (RuntimeError("Invalid chunk payload (strict streaming): {'a': nan}"), ProviderProtocolError),
        (RuntimeError("Invalid chunk payload (strict streaming): {'choices': 3}"), ProviderProtocolError),
        (RuntimeError("Invalid chunk payload (strict streaming): {'choices': [3]}"), ProviderProtocolError),
    ],
    ids=str,
)
async def test_what_else_the_sdk_may_raise(raised: Exception, error: type[ProviderError]) -> None:
    class Completions:
        async def create(self, **_: object) -> object:
            raise raised

    class Client:
        class chat:  # noqa: N801 -- as the SDK names it
            completions = Completions()

    found, _ = await failure(AIRefinery(options(), connect=lambda _: Client()), chat())
    assert type(found) is error
    assert "hush" not in found.message


def test_what_it_needs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"needs Python 3\.12, this is 3\.11"):
        check_sdk((3, 11))
    monkeypatch.setattr(airefinery, "_DISTRIBUTION", "no-such-distribution")
    with pytest.raises(ConfigError, match="is not installed"):
        check_sdk((3, 12))
    monkeypatch.setattr(airefinery, "_DISTRIBUTION", "pytest")
    check_sdk((3, 12))
    monkeypatch.undo()
    if not INSTALLED:
        with pytest.raises(ConfigError, match='type = "airefinery" needs no SDK'):
            AIRefinery(options())


async def test_the_sdks_client_is_made_from_the_options(monkeypatch: pytest.MonkeyPatch, upstream: Upstream) -> None:
    monkeypatch.setattr(airefinery, "check_sdk", lambda: None)
    monkeypatch.setitem(sys.modules, "air", airefinery_sdk)
    provider = AIRefinery(ProviderOptions(name="air", base_url=upstream.url, api_key="k"))
    assert await provider.models() == ["fake-1", "fake-mini"]

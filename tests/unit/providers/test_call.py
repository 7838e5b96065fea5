"""The provider over HTTP, against the scripted server on real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from headwater.errors import (
    InputError,
    ProviderProtocolError,
    ProviderRejected,
    ProviderTimeout,
    ProviderTruncated,
    ProviderUnreachable,
    StreamEnded,
)
from headwater.events import Done, Metadata, Status, Text, Usage, text_of
from headwater.providers import HttpProvider, HttptoolsTransport, Ollama, OpenAIChat, RetryPolicy, call
from headwater.request import ChatRequest
from tests.conformance.providers.kit import KeepingWriter, chat
from tests.upstream import Script, Upstream, closed_url


class Waits:
    """Sleeps that only note how long."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as server:
        yield server


@pytest.fixture
async def transport() -> AsyncIterator[HttptoolsTransport]:
    transport = HttptoolsTransport()
    yield transport
    await transport.close()


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def provider(upstream: Upstream, transport: HttptoolsTransport, waits: Waits) -> HttpProvider:
    retry = RetryPolicy(draw=lambda: 1.0, sleep=waits.sleep, error_body_timeout_s=0.2)
    return HttpProvider("up", OpenAIChat(upstream.openai_url, api_key="hush"), transport, retry=retry)


async def run(provider: HttpProvider, request: ChatRequest, writer: KeepingWriter | None = None) -> KeepingWriter:
    writer = writer or KeepingWriter()
    async with asyncio.timeout(10):
        await provider.producer(request, "fake-1").run(writer)
    return writer


async def test_an_answer(provider: HttpProvider, upstream: Upstream) -> None:
    writer = await run(provider, chat(tokens=30, reasoning="hm"))
    assert text_of(writer.events) == Script(tokens=30).answer()
    assert isinstance(writer.events[0], Metadata)
    assert [type(event) for event in writer.events[-2:]] == [Usage, Done]
    assert writer.connections == 1
    assert upstream.requests[0].headers["authorization"] == "Bearer hush"


async def test_one_read_is_one_batch(provider: HttpProvider) -> None:
    """A write per event costs three times as much."""
    writer = await run(provider, chat(tokens=200, fault="one_write"))
    assert len(writer.events) > 200
    assert len(writer.batches) < 10


async def test_comments_are_life(provider: HttpProvider) -> None:
    """Upstream comments do not reset the watchdog: mattermost-plugin-agents #985."""
    writer = await run(provider, chat(tokens=4, delay_ms=5, fault="comments+chunk_bytes:26"))
    assert writer.touches > 3


async def test_ollama(upstream: Upstream, transport: HttptoolsTransport) -> None:
    provider = HttpProvider("local", Ollama(upstream.url), transport)
    writer = await run(provider, chat(tokens=5))
    assert text_of(writer.events) == Script(tokens=5).answer()
    with pytest.raises(InputError, match="logit_bias"):
        provider.producer(chat(params={"logit_bias": {"1": 1}}), "m")
    await provider.close()


class TestRetry:
    @pytest.mark.parametrize(
        "fault",
        ["refuse", "cut_before_headers", "status:500", "status:429", "html", "error_200", "garbage_http", "error_mid",
         "cut_mid_frame", "garbage"],
    )  # fmt: skip
    async def test_before_the_first_content(
        self, provider: HttpProvider, upstream: Upstream, waits: Waits, fault: str
    ) -> None:
        """Lifecycle events must not end the time for another try: bifrost #5395. Nor is it dead on arrival: #4788."""
        writer = await run(provider, chat(tokens=8, fault=fault, fault_times=2, fault_after=0, key="k"))
        assert text_of(writer.events) == Script(tokens=8).answer()
        assert upstream.attempts_for("k") == 3
        assert [status.attempt for status in writer.of(Status)] == [2, 3]
        assert {status.stage for status in writer.of(Status)} == {"retrying"}
        assert all(status.message for status in writer.of(Status))
        assert waits.seconds == [0.5, 1.0]

    async def test_attempts_are_bounded(self, provider: HttpProvider, upstream: Upstream) -> None:
        writer = KeepingWriter()
        with pytest.raises(ProviderUnreachable) as caught:
            await run(provider, chat(fault="refuse"), writer)
        assert upstream.attempts == 3
        assert caught.value.provider == "up"
        assert [type(event) for event in writer.events] == [Status, Status]

    @pytest.mark.parametrize("fault", ["cut_mid_frame", "rst_mid", "garbage", "error_mid", "cut_clean"])
    async def test_never_after_the_first_content(self, provider: HttpProvider, upstream: Upstream, fault: str) -> None:
        writer = KeepingWriter()
        with pytest.raises((ProviderTruncated, ProviderProtocolError, ProviderRejected)):
            await run(provider, chat(tokens=10, fault=fault, fault_after=1), writer)
        assert upstream.attempts == 1
        assert text_of(writer.events) == Script(tokens=10).pieces()[0]
        assert not writer.of(Status)

    @pytest.mark.parametrize("status", [400, 401, 403, 404])
    async def test_not_what_cannot_get_better(self, provider: HttpProvider, upstream: Upstream, status: int) -> None:
        with pytest.raises(ProviderRejected) as caught:
            await run(provider, chat(fault=f"status:{status}"))
        assert (caught.value.http_status, upstream.attempts) == (status, 1)
        assert "hush" not in str(caught.value)

    async def test_retry_after_is_honoured(self, provider: HttpProvider, waits: Waits) -> None:
        await run(provider, chat(fault="status:429+retry_after:3", fault_times=1))
        assert waits.seconds == [3.0]

    async def test_a_short_retry_after_does_not_shorten_the_wait(self, provider: HttpProvider, waits: Waits) -> None:
        await run(provider, chat(fault="status:429+retry_after:0", fault_times=1))
        assert waits.seconds == [0.5]

    async def test_a_long_retry_after_is_the_callers(self, provider: HttpProvider, upstream: Upstream) -> None:
        with pytest.raises(ProviderRejected) as caught:
            await run(provider, chat(fault="status:429+retry_after:3600"))
        assert (caught.value.retry_after_s, upstream.attempts) == (3600.0, 1)

    def test_waits_double_up_to_a_bound_and_are_spread(self) -> None:
        error = ProviderUnreachable("no")
        steady = RetryPolicy(attempts=9, draw=lambda: 1.0)
        assert [steady.delay_s(n, error) for n in (1, 2, 3, 5, 8, 9)] == [0.5, 1.0, 2.0, 8.0, 8.0, None]
        assert RetryPolicy(draw=lambda: 0.0).delay_s(1, error) == 0.25

    async def test_the_default_waits_are_real(self, upstream: Upstream, transport: HttptoolsTransport) -> None:
        provider = HttpProvider("up", OpenAIChat(upstream.openai_url), transport, retry=RetryPolicy(first_delay_s=0.01))
        await run(provider, chat(fault="status:500", fault_times=1))
        assert upstream.attempts == 2


class TestErrorBodies:
    async def test_that_hang_are_not_waited_for(self, provider: HttpProvider, upstream: Upstream) -> None:
        with pytest.raises(ProviderRejected) as caught:
            await run(provider, chat(fault="status:401+hang_end+chunk_bytes:10"))
        assert caught.value.http_status == 401
        await upstream.until(lambda: upstream.active == 0)

    async def test_that_are_cut_still_count(self, provider: HttpProvider) -> None:
        with pytest.raises(ProviderRejected) as caught:
            await run(provider, chat(fault="status:403+content_length_short+chunk_bytes:10"))
        assert caught.value.http_status == 403

    async def test_that_are_long_are_cut(self, provider: HttpProvider, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(call, "_ERROR_BODY_BYTES", 8)
        with pytest.raises(ProviderRejected) as caught:
            await run(provider, chat(fault="status:404+chunk_bytes:4"))
        assert caught.value.http_status == 404


class TestBackpressure:
    async def test_a_slow_log_stops_the_reading(self, provider: HttpProvider, upstream: Upstream) -> None:
        tokens = 60_000
        writer = KeepingWriter(capacity=10)
        running = asyncio.create_task(run(provider, chat(tokens=tokens), writer))
        await writer.until(lambda writer: writer.drains)
        await asyncio.sleep(0.05)
        held = len(writer.events)
        await asyncio.sleep(0.05)
        assert len(writer.events) == held < tokens
        assert upstream.active == 1
        writer.release()
        await running
        assert len(writer.of(Text)) == tokens

    async def test_a_fault_while_the_log_is_slow(self, provider: HttpProvider, transport: HttptoolsTransport) -> None:
        writer = KeepingWriter(capacity=3)
        running = asyncio.create_task(run(provider, chat(tokens=10, fault="hang_mid"), writer))
        await writer.until(lambda writer: writer.drains)
        await transport.close()
        writer.release()
        with pytest.raises(ProviderUnreachable):
            await running


class TestLeaving:
    @pytest.mark.parametrize("fault", ["hang_before_headers", "hang_mid"])
    async def test_a_cancel_reaches_the_upstream(self, provider: HttpProvider, upstream: Upstream, fault: str) -> None:
        """Upstream left running after the client is gone: litellm #30244, PR #31499."""
        running = asyncio.create_task(run(provider, chat(fault=fault)))
        await upstream.until(lambda: upstream.active == 1)
        running.cancel()
        await upstream.until(lambda: upstream.aborted == 1 and upstream.open_connections == 0)
        with pytest.raises(asyncio.CancelledError):
            await running

    async def test_a_cancel_between_attempts(self, upstream: Upstream, transport: HttptoolsTransport) -> None:
        provider = HttpProvider("up", OpenAIChat(upstream.openai_url), transport, retry=RetryPolicy(first_delay_s=60))
        writer = KeepingWriter()
        running = asyncio.create_task(run(provider, chat(fault="status:500"), writer))
        await writer.until(lambda writer: writer.events)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert upstream.attempts == 1

    async def test_a_stream_that_ended_lets_go_of_the_upstream(
        self, provider: HttpProvider, upstream: Upstream
    ) -> None:
        writer = KeepingWriter()
        running = asyncio.create_task(run(provider, chat(tokens=1000, delay_ms=2), writer))
        await writer.until(lambda writer: writer.events)
        writer.ended = True
        with pytest.raises(StreamEnded):
            await running
        await upstream.until(lambda: upstream.aborted == 1)

    async def test_a_stream_that_ended_before_a_fault(self, provider: HttpProvider) -> None:
        writer = KeepingWriter()
        writer.ended = True
        with pytest.raises(StreamEnded):
            await run(provider, chat(fault="error_mid+content_length"), writer)

    async def test_the_connection_is_kept_after_an_answer(self, provider: HttpProvider, upstream: Upstream) -> None:
        for _ in range(3):
            await run(provider, chat(tokens=3))
        assert upstream.open_connections == 1

    async def test_a_body_that_never_ends_after_its_answer(
        self, provider: HttpProvider, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(call, "_TAIL_S", 0.05)
        writer = await run(provider, chat(tokens=3, fault="hang_end"))
        assert isinstance(writer.events[-1], Done)
        await upstream.until(lambda: upstream.open_connections == 0)

    async def test_bytes_after_an_answer_are_ignored(self, provider: HttpProvider, upstream: Upstream) -> None:
        writer = await run(provider, chat(tokens=3, fault="cut_mid_frame+chunk_bytes:16", fault_after=99))
        assert isinstance(writer.events[-1], Done)
        await upstream.until(lambda: upstream.open_connections == 0)


class TestModels:
    async def test_the_list(self, provider: HttpProvider) -> None:
        assert await provider.models() == ["fake-1", "fake-mini"]

    async def test_errors_name_the_provider(self, transport: HttptoolsTransport, upstream: Upstream) -> None:
        cases: list[tuple[Any, type[Exception]]] = [
            (OpenAIChat(closed_url()), ProviderUnreachable),
            (OpenAIChat(upstream.url), ProviderRejected),
            (Ollama(f"{upstream.url}/v1"), ProviderRejected),
        ]
        for protocol, error in cases:
            with pytest.raises(error) as caught:
                await HttpProvider("up", protocol, transport).models()
            assert getattr(caught.value, "provider") == "up"  # noqa: B009 -- on each of these

    async def test_a_list_that_never_comes(self, transport: HttptoolsTransport) -> None:
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen()
            url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
            with pytest.raises(ProviderTimeout):
                await HttpProvider("up", OpenAIChat(url), transport, models_timeout_s=0.05).models()

    async def test_a_list_without_end(self, provider: HttpProvider, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(call, "_FETCH_BYTES", 10)
        with pytest.raises(ProviderProtocolError, match="larger"):
            await provider.models()

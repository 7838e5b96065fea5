"""One attempt over HTTP, against the scripted server on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from headwater.errors import (
    ProviderProtocolError,
    ProviderRejected,
    ProviderTruncated,
    ProviderUnreachable,
    StreamEnded,
)
from headwater.events import Done, Event, Metadata, Text, Usage, text_of
from headwater.providers import HttpCall, HttpProvider, HttptoolsTransport, Ollama, OpenAIChat, call
from headwater.providers.ports import Positioned, Receiver, UpstreamRequest
from headwater.request import ChatRequest
from tests.conformance.providers.kit import KeepingWriter, chat
from tests.upstream import Script, Upstream

from .kit import DONE, STOP, delta, sse


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
def provider(upstream: Upstream, transport: HttptoolsTransport) -> HttpProvider:
    protocol = OpenAIChat(upstream.openai_url, api_key="hush")
    return HttpProvider("up", protocol, transport, error_body_timeout_s=0.2)


async def run(provider: HttpProvider, request: ChatRequest, writer: KeepingWriter | None = None) -> KeepingWriter:
    writer = writer or KeepingWriter()
    async with asyncio.timeout(60):
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


class TestFailures:
    @pytest.mark.parametrize(
        ("fault", "error"),
        [
            ("refuse", ProviderUnreachable),
            ("cut_before_headers", ProviderUnreachable),
            ("status:500", ProviderRejected),
            ("html", ProviderRejected),
            ("error_200", ProviderRejected),
            ("garbage_http", ProviderProtocolError),
        ],
    )
    async def test_before_an_answer(
        self, provider: HttpProvider, upstream: Upstream, fault: str, error: type[ProviderRejected]
    ) -> None:
        writer = KeepingWriter()
        with pytest.raises(error) as caught:
            await run(provider, chat(fault=fault), writer)
        assert (caught.value.provider, upstream.attempts) == ("up", 1)
        assert (writer.of(Text), writer.of(Done)) == ([], [])

    @pytest.mark.parametrize("fault", ["cut_mid_frame", "rst_mid", "garbage", "error_mid", "cut_clean"])
    async def test_after_content(self, provider: HttpProvider, fault: str) -> None:
        writer = KeepingWriter()
        with pytest.raises((ProviderTruncated, ProviderProtocolError, ProviderRejected)):
            await run(provider, chat(tokens=10, fault=fault, fault_after=1), writer)
        assert text_of(writer.events) == Script(tokens=10).pieces()[0]

    async def test_a_key_is_never_told(self, provider: HttpProvider) -> None:
        with pytest.raises(ProviderRejected) as caught:
            await run(provider, chat(fault="status:401"))
        assert "hush" not in str(caught.value)

    async def test_each_run_decodes_anew(self, provider: HttpProvider) -> None:
        """Every retry after an in-stream error is dead on arrival: bifrost #4788."""
        producer = provider.producer(chat(tokens=4, fault="error_mid", fault_after=1, fault_times=1, key="k"), "fake-1")
        with pytest.raises(ProviderRejected):
            await producer.run(KeepingWriter())
        writer = KeepingWriter()
        await producer.run(writer)
        assert text_of(writer.events) == Script(tokens=4).answer()

    @pytest.mark.parametrize("close", [[], [Text("a")]])
    async def test_a_decoder_that_gives_no_end(
        self, upstream: Upstream, transport: HttptoolsTransport, close: list[Event]
    ) -> None:
        """A plug-in's mistake is a typed error at once, not silence until a watchdog fires."""

        class Endless:
            position = 7

            @property
            def pending(self) -> list[Event]:
                return []

            def feed(self, data: bytes) -> list[Event]:
                return []

            def close(self) -> list[Event]:
                return close

        protocol = OpenAIChat(upstream.openai_url)
        producer = HttpCall("up", protocol, transport, protocol.chat(chat(tokens=1), "m"), decoder=Endless())
        writer = KeepingWriter()
        async with asyncio.timeout(10):
            with pytest.raises(ProviderTruncated):
                await producer.run(writer)
        assert writer.events == close
        assert isinstance(producer, Positioned)
        assert producer.position == 7


async def test_what_was_left_out_is_told(upstream: Upstream, transport: HttptoolsTransport) -> None:
    protocol = OpenAIChat(upstream.openai_url)
    producer = HttpCall("up", protocol, transport, protocol.chat(chat(tokens=1), "m"), dropped=["seed"])
    assert producer.position is None
    writer = KeepingWriter()
    await producer.run(writer)
    assert writer.events[0] == Metadata({"dropped": ["seed"]})


class Manual:
    """A transport, and its exchange, whose callbacks the test calls."""

    def __init__(self) -> None:
        self.aborts = 0

    def open(self, request: UpstreamRequest, receiver: Receiver) -> Manual:
        self.receiver = receiver
        return self

    async def close(self) -> None:
        pass

    def abort(self) -> None:
        self.aborts += 1

    def pause(self) -> None:
        pass

    def resume(self) -> None:
        pass


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
        monkeypatch.setattr(call, "ERROR_BODY_BYTES", 8)
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

    async def test_a_fault_in_the_read_that_was_too_much(self, provider: HttpProvider) -> None:
        writer = KeepingWriter(capacity=3)
        with pytest.raises(ProviderRejected):
            await run(provider, chat(tokens=10, fault="error_mid+one_write"), writer)
        assert (len(writer.of(Text)), writer.drains) == (5, 0)

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

    async def test_the_rest_of_a_read_is_ignored_too(self) -> None:
        transport = Manual()
        protocol = OpenAIChat("http://h")
        writer = KeepingWriter()
        running = asyncio.create_task(HttpCall("up", protocol, transport, protocol.chat(chat(), "m")).run(writer))
        await asyncio.sleep(0)
        transport.receiver.head(200, {})
        transport.receiver.data(sse(delta(content="a"), STOP, DONE))
        transport.receiver.data(sse(delta(content="b")))
        await running
        assert text_of(writer.events) == "a"
        transport.receiver.end()
        assert transport.aborts == 0

    async def test_bytes_after_an_answer_are_ignored(self, provider: HttpProvider, upstream: Upstream) -> None:
        writer = await run(provider, chat(tokens=3, fault="cut_mid_frame+chunk_bytes:16", fault_after=99))
        assert isinstance(writer.events[-1], Done)
        await upstream.until(lambda: upstream.open_connections == 0)


class Broken:
    """A plug-in's protocol with a bug in one place."""

    def __init__(self, place: str, upstream: Upstream) -> None:
        self.pending: list[Event] = []
        self._place = place
        self._inner = OpenAIChat(upstream.openai_url)

    def __getattr__(self, name: str) -> Any:
        if name == self._place:
            raise KeyError("a bug")
        return getattr(self._inner, name)

    def decoder(self) -> Broken:
        return self

    def feed(self, data: bytes) -> list[Event]:
        if self._place == "feed":
            raise KeyError("a bug")
        return []

    def close(self) -> list[Event]:
        raise KeyError("a bug")


@pytest.mark.parametrize(
    ("place", "script", "error"),
    [
        ("feed", {"tokens": 3}, ProviderProtocolError),
        ("close", {"tokens": 3}, ProviderProtocolError),
        ("error", {"fault": "status:429"}, ProviderRejected),
    ],
)
async def test_a_protocols_own_fault_ends_the_attempt(
    upstream: Upstream,
    transport: HttptoolsTransport,
    caplog: pytest.LogCaptureFixture,
    place: str,
    script: dict[str, Any],
    error: type[Exception],
) -> None:
    """Raised into the transport it would be nobody's, and the attempt would last until a watchdog fires."""
    provider = HttpProvider("up", Broken(place, upstream), transport)  # type: ignore[arg-type]
    with pytest.raises(error) as caught:
        await run(provider, chat(**script))
    assert caught.value.provider == "up"  # type: ignore[attr-defined]
    assert caught.value.http_status == (429 if place == "error" else 502)  # type: ignore[attr-defined]
    assert [record.levelname for record in caplog.records] == ["ERROR"]

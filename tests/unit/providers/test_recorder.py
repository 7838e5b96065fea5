from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from headwater.errors import ProviderError, ProviderUnreachable
from headwater.providers import HttptoolsTransport, OpenAIChat, recorder
from headwater.providers.ports import UpstreamRequest
from headwater.providers.recorder import RecordingTransport, Tap
from headwater.providers.recordings import Read
from tests.conformance.providers.kit import chat
from tests.upstream import Script, Upstream

KEY = "sk-very-secret-0123456789"


class Receiver:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self.over: asyncio.Future[ProviderError | None] = asyncio.get_running_loop().create_future()

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        self.status = status

    def data(self, chunk: bytes) -> None:
        self.body += chunk

    def end(self) -> None:
        self.over.set_result(None)

    def lost(self, error: ProviderError) -> None:
        self.over.set_result(error)


def request(*, body: bytes = b'{"model":"m"}', **headers: str) -> UpstreamRequest:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return UpstreamRequest("POST", "http://127.0.0.1:9/v1", named, body)


def tap(receiver: Receiver, asked: UpstreamRequest | None = None, *, times: list[float] | None = None) -> Tap:
    clock = iter(times) if times is not None else None
    return Tap(asked or request(), receiver, (lambda: next(clock)) if clock is not None else lambda: 0.0)


async def ask(upstream: Upstream, **script: object) -> tuple[Tap, Receiver]:
    protocol, transport = OpenAIChat(upstream.openai_url, api_key=KEY), RecordingTransport(HttptoolsTransport())
    try:
        for built in (protocol.list_models(), protocol.chat(chat(**script), "fake-1")):
            receiver = Receiver()
            transport.open(built, receiver)
            async with asyncio.timeout(10):
                await receiver.over
        assert transport.newest is not None
        assert transport.recording("openai_chat", whole=True) == transport.newest.recording("openai_chat", whole=True)
        return transport.newest, receiver
    finally:
        await transport.close()


async def test_an_answer_is_handed_on_and_kept() -> None:
    async with Upstream() as upstream:
        exchange, receiver = await ask(upstream, tokens=12)
    recording = exchange.recording("openai_chat", whole=False, model="fake-1", recorded_at="2026-01-01", note="n")
    assert recording is not None
    header = recording.header
    assert b"".join(read.data for read in recording.reads) == receiver.body
    assert Script(tokens=12).pieces()[0].encode() in receiver.body
    assert (header.status, header.cut, header.protocol, header.request) == (200, False, "openai_chat", None)
    assert (header.model, header.recorded_at, header.note) == ("fake-1", "2026-01-01", "n")
    assert header.content_type.startswith("text/event-stream")
    times = [read.t_ms for read in recording.reads]
    assert times == sorted(times)
    assert times[0] >= 0


async def test_an_error_status_is_an_answer() -> None:
    async with Upstream() as upstream:
        exchange, receiver = await ask(upstream, fault="status:429+retry_after:7")
    recording = exchange.recording("openai_chat", whole=False)
    assert recording is not None
    assert (receiver.status, recording.header.status, recording.header.cut) == (429, 429, False)
    assert recording.header.headers["retry-after"] == "7"


async def test_a_connection_that_breaks() -> None:
    async with Upstream() as upstream:
        exchange, receiver = await ask(upstream, tokens=9, fault="cut_mid_frame")
    recording = exchange.recording("openai_chat", whole=False)
    assert recording is not None
    assert recording.header.cut
    assert receiver.over.result() is not None


async def test_nothing_is_there_without_a_response() -> None:
    assert RecordingTransport(HttptoolsTransport()).recording("openai_chat", whole=True) is None
    receiver = Receiver()
    exchange = tap(receiver)
    exchange.lost(ProviderUnreachable("refused"))
    assert exchange.recording("openai_chat", whole=False) is None
    assert isinstance(receiver.over.result(), ProviderUnreachable)


async def test_times_count_from_the_head() -> None:
    exchange = tap(Receiver(), times=[100.0, 100.25, 101.0004])
    exchange.head(200, {})
    exchange.data(b"a")
    exchange.data(b"b")
    recording = exchange.recording("ollama", whole=True)
    assert recording is not None
    assert recording.reads == [Read(250.0, b"a"), Read(1000.4, b"b")]
    assert not recording.header.cut  # whole: the rest of the body was not waited for


@pytest.mark.parametrize(
    "name",
    ["set-cookie", "authorization", "openai-organization", "anthropic-organization-id", "cf-ray", "x-api-key", "via"],
)
async def test_headers_that_name_the_caller_are_not_kept(name: str) -> None:
    exchange = tap(Receiver())
    exchange.head(200, {name: "secret", "x-request-id": "r", "anthropic-ratelimit-requests-remaining": "5"})
    recording = exchange.recording("openai_chat", whole=True)
    assert recording is not None
    assert recording.header.headers == {"x-request-id": "r", "anthropic-ratelimit-requests-remaining": "5"}


@pytest.mark.parametrize("at", range(len(KEY) + 1))
async def test_a_key_that_the_answer_repeats_is_starred(at: int) -> None:
    """Also where a read ends in its middle."""
    exchange = tap(Receiver(), request(authorization=f"Bearer {KEY}", x_trace="abcdefghijk"))
    exchange.head(401, {})
    exchange.data(b"wrong key " + KEY[:at].encode())
    exchange.data(KEY[at:].encode() + b" abcdefghijk.")
    recording = exchange.recording("openai_chat", whole=False)
    assert recording is not None
    body = b"".join(read.data for read in recording.reads)
    assert body == b"wrong key " + b"*" * len(KEY) + b" abcdefghijk."
    assert [len(read.data) for read in recording.reads] == [10 + at, len(KEY) - at + 13]


async def test_a_placeholder_for_a_key_stars_nothing() -> None:
    exchange = tap(Receiver(), request(x_api_key="EMPTY"))
    exchange.head(200, {})
    exchange.data(b"EMPTY")
    recording = exchange.recording("openai_chat", whole=True)
    assert recording is not None
    assert recording.reads == [Read(0.0, b"EMPTY")]


async def test_what_was_asked_is_kept_when_it_is_wanted() -> None:
    asked = request(body=b'{"model":"m","note":"%b"}' % KEY.encode(), authorization=f"Bearer {KEY}")
    exchange = tap(Receiver(), asked)
    exchange.head(200, {})
    recording = exchange.recording("openai_chat", whole=True, keep_request=True)
    assert recording is not None
    assert recording.header.request == {"model": "m", "note": "*" * len(KEY)}
    exchange = tap(Receiver(), request(body=b"no json"))
    exchange.head(200, {})
    recording = exchange.recording("openai_chat", whole=True, keep_request=True)
    assert recording is not None
    assert recording.header.request is None


async def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "MAX_BYTES", 300)
    receiver = Receiver()
    exchange = tap(receiver)
    exchange.head(200, {})
    for _ in range(5):
        exchange.data(b"0123456789")
    exchange.end()
    recording = exchange.recording("openai_chat", whole=True)
    assert recording is not None
    assert exchange.full
    assert (len(recording.reads), recording.header.cut) == (3, True)
    assert receiver.body == b"0123456789" * 5

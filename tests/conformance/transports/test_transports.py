"""One suite for every upstream transport, against real sockets, on both event loops."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias

import pytest

from headwater.errors import (
    ConfigError,
    ProviderError,
    ProviderProtocolError,
    ProviderTruncated,
    ProviderUnreachable,
)
from headwater.providers import HttptoolsTransport, PoolLimits, Transport
from headwater.providers.ports import UpstreamRequest
from headwater.providers.transport_aiohttp import AiohttpTransport
from headwater.providers.wire.openai_decoder import OpenAIDecoder
from tests.conformance.transports.kit import KeepingReceiver, chat_request, models_request
from tests.upstream import Script, Upstream, closed_url
from tests.upstream.tls import CERTIFICATE, server_context

Make: TypeAlias = Callable[..., Transport]


def make_httptools(*, stale_after_s: float = 1.0, **options: Any) -> Transport:
    return HttptoolsTransport(limits=PoolLimits(stale_after_s=stale_after_s), **options)


@pytest.fixture(params=[make_httptools, AiohttpTransport], ids=["httptools", "aiohttp"])
async def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    """Makes transports, closes them, and shows that none of their tasks is left."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    before = asyncio.all_tasks() - {asyncio.current_task()}
    made: list[Transport] = []

    def make_one(**options: Any) -> Transport:
        made.append(request.param(**options))
        return made[-1]

    yield make_one
    for transport in made:
        await transport.close()
    assert asyncio.all_tasks() - {asyncio.current_task()} <= before


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as server:
        yield server


async def exchange(transport: Transport, request: UpstreamRequest) -> KeepingReceiver:
    receiver = KeepingReceiver()
    receiver.exchange = transport.open(request, receiver)
    await receiver.until_over()
    return receiver


def decoded_text(body: bytes) -> str:
    decoder = OpenAIDecoder()
    return "".join(event.text for event in [*decoder.feed(body), *decoder.close()] if hasattr(event, "text"))


@pytest.mark.parametrize(
    "fault",
    [
        *("", "comments", "one_write", "early_hints", "content_length", "close_delimited", "slow_drip"),
        *("chunk_bytes:1", "chunk_bytes:7", "chunk_bytes:4096", "content_length+chunk_bytes:13"),
    ],
)
async def test_a_whole_answer(make: Make, upstream: Upstream, fault: str) -> None:
    receiver = await exchange(make(), chat_request(upstream, tokens=40, fault=fault))
    assert receiver.error is None
    assert (receiver.status, receiver.ended) == (200, True)
    assert receiver.headers["content-type"].startswith("text/event-stream")
    assert decoded_text(receiver.body) == Script(tokens=40).answer()


async def test_what_is_sent(make: Make, upstream: Upstream) -> None:
    transport = make()
    await exchange(transport, chat_request(upstream, tokens=1, key="ä€🚀"))
    await exchange(transport, models_request(upstream))
    post, get = upstream.requests
    assert post.headers["accept-encoding"] == get.headers["accept-encoding"] == "identity"
    assert post.headers["authorization"] == "Bearer k"
    assert post.headers["host"] == upstream.url.removeprefix("http://")
    assert post.key == "ä€🚀"
    assert "content-length" not in get.headers


@pytest.mark.parametrize("status", [401, 404, 429, 500])
async def test_error_statuses_are_answers(make: Make, upstream: Upstream, status: int) -> None:
    receiver = await exchange(make(), chat_request(upstream, fault=f"status:{status}+retry_after:9"))
    assert (receiver.status, receiver.ended) == (status, True)
    assert receiver.headers["retry-after"] == "9"
    assert b'"error"' in receiver.body


async def test_redirects_are_not_followed(make: Make, upstream: Upstream) -> None:
    receiver = await exchange(make(), chat_request(upstream, fault="redirect"))
    assert (receiver.status, len(upstream.requests)) == (302, 1)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("refuse", ProviderUnreachable),
        ("cut_before_headers", ProviderUnreachable),
        ("garbage_http", ProviderProtocolError),
        ("oversize_head", ProviderProtocolError),
        ("gzip", ProviderProtocolError),
        ("cut_mid_frame", ProviderTruncated),
        ("content_length_short", ProviderTruncated),
        ("rst_mid", ProviderTruncated),
    ],
)
async def test_faults(make: Make, upstream: Upstream, fault: str, error: type[ProviderError]) -> None:
    """A cut upstream must not become a clean 200 (portkey #1797), nor a dead one an end mark (bifrost #5546)."""
    transport = make()
    receiver = await exchange(transport, chat_request(upstream, fault=fault))
    assert type(receiver.error) is error
    assert upstream.attempts == 1
    assert "127.0.0.1" not in str(receiver.error)
    await transport.close()
    await upstream.until(lambda: upstream.open_connections == 0)


async def test_data_before_a_fault_is_delivered(make: Make, upstream: Upstream) -> None:
    receiver = await exchange(make(), chat_request(upstream, fault="cut_mid_frame", fault_after=3))
    assert receiver.body.count(b"\n\n") == 4  # the role chunk and three tokens


async def test_an_error_keeps_its_status_though_its_body_is_compressed(make: Make, upstream: Upstream) -> None:
    receiver = await exchange(make(), chat_request(upstream, fault="status:503+gzip"))
    assert (receiver.status, receiver.ended) == (503, True)


async def test_connection_refused(make: Make, upstream: Upstream) -> None:
    receiver = await exchange(make(), chat_request(upstream, url=closed_url()))
    assert isinstance(receiver.error, ProviderUnreachable)
    assert "refused" in str(receiver.error)


async def test_a_name_that_does_not_resolve(make: Make, upstream: Upstream) -> None:
    receiver = await exchange(make(connect_timeout_s=8), chat_request(upstream, url="http://nowhere.invalid"))
    assert isinstance(receiver.error, ProviderUnreachable)


async def test_a_host_that_is_no_name(make: Make, upstream: Upstream) -> None:
    receiver = await exchange(make(), chat_request(upstream, url=f"http://{'x' * 70}.invalid"))
    assert isinstance(receiver.error, ProviderUnreachable)


async def test_connecting_takes_a_bounded_time(make: Make, upstream: Upstream) -> None:
    with full_backlog() as url:
        receiver = await exchange(make(connect_timeout_s=0.2), chat_request(upstream, url=url))
    assert isinstance(receiver.error, ProviderUnreachable)
    assert "within 0.2 s" in str(receiver.error)


@pytest.mark.parametrize("fault", ["hang_before_headers", "hang_mid", "hang_end"])
async def test_abort_reaches_the_server(make: Make, upstream: Upstream, fault: str) -> None:
    """Upstream left running after the client is gone: litellm #30244, #36123; bifrost #3164."""
    receiver = KeepingReceiver()
    under_way = make().open(chat_request(upstream, fault=fault), receiver)
    await upstream.until(lambda: upstream.active == 1)
    if fault != "hang_before_headers":
        await receiver.until_data()
    under_way.abort()
    under_way.abort()
    await upstream.until(lambda: upstream.aborted == 1 and upstream.open_connections == 0)
    assert not receiver.over


@pytest.mark.parametrize("call", ["head", "data", "end"])
async def test_abort_from_inside_a_callback(make: Make, upstream: Upstream, call: str) -> None:
    transport = make()
    receiver = KeepingReceiver()
    receiver.abort_at = call
    receiver.exchange = transport.open(chat_request(upstream, tokens=500, delay_ms=0.1), receiver)
    await asyncio.wait_for(receiver.changed.wait(), 10)
    while receiver.abort_at != "aborted":
        receiver.changed.clear()
        await asyncio.wait_for(receiver.changed.wait(), 10)
    await upstream.until(lambda: upstream.active == 0)
    assert receiver.calls_after_abort == 0
    assert (await exchange(transport, models_request(upstream))).status == 200


async def test_abort_while_connecting(make: Make, upstream: Upstream) -> None:
    with full_backlog() as url:
        receiver = KeepingReceiver()
        under_way = make().open(chat_request(upstream, url=url), receiver)
        await asyncio.sleep(0)
        under_way.abort()
        await asyncio.sleep(0)
    assert not receiver.over


async def test_abort_before_anything_happened(make: Make, upstream: Upstream) -> None:
    receiver = KeepingReceiver()
    make().open(chat_request(upstream), receiver).abort()
    await asyncio.sleep(0)
    assert not receiver.over
    assert upstream.attempts == 0


async def test_pause_stops_reading_and_resume_goes_on(make: Make, upstream: Upstream) -> None:
    tokens = 60_000  # far more than all buffers in between hold
    receiver = KeepingReceiver()
    under_way = make().open(chat_request(upstream, tokens=tokens), receiver)
    await receiver.until_data(60)  # the upstream makes them all before it sends the first
    under_way.pause()
    under_way.pause()
    await asyncio.sleep(0.05)  # what had been read by then may still arrive
    held = len(receiver.body)
    await asyncio.sleep(0.1)
    assert len(receiver.body) == held
    assert upstream.active == 1
    under_way.resume()
    under_way.resume()
    await receiver.until_over(60)
    assert receiver.ended
    assert receiver.body.endswith(b"data: [DONE]\n\n")
    assert receiver.body.count(b"\n\n") == tokens + 3


async def test_pause_before_the_connection_is_there(make: Make, upstream: Upstream) -> None:
    receiver = KeepingReceiver()
    under_way = make().open(chat_request(upstream), receiver)
    under_way.pause()
    await upstream.until(lambda: upstream.active == 1)
    await asyncio.sleep(0.05)
    assert not receiver.chunks
    under_way.resume()
    await receiver.until_over()
    assert receiver.ended


async def test_connections_are_kept_and_reused(make: Make, upstream: Upstream) -> None:
    transport = make()
    for _ in range(5):
        assert (await exchange(transport, chat_request(upstream, tokens=3))).ended
    assert upstream.open_connections == 1
    await asyncio.gather(*(exchange(transport, chat_request(upstream, tokens=3)) for _ in range(5)))
    assert 1 < upstream.open_connections <= 5
    await transport.close()
    await upstream.until(lambda: upstream.open_connections == 0)


async def test_a_connection_that_ends_with_its_answer_is_not_reused(make: Make, upstream: Upstream) -> None:
    transport = make()
    for fault in ("close_delimited", "stale", ""):
        assert (await exchange(transport, chat_request(upstream, fault=fault))).ended
        if fault:
            await upstream.until(lambda: upstream.open_connections == 0)


async def test_a_stale_connection_is_replaced_without_a_word(make: Make, upstream: Upstream) -> None:
    """A kept-alive connection that the server drops as the next request is written: sent once more, on a new one."""
    transport = make(stale_after_s=0.0)
    assert (await exchange(transport, chat_request(upstream, fault="stale_rst"))).ended
    receiver = await exchange(transport, chat_request(upstream, tokens=3))
    assert receiver.ended
    assert upstream.attempts == 2  # the reset connection never took the request


async def test_a_fresh_connection_is_not_retried(make: Make, upstream: Upstream) -> None:
    """One abandoned request must not make further upstream attempts (bifrost #7035)."""
    transport = make(stale_after_s=0.0)
    receiver = await exchange(transport, chat_request(upstream, fault="refuse"))
    assert isinstance(receiver.error, ProviderUnreachable)
    assert upstream.attempts == 1


async def test_a_connection_used_just_now_is_not_retried(make: Make, upstream: Upstream) -> None:
    transport = make()
    assert (await exchange(transport, chat_request(upstream, fault="stale_rst"))).ended
    receiver = await exchange(transport, chat_request(upstream, tokens=3))
    assert isinstance(receiver.error, ProviderUnreachable)
    assert upstream.attempts == 1


async def test_the_retry_of_a_stale_connection_is_one(make: Make, upstream: Upstream) -> None:
    transport = make(stale_after_s=0.0)
    assert (await exchange(transport, chat_request(upstream, tokens=1))).ended
    receiver = await exchange(transport, chat_request(upstream, fault="refuse"))
    assert isinstance(receiver.error, ProviderUnreachable)
    assert upstream.attempts == 3


async def test_close_tells_those_under_way(make: Make, upstream: Upstream) -> None:
    transport = make()
    receiver = KeepingReceiver()
    transport.open(chat_request(upstream, fault="hang_mid"), receiver)
    await receiver.until_data()
    await transport.close()
    assert isinstance(receiver.error, ProviderUnreachable)
    late = await exchange(transport, chat_request(upstream))
    assert isinstance(late.error, ProviderUnreachable)
    await transport.close()


async def test_close_while_connecting(make: Make, upstream: Upstream) -> None:
    with full_backlog() as url:
        transport = make()
        receiver = KeepingReceiver()
        transport.open(chat_request(upstream, url=url), receiver)
        await asyncio.sleep(0)
        await transport.close()
    assert isinstance(receiver.error, ProviderUnreachable)


async def test_close_tells_nothing_of_what_was_called_off(make: Make, upstream: Upstream) -> None:
    with full_backlog() as url:
        transport = make()
        receiver = KeepingReceiver()
        under_way = transport.open(chat_request(upstream, url=url), receiver)
        await asyncio.sleep(0)
        under_way.abort()
        await transport.close()
    assert not receiver.over


async def test_a_header_that_would_break_the_request_is_refused(make: Make, upstream: Upstream) -> None:
    """CWE-93: a key copied together with a line break must not become another header."""
    request = UpstreamRequest("GET", f"{upstream.url}/v1/models", {"authorization": "Bearer k\r\nx-evil: 1"})
    with pytest.raises(ConfigError, match="authorization"):
        make().open(request, KeepingReceiver())
    assert not upstream.requests


async def test_ipv6(make: Make) -> None:
    try:
        async with Upstream(host="::1") as upstream:
            assert (await exchange(make(), models_request(upstream))).status == 200
            assert upstream.requests[0].headers["host"].startswith("[::1]:")
    except OSError as exc:
        if exc.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            raise
        assert not has_ipv6()  # nothing to show on a machine without it


async def test_tls_with_a_certificate_from_the_environment(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    async with Upstream(ssl=server_context()) as upstream:
        transport = make()
        for fault in ("", "content_length", ""):
            receiver = await exchange(transport, chat_request(upstream, tokens=300, fault=fault))
            assert decoded_text(receiver.body) == Script(tokens=300).answer()
        assert upstream.open_connections == 1
        receiver = await exchange(transport, chat_request(upstream, fault="cut_mid_frame"))
        assert isinstance(receiver.error, ProviderTruncated)
        under_way = transport.open(chat_request(upstream, fault="hang_mid"), KeepingReceiver())
        await upstream.until(lambda: upstream.active == 1)
        under_way.abort()
        await upstream.until(lambda: upstream.active == 0)


async def test_an_unknown_certificate_is_refused(make: Make) -> None:
    async with Upstream(ssl=server_context()) as upstream:
        receiver = await exchange(make(), chat_request(upstream))
        assert isinstance(receiver.error, ProviderUnreachable)
        assert "certificate" in str(receiver.error)
        assert upstream.attempts == 0


async def test_a_certificate_for_another_name_is_refused(make: Make, upstream: Upstream) -> None:
    context = ssl.create_default_context(cafile=str(CERTIFICATE))
    async with Upstream(ssl=server_context()) as secure:
        transport = make(tls=context)
        assert (await exchange(transport, models_request(secure))).status == 200
        receiver = await exchange(transport, chat_request(secure, url=secure.url.replace("127.0.0.1", "127.0.0.2")))
        assert isinstance(receiver.error, ProviderUnreachable)


async def test_what_answers_tls_with_something_else(make: Make) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/models"
        receiver = await exchange(make(), UpstreamRequest("GET", url, {}))
        assert isinstance(receiver.error, ProviderUnreachable)
        assert receiver.error.message == "the TLS handshake with the provider failed"


async def test_tls_against_a_server_without(make: Make, upstream: Upstream) -> None:
    receiver = await exchange(make(), chat_request(upstream, url=upstream.url.replace("http:", "https:")))
    assert isinstance(receiver.error, ProviderUnreachable)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


class full_backlog:  # noqa: N801 -- reads as a statement
    """A listening port whose queue is full, so that connecting to it neither succeeds nor fails."""

    def __enter__(self) -> str:
        self._server = socket.socket()
        self._server.bind(("127.0.0.1", 0))
        self._server.listen(0)
        address = self._server.getsockname()
        self._fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(address)
            self._fillers.append(filler)
        return f"http://127.0.0.1:{address[1]}"

    def __exit__(self, *exc: object) -> None:
        for filler in [*self._fillers, self._server]:
            filler.close()

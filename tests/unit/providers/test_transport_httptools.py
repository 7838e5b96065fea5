"""The pool behind the transport, and a server that does not keep to the protocol. The rest: conformance/transports."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from headwater.errors import ProviderProtocolError, ProviderTruncated, ProviderUnreachable
from headwater.providers import HttptoolsTransport, PoolLimits
from headwater.providers.http_connection import HttpConnection
from headwater.providers.ports import UpstreamRequest
from tests.conformance.transports.kit import KeepingReceiver, chat_request, models_request
from tests.upstream import Upstream

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as server:
        yield server


class Rogue:
    """A server that answers each read with the next of some bytes, and closes where they are None."""

    def __init__(self, *answers: bytes | None) -> None:
        self.answers = list(answers)
        self.transports: list[asyncio.Transport] = []
        self.reads = 0

    async def __aenter__(self) -> Rogue:
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: RogueConnection(self), "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.server.close()
        for transport in self.transports:
            transport.abort()
        await self.server.wait_closed()

    async def ask(self, transport: HttptoolsTransport) -> KeepingReceiver:
        receiver = KeepingReceiver()
        receiver.exchange = transport.open(UpstreamRequest("GET", f"{self.url}/?a=b c", {}), receiver)
        await receiver.until_over()
        return receiver


class RogueConnection(asyncio.Protocol):
    def __init__(self, rogue: Rogue) -> None:
        self.rogue = rogue

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.rogue.transports.append(transport)
        if self.rogue.answers and self.rogue.answers[0] == b"at once":
            transport.abort()

    def data_received(self, data: bytes) -> None:
        self.rogue.reads += 1
        answer = self.rogue.answers.pop(0)
        if answer is None:
            self.transport.close()
        else:
            self.transport.write(answer)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 -- the pool has no event to wait for
            await asyncio.sleep(0.002)


class TestPool:
    async def fill(self, transport: HttptoolsTransport, upstream: Upstream, count: int) -> None:
        receivers = [KeepingReceiver() for _ in range(count)]
        for receiver in receivers:
            transport.open(chat_request(upstream, tokens=2, head_delay_ms=20), receiver)
        await asyncio.gather(*(receiver.until_over() for receiver in receivers))

    async def test_holds_no_more_than_its_limit(self, upstream: Upstream) -> None:
        transport = HttptoolsTransport(limits=PoolLimits(max_idle=2))
        await self.fill(transport, upstream, 5)
        await upstream.until(lambda: upstream.open_connections == 2)
        await until(lambda: transport.open_connections == 2)
        await transport.close()

    async def test_idle_connections_are_closed(self, upstream: Upstream) -> None:
        transport = HttptoolsTransport(limits=PoolLimits(max_idle_s=0.05))
        await self.fill(transport, upstream, 3)
        assert transport.open_connections == 3
        await upstream.until(lambda: upstream.open_connections == 0)
        await until(lambda: transport.open_connections == 0)
        await transport.close()

    async def test_the_sweep_spares_what_was_used_since(self, upstream: Upstream) -> None:
        transport = HttptoolsTransport(limits=PoolLimits(max_idle_s=0.1))
        await self.fill(transport, upstream, 2)
        await asyncio.sleep(0.06)
        await self.fill(transport, upstream, 1)
        await upstream.until(lambda: upstream.open_connections == 1)
        await upstream.until(lambda: upstream.open_connections == 0)
        await transport.close()

    async def test_old_connections_are_not_kept(self, upstream: Upstream) -> None:
        transport = HttptoolsTransport(limits=PoolLimits(max_age_s=0.0))
        for _ in range(2):
            await self.fill(transport, upstream, 1)
        await upstream.until(lambda: upstream.open_connections == 0)
        await transport.close()

    async def test_connections_that_became_old_are_not_used(self, upstream: Upstream) -> None:
        transport = HttptoolsTransport(limits=PoolLimits(max_age_s=0.05))
        await self.fill(transport, upstream, 1)
        first = set(upstream.connections)
        await asyncio.sleep(0.06)
        await self.fill(transport, upstream, 1)
        await upstream.until(lambda: len(upstream.connections) == 1 and not first & upstream.connections)
        await transport.close()

    async def test_the_exchange_of_an_answer_that_ended_holds_nothing(self, upstream: Upstream) -> None:
        """An abort that comes late must not hit the connection's next user."""
        transport = HttptoolsTransport()
        first, second = KeepingReceiver(), KeepingReceiver()
        done = transport.open(models_request(upstream), first)
        await first.until_over()
        transport.open(chat_request(upstream, tokens=20, delay_ms=1), second)
        await second.until_data()
        done.pause()
        done.resume()
        done.abort()
        await second.until_over()
        assert second.ended
        assert upstream.open_connections == 1
        await transport.close()

    async def test_an_exchange_called_off_never_sends(self, upstream: Upstream) -> None:
        """Even where the cancel comes too late to stop the connecting."""
        transport = HttptoolsTransport()
        exchange = transport.open(chat_request(upstream), KeepingReceiver())
        exchange.connecting = None
        exchange.abort()
        await until(lambda: not transport._connecting)
        await transport.close()
        await upstream.until(lambda: upstream.open_connections == 0)
        assert upstream.attempts == 0

    async def test_nagle_is_off(self, upstream: Upstream) -> None:
        """40 ms before the first token, seen on one gateway."""
        transport = HttptoolsTransport()
        receiver = KeepingReceiver()
        transport.open(models_request(upstream), receiver)
        await receiver.until_over()
        connection = next(iter(transport._open))
        assert connection._transport is not None
        sock = connection._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        await transport.close()


class TestRogueServers:
    @pytest.fixture
    async def transport(self) -> AsyncIterator[HttptoolsTransport]:
        transport = HttptoolsTransport(limits=PoolLimits(stale_after_s=0.0))
        yield transport
        await transport.close()
        assert transport.open_connections == 0

    async def test_closed_as_soon_as_it_is_open(self, transport: HttptoolsTransport) -> None:
        async with Rogue(b"at once") as rogue:
            assert isinstance((await rogue.ask(transport)).error, ProviderUnreachable)

    async def test_bytes_behind_the_answer_are_dropped_with_the_connection(self, transport: HttptoolsTransport) -> None:
        """Response splitting: they must not become the answer of the next request."""
        for extra in (OK, b"junk", b"HTTP/1.1 200 OK\r\nconten"):
            async with Rogue(OK + extra, OK) as rogue:
                assert (await rogue.ask(transport)).body == b"ok"
                assert (await rogue.ask(transport)).body == b"ok"
                assert len(rogue.transports) == 2

    async def test_bytes_on_an_idle_connection_close_it(self, transport: HttptoolsTransport) -> None:
        async with Rogue(OK, OK) as rogue:
            assert (await rogue.ask(transport)).ended
            rogue.transports[0].write(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
            await until(lambda: transport.open_connections == 0)
            assert (await rogue.ask(transport)).ended

    async def test_bytes_that_the_loop_has_not_read_yet_close_it_too(self, transport: HttptoolsTransport) -> None:
        async with Rogue(OK, OK) as rogue:
            assert (await rogue.ask(transport)).ended
            rogue.transports[0].write(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
            assert (await rogue.ask(transport)).body == b"ok"
            assert len(rogue.transports) == 2

    async def test_the_same_without_poll(self, transport: HttptoolsTransport, monkeypatch: pytest.MonkeyPatch) -> None:
        """Windows."""
        monkeypatch.delattr(select, "poll")
        async with Rogue(OK, OK) as rogue:
            assert (await rogue.ask(transport)).ended
            rogue.transports[0].close()
            assert (await rogue.ask(transport)).ended

    async def test_an_upgrade_is_no_answer(self, transport: HttptoolsTransport) -> None:
        async with Rogue(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nbytes"
        ) as rogue:
            assert isinstance((await rogue.ask(transport)).error, ProviderProtocolError)

    async def test_a_broken_chunk(self, transport: HttptoolsTransport) -> None:
        async with Rogue(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\nxx\r\n") as rogue:
            receiver = await rogue.ask(transport)
            assert isinstance(receiver.error, ProviderProtocolError)
            assert receiver.body == b"ok"

    async def test_half_a_head(self, transport: HttptoolsTransport) -> None:
        async with Rogue(b"HTTP/1.1 200 OK\r\nconte") as rogue:
            receiver = KeepingReceiver()
            transport.open(UpstreamRequest("GET", rogue.url, {}), receiver)
            await until(lambda: rogue.reads == 1)
            rogue.transports[0].close()
            await receiver.until_over()
            assert isinstance(receiver.error, ProviderUnreachable)

    async def test_many_informational_answers(self, transport: HttptoolsTransport) -> None:
        early = b"HTTP/1.1 103 Early Hints\r\nx-early: 1\r\n\r\n"
        async with Rogue(early * 3 + OK) as rogue:
            receiver = await rogue.ask(transport)
            assert receiver.body == b"ok"
            assert dict(receiver.headers) == {"content-length": "2"}

    async def test_without_a_body(self, transport: HttptoolsTransport) -> None:
        async with Rogue(b"HTTP/1.1 204 No Content\r\n\r\n", OK) as rogue:
            receiver = await rogue.ask(transport)
            assert (receiver.status, receiver.body, receiver.ended) == (204, b"", True)
            assert (await rogue.ask(transport)).ended
            assert len(rogue.transports) == 1

    async def test_headers_that_repeat_are_joined(self, transport: HttptoolsTransport) -> None:
        async with Rogue(b"HTTP/1.1 200 OK\r\nx-a: 1\r\nX-A: 2\r\ncontent-length: 0\r\n\r\n") as rogue:
            assert (await rogue.ask(transport)).headers["x-a"] == "1, 2"

    async def test_a_length_and_an_end_before_it(self, transport: HttptoolsTransport) -> None:
        async with Rogue(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok") as rogue:
            receiver = KeepingReceiver()
            transport.open(UpstreamRequest("GET", rogue.url, {}), receiver)
            await receiver.until_data()
            rogue.transports[0].close()
            await receiver.until_over()
            assert isinstance(receiver.error, ProviderTruncated)


async def test_a_connection_that_is_gone_before_its_turn_comes_is_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server at its limit accepts and resets at once: the exchange must be told, or its stream would hang."""

    class Gone(HttpConnection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.abort()

    async with Rogue(OK) as rogue:
        transport = HttptoolsTransport()
        monkeypatch.setattr(transport, "_new_connection", lambda: Gone(transport, memoryview(bytearray(1024))))
        receiver = await rogue.ask(transport)
        assert isinstance(receiver.error, ProviderUnreachable)
        assert "without an answer" in receiver.error.message
        assert (transport.open_connections, rogue.reads) == (0, 0)
        await transport.close()

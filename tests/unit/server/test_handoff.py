"""The hand-off to the transport, over real sockets whose client does not read: both ends of the flow control.

What uvicorn must be like for it is shown in `tests/integration/test_handoff_contract.py`.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from headwater.server.handoff import EXTENSION, HeadwaterHttpProtocol, HttpLimits, TransportSink, protocol_class
from headwater.server.serving import Bind, listen
from headwater.streams import Network
from tests.integration.kit import eventually

# More than the buffers of both kernels hold.
MUCH = b"x" * 16_000_000


class Application:
    """`/plain` answers as any application does, in two parts; everything else is handed over."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.protocol: HeadwaterHttpProtocol | None = None
        self.sink: TransportSink | None = None
        self.opened = asyncio.Event()
        self.writable = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.paths.append(scope["path"])
        offer = scope["extensions"][EXTENSION]
        self.protocol = offer._protocol
        if scope["path"] == "/plain":
            length = b"%d" % (2 * len(MUCH))
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
            await send({"type": "http.response.body", "body": MUCH, "more_body": True})
            await send({"type": "http.response.body", "body": MUCH})
            return
        sink = self.sink = offer.sink()
        sink.bind(self.writable.set)
        sink.write(MUCH)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        sink.open(lambda: None)
        self.opened.set()


class Served:
    def __init__(self, app: Application, address: tuple[str, int]) -> None:
        self.app = app
        self._address = address
        self._writers: list[asyncio.StreamWriter] = []

    async def ask(self, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A client that reads nothing by itself."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, self._address)
        reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
        self._writers.append(writer)
        writer.write(b"GET %b HTTP/1.1\r\nhost: x\r\n\r\n" % path.encode())
        return reader, writer

    def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


@pytest.fixture
async def it() -> AsyncIterator[Served]:
    app = Application()
    http = protocol_class(HttpLimits(send_timeout_s=60.0))
    server = uvicorn.Server(
        uvicorn.Config(app, http=http, ws="none", lifespan="off", log_config=None, access_log=False)
    )
    sock = listen(Bind(port=0))
    serving = asyncio.create_task(server._serve([sock]))
    await eventually(lambda: server.started)
    served = Served(app, sock.getsockname())
    yield served
    served.close()
    server.should_exit = True
    await serving


async def test_a_sink_has_no_room_until_what_was_written_before_the_head_is_on_its_way(it: Served) -> None:
    reader, _ = await it.ask("/events")
    await it.app.opened.wait()
    assert it.app.sink is not None
    assert not it.app.sink.writable
    assert not it.app.writable.is_set()
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"200 OK" in head
    assert await reader.readline() == b"%x\r\n" % len(MUCH)
    assert await reader.readexactly(len(MUCH)) == MUCH
    await it.app.writable.wait()
    assert it.app.sink.writable
    it.app.sink.finish()
    assert await reader.readexactly(7) == b"\r\n0\r\n\r\n"


async def test_an_application_that_hands_nothing_over_goes_on_when_its_client_reads(it: Served) -> None:
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
    reader, _ = await it.ask("/plain")
    await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(2 * len(MUCH)) == 2 * MUCH
    assert told == []


async def test_a_client_that_leaves_in_the_rest_of_an_answer_leaves_no_timer(it: Served) -> None:
    """A timer a connection, each of which holds its buffers for a minute: many of those are an outage."""
    reader, writer = await it.ask("/plain")
    await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(len(MUCH))
    protocol = it.app.protocol
    assert protocol is not None
    await eventually(lambda: protocol._draining is not None)
    timer = protocol._draining
    assert timer is not None
    writer.transport.abort()
    await eventually(timer.cancelled)


async def test_what_comes_behind_a_close_is_no_request(it: Served) -> None:
    """TLS may still deliver what it had read; an application that ran for it would work for nobody."""
    reader, _ = await it.ask("/events")
    await it.app.opened.wait()
    protocol = it.app.protocol
    assert protocol is not None
    protocol.transport.close()
    protocol.data_received(b"GET /late HTTP/1.1\r\nhost: x\r\n\r\n")
    assert await reader.readexactly(8) == b"HTTP/1.1"
    assert it.app.paths == ["/events"]
    assert not protocol.pipeline


class Other:
    """A sink that a middleware's way leads to."""

    def __init__(self) -> None:
        self.told: list[bytes | str] = []

    def write(self, data: bytes) -> None:
        self.told.append(data)

    def finish(self) -> None:
        self.told.append("end")


@pytest.mark.parametrize("ends", [False, True])
async def test_what_was_written_before_the_head_can_go_another_way(it: Served, ends: bool) -> None:
    await it.ask("/events")
    await it.app.opened.wait()
    assert it.app.protocol is not None
    sink = TransportSink(it.app.protocol, it.app.protocol.cycle)
    sink.write(b"a")
    sink.write(b"b")
    if ends:
        sink.finish()
    other = Other()
    sink.hand_over(other)  # type: ignore[arg-type]
    assert other.told == [b"a", b"b", *(["end"] if ends else [])]


@pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO is Linux's")
async def test_a_connection_is_measured_from_its_response_on(it: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = await it.ask("/events")
    await it.app.opened.wait()
    first, protocol = it.app.sink, it.app.protocol
    assert first is not None
    assert protocol is not None
    network = first.network()
    assert network is not None
    assert network.rtt_s > 0
    known = iter([Network(0.01, 5, 4), Network(0.02, 9, 3), None])
    first.finish()
    await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(len(MUCH) + len(b"%x\r\n" % len(MUCH)) + 7)
    monkeypatch.setattr("headwater.server.handoff.read_network", lambda _: next(known))
    it.app.opened.clear()
    writer.write(b"GET /again HTTP/1.1\r\nhost: x\r\n\r\n")
    await it.app.opened.wait()
    second = it.app.sink
    assert second is not None
    # What was sent again for the answer before is not this one's.
    assert second.network() == Network(0.02, 4, 0)
    assert second.network() is None

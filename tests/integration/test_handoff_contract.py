"""What the hand-off relies on in uvicorn's `HttpToolsProtocol`. It must pass before uvicorn's version bound moves.

Every test runs on asyncio's loop and on uvloop, over real sockets, with a bare ASGI application and no hub.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from headwater.server.handoff import EXTENSION, HIGH_WATER_BYTES, HeadwaterHttpProtocol, TransportSink
from headwater.server.serving import Bind, listen

from .kit import Connection, eventually

RunInLoop = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> RunInLoop:
    def run_in_loop(coroutine: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(coroutine)

    return run_in_loop


class HandingOver:
    """An application that hands every request over and returns."""

    def __init__(self) -> None:
        self.sinks: list[TransportSink] = []
        self.paths: list[str] = []
        self.lost: list[int] = []
        self.writable_again = asyncio.Event()
        self.early = b""
        self.before_open: Callable[[TransportSink], Coroutine[Any, Any, None]] | None = None
        self.protocol: HeadwaterHttpProtocol | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.paths.append(scope["path"])
        if scope["path"] == "/plain":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})
            return
        offer = scope["extensions"][EXTENSION]
        self.protocol = offer._protocol
        sink = offer.sink()
        number = len(self.sinks)
        sink.bind(self.writable_again.set)
        if self.early:
            sink.write(self.early)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        if self.before_open is not None:
            await self.before_open(sink)
        sink.open(lambda: self.lost.append(number))
        self.sinks.append(sink)

    async def sink(self, number: int = 0) -> TransportSink:
        await eventually(lambda: len(self.sinks) > number)
        return self.sinks[number]


class Served:
    def __init__(self, app: HandingOver, server: uvicorn.Server, address: tuple[str, int]) -> None:
        self.app = app
        self.server = server
        self.address = address

    @asynccontextmanager
    async def connection(self, *, receive_buffer: int | None = None):  # type: ignore[no-untyped-def]
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, self.address)
        reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
        connection = Connection(reader, writer)
        try:
            yield connection
        finally:
            await connection.close()


@asynccontextmanager
async def served():  # type: ignore[no-untyped-def]
    app = HandingOver()
    config = uvicorn.Config(
        app, http=HeadwaterHttpProtocol, ws="none", lifespan="off", log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    sock = listen(Bind(port=0))
    serving = asyncio.create_task(server._serve([sock]))
    await eventually(lambda: server.started)
    try:
        yield Served(app, server, sock.getsockname())
    finally:
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        server.should_exit = True
        await serving


def test_names_that_we_override_or_call_exist() -> None:
    for name in (
        "connection_made", "connection_lost", "data_received", "pause_writing", "resume_writing", "send_400_response",
        "on_message_begin", "on_url", "on_header", "on_headers_complete", "on_message_complete", "_start_asgi_task",
        "on_response_complete",
    ):  # fmt: skip
        assert callable(getattr(HttpToolsProtocol, name)), name
    assert list(inspect.signature(HttpToolsProtocol._start_asgi_task).parameters) == ["self", "cycle", "app"]
    assert list(inspect.signature(HttpToolsProtocol.send_400_response).parameters) == ["self", "msg"]
    assert list(inspect.signature(HttpToolsProtocol.__init__).parameters)[1:] == [
        "config", "server_state", "app_state", "_loop",
    ]  # fmt: skip
    source = inspect.getsource(RequestResponseCycle.__init__)
    for name in ("scope", "message_event", "disconnected", "keep_alive", "response_started", "response_complete",
                 "chunked_encoding"):  # fmt: skip
        assert f"self.{name}" in source, name


def test_bytes_are_framed_as_uvicorn_frames_them_and_no_task_is_left(run: RunInLoop) -> None:
    async def body() -> None:
        async with served() as it, it.connection() as client:
            it.app.early = b"early\n"
            client.send("GET", "/")
            status, headers = await client.head()
            assert status == 200
            assert headers["transfer-encoding"] == "chunked"
            assert await client.chunk() == b"early\n"
            sink = await it.app.sink()
            assert sink.writable
            assert it.app.writable_again.is_set()
            await eventually(lambda: not it.server.server_state.tasks)
            sink.write(b"x" * 4096)
            assert await client.chunk() == b"x" * 4096
            sink.finish()
            assert await client.chunk() == b""
            assert it.app.lost == []

    run(body())


def test_the_connection_carries_the_next_request_afterwards(run: RunInLoop) -> None:
    async def body() -> None:
        async with served() as it, it.connection() as client:
            for number in range(3):
                client.send("GET", f"/{number}")
                await client.head()
                sink = await it.app.sink(number)
                sink.write(b"data")
                sink.finish()
                assert await client.chunk() == b"data"
                assert await client.chunk() == b""
                client.send("GET", "/plain")
                _, headers = await client.head()
                assert await client.body(headers) == b"ok"
            assert it.server.server_state.total_requests == 6
            assert it.app.protocol is not None
            assert it.app.protocol.timeout_keep_alive_task is not None

    run(body())


def test_a_pipelined_request_waits_for_the_stream_before_it(run: RunInLoop) -> None:
    async def body() -> None:
        async with served() as it, it.connection() as client:
            client.send("GET", "/first")
            client.send("GET", "/plain")
            client.send("GET", "/third")
            await client.head()
            first = await it.app.sink()
            first.write(b"one")
            assert await client.chunk() == b"one"
            assert it.app.paths == ["/first"]
            first.finish()
            assert await client.chunk() == b""
            _, headers = await client.head()
            assert await client.body(headers) == b"ok"
            await client.head()
            (await it.app.sink(1)).finish()
            assert await client.chunk() == b""
            assert it.app.paths == ["/first", "/plain", "/third"]

    run(body())


def test_a_disconnect_is_told_once(run: RunInLoop) -> None:
    async def body() -> None:
        async with served() as it:
            async with it.connection() as client:
                client.send("GET", "/")
                await client.head()
                sink = await it.app.sink()
            await eventually(lambda: it.app.lost == [0])
            assert not sink.writable
            assert not it.server.server_state.connections
            sink.finish()
            assert it.app.lost == [0]

    run(body())


def test_a_disconnect_behind_a_pipelined_request_is_seen_by_the_next_writes(run: RunInLoop) -> None:
    """Reading is paused while a request waits in the pipeline, so the peer's reset shows when something is written."""

    async def body() -> None:
        async with served() as it:
            async with it.connection() as client:
                client.send("GET", "/first")
                client.send("GET", "/second")
                await client.head()
                sink = await it.app.sink()

            def gone() -> bool:
                if not it.app.lost:
                    sink.write(b": hb\n\n")
                return bool(it.app.lost)

            await eventually(gone)
            assert it.app.paths == ["/first"]

    run(body())


def test_a_client_that_left_before_the_hand_off_is_told_as_lost(run: RunInLoop) -> None:
    async def body() -> None:
        async with served() as it:
            connections = it.server.server_state.connections

            async def until_gone(sink: TransportSink) -> None:
                await eventually(lambda: not connections)

            it.app.before_open = until_gone
            async with it.connection() as client:
                client.send("GET", "/")
                await client.head()
            await eventually(lambda: it.app.lost == [0])

    run(body())


def test_what_was_finished_before_the_hand_off_is_whole(run: RunInLoop) -> None:
    async def body() -> None:
        async with served() as it, it.connection() as client:

            async def finish(sink: TransportSink) -> None:
                sink.write(b"all")
                sink.finish()

            it.app.before_open = finish
            client.send("GET", "/")
            _, headers = await client.head()
            assert await client.body(headers) == b"all"

    run(body())


def test_http_1_0_gets_no_chunks_and_a_close(run: RunInLoop) -> None:
    async def body() -> None:
        async with served() as it, it.connection() as client:
            client.send("GET", "/", version="1.0")
            _, headers = await client.head()
            assert "transfer-encoding" not in headers
            assert headers["connection"] == "close"
            sink = await it.app.sink()
            sink.write(b"data: 1\n\n")
            sink.finish()
            assert await client.reader.read() == b"data: 1\n\n"

    run(body())


def test_connection_close_is_honoured(run: RunInLoop) -> None:
    async def body() -> None:
        async with served() as it, it.connection() as client:
            client.send("GET", "/", connection="close")
            await client.head()
            (await it.app.sink()).finish()
            assert await client.reader.read() == b"0\r\n\r\n"

    run(body())


def test_a_peer_that_does_not_read_stops_the_writing_and_starts_it_again(run: RunInLoop) -> None:
    """A frozen client hangs the sender: sse-starlette #89, PR #208."""

    async def body() -> None:
        async with served() as it, it.connection(receive_buffer=4096) as client:
            client.send("GET", "/")
            sink = await it.app.sink()
            written = 0
            while sink.writable:
                sink.write(b"x" * 8192)
                written += 8192
                await asyncio.sleep(0)
                assert written < 64 * 2**20
            assert it.app.protocol is not None
            assert it.app.protocol.transport.get_write_buffer_size() < HIGH_WATER_BYTES + 2 * 8192
            it.app.writable_again.clear()
            await client.head()
            got = 0
            while got < written:
                got += len(await client.chunk())
            await it.app.writable_again.wait()
            assert sink.writable
            assert got == written

    run(body())


def test_abort_leaves_the_body_visibly_unfinished(run: RunInLoop) -> None:
    async def body() -> None:
        async with served() as it, it.connection() as client:
            client.send("GET", "/")
            await client.head()
            sink = await it.app.sink()
            sink.write(b"part")
            assert await client.chunk() == b"part"
            sink.abort()
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError, ValueError)):
                await client.chunk()
            await eventually(lambda: not it.server.server_state.connections)
            assert it.app.lost == []

    run(body())


def test_nagle_is_off(run: RunInLoop) -> None:
    """40 ms Nagle delay before the first token: seen on one gateway."""

    async def body() -> None:
        async with served() as it, it.connection() as client:
            client.send("GET", "/")
            await it.app.sink()
            assert it.app.protocol is not None
            sock = it.app.protocol.transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    run(body())


def test_a_shutdown_waits_for_the_stream_and_then_closes(run: RunInLoop) -> None:
    async def body() -> None:
        async with served() as it, it.connection() as client:
            client.send("GET", "/")
            await client.head()
            sink = await it.app.sink()
            it.server.should_exit = True
            assert it.app.protocol is not None
            cycle = it.app.protocol.cycle
            await eventually(lambda: not cycle.keep_alive)
            sink.write(b"last")
            sink.finish()
            assert await client.reader.read() == b"4\r\nlast\r\n0\r\n\r\n"

    run(body())


def test_nonsense_behind_a_stream_ends_it_without_foreign_bytes(run: RunInLoop) -> None:
    """Uvicorn would write its 400 into the middle of the running answer."""

    async def body() -> None:
        async with served() as it, it.connection() as client:
            client.send("GET", "/")
            await client.head()
            sink = await it.app.sink()
            sink.write(b"part")
            client.writer.write(b"\x00\x01nonsense\r\n\r\n")
            assert await client.reader.read() == b"4\r\npart\r\n"
            await eventually(lambda: it.app.lost == [0])

    run(body())

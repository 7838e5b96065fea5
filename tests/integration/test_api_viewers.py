"""Viewers that are slow, frozen or gone, over real sockets; and that every ASGI server sends the same bytes."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from headwater.events import Done, Text, Usage
from headwater.logs import SqliteLog
from headwater.request import ChatRequest
from headwater.server.handoff import HttpLimits
from headwater.streams import StreamSettings, Writer

from .kit import Connection, Running, connected, eventually, messages_of, running

BODY = {"model": "long", "messages": [{"role": "user", "content": "Hi"}]}
PIECE = "0123456789abcdef" * 16
PIECES = 40_000  # 10 MB: more than the kernel's buffers of both ends take


async def long(writer: Writer, request: ChatRequest) -> None:
    for number in range(PIECES):
        if not writer.write([Text(PIECE)]):
            await writer.drain()
        if number % 100 == 0:
            await asyncio.sleep(0)
    writer.write([Usage(1, PIECES), Done("stop")])


async def short(writer: Writer, request: ChatRequest) -> None:
    for piece in ("one ", "two ", "three"):
        writer.write([Text(piece)])
        await writer.drain()
    writer.write([Usage(1, 3), Done("stop")])


async def page(writer: Writer, request: ChatRequest) -> None:
    writer.write([Text("x" * 60_000), Usage(1, 1), Done("stop")])


SCRIPTS = {"long": long, "short": short, "page": page}


async def start(server: Running, model: str = "long") -> str:
    response = await server.client.post("/v1/streams", json=BODY | {"model": model})
    return str(response.json()["id"])


@asynccontextmanager
async def small_window(server: Running) -> AsyncIterator[Connection]:
    """A client whose kernel takes little, so that not reading shows soon."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, server.address)
    reader, writer = await asyncio.open_connection(sock=sock, limit=4096)
    connection = Connection(reader, writer)
    try:
        yield connection
    finally:
        await connection.close()


async def test_a_frozen_viewer_costs_little_holds_nobody_up_and_is_cut() -> None:
    """Promise P7. A frozen client hangs the sender: sse-starlette #89; memory grows unread: litellm #12685."""
    settings = StreamSettings(send_timeout_s=1.0, grace_s=0.1, max_stream_bytes=2**30)
    async with running(SCRIPTS, streams=settings) as server:
        stream = await start(server)
        async with small_window(server) as frozen:
            frozen.send("GET", f"/v1/streams/{stream}/events")
            async with server.client.stream("GET", f"/v1/streams/{stream}/events") as reading:
                body = await reading.aread()
            text = "".join(json.loads(m.data)["text"] for m in messages_of(body) if m.event == "text")
            assert len(text) == PIECES * len(PIECE)
            # The most that waits is one batch of the log, which `max_pending_bytes` bounds, as frames.
            for protocol in server.server.server_state.connections:
                assert protocol.transport.get_write_buffer_size() < 2 * 2**20  # type: ignore[union-attr]
            await eventually(lambda: server.hub.viewers == 0)
            await frozen.head()
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await frozen.chunks()


async def test_a_peer_that_never_reads_the_end_is_cut() -> None:
    """sse-starlette #89: the response is over, so the hub no longer watches, and the socket must not stay for ever."""
    async with running(SCRIPTS, limits=HttpLimits(send_timeout_s=0.2)) as server:
        stream = await start(server, "page")
        connections = server.server.server_state.connections
        known = set(connections)
        async with small_window(server) as frozen:
            frozen.send("GET", "/health")
            await frozen.body((await frozen.head())[1])
            (protocol,) = connections - known
            # What the kernel takes for a peer that does not read shall be less than the answer.
            raw = protocol.transport.get_extra_info("socket")  # type: ignore[union-attr]
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            frozen.send("GET", f"/v1/streams/{stream}/events")
            await eventually(lambda: protocol.transport.get_write_buffer_size() > 0)  # type: ignore[union-attr]
            await eventually(lambda: server.hub.viewers == 0)
            await eventually(lambda: protocol not in connections)


async def test_a_peer_that_never_reads_a_whole_answer_is_cut() -> None:
    """P10: the same for an answer in one piece, which goes through the ASGI server."""
    async with running(SCRIPTS, limits=HttpLimits(send_timeout_s=0.2)) as server:
        connections = server.server.server_state.connections
        known = set(connections)
        async with small_window(server) as frozen:
            frozen.send("GET", "/health")
            await frozen.body((await frozen.head())[1])
            (protocol,) = connections - known
            raw = protocol.transport.get_extra_info("socket")  # type: ignore[union-attr]
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            body = json.dumps(BODY | {"model": "page"}).encode()
            frozen.send("POST", "/v1/chat/completions", body)
            await eventually(lambda: protocol not in connections)


async def test_a_reader_that_is_only_slow_is_not_cut_at_the_end() -> None:
    async with running(SCRIPTS, limits=HttpLimits(send_timeout_s=0.2)) as server:
        stream = await start(server, "page")
        async with small_window(server) as slow:
            slow.send("GET", f"/v1/streams/{stream}/events")
            await slow.head()
            text = "".join(json.loads(m.data)["text"] for m in messages_of(await slow.chunks()) if m.event == "text")
            assert text == "x" * 60_000
            slow.send("GET", "/health")
            assert (await slow.head())[0] == 200


async def test_a_slow_viewer_gets_everything_merged(tmp_path: Path) -> None:
    """It falls back to the log, and what it reads there is exact."""
    log = await SqliteLog.open(tmp_path, durability="commit")
    settings = StreamSettings(grace_s=0.1, max_stream_bytes=2**30)
    async with running(SCRIPTS, streams=settings, log=log) as server:
        stream = await start(server)
        async with small_window(server) as slow:
            slow.send("GET", f"/v1/streams/{stream}/events")
            await slow.head()
            data = await slow.chunk()
            await server.models.made[0].ended.wait()
            data += await slow.chunks()
        messages = messages_of(data)
        assert messages[0].event == "start"
        text = "".join(json.loads(m.data)["text"] for m in messages if m.event == "text")
        assert text == PIECE * PIECES
        assert len(messages) < PIECES / 2


async def test_viewers_that_vanish_leave_nothing() -> None:
    """Concurrency slots never come back when streams are cancelled: litellm #27955, #20256."""
    async with running(SCRIPTS, streams=StreamSettings(grace_s=0.1, max_stream_bytes=2**30)) as server:
        stream = await start(server)
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(small_window(server)) for _ in range(20)]
            for number, client in enumerate(clients):
                client.send("GET", f"/v1/streams/{stream}/events")
                if number % 2:
                    await client.head()
            await eventually(lambda: server.hub.viewers == len(clients))
            for client in clients:
                client.writer.transport.abort()
        await eventually(lambda: server.hub.viewers == 0)
        state = server.server.server_state
        await server.client.aclose()
        await eventually(lambda: not state.connections and not state.tasks)


async def test_other_asgi_servers_send_the_same_bytes() -> None:
    async with running(SCRIPTS) as server:
        stream = await start(server, "short")
        path = f"/v1/streams/{stream}/events"
        await server.client.get(path)
        handed_over = await server.client.get(path)
        transport = httpx.ASGITransport(server.server.config.app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            plain = await client.get(path)
            live = await client.post("/v1/chat/completions", json=BODY | {"model": "short", "stream": True})
        assert plain.content == handed_over.content
        assert plain.headers["content-type"] == handed_over.headers["content-type"]
        assert live.text.endswith("data: [DONE]\n\n")
        assert server.hub.viewers == 0


async def test_an_idle_viewer_holds_no_task() -> None:
    async def silent(writer: Writer, request: ChatRequest) -> None:
        await asyncio.Event().wait()

    async with running({"silent": silent}) as server:
        stream = await start(server, "silent")
        before = len(asyncio.all_tasks())
        async with connected(server) as one, connected(server) as two:
            for client in (one, two):
                client.send("GET", f"/v1/streams/{stream}/events")
                await client.head()
                await client.chunk()
            await eventually(lambda: not server.server.server_state.tasks)
            assert len(asyncio.all_tasks()) == before


async def test_the_first_frames_come_with_the_head() -> None:
    """One packet for the head and what is there already: no extra round trip before the first token."""
    async with running(SCRIPTS) as server, connected(server) as client:
        stream = await start(server, "short")
        await server.client.get(f"/v1/streams/{stream}/events")
        client.send("GET", f"/v1/streams/{stream}/events")
        data = await client.reader.read(65_536)
        assert data.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"event: done" in data or b"event: done" in await client.reader.read(65_536)

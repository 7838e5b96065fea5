"""The response without the hand-off, as any ASGI server runs it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headwater.dialects import DIALECTS, EncodeOptions
from headwater.events import Done, Text
from headwater.logs import MemoryLog
from headwater.server.compression import Compression
from headwater.server.responses import AsgiSink, EventStreamResponse, before_disconnect
from headwater.server.serving import Bind, Server
from headwater.sse import Parser
from headwater.streams import Channel, Hub, NewStream, Pace, StreamSettings, Writer
from headwater.telemetry.recorder import Recorder
from tests.integration.kit import eventually

from .asgi import Exchange, http_scope

Run = Callable[[Writer], Awaitable[None]]


class Scripted:
    def __init__(self, run: Run) -> None:
        self.run = run


async def hangs(writer: Writer) -> None:
    await asyncio.Event().wait()


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    hub = Hub(MemoryLog(), StreamSettings(grace_s=0.0, send_timeout_s=0.2))
    await hub.start()
    yield hub
    await hub.shutdown()
    await hub.log.close()


async def stream(hub: Hub, run: Run, *, linger_s: float = 300.0) -> Channel:
    return (await hub.create(NewStream(model="m", linger_s=linger_s), Scripted(run))).channel


def response(hub: Hub, channel: Channel, **options: object) -> EventStreamResponse:
    return EventStreamResponse(hub, channel, DIALECTS["events"].encoder(EncodeOptions()), **options)  # type: ignore[arg-type]


async def test_a_whole_stream(hub: Hub) -> None:
    async def run(writer: Writer) -> None:
        writer.write([Text("a"), Done("stop")])

    exchange = Exchange(http_scope())
    await exchange.run(response(hub, await stream(hub, run), headers={"X-Mine": "1"}))
    assert exchange.status == 200
    assert exchange.headers["x-mine"] == "1"
    assert exchange.headers["connection"] == "keep-alive"
    assert b"event: done" in exchange.body
    assert exchange.complete
    assert hub.viewers == 0


@pytest.mark.parametrize(
    "scope", [http_scope(version="1.0"), http_scope(version="2"), http_scope(headers={"Connection": "close"})]
)
async def test_keep_alive_is_said_where_it_means_something(hub: Hub, scope: dict[str, object]) -> None:
    async def run(writer: Writer) -> None:
        writer.write([Done("stop")])

    exchange = Exchange(scope)
    await exchange.run(response(hub, await stream(hub, run)))
    assert "connection" not in exchange.headers


async def test_head_gets_the_head(hub: Hub) -> None:
    channel = await stream(hub, hangs)
    exchange = Exchange(http_scope(method="HEAD"))
    await exchange.run(response(hub, channel))
    assert exchange.headers["x-stream-id"] == channel.id
    assert (exchange.body, exchange.complete) == (b"", True)
    assert hub.viewers == 0
    assert next(hub._viewer_numbers) == 1  # nobody came, so nobody is counted


async def test_a_disconnect_closes_the_viewer_and_not_the_stream(hub: Hub) -> None:
    channel = await stream(hub, hangs)
    exchange = Exchange(http_scope())
    task = asyncio.create_task(exchange.run(response(hub, channel)))
    await eventually(lambda: hub.viewers == 1 and len(exchange.sent) == 2)
    exchange.hang_up()
    await task
    assert hub.viewers == 0
    assert not exchange.complete
    assert not channel.ended


async def test_a_client_that_leaves_a_held_head_ends_a_stream_without_linger(hub: Hub) -> None:
    """litellm PR #31499"""
    channel = await stream(hub, hangs, linger_s=0.0)
    exchange = Exchange(http_scope())
    task = asyncio.create_task(exchange.run(response(hub, channel, head_wait_s=30.0)))
    await eventually(lambda: bool(channel.holds))
    exchange.hang_up()
    await task
    await channel.wait_end()
    assert channel.status == "cancelled"
    assert exchange.sent == []


async def test_a_peer_that_never_takes_a_byte_is_aborted(hub: Hub) -> None:
    channel = await stream(hub, hangs)
    exchange = Exchange(http_scope())
    task = asyncio.create_task(exchange.run(response(hub, channel)))
    await eventually(lambda: len(exchange.sent) == 2)
    exchange.gate.clear()
    (viewer,) = channel.viewers
    viewer.sink.write(b"x" * 100_000)
    assert not viewer.sink.writable
    await asyncio.wait_for(task, 10)
    assert hub.viewers == 0
    assert not exchange.complete


async def test_a_send_that_fails_lets_go_of_the_viewer(hub: Hub) -> None:
    channel = await stream(hub, hangs)
    exchange = Exchange(http_scope())

    async def broken(message: object) -> None:
        raise OSError("the socket broke")

    with pytest.raises(OSError, match="broke"):
        await response(hub, channel)(exchange.scope, exchange.receive, broken)
    assert hub.viewers == 0


async def test_the_sink_is_bounded_and_tells_when_there_is_room() -> None:
    sink = AsgiSink()
    room = asyncio.Event()
    sink.bind(room.set)
    exchange = Exchange(http_scope())
    exchange.gate.clear()
    lost: list[bool] = []
    task = asyncio.create_task(sink.run(exchange.receive, exchange.send, lambda: lost.append(True)))
    sink.write(b"x" * 40_000)
    assert not sink.writable
    await asyncio.sleep(0)
    assert not room.is_set()
    exchange.gate.set()
    await asyncio.wait_for(room.wait(), 5)
    assert sink.writable
    sink.write(b"y")
    sink.finish()
    await task
    assert b"".join(m["body"] for m in exchange.sent[:-1]) == b"x" * 40_000 + b"y"
    assert lost == [True]


async def test_what_fills_the_sink_during_a_send_also_ends() -> None:
    """Else a viewer that was passed over meanwhile would wait for ever for somebody to tell it of the room."""
    sink = AsgiSink()
    room = asyncio.Event()
    sink.bind(room.set)
    exchange = Exchange(http_scope())
    exchange.gate.clear()
    task = asyncio.create_task(sink.run(exchange.receive, exchange.send, lambda: None))
    sink.write(b"x" * 1_000)
    for _ in range(5):
        await asyncio.sleep(0)  # the small write is being sent now
    sink.write(b"y" * 32_000)
    assert not sink.writable
    exchange.gate.set()
    await asyncio.wait_for(room.wait(), 5)
    sink.finish()
    await task
    assert b"".join(m["body"] for m in exchange.sent[:-1]) == b"x" * 1_000 + b"y" * 32_000


async def test_an_abort_before_anything_was_sent() -> None:
    sink = AsgiSink()
    sink.bind(lambda: None)
    exchange = Exchange(http_scope())
    sink.abort()
    await sink.run(exchange.receive, exchange.send, lambda: None)
    assert exchange.sent == []


async def test_before_disconnect_raises_what_the_work_raised() -> None:
    async def fails() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await before_disconnect(Exchange(http_scope()).receive, fails())


async def test_before_disconnect_leaves_no_task_when_it_is_cancelled() -> None:
    task = asyncio.create_task(before_disconnect(Exchange(http_scope()).receive, asyncio.sleep(3600)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == {asyncio.current_task()}


class Held:
    """Holds a response's head back until the first of its body comes, as `GZipMiddleware` does."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        held: list[Message] = []

        async def later(message: Message) -> None:
            held.append(message)
            if message["type"] != "http.response.start":
                for each in held:
                    await send(each)
                held.clear()

        await self._app(scope, receive, later)


@pytest.mark.parametrize("pace", [None, Pace(10, 0.01)])
@pytest.mark.parametrize("compression", [None, Compression()])
@pytest.mark.parametrize("max_connections", [1, 100])
async def test_a_middleware_that_holds_the_head_back_gets_the_whole_body(
    max_connections: int, compression: Compression | None, pace: Pace | None
) -> None:
    """Handed over to the transport, events would go out before the head (or twice, where they wait for it)."""
    recorder = Recorder(asyncio.get_running_loop().time)
    hub = Hub(MemoryLog(), StreamSettings(grace_s=0.0, max_connections=max_connections), observer=recorder)
    await hub.start()
    go_on = asyncio.Event()

    async def run(writer: Writer) -> None:
        writer.write([Text("early")])
        await go_on.wait()
        writer.write([Text("late"), Done("stop")])

    # Whoever is the only audience must not end it by changing the way in which it is served.
    channel = await stream(hub, run, linger_s=0.0)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await response(hub, channel, compression=compression, pace=pace)(scope, receive, send)

    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    server = Server(Held(app), hub, Bind(port=0), ready=ready.set_result)
    serving = asyncio.create_task(server.serve())
    async with httpx.AsyncClient() as client, client.stream("GET", await ready) as answer:
        messages, parser = [], Parser()
        async for piece in answer.aiter_bytes():
            messages += parser.feed(piece)
            if any("early" in message.data for message in messages):
                go_on.set()
    assert [message.event for message in messages] == ["start", "text", "text", "usage", "done"]
    assert ("content-encoding" in answer.headers) is (compression is not None)
    if compression is not None:
        assert compression.held_bytes == 0
    # It came once, however it is served.
    counts = recorder.take(0).counts
    assert (counts.attached, counts.left_early, counts.drops) == (1, 0, 0)
    server.stop()
    await serving

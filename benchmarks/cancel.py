"""How long after a cancel the model's server sees its connection closed, from every state of an answer.

Hub, provider and a bare model server share one process and so one clock; `BUSY` other answers stream meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from statistics import median, quantiles

from headwater.events import Done
from headwater.logs import MemoryLog
from headwater.providers import HttpProvider, HttptoolsTransport, OpenAIChat
from headwater.request import ChatRequest
from headwater.routing import Registry, TargetSettings
from headwater.streams import Channel, Hub, NewStream
from headwater.tables import Limits, RouteTable, Target

from .workload import FILLER_CHUNK, ROLE_CHUNK

BUSY = 200
TIMES = 100
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
_FAILED = b"HTTP/1.1 500 Error\r\nContent-Length: 0\r\nRetry-After: 3\r\nConnection: close\r\n\r\n"


class Model:
    """A model server that does what the request's model name says, and notes when its peer leaves."""

    def __init__(self) -> None:
        self.arrived: asyncio.Queue[str] = asyncio.Queue()
        self.left: asyncio.Queue[float] = asyncio.Queue()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        name = json.loads(await reader.readexactly(length))["model"]
        talking = None
        if name == "failing":
            writer.write(_FAILED)
        elif name != "headless":
            writer.write(_HEAD + b"data: " + _payload(ROLE_CHUNK) + b"\n\n")
            if name != "silent":
                talking = asyncio.create_task(_talk(writer))
        if name != "busy":
            self.arrived.put_nowait(name)
        try:
            while await reader.read(65_536):
                pass
        except ConnectionError:
            pass
        if talking is not None:
            talking.cancel()
        if name != "busy":
            self.left.put_nowait(time.perf_counter())
        writer.close()


def _payload(chunk: bytes) -> bytes:
    """The JSON of one of the workload's frames."""
    return chunk[chunk.index(b"{") : chunk.rindex(b"}") + 1]


async def _talk(writer: asyncio.StreamWriter) -> None:
    frame = b"data: " + _payload(FILLER_CHUNK) + b"\n\n"
    while True:
        await asyncio.sleep(0.05)
        writer.write(frame)


class Stage:
    """A hub whose provider is the model server, with one slot for the route `queued`."""

    def __init__(self, url: str) -> None:
        transport = HttptoolsTransport()
        providers = [HttpProvider(name, OpenAIChat(url), transport, models=["any"]) for name in ("model", "narrow")]
        queued = RouteTable(targets=[Target(provider="narrow", model="headless")])
        self.registry = Registry(
            providers,
            limits={"narrow": Limits(max_concurrent=1)},
            routes={"queued": queued},
            settings=TargetSettings(breaker_failures=0),  # or it would not try again for long
            transport=transport,
        )
        self.hub = Hub(MemoryLog())

    async def begin(self, model: str) -> Channel:
        route = await self.registry.resolve(model if model == "queued" else f"model/{model}")
        request = ChatRequest(route.model, [{"role": "user", "content": "hello"}])
        return (await self.hub.create(NewStream(model=route.model), route.producer(request))).channel

    async def cancel(self, channel: Channel) -> float:
        """The moment of the cancel; returns when its end is committed."""
        asked = time.perf_counter()
        await self.hub.cancel(channel.record.id, owner="")
        if channel.terminal != Done("cancelled"):
            raise RuntimeError(f"the answer had ended before: {channel.terminal}")
        return asked


async def _until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - nobody announces it
        await asyncio.sleep(0.002)


async def _upstream_left(stage: Stage, model: Model, name: str) -> float:
    channel = await stage.begin(name)
    await model.arrived.get()
    if name == "talking":
        await _until(lambda: channel.fold.has_content)
    asked = await stage.cancel(channel)
    return await model.left.get() - asked


async def _ended(stage: Stage, model: Model, name: str) -> float:
    """For states without a connection: until the stream has its end."""
    first = await stage.begin("queued") if name == "queued" else None
    if first is not None:
        await model.arrived.get()
    channel = await stage.begin(name)
    await _until(lambda: channel.next_seq >= 2)
    asked = await stage.cancel(channel)
    took = time.perf_counter() - asked
    if first is not None:
        await stage.cancel(first)
    else:
        await model.arrived.get()
    await model.left.get()
    return took


STATES: dict[str, tuple[str, Callable[[Stage, Model, str], Awaitable[float]]]] = {
    "queued for the provider": ("queued", _ended),
    "before the head": ("headless", _upstream_left),
    "before the first token": ("silent", _upstream_left),
    "in mid-answer": ("talking", _upstream_left),
    "waiting to try again": ("failing", _ended),
}


async def measure() -> dict[str, dict[str, float]]:
    """Milliseconds by state: p50, p99, max."""
    model = Model()
    server = await asyncio.start_server(model.serve, "127.0.0.1", 0, backlog=1024)
    stage = Stage(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
    await stage.hub.start()
    busy = [await stage.begin("busy") for _ in range(BUSY)]
    figures = {}
    for state, (name, once) in STATES.items():
        times = [await once(stage, model, name) * 1e3 for _ in range(TIMES)]
        figures[state] = {"p50": median(times), "p99": quantiles(times, n=100)[98], "max": max(times)}
    for channel in busy:
        await stage.cancel(channel)
    await stage.hub.shutdown(0)
    await stage.registry.close()
    server.close()
    return figures


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(measure())) + "\n")

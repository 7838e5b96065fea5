"""A real server in the test's own loop, with models whose answers are scripted in the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import httpx
import msgspec

from headwater.errors import UnknownModel
from headwater.logs import MemoryLog
from headwater.request import ChatRequest
from headwater.server import ModelCard, Resolved, ServerSettings, create_app
from headwater.server.handoff import HttpLimits
from headwater.server.serving import Bind, Server
from headwater.sse import Message, Parser
from headwater.streams import Hub, Log, Producer, StreamSettings, Writer

Script = Callable[[Writer, ChatRequest], Awaitable[None]]


class ScriptedProducer:
    """Runs a test's coroutine as the upstream. `ended` is set whichever way it ends, `cancelled` when it was cut."""

    def __init__(self, script: Script, request: ChatRequest) -> None:
        self._script = script
        self._request = request
        self.ended = asyncio.Event()
        self.cancelled = False

    async def run(self, writer: Writer) -> None:
        try:
            writer.connected()
            await self._script(writer, self._request)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        finally:
            self.ended.set()


class ScriptedModels:
    """A `ModelDirectory` of scripts. `made` holds a producer for each request that reached one."""

    def __init__(self, scripts: dict[str, Script]) -> None:
        self._scripts = scripts
        self.made: list[ScriptedProducer] = []

    def forget(self) -> None:
        """No model is served any more."""
        self._scripts = {"": _nobody}

    async def resolve(self, model: str | None) -> Resolved:
        name = model or next(iter(self._scripts))
        if name not in self._scripts:
            raise UnknownModel(f"there is no model {name!r}", param="model")
        return Resolved(name, "scripted", lambda request: self._make(name, request))

    async def list(self) -> Sequence[ModelCard]:
        return [ModelCard(name, 1_700_000_000, "scripted") for name in self._scripts]

    def _make(self, name: str, request: ChatRequest) -> Producer:
        producer = ScriptedProducer(self._scripts[name], request)
        self.made.append(producer)
        return producer


async def _nobody(writer: Writer, request: ChatRequest) -> None:
    raise UnknownModel("there is no model")


class Running(msgspec.Struct):
    """A server that listens, and everything a test may want to look at."""

    url: str
    hub: Hub
    models: ScriptedModels
    server: Server
    client: httpx.AsyncClient

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").partition(":")
        return host, int(port)


@asynccontextmanager
async def running(
    scripts: dict[str, Script],
    *,
    settings: ServerSettings | None = None,
    streams: StreamSettings | None = None,
    limits: HttpLimits | None = None,
    log: Log | None = None,
) -> AsyncIterator[Running]:
    """Everything real but the models: sockets on a free port, hub, log."""
    hub = Hub(log or MemoryLog(), streams or StreamSettings(heartbeat_s=30.0, grace_s=0.5))
    await hub.start()
    models = ScriptedModels(scripts)
    app = create_app(hub, models, settings or ServerSettings())
    listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    server = Server(app, hub, Bind(port=0), limits=limits, ready=listening.set_result)
    serving = asyncio.create_task(server.serve())
    await asyncio.wait((serving, listening), return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()
    try:
        async with httpx.AsyncClient(base_url=listening.result(), timeout=20.0) as client:
            yield Running(listening.result(), hub, models, server, client)
    finally:
        server.stop()
        await serving
        await hub.log.close()


class Connection:
    """A raw HTTP/1.1 client on one socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, method: str, path: str, body: bytes = b"", *, version: str = "1.1", **headers: str) -> None:
        lines = [f"{method} {path} HTTP/{version}"]
        if "host" not in headers:
            headers["host"] = "localhost"
        if body:
            headers["content-length"] = str(len(body))
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    async def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the next response."""
        raw = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *rest = raw.split("\r\n")[:-2]
        return int(first.split(" ")[1]), {
            name.lower(): value for name, _, value in (line.partition(": ") for line in rest)
        }

    async def chunk(self) -> bytes:
        """The next chunk of a chunked body; empty: the last one."""
        size = int(await self.reader.readline(), 16)
        data = await self.reader.readexactly(size)
        assert await self.reader.readexactly(2) == b"\r\n"
        return data

    async def chunks(self) -> bytes:
        """All chunks up to the last."""
        data = bytearray()
        while piece := await self.chunk():
            data += piece
        return bytes(data)

    async def body(self, headers: dict[str, str]) -> bytes:
        if "content-length" in headers:
            return await self.reader.readexactly(int(headers["content-length"]))
        return await self.chunks()

    async def close(self) -> None:
        self.writer.close()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)


@asynccontextmanager
async def connected(to: Running, *, limit: int = 2**20) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection(*to.address, limit=limit)
    connection = Connection(reader, writer)
    try:
        yield connection
    finally:
        await connection.close()


def messages_of(data: bytes) -> list[Message]:
    return Parser().feed(data)


async def eventually(condition: Callable[[], bool], *, within_s: float = 10.0) -> None:
    """Yield to the loop until the condition holds: for effects in other tasks that nobody announces."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for, which is why this exists
            await asyncio.sleep(0.005)

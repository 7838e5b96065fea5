"""A hub on a memory log and its connections, at a clock that the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from headwater.dialects.streaming import StreamRequestBody
from headwater.events import StreamId
from headwater.request import ChatRequest
from headwater.server.connection_facts import Facts, keep
from headwater.server.connections import Begin, Connections, ConnectionSettings
from headwater.streams import Accepted, Hub, NewStream, Producer, StreamSettings
from tests.unit.streams.kit import FAST, FaultyLog, Script, eventually, started

NOW_MS = 1_700_000_000_000
BODY = StreamRequestBody(messages=[{"role": "user", "content": "Hi"}], model="m")
FACTS = Facts(request_id="r", client_id="c", model="m")


class Clock:
    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def __call__(self) -> int:
        return self.now_ms

    def advance(self, seconds: float) -> None:
        self.now_ms += int(seconds * 1000)


class World(msgspec.Struct):
    """A hub on a memory log, and its connections at a clock that the test moves."""

    hub: Hub
    log: FaultyLog
    clock: Clock
    connections: Connections

    def begin(self, producer: Producer, *, before: Callable[[], Awaitable[object]] | None = None, **new: Any) -> Begin:
        async def begin(stream: StreamId, body: StreamRequestBody, facts: Facts) -> Accepted:
            if before is not None:
                await before()
            request = keep(ChatRequest("m", body.messages), facts)
            made = NewStream(id=stream, model="m", provider="p", dialect="streaming", request=request, **new)
            return await self.hub.create(made, producer)

        return begin

    async def run(self, script: Script, *, owner: str = "", **new: Any) -> str:
        """A started connection."""
        connection = self.connections.create(owner, BODY, FACTS)
        await self.connections.start(connection.id, owner, self.begin(script, owner=owner, **new))
        return connection.id

    async def run_to_end(self, *words: str) -> str:
        script = Script()
        id = await self.run(script)
        script.say(*words)
        script.finish()
        await eventually(lambda: len(self.connections) == 0)
        return id

    def of(self, hub: Hub, limits: ConnectionSettings = ConnectionSettings()) -> World:  # noqa: B008 - frozen
        return World(hub, self.log, self.clock, Connections(hub, limits, clock_ms=self.clock))


@asynccontextmanager
async def opened(settings: StreamSettings = FAST) -> AsyncIterator[World]:
    log, clock = FaultyLog(), Clock()
    hub = await started(log, settings, clock_ms=clock)
    world = World(hub, log, clock, Connections(hub, clock_ms=clock))
    try:
        yield world
    finally:
        await world.connections.close()
        await hub.shutdown(0)

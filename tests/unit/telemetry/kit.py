"""A hub that is counted, in a loop whose time is the test's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from headwater.events import Done, Event, Usage
from headwater.logs.memory import MemoryLog
from headwater.streams import Hub, Log, StreamSettings, Writer
from headwater.telemetry.recorder import Recorder

SETTINGS = StreamSettings(flush_ms=0.0)


class Steps:
    """A producer that waits and writes: `(seconds, events)`. `error` ends it."""

    def __init__(self, *steps: tuple[float, Sequence[Event]], error: Exception | None = None) -> None:
        self._steps = steps
        self._error = error

    async def run(self, writer: Writer) -> None:
        for delay_s, events in self._steps:
            await asyncio.sleep(delay_s)
            writer.write(events)
        if self._error is not None:
            raise self._error
        writer.write([Usage(7, 11), Done("stop")])


@asynccontextmanager
async def counted(log: Log | None = None, settings: StreamSettings = SETTINGS) -> AsyncIterator[tuple[Hub, Recorder]]:
    recorder = Recorder(asyncio.get_running_loop().time)
    hub = Hub(log or MemoryLog(), settings, observer=recorder)
    await hub.start()
    yield hub, recorder
    await hub.shutdown(0)

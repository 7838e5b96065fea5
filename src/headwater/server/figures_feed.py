"""The figures as a stream of Headwater's own: one that all dashboards watch, produced while one of them does.

It lives in a hub of its own over a log in memory: it is in nobody's list of streams, takes no slot and no viewer's
place, is counted in no figure, and leaves nothing on disk. Every event is the whole, so a viewer begins with the newest
one, whatever cursor it comes back with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ..cursor import Cursor
from ..errors import ShuttingDown
from ..events import JsonObject, Metadata, Seq, StreamId
from ..logs.memory import MemoryLog
from ..streams import Channel, Hub, NewStream, StreamSettings, Writer

EVERY_S = 2.0
# As long as a dashboard may be looked at on one connection; it comes back by itself.
LASTS_S = 3600.0
LINGER_S = 10.0
MAX_WATCHERS = 100
# Events that the log holds; none is ever asked for but the last.
HELD_EVENTS = 30
# How soon a server that shuts down lets its dashboards go.
LOOK_S = 0.25
# Ended feeds hold next to nothing, and no more than this.
MAX_LOG_BYTES = 2**20
_SETTINGS = StreamSettings(max_connections=MAX_WATCHERS, total_timeout_s=LASTS_S + 60, grace_s=0.0)

ReadFigures = Callable[[], Awaitable[JsonObject]]


class FiguresFeed:
    """`open` it before, `close` it after. `main`: the hub whose shutdown ends the feed."""

    def __init__(self, main: Hub, read: ReadFigures, *, every_s: float = EVERY_S, lasts_s: float = LASTS_S) -> None:
        self._main = main
        self._read = read
        self._every_s = every_s
        self._lasts_s = lasts_s
        self._log = MemoryLog(max_bytes=MAX_LOG_BYTES)
        self.hub = Hub(self._log, _SETTINGS)
        self._channel: Channel | None = None
        self._beginning = asyncio.Lock()

    async def open(self) -> None:
        await self.hub.start()

    async def close(self) -> None:
        await self.hub.shutdown(0)
        await self._log.close()

    async def channel(self) -> Channel:
        """The stream under way, or a new one. Raises `ShuttingDown`."""
        async with self._beginning:
            if not self._main.accepting:
                raise ShuttingDown("the server is shutting down or not ready yet", retry_after_s=1.0)
            channel = self._channel
            if channel is None or channel.ended or channel.failure is not None:
                new = NewStream(linger_s=LINGER_S)
                channel = self._channel = (await self.hub.create(new, _Figures(self))).channel
            return channel

    def newest(self, channel: Channel) -> str | None:
        """A cursor after which there is one event only."""
        return str(Cursor(channel.epoch, channel.next_seq - 2)) if channel.next_seq > 1 else None

    async def produce(self, writer: Writer) -> None:
        """Until it has lasted long enough, or the server shuts down; without viewers the hub ends it."""
        loop = asyncio.get_running_loop()
        # Nothing is awaited from an upstream.
        writer.control.watch(None)
        ends_s = loop.time() + self._lasts_s
        while loop.time() < ends_s and self._main.accepting:
            writer.write([Metadata(await self._read())])
            await self._trim()
            await self._pause()
        if not self._main.accepting:
            for viewer in self.hub.audience():
                viewer.dismiss(self._main.settings.retry_ms)

    async def _pause(self) -> None:
        """In small steps: the main hub tells nobody that it shuts down."""
        for _ in range(max(1, round(self._every_s / LOOK_S))):
            if not self._main.accepting:
                return
            await asyncio.sleep(min(self._every_s, LOOK_S))

    async def _trim(self) -> None:
        channel = self._channel
        if channel is not None and channel.next_seq % HELD_EVENTS == 0:
            await self._log.trim(StreamId(channel.id), Seq(max(0, channel.next_seq - 1)))


class _Figures:
    """See `streams.Producer`."""

    def __init__(self, feed: FiguresFeed) -> None:
        self._feed = feed

    async def run(self, writer: Writer) -> None:
        await self._feed.produce(writer)

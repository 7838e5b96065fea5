"""A stream's events as an async iterator in this process: a viewer like any other, without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

from .dialects import EncodeOptions, dialect_named
from .errors import ShuttingDown, StreamReset
from .events import Event, decode_event
from .sse import Parser
from .streams import Channel, Hub

# What a consumer that lags behind may hold; beyond it the viewer reads the log again later, merged.
INBOX_BYTES = 65_536


async def follow_channel(hub: Hub, channel: Channel, after: str | None) -> AsyncGenerator[Event, None]:
    """Events after the cursor `after`, to the end. A consumer may take any time between two of them.

    Raises `StreamReset` for an unknown cursor, `ShuttingDown` where this process stops before the stream does, and
    `TooManyConnections`.
    """
    encoder = dialect_named("events").encoder(EncodeOptions())
    parser = Parser()
    cursor = after
    while True:
        inbox = Inbox()
        viewer = hub.attach(channel, encoder, inbox, cursor)
        try:
            while (data := await inbox.take()) is not None:
                for message in parser.feed(data):
                    if message.event == "reset":
                        raise StreamReset(channel.locate(cursor)[1] or "unknown_cursor")
                    cursor = message.id
                    yield decode_event(message.data)
        finally:
            viewer.close()
        if not inbox.aborted:
            break
        # A consumer that paused for longer than a socket may is not gone: it goes on where it was.
    if not channel.ended:
        raise ShuttingDown("the server stops; the stream goes on when it is back")


class Inbox:
    """A `Sink` that one coroutine takes from."""

    def __init__(self) -> None:
        self.aborted = False
        self._chunks: list[bytes] = []
        self._bytes = 0
        self._ended = False
        self._news = asyncio.Event()
        self._on_writable: Callable[[], None] | None = None

    @property
    def writable(self) -> bool:
        return self._bytes < INBOX_BYTES and not self._ended

    def bind(self, on_writable: Callable[[], None]) -> None:
        self._on_writable = on_writable

    def write(self, data: bytes) -> None:
        self._chunks.append(data)
        self._bytes += len(data)
        self._news.set()

    def finish(self) -> None:
        self._ended = True
        self._news.set()

    def abort(self) -> None:
        self.aborted = True
        self.finish()

    async def take(self) -> bytes | None:
        """All that was written since; `None` after the last."""
        while not self._chunks:
            if self._ended:
                return None
            self._news.clear()
            # Taking is reading: only a consumer that asks for more makes room for it.
            if self._on_writable is not None:
                self._on_writable()
            if not self._chunks and not self._ended:
                await self._news.wait()
        data = b"".join(self._chunks)
        self._chunks.clear()
        self._bytes = 0
        return data

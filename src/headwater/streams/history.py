"""Reading a stream's events back from the log, for whoever needs all of them."""

from __future__ import annotations

from ..errors import LogCorrupt, UnknownStream
from ..events import Event, Seq, StreamId
from .log import FROM_START, Log

READ_BYTES = 1 << 20


async def read_events(log: Log, stream: StreamId, until: int) -> list[Event]:
    """The events with seq < `until`. Raises `LogError`, `UnknownStream` for one that was deleted meanwhile."""
    events: list[Event] = []
    after = FROM_START
    while after < until - 1:
        part = await log.read(stream, after, max_bytes=READ_BYTES)
        if part is None:
            raise UnknownStream("the stream was deleted")
        if not part.events:
            raise LogCorrupt(f"events after seq {after} are missing")
        events.extend(part.events[: until - part.first_seq])
        after = Seq(part.first_seq + len(part.events) - 1)
    return events

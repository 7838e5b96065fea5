"""Reading a stream's events back from the log, for whoever needs all of them."""

from __future__ import annotations

from ..errors import LogCorrupt, UnknownStream
from ..events import Event, Seq, StreamId
from .fold import Fold
from .log import FROM_START, Log, StreamRecord

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


async def read_fold(log: Log, record: StreamRecord) -> Fold:
    """Fold the events that the record counts, not those committed since. Raises `LogCorrupt`."""
    state = Fold(record.first_seq)
    after = FROM_START
    while after < record.next_seq - 1:
        part = await log.read(record.id, after, max_bytes=READ_BYTES)
        if part is None or not part.events:
            break
        for event in part.events[: record.next_seq - part.first_seq]:
            state.apply(event)
        after = Seq(part.first_seq + len(part.events) - 1)
    return state

"""Which finished streams have to go: the oldest by their end, above an age or a size."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from ...events import StreamId
from .database import snapshot, sql

# One transaction's worth of deletions.
STREAMS_A_STEP = 64


def oldest_above(
    db: sqlite3.Connection, *, oldest_ms: float | None, max_bytes: int | None, unfinished_bytes: int
) -> list[StreamId]:
    """The next finished streams to delete: those that ended before `oldest_ms`, or while all streams' bytes, with
    `unfinished_bytes`, add up to more than `max_bytes`. Empty when both bounds hold.
    """
    with snapshot(db):
        excess = 0
        if max_bytes is not None:
            excess = db.execute(sql("finished_bytes")).fetchone()[0] + unfinished_bytes - max_bytes
        streams: list[StreamId] = []
        with closing(db.execute(sql("oldest_finished"), (STREAMS_A_STEP,))) as found:
            for stream, finished_ms, size in found:
                if excess <= 0 and (oldest_ms is None or finished_ms >= oldest_ms):
                    break
                streams.append(stream)
                excess -= size
        return streams

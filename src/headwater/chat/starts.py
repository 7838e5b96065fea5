"""Which streams a GET has started: an EventSource can send no body, and repeats its address when it reconnects.

Each start of one address by one tenant has epochs of its own, and the first of them is that of its stream's cursors.
So a cursor that comes back with the address names the very stream that it is a position in, also after the stream has
got a later epoch (a retry, or a machine that lost power).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable

from sqlalchemy import delete, func, insert, select

from ..cursor import parse_cursor
from ..events import StreamId
from ..store import Store
from ..store.tables import started

# Of one start: more than there can be attempts and recoveries.
EPOCHS = 256
# What the database's column takes.
_MOST = 2**31 - 1


def digest_of(path: str, query: Iterable[tuple[str, str]]) -> str:
    """What makes two GETs the same question, in whatever order their parameters come."""
    return hashlib.sha256(json.dumps([path, sorted(query)]).encode()).hexdigest()


class Starts:
    """`max_age_s`: how long a start is remembered; streams are kept no longer."""

    def __init__(
        self,
        store: Store,
        *,
        max_age_s: float = 604_800.0,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._store = store
        self._max_age_ms = int(max_age_s * 1000)
        self._clock_ms = clock_ms

    async def at(self, tenant: str, digest: str, cursor: str) -> StreamId | None:
        """The stream that this cursor is a position in."""
        position = parse_cursor(cursor)
        number = 0 if position is None else (position.epoch - 1) // EPOCHS + 1
        return await self._stream(tenant, digest, number) if 0 < number <= _MOST else None

    async def newest(self, tenant: str, digest: str) -> StreamId | None:
        """For addresses that name one start: with a ticket or a key in them."""
        return await self._stream(tenant, digest, None)

    async def _stream(self, tenant: str, digest: str, number: int | None) -> StreamId | None:
        asked = select(started.c.stream_id).where(started.c.tenant == tenant, started.c.digest == digest)
        if number is not None:
            asked = asked.where(started.c.epoch == number)
        async with self._store.read() as connection:
            found = (await connection.execute(asked.order_by(started.c.epoch.desc()).limit(1))).scalar()
        return None if found is None else StreamId(found)

    async def note(self, tenant: str, digest: str, stream: StreamId) -> int:
        """Note a start before its stream is made; its first epoch. Forgets what is too old. One after the other."""
        now_ms = self._clock_ms()
        last = select(func.max(started.c.epoch)).where(started.c.tenant == tenant, started.c.digest == digest)
        async with self._store.write() as connection:
            if not self._store.is_sqlite:  # which has one writer anyway
                await connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(digest, 0))))
            number = ((await connection.execute(last)).scalar() or 0) + 1
            row = {"tenant": tenant, "digest": digest, "epoch": number, "stream_id": stream, "at_ms": now_ms}
            await connection.execute(insert(started).values(row))
            await connection.execute(delete(started).where(started.c.at_ms < now_ms - self._max_age_ms))
        return (number - 1) * EPOCHS + 1

"""`SqliteLog`: the embedded log, for one process and one machine.

The caller's methods are here; what they do on disk is in `changes`, `reading`, `upkeep` and `retention`. Invariant:
the index (what the loop knows) changes only after the file did, in the order in which the file did.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from ...encryption import Sealer
from ...errors import LogError, LogUnavailable
from ...events import Seq, StreamId
from ...streams.log import Append, Durability, Query, Slice, StreamRecord
from ..sealing import Seals
from ..watching import Watchers
from .changes import AdvanceEpoch, Delete, GroupCommit, Trim
from .index import place_of
from .keys import UseKey
from .reading import Row, Stale, read_slice, select_record, select_records
from .retention import STREAMS_A_STEP, oldest_above
from .storage import Storage
from .turns import Turns
from .upkeep import Limits, Upkeep

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

# A read looks again when a stream ended, was created, folded or deleted in the fraction of a millisecond
# between index and snapshot. So many in a row mean that file and index do not belong together.
_ATTEMPTS = 100


class LogStats(msgspec.Struct, frozen=True):
    """Counters since opening, and gauges: `hot_streams`, `journal_rows` (an upper bound), `wal_bytes` (estimated)."""

    commits: int
    appends: int
    events: int
    bytes: int
    hot_streams: int
    journal_rows: int
    wal_bytes: int


class SqliteLog:
    """A `Log` with every extra ability. Get one with `open`; it belongs to the running loop."""

    def __init__(self, storage: Storage, limits: Limits) -> None:
        self._storage = storage
        self._seals = storage.seals
        self._index = storage.index
        self._turns = Turns(storage.writer, storage.writing)
        self._upkeep = Upkeep(self._index, self._turns, storage.keeper, storage.keeping, limits, storage.seals)
        self._watchers = Watchers()
        self._closing: asyncio.Task[None] | None = None
        self._commits = 0
        self._appends = 0
        self._events = 0
        self._bytes = 0

    @classmethod
    async def open(
        cls,
        data_dir: Path,
        *,
        durability: Durability = "commit",
        limits: Limits | None = None,
        sealer: Sealer | None = None,
    ) -> SqliteLog:
        """Open the log in `data_dir`, which is made where there is none (mode 0700) and then owned by this process.

        `durability`: `commit` survives the death of the process, `fsync` that of the machine. Raises `LogInUse`,
        `LogUnavailable` (read-only, full, written by a newer release), `LogCorrupt`, and `ConfigError` where records
        need a key that `sealer` does not have.
        """
        if durability == "memory":
            raise LogUnavailable("a log in a file cannot be of durability 'memory': use MemoryLog")
        storage = Storage(Seals(sealer))
        await storage.open(data_dir, durability)
        log = cls(storage, limits or Limits())
        if storage.index.lost:
            await log._disown()
        return log

    async def commit(self, appends: Sequence[Append]) -> Sequence[LogError | None]:
        """As `Log.commit`. Every refusal is a `SeqConflict`: also a taken id (`actual`: its next seq), a taken
        idempotency key (`actual` -1: there is no stream of this id), and an end (`actual`: the next seq).
        """
        return await self._turns.commit(GroupCommit(self._index, appends, self._committed, self._seals))

    async def read(self, stream: StreamId, after: Seq, *, max_bytes: int) -> Slice | None:
        async def attempt() -> Slice | None:
            hot = self._index.hot.get(stream)
            place = None if hot is None else place_of(hot, after + 1)
            return await self._storage.reader.run(
                lambda: read_slice(
                    self._storage.reading, stream, after=after, max_bytes=max_bytes, place=place, seals=self._seals
                )
            )

        return await _until_fresh(attempt)

    async def get(self, stream: StreamId) -> StreamRecord | None:
        async def attempt() -> StreamRecord | None:
            row = await self._storage.reader.run(lambda: select_record(self._storage.reading, stream, self._seals))
            return None if row is None else self._record(row)

        return await _until_fresh(attempt)

    async def find(self, query: Query) -> list[StreamRecord]:
        async def attempt() -> list[StreamRecord]:
            rows = await self._storage.reader.run(lambda: select_records(self._storage.reading, query, self._seals))
            return [self._record(row) for row in rows]

        return await _until_fresh(attempt)

    async def close(self) -> None:
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close(), name="headwater-log-close")
        await asyncio.shield(self._closing)

    def watch(self, stream: StreamId, notify: Callable[[], None]) -> Callable[[], None]:
        return self._watchers.add(stream, notify)

    async def trim(self, stream: StreamId, before: Seq) -> None:
        await self._turns.commit(Trim(self._index, stream, before))

    async def advance_epoch(self, stream: StreamId, *, boot: str = "") -> int:
        """As `SupportsEpoch`. Raises `SeqConflict` for a stream that has ended (`actual`: its next seq) or is
        unknown (`actual` -1).
        """
        return await self._turns.commit(AdvanceEpoch(self._index, stream, boot))

    async def delete(self, streams: Sequence[StreamId]) -> int:
        count = 0
        for start in range(0, len(streams), STREAMS_A_STEP):
            count += await self._turns.chore(Delete(self._index, streams[start : start + STREAMS_A_STEP]))
        return count

    async def compact(self) -> int:
        """As `SupportsMaintenance`; the log also does it by itself when enough streams have finished."""
        if self._closing is not None:
            raise LogUnavailable("the log is closed")
        return await self._upkeep.fold()

    async def use_key(self, name: str) -> None:
        """Note that records may be sealed with this key from now on; before the sealer adopts it."""
        await self._turns.commit(UseKey(name))

    async def expire(self, *, now_ms: int, max_age_s: float | None, max_bytes: int | None) -> int:
        """As `SupportsMaintenance`. `max_bytes` counts requests and events as they are stored, compressed once they
        are folded, of unfinished streams too. Space goes back to the file system while over a quarter is free.
        """
        oldest_ms = None if max_age_s is None else now_ms - max_age_s * 1000
        count = 0
        while streams := await self._expired(oldest_ms, max_bytes):
            count += await self._turns.chore(Delete(self._index, streams))
        if count:
            await self._upkeep.fold()
            await self._upkeep.shrink()
        return count

    def stats(self) -> LogStats:
        index = self._index
        return LogStats(
            commits=self._commits,
            appends=self._appends,
            events=self._events,
            bytes=self._bytes,
            hot_streams=len(index.hot),
            journal_rows=index.next_row - index.oldest_row,
            wal_bytes=self._upkeep.wal_bytes,
        )

    async def _expired(self, oldest_ms: float | None, max_bytes: int | None) -> list[StreamId]:
        unfinished = sum(hot.bytes for hot in self._index.hot.values() if not hot.ended)
        return await self._storage.keeper.run(
            lambda: oldest_above(
                self._storage.keeping, oldest_ms=oldest_ms, max_bytes=max_bytes, unfinished_bytes=unfinished
            )
        )

    def _committed(self, group: GroupCommit) -> None:
        """Runs in the loop once a group is on disk, whether or not anybody still waits for it."""
        self._commits += 1
        self._bytes += group.bytes
        self._appends += len(group.appends)
        self._events += group.events
        self._upkeep.committed(group.bytes, group.catalog_rows)
        self._watchers.notify(a for a, refused in zip(group.appends, group.outcomes, strict=True) if refused is None)

    def _record(self, row: Row) -> StreamRecord:
        """What the index knows better of an unfinished stream. Raises `Stale`."""
        record = row.record
        if record.ended is not None:
            return record
        hot = self._index.hot.get(record.id)
        if hot is None:
            raise Stale  # created, or folded or deleted, between the snapshot and now
        # Ended since: as it stood before that, like the rest of the record.
        next_seq = max(hot.first_seq, hot.end_seq) if hot.ended else hot.next_seq
        return msgspec.structs.replace(record, epoch=hot.epoch, first_seq=hot.first_seq, next_seq=next_seq)

    async def _disown(self) -> None:
        """Events that viewers saw may be gone: no cursor of an unfinished stream may match what comes now."""
        unfinished = [hot.id for hot in self._index.hot.values() if not hot.ended]
        _log.error("events of these streams may be lost, they get a new epoch: %s", ", ".join(unfinished) or "none")
        for stream in unfinished:
            await self.advance_epoch(stream)

    async def _close(self) -> None:
        await self._turns.close()
        await self._upkeep.stop()
        await self._storage.close()


async def _until_fresh(attempt: Callable[[], Awaitable[_T]]) -> _T:
    for _ in range(_ATTEMPTS):
        with suppress(Stale):
            return await attempt()
    raise LogUnavailable("the stream changed during every attempt to read it")

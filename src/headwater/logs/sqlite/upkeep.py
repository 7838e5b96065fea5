"""Upkeep: what keeps the file and the index small, in steps too short to be felt between commits.

Folding moves events from the journal into the archive: of finished streams all, of unfinished ones what is long or
old, so that neither the row numbers in memory nor the journal grow with the length of an answer. Reading and
compressing happen on the keeping connection; the writing one only stores the result. Rows that nobody needs any
more leave the journal from its front.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from array import array
from itertools import chain
from typing import NamedTuple

import msgspec

from ...errors import LogCorrupt, LogError
from ..sealing import PLAIN, Seals
from ..segments import COMPRESSION_LEVEL, Piece, pack
from .database import execute_rows, log_error, snapshot, sql, transaction
from .index import Hot, Index
from .reading import opened_piece, read_rows
from .sums import segment_sum, state_sum
from .turns import Turns
from .worker import Worker

_log = logging.getLogger(__name__)

_CHUNK_COLUMNS = 5
_FOLD_COLUMNS = 5
_WAL_FRAME_BYTES = 4096 + 24  # https://www.sqlite.org/fileformat2.html#the_write_ahead_log
_RETRY_AFTER_S = 5.0


class Limits(msgspec.Struct, frozen=True):
    """When upkeep has something to do. The defaults keep each step on the writing connection within milliseconds."""

    fold_rows: int = 512  # of one unfinished stream in the journal: 8 KiB of row numbers in memory
    fold_streams: int = 64  # finished ones that wait
    fold_bytes: int = 2**20  # of journal rows in one step
    journal_rows: int = 2**18  # from the oldest needed row to the newest; a start reads all of them (0.3 s)
    reclaim_rows: int = 2_000  # deleted in one step
    wal_bytes: int = 4 * 2**20  # between two checkpoints
    vacuum_pages: int = 64  # given back to the file system in one step
    spare_pages: int = 1024  # free ones that the file keeps; it also keeps a quarter of its size
    compression_level: int = COMPRESSION_LEVEL  # of zlib, for what is folded


class Upkeep:
    """Belongs to the loop's thread. `keeping` is a connection of its own, used in `keeper` only."""

    def __init__(
        self,
        index: Index,
        turns: Turns,
        keeper: Worker,
        keeping: sqlite3.Connection,
        limits: Limits,
        seals: Seals = PLAIN,
    ) -> None:
        self._seals = seals
        self._index = index
        self._turns = turns
        self._keeper = keeper
        self._keeping = keeping
        self._limits = limits
        self._running = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._not_before_s = 0.0
        self._checkpoint_at = limits.wal_bytes
        self._fold_at_rows = limits.journal_rows
        self.wal_bytes = 0

    def committed(self, journal_bytes: int, catalog_rows: int) -> None:
        """A group is on disk. Starts a round where one is due; the estimate is set right by each checkpoint."""
        # Whole pages go into the WAL: the journal's last ones, and with a created or ended stream its row and indexes.
        self.wal_bytes += 2 * _WAL_FRAME_BYTES + journal_bytes + journal_bytes // 2
        if catalog_rows:
            self.wal_bytes += (4 + catalog_rows) * _WAL_FRAME_BYTES
        index, limits = self._index, self._limits
        if (
            self.wal_bytes < self._checkpoint_at
            and len(index.finished) < limits.fold_streams
            and index.next_row - index.oldest_row < self._fold_at_rows
        ):
            return
        loop = asyncio.get_running_loop()
        if self._task is None and loop.time() >= self._not_before_s:
            self._task = loop.create_task(self._round(), name="headwater-log-upkeep")

    async def stop(self) -> None:
        """End the round that is running. What it has handed to a thread is finished there."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def fold(self) -> int:
        """Fold finished streams, and what is long or old of the others; returns how many finished ones were."""
        async with self._running:
            count = 0
            while hots := self._due():
                wanted = [_part(hot, self._limits.fold_bytes) for hot in hots]
                packed = await self._keeper.run(lambda: self._packed(wanted))  # noqa: B023 - awaited at once
                count += await self._turns.chore(_Fold(self._index, packed))
            needed = self._index.oldest_needed_row()
            while self._index.oldest_row < needed:
                await self._turns.chore(_Reclaim(self._index, needed, self._limits.reclaim_rows))
            return count

    def _packed(self, parts: list[_Part]) -> list[_Packed]:
        """In the keeper's thread."""
        with snapshot(self._keeping):
            return [_pack_one(self._keeping, part, self._seals, self._limits.compression_level) for part in parts]

    async def shrink(self) -> None:
        """Give free pages back to the file system, except what the journal will soon use again."""
        async with self._running:
            while await self._turns.chore(_Vacuum(self._limits)):
                pass
            await self._checkpoint()

    async def _round(self) -> None:
        try:
            if self.wal_bytes >= self._checkpoint_at:
                await self._checkpoint()
            await self.fold()
            # A damaged stream holds the journal's front: what a round could not gain is not tried at each commit.
            span = self._index.next_row - self._index.oldest_row
            self._fold_at_rows = max(self._limits.journal_rows, span + self._limits.journal_rows // 2)
            self._not_before_s = 0.0
        except LogError as exc:
            _log.warning("the log's upkeep failed and is tried again in %g s: %s", _RETRY_AFTER_S, exc)
            self._not_before_s = asyncio.get_running_loop().time() + _RETRY_AFTER_S
        finally:
            self._task = None

    async def _checkpoint(self) -> None:
        """Copy the WAL into the file. The bulk is done beside the commits, which only wait when the WAL grew long.

        A WAL starts anew once all of it is copied, and under steady load a commit always comes in between; so the
        last few frames are then copied in a turn of their own.
        """
        frames, _copied = await self._keeper.run(lambda: _checkpoint(self._keeping))
        self.wal_bytes = frames * _WAL_FRAME_BYTES
        if self.wal_bytes >= 4 * self._limits.wal_bytes:
            self.wal_bytes = await self._turns.chore(_Checkpoint())
        self._checkpoint_at = self.wal_bytes + self._limits.wal_bytes

    def _due(self) -> list[Hot]:
        """Streams for one step."""
        index, limits = self._index, self._limits
        old = index.next_row - limits.journal_rows // 2
        unfinished = (
            hot
            for hot in index.hot.values()
            if not hot.ended and hot.rows and (len(hot.rows) >= limits.fold_rows or hot.rows[0] < old)
        )
        due: list[Hot] = []
        size = 0
        for hot in chain(index.finished.values(), unfinished):
            if hot.damaged:
                continue
            due.append(hot)
            size += hot.journal_bytes
            if len(due) == limits.fold_streams or size >= limits.fold_bytes:
                break
        return due


class _Part(NamedTuple):
    """The first rows of a hot stream, up to seq `end_seq`."""

    hot: Hot
    rows: array[int]
    end_seq: int


class _Packed(NamedTuple):
    """Those rows in their archived form. `chunks` is None when they are damaged."""

    part: _Part
    chunks: list[Piece] | None
    journal_bytes: int


def _part(hot: Hot, max_bytes: int) -> _Part:
    """As many rows as make up about `max_bytes`, at least one where there is one."""
    count = len(hot.rows)
    if hot.journal_bytes > max_bytes:
        count = max(1, count * max_bytes // hot.journal_bytes)
    return _Part(hot, hot.rows[:count], hot.starts[count] if count < len(hot.starts) else hot.next_seq)


def _pack_one(db: sqlite3.Connection, part: _Part, seals: Seals, level: int) -> _Packed:
    try:
        stored, stream = read_rows(db, part.hot.num, part.rows), part.hot.id
        chunks = pack((opened_piece(piece, stream, seals) for piece in stored), level)
        sealed = [
            chunk._replace(data=seals.seal(stream, "archive", chunk.data, chunk.first_seq, chunk.events))
            for chunk in chunks
        ]
        return _Packed(part, sealed, sum(len(piece.data) for piece in stored))
    except LogCorrupt:
        return _Packed(part, None, 0)
    except sqlite3.DatabaseError as exc:
        if isinstance(log_error(exc), LogCorrupt):
            return _Packed(part, None, 0)
        raise


class _Fold:
    """Store archived forms, and let the journal's rows of them go."""

    def __init__(self, index: Index, packed: list[_Packed]) -> None:
        self._index = index
        self._packed = packed
        self._chunks: list[object] = []
        self._streams: list[object] = []

    def begin(self) -> None:
        # What was deleted or trimmed while it was packed is left for another time.
        self._packed = [packed for packed in self._packed if self._is_current(packed.part)]
        for part, chunks, journal_bytes in self._packed:
            hot = part.hot
            if chunks is None:
                hot.damaged = True
                self._index.finished.pop(hot.id, None)
                _log.error("stream %s is damaged: it stays in the journal as it is", hot.id)
                continue
            size = hot.stored_bytes + sum(len(chunk.data) for chunk in chunks)
            folded = hot.ended and len(part.rows) == len(hot.rows)
            rest = hot.journal_bytes - journal_bytes if hot.ended else 0
            for chunk in chunks:
                self._chunks += (hot.num, *chunk, segment_sum(hot.num, *chunk))
            state = state_sum(hot.num, hot.epoch, hot.first_seq, part.end_seq, folded, size + rest)
            self._streams += (hot.num, part.end_seq, folded, size + rest, state)

    def work(self, db: sqlite3.Connection) -> None:
        with transaction(db):
            execute_rows(db, "add_chunks", _CHUNK_COLUMNS, self._chunks)
            execute_rows(db, "fold_streams", _FOLD_COLUMNS, self._streams)

    def settle(self) -> int:
        count = 0
        for part, chunks, journal_bytes in self._packed:
            if chunks is None:
                continue
            hot = part.hot
            hot.archived_seq = part.end_seq
            hot.drop_rows(len(part.rows))
            hot.stored_bytes += sum(len(chunk.data) for chunk in chunks)
            hot.journal_bytes -= journal_bytes
            if hot.ended and not hot.rows:
                self._index.forget(hot)
                count += 1
        return count

    def _is_current(self, part: _Part) -> bool:
        return self._index.hot.get(part.hot.id) is part.hot and part.hot.rows[: len(part.rows)] == part.rows


class _Reclaim:
    """Delete journal rows that nobody needs, from the front."""

    def __init__(self, index: Index, needed_row: int, max_rows: int) -> None:
        self._index = index
        self._from = index.oldest_row
        self._to = min(needed_row, index.oldest_row + max_rows)

    def begin(self) -> None:
        """Nothing to plan: a row that nobody needed is not needed later either."""

    def work(self, db: sqlite3.Connection) -> None:
        db.execute(sql("reclaim_rows"), (self._from, self._to))

    def settle(self) -> None:
        self._index.oldest_row = self._to


class _Vacuum:
    """One step of giving pages back; its result says whether another is worth it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._more = False

    def begin(self) -> None:
        """Nothing to plan."""

    def work(self, db: sqlite3.Connection) -> None:
        (free,) = db.execute("PRAGMA freelist_count").fetchone()
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        self._more = free > max(self._limits.spare_pages, pages // 4)
        if self._more:
            db.execute(f"PRAGMA incremental_vacuum({self._limits.vacuum_pages})").fetchall()

    def settle(self) -> bool:
        return self._more


class _Checkpoint:
    """The end of a checkpoint, between two commits, so that the WAL starts anew with the next."""

    def __init__(self) -> None:
        self._frames = self._copied = 0

    def begin(self) -> None:
        """Nothing to plan."""

    def work(self, db: sqlite3.Connection) -> None:
        self._frames, self._copied = _checkpoint(db)

    def settle(self) -> int:
        """How long the WAL is. No commit can have come in between, so it starts anew when all of it is copied."""
        return 0 if self._copied == self._frames else self._frames * _WAL_FRAME_BYTES


def _checkpoint(db: sqlite3.Connection) -> tuple[int, int]:
    """Copy what the WAL holds into the file; returns how many frames it had, and how many of them are copied."""
    _busy, frames, copied = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return frames, copied

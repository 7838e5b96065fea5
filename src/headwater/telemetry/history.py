"""Minutes and ended streams on disk: one small SQLite file of its own, so that plain streaming needs no database.

It is written once a minute, and read again only when something is asked for from before the last day, or of a stream
that is not in memory any more. Figures must never cost an answer: a file that cannot be had is told once in the log,
and the figures live in memory.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from ..integrity import sum_of
from ..integrity.findings import Report, check_structure, opened
from .track import Recorded, decode_recorded, encode_recorded
from .windows import Row

FILE_NAME = "metrics.sqlite3"

_logger = logging.getLogger(__name__)
_TABLES = (
    "CREATE TABLE IF NOT EXISTS minutes (minute_ms INTEGER PRIMARY KEY, figures BLOB NOT NULL) STRICT",
    (
        "CREATE TABLE IF NOT EXISTS streams (id TEXT PRIMARY KEY, ended_ms INTEGER NOT NULL, figures BLOB NOT NULL,"
        " sum INTEGER NOT NULL) STRICT, WITHOUT ROWID"
    ),
    "CREATE INDEX IF NOT EXISTS streams_ended ON streams (ended_ms)",
)
# Later than the table: files of the first release have none, and no sum is no damage.
_ADD_SUM = "ALTER TABLE minutes ADD COLUMN sum INTEGER"
_HAS_SUM = "SELECT 1 FROM pragma_table_info('minutes') WHERE name = 'sum'"
_SAVE = (
    "INSERT INTO minutes (minute_ms, figures, sum) VALUES (?, ?, ?)"
    " ON CONFLICT (minute_ms) DO UPDATE SET figures = excluded.figures, sum = excluded.sum"
)
_SAVE_STREAM = (
    "INSERT INTO streams VALUES (?, ?, ?, ?)"
    " ON CONFLICT (id) DO UPDATE SET ended_ms = excluded.ended_ms, figures = excluded.figures, sum = excluded.sum"
)
_READ_STREAM = "SELECT id, ended_ms, figures, sum FROM streams WHERE id = ?"
_READ_STREAMS = "SELECT id, ended_ms, figures, sum FROM streams"
_PRUNE_STREAMS = (
    "DELETE FROM streams WHERE ended_ms < ?1"
    " OR ended_ms <= (SELECT ended_ms FROM streams ORDER BY ended_ms DESC LIMIT 1 OFFSET ?2)"
)
_PRUNE = "DELETE FROM minutes WHERE minute_ms < ?"
_READ = "SELECT minute_ms, figures, sum FROM minutes WHERE minute_ms >= ? ORDER BY minute_ms"
_BUSY_S = 5.0

T = TypeVar("T")


class History:
    """`path` None: nothing is kept. All methods work in a thread, one at a time, and raise nothing of SQLite's."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._working = asyncio.Lock()
        self._told = False

    async def read(self, since_ms: int) -> list[Row]:
        """Oldest first."""
        if self._path is None or (self._connection is None and not await asyncio.to_thread(self._path.exists)):
            return []  # nothing was ever kept; a start need not make the file

        def read(connection: sqlite3.Connection) -> list[Row]:
            rows, damaged = rows_of(connection, since_ms)
            if damaged:
                _logger.error("%s: the figures of %d minutes are damaged, and left out", self._path, len(damaged))
            return rows

        return await self._do(read) or []

    async def save(self, row: Row, *, prune_before_ms: int) -> None:
        """Keep a minute, or what is known of it so far, and forget those that are too old."""

        def save(connection: sqlite3.Connection) -> None:
            with connection:
                connection.execute(_SAVE, (*row, sum_of(row)))
                connection.execute(_PRUNE, (prune_before_ms,))

        await self._do(save)

    async def read_stream(self, stream: str) -> Recorded | None:
        """None for one that is not kept."""
        if self._path is None or (self._connection is None and not await asyncio.to_thread(self._path.exists)):
            return None

        def read(connection: sqlite3.Connection) -> list[bytes]:
            good, damaged = streams_of(connection.execute(_READ_STREAM, (stream,)))
            if damaged:
                _logger.error("%s: the figures of stream %s are damaged, and left out", self._path, stream)
            return good

        rows = await self._do(read)
        return decode_recorded(rows[0]) if rows else None

    async def save_streams(self, streams: Mapping[str, Recorded], *, keep: int, prune_before_ms: int) -> None:
        """Keep these, and forget those that ended too long ago, and all but the newest `keep`."""

        def save(connection: sqlite3.Connection) -> None:
            rows = [(id, int(one.end_ms), encode_recorded(one)) for id, one in streams.items()]
            with connection:
                connection.executemany(_SAVE_STREAM, [(*row, sum_of(row)) for row in rows])
                connection.execute(_PRUNE_STREAMS, (prune_before_ms, keep))

        await self._do(save)

    async def close(self) -> None:
        async with self._working:
            connection, self._connection = self._connection, None
            if connection is not None:
                with suppress(sqlite3.Error):
                    await asyncio.to_thread(connection.close)

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        if self._path is None:
            return None
        async with self._working:
            working = asyncio.ensure_future(asyncio.to_thread(self._work, self._path, work))
            try:
                return await asyncio.shield(working)
            except asyncio.CancelledError:
                # The thread knows nothing of it, and the connection is not for two at once.
                await asyncio.wait((working,))
                if not working.cancelled():
                    working.exception()
                raise
            except (sqlite3.Error, OSError) as exc:
                if not self._told:
                    self._told = True
                    _logger.warning("figures are not kept over a restart: %s: %s", self._path, exc)
                return None

    def _work(self, path: Path, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._connection is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Each call has a thread of its own; the lock around them is what SQLite asks for.
            connection = sqlite3.connect(path, timeout=_BUSY_S, check_same_thread=False)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                make_schema(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return work(self._connection)


def make_schema(connection: sqlite3.Connection) -> None:
    """Of an empty file, or of one of an earlier release."""
    for table in _TABLES:
        connection.execute(table)
    if connection.execute(_HAS_SUM).fetchone() is None:
        connection.execute(_ADD_SUM)


def rows_of(connection: sqlite3.Connection, since_ms: int) -> tuple[list[Row], list[int]]:
    """The minutes that are as they were kept, oldest first, and those that are not."""
    good: list[Row] = []
    damaged: list[int] = []
    for minute_ms, data, total in connection.execute(_READ, (since_ms,)):
        row = Row(minute_ms, bytes(data))
        if total in (None, sum_of(row)):
            good.append(row)
        else:
            damaged.append(minute_ms)
    return good, damaged


def streams_of(rows: Iterable[tuple[str, int, bytes, int]]) -> tuple[list[bytes], list[str]]:
    """What is kept of ended streams and is as it was, and the ids of those of which it is not."""
    good: list[bytes] = []
    damaged: list[str] = []
    for stream, ended_ms, figures, total in rows:
        if sum_of((stream, ended_ms, bytes(figures))) == total:
            good.append(bytes(figures))
        else:
            damaged.append(stream)
    return good, damaged


def check_figures(data_dir: Path, report: Report) -> None:
    """Nobody may write meanwhile. Changes nothing."""
    path = data_dir / FILE_NAME
    with opened(path, report) as db:
        if db is None:
            return
        check_structure(db, path, report, make_schema)
        good, damaged = rows_of(db, 0)
        report.count("minutes", len(good))
        for minute_ms in damaged:
            report.find(path, f"minutes {minute_ms}", "the figures do not match their checksum")
        streams, broken = streams_of(db.execute(_READ_STREAMS))
        report.count("figures of streams", len(streams))
        for stream in broken:
            report.find(path, f"streams {stream}", "the figures do not match their checksum")

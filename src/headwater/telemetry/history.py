"""Minutes on disk: one small SQLite file of its own, so that plain streaming needs no other database.

It is written once a minute, and only when something is asked for from before the last day is it read again. Figures
must never cost an answer: a file that cannot be had is told once in the log, and the figures live in memory.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from ..integrity import sum_of
from ..integrity.findings import Report, check_structure, opened
from .windows import Row

FILE_NAME = "metrics.sqlite3"

_logger = logging.getLogger(__name__)
_TABLE = "CREATE TABLE IF NOT EXISTS minutes (minute_ms INTEGER PRIMARY KEY, figures BLOB NOT NULL) STRICT"
# Later than the table: files of the first release have none, and no sum is no damage.
_ADD_SUM = "ALTER TABLE minutes ADD COLUMN sum INTEGER"
_HAS_SUM = "SELECT 1 FROM pragma_table_info('minutes') WHERE name = 'sum'"
_SAVE = (
    "INSERT INTO minutes (minute_ms, figures, sum) VALUES (?, ?, ?)"
    " ON CONFLICT (minute_ms) DO UPDATE SET figures = excluded.figures, sum = excluded.sum"
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
    connection.execute(_TABLE)
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

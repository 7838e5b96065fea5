"""What a damaged file still gives, so that damage costs the streams that it hit and lets the others be served.

Told at start, and by `headwater check`. What was lost is unknown for streams that had no end yet: they get a new epoch,
so that no cursor of before means an event of after.
"""

from __future__ import annotations

import logging
import shutil
import sqlite3
from array import array
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from ...errors import LogCorrupt, LogUnavailable
from ...integrity import read_wal
from .database import log_error, sql, transaction

_log = logging.getLogger(__name__)

_OLD_JOURNAL = "journal_damaged_"
_KEPT_WAL = ".damaged"


def has_lost_commits(path: Path) -> bool:
    """Whether the write-ahead log of an unopened file is damaged; a copy of it is kept beside it then.

    SQLite would overwrite it without a word. Raises `LogUnavailable`.
    """
    wal = path.with_name(f"{path.name}-wal")
    if not wal.exists() or not path.exists():
        return False
    try:
        with closing(sqlite3.connect(path)) as db:
            # Its second figure: how many frames SQLite has taken.
            with suppress(sqlite3.DatabaseError):
                _busy, frames, _copied = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                if not read_wal(wal, trust=max(frames, 0)).damaged:
                    return False
            kept = wal.with_name(f"{wal.name}{_KEPT_WAL}")
            shutil.copyfile(wal, kept)
            kept.chmod(0o600)
    except OSError as exc:
        raise LogUnavailable(f"cannot read {wal}: {exc.strerror}") from exc
    _log.error("%s is damaged: the newest commits are lost; a copy of it is %s", wal, kept.name)
    return True


def kept_wals(data_dir: Path) -> list[Path]:
    """The copies of damaged write-ahead logs. Nobody reads them, and they hold pages as they were written then."""
    return sorted(data_dir.glob(f"*-wal{_KEPT_WAL}"))


def scan(db: sqlite3.Connection, damaged: list[int]) -> Iterator[tuple[Any, ...]]:
    """The journal's rows in order, those on pages that cannot be read left out.

    `damaged` gets the number of the row before such pages (0: there is none).
    """
    last = 0
    try:
        for found in db.execute(sql("journal_rows")):
            last = found[0]
            yield found
        return
    except sqlite3.DatabaseError as exc:
        _check_damage(exc)
    damaged.append(last)
    behind: list[tuple[Any, ...]] = []
    try:
        for found in db.execute(sql("journal_rows_from_the_end")):
            if found[0] <= last:
                break
            behind.append(found)
    except sqlite3.DatabaseError as exc:
        _check_damage(exc)
    yield from reversed(behind)


def rebuild_journal(db: sqlite3.Connection, rows: array[int]) -> int:
    """Copy these rows into a new journal, as the old one's pages cannot all be written to; how many could not be.

    The old one stays, under another name, for whoever wants to look at it.
    """
    tables = dict(db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table'").fetchall())
    number = next(number for number in range(1, len(tables) + 2) if f"{_OLD_JOURNAL}{number}" not in tables)
    old, lost = f"{_OLD_JOURNAL}{number}", 0
    with transaction(db):
        db.execute(f"ALTER TABLE journal RENAME TO {old}")
        db.execute(tables["journal"])
        copy = f"INSERT INTO journal SELECT id, stream, first_seq, count, data, sum FROM {old} WHERE id = ?"  # noqa: S608
        for row in rows:
            try:
                db.execute(copy, (row,))
            except sqlite3.DatabaseError as exc:
                _check_damage(exc)
                lost += 1
    _log.error("the journal is damaged: %d rows are saved, the others are in the table %s", len(rows) - lost, old)
    return lost


def old_journals(db: sqlite3.Connection) -> list[str]:
    """The tables that `rebuild_journal` has left."""
    names = db.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB ? || '[0-9]*'", (_OLD_JOURNAL,)
    )
    return sorted(name for (name,) in names)


def forget_old_journals(db: sqlite3.Connection) -> None:
    """What could be read of them is in the journal. Whoever calls this runs VACUUM next, which leaves their pages out.

    Dropping a table means to walk through its pages, which SQLite refuses where one of them is damaged.
    """
    if not (names := old_journals(db)):
        return
    db.execute("PRAGMA writable_schema = ON")
    try:
        with transaction(db):
            db.executemany("DELETE FROM sqlite_schema WHERE type = 'table' AND name = ?", [(name,) for name in names])
    finally:
        db.execute("PRAGMA writable_schema = RESET")


def repair_indexes(db: sqlite3.Connection) -> None:
    """Make the stream table's indexes anew. Raises `sqlite3.DatabaseError` where the table itself is damaged."""
    with transaction(db):
        db.execute("REINDEX stream")
    _log.error("an index of the streams was damaged, and is made anew")


def _check_damage(exc: sqlite3.DatabaseError) -> None:
    """Raises what is no damage."""
    if not isinstance(log_error(exc), LogCorrupt):
        raise exc

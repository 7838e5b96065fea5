"""What a check of a data directory has found."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import TypeAlias

import msgspec

from .texts import decode_text, shown
from .wal import read_wal

# Of one file; whoever has more needs a backup, not a longer list.
MAX_TOLD = 100

# Makes the schema in an empty database.
Make: TypeAlias = Callable[[sqlite3.Connection], None]


class Finding(msgspec.Struct, frozen=True):
    """`item`: the stream, or the table and the row; "" for the file as a whole."""

    file: str
    item: str
    problem: str


class Report(msgspec.Struct):
    """`counts`: what was looked at, by what it is called. `findings`: what is damaged, in the order of the files."""

    counts: dict[str, int] = {}
    findings: list[Finding] = []

    def count(self, what: str, number: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + number

    def find(self, path: Path, item: str, problem: str) -> None:
        self.findings.append(Finding(path.name, shown(item), problem))


@contextmanager
def opened(path: Path, report: Report) -> Iterator[sqlite3.Connection | None]:
    """A connection that changes nothing, its write-ahead log checked before; what SQLite raises inside is a finding.

    Nothing (None) where there is no such file.
    """
    if not path.exists():
        yield None
        return
    wal = path.with_name(f"{path.name}-wal")
    if read_wal(wal).damaged:
        report.find(wal, "", "the write-ahead log is damaged: the newest commits are lost")
    report.count("files")
    beside = [path.with_name(f"{path.name}{end}") for end in ("-wal", "-shm")]
    made_here = [file for file in beside if not file.exists()]
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)) as db:
            db.text_factory = decode_text
            yield db
    except (sqlite3.Error, ArithmeticError, TypeError, ValueError) as exc:
        # Not the driver's errors only: what was a text may be a number now, and worse.
        report.find(path, "", f"it cannot be read to its end: {exc}")
    finally:
        # A connection that only reads leaves them, empty.
        for file in made_here:
            file.unlink(missing_ok=True)


def check_structure(db: sqlite3.Connection, path: Path, report: Report, make: Make) -> None:
    """SQLite's own check, and whether the schema is the one that `make` gives an empty database."""
    for (problem,) in db.execute(f"PRAGMA integrity_check({MAX_TOLD})").fetchall():
        if problem != "ok":
            report.find(path, "", str(problem).replace("\n", " "))
    expected, found = _expected(make), _schema(db)
    for name in sorted(expected.keys() | found.keys()):
        if found.get(name) != expected.get(name):
            report.find(path, name, "its definition in the schema is not the one that it was made with")


@cache
def _expected(make: Make) -> dict[str, str]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        make(fresh)
        return _schema(fresh)


def _schema(db: sqlite3.Connection) -> dict[str, str]:
    """Definitions by name, without what repairs leave beside them."""
    rows = db.execute("SELECT type || ' ' || name, sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()
    found = {str(name): " ".join(str(sql).split()) for name, sql in rows}
    version = str(db.execute("PRAGMA user_version").fetchone()[0])
    return {name: sql for name, sql in found.items() if "journal_damaged_" not in name} | {"user_version": version}

"""A look at all that the chat backend's SQLite file holds: its structure, every row, and the index over passages."""

from __future__ import annotations

import sqlite3
from importlib import import_module
from pathlib import Path
from typing import Any

from sqlalchemy import JSON

from ..encryption import Sealer
from ..errors import StoreCorrupt
from ..integrity.findings import MAX_TOLD, Report, check_structure, opened
from .database import FILE_NAME
from .migrations import upgrade
from .sealing import MARK, SEALED, Sealed, Seals, key_of, loads
from .sums import SUM_FUNCTION, Summed, mismatches, row_sum

# What there is of words: where each stands, whatever the order.
_WORDS = f"SELECT count(*), sum({SUM_FUNCTION}(term, doc, col, offset)) FROM temp.words"  # noqa: S608


def check_store(data_dir: Path, report: Report, sealer: Sealer | None = None) -> None:
    """Nobody may write meanwhile. Changes nothing. `sealer` None: what is sealed is not opened."""
    path = data_dir / FILE_NAME
    with opened(path, report) as db:
        if db is None:
            return
        db.create_function(SUM_FUNCTION, -1, row_sum, deterministic=True)
        check_structure(db, path, report, _make)
        for table, *_ in db.execute("PRAGMA foreign_key_check").fetchmany(MAX_TOLD):
            report.find(path, str(table), "a row belongs to one that is not there")
        for summed in summed_tables():
            _rows(db, summed, path, report)
        _search_index(db, path, report)
        if sealer is not None:
            _sealed(db, Seals(sealer), path, report)


def _sealed(db: sqlite3.Connection, seals: Seals, path: Path, report: Report) -> None:
    for what in SEALED.values():
        names = [*what.key, *what.columns]
        for row in db.execute(f"SELECT {', '.join(names)} FROM {what.table.name}"):  # noqa: S608 - ours
            values = dict(zip(names, row, strict=True))
            key = tuple(values[name] for name in what.key)
            for column in what.columns:
                try:
                    report.count("sealed", _open(seals, what, key, column, values[column]))
                except StoreCorrupt as exc:
                    report.find(path, " ".join(map(str, (what.table.name, *key))), exc.message)


def _open(seals: Seals, what: Sealed, key: tuple[Any, ...], column: str, stored: Any) -> int:
    """How many sealed values this one is (0 or 1). Raises `StoreCorrupt`."""
    if isinstance(what.table.c[column].type, JSON) and stored is not None:
        stored = loads(stored)
    seals.open(what.table, key, column, stored)
    return int(key_of(stored) is not None)


def summed_tables() -> tuple[Summed, ...]:
    """Of the newest migration that changed them."""
    versions = "headwater.store.migrations.versions"
    tables: tuple[Summed, ...] = import_module(f"{versions}.0002_row_sums").SUMMED
    return (*tables, import_module(f"{versions}.0003_sealing").SUMMED)


def _make(db: sqlite3.Connection) -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.pool import StaticPool

    db.create_function(SUM_FUNCTION, -1, row_sum, deterministic=True)
    with create_engine("sqlite://", creator=lambda: db, poolclass=StaticPool).begin() as connection:
        upgrade(connection)


def _rows(db: sqlite3.Connection, summed: Summed, path: Path, report: Report) -> None:
    (number,) = db.execute(f"SELECT count(*) FROM {summed.table}").fetchone()  # noqa: S608 - ours
    report.count("rows", number)
    for (key,) in db.execute(mismatches(summed)).fetchmany(MAX_TOLD):
        item = f"{summed.table} {str(key).replace(chr(31), ' ')}"
        report.find(path, item, "the row does not match its checksum")


def _search_index(db: sqlite3.Connection, path: Path, report: Report) -> None:
    """Whether the passages are found by their words: against an index that is made anew from them, in memory."""
    db.execute("PRAGMA temp_store = MEMORY")
    db.execute("ATTACH ':memory:' AS fresh")
    (made,) = db.execute("SELECT sql FROM sqlite_schema WHERE name = 'passages_fts'").fetchone()
    db.execute(made.replace("passages_fts", "fresh.passages_fts", 1))
    db.execute(
        "INSERT INTO fresh.passages_fts(rowid, scope, text, section)"
        " SELECT id, replace(workspace_id, '-', ''), text, section FROM main.passages WHERE substr(text, 1, ?) <> ?",
        (len(MARK), MARK),
    )
    words = []
    for schema in ("main", "fresh"):
        db.execute(f"CREATE VIRTUAL TABLE temp.words USING fts5vocab('{schema}', 'passages_fts', 'instance')")
        words.append(db.execute(_WORDS).fetchone())
        db.execute("DROP TABLE temp.words")
    kept, made = (f"SELECT rowid, scope, text, section FROM {schema}.passages_fts" for schema in ("main", "fresh"))  # noqa: S608
    different = db.execute(f"SELECT EXISTS ({kept} EXCEPT {made}) OR EXISTS ({made} EXCEPT {kept})").fetchone()
    if words[0] != words[1] or different != (0,):
        report.find(path, "passages_fts", "the index over passages is not the one that the passages give")

"""Connections to the log's file: settings, schema versions, named SQL, and what the driver's errors mean."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

import msgspec

from ...errors import LogCorrupt, LogError, LogUnavailable
from ...integrity import decode_text
from ...streams.log import Durability

# One prepared statement a size: each size up to 64 rows, above that these. 256 rows stay far below the 32,766
# parameters that SQLite allows, and larger statements measure no faster.
ROWS_A_STATEMENT: Final = 64
LARGE_SIZES: Final = (256, 128, ROWS_A_STATEMENT)
CACHED_STATEMENTS: Final = 256
READ_CACHE_KIB: Final = 16_384

_SYNCHRONOUS: Final[dict[Durability, str]] = {"commit": "NORMAL", "fsync": "FULL"}

# Primary result codes (https://www.sqlite.org/rescode.html); every other one is a `LogUnavailable` as well, because
# the commit was rolled back and may be tried again.
_CORRUPT: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})
_MEANINGS: Final = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "the data directory is read-only",
    sqlite3.SQLITE_IOERR: "the disk failed (or its quota is used up)",
    sqlite3.SQLITE_CANTOPEN: "the log's file cannot be opened",
    sqlite3.SQLITE_BUSY: "another program holds a lock on the log's file",
    sqlite3.SQLITE_LOCKED: "another connection holds a lock on the log's table",
    sqlite3.SQLITE_NOMEM: "there is not enough memory",
    sqlite3.SQLITE_PERM: "the data directory's permissions do not allow it",
}


def log_error(exc: sqlite3.Error) -> LogError:
    """The one table that maps the driver's errors; the driver's own stays as the cause."""
    code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # the rest of an extended code is detail
    if code in _CORRUPT:
        error: LogError = LogCorrupt(f"the log's file is damaged: {exc}")
    else:
        meaning = _MEANINGS.get(code)
        error = LogUnavailable(f"{meaning}: {exc}" if meaning else f"the log cannot do it: {exc}")
    error.__cause__ = exc
    return error


@cache
def _queries() -> dict[str, str]:
    parts = re.split(r"^-- (\w+) --$", _text("queries.sql"), flags=re.MULTILINE)
    return {name: sql.strip() for name, sql in zip(parts[1::2], parts[2::2], strict=True)}


def sql(name: str) -> str:
    """One named block of `sql/queries.sql`."""
    return _queries()[name]


@cache
def _for_rows(name: str, columns: int, rows: int) -> str:
    row = "(" + ",".join("?" * columns) + ")"
    return sql(name).format(rows=",".join([row] * rows))


def execute_rows(db: sqlite3.Connection, name: str, columns: int, values: list[object]) -> int:
    """Run a block that has `{rows}` for `len(values) / columns` rows, in as few steps as pay; returns rows changed."""
    changed = start = 0
    remaining = len(values) // columns
    while remaining:
        rows = next((size for size in LARGE_SIZES if remaining >= size), remaining)
        end = start + rows * columns
        part = values if rows == len(values) // columns else values[start:end]
        changed += db.execute(_for_rows(name, columns, rows), part).rowcount
        start, remaining = end, remaining - rows
    return changed


def json_list(values: Iterable[object]) -> str:
    """Any number of values as one parameter, for `json_each`: one prepared statement serves every number."""
    return msgspec.json.encode(list(values)).decode()


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, for a connection that writes."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        db.rollback()  # does nothing where SQLite has done so by itself, as after some disk errors
        raise


@contextmanager
def snapshot(db: sqlite3.Connection) -> Iterator[None]:
    """Everything read inside is from one instant."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.rollback()


def open_writer(path: Path, durability: Durability) -> sqlite3.Connection:
    """The connection that writes; creates the file and brings its schema up to date. Raises `LogUnavailable`."""
    try:
        # Made here, so that nobody else can ever open it; SQLite gives -wal and -shm the same mode.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as exc:
        raise LogUnavailable(f"cannot write {path}: {exc.strerror}") from exc
    db = _connect(path, durability)
    with _closed_on_failure(db):
        _migrate(db, path)
    return db


def open_reader(path: Path, durability: Durability) -> sqlite3.Connection:
    """A connection that only reads, and may run checkpoints."""
    db = _connect(path, durability)
    with _closed_on_failure(db):
        db.execute("PRAGMA query_only = ON")
        # Rows of one stream lie on as many pages of the journal, which the streams of a batch share: folding takes a
        # quarter less CPU than with SQLite's 2 MiB. In KiB; a bound, not a reservation.
        db.execute(f"PRAGMA cache_size = -{READ_CACHE_KIB}")
    return db


def _connect(path: Path, durability: Durability) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=CACHED_STATEMENTS)
    # A text with a flipped bit fails its record's checksum, and must not fail the driver before.
    db.text_factory = decode_text
    with _closed_on_failure(db):
        _configure(db, durability)
    return db


@contextmanager
def _closed_on_failure(db: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        db.close()
        raise


def _configure(db: sqlite3.Connection, durability: Durability) -> None:
    # Before the first table: lets the file shrink in small steps when retention has emptied much of it.
    db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    db.execute("PRAGMA journal_mode = WAL")
    # NORMAL leaves commits to the kernel, which outlives the process; FULL also syncs the WAL at every commit.
    db.execute(f"PRAGMA synchronous = {_SYNCHRONOUS[durability]}")
    # Checkpoints are run beside the commits, never by the commit that happens to cross a limit.
    db.execute("PRAGMA wal_autocheckpoint = 0")
    # Deleted answers are overwritten where that costs no extra page; some builds of SQLite do more by default.
    db.execute("PRAGMA secure_delete = FAST")


def overwrite_all(db: sqlite3.Connection) -> None:
    """From now on all that is deleted is overwritten with zeros, whatever it costs."""
    db.execute("PRAGMA secure_delete = ON").fetchone()


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    migrations = _migrations()
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    if version > len(migrations):
        raise LogUnavailable(
            f"{path} was written by a newer release (schema {version}; this release knows {len(migrations)}): "
            "upgrade Headwater, or use another data_dir"
        )
    make_schema(db, version)


def make_schema(db: sqlite3.Connection, version: int = 0) -> None:
    """Bring a database from schema `version` (0: empty) to the newest."""
    for number, migration in enumerate(_migrations()[version:], start=version + 1):
        with transaction(db):
            for statement in _statements(migration):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {number}")


def _migrations() -> list[str]:
    folder = resources.files(__package__) / "sql" / "migrations"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [_text(f"migrations/{name}") for name in names]


def _statements(script: str) -> Iterator[str]:
    """Statements one by one: `executescript` would commit what came before it."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _text(name: str) -> str:
    return (resources.files(__package__) / "sql" / name).read_text("utf-8")

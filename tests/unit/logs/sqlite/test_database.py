from __future__ import annotations

import sqlite3
import threading
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from headwater.errors import LogCorrupt, LogError, LogUnavailable
from headwater.logs import SqliteLog
from headwater.logs.sqlite.database import execute_rows, log_error, open_reader, open_writer, snapshot, sql, transaction
from headwater.streams.log import Durability
from tests.conformance.logs.stories import finished


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (sqlite3.SQLITE_FULL, LogUnavailable, "disk is full"),
        (sqlite3.SQLITE_READONLY, LogUnavailable, "read-only"),
        (sqlite3.SQLITE_IOERR_WRITE, LogUnavailable, "disk failed"),
        (sqlite3.SQLITE_CANTOPEN, LogUnavailable, "cannot be opened"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, LogUnavailable, "another program"),
        (sqlite3.SQLITE_LOCKED, LogUnavailable, "another connection"),
        (sqlite3.SQLITE_NOMEM, LogUnavailable, "memory"),
        (sqlite3.SQLITE_PERM, LogUnavailable, "permissions"),
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, LogUnavailable, "cannot do it"),
        (None, LogUnavailable, "cannot do it"),
        (sqlite3.SQLITE_CORRUPT_VTAB, LogCorrupt, "damaged"),
        (sqlite3.SQLITE_NOTADB, LogCorrupt, "damaged"),
        (sqlite3.SQLITE_FORMAT, LogCorrupt, "damaged"),
    ],
)
def test_what_the_drivers_errors_mean(code: int | None, kind: type[LogError], words: str) -> None:
    cause = sqlite3.OperationalError("as the driver says")
    if code is not None:
        cause.sqlite_errorcode = code
    error = log_error(cause)
    assert type(error) is kind
    assert error.__cause__ is cause
    assert words in error.message
    assert "as the driver says" in error.message


@pytest.mark.parametrize(("durability", "level"), [("commit", 1), ("fsync", 2)])
def test_settings_of_a_connection(tmp_path: Path, durability: Durability, level: int) -> None:
    path = tmp_path / "x.db"
    for open_connection in (open_writer, open_reader):
        db = open_connection(path, durability)

        def pragma(name: str, db: sqlite3.Connection = db) -> object:
            return db.execute(f"PRAGMA {name}").fetchone()[0]

        assert pragma("journal_mode") == "wal"
        assert pragma("synchronous") == level
        assert pragma("wal_autocheckpoint") == 0
        assert pragma("auto_vacuum") == 2
        assert pragma("query_only") == (open_connection is open_reader)
        assert pragma("user_version") == 3
        db.close()


async def test_a_newer_schema_is_refused_clearly(tmp_path: Path) -> None:
    await (await SqliteLog.open(tmp_path)).close()
    with sqlite3.connect(tmp_path / "streams.db") as db:
        db.execute("PRAGMA user_version = 7")
    db.close()
    with pytest.raises(LogUnavailable, match=r"newer release \(schema 7; this release knows 3\)"):
        await SqliteLog.open(tmp_path)
    assert nothing_is_open(tmp_path)


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "streams.db").write_bytes(b"something else entirely " * 100)
    with pytest.raises(LogCorrupt):
        await SqliteLog.open(tmp_path)
    assert (tmp_path / "streams.db").read_bytes().startswith(b"something else")
    assert nothing_is_open(tmp_path)


async def test_a_migration_that_fails_leaves_nothing_half_done(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "streams.db") as db:
        db.execute("CREATE TABLE archive (something_else)")
    db.close()
    with pytest.raises(LogUnavailable, match="archive already exists"):
        await SqliteLog.open(tmp_path)
    with sqlite3.connect(tmp_path / "streams.db") as db:
        assert db.execute("SELECT name FROM sqlite_schema").fetchall() == [("archive",)]
    db.close()


def test_rows_are_split_into_statements(tmp_path: Path) -> None:
    db = open_writer(tmp_path / "x.db", "commit")
    total = 0
    for rows in (0, 1, 63, 64, 65, 200, 700):
        values: list[object] = []
        for row in range(total, total + rows):
            values += (row, 1, row, 1, b"x", 0)
        assert execute_rows(db, "add_rows", 6, values) == rows
        total += rows
    assert [row[0] for row in db.execute("SELECT id FROM journal ORDER BY id")] == list(range(total))
    db.close()


def test_a_transaction_is_all_or_nothing(tmp_path: Path) -> None:
    db = open_writer(tmp_path / "x.db", "commit")
    with suppress(ZeroDivisionError), transaction(db):
        execute_rows(db, "add_rows", 6, [1, 1, 0, 1, b"x", 0])
        raise ZeroDivisionError
    with snapshot(db):
        assert db.execute("SELECT count(*) FROM journal").fetchone() == (0,)
    assert not db.in_transaction
    db.close()


def test_every_block_is_valid_sql(tmp_path: Path) -> None:
    db = open_writer(tmp_path / "x.db", "commit")
    text = (Path(__file__).parents[4] / "src/headwater/logs/sqlite/sql/queries.sql").read_text("utf-8")
    names = [line[3:-3] for line in text.splitlines() if line.startswith("-- ") and line.endswith(" --")]
    assert len(names) > 20
    for name in names:
        widths = {"add_streams": 16, "add_rows": 6, "add_chunks": 5, "end_streams": 7, "fold_streams": 5}
        row = f"({','.join('?' * widths.get(name, 1))})"
        statement = sql(name).format(rows=row, conditions="TRUE")
        db.execute(f"EXPLAIN {statement}", [None] * statement.count("?"))
    db.close()


@pytest.mark.parametrize(
    ("block", "conditions", "index"),
    [
        ("find", "folded = 0 AND finished_ms IS NULL", "stream_unfolded"),
        ("find", "owner = ? AND id < ?", "stream_owner"),
        ("find", "idempotency_key = ? AND idempotency_key <> '' AND owner = ?", "stream_key"),
        ("oldest_finished", "", "stream_finished"),
        ("finished_bytes", "", "COVERING INDEX stream_finished"),
        ("chunks", "", "archive_position"),
    ],
)
def test_queries_use_their_index(tmp_path: Path, block: str, conditions: str, index: str) -> None:
    db = open_writer(tmp_path / "x.db", "commit")
    statement = sql(block).format(conditions=conditions)
    plan = db.execute(f"EXPLAIN QUERY PLAN {statement}", [None] * statement.count("?")).fetchall()
    assert index in " ".join(step[3] for step in plan)
    db.close()


async def test_nothing_is_left_open(tmp_path: Path) -> None:
    for number in range(5):
        log = await SqliteLog.open(tmp_path)
        assert {t.name for t in threading.enumerate()} >= {f"headwater-log-{n}" for n in ("writer", "reader", "keeper")}
        await finished(log, f"s{number}", texts=3)
        await log.compact()
        await log.close()
        assert nothing_is_open(tmp_path)


def nothing_is_open(directory: Path) -> bool:
    files = [file.path for file in psutil.Process().open_files() if file.path.startswith(str(directory))]
    return not files and not any(thread.name.startswith("headwater-log") for thread in threading.enumerate())

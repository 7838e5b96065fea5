"""What `headwater check` finds in the chat backend's file."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from headwater.encryption import Key, KeyRing, Sealer
from headwater.integrity.findings import Report
from headwater.store import open_store
from headwater.store.checking import check_store, summed_tables
from headwater.store.database import database_url
from headwater.store.sums import SUM_FUNCTION, row_sum
from headwater.store.tables import metadata
from tests.integration.data_kit import fill_store

SEALER = Sealer(KeyRing([Key(bytes(32))]))


@pytest.fixture
async def data_dir(tmp_path: Path) -> AsyncIterator[Path]:
    store = await open_store(database_url(None, tmp_path))
    await fill_store(store)
    await store.close()
    yield tmp_path
    assert sorted(file.name for file in tmp_path.iterdir()) == ["chat.sqlite3"]


def found(data_dir: Path, sealer: Sealer | None = None) -> list[str]:
    report = Report()
    check_store(data_dir, report, sealer)
    return [f"{finding.item}: {finding.problem}" for finding in report.findings]


def tamper(data_dir: Path, *statements: str, quietly: bool = True) -> None:
    """`quietly`: as a disk would do it, with no trigger at work."""
    with closing(sqlite3.connect(data_dir / "chat.sqlite3", isolation_level=None)) as db:
        db.create_function(SUM_FUNCTION, -1, row_sum)
        triggers = db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for name, _ in triggers if quietly else ():
            db.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            db.execute(statement)
        for _, made in triggers if quietly else ():
            db.execute(made)


def test_every_column_of_every_table_is_summed() -> None:
    """Whoever adds a column makes the triggers of its table anew."""
    summed = {each.table: [*each.key, *each.columns] for each in summed_tables()}
    assert summed.keys() == metadata.tables.keys()
    for table in metadata.sorted_tables:
        assert sorted(summed[table.name]) == sorted(column.name for column in table.columns)


async def test_a_sound_file_has_nothing_to_tell(data_dir: Path, tmp_path: Path) -> None:
    assert found(data_dir) == []
    assert found(tmp_path / "nowhere") == []
    # Changes by SQL are changes: the triggers see to their sums.
    tamper(data_dir, "UPDATE threads SET title = 'another'", "DELETE FROM workspaces", quietly=False)
    assert found(data_dir)[0].startswith("threads: a row belongs to one that is not there")


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE messages SET content = 'Another' WHERE role = 'user'", "messages .*: the row does not match"),
        ("UPDATE messages SET number = number + 64", "messages"),
        ("UPDATE workspaces SET temperature = 0.1", "workspaces"),
        ("UPDATE document_versions SET content = x'00'", "document_versions .* 1: the row"),
        ("DELETE FROM messages WHERE role = 'user'", "messages"),
        ("UPDATE counters SET value = value + 1", "counters user:ann"),
        ("DELETE FROM row_sums WHERE kind = 'passages'", "passages"),
        ("UPDATE passages_fts SET text = 'else' WHERE rowid = 1", "passages_fts: the index"),
        ("DELETE FROM passages_fts", "passages_fts: the index"),
        ("CREATE TABLE more (a)", "table more: its definition"),
        ("PRAGMA user_version = 4", "user_version"),
        ("DROP INDEX ix_messages_parent_id", "index ix_messages_parent_id"),
    ],
)
async def test_what_is_not_as_it_was_written_is_told(data_dir: Path, statement: str, told: str) -> None:
    tamper(data_dir, statement)
    problems = found(data_dir)
    assert problems
    assert any(re.search(told, problem) for problem in problems), problems


async def test_what_is_sealed_is_opened_where_there_is_a_key(tmp_path: Path) -> None:
    store = await open_store(database_url(None, tmp_path), SEALER)
    await fill_store(store)
    await store.close()
    assert found(tmp_path) == found(tmp_path, SEALER) == []
    tamper(
        tmp_path,
        "UPDATE messages SET content = (SELECT content FROM messages WHERE role = 'assistant') WHERE role = 'user'",
        "UPDATE row_sums SET sum = (SELECT 1)",
        "DELETE FROM row_sums",
    )
    assert any("cannot be decrypted" in problem for problem in found(tmp_path, SEALER))
    assert not any("cannot be decrypted" in problem for problem in found(tmp_path))


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("messages", "content", "CAST(x'0168773102e1' || CAST(substr(content, 5) AS BLOB) AS TEXT)"),
        ("messages", "content", "CAST(CAST(substr(content, 1, 9) AS BLOB) || x'c1' AS TEXT)"),
        ("messages", "metadata", "substr(metadata, 1, 20) || char(1) || substr(metadata, 22)"),
        ("passages", "text", "CAST(text AS BLOB)"),
    ],
)
async def test_what_is_no_text_any_more_is_told_of_its_row_and_ends_nothing(
    tmp_path: Path, table: str, column: str, value: str
) -> None:
    store = await open_store(database_url(None, tmp_path), SEALER)
    await fill_store(store)
    await store.close()
    tamper(tmp_path, f"UPDATE {table} SET {column} = {value}", "UPDATE embeddings SET vector = x'00'")  # noqa: S608
    problems = found(tmp_path, SEALER)
    assert not any("cannot be read to its end" in problem for problem in problems)
    assert any(f"{table}.{column} of " in problem for problem in problems), problems

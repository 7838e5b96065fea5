"""`reencrypt` of the chat backend, with damage in its rows."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

from headwater.encryption import Key, KeyRing, Sealer
from headwater.errors import StoreUnavailable
from headwater.integrity.findings import Report
from headwater.store import open_store, resealing
from headwater.store.checking import check_store
from headwater.store.database import database_url
from headwater.store.resealing import count_keys, reseal_store
from headwater.store.sums import SUM_FUNCTION, row_sum
from headwater.store.tables import sealing
from tests.integration.data_kit import SENTENCE, fill_store

SEALER, OLDER = (Sealer(KeyRing([Key(bytes([number]) * 32)])) for number in (1, 2))
BOTH = Sealer(OLDER.ring.with_key(SEALER.ring.active))
NAME, OLD_NAME = SEALER.ring.active.name, OLDER.ring.active.name
_TRIGGERS = "SELECT name, sql FROM sqlite_schema WHERE name GLOB '*_sum_update'"


async def filled(data_dir: Path, sealer: Sealer | None = OLDER) -> None:
    store = await open_store(database_url(None, data_dir), sealer)
    await fill_store(store)
    await store.close()


def tamper(data_dir: Path, statement: str, *, summed: bool = False) -> str:
    """The row's id. Behind the triggers' back, unless `summed`."""
    with closing(sqlite3.connect(data_dir / "chat.sqlite3", isolation_level=None)) as db:
        db.create_function(SUM_FUNCTION, -1, row_sum, deterministic=True)
        triggers = [] if summed else db.execute(_TRIGGERS).fetchall()
        for name, _ in triggers:
            db.execute(f"DROP TRIGGER {name}")
        [(found,)] = db.execute(statement).fetchall()
        for _, made in triggers:
            db.execute(made)
        return str(found)


async def resealed(data_dir: Path) -> list[str]:
    """What is told."""
    report = Report()
    await reseal_store(database_url(None, data_dir), BOTH, report)
    return [finding.item for finding in report.findings]


def damage(data_dir: Path) -> list[str]:
    report = Report()
    check_store(data_dir, report, BOTH)
    return [finding.item for finding in report.findings]


async def keys(data_dir: Path) -> tuple[list[str], dict[str, int]]:
    """Those that a start asks for, and how many values each seals."""
    store = await open_store(database_url(None, data_dir), BOTH)
    async with store.read() as connection:
        names = sorted((await connection.execute(select(sealing.c.key))).scalars())
    counts = await count_keys(store)
    await store.close()
    return names, counts


@pytest.mark.parametrize(
    ("change", "table"),
    [
        ("UPDATE messages SET content = content || 'x' WHERE role = 'assistant' RETURNING id", "messages"),
        ("UPDATE messages SET metadata = '{no json' WHERE role = 'assistant' RETURNING id", "messages"),
        # A column that is not sealed: its sum would be made anew with the row's.
        ("UPDATE documents SET media_type = 'text/html' RETURNING id", "documents"),
        ("UPDATE workspaces SET model = 'other' RETURNING id", "workspaces"),
    ],
)
@pytest.mark.parametrize("sealer", [None, OLDER])
async def test_a_row_that_is_not_what_was_written_is_told_and_left(
    tmp_path: Path, change: str, table: str, sealer: Sealer | None
) -> None:
    await filled(tmp_path, sealer)
    key = tamper(tmp_path, change)
    before = damage(tmp_path)
    assert f"{table} {key}" in before
    assert await resealed(tmp_path) == await resealed(tmp_path) == [f"{table} {key}"]
    assert damage(tmp_path) == before
    names, counts = await keys(tmp_path)
    assert names == sorted([NAME, *([OLD_NAME] if sealer else [])])
    assert counts[NAME] > counts[OLD_NAME if sealer else ""] > 0


async def test_a_value_that_does_not_open_stops_nothing(tmp_path: Path) -> None:
    await filled(tmp_path)
    other = "(SELECT content FROM messages WHERE role = 'user')"
    change = f"UPDATE messages SET content = {other} WHERE role = 'assistant' RETURNING id"  # noqa: S608
    key = tamper(tmp_path, change, summed=True)
    assert await resealed(tmp_path) == [f"messages {key}"]
    names, counts = await keys(tmp_path)
    assert names == sorted([NAME, OLD_NAME])
    assert counts[NAME] > counts[OLD_NAME] > 0
    tamper(tmp_path, f"UPDATE messages SET content = '' WHERE id = '{key}' RETURNING id", summed=True)  # noqa: S608
    assert await resealed(tmp_path) == []
    names, counts = await keys(tmp_path)
    assert names == list(counts) == [NAME]
    assert SENTENCE.encode() not in (tmp_path / "chat.sqlite3").read_bytes()


def test_free_pages_that_cannot_be_emptied_are_an_error_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "chat.sqlite3").write_bytes(b"no database at all" * 1000)
    with pytest.raises(StoreUnavailable, match="could not be overwritten"):
        resealing._empty_free_pages(str(tmp_path / "chat.sqlite3"))

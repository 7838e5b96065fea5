"""Sealing all rows of the chat backend with the newest key; servers may be at work meanwhile, once they know it.

Part by part, each in a transaction with its rows locked; what is sealed with that key already is left alone. So a run
that was killed is gone on with by the next one.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    LargeBinary,
    String,
    cast,
    delete,
    func,
    literal_column,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection

from ..encryption import Sealer, key_of
from . import Store, open_store
from .sealing import MARK, SEALED, Sealed
from .sealing import key_of as key_of_value
from .tables import sealing

ROWS_AT_ONCE = 100
# Documents' bytes are as large as uploads may be.
_LARGE_ROWS_AT_ONCE = 4


async def reseal_store(url: URL, sealer: Sealer, on_progress: Callable[[int], None] = lambda count: None) -> int:
    """Rows that were changed. Raises `ConfigError`, `StoreUnavailable`, `StoreCorrupt`."""
    store = await open_store(url, sealer)
    try:
        count = 0
        for what in SEALED.values():
            count = await _reseal_table(store, what, sealer, count, on_progress)
        async with store.write() as connection:
            if store.is_sqlite:
                # Deleting from an index of words only marks them.
                await connection.execute(text("INSERT INTO passages_fts(passages_fts) VALUES ('rebuild')"))
            await connection.execute(delete(sealing).where(sealing.c.key != sealer.ring.active.name))
    finally:
        await store.close()
    if url.get_backend_name() == "sqlite" and url.database is not None:
        await asyncio.to_thread(_empty_free_pages, url.database)
    return count


async def count_keys(store: Store) -> Counter[str]:
    """How many values each key seals; "": those that are plain."""
    counts: Counter[str] = Counter()
    async with store.read() as connection:
        for what in SEALED.values():
            for column in what.columns:
                for head, number in await connection.execute(_heads(what, column)):
                    counts[_key_name(head)] += number
    return counts


async def _reseal_table(
    store: Store, what: Sealed, sealer: Sealer, count: int, on_progress: Callable[[int], None]
) -> int:
    size = _LARGE_ROWS_AT_ONCE if "content" in what.columns and "document_id" in what.key else ROWS_AT_ONCE
    key = tuple_(*(what.table.c[name] for name in what.key))
    rows = (
        select(*(what.table.c[name] for name in (*what.key, *what.columns)))
        .order_by(*(what.table.c[name] for name in what.key))
        .limit(size)
        .with_for_update()
    )
    after: tuple[Any, ...] | None = None
    while True:
        async with store.write() as connection:
            found = (await connection.execute(rows if after is None else rows.where(key > after))).mappings().all()
            for row in found:
                count += await _reseal(connection, store, what, dict(row), sealer.active)
        if len(found) < size:
            return count
        after = tuple(found[-1][name] for name in what.key)
        on_progress(count)


async def _reseal(connection: AsyncConnection, store: Store, what: Sealed, row: dict[str, Any], active: bytes) -> int:
    key = tuple(row[name] for name in what.key)
    changes = {}
    for column in what.columns:
        stored = row[column]
        if stored is not None and stored not in ("", b"") and key_of_value(stored) != active:
            plain = store.seals.open(what.table, key, column, stored)
            changes[column] = store.seals.seal(what.table, key, column, plain)
    if not changes:
        return 0
    its = [what.table.c[name] == row[name] for name in what.key]
    await connection.execute(update(what.table).where(*its).values(**changes))
    return 1


def _heads(what: Sealed, column: str) -> Any:
    """What a value begins with, as far as its key goes, and how many begin so; without those that say nothing."""
    value: ColumnElement[Any] = what.table.c[column]
    if isinstance(value.type, JSON):
        value, length = cast(value, String), len(json.dumps(MARK)) - 1 + 8
        nothing = ["null"]
    elif isinstance(value.type, LargeBinary):
        length, nothing = len(MARK) + 6, []
    else:
        length, nothing = len(MARK) + 8, [""]
    head = func.substr(value, 1, length).label("head")
    heads = (
        select(head, func.count()).select_from(what.table).where(value.is_not(None)).group_by(literal_column("head"))
    )
    return heads.where(value.not_in(nothing)) if nothing else heads


def _key_name(head: str | bytes) -> str:
    if isinstance(head, bytes | memoryview):
        head = bytes(head)
        return key_of(head[len(MARK) :]).hex() if head.startswith(MARK.encode()) else ""
    for mark in (MARK, json.dumps(MARK)[:-1]):
        if head.startswith(mark):
            return key_of(base64.b64decode(head[len(mark) :])).hex()
    return ""


def _empty_free_pages(path: str) -> None:
    """What was plain, or of an older key, must not be left in free pages, nor in the write-ahead log."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA secure_delete = ON").fetchall()
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

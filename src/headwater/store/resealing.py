"""Sealing all rows of the chat backend with the newest key; servers may be at work meanwhile, once they know it.

Part by part, each in a transaction with its rows locked; what is sealed with that key already is left alone. So a run
that was killed is gone on with by the next one. A row that does not match its checksum, or does not open, stays as it
is and is told: its sum would be made anew, and damage would look sound.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    ColumnElement,
    LargeBinary,
    String,
    cast,
    delete,
    func,
    literal_column,
    not_,
    select,
    text,
    true,
    tuple_,
    update,
)
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection

from ..encryption import Sealer, key_of
from ..errors import StoreCorrupt, StoreUnavailable
from ..integrity.findings import Report
from . import Store, open_store
from .checking import summed_tables
from .database import FILE_NAME
from .sealing import MARK, SEALED, Sealed
from .sealing import key_of as key_of_value
from .sums import holds
from .tables import sealing

ROWS_AT_ONCE = 100
# Documents' bytes are as large as uploads may be.
_LARGE_ROWS_AT_ONCE = 4


async def reseal_store(
    url: URL, sealer: Sealer, report: Report, *, on_progress: Callable[[int], None] = lambda count: None
) -> int:
    """Rows that were changed. `on_progress` gets their number now and then, `report` what was left as it is.

    Raises `ConfigError`, `StoreUnavailable`, `StoreCorrupt`.
    """
    store = await open_store(url, sealer)
    try:
        work = _Resealing(store, sealer, report, place_of(url), on_progress)
        await work.run()
    finally:
        await store.close()
    if url.get_backend_name() == "sqlite" and url.database is not None:
        await asyncio.to_thread(_empty_free_pages, url.database)
    return work.count


def place_of(url: URL) -> Path:
    """What a report names the database by."""
    return Path(FILE_NAME if url.get_backend_name() == "sqlite" else "PostgreSQL")


async def count_keys(store: Store) -> Counter[str]:
    """How many values each key seals; "": those that are plain."""
    counts: Counter[str] = Counter()
    async with store.read() as connection:
        for what in SEALED.values():
            for column in what.columns:
                for head, number in await connection.execute(_heads(what, column)):
                    counts[_key_name(head)] += number
    return counts


class _Resealing:
    def __init__(
        self, store: Store, sealer: Sealer, report: Report, place: Path, on_progress: Callable[[int], None]
    ) -> None:
        self._store = store
        self._active = sealer.active
        self._name = sealer.ring.active.name
        self._report = report
        self._place = place
        self._found_before = len(report.findings)
        self._on_progress = on_progress
        self._summed = {summed.table: summed for summed in summed_tables()} if store.is_sqlite else {}
        self.count = 0

    async def run(self) -> None:
        for what in SEALED.values():
            try:
                await self._damaged(what)
                await self._table(what)
            except StoreUnavailable:
                if not self._store.is_sqlite:
                    raise
                self._find(what, (), "it cannot be read to its end, and the rows from there on are left")
        async with self._store.write() as connection:
            if self._store.is_sqlite:
                # Deleting from an index of words only marks them.
                await connection.execute(text("INSERT INTO passages_fts(passages_fts) VALUES ('rebuild')"))
            if len(self._report.findings) == self._found_before:
                await connection.execute(delete(sealing).where(sealing.c.key != self._name))

    async def _damaged(self, what: Sealed) -> None:
        """Tell of rows that are not what was written. Their values are not looked at: they may not even be JSON."""
        if what.table.name not in self._summed:
            return
        async with self._store.read() as connection:
            for key in await connection.execute(select(*_key(what)).where(not_(self._is_sound(what)))):
                self._find(what, key, "it does not match its checksum, and is left as it is")

    async def _table(self, what: Sealed) -> None:
        size = _LARGE_ROWS_AT_ONCE if "content" in what.columns and "document_id" in what.key else ROWS_AT_ONCE
        key = _key(what)
        columns = (what.table.c[name] for name in what.columns)
        rows = select(*key, *columns).where(self._is_sound(what)).order_by(*key).limit(size).with_for_update()
        after: tuple[Any, ...] | None = None
        while True:
            part = rows if after is None else rows.where(tuple_(*key) > after)
            async with self._store.write() as connection:
                found = (await connection.execute(part)).mappings().all()
                for row in found:
                    await self._row(connection, what, dict(row))
            if len(found) < size:
                return
            after = tuple(found[-1][name] for name in what.key)
            self._on_progress(self.count)

    async def _row(self, connection: AsyncConnection, what: Sealed, row: dict[str, Any]) -> None:
        key, seals = tuple(row[name] for name in what.key), self._store.seals
        changes = {}
        try:
            for column in what.columns:
                stored = row[column]
                if stored is not None and stored not in ("", b"") and key_of_value(stored) != self._active:
                    plain = seals.open(what.table, key, column, stored)
                    changes[column] = seals.seal(what.table, key, column, plain)
        except StoreCorrupt:
            self._find(what, key, "it does not open, and is left as it is")
            return
        if changes:
            its = [what.table.c[name] == row[name] for name in what.key]
            await connection.execute(update(what.table).where(*its).values(**changes))
            self.count += 1

    def _find(self, what: Sealed, key: Iterable[object], problem: str) -> None:
        self._report.find(self._place, " ".join(map(str, (what.table.name, *key))), problem)

    def _is_sound(self, what: Sealed) -> ColumnElement[bool]:
        """PostgreSQL looks after its pages itself."""
        summed = self._summed.get(what.table.name)
        return true() if summed is None else literal_column(f"({holds(summed)})", Boolean())


def _key(what: Sealed) -> list[ColumnElement[Any]]:
    return [what.table.c[name] for name in what.key]


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
            with suppress(binascii.Error):  # of a damaged one nobody can say
                return key_of(base64.b64decode(head[len(mark) :])).hex()
    return ""


def _empty_free_pages(path: str) -> None:
    """What was plain, or of an older key, must not be left in free pages, nor in the write-ahead log."""
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("PRAGMA secure_delete = ON").fetchall()
            db.execute("VACUUM")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.Error as exc:
        raise StoreUnavailable(
            f"what was deleted from the chat backend before could not be overwritten: {exc}"
        ) from exc

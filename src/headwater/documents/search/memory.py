"""Search by words over encrypted passages: the index is in memory only, so that no disk ever holds their words.

One FTS5 index a workspace, with the same stemming and ranking as the one on disk. It is made in the first search, and
brought up to date in each by what the documents tell of themselves (`updated_ms`, as for vectors). The workspaces that
were searched last are kept, as far as `max_bytes` go; one that is larger alone is made anew for each search.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ...store.sealing import opened, readable
from ...store.tables import documents, passages
from ..records import Scope
from ..rows import is_in_force
from .filters import Filter

Stamp: TypeAlias = tuple[int, int]

_MAKE = """
CREATE VIRTUAL TABLE words USING fts5(
    text, section, document UNINDEXED, tokenize = 'porter unicode61 remove_diacritics 2'
)
"""
_ADD = "INSERT INTO words(rowid, text, section, document) VALUES (?, ?, ?, ?)"
_REMOVE = "DELETE FROM words WHERE rowid IN (SELECT id FROM words_content WHERE c2 IN (SELECT value FROM json_each(?)))"
_RANK = """
SELECT rowid FROM words WHERE words MATCH ? AND document IN (SELECT value FROM json_each(?))
ORDER BY bm25(words, 1.0, 0.5), rowid LIMIT ?
"""
_HOLDERS = "SELECT rowid FROM words WHERE words MATCH ?"
# Decrypted in one go, between which the loop serves others.
_ROWS_AT_ONCE = 200


class _Row(NamedTuple):
    """As `_ADD` takes it."""

    id: int
    text: str
    section: str
    document: int


class _Index:
    """One workspace's words. `stamps`: the state in which each document is in it."""

    def __init__(self) -> None:
        # Each call has a thread of its own; the caller sees to it that there is one at a time.
        self._db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA temp_store = MEMORY")
        self._db.execute(_MAKE)
        self.stamps: dict[int, Stamp] = {}
        self.busy = asyncio.Lock()

    @property
    def bytes(self) -> int:
        (pages,), (size,) = (self._db.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size"))
        return int(pages) * int(size)

    def change(self, dropped: Iterable[int], rows: Iterable[_Row]) -> None:
        self._db.execute("BEGIN")
        self._db.execute(_REMOVE, (json.dumps(list(dropped)),))
        self._db.executemany(_ADD, rows)
        self._db.execute("COMMIT")

    def rank(self, words: Sequence[str], admitted: Sequence[int], limit: int) -> list[int]:
        any_of = " OR ".join(f'"{word}"' for word in words)
        return [id_ for (id_,) in self._db.execute(_RANK, (any_of, json.dumps(list(admitted)), limit))]

    def holders(self, words: Sequence[str], ids: frozenset[int]) -> list[tuple[int, frozenset[int]]]:
        held = ([id_ for (id_,) in self._db.execute(_HOLDERS, (f'"{word}"',))] for word in words)
        return [(len(each), ids.intersection(each)) for each in held]


class MemoryWords:
    """See `lexical.Words`."""

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[tuple[str, str], _Index] = OrderedDict()

    async def rank(self, connection: AsyncConnection, words: Sequence[str], within: Filter, limit: int) -> list[int]:
        index = await self._index(within.scope)
        async with index.busy:
            await _bring_up_to_date(connection, index, within.scope)
            numbers = (await connection.execute(select(documents.c.number).where(within.condition()))).scalars().all()
            found = await asyncio.to_thread(index.rank, words, numbers, limit)
        self._shrink()
        return found

    async def holders(
        self, connection: AsyncConnection, words: Sequence[str], scope: Scope, ids: Sequence[int]
    ) -> list[tuple[int, frozenset[int]]]:
        index = await self._index(scope)
        async with index.busy:
            await _bring_up_to_date(connection, index, scope)
            found = await asyncio.to_thread(index.holders, words, frozenset(ids))
        self._shrink()
        return found

    async def _index(self, scope: Scope) -> _Index:
        key = (scope.tenant, scope.workspace_id)
        index = self._kept.get(key)
        if index is None:
            index = self._kept[key] = await asyncio.to_thread(_Index)
        self._kept.move_to_end(key)
        return index

    @property
    def kept_bytes(self) -> int:
        return sum(index.bytes for index in self._kept.values())

    def _shrink(self) -> None:
        """The one that was searched longest ago goes first. One that is searched now lives on until it was."""
        while self._kept and self.kept_bytes > self._max_bytes:
            self._kept.popitem(last=False)


async def _bring_up_to_date(connection: AsyncConnection, index: _Index, scope: Scope) -> None:
    of_workspace = (documents.c.tenant == scope.tenant) & (documents.c.workspace_id == scope.workspace_id)
    told = select(documents.c.number, documents.c.version, documents.c.updated_ms).where(of_workspace)
    stamps = {number: (version, updated_ms) for number, version, updated_ms in await connection.execute(told)}
    changed = [number for number, stamp in stamps.items() if index.stamps.get(number) != stamp]
    dropped = [number for number in index.stamps if number not in stamps or number in changed]
    if not changed and not dropped:
        return
    rows: list[_Row] = []
    for number in changed:
        rows += await _passages(connection, scope, number)
    await asyncio.to_thread(index.change, dropped, rows)
    index.stamps = _merged(index.stamps, dropped, {number: stamps[number] for number in changed})


def _merged(old: Mapping[int, Stamp], dropped: Sequence[int], new: Mapping[int, Stamp]) -> dict[int, Stamp]:
    gone = set(dropped)
    return {number: stamp for number, stamp in old.items() if number not in gone} | dict(new)


async def _passages(connection: AsyncConnection, scope: Scope, number: int) -> list[_Row]:
    columns = (
        passages.c.id, passages.c.document_id, passages.c.version, passages.c.ordinal, passages.c.text,
        passages.c.section,
    )  # fmt: skip
    wanted = (
        select(*columns)
        .join_from(documents, passages, is_in_force)
        .where(documents.c.tenant == scope.tenant, documents.c.number == number)
        .order_by(passages.c.id)
        .limit(_ROWS_AT_ONCE)
    )
    rows: list[_Row] = []
    after, full = 0, True
    while full:
        found = (await connection.execute(wanted.where(passages.c.id > after))).mappings().all()
        full = len(found) == _ROWS_AT_ONCE
        after = found[-1]["id"] if found else after
        rows += [_Row(*plain, number) for plain in readable(connection, found, _plain)]
    return rows


def _plain(connection: AsyncConnection, row: RowMapping) -> tuple[int, str, str]:
    """Id, text and section. Raises `StoreCorrupt`."""
    plain = opened(connection, passages, row, instead={"section": ""})
    return plain["id"], plain["text"], plain["section"]

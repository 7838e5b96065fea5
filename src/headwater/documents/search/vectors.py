"""Search by vectors: the cosine of the question with every passage of the workspace, with numpy.

The vectors of a workspace are kept in memory as one matrix, and brought up to date in each search by what the
documents tell of themselves: `updated_ms` grows with every change, so only documents that changed are read again, by
whichever process it was. A workspace with more vectors than the cache holds is read block by block in each search.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ...store.sealing import readable, seals_of
from ...store.tables import document_versions, documents, embeddings, passages
from ..records import Scope
from ..rows import is_in_force, is_visible
from .filters import Filter

# 4 MB of float32: some milliseconds of the loop's time at most.
_INLINE_NUMBERS = 1_000_000
_BLOCK_ROWS = 4096
# Documents named in one query.
_BLOCK_DOCUMENTS = 500

Stamp: TypeAlias = tuple[int, int]


class Hit(NamedTuple):
    """`cosine` from -1 to 1."""

    passage_id: int
    cosine: float


class Seen(NamedTuple):
    """A document with a version in force, as the cache knows it."""

    id: str
    stamp: Stamp
    confidential: bool
    passages: int


class Rows(NamedTuple):
    """Vectors: `passage_ids` and `owners` (numbers of documents) tell of each row of `matrix` (float32)."""

    passage_ids: np.ndarray
    owners: np.ndarray
    matrix: np.ndarray


class _Kept(NamedTuple):
    rows: Rows
    stamps: Mapping[int, Stamp]


class VectorIndex:
    """`model`: the name of the embedder, whose vectors alone are compared. `max_bytes`: what is kept in memory."""

    def __init__(self, model: str, *, max_bytes: int) -> None:
        self._model = model
        self._max_bytes = max_bytes
        self._kept: OrderedDict[tuple[str, str, int], _Kept] = OrderedDict()

    @property
    def kept_bytes(self) -> int:
        return sum(_size(kept.rows) for kept in self._kept.values())

    async def rank(
        self, connection: AsyncConnection, question: bytes, passes: Sequence[Filter], limit: int
    ) -> list[list[Hit]]:
        """For each pass (all of one scope) its passages with the largest cosines, best first."""
        scope = passes[0].scope
        vector = np.frombuffer(question, dtype="<f4")
        seen = await self._visible(connection, scope)
        admitted = [
            [number for number, document in seen.items() if one.admits(document.id, confidential=document.confidential)]
            for one in passes
        ]
        best: list[list[Hit]] = [[] for _ in passes]
        if sum(document.passages for document in seen.values()) * len(question) > self._max_bytes:
            async for rows in self._read(connection, scope, (list(seen), len(vector))):
                found = await _in_thread_if_large(rows, vector, admitted, limit)
                best = [_merge(old, new, limit) for old, new in zip(best, found, strict=True)]
            return best
        rows = await self._current(connection, scope, seen, len(vector))
        return await _in_thread_if_large(rows, vector, admitted, limit)

    async def _visible(self, connection: AsyncConnection, scope: Scope) -> dict[int, Seen]:
        in_force = and_(
            document_versions.c.document_id == documents.c.id, document_versions.c.version == documents.c.version
        )
        found = (
            select(
                documents.c.number,
                documents.c.id,
                documents.c.version,
                documents.c.updated_ms,
                documents.c.confidential,
                document_versions.c.passages,
            )
            .join(document_versions, in_force)
            .where(is_visible(scope))
        )
        return {
            number: Seen(id_, (version, updated_ms), confidential, count)
            for number, id_, version, updated_ms, confidential, count in await connection.execute(found)
        }

    async def _current(self, connection: AsyncConnection, scope: Scope, seen: Mapping[int, Seen], length: int) -> Rows:
        """The workspace's rows. Those of other threads stay in it, as they were, for when they are asked for."""
        key = (scope.tenant, scope.workspace_id, length)
        kept = self._kept.get(key) or _Kept(_rows([], length), {})
        changed = [number for number, document in seen.items() if kept.stamps.get(number) != document.stamp]
        hidden = [number for number in kept.stamps if number not in seen]
        dropped = {*changed, *await self._deleted(connection, scope, hidden)}
        if dropped:
            stay = ~np.isin(kept.rows.owners, list(dropped))
            parts = [Rows(*(part[stay] for part in kept.rows))]
            parts += [rows async for rows in self._read(connection, scope, (changed, length))]
            stamps = {number: stamp for number, stamp in kept.stamps.items() if number not in dropped}
            stamps |= {number: seen[number].stamp for number in changed}
            kept = _Kept(Rows(*map(np.concatenate, zip(*parts, strict=True))), stamps)
        self._keep(key, kept)
        return kept.rows

    async def _deleted(self, connection: AsyncConnection, scope: Scope, numbers: Sequence[int]) -> set[int]:
        """Those of `numbers` that are no documents any more; the others are only not seen from here."""
        gone = set(numbers)
        for at in range(0, len(numbers), _BLOCK_DOCUMENTS):
            there = select(documents.c.number).where(_numbered(scope, numbers[at : at + _BLOCK_DOCUMENTS]))
            gone.difference_update((await connection.execute(there)).scalars())
        return gone

    def _keep(self, key: tuple[str, str, int], kept: _Kept) -> None:
        """The workspaces that were searched last stay. Two searches at once may both have read: one of them is kept."""
        self._kept[key] = kept
        self._kept.move_to_end(key)
        while self.kept_bytes > self._max_bytes:
            self._kept.popitem(last=False)

    async def _read(
        self, connection: AsyncConnection, scope: Scope, wanted: tuple[Sequence[int], int]
    ) -> AsyncIterator[Rows]:
        """`wanted`: documents, and the vectors' length. Blocks of the versions in force."""
        numbers, length = wanted
        for at in range(0, len(numbers), _BLOCK_DOCUMENTS):
            vectors = (
                select(passages.c.id, documents.c.number, embeddings.c.vector)
                .join_from(documents, passages, is_in_force)
                .join(embeddings, embeddings.c.passage_id == passages.c.id)
                .where(_numbered(scope, numbers[at : at + _BLOCK_DOCUMENTS]), embeddings.c.model == self._model)
                .order_by(passages.c.id)
                .limit(_BLOCK_ROWS)
            )
            after, full = 0, True
            while full:
                found = (await connection.execute(vectors.where(passages.c.id > after))).all()
                full = len(found) == _BLOCK_ROWS
                if found:
                    after = found[-1][0]
                    plain = readable(connection, found, self._opened)
                    yield _rows([row for row in plain if len(row[2]) == 4 * length], length)

    def _opened(self, connection: AsyncConnection, row: Sequence[Any]) -> tuple[int, int, bytes]:
        """Raises `StoreCorrupt`."""
        id_, number, vector = row
        return id_, number, seals_of(connection).open(embeddings, (id_, self._model), "vector", vector)


def _numbered(scope: Scope, numbers: Sequence[int]) -> ColumnElement[bool]:
    return and_(documents.c.tenant == scope.tenant, documents.c.number.in_(numbers))


def _rows(found: Sequence[Any], length: int) -> Rows:
    """Of (passage, document's number, vector)."""
    matrix = np.frombuffer(b"".join(row[2] for row in found), dtype="<f4").reshape(len(found), length)
    passage_ids, owners = (np.array([row[at] for row in found], dtype=np.int64) for at in (0, 1))
    return Rows(passage_ids, owners, matrix)


def _size(rows: Rows) -> int:
    return sum(part.nbytes for part in rows)


async def _in_thread_if_large(
    rows: Rows, vector: np.ndarray, admitted: Sequence[Sequence[int]], limit: int
) -> list[list[Hit]]:
    if rows.matrix.size <= _INLINE_NUMBERS:
        return _best(rows, vector, admitted, limit)
    return await asyncio.to_thread(_best, rows, vector, admitted, limit)


def _best(rows: Rows, vector: np.ndarray, admitted: Sequence[Sequence[int]], limit: int) -> list[list[Hit]]:
    cosines = rows.matrix @ vector
    return [_top(rows, cosines, numbers, limit) for numbers in admitted]


def _top(rows: Rows, cosines: np.ndarray, numbers: Sequence[int], limit: int) -> list[Hit]:
    allowed = np.flatnonzero(np.isin(rows.owners, numbers))
    if len(allowed) > limit:
        allowed = allowed[np.argpartition(-cosines[allowed], limit - 1)[:limit]]
    order = allowed[np.lexsort((rows.passage_ids[allowed], -cosines[allowed]))]
    return [Hit(int(rows.passage_ids[at]), float(cosines[at])) for at in order]


def _merge(old: list[Hit], new: list[Hit], limit: int) -> list[Hit]:
    return sorted(old + new, key=lambda hit: (-hit.cosine, hit.passage_id))[:limit]

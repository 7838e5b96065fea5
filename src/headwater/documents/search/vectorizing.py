"""Vectors for the passages of a document, batch by batch: what was made stays, and is not made again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import and_, case, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ...store import Store
from ...store.sealing import opened, sealed
from ...store.tables import documents, embeddings, passages
from ...store.upsert import insert_into
from ..embedding.ports import Embedder
from ..rows import is_in_force
from ..settings import DocumentSettings


class Vectorizing:
    """`settings`: the size of a batch, and what is put before a passage."""

    def __init__(self, store: Store, embedder: Embedder, settings: DocumentSettings) -> None:
        self._store = store
        self._embedder = embedder
        # A round of the embedder's concurrency is one transaction.
        self._batch = settings.embedding_batch * settings.embedding_concurrency
        self._prefix = settings.embedding_passage_prefix
        self._has_vector = and_(embeddings.c.passage_id == passages.c.id, embeddings.c.model == embedder.name)

    async def run(self, document_id: str, version: int, on_progress: Callable[[int, int], None]) -> int:
        """As `Searcher.embed_document` says."""
        made = 0
        while True:
            # Asked each time: the document may be made confidential, replaced or deleted in the meantime.
            waiting, done, total = await self._waiting(document_id, version)
            if total and not made:
                on_progress(done, total)
            if not waiting:
                return made
            texts = [self._prefix + (f"{section}\n{text}" if section else text) for _, section, text in waiting]
            vectors = await self._embedder.embed(texts)
            kept = await self._keep(document_id, [id_ for id_, _, _ in waiting], vectors)
            if not kept:
                return made
            made += kept
            on_progress(min(done + kept, total), total)

    async def unfinished(self, limit: int) -> list[tuple[str, int]]:
        """Documents, and their versions in force, with passages that may have a vector and have none."""
        waiting = (
            select(documents.c.id, documents.c.version)
            .join_from(documents, passages, is_in_force)
            .outerjoin(embeddings, self._has_vector)
            .where(documents.c.status == "ready", embeddings.c.passage_id.is_(None))
            .group_by(documents.c.id, documents.c.version)
            .order_by(documents.c.id)
            .limit(limit)
        )
        if not self._embedder.local:
            waiting = waiting.where(documents.c.confidential.is_(False))
        async with self._store.read() as connection:
            return [(row.id, row.version) for row in await connection.execute(waiting)]

    async def _waiting(self, document_id: str, version: int) -> tuple[Sequence[Any], int, int]:
        """Passages without a vector (id, section, text), how many have one, how many there are; none if not allowed."""
        allowed = [documents.c.id == document_id, passages.c.version == version]
        if not self._embedder.local:
            allowed.append(documents.c.confidential.is_(False))
        whole = (
            select(func.count(), func.count(embeddings.c.passage_id))
            .join_from(documents, passages, is_in_force)
            .outerjoin(embeddings, self._has_vector)
            .where(*allowed)
        )
        batch = (
            select(passages.c.id, passages.c.section, passages.c.text, passages.c.ordinal)
            .join_from(documents, passages, is_in_force)
            .outerjoin(embeddings, self._has_vector)
            .where(*allowed, embeddings.c.passage_id.is_(None))
            .order_by(passages.c.ordinal)
            .limit(self._batch)
        )
        async with self._store.read() as connection:
            total, done = (await connection.execute(whole)).one()
            rows = (await connection.execute(batch)).mappings().all()
            plain = [opened(connection, passages, row, (document_id, version, row["ordinal"])) for row in rows]
            return [(row["id"], row["section"], row["text"]) for row in plain], done, total

    async def _keep(self, document_id: str, ids: Sequence[int], vectors: Sequence[bytes]) -> int:
        """How many passages there still are, which have their vector then."""
        async with self._store.write() as connection:
            there = await _still_there(connection, document_id, ids)
            rows = [
                self._row(connection, id_, vector) for id_, vector in zip(ids, vectors, strict=True) if id_ in there
            ]
            if rows:
                await connection.execute(insert_into(connection, embeddings).on_conflict_do_nothing(), rows)
                # Caches of vectors are kept by it.
                stamp = case((documents.c.updated_ms > 0, documents.c.updated_ms + 1), else_=1)
                await connection.execute(
                    update(documents).where(documents.c.id == document_id).values(updated_ms=stamp)
                )
            return len(rows)

    def _row(self, connection: AsyncConnection, passage_id: int, vector: bytes) -> dict[str, Any]:
        key = (passage_id, self._embedder.name)
        row = {"passage_id": passage_id, "model": self._embedder.name, "vector": vector}
        return sealed(connection, embeddings, key, row)


async def _still_there(connection: AsyncConnection, document_id: str, ids: Sequence[int]) -> set[int]:
    """Locked until the vectors are written (SQLite has one writer anyway)."""
    found = select(passages.c.id).where(passages.c.id.in_(ids), passages.c.document_id == document_id)
    return set((await connection.execute(found.with_for_update(read=True, key_share=True))).scalars())

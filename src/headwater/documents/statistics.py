"""Counts over a tenant's documents."""

from __future__ import annotations

from sqlalchemy import and_, distinct, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ..store.tables import document_versions, documents, embeddings, passages
from .records import Statistics
from .rows import is_in_force


async def count(connection: AsyncConnection, tenant: str, workspace_id: str | None) -> Statistics:
    """All zero where there is nothing, also for another tenant's workspace."""
    mine = documents.c.tenant == tenant
    if workspace_id is not None:
        mine = and_(mine, documents.c.workspace_id == workspace_id)
    by_status = select(documents.c.status, func.count()).where(mine).group_by(documents.c.status)
    counts: dict[str, int] = {row[0]: row[1] for row in await connection.execute(by_status)}
    in_force = and_(
        document_versions.c.document_id == documents.c.id, document_versions.c.version == documents.c.version
    )
    sizes = (
        select(
            func.coalesce(func.sum(document_versions.c.bytes), 0), func.coalesce(func.sum(document_versions.c.pages), 0)
        )
        .join_from(documents, document_versions, in_force)
        .where(mine)
    )
    total_bytes, pages = (await connection.execute(sizes)).one()
    ends = (
        select(func.count().label("passages"), func.max(passages.c.end).label("end"))
        .join_from(documents, passages, is_in_force)
        .where(mine)
        .group_by(documents.c.id)
        .subquery()
    )
    texts = select(func.coalesce(func.sum(ends.c.passages), 0), func.coalesce(func.sum(ends.c.end), 0))
    number, characters = (await connection.execute(texts)).one()
    embedded = (
        select(func.count(distinct(embeddings.c.passage_id)))
        .join_from(documents, passages, is_in_force)
        .join(embeddings, embeddings.c.passage_id == passages.c.id)
        .where(mine)
    )
    return Statistics(
        documents=sum(counts.values()),
        ready=counts.get("ready", 0),
        processing=counts.get("processing", 0),
        failed=counts.get("failed", 0),
        passages=int(number),
        characters=int(characters),
        bytes=int(total_bytes),
        pages=int(pages),
        embedded=int((await connection.execute(embedded)).scalar_one()),
    )

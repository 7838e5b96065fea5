"""Rows of documents as records, and how a caller's reference becomes a row. Every query filters by the tenant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ..errors import UnknownItem
from ..store.sealing import opened, readable
from ..store.tables import document_versions, documents, passages, threads, workspaces
from .records import Document, Scope

# SQLite's and PostgreSQL's largest integer.
_MAX_NUMBER = 2**63 - 1

is_in_force = and_(passages.c.document_id == documents.c.id, passages.c.version == documents.c.version)

newest = (
    select(func.max(document_versions.c.version))
    .where(document_versions.c.document_id == documents.c.id)
    .correlate(documents)
    .scalar_subquery()
)


def select_documents() -> Select[Any]:
    """Documents, each with the figures of its version in force, or of the newest where none is in force yet."""
    shown = case((documents.c.version > 0, documents.c.version), else_=newest)
    version = document_versions.alias("shown")
    return select(
        documents,
        newest.label("newest"),
        version.c.bytes.label("bytes"),
        version.c.pages.label("pages"),
        version.c.passages.label("passages"),
    ).join_from(documents, version, and_(version.c.document_id == documents.c.id, version.c.version == shown))


def document_of(
    connection: AsyncConnection, row: Mapping[str, Any], *, instead: Mapping[str, Any] | None = None
) -> Document:
    values = {name: row[name] for name in Document.__struct_fields__}
    return Document(**opened(connection, documents, values, instead=instead))


def listed_documents(connection: AsyncConnection, rows: Iterable[Mapping[str, Any]]) -> list[Document]:
    """With an empty name where the stored one does not open."""
    return readable(connection, rows, partial(document_of, instead={"name": "", "error": "", "metadata": {}}))


def is_referred(tenant: str, ref: str | int) -> ColumnElement[bool]:
    """The tenant's document with this id or number; a number may be a string of digits."""
    mine = documents.c.tenant == tenant
    number = number_of(ref)
    if number is None:
        # An id of PostgreSQL's text cannot hold NUL, and neither database takes lone surrogates.
        return and_(mine, documents.c.id == (ref if isinstance(ref, str) and ref.isascii() and "\0" not in ref else ""))
    return and_(mine, documents.c.number == number)


def number_of(ref: str | int) -> int | None:
    if isinstance(ref, str):
        if not (ref.isascii() and ref.isdecimal() and len(ref) < 20):
            return None
        ref = int(ref)
    return ref if 0 < ref <= _MAX_NUMBER else 0


def is_visible(scope: Scope) -> ColumnElement[bool]:
    """The workspace's own documents, and those of the scope's thread."""
    shared = documents.c.thread_id.is_(None)
    return and_(
        documents.c.tenant == scope.tenant,
        documents.c.workspace_id == scope.workspace_id,
        shared if scope.thread_id is None else or_(shared, documents.c.thread_id == scope.thread_id),
    )


async def find_document(connection: AsyncConnection, tenant: str, ref: str | int) -> Document:
    """Raises `UnknownItem`."""
    row = (await connection.execute(select_documents().where(is_referred(tenant, ref)))).mappings().first()
    if row is None:
        raise UnknownItem("document")
    return document_of(connection, row)


async def check_scope(connection: AsyncConnection, scope: Scope) -> None:
    """Raises `UnknownItem` for a workspace or thread that is another's or not there."""
    found = select(workspaces.c.id).where(workspaces.c.id == scope.workspace_id, workspaces.c.tenant == scope.tenant)
    if (await connection.execute(found)).first() is None:
        raise UnknownItem("workspace")
    if scope.thread_id is None:
        return
    found = select(threads.c.id).where(
        threads.c.id == scope.thread_id,
        threads.c.tenant == scope.tenant,
        threads.c.workspace_id == scope.workspace_id,
    )
    if (await connection.execute(found)).first() is None:
        raise UnknownItem("thread")

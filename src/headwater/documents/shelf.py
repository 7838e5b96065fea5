"""The shelf: documents, their versions, and the passages of the version in force.

A version is searched from the moment that `finish` put it in force, and as a whole: its passages come and those of the
former one go in one transaction. Work on a version that is no longer the newest changes nothing.
"""

from __future__ import annotations

import asyncio
import builtins
import hashlib
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Update, case, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ..errors import LimitReached, UnknownItem
from ..events import JsonObject
from ..ids import new_stream_id
from ..store import Store
from ..store.numbers import take_numbers
from ..store.sealing import opened, sealed
from ..store.tables import document_versions, documents, passages
from ..store.texts import storable
from . import statistics
from .checks import checked_media_type, checked_metadata, checked_name
from .extraction.formats import identify
from .records import Document, Scope, Stage, Statistics, Version
from .rows import check_scope, find_document, is_referred, is_visible, listed_documents, newest, select_documents
from .settings import DocumentSettings

if TYPE_CHECKING:
    from .reading import Piece, Reading

MAX_LISTED = 1000
# A statement binds its rows' values on the event loop: a book at once would hold up everybody's next token (20 ms).
_ROWS_AT_ONCE = 50


class _Upload(NamedTuple):
    version: int
    media_type: str
    content: bytes
    sha256: str


class Shelf:
    """Ids and numbers are both taken, numbers as text too. All methods raise `StoreUnavailable`.

    Those that name a tenant raise `UnknownItem` for what is not there, or another's. Those that do not are for the
    program's own work on a document, and do nothing where it is gone.
    """

    def __init__(
        self,
        store: Store,
        *,
        settings: DocumentSettings | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._store = store
        self._settings = settings or DocumentSettings()
        self._clock_ms = clock_ms

    async def add(
        self,
        scope: Scope,
        *,
        name: str,
        media_type: str,
        content: bytes,
        pinned: bool = False,
        confidential: bool = False,
        metadata: JsonObject | None = None,
        max_documents: int | None = None,
    ) -> Document:
        """A new document, being read: nothing of it is in force, its bytes are version 1.

        `max_documents`: how many the workspace may hold; None: the setting's. Raises `InputError`, `LimitReached`,
        `UnknownItem`, and `DocumentRefused` for what is told by its first bytes to be no document that can be read.
        """
        identify(content, name=name, media_type=media_type)
        bound = self._settings.max_documents if max_documents is None else max_documents
        now_ms = self._clock_ms()
        document_id = new_stream_id(now_ms)
        row = {
            "id": document_id,
            "tenant": scope.tenant,
            "workspace_id": scope.workspace_id,
            "thread_id": scope.thread_id,
            "name": checked_name(name),
            "media_type": checked_media_type(media_type),
            "pinned": pinned,
            "confidential": confidential,
            "metadata": checked_metadata(metadata, max_bytes=self._settings.max_metadata_bytes),
            "created_ms": now_ms,
            "updated_ms": now_ms,
        }
        sha256 = await _digest(content)
        async with self._store.write() as connection:
            await check_scope(connection, scope)
            # The counter's row is locked until the end: two uploads at once cannot both be the last that fits.
            number = await take_numbers(connection, scope.tenant, "documents")
            held = select(func.count()).where(documents.c.workspace_id == scope.workspace_id)
            if (await connection.execute(held)).scalar_one() >= bound:
                raise LimitReached("documents", bound, message=f"the workspace holds its {bound} documents already")
            row = sealed(connection, documents, (document_id,), row)
            await connection.execute(insert(documents).values(**row, number=number))
            await self._keep(connection, document_id, scope.tenant, _Upload(1, media_type, content, sha256))
            return await find_document(connection, scope.tenant, document_id)

    async def add_version(
        self, tenant: str, document_id: str | int, content: bytes, media_type: str | None = None
    ) -> Document:
        """New bytes, to be read as `newest`; `media_type` None: as before. The version in force stays until then.

        The bytes of the newest version once more are no new version; where reading those failed, they are to be read
        again (`status` processing). Raises as `add`.
        """
        kind = None if media_type is None else checked_media_type(media_type)
        sha256 = await _digest(content)
        async with self._store.write() as connection:
            await self._lock(connection, is_referred(tenant, document_id))
            document = await find_document(connection, tenant, document_id)
            identify(content, name=document.name, media_type=kind or document.media_type)
            last = select(document_versions.c.sha256).where(
                document_versions.c.document_id == document.id, document_versions.c.version == document.newest
            )
            known = {"sha256": (await connection.execute(last)).scalar_one()}
            known = opened(connection, document_versions, known, (document.id, document.newest))
            if known["sha256"] == sha256:
                if document.status != "failed":
                    return document
            else:
                kind = kind or document.media_type
                await self._keep(connection, document.id, tenant, _Upload(document.newest + 1, kind, content, sha256))
                await self._drop_old(connection, document)
                await connection.execute(self._change(document.id).values(media_type=kind))
            await connection.execute(
                self._change(document.id).values(status="processing", stage="upload", error="", stream_id="")
            )
            return await find_document(connection, tenant, document.id)

    async def get(self, tenant: str, document_id: str | int) -> Document:
        async with self._store.read() as connection:
            return await find_document(connection, tenant, document_id)

    async def list(
        self, scope: Scope, *, everywhere: bool = False, limit: int = 100, before: str | int | None = None
    ) -> list[Document]:
        """The newest first, without their bytes: those that a search in `scope` sees, or all of the workspace.

        `before`: the document to go on after. At most 1000 at once.
        """
        seen = select_documents().where(documents.c.tenant == scope.tenant)
        if everywhere:
            seen = seen.where(documents.c.workspace_id == scope.workspace_id)
        else:
            seen = seen.where(is_visible(scope))
        async with self._store.read() as connection:
            if before is not None:
                seen = seen.where(documents.c.number < (await find_document(connection, scope.tenant, before)).number)
            seen = seen.order_by(documents.c.number.desc()).limit(max(0, min(limit, MAX_LISTED)))
            return listed_documents(connection, (await connection.execute(seen)).mappings())

    async def update(
        self,
        tenant: str,
        document_id: str | int,
        *,
        name: str | None = None,
        pinned: bool | None = None,
        confidential: bool | None = None,
        metadata: JsonObject | None = None,
    ) -> Document:
        """None leaves as it is; `metadata` is replaced as a whole. Raises `InputError`, `UnknownItem`."""
        changes: dict[str, object] = {
            "name": None if name is None else checked_name(name),
            "pinned": pinned,
            "confidential": confidential,
            "metadata": None
            if metadata is None
            else checked_metadata(metadata, max_bytes=self._settings.max_metadata_bytes),
        }
        changes = {column: value for column, value in changes.items() if value is not None}
        async with self._store.write() as connection:
            document = await find_document(connection, tenant, document_id)
            if changes:
                changes = sealed(connection, documents, (document.id,), changes)
                await connection.execute(self._change(document.id).values(**changes))
            return await find_document(connection, tenant, document.id)

    async def delete(self, tenant: str, document_id: str | int) -> None:
        """With its versions, passages and vectors."""
        async with self._store.write() as connection:
            gone = await connection.execute(delete(documents).where(is_referred(tenant, document_id)))
            if gone.rowcount == 0:
                raise UnknownItem("document")

    async def content(self, tenant: str, document_id: str | int, version: int | None = None) -> tuple[bytes, str]:
        """The uploaded bytes and their media type. Without `version`: the one in force, or else the newest."""
        row = await self._version(tenant, document_id, version, "content", "media_type")
        return bytes(row["content"]), str(row["media_type"])

    async def text(
        self, tenant: str, document_id: str | int, version: int | None = None, *, start: int = 0, end: int | None = None
    ) -> str:
        """Characters `[start:end]` of the extracted text, "" where it was not read. `version` as in `content`."""
        start = max(0, start)
        length = None if end is None else max(0, end - start)
        if self._store.encrypted:
            # A piece of what is sealed is nothing.
            row = await self._version(tenant, document_id, version, "text")
            return str(row["text"])[start:end]
        text = document_versions.c.text
        piece = func.substr(text, start + 1) if length is None else func.substr(text, start + 1, length)
        return str((await self._version(tenant, document_id, version, piece.label("piece")))["piece"])

    async def versions(self, tenant: str, document_id: str | int) -> builtins.list[Version]:
        """The newest first."""
        told = [getattr(document_versions.c, name) for name in Version.__struct_fields__ if name != "in_force"]
        async with self._store.read() as connection:
            document = await find_document(connection, tenant, document_id)
            kept = select(*told).where(document_versions.c.document_id == document.id)
            rows = await connection.execute(kept.order_by(document_versions.c.version.desc()))
            found = [
                opened(connection, document_versions, row, (document.id, row["version"])) for row in rows.mappings()
            ]
            return [Version(**row, in_force=row["version"] == document.version) for row in found]

    async def set_stage(self, document_id: str, stage: Stage, *, version: int | None = None) -> None:
        """What is being done with the newest version; "": all is done, it is ready. Of a failed one nothing changes.

        `version`: do so only while that is the newest.
        """
        change = self._change(document_id, version).where(documents.c.status != "failed")
        ready = {"status": "ready"} if stage == "" else {}
        async with self._store.write() as connection:
            await self._lock(connection, documents.c.id == document_id)
            await connection.execute(change.values(stage=stage, **ready))

    async def set_stream(self, document_id: str, stream_id: str) -> None:
        async with self._store.write() as connection:
            await connection.execute(self._change(document_id).values(stream_id=stream_id))

    async def finish(self, document_id: str, version: int, reading: Reading, *, stage: Stage = "") -> bool:
        """Put a version that was read in force; whether it is: not where it was superseded, or the document is gone.

        `stage`: what comes after (`vectorization`). The document is searched already, but `ready` when that is done.
        """
        status = "processing" if stage else "ready"
        async with self._store.write() as connection:
            await self._lock(connection, documents.c.id == document_id)
            # What it was found to be, whatever the upload said.
            kind = {"media_type": checked_media_type(reading.media_type)}
            changed = self._change(document_id, version).values(
                version=version, status=status, stage=stage, error="", **kind
            )
            row = (await connection.execute(changed.returning(documents.c.tenant, documents.c.workspace_id))).first()
            if row is None:
                return False
            text = sealed(connection, document_versions, (document_id, version), {"text": storable(reading.text)})
            await connection.execute(
                update(document_versions)
                .where(document_versions.c.document_id == document_id, document_versions.c.version == version)
                .values(**text, pages=reading.pages, passages=len(reading.pieces), **kind)
            )
            await connection.execute(delete(passages).where(passages.c.document_id == document_id))
            whose = {
                "tenant": row.tenant,
                "workspace_id": row.workspace_id,
                "document_id": document_id,
                "version": version,
            }
            await _insert_passages(connection, whose, reading.pieces)
            return True

    async def fail(self, document_id: str, version: int, message: str) -> None:
        """The newest version could not be read; the one in force stays. `message` is shown to the user."""
        async with self._store.write() as connection:
            await self._lock(connection, documents.c.id == document_id)
            failed = self._change(document_id, version)
            told = sealed(connection, documents, (document_id,), {"error": storable(message)})
            await connection.execute(failed.values(status="failed", stage="", **told))

    async def statistics(self, tenant: str, workspace_id: str | None = None) -> Statistics:
        async with self._store.read() as connection:
            return await statistics.count(connection, tenant, workspace_id)

    async def unfinished(self) -> builtins.list[Document]:
        """Of all tenants, the oldest first: what was being read when the process ended."""
        async with self._store.read() as connection:
            waiting = select_documents().where(documents.c.status == "processing").order_by(documents.c.updated_ms)
            return listed_documents(connection, (await connection.execute(waiting)).mappings())

    def _change(self, document_id: str, version: int | None = None) -> Update:
        """`updated_ms` grows with each change, whatever the clock does: caches are kept by it."""
        now_ms = self._clock_ms()
        later = case((documents.c.updated_ms >= now_ms, documents.c.updated_ms + 1), else_=now_ms)
        change = update(documents).where(documents.c.id == document_id).values(updated_ms=later)
        return change if version is None else change.where(newest == version)

    async def _version(self, tenant: str, document_id: str | int, version: int | None, *columns: Any) -> dict[str, Any]:
        async with self._store.read() as connection:
            document = await find_document(connection, tenant, document_id)
            wanted = (document.version or document.newest) if version is None else version
            chosen = [document_versions.c[column] if isinstance(column, str) else column for column in columns]
            found = select(*chosen).where(
                document_versions.c.document_id == document.id, document_versions.c.version == wanted
            )
            row = (await connection.execute(found)).first()
            if row is None:
                raise UnknownItem("version")
            return opened(connection, document_versions, row._mapping, (document.id, wanted))

    async def _keep(self, connection: AsyncConnection, document_id: str, tenant: str, upload: _Upload) -> None:
        row = {
            "document_id": document_id,
            "version": upload.version,
            "tenant": tenant,
            "sha256": upload.sha256,
            "media_type": storable(upload.media_type),
            "bytes": len(upload.content),
            "content": upload.content,
            "created_ms": self._clock_ms(),
        }
        row = sealed(connection, document_versions, (document_id, upload.version), row)
        await connection.execute(insert(document_versions).values(row))

    async def _drop_old(self, connection: AsyncConnection, document: Document) -> None:
        """After one more version than `document` tells of was kept."""
        old = document_versions.c.version <= document.newest + 1 - self._settings.max_versions
        await connection.execute(
            delete(document_versions).where(
                document_versions.c.document_id == document.id, old, document_versions.c.version != document.version
            )
        )

    async def _lock(self, connection: AsyncConnection, which: Any) -> None:
        """Which version is the newest is then decided by what was committed (SQLite has one writer anyway)."""
        await connection.execute(select(documents.c.id).where(which).with_for_update())


async def _insert_passages(connection: AsyncConnection, whose: JsonObject, pieces: Sequence[Piece]) -> None:
    """In slices, between which the loop serves others; all of one transaction."""
    for start in range(0, len(pieces), _ROWS_AT_ONCE):
        rows = [
            {
                **whose,
                "ordinal": ordinal,
                "text": storable(piece.text),
                "page": piece.page,
                "section": storable(piece.section),
                "start": piece.start,
                "end": piece.end,
            }
            for ordinal, piece in enumerate(pieces[start : start + _ROWS_AT_ONCE], start)
        ]
        await connection.execute(insert(passages), [_sealed(connection, row) for row in rows])


def _sealed(connection: AsyncConnection, row: JsonObject) -> JsonObject:
    return sealed(connection, passages, (row["document_id"], row["version"], row["ordinal"]), row)


async def _digest(content: bytes) -> str:
    """In a thread: the largest document takes tenths of a second."""
    return await asyncio.to_thread(lambda: hashlib.sha256(content).hexdigest())

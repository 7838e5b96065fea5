"""Our own documents API: uploads whose reading is a stream, versions, and a search for passages."""

from __future__ import annotations

import time
from collections.abc import Sequence, Set
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response
from starlette.types import ASGIApp

from ..chat.asking import DEFAULT_WORKSPACE
from ..chat.backend import Backend
from ..dialects import DIALECTS, EncodeOptions, dialect_named
from ..documents.ingest import Uploaded
from ..documents.records import Document, Scope
from ..documents.records import Query as Search
from ..errors import HeadwaterError, InputError, UnknownItem
from ..events import StreamId
from ..streams import Channel
from . import openapi_documents as openapi
from .accept import cursor_of, owner_of
from .answering import Answering
from .conversation_bodies import errors_named, read_body, read_changes
from .document_views import (
    FIELDS,
    DocumentChanges,
    DocumentList,
    SearchBody,
    UploadFields,
    VersionList,
    document_view,
    passages_view,
    read_fields,
    statistics_view,
    text_view,
    version_view,
)
from .downloads import download
from .ports import Services
from .routes_conversations import PRIVATE, Before, Limit, WorkspaceRef, place_of
from .routes_openai import json_response
from .scopes import check_scope
from .uploads import Upload, read_form
from .watching import watch

MAX_TEXT_CHARACTERS = 100_000
_TEXT_CHARACTERS = 4000
# No text is longer; the database's integers are.
_MAX_OFFSET = 2**31 - 1
_NAMES = {"workspace_id": "workspace", "thread_id": "thread", "document_id": "selected_document_ids"}

DocumentId = Annotated[str, Path(description="Id of the document.", max_length=64)]
VersionNumber = Annotated[
    int | None, Query(alias="version", ge=1, le=_MAX_OFFSET, description="Of this version; else of the one in force.")
]
DialectName = Annotated[str, Query(description="Wire format of frames: " + ", ".join(DIALECTS))]
After = Annotated[str | None, Query(description="Cursor to continue after; `Last-Event-ID` wins.")]


def routes(services: Services, answering: Answering) -> APIRouter:
    """`/v1/documents`, `/v1/workspaces/{workspace}/documents`, `…/statistics`, `POST /v1/search`."""
    router = APIRouter(tags=["documents"])
    backend = answering.backend
    intake = _Intake(backend)
    _add_uploads(router, services, intake)
    _add_lists(router, backend)
    _add_document(router, backend)
    _add_content(router, backend)
    _add_versions(router, intake)
    _add_progress(router, services, backend)
    _add_search(router, backend)
    return router


def _add_uploads(router: APIRouter, services: Services, intake: _Intake) -> None:
    @router.post("/v1/documents", **openapi.UPLOAD)
    async def upload_documents(request: Request) -> ASGIApp:
        """Upload documents, to `default` where no workspace is named; they are read whether or not anyone watches.

        With `Accept: text/event-stream`, and one file, the answer is the progress itself.
        """
        return await upload(request, "")

    @router.post("/v1/workspaces/{workspace}/documents", **openapi.UPLOAD_TO_WORKSPACE)
    async def upload_workspace_documents(request: Request, workspace: WorkspaceRef) -> ASGIApp:
        """Upload documents to a workspace."""
        return await upload(request, workspace)

    async def upload(request: Request, workspace: str) -> ASGIApp:
        check_scope(request, "documents")
        watched = "text/event-stream" in request.headers.get("accept", "")
        known = FIELDS - {"workspace"} if workspace else FIELDS
        uploads, fields = await intake.form(request, most=1 if watched else None, known=known)
        uploaded = await intake.take(await intake.scope(owner_of(request), workspace, fields), uploads, fields)
        if watched:
            return watch(services, uploaded[0].channel, "events", EncodeOptions())
        return uploaded_response(request, uploaded)


def uploaded_response(request: Request, uploaded: Sequence[Uploaded]) -> Response:
    """What was accepted, with each one's stream."""
    headers = dict(PRIVATE)
    if len(uploaded) == 1:
        document, channel = uploaded[0]
        headers |= {"X-Stream-Id": channel.id, "Location": place_of(request, f"documents/{document.id}")}
    views = DocumentList([document_view(document) for document, _ in uploaded], False)
    return json_response(views, status=202, headers=headers)


def _add_lists(router: APIRouter, backend: Backend) -> None:
    @router.get("/v1/workspaces/{workspace}/documents", **openapi.LIST_DOCUMENTS)
    async def list_workspace_documents(
        request: Request,
        workspace: WorkspaceRef,
        limit: Limit = 100,
        before: Before = None,
        thread: Annotated[
            str | None, Query(max_length=64, description="Only those that this thread sees; else all.")
        ] = None,
    ) -> Response:
        """The documents of a workspace, newest first."""
        check_scope(request, "documents")
        found = await backend.workspace(owner_of(request), workspace)
        if thread is not None:
            await backend.conversations.threads.get(found.tenant, thread, workspace_id=found.id)
        scope = Scope(found.tenant, found.id, thread)
        page = await backend.shelf.list(scope, everywhere=thread is None, limit=limit + 1, before=before)
        views = DocumentList(list(map(document_view, page[:limit])), len(page) > limit)
        return json_response(views, headers=PRIVATE)

    @router.get("/v1/workspaces/{workspace}/statistics", **openapi.STATISTICS)
    async def get_workspace_statistics(request: Request, workspace: WorkspaceRef) -> Response:
        """How much there is in a workspace's documents."""
        check_scope(request, "documents")
        found = await backend.workspace(owner_of(request), workspace)
        figures = await backend.shelf.statistics(found.tenant, found.id)
        return json_response(statistics_view(found.id, figures), headers=PRIVATE)


def _add_document(router: APIRouter, backend: Backend) -> None:
    shelf = backend.shelf

    @router.get("/v1/documents/{document}", **openapi.GET_DOCUMENT)
    async def get_document(request: Request, document: DocumentId) -> Response:
        """One document."""
        check_scope(request, "documents")
        return json_response(document_view(await shelf.get(owner_of(request), document)), headers=PRIVATE)

    @router.patch("/v1/documents/{document}", **openapi.CHANGE_DOCUMENT)
    async def change_document(request: Request, document: DocumentId) -> Response:
        """Change what is named of a document."""
        check_scope(request, "documents")
        changes = read_changes(read_body(await request.body(), DocumentChanges))
        changed = await shelf.update(owner_of(request), document, **changes)  # type: ignore[arg-type]
        return json_response(document_view(changed), headers=PRIVATE)

    @router.delete("/v1/documents/{document}", **openapi.DELETE_DOCUMENT)
    async def delete_document_by_id(request: Request, document: DocumentId) -> Response:
        """Delete a document with all its versions. Where it is being read, that is cancelled."""
        check_scope(request, "documents")
        await remove(backend, await shelf.get(owner_of(request), document))
        return Response(status_code=204)


async def remove(backend: Backend, document: Document) -> None:
    """Raises `UnknownItem` where somebody was faster."""
    await backend.shelf.delete(document.tenant, document.id)
    # Only now: a stream that ends before would be noted as this document's failure.
    if document.status == "processing" and document.stream_id:
        await backend.stop(document.tenant, [document.stream_id])


def _add_content(router: APIRouter, backend: Backend) -> None:
    shelf = backend.shelf

    @router.get("/v1/documents/{document}/content", **openapi.GET_CONTENT)
    async def get_content(request: Request, document: DocumentId, version: VersionNumber = None) -> Response:
        """The bytes that were uploaded, as a file to save."""
        check_scope(request, "documents")
        found = await shelf.get(owner_of(request), document)
        content, media_type = await shelf.content(found.tenant, found.id, version)
        return download(content, found.name, media_type)

    @router.get("/v1/documents/{document}/text", **openapi.GET_TEXT)
    async def get_text(
        request: Request,
        document: DocumentId,
        start: Annotated[int, Query(ge=0, le=_MAX_OFFSET, description="First character.")] = 0,
        end: Annotated[
            int | None, Query(ge=0, le=_MAX_OFFSET, description="Character before which it ends; 4000 without it.")
        ] = None,
        version: VersionNumber = None,
    ) -> Response:
        """A part of the text, at most 100,000 characters at once; empty before the document was read."""
        check_scope(request, "documents")
        most = _TEXT_CHARACTERS if end is None else end - start
        if not 0 <= most <= MAX_TEXT_CHARACTERS:
            raise InputError(f"end must be from start to {MAX_TEXT_CHARACTERS} characters after it", param="end")
        found = await shelf.get(owner_of(request), document)
        text = await shelf.text(found.tenant, found.id, version, start=start, end=start + most + 1)
        return json_response(text_view(found, start, text, most=most), headers=PRIVATE)


def _add_versions(router: APIRouter, intake: _Intake) -> None:
    shelf, ingest = intake.backend.shelf, intake.backend.ingest

    @router.get("/v1/documents/{document}/versions", **openapi.LIST_VERSIONS)
    async def list_versions(request: Request, document: DocumentId) -> Response:
        """The versions of a document that are kept, the newest first."""
        check_scope(request, "documents")
        versions = await shelf.versions(owner_of(request), document)
        return json_response(VersionList(list(map(version_view, versions)), False), headers=PRIVATE)

    @router.post("/v1/documents/{document}/versions", **openapi.UPLOAD_VERSION)
    async def upload_version(request: Request, document: DocumentId) -> Response:
        """Upload new bytes of a document. Until they are read, the version in force stays."""
        check_scope(request, "documents")
        found = await shelf.get(owner_of(request), document)
        [upload], _ = await intake.form(request, most=1, known=frozenset())
        newer = await shelf.add_version(found.tenant, found.id, upload.content, upload.media_type or None)
        if newer.status != "processing":
            return json_response(DocumentList([document_view(newer)], False), headers=PRIVATE)
        return uploaded_response(request, [await ingest.begin(newer)])


def _add_progress(router: APIRouter, services: Services, backend: Backend) -> None:
    @router.get("/v1/documents/{document}/progress", **openapi.PROGRESS)
    async def watch_progress(
        request: Request, document: DocumentId, dialect: DialectName = "events", after: After = None
    ) -> ASGIApp:
        """The reading of a document, from its start or after a cursor; 204 where nothing is being read."""
        check_scope(request, "documents")
        dialect_named(dialect)
        found = await backend.shelf.get(owner_of(request), document)
        channel = await _reading(backend, found)
        cursor = cursor_of(request, after)
        if channel is None or (channel.ended and cursor is None):
            return Response(status_code=204)
        return watch(services, channel, dialect, EncodeOptions(), cursor=cursor)


async def _reading(backend: Backend, document: Document) -> Channel | None:
    if not document.stream_id:
        return None
    return await backend.hub.find_stream(StreamId(document.stream_id), owner=document.tenant)


def _add_search(router: APIRouter, backend: Backend) -> None:
    @router.post("/v1/search", **openapi.SEARCH)
    async def search_documents(request: Request) -> Response:
        """The passages of a workspace's documents that fit a question best."""
        check_scope(request, "documents")
        body = read_body(await request.body(), SearchBody)
        began = time.perf_counter()
        with errors_named(_NAMES):
            results = await backend.searcher.search(await _search(backend, owner_of(request), body))
        return json_response(passages_view(results, (time.perf_counter() - began) * 1000), headers=PRIVATE)


async def _search(backend: Backend, tenant: str, body: SearchBody) -> Search:
    return Search(
        await _scope(backend, tenant, body.workspace or "", body.thread or ""),
        body.query,
        mode=body.mode,
        selected=tuple(body.selected_document_ids),
        limit=body.limit,
        min_score=body.min_score,
    )


async def _scope(backend: Backend, tenant: str, workspace: str, thread: str) -> Scope:
    """Raises `UnknownItem`, also for a thread of another workspace than the one that is named."""
    if not thread:
        return Scope(tenant, (await backend.workspace(tenant, workspace or DEFAULT_WORKSPACE)).id)
    within = (await backend.workspace(tenant, workspace)).id if workspace else None
    found = await backend.conversations.threads.get(tenant, thread, workspace_id=within)
    return Scope(tenant, found.workspace_id, found.id)


class _Intake:
    """From a request to documents that are being read. All raise `InputError`, `BodyTooLarge`, `UnknownItem`."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    async def form(self, request: Request, *, most: int | None, known: Set[str]) -> tuple[list[Upload], UploadFields]:
        """The files (`most` at most), and what is said of them in the form or the address, in `known` fields."""
        form = await read_form(request, max_bytes=self.backend.settings.ingest.max_document_bytes)
        fields = read_fields({**request.query_params, **form.fields}, known)
        if most is not None and len(form.uploads) > most:
            raise InputError("one file at a time", param="file")
        if fields.name and len(form.uploads) > 1:
            raise InputError("a name is for one file", param="name")
        return form.uploads, fields

    async def scope(self, tenant: str, workspace: str, fields: UploadFields) -> Scope:
        """`workspace` "": as the fields say."""
        with errors_named(_NAMES):
            return await _scope(self.backend, tenant, workspace or fields.workspace, fields.thread)

    async def take(self, scope: Scope, uploads: Sequence[Upload], fields: UploadFields) -> list[Uploaded]:
        """Put them on the shelf and begin to read them: all of them, or none is kept."""
        documents: list[Document] = []
        try:
            for upload in uploads:
                document = await self.backend.shelf.add(
                    scope,
                    name=fields.name or upload.name,
                    media_type=upload.media_type,
                    content=upload.content,
                    pinned=fields.pinned,
                    confidential=fields.confidential,
                    metadata=fields.metadata,
                )
                documents.append(document)
            return [await self.backend.ingest.begin(document) for document in documents]
        except HeadwaterError:
            await self._take_back(scope.tenant, documents)
            raise

    async def _take_back(self, tenant: str, documents: Sequence[Document]) -> None:
        for document in documents:
            try:
                # As it is now: its reading may have begun.
                await remove(self.backend, await self.backend.shelf.get(tenant, document.id))
            except UnknownItem:
                continue

"""The documents of reference 003: uploads with progress by stage, lists, previews, figures.

They are in the default workspace, or in one session's thread. All is at the reference's own addresses and below `/api`.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response
from starlette.types import ASGIApp

from ..chat.backend import Backend
from ..chat.places import Places
from ..dialects import EncodeOptions
from ..dialects.typed import NAME
from ..documents.ingest import Uploaded, task_of
from ..documents.records import Document, Scope
from ..errors import HeadwaterError, InputError, MethodNotAllowed, StreamFailed, UnknownItem
from ..events import Done, Error, StreamId
from ..store.numbers import MAX_NUMBER
from ..streams import Channel
from . import openapi_typed
from .accept import cursor_of, owner_of
from .answering import Answering
from .errors import CLIENT_CLOSED_REQUEST
from .ports import Services
from .responses import before_disconnect
from .routes_openai import json_response
from .routes_typed import PRIVATE, Before, Limit, both, router
from .scopes import check_scope
from .typed_shapes import (
    TypedDocument,
    TypedDocumentList,
    document_card,
    preview_card,
    processing_card,
    statistics_card,
    told_document,
    upload_card,
)
from .uploads import Upload, read_form
from .watching import watch

MAX_PREVIEW_CHARACTERS = 100_000
_PREVIEW_CHARACTERS = 4000
# No text is longer; the database's integers are.
_MAX_OFFSET = 2**31 - 1
# What stands where a document's id may: other methods do not mean a document by it.
_PLACES = frozenset({"list_documents", "stats", "upload_file", "upload_file_async"})

DocumentId = Annotated[str, Path(min_length=1, max_length=64, description="Number or id of the document.")]
TaskId = Annotated[str, Path(min_length=1, max_length=64, description="`task_id` of the upload.")]
After = Annotated[str | None, Query(description="Cursor to continue after; `Last-Event-ID` wins.")]


def routes(services: Services, answering: Answering) -> APIRouter:
    """`/docs/…` and `/api/docs/…`."""
    found = router()
    documents = _Documents(answering.backend)
    _add_uploads(found, documents)
    _add_progress(found, services, documents)
    _add_looking(found, documents)
    _add_single(found, documents)
    return found


def _add_uploads(router: APIRouter, documents: _Documents) -> None:
    @both(router, "POST", "/docs/upload_file", openapi_typed.UPLOAD)
    async def upload_file(request: Request) -> Response:
        """Upload a document and wait until it is processed. One that cannot be read is not kept."""
        check_scope(request, "documents")
        uploaded = await documents.begin(request)
        channel = uploaded.channel
        with documents.backend.hub.hold(channel):
            if not await before_disconnect(request.receive, channel.wait_end()):
                return Response(status_code=CLIENT_CLOSED_REQUEST)
        await documents.check_read(uploaded)
        card = await documents.card(await documents.get(request, uploaded.document.id))
        return json_response(card, headers=PRIVATE | {"X-Stream-Id": channel.id})

    @both(router, "POST", "/docs/upload_file_async", openapi_typed.UPLOAD_ASYNC)
    async def upload_file_async(request: Request) -> Response:
        """Upload a document; it is processed whether or not anybody watches."""
        check_scope(request, "documents")
        document, channel = await documents.begin(request)
        place = f"{request.scope.get('root_path', '')}/docs/processing/{channel.id}/status"
        headers = PRIVATE | {"X-Stream-Id": channel.id, "Location": place}
        return json_response(upload_card(document, channel.id), status=202, headers=headers)


def _add_progress(router: APIRouter, services: Services, documents: _Documents) -> None:
    @both(router, "GET", "/docs/processing/{task_id}/status", openapi_typed.PROCESSING)
    async def get_processing(request: Request, task_id: TaskId, after: After = None) -> ASGIApp:
        """How far the processing of an upload is; with `Accept: text/event-stream`, as it goes on."""
        check_scope(request, "documents")
        channel = await documents.task(request, task_id)
        if "text/event-stream" in request.headers.get("accept", ""):
            return watch(services, channel, NAME, EncodeOptions(), cursor=cursor_of(request, after))
        events = await services.hub.read_all(channel)
        number = told_document(events) or await documents.number_of(channel)
        headers = PRIVATE | {"X-Stream-Id": channel.id}
        return json_response(processing_card(channel.id, number, events), headers=headers)

    @both(router, "GET", "/docs/processing/{task_id}/stream", openapi_typed.WATCH_PROCESSING)
    async def watch_processing(request: Request, task_id: TaskId, after: After = None) -> ASGIApp:
        """The processing of an upload as it goes on, from its start or after a cursor."""
        check_scope(request, "documents")
        channel = await documents.task(request, task_id)
        return watch(services, channel, NAME, EncodeOptions(), cursor=cursor_of(request, after))


def _add_looking(router: APIRouter, documents: _Documents) -> None:
    shelf = documents.backend.shelf

    @both(router, "GET", "/docs/list_documents", openapi_typed.LIST_DOCUMENTS)
    async def list_uploaded_documents(
        request: Request,
        limit: Limit = 100,
        before: Before = None,
        session_id: Annotated[
            int | None, Query(ge=1, le=MAX_NUMBER, description="Only those that this session sees; else all.")
        ] = None,
    ) -> Response:
        """The documents, newest first."""
        check_scope(request, "documents")
        scope = await documents.seen(owner_of(request), session_id)
        found = await shelf.list(scope, everywhere=session_id is None, limit=limit + 1, before=before)
        cards = await documents.cards(found[:limit])
        return json_response(TypedDocumentList(cards, len(found) > limit), headers=PRIVATE)

    @both(router, "GET", "/docs/stats", openapi_typed.STATISTICS)
    async def get_upload_statistics(request: Request) -> Response:
        """How much there is."""
        check_scope(request, "documents")
        scope = await documents.seen(owner_of(request), None)
        return json_response(statistics_card(await shelf.statistics(scope.tenant, scope.workspace_id)), headers=PRIVATE)


def _add_single(router: APIRouter, documents: _Documents) -> None:
    shelf = documents.backend.shelf

    @both(router, "GET", "/docs/{document_id}/preview", openapi_typed.PREVIEW)
    async def preview_uploaded_document(
        request: Request,
        document_id: DocumentId,
        start: Annotated[int, Query(ge=0, le=_MAX_OFFSET, description="First character.")] = 0,
        end: Annotated[
            int | None,
            Query(ge=0, le=_MAX_OFFSET, description="Character before which it ends; without it, 4000 characters."),
        ] = None,
    ) -> Response:
        """A part of the text, at most 100,000 characters at once; empty before the document was read."""
        check_scope(request, "documents")
        most = min(_PREVIEW_CHARACTERS if end is None else end - start, MAX_PREVIEW_CHARACTERS)
        if most < 0:
            raise InputError("end is before start", param="end")
        document = await documents.get(request, document_id)
        text = await shelf.text(document.tenant, document.id, start=start, end=start + most + 1)
        return json_response(preview_card(document, start, text, most=most), headers=PRIVATE)

    @both(router, "DELETE", "/docs/{document_id}", openapi_typed.DELETE_DOCUMENT)
    async def delete_uploaded_document(request: Request, document_id: DocumentId) -> Response:
        """Delete a document; where it is still processed, that is cancelled."""
        check_scope(request, "documents")
        if document_id in _PLACES:
            raise MethodNotAllowed("this is no document")
        await documents.delete(await documents.get(request, document_id))
        return Response(status_code=204)


class _Fields(NamedTuple):
    confidential: bool
    session_id: int | None


class _Documents:
    """What the routes do with the shelf. All raise `InputError` and `UnknownItem`."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._places = Places(backend)

    async def begin(self, request: Request) -> Uploaded:
        """Put the upload on the shelf and begin to read it. Nothing is kept where that is refused."""
        form = await read_form(request, max_bytes=self.backend.settings.ingest.max_document_bytes)
        if len(form.uploads) > 1:
            raise InputError("one file at a time", param="file")
        fields = _Fields(
            _truth(form.fields.get("confidential", ""), "confidential"), _number(form.fields.get("session_id", ""))
        )
        document = await self._add(owner_of(request), form.uploads[0], fields)
        try:
            return await self.backend.ingest.begin(document)
        except HeadwaterError:
            await self.backend.shelf.delete(document.tenant, document.id)
            raise

    async def _add(self, tenant: str, upload: Upload, fields: _Fields) -> Document:
        if fields.session_id is None:
            scope = Scope(tenant, (await self._places.workspace(tenant)).id)
        else:
            workspace, thread = await self._places.numbered(tenant, fields.session_id)
            scope = Scope(tenant, workspace.id, thread.id)
        return await self.backend.shelf.add(
            scope,
            name=upload.name,
            media_type=upload.media_type,
            content=upload.content,
            confidential=fields.confidential,
        )

    async def check_read(self, uploaded: Uploaded) -> None:
        """Raises `StreamFailed` with the status of what went wrong where it was not read; the document is gone then."""
        terminal = uploaded.channel.terminal
        if isinstance(terminal, Done) and terminal.reason != "cancelled":
            return
        failure = StreamFailed("reading the document was stopped", reason="cancelled")
        failure.http_status = 409
        if isinstance(terminal, Error):
            failure = StreamFailed(terminal.message, reason=terminal.reason)
            failure.http_status = terminal.status
        await self.delete(uploaded.document)
        raise failure

    async def get(self, request: Request, ref: str) -> Document:
        return await self.backend.shelf.get(owner_of(request), ref)

    async def delete(self, document: Document) -> None:
        if document.status == "processing" and document.stream_id:
            await self.backend.stop(document.tenant, [document.stream_id])
        try:
            await self.backend.shelf.delete(document.tenant, document.id)
        except UnknownItem:
            return  # somebody was faster

    async def seen(self, tenant: str, session_id: int | None) -> Scope:
        if session_id is None:
            return Scope(tenant, (await self._places.workspace(tenant)).id)
        workspace, thread = await self._places.known(tenant, session_id)
        return Scope(tenant, workspace.id, thread.id)

    async def task(self, request: Request, task_id: str) -> Channel:
        channel = await self.backend.hub.find_stream(StreamId(task_id), owner=owner_of(request))
        if channel is None or task_of(channel.record) is None:
            raise UnknownItem("task")
        return channel

    async def number_of(self, channel: Channel) -> int:
        """Of the document that a task reads."""
        task = task_of(channel.record)
        if task is None:
            raise UnknownItem("task")
        return (await self.backend.shelf.get(task.tenant, task.document_id)).number

    async def card(self, document: Document) -> TypedDocument:
        return (await self.cards([document]))[0]

    async def cards(self, documents: list[Document]) -> list[TypedDocument]:
        numbers: dict[str, int] = {}
        for document in documents:
            if document.thread_id is not None and document.thread_id not in numbers:
                thread = await self.backend.conversations.threads.get(document.tenant, document.thread_id)
                numbers[document.thread_id] = thread.number
        return [document_card(each, numbers.get(each.thread_id or "")) for each in documents]


_TRUE, _FALSE = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off", ""})


def _truth(text: str, name: str) -> bool:
    """As FastAPI takes a form's boolean."""
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        raise InputError(f"{name} must be true or false", param=name)
    return word in _TRUE


def _number(text: str) -> int | None:
    word = text.strip()
    if not word:
        return None
    if not (word.isascii() and word.isdecimal() and len(word) <= 16 and 1 <= int(word) <= MAX_NUMBER):
        raise InputError("session_id must be the number of a session", param="session_id")
    return int(word)

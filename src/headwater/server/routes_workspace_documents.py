"""Documents of workspaces: uploaded, listed, added, pinned and searched (reference 000).

An upload that names no workspace goes to `default`, for here every document is in a workspace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from fastapi import APIRouter, Path, Request
from msgspec import UNSET
from starlette.responses import Response

from ..chat.backend import Backend
from ..chat.records import Workspace
from ..dialects.base import check, decode_object, decode_parameter
from ..documents.records import Document, Found, Query, Scope
from ..errors import InputError
from ..events import JsonObject
from ..streams.fold import CHARACTERS_PER_TOKEN
from . import openapi_workspace as openapi
from .accept import owner_of
from .openapi_workspace import both, developer, pages, route
from .own_errors import route_class
from .routes_openai import json_response
from .routes_workspace_chat import Slug, failure_form
from .scopes import check_scope
from .uploads import Upload, read_form
from .workspace_files import FOLDER, Files, document_card, facts_of, kept_metadata
from .workspace_places import DEFAULT_WORKSPACE, Places
from .workspace_shapes import (
    AnythingEmbeddings,
    AnythingFileFound,
    AnythingMessageOnly,
    AnythingPassage,
    AnythingPassageSource,
    AnythingPin,
    AnythingRawText,
    AnythingSearch,
    AnythingSearchAnswer,
    AnythingUploaded,
    AnythingWorkspaceAnswer,
)
from .workspace_views import workspace_card

_PRIVATE = {"Cache-Control": "no-store"}
# Copies are read one after the other while the caller waits.
MAX_WORKSPACES = 20


def upload_form(message: str, code: str, status: int) -> JsonObject:
    """Errors of uploads."""
    return {"success": False, "error": message, "documents": []}


def routes(backend: Backend, places: Places, files: Files) -> Sequence[APIRouter]:
    uploading = APIRouter(tags=["AnythingLLM"], route_class=route_class(upload_form))
    others = APIRouter(tags=["AnythingLLM"], route_class=route_class(failure_form))
    _add_uploading(uploading, backend, places, files)
    _add_listing(others, files)
    _add_choosing(others, backend, places, files)
    _add_search(others, backend, places)
    return uploading, others


def _add_uploading(router: APIRouter, backend: Backend, places: Places, files: Files) -> None:
    most_bytes = backend.settings.ingest.max_document_bytes

    @route(router, "POST", developer("upload", "/document/upload"), openapi.UPLOAD)
    async def upload_document(request: Request) -> Response:
        """Upload a document, and wait until it was read."""
        return await _upload(request, FOLDER)

    @route(router, "POST", developer("upload_folder", "/document/upload/{folder}"), openapi.UPLOAD)
    async def upload_to_folder(
        request: Request, folder: Annotated[str, Path(description="Folder of the listing.", max_length=100)]
    ) -> Response:
        """Upload a document to a folder of the listing, and wait until it was read."""
        return await _upload(request, folder)

    async def _upload(request: Request, folder: str) -> Response:
        check_scope(request, "documents")
        form = await read_form(request, max_bytes=most_bytes)
        metadata = kept_metadata(metadata_in(form.fields), folder)
        workspaces = await _workspaces(request, places, form.fields.get("addToWorkspaces", ""))
        return await _take(request, files, workspaces, form.uploads, metadata)

    @route(router, "POST", pages("upload", "/workspace/{slug}/upload"), openapi.UPLOAD)
    async def upload_to_workspace(request: Request, slug: Slug) -> Response:
        """Upload a document to a workspace, and wait until it was read."""
        check_scope(request, "documents")
        form = await read_form(request, max_bytes=most_bytes)
        metadata = kept_metadata(metadata_in(form.fields), form.fields.get("folderName", "")[:100] or FOLDER)
        workspace = await places.workspace(owner_of(request), slug)
        return await _take(request, files, [workspace], form.uploads, metadata)

    @route(router, "POST", developer("upload_text", "/document/raw-text"), openapi.UPLOAD_TEXT)
    async def upload_text(request: Request) -> Response:
        """Make a document of a text, and wait until it was read."""
        check_scope(request, "documents")
        body = check(decode_object(await request.body()), AnythingRawText)
        title = body.metadata.get("title")
        if not isinstance(title, str) or not title.strip():
            raise InputError("metadata needs a title", param="metadata")
        workspaces = await _workspaces(request, places, body.add_to_workspaces)
        # A name that says how the text is to be read, whatever the title ends in.
        upload = Upload(f"{title.strip()[:200]}.txt", "text/plain", body.text_content.encode("utf-8", "replace"))
        return await _take(request, files, workspaces, [upload], kept_metadata(body.metadata))


async def _workspaces(request: Request, places: Places, slugs: str) -> list[Workspace]:
    """Raises `InputError`, `UnknownItem`: before anything is stored."""
    named = list(dict.fromkeys(slug for each in slugs.split(",") if (slug := each.strip()))) or [DEFAULT_WORKSPACE]
    if len(named) > MAX_WORKSPACES:
        raise InputError(f"more than {MAX_WORKSPACES} workspaces", param="addToWorkspaces")
    return [await places.workspace(owner_of(request), slug) for slug in named]


async def _take(
    request: Request, files: Files, workspaces: Sequence[Workspace], uploads: Sequence[Upload], metadata: JsonObject
) -> Response:
    documents: list[Document] = []
    for upload in uploads:
        document = await files.take(request, workspaces[0], upload, metadata)
        documents.append(document)
        for workspace in workspaces[1:]:
            await files.copy(request, document, workspace)
    return json_response(AnythingUploaded(True, None, [await files.card(document) for document in documents]))


def metadata_in(fields: Mapping[str, str]) -> JsonObject:
    """Of a form. Raises `InputError`."""
    text = fields.get("metadata", "")
    if not text.strip():
        return {}
    given = decode_parameter(text, "metadata")
    if not isinstance(given, dict):
        raise InputError("metadata is not a JSON object", param="metadata")
    return given


def _add_listing(router: APIRouter, files: Files) -> None:
    @route(router, "GET", developer("documents", "/documents"), openapi.LIST_DOCUMENTS)
    async def list_documents(request: Request) -> Response:
        """All documents, in their folders; one that several workspaces have is listed once."""
        check_scope(request, "documents")
        return json_response(await files.listing(owner_of(request)), headers=_PRIVATE)

    @route(router, "GET", developer("document", "/document/{name}"), openapi.GET_DOCUMENT)
    async def get_document(
        request: Request, name: Annotated[str, Path(description="The document's `name`.", max_length=1000)]
    ) -> Response:
        """One document."""
        check_scope(request, "documents")
        document = await files.find(owner_of(request), name)
        return json_response(AnythingFileFound(await files.card(document)), headers=_PRIVATE)


def _add_choosing(router: APIRouter, backend: Backend, places: Places, files: Files) -> None:
    place = both("update_embeddings", "/workspace/{slug}/update-embeddings")

    @route(router, "POST", place, openapi.UPDATE_EMBEDDINGS)
    async def update_embeddings(request: Request, slug: Slug) -> Response:
        """Add documents by their locations, and take others away. Waits until those that were added are read."""
        check_scope(request, "documents")
        body = check(decode_object(await request.body()), AnythingEmbeddings)
        workspace = await places.workspace(owner_of(request), slug)
        problems = await files.change(request, workspace, adds=body.adds, deletes=body.deletes)
        documents = [document_card(each, workspace) for each in await files.of_workspace(workspace)]
        card = workspace_card(workspace, backend.settings.chat, documents=documents)
        return json_response(AnythingWorkspaceAnswer(card, _told(problems)))

    place = both("update_pin", "/workspace/{slug}/update-pin")

    @route(router, "POST", place, openapi.UPDATE_PIN)
    async def update_pin(request: Request, slug: Slug) -> Response:
        """Make a document part of every prompt, as far as it fits, or no more."""
        check_scope(request, "documents")
        body = check(decode_object(await request.body()), AnythingPin)
        workspace = await places.workspace(owner_of(request), slug)
        await files.pin(workspace, body.doc_path, body.pin_status)
        return json_response(AnythingMessageOnly("Pin status updated successfully"))


def _told(problems: Sequence[str]) -> str | None:
    if not problems:
        return None
    return f"{len(problems)} documents failed to add.\n\n" + "\n\n".join(problems)


def _add_search(router: APIRouter, backend: Backend, places: Places) -> None:
    place = developer("search", "/workspace/{slug}/vector-search")

    @route(router, "POST", place, openapi.SEARCH)
    async def search_workspace(request: Request, slug: Slug) -> Response:
        """The passages of a workspace's documents that fit a question best."""
        check_scope(request, "documents")
        body = check(decode_object(await request.body()), AnythingSearch, strict=False)
        workspace = await places.workspace(owner_of(request), slug)
        results = await backend.searcher.search(_query(body, workspace, backend))
        known: dict[str, Document] = {}
        for found in results.found:
            if found.document_id not in known:
                known[found.document_id] = await backend.shelf.get(workspace.tenant, found.document_id)
        passages = [passage_card(found, known[found.document_id]) for found in results.found]
        nothing = not passages and not await backend.shelf.list(Scope(workspace.tenant, workspace.id), limit=1)
        message = "No embeddings found for this workspace." if nothing else UNSET
        return json_response(AnythingSearchAnswer(passages, message), headers=_PRIVATE)


def _query(body: AnythingSearch, workspace: Workspace, backend: Backend) -> Query:
    settings = backend.settings.chat
    limits = (body.top_n, workspace.passages, settings.passages)
    scores = (body.score_threshold, workspace.min_score, settings.min_score)
    return Query(
        Scope(workspace.tenant, workspace.id),
        body.query,
        limit=min(100, next(each for each in limits if each is not None)),
        min_score=next(each for each in scores if each is not None),
    )


def passage_card(found: Found, document: Document) -> AnythingPassage:
    facts = facts_of(document)
    source = AnythingPassageSource(
        url=facts["url"],
        title=facts["title"],
        author=facts["docAuthor"],
        description=facts["description"],
        doc_source=facts["docSource"],
        chunk_source=facts["chunkSource"],
        published=facts["published"],
        word_count=len(found.text.split()),
        token_count=-(-len(found.text) // CHARACTERS_PER_TOKEN),
    )
    score = round(found.score, 6)
    return AnythingPassage(str(found.passage_id), found.text, source, round(1.0 - score, 6), score)

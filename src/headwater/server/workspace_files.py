"""Documents as reference 000 knows them: by locations, which are the same in every workspace that has the document.

AnythingLLM keeps one file for all workspaces; here each workspace has its own. So a document that is added to another
workspace is copied, the copy remembers its `origin`, and both have the origin's id in their location.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from starlette.requests import ClientDisconnect, Request

from ..chat.backend import Backend
from ..chat.records import Workspace
from ..dialects.base import json_line
from ..documents.records import Document, Scope
from ..documents.shelf import MAX_LISTED
from ..errors import HeadwaterError, StreamFailed, UnknownItem
from ..events import Error, JsonObject
from ..instants import rfc3339
from ..streams import Channel
from ..streams.fold import CHARACTERS_PER_TOKEN
from .responses import before_disconnect
from .uploads import Upload
from .workspace_places import Places
from .workspace_shapes import AnythingDocument, AnythingFile, AnythingFiles, AnythingFolder, AnythingRoot
from .workspace_views import date_text

FOLDER = "custom-documents"
"""Where AnythingLLM puts uploads that name no folder."""

# What is kept in a document's metadata beside the caller's own; a copy has all of them.
_ORIGIN, _FOLDER, _WORDS, _TOKENS = "origin", "folder", "wordCount", "token_count_estimate"
_RESERVED = frozenset({_ORIGIN, _FOLDER, _WORDS, _TOKENS})
_SEPARATOR = re.compile(r"[/\\]")
_ID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_IS_ID = re.compile(_ID)
_LOCATION = re.compile(rf"(?:[^/\\]+/)?[^/\\]*-(?P<id>{_ID})\.json")


def file_name(document: Document) -> str:
    """`<name>-<id of the origin>.json`."""
    return f"{_SEPARATOR.sub('-', document.name)}-{origin_of(document)}.json"


def location_of(document: Document) -> str:
    return f"{folder_of(document)}/{file_name(document)}"


def id_in(location: str) -> str:
    """Of the document's origin; "" where this is no location. With or without a folder."""
    found = _LOCATION.fullmatch(location)
    return found["id"] if found else ""


def origin_of(document: Document) -> str:
    """Its own id, or that of the document that it is a copy of."""
    origin = _text(document.metadata, _ORIGIN, "")
    return origin if _IS_ID.fullmatch(origin) else document.id


def folder_of(document: Document) -> str:
    return _text(document.metadata, _FOLDER, FOLDER)


def kept_metadata(given: Mapping[str, object], folder: str = FOLDER) -> JsonObject:
    """What a caller may keep with a document, and where it lies."""
    own = {name: value for name, value in given.items() if name not in _RESERVED}
    return own if folder == FOLDER else {**own, _FOLDER: _SEPARATOR.sub("-", folder)}


def _text(metadata: Mapping[str, object], name: str, otherwise: str) -> str:
    value = metadata.get(name)
    return value if isinstance(value, str) and value else otherwise


def _number(metadata: Mapping[str, object], name: str) -> int | None:
    value = metadata.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def facts_of(document: Document) -> dict[str, str]:
    """What AnythingLLM tells of a document, as far as it is text."""
    given, name = document.metadata, document.name
    published = _number(given, "published")
    return {
        "url": _text(given, "url", f"file://{name}"),
        "title": _text(given, "title", name),
        "docAuthor": _text(given, "docAuthor", "Unknown"),
        "description": _text(given, "description", "Unknown"),
        "docSource": _text(given, "docSource", "a file uploaded by the user."),
        "chunkSource": _text(given, "chunkSource", name),
        "published": _text(given, "published", date_text(_when(published, document.created_ms))),
    }


def _when(published: int | None, created_ms: int) -> int:
    """`published` is in milliseconds; what no calendar has is left out."""
    return published if published is not None and 0 <= published < _YEAR_9999_MS else created_ms


_YEAR_9999_MS = 253_370_764_800_000


def document_card(document: Document, workspace: Workspace) -> AnythingDocument:
    known = {name: document.metadata[name] for name in (_WORDS, _TOKENS) if name in document.metadata}
    return AnythingDocument(
        id=document.number,
        doc_id=document.id,
        filename=file_name(document),
        docpath=location_of(document),
        workspace_id=workspace.number,
        metadata=json_line({**facts_of(document), **known}).decode(),
        pinned=document.pinned,
        status=document.status,
        created_at=rfc3339(document.created_ms),
        last_updated_at=rfc3339(document.updated_ms),
    )


class Files:
    """The tenant's documents over all workspaces."""

    def __init__(self, backend: Backend, places: Places) -> None:
        self._backend = backend
        self._places = places
        self._shelf = backend.shelf

    # ------------------------------------------------------------------ taking

    async def take(
        self,
        request: Request,
        workspace: Workspace,
        upload: Upload,
        metadata: JsonObject,
        *,
        confidential: bool = False,
    ) -> Document:
        """Store a document and read it to its end.

        Where that fails nothing of it is left, and what failed is raised. Where the client leaves (`ClientDisconnect`)
        the reading goes on.
        """
        document = await self._shelf.add(
            Scope(workspace.tenant, workspace.id),
            name=upload.name,
            media_type=upload.media_type,
            content=upload.content,
            confidential=confidential,
            metadata=metadata,
        )
        try:
            await self._read(request, document)
        except HeadwaterError:
            await self._forget(document)
            raise
        return await self._counted(await self._shelf.get(document.tenant, document.id))

    async def _read(self, request: Request, document: Document) -> None:
        channel = (await self._backend.ingest.begin(document)).channel
        with self._backend.hub.hold(channel):
            if not await before_disconnect(request.receive, channel.wait_end()):
                raise ClientDisconnect
        _check_read(channel, document.name)

    async def _counted(self, document: Document) -> Document:
        """With its words and tokens counted, so that no listing has to read all texts."""
        words, tokens = await self._figures(document)
        counts = {_WORDS: words, _TOKENS: tokens}
        return await self._shelf.update(document.tenant, document.id, metadata={**document.metadata, **counts})

    async def _figures(self, document: Document) -> tuple[int, int]:
        words, tokens = _number(document.metadata, _WORDS), _number(document.metadata, _TOKENS)
        if words is not None and tokens is not None:
            return words, tokens
        text = await self._shelf.text(document.tenant, document.id)
        return len(text.split()), -(-len(text) // CHARACTERS_PER_TOKEN)

    async def copy(self, request: Request, document: Document, workspace: Workspace) -> Document:
        """The same document in another workspace, read there. Raises as `take`."""
        content, media_type = await self._shelf.content(document.tenant, document.id)
        published = facts_of(document)["published"]
        metadata = {**document.metadata, _ORIGIN: origin_of(document), "published": published}
        upload = Upload(document.name, media_type, content)
        return await self.take(request, workspace, upload, metadata, confidential=document.confidential)

    # ------------------------------------------------------------------ finding

    async def of_workspace(self, workspace: Workspace) -> list[Document]:
        """The newest first; without those of single threads."""
        scope = Scope(workspace.tenant, workspace.id)
        found: list[Document] = []
        while page := await self._shelf.list(scope, limit=MAX_LISTED, before=found[-1].id if found else None):
            found += page
            if len(page) < MAX_LISTED:
                break
        return found

    async def everywhere(self, tenant: str) -> list[tuple[Workspace, Document]]:
        workspaces = await self._places.all_workspaces(tenant)
        return [(each, document) for each in workspaces for document in await self.of_workspace(each)]

    async def find(self, tenant: str, location: str) -> Document:
        """Any of the documents at a location. Raises `UnknownItem`."""
        wanted = id_in(location)
        if not wanted:
            raise _no_document(location)
        try:
            document = await self._shelf.get(tenant, wanted)
        except UnknownItem:
            # The origin is gone; a copy has what it was.
            copies = [document for _, document in await self.everywhere(tenant) if origin_of(document) == wanted]
            if not copies:
                raise _no_document(location) from None
            return copies[0]
        if document.thread_id is not None:
            # A single conversation's; it is in no workspace's list either.
            raise _no_document(location)
        return document

    async def held(self, workspace: Workspace, location: str) -> list[Document]:
        """The workspace's documents at a location: one, or two where it was added twice at the same time."""
        wanted = id_in(location)
        return [document for document in await self.of_workspace(workspace) if wanted and origin_of(document) == wanted]

    # ------------------------------------------------------------------ changing

    async def change(
        self, request: Request, workspace: Workspace, *, adds: Sequence[str], deletes: Sequence[str]
    ) -> list[str]:
        """Take documents from a workspace, and give it others; why some could not be added."""
        for location in dict.fromkeys(deletes):
            for document in await self.held(workspace, location):
                await self._forget(document)
        problems: list[str] = []
        for location in dict.fromkeys(adds):
            try:
                await self.add(request, workspace, location)
            except HeadwaterError as exc:
                problems.append(f"{location}: {exc.message}")
        return problems

    async def add(self, request: Request, workspace: Workspace, location: str) -> None:
        """Nothing changes where the workspace has it already. Raises `UnknownItem`, and as `take`."""
        document = await self.find(workspace.tenant, location)
        if document.workspace_id != workspace.id and not await self.held(workspace, location):
            await self.copy(request, document, workspace)

    async def pin(self, workspace: Workspace, location: str, pinned: bool) -> None:
        """Raises `UnknownItem` for a document that is not in this workspace."""
        held = await self.held(workspace, location)
        if not held:
            raise _no_document(location)
        for document in held:
            await self._shelf.update(document.tenant, document.id, pinned=pinned)

    async def _forget(self, document: Document) -> None:
        try:
            document = await self._shelf.get(document.tenant, document.id)
            await self._shelf.delete(document.tenant, document.id)
        except UnknownItem:
            return
        if document.status == "processing" and document.stream_id:
            await self._backend.stop(document.tenant, [document.stream_id])

    # ------------------------------------------------------------------ showing

    async def listing(self, tenant: str) -> AnythingFiles:
        """Each document once, in its folder, however many workspaces have it."""
        folders: dict[str, list[AnythingFile]] = {FOLDER: []}
        for copies in _by_origin(await self.everywhere(tenant)):
            folders.setdefault(folder_of(copies[0][1]), []).append(await self._card(copies))
        items = [AnythingFolder(name, "folder", files) for name, files in folders.items() if files or name == FOLDER]
        return AnythingFiles(AnythingRoot("documents", "folder", items))

    async def card(self, document: Document) -> AnythingFile:
        """One document, with the workspaces that have it pinned."""
        everywhere = await self.everywhere(document.tenant)
        copies = [(each, other) for each, other in everywhere if origin_of(other) == origin_of(document)]
        return await self._card(copies)

    async def _card(self, copies: Sequence[tuple[Workspace, Document]]) -> AnythingFile:
        document = next((each for _, each in copies if each.id == origin_of(each)), copies[0][1])
        words, tokens = await self._figures(document)
        facts = facts_of(document)
        return AnythingFile(
            name=file_name(document),
            type="file",
            id=origin_of(document),
            location=location_of(document),
            url=facts["url"],
            title=facts["title"],
            doc_author=facts["docAuthor"],
            description=facts["description"],
            doc_source=facts["docSource"],
            chunk_source=facts["chunkSource"],
            published=facts["published"],
            word_count=words,
            token_count_estimate=tokens,
            cached=any(each.status == "ready" for _, each in copies),
            pinned_workspaces=[workspace.number for workspace, each in copies if each.pinned],
        )


def _by_origin(found: Iterable[tuple[Workspace, Document]]) -> list[list[tuple[Workspace, Document]]]:
    groups: dict[str, list[tuple[Workspace, Document]]] = {}
    for workspace, document in found:
        groups.setdefault(origin_of(document), []).append((workspace, document))
    return list(groups.values())


def _check_read(channel: Channel, name: str) -> None:
    """Raises what the reading failed with, by its own status."""
    terminal = channel.terminal
    if isinstance(terminal, Error):
        failed = StreamFailed(f"{name}: {terminal.message}", reason=terminal.reason)
        failed.http_status = terminal.status
        raise failed
    if terminal is not None and terminal.reason == "cancelled":
        stopped = StreamFailed(f"{name}: reading it was stopped", reason="cancelled")
        stopped.http_status = 409
        raise stopped


def _no_document(location: str) -> UnknownItem:
    return UnknownItem("document", param="location", message=f"Document {location} not found.")

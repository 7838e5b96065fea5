"""Documents, and passages that were found in them, as the API takes and shows them."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Annotated, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from ..chat.records import MAX_NAME_CHARACTERS
from ..dialects.base import decode_parameter
from ..documents.records import Document, Found, Mode, Results, Stage, Statistics, Status, Version, Way
from ..errors import InputError
from ..events import JsonObject
from ..instants import rfc3339
from .conversation_bodies import MAX_PASSAGES, MAX_SELECTED

MAX_QUERY_CHARACTERS = 10_000


class DocumentView(msgspec.Struct, frozen=True, kw_only=True, tag_field="object", tag="document"):
    """`version` is the one in force (searched), 0 before the first was read; `newest_version` the last uploaded.

    `status` and `stage` tell of the newest; `stage` is "" when nothing is being done. `error`: why it could not be
    read. `stream_id`: tells of its progress. `thread_id` set: only that thread sees it. `pinned`: part of every prompt,
    as far as it fits. `confidential`: it goes to no external provider.
    """

    id: str
    number: int
    workspace_id: str
    thread_id: str | None
    name: str
    media_type: str
    version: int
    newest_version: int
    status: Status
    stage: Stage
    error: str | None
    stream_id: str | None
    pinned: bool
    confidential: bool
    metadata: JsonObject
    bytes: int
    pages: int
    passages: int
    created_at: str
    updated_at: str


class DocumentList(msgspec.Struct, frozen=True, tag_field="object", tag="list"):
    """Newest first; of an upload in the form's order. `has_more`: ask again with `before` set to the last id."""

    data: list[DocumentView]
    has_more: bool


class VersionView(msgspec.Struct, frozen=True, kw_only=True, tag_field="object", tag="document.version"):
    """`sha256` is of the bytes, in hex. `pages` and `passages` are 0 until it was read."""

    version: int
    in_force: bool
    sha256: str
    media_type: str
    bytes: int
    pages: int
    passages: int
    created_at: str


class VersionList(msgspec.Struct, frozen=True, tag_field="object", tag="list"):
    """All that are kept, the newest first."""

    data: list[VersionView]
    has_more: bool


class DocumentText(msgspec.Struct, frozen=True, kw_only=True, tag_field="object", tag="document.text"):
    """`text` is `[start:end]` (in characters) of the version's text, "" where that was not read."""

    document_id: str
    start: int
    end: int
    text: str
    has_more: bool


class StatisticsView(msgspec.Struct, frozen=True, kw_only=True, tag_field="object", tag="workspace.statistics"):
    """Of the versions in force, but for the counts of documents. `embedded`: passages that have a vector.

    `bytes` are those of the uploads, `characters` those of the texts.
    """

    workspace_id: str
    documents: int
    ready: int
    processing: int
    failed: int
    passages: int
    embedded: int
    characters: int
    bytes: int
    pages: int


class PassageView(msgspec.Struct, frozen=True, kw_only=True, tag_field="object", tag="passage"):
    """`score` 0 to 1 can be compared between searches. `text` is `[start:end]` of the version's text.

    `page` counts from 1, null where the format has none. `section`: the headings above it.
    """

    id: str
    document_id: str
    document_number: int
    document: str
    version: int
    text: str
    page: int | None
    section: str
    start: int
    end: int
    score: float
    confidential: bool
    pinned: bool


class PassageList(msgspec.Struct, frozen=True, kw_only=True, tag_field="object", tag="list"):
    """Best first. `ways`: how it was searched. `problem`: why vectors were not used though they are configured.

    `ms`: how long it took.
    """

    data: list[PassageView]
    has_more: bool
    ways: list[Way]
    problem: str | None
    ms: float


class DocumentChanges(msgspec.Struct, forbid_unknown_fields=True):
    """Only what is named changes; `metadata` as a whole."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_CHARACTERS)] | UnsetType = UNSET
    pinned: bool | UnsetType = UNSET
    confidential: bool | UnsetType = UNSET
    metadata: JsonObject | UnsetType = UNSET


class SearchBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`workspace`: id or slug; left out it is `default`, or the thread's. `thread`: its own documents, too.

    `mode` `selected_only` searches the selected documents; `hybrid` gives them 60 % of the results.
    """

    query: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_QUERY_CHARACTERS)]
    workspace: Annotated[str, msgspec.Meta(min_length=1, max_length=128)] | None = None
    thread: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None
    mode: Mode = "all"
    selected_document_ids: Annotated[list[str | int], msgspec.Meta(max_length=MAX_SELECTED)] = []
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_PASSAGES)] = 6
    min_score: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0


class UploadFields(NamedTuple):
    """What a form, or the address, says beside the files. "" where it says nothing."""

    workspace: str
    thread: str
    name: str
    pinned: bool
    confidential: bool
    metadata: JsonObject


FIELDS = frozenset(UploadFields._fields)
# Proofs of who asks stand in the address, too.
_PROOFS = frozenset({"access_token", "ticket"})
_TRUTHS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def read_fields(fields: Mapping[str, str], known: Set[str] = FIELDS) -> UploadFields:
    """Raises `InputError`, also for a field that is not `known`: a misspelt `confidential` must not go unnoticed."""
    for name in fields:
        if name not in known and name not in _PROOFS:
            raise InputError(f"there is no field {name[:100]!r}", param=name[:100])
    return UploadFields(
        workspace=fields.get("workspace", "").strip(),
        thread=fields.get("thread", "").strip(),
        name=fields.get("name", "").strip(),
        pinned=_truth(fields, "pinned"),
        confidential=_truth(fields, "confidential"),
        metadata=_metadata(fields.get("metadata", "")),
    )


def _truth(fields: Mapping[str, str], name: str) -> bool:
    word = fields.get(name, "").strip().lower() or "false"
    if word not in _TRUTHS:
        raise InputError(f"{name} must be true or false", param=name)
    return _TRUTHS[word]


def _metadata(text: str) -> JsonObject:
    given = decode_parameter(text, "metadata") if text.strip() else {}
    if not isinstance(given, dict):
        raise InputError("metadata is not a JSON object", param="metadata")
    return given


def document_view(document: Document) -> DocumentView:
    return DocumentView(
        id=document.id,
        number=document.number,
        workspace_id=document.workspace_id,
        thread_id=document.thread_id,
        name=document.name,
        media_type=document.media_type,
        version=document.version,
        newest_version=document.newest,
        status=document.status,
        stage=document.stage,
        error=document.error or None,
        stream_id=document.stream_id or None,
        pinned=document.pinned,
        confidential=document.confidential,
        metadata=document.metadata,
        bytes=document.bytes,
        pages=document.pages,
        passages=document.passages,
        created_at=rfc3339(document.created_ms),
        updated_at=rfc3339(document.updated_ms),
    )


def version_view(version: Version) -> VersionView:
    return VersionView(
        version=version.version,
        in_force=version.in_force,
        sha256=version.sha256,
        media_type=version.media_type,
        bytes=version.bytes,
        pages=version.pages,
        passages=version.passages,
        created_at=rfc3339(version.created_ms),
    )


def text_view(document: Document, start: int, text: str, *, most: int) -> DocumentText:
    """`text` holds one character more than `most` where there is more."""
    shown = text[:most]
    return DocumentText(
        document_id=document.id, start=start, end=start + len(shown), text=shown, has_more=len(text) > most
    )


def statistics_view(workspace_id: str, figures: Statistics) -> StatisticsView:
    return StatisticsView(
        workspace_id=workspace_id,
        documents=figures.documents,
        ready=figures.ready,
        processing=figures.processing,
        failed=figures.failed,
        passages=figures.passages,
        embedded=figures.embedded,
        characters=figures.characters,
        bytes=figures.bytes,
        pages=figures.pages,
    )


def passages_view(results: Results, took_ms: float) -> PassageList:
    return PassageList(
        data=list(map(passage_view, results.found)),
        has_more=False,
        ways=list(results.ways),
        problem=results.problem or None,
        ms=round(took_ms, 1),
    )


def passage_view(found: Found) -> PassageView:
    return PassageView(
        id=str(found.passage_id),
        document_id=found.document_id,
        document_number=found.document_number,
        document=found.document_name,
        version=found.version,
        text=found.text,
        page=found.page,
        section=found.section,
        start=found.start,
        end=found.end,
        score=found.score,
        confidential=found.confidential,
        pinned=found.pinned,
    )

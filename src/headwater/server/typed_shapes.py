"""What the routes of reference 003 take and answer, beside the stream itself. Pure.

Ids of sessions, messages and documents are numbers of the tenant, those of streams and tasks texts; times are RFC 3339
in UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, TypeAlias

import msgspec

from ..chat.records import MAX_NAME_CHARACTERS, Message, MessageStatus, Role, Thread
from ..documents.records import Document, Statistics
from ..events import Done, Error, Event, JsonObject, Metadata, Source, Status
from ..instants import rfc3339

StageStatus: TypeAlias = Literal["pending", "processing", "completed", "failed", "cancelled"]
DocumentStatus: TypeAlias = Literal["processing", "completed", "failed"]

Name = Annotated[str, msgspec.Meta(max_length=MAX_NAME_CHARACTERS)]

_DOCUMENT_STATUS: dict[str, DocumentStatus] = {"processing": "processing", "ready": "completed", "failed": "failed"}

# ---------------------------------------------------------------------- conversations


class TypedSessionBody(msgspec.Struct, frozen=True):
    """`title` "": it gets one with its first answer. `model` "": that of each question, else the server's default."""

    title: Name = ""
    model: Name = ""


class TypedSessionChanges(msgspec.Struct, frozen=True):
    """Only what is named changes."""

    title: Name | None = None
    model: Name | None = None


class TypedSession(msgspec.Struct, frozen=True):
    """`message_count` counts questions and answers, of all branches. `updated_at`: the last activity."""

    id: int
    title: str
    model: str
    message_count: int
    created_at: str
    updated_at: str


class TypedSessionList(msgspec.Struct, frozen=True):
    """The last active first. `has_more`: ask again with `before` set to the last id."""

    items: list[TypedSession]
    has_more: bool


class TypedSource(msgspec.Struct, frozen=True):
    text: str
    score: float | None
    metadata: JsonObject


class TypedSessionMessage(msgspec.Struct, frozen=True):
    """`stream_id` is there while the answer is made: join it by `/v1/streams/{stream_id}/events?dialect=typed`.

    `content` is then the text so far. `error`: why an answer failed. `confidence` and `hallucination` are null where
    nothing measured them.
    """

    id: int
    role: Role
    content: str
    status: MessageStatus
    created_at: str
    model: str | None
    sources: list[TypedSource]
    confidence: float | None
    hallucination: float | None
    error: str | None
    stream_id: str | None


class TypedMessageList(msgspec.Struct, frozen=True):
    """Oldest first. `has_more`: there are earlier ones; ask again with `before` set to the first id."""

    items: list[TypedSessionMessage]
    has_more: bool


def session_card(thread: Thread) -> TypedSession:
    return TypedSession(
        id=thread.number,
        title=thread.title,
        model=thread.model,
        message_count=thread.messages,
        created_at=rfc3339(thread.created_ms),
        updated_at=rfc3339(thread.updated_ms),
    )


def message_card(message: Message) -> TypedSessionMessage:
    return TypedSessionMessage(
        id=message.number,
        role=message.role,
        content=message.content,
        status=message.status,
        created_at=rfc3339(message.created_ms),
        model=message.model or None,
        sources=list(map(_source, message.sources)),
        confidence=_figure(message.metadata.get("confidence")),
        hallucination=_figure(message.metadata.get("hallucination")),
        error=message.error.message if message.error is not None else None,
        stream_id=message.stream_id if message.status == "streaming" else None,
    )


def _source(source: Source) -> TypedSource:
    named = {"id": source.id, "title": source.title, "url": source.url}
    own: JsonObject = {name: value for name, value in named.items() if value}
    return TypedSource(source.text, source.score, own | (source.metadata or {}))


def _figure(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


# ---------------------------------------------------------------------- documents


class TypedDocument(msgspec.Struct, frozen=True):
    """`session_id`: of a document that one conversation alone sees. `task_id`: what tells of its processing.

    `pages` and `chunks` are 0 before it was read. `error`: why that failed.
    """

    id: int
    filename: str
    media_type: str
    status: DocumentStatus
    stage: str
    error: str | None
    size_bytes: int
    pages: int
    chunks: int
    version: int
    confidential: bool
    pinned: bool
    session_id: int | None
    task_id: str
    metadata: JsonObject
    created_at: str
    updated_at: str


class TypedDocumentList(msgspec.Struct, frozen=True):
    """The newest first. `has_more`: ask again with `before` set to the last id."""

    items: list[TypedDocument]
    has_more: bool


class TypedUpload(msgspec.Struct, frozen=True):
    """A document on its way: `/docs/processing/{task_id}/status` tells how far it is."""

    task_id: str
    document_id: int
    status: DocumentStatus


class TypedStage(msgspec.Struct, frozen=True):
    """`progress` 0 to 1. `done` of `total` `unit`s (bytes, pages, passages), where they are known."""

    status: StageStatus
    progress: float
    message: str
    done: int
    total: int
    unit: str


class TypedStages(msgspec.Struct, frozen=True):
    upload: TypedStage
    extraction: TypedStage
    chunking: TypedStage
    vectorization: TypedStage


class TypedProcessing(msgspec.Struct, frozen=True):
    """`progress` 0 to 1 over all stages. `stage`: the one at work, "" after the end. `error`: why it failed."""

    task_id: str
    document_id: int
    status: StageStatus
    stage: str
    progress: float
    stages: TypedStages
    error: str | None


class TypedStatistics(msgspec.Struct, frozen=True):
    """Of the default workspace. `embedded`: chunks that are also found by their meaning, as they have a vector."""

    documents: int
    completed: int
    processing: int
    failed: int
    chunks: int
    embedded: int
    pages: int
    characters: int
    size_bytes: int


class TypedPreview(msgspec.Struct, frozen=True):
    """Characters `[start:end]` of the document's text. `has_more`: there is text after them."""

    document_id: int
    filename: str
    status: DocumentStatus
    start: int
    end: int
    text: str
    has_more: bool


def document_card(document: Document, session_id: int | None) -> TypedDocument:
    return TypedDocument(
        id=document.number,
        filename=document.name,
        media_type=document.media_type,
        status=_DOCUMENT_STATUS[document.status],
        stage=document.stage,
        error=document.error or None,
        size_bytes=document.bytes,
        pages=document.pages,
        chunks=document.passages,
        version=document.version,
        confidential=document.confidential,
        pinned=document.pinned,
        session_id=session_id,
        task_id=document.stream_id,
        metadata=document.metadata,
        created_at=rfc3339(document.created_ms),
        updated_at=rfc3339(document.updated_ms),
    )


def upload_card(document: Document, task_id: str) -> TypedUpload:
    return TypedUpload(task_id, document.number, _DOCUMENT_STATUS[document.status])


def preview_card(document: Document, start: int, text: str, *, most: int) -> TypedPreview:
    """`text`: one character more than `most`, where there is one."""
    shown = text[:most]
    return TypedPreview(
        document_id=document.number,
        filename=document.name,
        status=_DOCUMENT_STATUS[document.status],
        start=start,
        end=start + len(shown),
        text=shown,
        has_more=len(text) > most,
    )


def statistics_card(counted: Statistics) -> TypedStatistics:
    return TypedStatistics(
        documents=counted.documents,
        completed=counted.ready,
        processing=counted.processing,
        failed=counted.failed,
        chunks=counted.passages,
        embedded=counted.embedded,
        pages=counted.pages,
        characters=counted.characters,
        size_bytes=counted.bytes,
    )


# ---------------------------------------------------------------------- progress

_STAGES = TypedStages.__struct_fields__
_PENDING = TypedStage("pending", 0.0, "", 0, 0, "")


def processing_card(task_id: str, document_id: int, events: Sequence[Event]) -> TypedProcessing:
    """From all events of the task's stream so far."""
    stages = dict.fromkeys(_STAGES, _PENDING)
    current = _STAGES[0]
    for event in events:
        if isinstance(event, Status) and event.stage in stages:
            if event.stage != current:
                _pass(stages, _STAGES[: _STAGES.index(event.stage)])
                current = event.stage
            stages[current] = _told(event)
    status, error = _outcome(events[-1]) if events else ("processing", None)
    if status == "completed":
        _pass(stages, _STAGES)
    elif status != "processing":
        stages[current] = msgspec.structs.replace(stages[current], status=status)
    return TypedProcessing(
        task_id=task_id,
        document_id=document_id,
        status=status,
        stage=current if status == "processing" else "",
        progress=round(sum(stage.progress for stage in stages.values()) / len(_STAGES), 4),
        stages=TypedStages(**stages),
        error=error,
    )


def told_document(events: Iterable[Event]) -> int | None:
    """The number of the document that a task's stream tells of, once it does."""
    for event in events:
        if isinstance(event, Metadata) and isinstance(number := event.data.get("document_id"), int):
            return number
    return None


def _told(event: Status) -> TypedStage:
    data = event.data or {}
    progress, unit = _figure(data.get("progress")) or 0.0, str(data.get("unit") or "")
    done, total = (int(_figure(data.get(name)) or 0) for name in ("done", "total"))
    return TypedStage("processing", progress, event.message, done, total, unit)


def _pass(stages: dict[str, TypedStage], names: Iterable[str]) -> None:
    for name in names:
        stages[name] = msgspec.structs.replace(stages[name], status="completed", progress=1.0)


def _outcome(event: Event) -> tuple[StageStatus, str | None]:
    match event:
        case Error(message=message):
            return "failed", message
        case Done(reason="cancelled"):
            return "cancelled", None
        case Done():
            return "completed", None
        case _:
            return "processing", None

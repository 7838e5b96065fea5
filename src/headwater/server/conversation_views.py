"""Workspaces, threads and messages as the API shows them.

Ids are the ones to use; numbers are shown beside them, for people. Times are RFC 3339 in UTC.
"""

from __future__ import annotations

import msgspec

from ..chat.backend import AtWork
from ..chat.records import (
    Hit,
    Message,
    MessageStatus,
    Mode,
    Role,
    Siblings,
    Snippet,
    Thread,
    TitleSource,
    Workspace,
)
from ..events import Error, JsonObject, Source, Usage
from ..instants import rfc3339
from ..streams.lifecycle import Status


class WorkspaceView(msgspec.Struct, frozen=True, kw_only=True, tag_field="object", tag="workspace"):
    """Where threads and documents are. "" and null leave the choice to the server's settings."""

    id: str
    number: int
    slug: str
    name: str
    mode: Mode
    system_prompt: str
    model: str
    temperature: float | None
    history_turns: int | None
    history_tokens: int | None
    passages: int | None
    min_score: float | None
    refusal: str
    metadata: JsonObject
    created_at: str
    updated_at: str


class WorkspaceList(msgspec.Struct, frozen=True, tag_field="object", tag="list"):
    """Newest first. `has_more`: ask again with `before` set to the last id."""

    data: list[WorkspaceView]
    has_more: bool


class LiveAnswer(msgspec.Struct, frozen=True):
    """An answer that is being made: join it at `/v1/streams/{stream_id}/events`."""

    stream_id: str
    message_id: str
    status: Status


class ThreadView(msgspec.Struct, frozen=True, kw_only=True, tag_field="object", tag="thread"):
    """A conversation. `leaf_id`: the message it goes on after. `messages`: how many, on all branches.

    `title_source`: who gave the title: `words`, `model` or `user`; "": there is none. `model` "": the workspace's.
    """

    id: str
    number: int
    workspace_id: str
    slug: str
    title: str
    title_source: TitleSource
    leaf_id: str | None
    model: str
    messages: int
    live: list[LiveAnswer]
    metadata: JsonObject
    created_at: str
    updated_at: str


class ThreadList(msgspec.Struct, frozen=True, tag_field="object", tag="list"):
    """The last active first. `has_more`: ask again with `before` set to the last id."""

    data: list[ThreadView]
    has_more: bool


class SiblingsView(msgspec.Struct, frozen=True):
    """The branches where a message stands, oldest first: it is `ids[index]`."""

    index: int
    count: int
    ids: list[str]


class MessageView(msgspec.Struct, frozen=True, kw_only=True, tag_field="object", tag="message"):
    """One message. Of one with `status` `streaming`, `content` is the text so far: `stream_id` has the rest.

    `parts`: OpenAI's content parts beside the text. `error`: of a failed answer; `content` is what came before.
    `metadata`: of an answer, what its stream told: `confidence` and `hallucination` with their reasons, timings, cost.
    `included` false: later prompts leave it out. `confidential`: it goes to no external provider.
    """

    id: str
    number: int
    thread_id: str
    parent_id: str | None
    role: Role
    content: str
    parts: list[JsonObject]
    reasoning: str
    status: MessageStatus
    stream_id: str | None
    model: str
    provider: str
    finish_reason: str | None
    error: Error | None
    usage: Usage | None
    sources: list[Source]
    metadata: JsonObject
    included: bool
    confidential: bool
    siblings: SiblingsView
    created_at: str
    finished_at: str | None


class MessageList(msgspec.Struct, frozen=True, tag_field="object", tag="list"):
    """The newest, and of these the oldest first. `has_more`: ask again with `before` set to the first id."""

    data: list[MessageView]
    has_more: bool


class Asked(msgspec.Struct, frozen=True, tag_field="object", tag="thread.turn"):
    """A question and its answer, which the stream is making."""

    stream_id: str
    question: MessageView
    answer: MessageView


class FoundThread(msgspec.Struct, frozen=True):
    id: str
    number: int
    workspace_id: str
    title: str
    updated_at: str


class FoundMessage(msgspec.Struct, frozen=True):
    id: str
    number: int
    role: Role
    created_at: str


class SnippetView(msgspec.Struct, frozen=True):
    """Part of the text around what was found, which is `text[start:end]` (in characters)."""

    text: str
    start: int
    end: int


class FoundView(msgspec.Struct, frozen=True, tag_field="object", tag="search.hit"):
    """`message` null: it is in the thread's title."""

    thread: FoundThread
    message: FoundMessage | None
    snippet: SnippetView


class FoundList(msgspec.Struct, frozen=True, tag_field="object", tag="list"):
    """Newest first."""

    data: list[FoundView]
    has_more: bool


def workspace_view(workspace: Workspace) -> WorkspaceView:
    return WorkspaceView(
        id=workspace.id,
        number=workspace.number,
        slug=workspace.slug,
        name=workspace.name,
        mode=workspace.mode,
        system_prompt=workspace.system_prompt,
        model=workspace.model,
        temperature=workspace.temperature,
        history_turns=workspace.history_turns,
        history_tokens=workspace.history_tokens,
        passages=workspace.passages,
        min_score=workspace.min_score,
        refusal=workspace.refusal,
        metadata=workspace.metadata,
        created_at=rfc3339(workspace.created_ms),
        updated_at=rfc3339(workspace.updated_ms),
    )


def thread_view(thread: Thread, at_work: list[AtWork]) -> ThreadView:
    """`at_work` may hold answers of other threads."""
    return ThreadView(
        id=thread.id,
        number=thread.number,
        workspace_id=thread.workspace_id,
        slug=thread.slug,
        title=thread.title,
        title_source=thread.title_source,
        leaf_id=thread.leaf_id,
        model=thread.model,
        messages=thread.messages,
        live=[
            LiveAnswer(stream.id, message.id, stream.status)
            for message, stream in at_work
            if message.thread_id == thread.id
        ],
        metadata=thread.metadata,
        created_at=rfc3339(thread.created_ms),
        updated_at=rfc3339(thread.updated_ms),
    )


def message_view(message: Message, siblings: Siblings) -> MessageView:
    return MessageView(
        id=message.id,
        number=message.number,
        thread_id=message.thread_id,
        parent_id=message.parent_id,
        role=message.role,
        content=message.content,
        parts=message.parts,
        reasoning=message.reasoning,
        status=message.status,
        stream_id=message.stream_id or None,
        model=message.model,
        provider=message.provider,
        finish_reason=message.finish_reason or None,
        error=message.error,
        usage=message.usage,
        sources=message.sources,
        metadata=message.metadata,
        included=message.included,
        confidential=message.confidential,
        siblings=SiblingsView(siblings.index, siblings.count, siblings.ids),
        created_at=rfc3339(message.created_ms),
        finished_at=None if message.finished_ms is None else rfc3339(message.finished_ms),
    )


def found_view(hit: Hit) -> FoundView:
    thread, message = hit.thread, hit.message
    return FoundView(
        FoundThread(thread.id, thread.number, thread.workspace_id, thread.title, rfc3339(thread.updated_ms)),
        None
        if message is None
        else FoundMessage(message.id, message.number, message.role, rfc3339(message.created_ms)),
        _snippet_view(hit.snippet),
    )


def _snippet_view(snippet: Snippet) -> SnippetView:
    return SnippetView(snippet.text, snippet.start, snippet.end)

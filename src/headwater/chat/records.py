"""Conversations as values: what the rows of `store.tables` are to the rest of the program."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, TypedDict

import msgspec

from ..events import Error, JsonObject, Source, Usage

Mode: TypeAlias = Literal["chat", "query"]
Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
MessageStatus: TypeAlias = Literal["streaming", "done", "cancelled", "failed"]
SettledStatus: TypeAlias = Literal["done", "cancelled", "failed"]
# Who gave a thread its title; a later one never replaces one of higher rank. "": there is none.
TitleSource: TypeAlias = Literal["", "words", "model", "user"]

MAX_NAME_CHARACTERS = 500
_Name = Annotated[str, msgspec.Meta(max_length=MAX_NAME_CHARACTERS)]
# Checked by `conversations.slugs`, which says it in words.
Slug = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": r"^(?!\.+$)[A-Za-z0-9_.-]{1,128}$"})]


class WorkspaceFields(TypedDict, total=False):
    """What a workspace can be made with. "" and None leave the choice to the settings.

    `temperature` 0 to 2; `history_turns` and `history_tokens`: of earlier messages in a prompt; `passages`: at most in
    a prompt, 0 looks nothing up; `min_score` 0 to 1; `refusal`: what a query that found nothing is answered with.
    """

    mode: Mode
    system_prompt: Annotated[str, msgspec.Meta(max_length=200_000)]
    model: _Name
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None
    history_turns: Annotated[int, msgspec.Meta(ge=0, le=10_000)] | None
    history_tokens: Annotated[int, msgspec.Meta(ge=0, le=100_000_000)] | None
    passages: Annotated[int, msgspec.Meta(ge=0, le=1000)] | None
    min_score: Annotated[float, msgspec.Meta(ge=0, le=1)] | None
    refusal: Annotated[str, msgspec.Meta(max_length=20_000)]
    metadata: JsonObject


class WorkspaceChanges(WorkspaceFields, total=False):
    """What of a workspace can change: only what is named does."""

    name: _Name
    slug: Slug


class Workspace(msgspec.Struct, frozen=True, kw_only=True):
    """Where threads and documents are. See `WorkspaceFields`."""

    id: str
    tenant: str
    number: int
    slug: str
    name: str
    mode: Mode = "chat"
    system_prompt: str = ""
    model: str = ""
    temperature: float | None = None
    history_turns: int | None = None
    history_tokens: int | None = None
    passages: int | None = None
    min_score: float | None = None
    refusal: str = ""
    metadata: JsonObject = {}
    created_ms: int
    updated_ms: int


class Thread(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation. `leaf_id`: the message it goes on after. `updated_ms`: its last activity. `messages`: how many.

    `messages` counts all branches. `model` "": the workspace's.
    """

    id: str
    tenant: str
    number: int
    workspace_id: str
    slug: str
    title: str = ""
    title_source: TitleSource = ""
    leaf_id: str | None = None
    model: str = ""
    metadata: JsonObject = {}
    created_ms: int
    updated_ms: int
    messages: int = 0


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a thread. Those with the same `parent_id` are branches; `number` grows with time.

    `content` of an answer with status `streaming` is "": its stream has it. `parts`: OpenAI's content parts beside the
    text. `included` False: later prompts leave it out. `confidential`: it goes to no external provider.
    """

    id: str
    tenant: str
    number: int
    thread_id: str
    parent_id: str | None
    role: Role
    content: str = ""
    parts: list[JsonObject] = []
    reasoning: str = ""
    status: MessageStatus = "done"
    stream_id: str = ""
    model: str = ""
    provider: str = ""
    finish_reason: str = ""
    error: Error | None = None
    usage: Usage | None = None
    sources: list[Source] = []
    metadata: JsonObject = {}
    included: bool = True
    confidential: bool = False
    created_ms: int
    finished_ms: int | None = None


class Turn(msgspec.Struct, frozen=True):
    """A question (None: it was there before) and its answer, which a stream is to make.

    `leaf_before`: where the thread went on before, for `Messages.take_back`.
    """

    question: Message | None
    answer: Message
    leaf_before: str | None


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """How an answer ended. `error`: of a failed one; what was streamed before it is `content` all the same."""

    content: str
    status: SettledStatus
    finished_ms: int
    reasoning: str = ""
    finish_reason: str = ""
    model: str = ""
    provider: str = ""
    error: Error | None = None
    usage: Usage | None = None
    sources: list[Source] = []
    metadata: JsonObject = {}
    included: bool = True
    confidential: bool = False


class Siblings(msgspec.Struct, frozen=True):
    """The branches where a message stands, oldest first: it is `ids[index]`."""

    index: int
    ids: list[str]

    @property
    def count(self) -> int:
        return len(self.ids)


class Snippet(msgspec.Struct, frozen=True):
    """Part of a text around what was found: `text[start:end]` is it. "…" marks what was cut off."""

    text: str
    start: int
    end: int


class Hit(msgspec.Struct, frozen=True):
    """Something found. `message` None: it is in the thread's title."""

    thread: Thread
    message: Message | None
    snippet: Snippet


class ImportedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message without ids. `parent`: the place of its parent in the list, always before its own; None: a root.

    `created_ms` None: now.
    """

    role: Role
    parent: int | None
    content: str = ""
    parts: list[JsonObject] = []
    reasoning: str = ""
    status: SettledStatus = "done"
    model: str = ""
    provider: str = ""
    finish_reason: str = ""
    error: Error | None = None
    usage: Usage | None = None
    sources: list[Source] = []
    metadata: JsonObject = {}
    included: bool = True
    confidential: bool = False
    created_ms: int | None = None
    finished_ms: int | None = None


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """A thread from a file, checked, and without ids. `leaf`: a place in `messages`; None where there are none."""

    title: str = ""
    title_source: TitleSource = ""
    model: str = ""
    metadata: JsonObject = {}
    created_ms: int | None = None
    leaf: int | None = None
    messages: list[ImportedMessage] = []

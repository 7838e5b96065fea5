"""What the routes of reference 000 take and answer, field by field as AnythingLLM spells them.

Left out is what this server has no fact for (profile pictures, agents, watched files). Ids of workspaces, threads and
chats are numbers of the tenant; times are ISO 8601 in UTC, `sentAt` Unix seconds.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from ..dialects.workspace import WorkspaceAttachment
from ..events import JsonObject

Temperature: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=2)]
Threshold: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1)]
Turns: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=10_000)]
Passages: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=1000)]
Name: TypeAlias = Annotated[str, msgspec.Meta(max_length=500)]
Location: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]

MAX_LOCATIONS = 1000
_TITLED = {"required": ["title"], "properties": {"title": {"type": "string", "pattern": r"\S"}}}

# ---------------------------------------------------------------------- bodies


class AnythingWorkspaceChanges(msgspec.Struct, frozen=True, rename="camel"):
    """What of a workspace can be set; null gives a choice back to the server's settings.

    `chat_mode` `automatic` is `chat`: there are no agents here. `chat_provider` matters as `default` only, which gives
    the model back; models are named by `chat_model` alone.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] | UnsetType = UNSET
    open_ai_temp: Temperature | None | UnsetType = UNSET
    open_ai_history: Turns | None | UnsetType = UNSET
    open_ai_prompt: Annotated[str, msgspec.Meta(max_length=200_000)] | None | UnsetType = UNSET
    similarity_threshold: Threshold | None | UnsetType = UNSET
    chat_provider: Name | None | UnsetType = UNSET
    chat_model: Name | None | UnsetType = UNSET
    top_n: Passages | None | UnsetType = UNSET
    chat_mode: Literal["chat", "query", "automatic"] | None | UnsetType = UNSET
    query_refusal_response: Annotated[str, msgspec.Meta(max_length=20_000)] | None | UnsetType = UNSET


class AnythingNewThread(msgspec.Struct, frozen=True, rename="camel"):
    """`user_id` is the caller's own and only kept. `slug`: what is no slug is made one."""

    name: Name | None = None
    slug: Annotated[str, msgspec.Meta(max_length=500)] | None = None
    user_id: int | None = None


class AnythingThreadChanges(msgspec.Struct, frozen=True):
    name: Name | None = None


class AnythingThreadSlugs(msgspec.Struct, frozen=True):
    slugs: Annotated[list[str], msgspec.Meta(max_length=1000)] = []


class AnythingCut(msgspec.Struct, frozen=True, rename="camel"):
    """`starting_id`: the chat that goes, and all after it."""

    starting_id: int


class AnythingEmbeddings(msgspec.Struct, frozen=True):
    """Locations of documents that the workspace is to have, and is to have no more."""

    adds: Annotated[list[Location], msgspec.Meta(max_length=MAX_LOCATIONS)] = []
    deletes: Annotated[list[Location], msgspec.Meta(max_length=MAX_LOCATIONS)] = []


class AnythingPin(msgspec.Struct, frozen=True, rename="camel"):
    doc_path: Location
    pin_status: bool = False


class AnythingRawText(msgspec.Struct, frozen=True, rename="camel"):
    """`metadata` needs a `title`. `add_to_workspaces`: slugs, with commas between them."""

    text_content: Annotated[str, msgspec.Meta(min_length=1)]
    metadata: Annotated[JsonObject, msgspec.Meta(extra_json_schema=_TITLED)]
    add_to_workspaces: str = ""


class AnythingSearch(msgspec.Struct, frozen=True, rename="camel"):
    """None leaves the choice to the workspace."""

    query: Annotated[str, msgspec.Meta(min_length=1, max_length=20_000)]
    top_n: Annotated[int, msgspec.Meta(ge=1, le=100)] | None = None
    score_threshold: Threshold | None = None


class AnythingQuestion(msgspec.Struct, frozen=True):
    """What AnythingLLM's own pages send. `/reset` as the message begins the conversation anew."""

    message: str
    attachments: list[WorkspaceAttachment] | None = None


# ---------------------------------------------------------------------- answers


class AnythingThreadName(msgspec.Struct, frozen=True):
    user_id: int | None
    slug: str
    name: str


class AnythingDocument(msgspec.Struct, frozen=True, rename="camel"):
    """A document of a workspace. `metadata` is JSON text. `docpath` is its location, the same in every workspace."""

    id: int
    doc_id: str
    filename: str
    docpath: str
    workspace_id: int
    metadata: str
    pinned: bool
    status: Literal["processing", "ready", "failed"]
    created_at: str
    last_updated_at: str


class AnythingWorkspace(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """With what is in force: the workspace's own choice, or else the server's setting."""

    id: int
    name: str
    slug: str
    created_at: str
    last_updated_at: str
    open_ai_temp: float | None
    open_ai_history: int
    open_ai_prompt: str
    similarity_threshold: float
    top_n: int
    chat_mode: Literal["chat", "query"]
    chat_model: str | None
    query_refusal_response: str | None
    documents: list[AnythingDocument] | UnsetType = UNSET
    threads: list[AnythingThreadName] | UnsetType = UNSET


class AnythingWorkspaceAnswer(msgspec.Struct, frozen=True):
    workspace: AnythingWorkspace
    message: str | None


class AnythingWorkspaces(msgspec.Struct, frozen=True):
    workspaces: list[AnythingWorkspace]


class AnythingWorkspaceFound(msgspec.Struct, frozen=True):
    """A list of one, as the developer API has it."""

    workspace: list[AnythingWorkspace]


class AnythingWorkspaceShown(msgspec.Struct, frozen=True):
    workspace: AnythingWorkspace


class AnythingThread(msgspec.Struct, frozen=True):
    id: int
    name: str
    slug: str
    user_id: int | None
    workspace_id: int
    created_at: str = msgspec.field(name="createdAt")
    last_updated_at: str = msgspec.field(name="lastUpdatedAt")


class AnythingThreadAnswer(msgspec.Struct, frozen=True):
    thread: AnythingThread
    message: str | None


class AnythingThreads(msgspec.Struct, frozen=True, rename="camel"):
    """Without the default thread and those of sessions. `default_thread_chat_count`: questions of the default one."""

    threads: list[AnythingThread]
    default_thread_chat_count: int


class AnythingMessage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One side of a chat; both have the same `chat_id`.

    Of an answer `stream_id` is what a page that was reloaded joins while `status` is `streaming`, and `error` says why
    it failed. `type`: the mode.
    """

    role: Literal["user", "assistant"]
    content: str
    sent_at: int
    chat_id: int
    attachments: list[WorkspaceAttachment] | UnsetType = UNSET
    type: Literal["chat", "query"] | UnsetType = UNSET
    sources: list[JsonObject] | UnsetType = UNSET
    metrics: JsonObject | UnsetType = UNSET
    status: Literal["streaming", "done", "cancelled", "failed"] | UnsetType = UNSET
    stream_id: str | UnsetType = UNSET
    error: str | UnsetType = UNSET


class AnythingHistory(msgspec.Struct, frozen=True):
    history: list[AnythingMessage]


class AnythingAnswer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An answer in one piece, or `abort` and why there is none. `chat_id`: its number in the history."""

    id: str
    type: Literal["textResponse", "abort"]
    text_response: str | None
    sources: list[JsonObject]
    close: bool
    error: str | None
    chat_id: int | UnsetType = UNSET
    metrics: JsonObject | UnsetType = UNSET


class AnythingFailure(msgspec.Struct, frozen=True):
    """Why something was not done, under both names that AnythingLLM's clients look for."""

    message: str
    error: str


class AnythingFile(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An uploaded document. `location` is what `update-embeddings` takes; `published` a date for people.

    `cached`: it is ready. `pinned_workspaces`: numbers of those where it is pinned.
    """

    name: str
    type: Literal["file"]
    id: str
    location: str
    url: str
    title: str
    doc_author: str
    description: str
    doc_source: str
    chunk_source: str
    published: str
    word_count: int
    token_count_estimate: int = msgspec.field(name="token_count_estimate")
    cached: bool
    pinned_workspaces: list[int]


class AnythingUploaded(msgspec.Struct, frozen=True):
    success: bool
    error: str | None
    documents: list[AnythingFile]


class AnythingFolder(msgspec.Struct, frozen=True):
    name: str
    type: Literal["folder"]
    items: list[AnythingFile]


class AnythingRoot(msgspec.Struct, frozen=True):
    name: str
    type: Literal["folder"]
    items: list[AnythingFolder]


class AnythingFiles(msgspec.Struct, frozen=True, rename="camel"):
    local_files: AnythingRoot


class AnythingFileFound(msgspec.Struct, frozen=True):
    document: AnythingFile


class AnythingPassageSource(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    url: str
    title: str
    author: str
    description: str
    doc_source: str
    chunk_source: str
    published: str
    word_count: int
    token_count: int


class AnythingPassage(msgspec.Struct, frozen=True):
    """`score` 0 to 1, larger is better; `distance` is what is missing to 1. The counts are of this passage."""

    id: str
    text: str
    metadata: AnythingPassageSource
    distance: float
    score: float


class AnythingSearchAnswer(msgspec.Struct, frozen=True):
    results: list[AnythingPassage]
    message: str | UnsetType = UNSET


class AnythingMessageOnly(msgspec.Struct, frozen=True):
    message: str


class AnythingAuth(msgspec.Struct, frozen=True):
    authenticated: bool

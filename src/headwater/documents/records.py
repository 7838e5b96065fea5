"""What documents are to the rest of the program: records without behaviour. Knows no database."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from ..events import JsonObject

Status: TypeAlias = Literal["processing", "ready", "failed"]
Stage: TypeAlias = Literal["upload", "extraction", "chunking", "vectorization", ""]
Mode: TypeAlias = Literal["all", "selected_only", "hybrid"]
Way: TypeAlias = Literal["lexical", "vector"]


class Scope(msgspec.Struct, frozen=True):
    """Whose documents, and where: those of the workspace, and of the one thread where it is given."""

    tenant: str
    workspace_id: str
    thread_id: str | None = None


class Document(msgspec.Struct, frozen=True):
    """`version` is the one in force (searched and previewed), 0 before the first was read; `newest` the last uploaded.

    `status` and `stage` tell of `newest`; `stage` is "" when nothing is being done. `pages` and `passages` are of the
    version in force, 0 before; `bytes` as well, and of `newest` before. `stream_id`: the stream that tells of progress.
    """

    id: str
    number: int
    tenant: str
    workspace_id: str
    thread_id: str | None
    name: str
    media_type: str
    version: int
    newest: int
    status: Status
    stage: Stage
    error: str
    stream_id: str
    pinned: bool
    confidential: bool
    metadata: JsonObject
    created_ms: int
    updated_ms: int
    bytes: int
    pages: int
    passages: int


class Version(msgspec.Struct, frozen=True):
    """`sha256` is of the bytes, in hex. `pages` and `passages` are 0 until it was read."""

    version: int
    sha256: str
    media_type: str
    bytes: int
    pages: int
    passages: int
    created_ms: int
    in_force: bool


class Statistics(msgspec.Struct, frozen=True):
    """Of the versions in force, but for the counts of documents. `embedded`: passages that have a vector.

    `characters` count to the end of each document's last passage. `bytes` are those of the uploads.
    """

    documents: int
    ready: int
    processing: int
    failed: int
    passages: int
    characters: int
    bytes: int
    pages: int
    embedded: int


class Query(msgspec.Struct, frozen=True):
    """A search. `selected`: ids or numbers of documents. `confidential`: whether confidential passages may be used.

    `selected_only` searches the selected documents; `hybrid` gives them 60 % of the results, and the rest to others.
    """

    scope: Scope
    text: str
    mode: Mode = "all"
    selected: tuple[str | int, ...] = ()
    limit: int = 6
    min_score: float = 0.0
    confidential: bool = True


class Found(msgspec.Struct, frozen=True):
    """A passage. `score` from 0 to 1 says how well it fits, and can be compared between searches.

    `text` is `[start:end]` of the version's text. `page` counts from 1; None where the format has no pages.
    """

    passage_id: int
    document_id: str
    document_number: int
    document_name: str
    text: str
    page: int | None
    section: str
    start: int
    end: int
    score: float
    confidential: bool
    pinned: bool
    version: int


class Results(msgspec.Struct, frozen=True):
    """Best first. `withheld`: passages that would be among them, were they not confidential.

    `problem`: why vectors were not used though they are configured; safe to show.
    """

    found: list[Found]
    withheld: int = 0
    ways: tuple[Way, ...] = ("lexical",)
    problem: str = ""

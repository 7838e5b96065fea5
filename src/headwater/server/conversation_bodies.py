"""What the conversations' routes take: bodies in their types, and what can be checked without a database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Literal, NamedTuple, Required, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from ..chat.conversations.checks import MAX_METADATA_DEPTH, check_fields, is_deeper
from ..chat.importing import content_and_parts
from ..chat.records import MAX_NAME_CHARACTERS, Mode, Slug, WorkspaceChanges
from ..chat.turn import SearchMode
from ..dialects.base import check, decode_object
from ..dialects.openai_chat import OWN_FIELDS, ChatBody
from ..errors import InputError
from ..events import JsonObject
from ..request import Priority

MAX_SELECTED = 100
MAX_PASSAGES = 100

_Name = Annotated[str, msgspec.Meta(max_length=MAX_NAME_CHARACTERS)]
_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]

T = TypeVar("T", bound=msgspec.Struct)


class NewWorkspace(WorkspaceChanges, total=False):
    """`slug`: made from the name where it is left out."""

    name: Required[Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_CHARACTERS)]]  # type: ignore[misc]


class NewThread(msgspec.Struct, forbid_unknown_fields=True):
    """`slug`: made from the title, or the id, where it is left out. `model` "": the workspace's."""

    title: _Name = ""
    slug: Slug | None = None
    model: _Name = ""
    metadata: JsonObject = {}


class ThreadChanges(msgspec.Struct, forbid_unknown_fields=True):
    """Only what is named changes; `metadata` as a whole. A `title` of "" is none: the server may give one."""

    title: _Name | UnsetType = UNSET
    slug: Slug | UnsetType = UNSET
    model: _Name | UnsetType = UNSET
    metadata: JsonObject | UnsetType = UNSET


class AskBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A question, as text or as OpenAI's content parts.

    `edit`: the id of a question that this one stands beside. `regenerate`: the id of a question, or of an answer to it,
    that gets one more answer; then there is no `content`. `params`: OpenAI's, as `temperature` and `max_tokens`.
    `passages`: at most in the prompt, 0 looks nothing up. What is left out, or null, is the thread's or workspace's.
    `stream` false: the messages and the stream's id at once, in place of the frames of `dialect`.
    """

    content: str | list[JsonObject] = ""
    edit: _Id | None = None
    regenerate: _Id | None = None
    model: _Name | None = None
    params: JsonObject = {}
    mode: Mode | None = None
    search_mode: SearchMode = "all"
    selected_document_ids: Annotated[list[str | int], msgspec.Meta(max_length=MAX_SELECTED)] = []
    passages: Annotated[int, msgspec.Meta(ge=0, le=MAX_PASSAGES)] | None = None
    dialect: str = "events"
    stream: bool = True
    priority: Priority = "normal"
    fallback: bool | Literal["on", "off"] = True


class LeafBody(msgspec.Struct, forbid_unknown_fields=True):
    """A message of the branch to go on with: the thread goes on after the newest below it."""

    message_id: _Id


@contextmanager
def errors_named(names: Mapping[str, str]) -> Iterator[None]:
    """Errors raised inside name fields of the caller's body, not of what it becomes."""
    try:
        yield
    except InputError as exc:
        exc.param = names.get(exc.param or "", exc.param)
        raise


class Question(NamedTuple):
    text: str
    parts: list[JsonObject]


def read_workspace(content: bytes, kind: type[NewWorkspace] | type[WorkspaceChanges]) -> JsonObject:
    """The fields that are named, as the repository takes them. Raises `InputError`."""
    body = decode_object(content)
    if kind is NewWorkspace and "name" not in body:
        raise InputError("a workspace needs a name", param="name")
    return check_fields(body, kind)


def read_changes(changes: msgspec.Struct) -> JsonObject:
    """What is named of a body whose fields are `UNSET` where they are not."""
    return {name: value for name in changes.__struct_fields__ if (value := getattr(changes, name)) is not UNSET}


def read_body(content: bytes, kind: type[T], *, optional: bool = False) -> T:
    """Raises `InputError`. `optional`: there may be no body at all."""
    if optional and not content:
        return kind()
    body = decode_object(content)
    if is_deeper(body, MAX_METADATA_DEPTH * 2):
        raise InputError("the body is nested too deeply")
    return check(body, kind)


def read_question(body: AskBody) -> Question:
    """Raises `InputError`."""
    if body.edit is not None and body.regenerate is not None:
        raise InputError("a question is edited or answered anew, not both", param="regenerate")
    if body.regenerate is not None and body.content:
        raise InputError("to regenerate, leave the content out: it is the question's", param="content")
    if isinstance(body.content, list):
        for at, part in enumerate(body.content):
            _check_part(part, f"content[{at}]")
    return Question(*content_and_parts(body.content))


def _check_part(part: JsonObject, at: str) -> None:
    if not isinstance(part.get("type"), str):
        raise InputError(f"{at}: a part has a type", param=f"{at}.type")
    if part["type"] == "text" and not isinstance(part.get("text"), str):
        raise InputError(f"{at}: a part of type text has a text", param=f"{at}.text")


def read_params(params: JsonObject) -> JsonObject:
    """OpenAI's parameters, those that are known in their types. Raises `InputError`."""
    for name in params:
        if name in OWN_FIELDS:
            raise InputError(f"params.{name}: this is no parameter of a model", param=f"params.{name}")
    try:
        check({**params, "messages": [{"role": "user"}]}, ChatBody)
    except InputError as exc:
        raise InputError(f"params: {exc.message}", param=f"params.{exc.param}" if exc.param else "params") from exc
    if params.get("n") not in (None, 1):
        raise InputError("a question has one answer at a time; regenerate it for others", param="params.n")
    return params

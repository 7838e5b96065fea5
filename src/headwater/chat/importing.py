"""A file with a conversation, checked: Headwater's own (`exporting.export_json`), or a list in OpenAI's shape.

Nothing of the file is believed: ids are only used to find parents, counts and sizes are bounded, and whatever is wrong
is named by its place. Pure; `Conversations.import_thread` stores the result.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

import msgspec

from ..errors import InputError
from ..events import Error, JsonObject, Source, Usage
from .conversations.checks import MAX_METADATA_BYTES, MAX_METADATA_DEPTH, is_deeper
from .exporting import FORMAT, VERSION
from .records import Imported, ImportedMessage, MessageStatus, Role, TitleSource

_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_Name = Annotated[str, msgspec.Meta(max_length=500)]
_Short = Annotated[str, msgspec.Meta(max_length=32)]
_Time = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]

T = TypeVar("T")


class ImportLimits(msgspec.Struct, frozen=True):
    """`message_characters`: of content and reasoning of one message; `bytes`: of all of the file's JSON."""

    messages: int = 20_000
    message_characters: int = 2_000_000
    bytes: int = 100 * 2**20


class _Message(msgspec.Struct, kw_only=True):
    id: _Id
    role: Role
    parent_id: _Id | None = None
    content: str = ""
    parts: list[JsonObject] = []
    reasoning: str = ""
    status: MessageStatus = "done"
    model: _Name = ""
    provider: _Name = ""
    finish_reason: _Short = ""
    error: Error | None = None
    usage: Usage | None = None
    sources: list[Source] = []
    metadata: JsonObject = {}
    included: bool = True
    confidential: bool = False
    created_ms: _Time | None = None
    finished_ms: _Time | None = None


class _Thread(msgspec.Struct, kw_only=True):
    title: _Name = ""
    title_source: TitleSource = ""
    model: _Name = ""
    metadata: JsonObject = {}
    leaf_id: _Id | None = None
    created_ms: _Time | None = None


class _File(msgspec.Struct, kw_only=True):
    version: int
    thread: _Thread
    messages: list[_Message]


class _Plain(msgspec.Struct, kw_only=True):
    """One message in OpenAI's shape."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[JsonObject] | None = None
    tool_calls: list[JsonObject] | None = None
    tool_call_id: _Name | None = None
    name: _Name | None = None


class _PlainFile(msgspec.Struct, kw_only=True):
    messages: list[_Plain]
    title: _Name = ""


_NO_LIMITS = ImportLimits()


def parse_import(body: JsonObject, limits: ImportLimits = _NO_LIMITS) -> Imported:
    """Raises `InputError`, whose `param` is the path of what is wrong (`messages[3].parent_id`)."""
    _check_size(body, limits)
    if "format" not in body:
        return _plain(_read(body, _PlainFile), limits)
    if body["format"] != FORMAT:
        raise InputError(f'the format is not "{FORMAT}"', param="format")
    if body.get("version") != VERSION:
        raise InputError(f"this release reads version {VERSION} of the format", param="version")
    file = _read(body, _File)
    order = _ordered(file.messages)
    places = {file.messages[index].id: place for place, index in enumerate(order)}
    leaf = _leaf(file, places)
    _check_metadata(file.thread.metadata, "thread.metadata")
    messages = [_message(file.messages[index], index, places, limits) for index in order]
    return Imported(
        title=file.thread.title,
        title_source=file.thread.title_source,
        model=file.thread.model,
        metadata=file.thread.metadata,
        created_ms=file.thread.created_ms,
        leaf=leaf,
        messages=messages,
    )


def content_and_parts(content: str | Sequence[JsonObject] | None) -> tuple[str, list[JsonObject]]:
    """OpenAI's `content` as a message keeps it: its text, and the parts that are none."""
    if content is None or isinstance(content, str):
        return content or "", []
    texts = [part["text"] for part in content if part.get("type") == "text" and isinstance(part.get("text"), str)]
    return "\n".join(map(str, texts)), [part for part in content if part.get("type") != "text"]


def _check_size(body: JsonObject, limits: ImportLimits) -> None:
    messages = body.get("messages")
    if isinstance(messages, list) and len(messages) > limits.messages:
        raise InputError(f"there are more than {limits.messages} messages", param="messages")
    # Deeper than any field may be, and so than what the encoder and later readers can follow.
    if is_deeper(body, MAX_METADATA_DEPTH * 2):
        raise InputError("the file is nested too deeply")
    try:
        size = len(msgspec.json.encode(body))
    except (TypeError, UnicodeError) as exc:
        raise InputError("the file is not JSON in UTF-8") from exc
    if size > limits.bytes:
        raise InputError(f"the file is larger than {limits.bytes} bytes")


def _read(body: JsonObject, kind: type[T]) -> T:
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as exc:
        text, _, path = str(exc).partition(" - at `$.")
        param = path.rstrip("`") or None
        place = f"{param}: " if param else ""
        raise InputError(f"{place}{text[:1].lower()}{text[1:]}", param=param) from exc


def _ordered(messages: Sequence[_Message]) -> list[int]:
    """The places of the messages with every parent before its children, else as in the file. Raises `InputError`."""
    places: dict[str, int] = {}
    for index, message in enumerate(messages):
        if places.setdefault(message.id, index) != index:
            raise InputError(f"messages[{index}].id: it is there twice", param=f"messages[{index}].id")
    children: dict[int, list[int]] = {}
    ready: list[int] = []
    for index, message in enumerate(messages):
        if message.parent_id is None:
            ready.append(index)
        elif message.parent_id in places:
            children.setdefault(places[message.parent_id], []).append(index)
        else:
            at = f"messages[{index}].parent_id"
            raise InputError(f"{at}: there is no such message in the file", param=at)
    order: list[int] = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for child in children.get(index, ()):
            heapq.heappush(ready, child)
    if len(order) < len(messages):
        at = f"messages[{min(set(range(len(messages))) - set(order))}].parent_id"
        raise InputError(f"{at}: the message comes, by its parents, after itself", param=at)
    return order


def _leaf(file: _File, places: dict[str, int]) -> int | None:
    """Where the thread goes on: as the file says, or after its newest message."""
    if file.thread.leaf_id is None:
        return len(places) - 1 if places else None
    if file.thread.leaf_id not in places:
        raise InputError("thread.leaf_id: there is no such message in the file", param="thread.leaf_id")
    return places[file.thread.leaf_id]


def _message(message: _Message, index: int, places: dict[str, int], limits: ImportLimits) -> ImportedMessage:
    at = f"messages[{index}]"
    _check_metadata(message.metadata, f"{at}.metadata")
    for name in ("content", "reasoning"):
        _check_length(getattr(message, name), f"{at}.{name}", limits)
    _check_parts(message.parts, f"{at}.parts")
    # Its stream is not here.
    was_cut = message.status == "streaming"
    values = {name: getattr(message, name) for name in message.__struct_fields__ if name not in ("id", "parent_id")}
    values["parent"] = None if message.parent_id is None else places[message.parent_id]
    if was_cut:
        values |= {"status": "cancelled", "finish_reason": "cancelled"}
    return ImportedMessage(**values)


def _plain(file: _PlainFile, limits: ImportLimits) -> Imported:
    messages = []
    for index, message in enumerate(file.messages):
        at = f"messages[{index}]"
        content, parts = content_and_parts(message.content)
        _check_length(content, f"{at}.content", limits)
        _check_parts(parts, f"{at}.content")
        kept = {"tool_calls": message.tool_calls, "tool_call_id": message.tool_call_id, "name": message.name}
        metadata: JsonObject = {name: value for name, value in kept.items() if value}
        _check_metadata(metadata, at)
        messages.append(
            ImportedMessage(
                # What OpenAI calls it since its reasoning models.
                role="system" if message.role == "developer" else message.role,
                parent=index - 1 if index else None,
                content=content,
                parts=parts,
                metadata=metadata,
            )
        )
    return Imported(
        title=file.title, title_source="user", leaf=len(messages) - 1 if messages else None, messages=messages
    )


def _check_metadata(metadata: JsonObject, at: str) -> None:
    if is_deeper(metadata, MAX_METADATA_DEPTH):
        raise InputError(f"{at}: nested deeper than {MAX_METADATA_DEPTH}", param=at)
    if len(msgspec.json.encode(metadata)) > MAX_METADATA_BYTES:
        raise InputError(f"{at}: larger than {MAX_METADATA_BYTES} bytes", param=at)


def _check_length(text: str, at: str, limits: ImportLimits) -> None:
    if len(text) > limits.message_characters:
        raise InputError(f"{at}: longer than {limits.message_characters} characters", param=at)


def _check_parts(parts: Sequence[JsonObject], at: str) -> None:
    for index, part in enumerate(parts):
        if not isinstance(part.get("type"), str):
            raise InputError(f"{at}[{index}]: a part has a type", param=f"{at}[{index}]")

"""The canonical events of a stream and their one stored encoding.

An event is immutable. Its position in the log (`seq`: 0, 1, 2 …) is not part of it: the log knows it.
This module must not know of providers, dialects, storage or HTTP. Structs that exist once a token are made with
`gc=False`: they cannot be part of a cycle, and the collector's passes over them were the largest pauses of a busy loop.

Stored encoding, version 1: a *segment* is the byte ``1`` followed by a JSON array of event objects, each with its
tag in ``type`` and with fields that hold their default left out:
``1[{"type":"text","text":"Hel"},{"type":"done","reason":"stop"}]``. New fields are added with defaults and old
ones are never renamed, so every version-1 segment ever written stays readable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NewType, TypeAlias

import msgspec

from .errors import LogCorrupt

Seq = NewType("Seq", int)
StreamId = NewType("StreamId", str)
JsonObject: TypeAlias = dict[str, object]

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter", "cancelled"]
UsageSource: TypeAlias = Literal["exact", "estimated"]


class Start(msgspec.Struct, frozen=True, tag="start", tag_field="type", omit_defaults=True):
    """Always seq 0, written at acceptance. `created_ms`: Unix time in milliseconds."""

    stream: str
    model: str
    created_ms: int
    provider: str = ""


class Status(msgspec.Struct, frozen=True, tag="status", tag_field="type", omit_defaults=True):
    """Progress for people and dashboards: `stage` is for programs, `message` for people."""

    stage: str
    message: str = ""
    position: int | None = None
    attempt: int | None = None
    data: JsonObject | None = None


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    """A passage cited in the answer. `score` is 0..1, higher is better."""

    text: str
    id: str = ""
    title: str = ""
    url: str = ""
    score: float | None = None
    metadata: JsonObject | None = None


class Sources(msgspec.Struct, frozen=True, tag="sources", tag_field="type", omit_defaults=True):
    items: list[Source]


class Text(msgspec.Struct, frozen=True, gc=False, tag="text", tag_field="type", omit_defaults=True):
    """A piece of the answer. `choice` counts from 0 (OpenAI's `n`); `refusal` marks a refusal's text."""

    text: str
    choice: int = 0
    refusal: bool = False
    logprobs: JsonObject | None = None


class Reasoning(msgspec.Struct, frozen=True, gc=False, tag="reasoning", tag_field="type", omit_defaults=True):
    """A piece of the model's thinking. `signature` is the provider's proof of it, where it gives one."""

    text: str
    choice: int = 0
    signature: str = ""


class ToolCall(msgspec.Struct, frozen=True, gc=False, tag="tool_call", tag_field="type", omit_defaults=True):
    """A piece of a tool call. The first of an `index` has `id` and `name`; `arguments` pieces add up to JSON text."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""
    choice: int = 0


class Usage(msgspec.Struct, frozen=True, gc=False, tag="usage", tag_field="type", omit_defaults=True):
    """Token counts, settled once a stream, just before its end. `details` keeps the provider's own breakdown."""

    prompt_tokens: int
    completion_tokens: int
    # A factory, because a plain default would be left out of the JSON, and this is what a reader must see.
    source: UsageSource = msgspec.field(default_factory=lambda: "exact")
    reasoning_tokens: int = 0
    cached_tokens: int = 0
    details: JsonObject | None = None

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


class Metadata(msgspec.Struct, frozen=True, tag="metadata", tag_field="type", omit_defaults=True):
    """Facts about the answer that are no content (served model, fingerprint, timings)."""

    data: JsonObject


class Error(msgspec.Struct, frozen=True, tag="error", tag_field="type", omit_defaults=True):
    """Terminal. `reason` is a `HeadwaterError.code` or `interrupted`; what was streamed before it stays valid.

    `status` is the HTTP status that an answer not yet begun should carry, `retry_after_s` seconds.
    """

    reason: str
    message: str
    status: int = 500
    retryable: bool = False
    provider: str = ""
    code: str = ""
    param: str | None = None
    retry_after_s: float | None = None


class Done(msgspec.Struct, frozen=True, gc=False, tag="done", tag_field="type", omit_defaults=True):
    """Terminal. `reason` is the first choice's; `reasons` holds one per choice where there are several."""

    reason: FinishReason
    reasons: list[FinishReason] | None = None


Event: TypeAlias = Start | Status | Sources | Text | Reasoning | ToolCall | Usage | Metadata | Error | Done
Terminal: TypeAlias = Error | Done

EVENT_TYPES: tuple[type, ...] = (Start, Status, Sources, Text, Reasoning, ToolCall, Usage, Metadata, Error, Done)
CONTENT_TYPES: frozenset[type] = frozenset({Text, Reasoning, ToolCall})
TERMINAL_TYPES: frozenset[type] = frozenset({Error, Done})

SEGMENT_VERSION = b"1"

_encoder = msgspec.json.Encoder()
_encode_json = _encoder.encode
_decode_events = msgspec.json.Decoder(list[Event]).decode
_decode_event = msgspec.json.Decoder(Event).decode


def encode_event(event: Event) -> bytes:
    """One event as one line of JSON, `type` included."""
    return _encode_json(event)


def decode_event(data: bytes | str) -> Event:
    """The inverse of `encode_event`. Raises `LogCorrupt`."""
    try:
        event: Event = _decode_event(data)
    except (msgspec.DecodeError, UnicodeError) as exc:
        raise LogCorrupt(f"an event does not decode: {exc}") from exc
    return event


def encode_segment(events: Sequence[Event]) -> bytes:
    """Adjacent events as one stored segment."""
    return SEGMENT_VERSION + _encode_json(events)


def decode_segment(data: bytes) -> list[Event]:
    """The inverse of `encode_segment`. Raises `LogCorrupt` for an unknown version or damaged bytes."""
    if data[:1] != SEGMENT_VERSION:
        raise LogCorrupt(f"segment version {data[:1]!r} is not known to this release")
    try:
        return _decode_events(memoryview(data)[1:])
    except (msgspec.DecodeError, UnicodeError) as exc:
        raise LogCorrupt(f"a segment does not decode: {exc}") from exc


_SURROGATE = re.compile("[\ud800-\udfff]")


def scrub(event: Event) -> Event:
    """The event with lone surrogates, which UTF-8 cannot carry, replaced by U+FFFD."""
    clean = _scrub_value(msgspec.to_builtins(event))
    return msgspec.convert(clean, type(event))


def _scrub_value(value: object) -> object:
    match value:
        case str():
            return _SURROGATE.sub("\ufffd", value)
        case dict():
            return {_scrub_value(key): _scrub_value(item) for key, item in value.items()}
        case list() | tuple():
            return [_scrub_value(item) for item in value]
        case _:
            return value


def join_segments(segments: Sequence[bytes]) -> bytes:
    """Adjacent segments as one, without decoding them. Raises `LogCorrupt` for one that is not of version 1."""
    for segment in segments:
        if not (segment.startswith(b"1[{") and segment.endswith(b"}]")):
            raise LogCorrupt("a segment is damaged at its edge, or its version is not known to this release")
    return b"1[" + b",".join([segment[2:-1] for segment in segments]) + b"]"


def text_of(events: Iterable[Event], *, choice: int = 0) -> str:
    """The answer's text of one choice."""
    return "".join(e.text for e in events if type(e) is Text and e.choice == choice)

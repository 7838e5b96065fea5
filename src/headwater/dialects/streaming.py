"""The `streaming` dialect: named events with sequence, size and checksum (the StreamingService of reference 002).

`start chunk metadata error complete heartbeat reconnect`, and `reset` of ours. What the reference has no event for
comes as `metadata` with the stored event in it, so that a `chunk` is always a piece of the answer. Not copied from the
reference: random ids (ours are cursors), `timestamp:` as an SSE field (it is in the JSON), and content told again
whole with every chunk, which costs the square of its length.

Events have no time of their own, so `timestamp` is the stream's creation; an end adds `duration_ms` where it is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal
from zlib import crc32

import msgspec

from ..errors import InputError
from ..events import Done, Error, Event, JsonObject, Start, Text
from ..request import ChatRequest, Priority
from ..streams.ports import EncoderFactory, StreamView
from .base import Decoded, Dialect, EncodeOptions, check, decode_object, decode_parameter, json_line
from .openai_chat import ChatMessage

_encode_text = msgspec.json.Encoder().encode

NAME = "streaming"

MAX_DURATION_MS = 365 * 86_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class StreamOptions(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """How to answer. `buffer_size` in bytes, `flush_interval` in milliseconds; `stream` is known and says nothing."""

    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    stream: bool | None = None
    buffer_size: Annotated[int, msgspec.Meta(ge=1)] | None = None
    flush_interval: Annotated[float, msgspec.Meta(ge=0)] | None = None


class StreamFacts(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """For whom and what for. `user_id` is what the caller says of itself: no proof of who it is."""

    user_id: str | None = None
    session_id: str | None = None
    purpose: str = "chat"
    priority: Priority = "normal"


class StreamRequestBody(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A StreamRequest. `messages` are as in chat completions; `context` is any JSON."""

    messages: Annotated[list[JsonObject], msgspec.Meta(min_length=1)]
    model: str | None = None
    provider: str | None = None
    context: object = None
    request_id: str | None = None
    client_id: str | None = None
    options: StreamOptions = StreamOptions()
    metadata: StreamFacts = StreamFacts()


class _Asked(msgspec.Struct):
    messages: list[ChatMessage] | None = None
    prompt: Annotated[str, msgspec.Meta(min_length=1)] | None = None


FROM_QUERY = ("requestId", "clientId", "provider", "model", "sessionId")


def decode_body(body: bytes, query: Mapping[str, str] | None = None) -> StreamRequestBody:
    """A request body; what of `FROM_QUERY` it leaves out is taken from the query. Raises `InputError`.

    What the reference's type has in `options` and `metadata` may lie beside the messages, where its controller looks
    for it; in doubt the objects win.
    """
    fields = decode_object(body)
    told = {name: query[name] for name in FROM_QUERY if query.get(name)} if query else {}
    return _understand(told | _present(fields), strict=True)


def decode_query(query: Mapping[str, str]) -> StreamRequestBody:
    """The same from a query alone, for EventSource; `messages` and `context` are JSON text. Raises `InputError`.

    Unknown names are passed over, because tickets and cursors come that way, too; empty values count as not sent.
    """
    fields: JsonObject = {name: value for name, value in query.items() if value and name not in _GROUPS}
    for name in ("messages", "context"):
        if name in fields:
            fields[name] = decode_parameter(query[name], name)
    return _understand(fields, strict=False)


_GROUPS: dict[str, type[msgspec.Struct]] = {"options": StreamOptions, "metadata": StreamFacts}


def _present(fields: JsonObject) -> JsonObject:
    return {name: value for name, value in fields.items() if value is not None}


def _understand(fields: JsonObject, *, strict: bool) -> StreamRequestBody:
    """What was sent, with the two groups gathered and a prompt as the one message."""
    for group, shape in _GROUPS.items():
        check(fields, shape, strict=strict)
        nested = fields.get(group, {})
        if isinstance(nested, dict):
            names = {field.encode_name for field in msgspec.structs.fields(shape)}
            fields[group] = {name: fields[name] for name in names if name in fields} | _present(nested)
    if "id" in fields:
        fields.setdefault("requestId", fields["id"])
    asked = check(fields, _Asked)
    if (asked.prompt is None) == (asked.messages is None):
        raise InputError("either `messages` or `prompt` is needed", param="messages")
    if asked.prompt is not None:
        fields["messages"] = [{"role": "user", "content": asked.prompt}]
    body = check(fields, StreamRequestBody, strict=strict)
    if body.provider and not body.model:
        raise InputError("a `provider` needs the `model` that is meant", param="model")
    return body


def decode(body: bytes) -> Decoded:
    """Raises `InputError`."""
    return understood(decode_body(body))


def understood(body: StreamRequestBody) -> Decoded:
    """The request in canonical form. A `context` that is text stands before the messages, as the system's words."""
    model = body.model or ""
    named = f"{body.provider}/{model}" if body.provider else model
    context: list[JsonObject] = []
    if isinstance(body.context, str) and body.context:
        context = [{"role": "system", "content": body.context}]
    params: JsonObject = {"temperature": body.options.temperature, "max_tokens": body.options.max_tokens}
    return Decoded(
        request=ChatRequest(
            model=named,
            messages=[*context, *body.messages],
            params=_present(params),
            priority=body.metadata.priority,
        ),
        stream=True,
        options=EncodeOptions(),
        dialect=NAME,
    )


class StreamingEncoder:
    """Events of one stream as named events. The bytes that do not change are made once.

    `sequence` numbers the pieces of the answer from 0, as they were generated. Pieces merged for a viewer that
    catches up carry the number of the last one in them, as their id does, and `size` and `checksum` of the whole.
    """

    __slots__ = ("_chunk_head", "_chunk_tail", "_connection", "_created", "_epoch", "_view", "heartbeat")

    reads_fold: Literal[True] = True

    def __init__(self, view: StreamView, connection_id: str) -> None:
        self._view = view
        self._connection = connection_id
        self._created = _EPOCH + timedelta(milliseconds=view.created_ms)
        self._epoch = b"id: %d." % view.epoch
        self._chunk_head = b"event: chunk\n%b" % self._epoch
        self._chunk_tail = b',"timestamp":%b}\n\n' % json_line(_iso(self._created))
        self.heartbeat = self._unlogged("heartbeat", {})

    def encode(self, seq: int, event: Event) -> bytes:
        if type(event) is Text and event.choice == 0:
            text = event.text
            try:
                content = text.encode()
                quoted = _encode_text(text)
            except UnicodeEncodeError:
                quoted = json_line(text)
                content = msgspec.json.decode(quoted, type=str).encode()
            return _CHUNK % (
                self._chunk_head,
                seq,
                self._view.fold.text_number(seq),
                len(content),
                crc32(content),
                quoted,
                quoted,
                b"" if event.logprobs is None and not event.refusal else _about(event),
                self._chunk_tail,
            )
        name, data = self._other(event)
        return b"event: %b\n%b%d\ndata: %b\n\n" % (name, self._epoch, seq, json_line(data))

    def reset(self, reason: str) -> bytes:
        return self._unlogged("reset", {"reason": reason})

    def reconnect(self, retry_ms: int) -> bytes:
        return self._unlogged("reconnect", {"retry": retry_ms})

    def _unlogged(self, name: str, data: JsonObject) -> bytes:
        """An event of the connection's, not of the stream's: without an id, so that it moves no cursor."""
        told = {"connectionId": self._connection, **data, "timestamp": _iso(self._created)}
        return b"event: %b\ndata: %b\n\n" % (name.encode(), json_line(told))

    def _other(self, event: Event) -> tuple[bytes, JsonObject]:
        match event:
            case Start():
                told: JsonObject = {"connectionId": self._connection, "provider": event.provider, "model": event.model}
                return b"start", told | {"timestamp": _iso(self._created)}
            case Error():
                return b"error", self._end(_failure(event))
            case Done():
                return b"complete", self._end(self._totals(event))
            case _:
                return b"metadata", msgspec.to_builtins(event) | {"timestamp": _iso(self._created)}

    def _totals(self, event: Done) -> JsonObject:
        fold = self._view.fold
        told: JsonObject = {"finishReason": event.reason}
        if event.reasons:
            told["finishReasons"] = event.reasons
        return told | {"totalChunks": fold.texts, "totalBytes": fold.text_bytes}

    def _end(self, told: JsonObject) -> JsonObject:
        duration_ms = (self._view.fold.served or {}).get("duration_ms")
        # Any application may write metadata; a date has limits.
        if not isinstance(duration_ms, int | float) or not 0 <= duration_ms <= MAX_DURATION_MS:
            return {"connectionId": self._connection} | told | {"timestamp": _iso(self._created)}
        ended = self._created + timedelta(milliseconds=duration_ms)
        return {"connectionId": self._connection} | told | {"duration": duration_ms, "timestamp": _iso(ended)}


_CHUNK = (
    b'%b%d\ndata: {"type":"content","sequence":%d,"size":%d,"checksum":"%08x",'
    b'"content":%b,"delta":%b%b%b'
)  # fmt: skip


def _iso(time: datetime) -> str:
    """As JavaScript's `Date` writes itself as JSON."""
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _about(event: Text) -> bytes:
    """What a text is besides its characters, as further fields."""
    told: JsonObject = {"refusal": True} if event.refusal else {}
    if event.logprobs is not None:
        told["logprobs"] = event.logprobs
    return b"," + json_line(told)[1:-1]


def _failure(event: Error) -> JsonObject:
    told: JsonObject = {"error": event.message, "code": event.code or event.reason, "reason": event.reason}
    told["retryable"] = event.retryable
    return told if event.retry_after_s is None else told | {"retryAfter": event.retry_after_s}


class StreamingEncoding(msgspec.Struct, frozen=True):
    """Makes encoders; equal ones share the encoded copy. `connection_id` "": the stream's own id."""

    connection_id: str = ""

    def __call__(self, view: StreamView) -> StreamingEncoder:
        return StreamingEncoder(view, self.connection_id or view.id)


def encoder(options: EncodeOptions) -> EncoderFactory:
    """`options` make no difference to this format."""
    return StreamingEncoding()


DIALECT = Dialect(name=NAME, default_linger_s=300.0, holds_head=False, decode=decode, encoder=encoder)

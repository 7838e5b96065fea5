"""The ai-chat dialect (reference 001): `POST /api/ai-chat/stream` and, for EventSource, `GET /api/ai-chat/stream-sse`.

The reference's own client, the hook `useAIStream`, reads `content`, `done` and `error` of one-line JSON frames and
nothing else. What the format has no word for comes in frames with `"done":false` and without `content`, as `event`:
the stored event. The hook passes over those; clients that look for them miss nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from ..events import Done, Error, Event, JsonObject, Text
from ..request import ChatRequest
from ..streams.ports import EncoderFactory, StreamView
from .base import HEARTBEAT, Decoded, Dialect, EncodeOptions, check, decode_object, decode_parameter, json_line

_encode_text = msgspec.json.Encoder().encode

NAME = "ai_chat"

Temperature = Annotated[float, msgspec.Meta(ge=0, le=2)]
Tokens = Annotated[int, msgspec.Meta(ge=1)]


class AiChatMessage(msgspec.Struct, frozen=True):
    """An earlier message. Other fields of it are left out."""

    role: str
    content: str


class AiChatOptions(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """How to answer. `model` "" takes the server's default."""

    model: str | None = None
    temperature: Temperature | None = None
    max_tokens: Tokens | None = None


class AiChatBody(AiChatOptions, frozen=True, rename="camel", kw_only=True):
    """What is asked. The four ids are the caller's own names for where the conversation belongs."""

    message: Annotated[str, msgspec.Meta(min_length=1)]
    history: list[AiChatMessage] = msgspec.field(default_factory=list)
    session_id: str | None = None
    workspace_id: str | None = None
    project_id: str | None = None
    current_organization_id: str | None = None


class _Sent(AiChatBody, frozen=True, rename="camel", kw_only=True):
    """The body as it may be sent: the reference has the options beside the message or in an object of their own."""

    options: AiChatOptions | None = None


def decode_body(body: bytes) -> AiChatBody:
    """Raises `InputError`. What `options` names wins over the same name beside it."""
    fields = decode_object(body)
    check(fields, _Sent)
    options = fields.get("options")
    named = {name: value for name, value in options.items() if value is not None} if isinstance(options, dict) else {}
    return check(fields | {name: named[name] for name in _OPTIONS if name in named}, AiChatBody)


_OPTIONS = tuple(field.encode_name for field in msgspec.structs.fields(AiChatOptions))


def decode_query(query: Mapping[str, str]) -> AiChatBody:
    """The same from a query, for EventSource, which cannot send a body; `history` is JSON text. Raises `InputError`.

    Unknown names are passed over, because tickets and cursors come that way, too; empty values count as not sent.
    """
    fields: JsonObject = {name: value for name, value in query.items() if value}
    if "history" in fields:
        fields["history"] = decode_parameter(query["history"], "history")
    return check(fields, AiChatBody, strict=False)


def decode(body: bytes) -> Decoded:
    """Raises `InputError`."""
    return understood(decode_body(body))


def understood(body: AiChatBody) -> Decoded:
    """The body in canonical form: the history, then the message."""
    earlier: list[JsonObject] = [{"role": message.role, "content": message.content} for message in body.history]
    params = {"temperature": body.temperature, "max_tokens": body.max_tokens}
    return Decoded(
        request=ChatRequest(
            model=body.model or "",
            messages=[*earlier, {"role": "user", "content": body.message}],
            params={name: value for name, value in params.items() if value is not None},
        ),
        stream=True,
        options=EncodeOptions(),
        dialect=NAME,
    )


class AiChatEncoder:
    """Events of one stream as `content`, `done` and `error`. The bytes around a text are made once."""

    __slots__ = ("_id", "heartbeat")

    def __init__(self, view: StreamView) -> None:
        self.heartbeat = HEARTBEAT
        self._id = b"id: %d." % view.epoch

    def encode(self, seq: int, event: Event) -> bytes:
        if type(event) is Text and event.choice == 0 and not event.refusal and event.logprobs is None:
            try:
                text = _encode_text(event.text)
            except UnicodeEncodeError:
                text = json_line(event.text)
            return b'%b%d\ndata: {"content":%b,"done":false}\n\n' % (self._id, seq, text)
        return b"%b%d\ndata: %b\n\n" % (self._id, seq, json_line(_payload(event)))

    def reset(self, reason: str) -> bytes:
        """A named event, which `onmessage` and the hook pass over; who resumes by himself must listen for it."""
        return b"event: reset\ndata: %b\n\n" % json_line({"done": False, "reset": reason})


def _payload(event: Event) -> JsonObject:
    match event:
        case Text(choice=0):
            return {"content": event.text, "done": False} | _about(event)
        case Done():
            return {"done": True} | _finish(event)
        case Error():
            return {"error": event.message, "done": True, "reason": event.reason, "retryable": event.retryable}
        case _:
            return {"done": False, "event": msgspec.to_builtins(event)}


def _about(event: Text) -> JsonObject:
    """What a text is besides its characters."""
    told: JsonObject = {"refusal": True} if event.refusal else {}
    return told if event.logprobs is None else told | {"logprobs": event.logprobs}


def _finish(event: Done) -> JsonObject:
    """Why an answer is not simply whole. The reference knows one way to be done, which stays as short as it is."""
    told: JsonObject = {} if event.reason == "stop" else {"finishReason": event.reason}
    return told | {"finishReasons": event.reasons} if event.reasons else told


def encoder(options: EncodeOptions) -> EncoderFactory:
    """`options` make no difference to this format."""
    return AiChatEncoder


DIALECT = Dialect(name=NAME, default_linger_s=300.0, holds_head=False, decode=decode, encoder=encoder)

"""The workspace dialect: AnythingLLM's `stream-chat`, of a workspace, a thread and the developer API (reference 000).

Frames are `id:` and one line of JSON in `data:`. Those of the answer call the stream `uuid`, the others `id`. The
format has one answer, so only the first choice is shown, and no word for tool calls, which are left out.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from ..errors import InputError
from ..events import Done, Error, Event, JsonObject, Reasoning, Source, Status, Text, Usage
from ..instants import rfc3339
from ..request import ChatRequest
from ..sse import comment
from ..streams.fold import served_by
from ..streams.ports import EncoderFactory, StreamView
from .base import HEARTBEAT, Decoded, Dialect, EncodeOptions, check, decode_object, json_line

_encode_text = msgspec.json.Encoder().encode

NAME = "workspace"

DataUrl = Annotated[str, msgspec.Meta(pattern="^data:[^,]*;base64,")]


class WorkspaceAttachment(msgspec.Struct, frozen=True, rename="camel"):
    """A file beside the message. `content_string` is a data URL in base64."""

    name: str
    mime: str
    content_string: DataUrl


class WorkspaceBody(msgspec.Struct, frozen=True, rename="camel"):
    """What is asked. The developer API alone has `mode`, `session_id` and `user_id` (the caller's own) and `reset`.

    `reset` begins the conversation anew; only with it may the message be empty.
    """

    message: str = ""
    attachments: list[WorkspaceAttachment] | None = None
    mode: Literal["chat", "query"] | None = None
    session_id: str | None = None
    user_id: int | str | None = None
    reset: bool | None = None


def decode_body(body: bytes) -> WorkspaceBody:
    """Raises `InputError`."""
    asked = check(decode_object(body), WorkspaceBody)
    if not asked.message.strip() and not asked.reset:
        raise _empty()
    return asked


def decode(body: bytes) -> Decoded:
    """Raises `InputError`."""
    return understood(decode_body(body))


def understood(body: WorkspaceBody) -> Decoded:
    """The message and its files as one user message, for the default model. Raises `InputError` for an empty one."""
    if not body.message.strip():
        raise _empty()
    return Decoded(
        request=ChatRequest(model="", messages=[{"role": "user", "content": content_of(body)}]),
        stream=True,
        options=EncodeOptions(),
        dialect=NAME,
    )


def content_of(body: WorkspaceBody) -> str | list[JsonObject]:
    """The message as OpenAI's `content`: text, or typed parts where there are files."""
    if not body.attachments:
        return body.message
    return [{"type": "text", "text": body.message}, *map(_part, body.attachments)]


def _part(attachment: WorkspaceAttachment) -> JsonObject:
    if attachment.mime.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": attachment.content_string}}
    return {"type": "file", "file": {"filename": attachment.name, "file_data": attachment.content_string}}


def _empty() -> InputError:
    return InputError("the message is empty", param="message")


class WorkspaceEncoder:
    """Events of one stream as typed objects. Thinking is part of the text, between `<think>` and `</think>`."""

    __slots__ = ("_id", "_text_prefix", "_view", "heartbeat")

    reads_fold: Literal[True] = True

    def __init__(self, view: StreamView) -> None:
        self.heartbeat = HEARTBEAT
        self._view = view
        self._id = b"id: %d." % view.epoch
        head = json_line({"uuid": view.id, "sources": [], "type": "textResponseChunk"})[:-1]
        self._text_prefix = b'\ndata: %b,"textResponse":' % head

    def encode(self, seq: int, event: Event) -> bytes:
        return self.encode_run(seq, seq, event)

    def encode_run(self, first_seq: int, seq: int, event: Event) -> bytes:
        if type(event) is not Text:
            return self._encode_other(first_seq, seq, event)
        fold = self._view.fold
        words = event.text if event.choice == 0 else ""
        if fold.thoughts and fold.thought_ends(first_seq, seq):
            words = _THOUGHT_END + words
        elif event.choice != 0:
            return b""
        if fold.refused:
            return self._framed(seq, self._refusal(words))
        try:
            text = _encode_text(words)
        except UnicodeEncodeError:
            text = json_line(words)
        return b"%b%d%b%b%b" % (self._id, seq, self._text_prefix, text, _TEXT_SUFFIX)

    def reset(self, reason: str) -> bytes:
        """A comment: clients of this format would take an event for a chunk."""
        return comment(b"reset " + reason.encode("utf-8", "replace"))

    def _encode_other(self, first_seq: int, seq: int, event: Event) -> bytes:
        match event:
            case Reasoning(text=text, choice=0) if text:
                begins = self._view.fold.thought_begins(first_seq, seq)
                return self._framed(seq, self._chunk(_THOUGHT_BEGIN + text if begins else text))
            case Status():
                return self._framed(seq, self._status(event))
            case Done():
                return self._framed(seq, *self._open_end(seq), *self._end())
            case Error():
                return self._framed(seq, *self._open_end(seq), self._abort(event))
            case _:
                return b""

    def _framed(self, seq: int, *payloads: JsonObject) -> bytes:
        """One frame a payload; the id is on the last, so that a cut between them repeats them."""
        frames = [b"data: %b\n\n" % json_line(payload) for payload in payloads]
        frames[-1] = b"%b%d\n%b" % (self._id, seq, frames[-1])
        return b"".join(frames)

    def _chunk(self, text: str) -> JsonObject:
        return {
            "uuid": self._view.id,
            "sources": [],
            "type": "textResponseChunk",
            "textResponse": text,
            "close": False,
            "error": False,
        }

    def _refusal(self, text: str) -> JsonObject:
        """The whole answer at once, where a query found nothing to answer from."""
        return {
            "id": self._view.id,
            "type": "textResponse",
            "textResponse": text,
            "sources": [],
            "attachments": [],
            "close": True,
            "error": None,
        }

    def _status(self, event: Status) -> JsonObject:
        return {
            "id": self._view.id,
            "type": "statusResponse",
            "textResponse": event.message or event.stage,
            "sources": [],
            "close": True,
            "error": None,
            "animate": True,
        }

    def _abort(self, event: Error) -> JsonObject:
        return {
            "id": self._view.id,
            "type": "abort",
            "textResponse": None,
            "sources": [],
            "close": True,
            "error": event.message,
        }

    def _open_end(self, seq: int) -> list[JsonObject]:
        """What closes the thinking of an answer that ends in it."""
        return [self._chunk(_THOUGHT_END)] if self._view.fold.thinks_at(seq) else []

    def _end(self) -> list[JsonObject]:
        fold = self._view.fold
        closing = self._chunk("") | {"sources": [cited(source) for source in fold.sources], "close": True}
        final: JsonObject = {"uuid": self._view.id, "type": "finalizeResponseStream", "close": True, "error": False}
        served = fold.served or {}
        chat_id = served.get("chat_id")
        if isinstance(chat_id, int):
            final["chatId"] = chat_id
        final["metrics"] = metrics(self._view)
        return [final] if fold.refused else [closing, final]


_TEXT_SUFFIX = b',"close":false,"error":false}\n\n'
_THOUGHT_BEGIN = "<think>"
_THOUGHT_END = "</think>"


def metrics(view: StreamView) -> JsonObject:
    """Tokens, times in seconds and who answered. What the stream does not tell is left out; `timestamp` is its end."""
    fold = view.fold
    served = fold.served or {}
    usage = fold.usage or Usage(0, 0)
    duration_ms, first_ms = _milliseconds(served.get("duration_ms")), _milliseconds(served.get("first_token_ms"))
    told: JsonObject = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
    if duration_ms:
        told["outputTps"] = round(usage.completion_tokens / duration_ms * 1000, 3)
        told["duration"] = duration_ms / 1000
    told["model"] = view.model
    provider = served_by(served) or fold.provider
    if provider:
        told["provider"] = provider
    told["timestamp"] = rfc3339(view.created_ms + (duration_ms or 0))
    if first_ms is not None:
        told["timeToFirstToken"] = first_ms / 1000
    return told


def _milliseconds(value: object) -> float | None:
    return value if isinstance(value, int | float) and 0 <= value <= _LONGEST_MS else None


# Thirty years. Metadata may be anyone's, and no date can be made of a larger number.
_LONGEST_MS = 10**12


def cited(source: Source) -> JsonObject:
    """The document's metadata, flattened, with the passage as `text`."""
    own = {"id": source.id, "title": source.title, "url": source.url, "score": source.score}
    told = {name: value for name, value in own.items() if value not in ("", None)}
    return told | (source.metadata or {}) | {"text": source.text}


def encoder(options: EncodeOptions) -> EncoderFactory:
    """This format always tells usage and shows one answer: `options` make no difference to it."""
    return WorkspaceEncoder


DIALECT = Dialect(name=NAME, default_linger_s=300.0, holds_head=False, decode=decode, encoder=encoder)

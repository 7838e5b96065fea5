"""The typed-message dialect: what `POST /chat/{session_id}/stream` takes and answers (reference 003).

Frames are `id:` and one line of JSON in `data:`, an object that names its `type`. The format has one answer, so only
the first choice is shown, and no word for thinking and tool calls, which are left out.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from ..errors import InputError
from ..events import Done, Error, Event, JsonObject, Source, Sources, Start, Status, Text
from ..request import ChatRequest
from ..sse import comment
from ..streams.ports import EncoderFactory, StreamView
from .base import HEARTBEAT, Decoded, Dialect, EncodeOptions, check, decode_object, json_line

_encode_text = msgspec.json.Encoder().encode

NAME = "typed"

SearchMode = Literal["all", "selected_only", "hybrid"]


class TypedBody(msgspec.Struct, frozen=True):
    """What is asked, of which model (None: the default) and of which documents."""

    question: Annotated[str, msgspec.Meta(min_length=1)]
    model: str | None = None
    search_mode: SearchMode = "all"
    selected_document_ids: list[int | str] = msgspec.field(default_factory=list)


def decode_body(body: bytes) -> TypedBody:
    """Raises `InputError`."""
    asked = check(decode_object(body), TypedBody)
    if not asked.question.strip():
        raise InputError("the question is empty", param="question")
    return asked


def decode(body: bytes) -> Decoded:
    """Raises `InputError`."""
    return understood(decode_body(body))


def understood(body: TypedBody) -> Decoded:
    """The question as one user message."""
    return Decoded(
        request=ChatRequest(model=body.model or "", messages=[{"role": "user", "content": body.question}]),
        stream=True,
        options=EncodeOptions(),
        dialect=NAME,
    )


class TypedEncoder:
    """Events of one stream as typed objects. The bytes around a text are made once."""

    __slots__ = ("_id", "_session_id", "_view", "heartbeat")

    reads_fold: Literal[True] = True

    def __init__(self, view: StreamView, session_id: int | None) -> None:
        self.heartbeat = HEARTBEAT
        self._view = view
        self._session_id = session_id
        self._id = b"id: %d." % view.epoch

    def encode(self, seq: int, event: Event) -> bytes:
        if type(event) is Text:
            if event.choice != 0:
                return b""
            try:
                text = _encode_text(event.text)
            except UnicodeEncodeError:
                text = json_line(event.text)
            return b'%b%d\ndata: {"type":"chunk","content":%b}\n\n' % (self._id, seq, text)
        payloads = self._payloads(event)
        if not payloads:
            return b""
        # The id is on the last, so that a cut between them repeats them.
        frames = [b"data: %b\n\n" % json_line(payload) for payload in payloads]
        frames[-1] = b"%b%d\n%b" % (self._id, seq, frames[-1])
        return b"".join(frames)

    def reset(self, reason: str) -> bytes:
        """A comment: clients of this format would take an event for a message."""
        return comment(b"reset " + reason.encode("utf-8", "replace"))

    def _payloads(self, event: Event) -> list[JsonObject]:
        match event:
            case Start():
                session: JsonObject = {} if self._session_id is None else {"session_id": self._session_id}
                return [{"type": "start", **session, "model": self._view.model}]
            case Status():
                return [{"type": "status", "content": event.message or event.stage}]
            case Sources(items=items):
                return [{"type": "sources", "content": [_cited(item) for item in items], "chunks_used": len(items)}]
            case Done():
                return [{"type": "metadata", "content": self._facts()}, {"type": "done"}]
            case Error():
                return [{"type": "error", "content": event.message}, {"type": "done"}]
            case _:
                return []

    def _facts(self) -> JsonObject:
        """`confidence` and `hallucination` are null where nothing measured them, as the reference has them."""
        served = self._view.fold.served or {}
        told: JsonObject = {
            "model": self._view.model,
            "confidence": served.get("confidence"),
            "hallucination": served.get("hallucination"),
        }
        return told | {name: served[name] for name in _TOLD if served.get(name) not in (None, "")}


_TOLD = ("search_mode", "total_response", "confidence_reason", "hallucination_reason")


def _cited(source: Source) -> JsonObject:
    """What the passage's own fields tell of its document is in `metadata`, where the document's does not say it."""
    own = {"id": source.id, "title": source.title, "url": source.url}
    told: JsonObject = {name: value for name, value in own.items() if value}
    return {"text": source.text, "score": source.score, "metadata": told | (source.metadata or {})}


class TypedEncoding(msgspec.Struct, frozen=True):
    """Makes encoders; equal ones share the encoded copy."""

    session_id: int | None

    def __call__(self, view: StreamView) -> TypedEncoder:
        return TypedEncoder(view, self.session_id)


def encoder(options: EncodeOptions) -> EncoderFactory:
    """Of `options`, `session_id` alone makes a difference to this format."""
    return TypedEncoding(options.session_id)


DIALECT = Dialect(name=NAME, default_linger_s=300.0, holds_head=False, decode=decode, encoder=encoder)

"""The native dialect: canonical events as named SSE events, for Headwater's own clients and plain EventSource.

A frame is `event: <type>`, `id: <cursor>` and the event's stored JSON as one `data:` line.
"""

from __future__ import annotations

from ..events import EVENT_TYPES, Event, encode_event
from ..streams.ports import EncoderFactory, StreamView
from . import openai_chat
from .base import HEARTBEAT, Decoded, Dialect, EncodeOptions, check, decode_object, json_line

NAME = "events"


class StreamBody(openai_chat.ChatBody):
    """What `POST /v1/streams` takes: a chat completions body, with the `dialect` to answer in (`events`)."""

    dialect: str | None = None


def decode(body: bytes) -> Decoded:
    """Raises `InputError`."""
    fields = decode_object(body)
    check(fields, StreamBody)
    dialect = fields.pop("dialect", None) or NAME
    return openai_chat.understood(fields, dialect=str(dialect))


class EventsEncoder:
    """Events of one stream as they are. The bytes before the seq are made once."""

    __slots__ = ("_heads", "heartbeat")

    def __init__(self, view: StreamView) -> None:
        self.heartbeat = HEARTBEAT
        self._heads = {
            kind: b"event: %b\nid: %d." % (str(kind.__struct_config__.tag).encode(), view.epoch)  # type: ignore[attr-defined]
            for kind in EVENT_TYPES
        }

    def encode(self, seq: int, event: Event) -> bytes:
        try:
            data = encode_event(event)
        except UnicodeEncodeError:
            data = json_line(event)
        return b"%b%d\ndata: %b\n\n" % (self._heads[type(event)], seq, data)

    def reset(self, reason: str) -> bytes:
        return b"event: reset\ndata: %b\n\n" % json_line({"type": "reset", "reason": reason})


def encoder(options: EncodeOptions) -> EncoderFactory:
    """This format always tells usage and needs no count of choices: `options` make no difference to it."""
    return EventsEncoder


DIALECT = Dialect(name=NAME, default_linger_s=300.0, holds_head=False, decode=decode, encoder=encoder)

"""What is known of a connection besides its stream, and how it is kept with it. Pure."""

from __future__ import annotations

import uuid
from typing import NamedTuple

import msgspec

from ..dialects.streaming import StreamRequestBody
from ..errors import InputError
from ..request import ChatRequest
from ..streams import Pace, StreamRecord

BUFFER_BYTES = 8192
FLUSH_INTERVAL_MS = 100.0
"""The reference's own figures."""

# They are kept with the stream and told again with each look at it.
MAX_NAME_CHARACTERS = 256


class Bounds(NamedTuple):
    """What a request may ask for at most. `flush_ms`: the time between two commits under load."""

    buffer_bytes: int = BUFFER_BYTES
    flush_interval_ms: float = FLUSH_INTERVAL_MS
    flush_ms: float = 5.0


class Facts(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """`created_ms`: Unix time. `user_id`: who the key or token belongs to. Texts are "" where nothing was told.

    `paced`: whether it asked for one of the two bounds before it, and so for frames that are held and joined.
    """

    created_ms: int = 0
    request_id: str
    client_id: str = ""
    user_id: str = ""
    session_id: str = ""
    provider: str = ""
    model: str = ""
    user_agent: str = ""
    ip: str = ""
    buffer_bytes: int = BUFFER_BYTES
    flush_interval_ms: float = FLUSH_INTERVAL_MS
    paced: bool = False

    @property
    def pace(self) -> Pace | None:
        """None: every frame goes out at once, which keeps both bounds."""
        return Pace(self.buffer_bytes, self.flush_interval_ms / 1000) if self.paced else None


class KeptRequest(ChatRequest, frozen=True, omit_defaults=True):
    """What a connection's stream stores: the canonical request, which is all that others read of it, and the facts."""

    connection: Facts | None = None


class _Kept(msgspec.Struct):
    connection: Facts | None = None


_decode_kept = msgspec.json.Decoder(_Kept).decode


def keep(request: ChatRequest, facts: Facts) -> bytes:
    """The request as a connection's stream stores it."""
    return msgspec.json.encode(KeptRequest(**msgspec.structs.asdict(request), connection=facts))


def facts_of(record: StreamRecord) -> Facts | None:
    """None for a stream that is no connection."""
    if b'"connection":' not in record.request:
        return None
    try:
        return _decode_kept(record.request).connection
    except msgspec.DecodeError:
        return None


def facts_from(body: StreamRequestBody, bounds: Bounds) -> Facts:
    """What a request says of itself; who asks is for its caller to add.

    Raises `InputError` for names that are too long, and for more than `bounds`.
    """
    options = body.options
    buffer_bytes, flush_interval_ms = options.buffer_size, options.flush_interval
    if buffer_bytes is not None and buffer_bytes > bounds.buffer_bytes:
        raise InputError(f"bufferSize must be at most {bounds.buffer_bytes} bytes", param="options.bufferSize")
    if flush_interval_ms is not None and flush_interval_ms > bounds.flush_interval_ms:
        raise InputError(
            f"flushInterval must be at most {bounds.flush_interval_ms:g} milliseconds", param="options.flushInterval"
        )
    return Facts(
        request_id=_name(body.request_id, "requestId") or str(uuid.uuid4()),
        client_id=_name(body.client_id, "clientId"),
        session_id=_name(body.metadata.session_id, "sessionId"),
        provider=_name(body.provider, "provider"),
        model=_name(body.model, "model"),
        buffer_bytes=bounds.buffer_bytes if buffer_bytes is None else buffer_bytes,
        # What is promised is kept, so nothing shorter than a commit under load is.
        flush_interval_ms=bounds.flush_interval_ms
        if flush_interval_ms is None
        else max(flush_interval_ms, bounds.flush_ms),
        paced=buffer_bytes is not None or flush_interval_ms is not None,
    )


def _name(text: str | None, param: str) -> str:
    if text is not None and len(text) > MAX_NAME_CHARACTERS:
        raise InputError(f"{param} is longer than {MAX_NAME_CHARACTERS} characters", param=param)
    return text or ""

"""What is known of a connection besides its stream, and how it is kept with it. Pure."""

from __future__ import annotations

import uuid

import msgspec

from ..dialects.streaming import StreamRequestBody
from ..errors import InputError
from ..request import ChatRequest
from ..streams import StreamRecord

MAX_BUFFER_BYTES = 8192
MAX_FLUSH_INTERVAL_MS = 100.0
"""The reference's own figures."""

# They are kept with the stream and told again with each look at it.
MAX_NAME_CHARACTERS = 256
MAX_AGENT_CHARACTERS = 512


class Facts(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """`created_ms`: Unix time. `user_id`: who the key or token belongs to. Texts are "" where nothing was told."""

    created_ms: int = 0
    request_id: str
    client_id: str = ""
    user_id: str = ""
    session_id: str = ""
    provider: str = ""
    model: str = ""
    user_agent: str = ""
    ip: str = ""
    buffer_bytes: int = MAX_BUFFER_BYTES
    flush_interval_ms: float = MAX_FLUSH_INTERVAL_MS


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


def facts_from(body: StreamRequestBody, *, flush_ms: float) -> Facts:
    """What a request says of itself; who asks is for its caller to add. `flush_ms`: the time between two commits.

    Raises `InputError` for names that are too long, and for bounds above the documented ones.
    """
    options = body.options
    buffer_bytes = MAX_BUFFER_BYTES if options.buffer_size is None else options.buffer_size
    if buffer_bytes > MAX_BUFFER_BYTES:
        raise InputError(f"bufferSize must be at most {MAX_BUFFER_BYTES} bytes", param="options.bufferSize")
    flush_interval_ms = MAX_FLUSH_INTERVAL_MS if options.flush_interval is None else options.flush_interval
    if flush_interval_ms > MAX_FLUSH_INTERVAL_MS:
        raise InputError(
            f"flushInterval must be at most {MAX_FLUSH_INTERVAL_MS:g} milliseconds", param="options.flushInterval"
        )
    return Facts(
        request_id=_name(body.request_id, "requestId") or str(uuid.uuid4()),
        client_id=_name(body.client_id, "clientId"),
        session_id=_name(body.metadata.session_id, "sessionId"),
        provider=_name(body.provider, "provider"),
        model=_name(body.model, "model"),
        buffer_bytes=buffer_bytes,
        # What is promised is kept, so nothing shorter than a commit under load is.
        flush_interval_ms=max(flush_interval_ms, flush_ms),
    )


def _name(text: str | None, param: str) -> str:
    if text is not None and len(text) > MAX_NAME_CHARACTERS:
        raise InputError(f"{param} is longer than {MAX_NAME_CHARACTERS} characters", param=param)
    return text or ""

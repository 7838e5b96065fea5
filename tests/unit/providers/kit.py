"""Short ways to say what a decoder is fed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from headwater.events import Event
from headwater.providers.ports import Decoder


def sse(*payloads: Any) -> bytes:
    """SSE frames; a payload is JSON to be, or bytes as they are."""
    return b"".join(
        b"data: " + (payload if isinstance(payload, bytes) else json.dumps(payload).encode()) + b"\n\n"
        for payload in payloads
    )


def delta(index: int = 0, /, finish: str | None = None, logprobs: Any = None, **fields: Any) -> dict[str, Any]:
    """A chunk with one choice."""
    return {"choices": [{"index": index, "delta": fields, "finish_reason": finish, "logprobs": logprobs}]}


STOP = delta(finish="stop")
DONE = b"[DONE]"


def whole(decoder: Decoder, body: bytes) -> list[Event]:
    return [*decoder.feed(body), *decoder.close()]


def kinds(events: Iterable[Event]) -> list[str]:
    return [type(event).__name__ for event in events]

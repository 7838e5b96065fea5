"""UUIDv7 ids (RFC 9562 section 5.7): sortable by time, never reused, not guessable (74 random bits)."""

from __future__ import annotations

import secrets

from .events import StreamId


def new_stream_id(unix_ms: int) -> StreamId:
    """A fresh id. Ids made in one millisecond sort in any order."""
    time = unix_ms & (1 << 48) - 1
    value = time << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    text = f"{value:032x}"
    return StreamId(f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}")

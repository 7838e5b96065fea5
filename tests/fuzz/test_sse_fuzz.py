"""Invariant: whatever the bytes and however they are cut, the SSE parsers raise nothing but `FrameTooLarge`, hold no
more than their limits, and agree with each other.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import FrameTooLarge
from headwater.sse import DataParser, Parser, comment, frame

chunks = st.lists(st.binary(max_size=200) | st.text("data:event\r\n id\0é", max_size=60).map(str.encode), max_size=30)


@given(chunks, st.integers(1, 300))
def test_random_bytes_raise_nothing_else(pieces: list[bytes], limit: int) -> None:
    full = Parser(max_line_bytes=limit, max_event_bytes=limit)
    lean = DataParser(max_line_bytes=limit, max_event_bytes=limit)
    for piece in pieces:
        try:
            messages = full.feed(piece)
        except FrameTooLarge:
            messages = None
        try:
            payloads = lean.feed(piece)
        except FrameTooLarge:
            payloads = None
        if messages is None or payloads is None:
            assert messages is payloads
            return
        assert [payload.decode(errors="replace") for payload in payloads] == [m.data for m in messages]
        assert all(len(payload) <= limit for payload in payloads)
        assert lean.comments == full.comments


@given(chunks, st.lists(st.binary(max_size=80), max_size=8))
def test_comments_never_disturb_frames(noise: list[bytes], payloads: list[bytes]) -> None:
    lines = [payload.replace(b"\r", b"").replace(b"\n", b"") for payload in payloads]
    body = b"".join(comment(b"".join(noise)) + frame(line) for line in lines)
    assert DataParser().feed(body) == lines

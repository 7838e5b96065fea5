"""Texts that may be damaged are read without an error, and told in a way that can be printed."""

from __future__ import annotations

from headwater.integrity import decode_text, shown


def test_what_is_no_text_can_be_read_and_told() -> None:
    assert decode_text("naïve".encode()) == shown("naïve") == "naïve"
    damaged = decode_text(b"a\xffb")
    assert damaged.encode("utf-8", "surrogateescape") == b"a\xffb"
    assert shown(damaged) == "a\\udcffb"

"""Texts that may be damaged: how they are read, and how they are told."""

from __future__ import annotations


def decode_text(text: bytes) -> str:
    """A `text_factory` for SQLite: one with a flipped bit fails its own record, and not the driver before.

    What is no UTF-8 becomes surrogates, which no text has that was written.
    """
    return text.decode("utf-8", "surrogateescape")


def shown(text: str) -> str:
    """As it can be printed, and sent as JSON."""
    return text.encode("utf-8", "backslashreplace").decode()

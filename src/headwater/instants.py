"""Instants as they are told to people and programs."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(unix_ms: float) -> str:
    """Unix milliseconds as RFC 3339 in UTC, to the millisecond, as JavaScript's `Date` writes itself as JSON."""
    return datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

"""Instants as they are told to people and programs."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(unix_ms: float) -> str:
    """Unix milliseconds as RFC 3339 in UTC, to the millisecond, as JavaScript's `Date` writes itself as JSON."""
    return datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def unix_ms(text: str) -> float:
    """The other way; a time without an offset is UTC. Raises `ValueError`."""
    try:
        # A plus sign that was not escaped in an address comes as a space.
        time = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
        return (time if time.tzinfo is not None else time.replace(tzinfo=UTC)).timestamp() * 1000
    except OverflowError as exc:
        raise ValueError(str(exc)) from exc

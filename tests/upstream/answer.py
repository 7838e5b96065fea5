"""Shared shape of an answer on its way out: a status, headers and timed frames."""

from __future__ import annotations

from typing import NamedTuple


class Frame(NamedTuple):
    """Bytes that go out `delay_ms` after the frame before. `token`: counts for `fault_after`."""

    data: bytes
    delay_ms: float = 0
    token: bool = False


class Answer(NamedTuple):
    status: int
    content_type: str
    frames: list[Frame]
    headers: tuple[tuple[str, str], ...] = ()
    mid: int = 0
    """Index of the first frame that is not sent before a mid-answer fault."""


def paced(frames: list[Frame], *, first_ms: float, batch: int) -> list[Frame]:
    """`first_ms` before the first token and, with `batch` > 1, only every batch-th token after a delay."""
    out: list[Frame] = []
    tokens = 0
    for frame in frames:
        delay = frame.delay_ms
        if frame.token:
            delay = first_ms if tokens == 0 else (delay if tokens % batch == 0 else 0)
            tokens += 1
        out.append(frame._replace(delay_ms=delay))
    return out


def middle_of(frames: list[Frame], tokens: int) -> int:
    """Index behind the `tokens`-th token frame; before the first one for 0, behind everything where there are fewer."""
    seen = 0
    for index, frame in enumerate(frames):
        if frame.token and seen == tokens == 0:
            return index
        seen += frame.token
        if frame.token and seen == tokens:
            return index + 1
    return len(frames)

"""One stream over time: how many chunks came when, and what happened at which moment.

Bounded whatever the stream does: when the buckets are full their width doubles, and of too many marks the first and
the newest stay.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator

import msgspec

MAX_BUCKETS = 240
FIRST_WIDTH_MS = 250
FIRST_MARKS, LAST_MARKS = 20, 60
# Ended streams that are remembered, about two kilobytes each.
MAX_REMEMBERED = 500


class Mark(msgspec.Struct, frozen=True, omit_defaults=True):
    """`at_ms`: since acceptance. `kind`: `started`, `recovered`, `first_token`, `done`, `failed`, `cancelled`; a stage
    of a `status` event (`retrying`, `fallback` …); `attached`, `resumed`, `reset`, `left` of viewers.
    """

    at_ms: int
    kind: str
    detail: str = ""


class Timeline:
    """`began_s`: on the loop's clock."""

    __slots__ = ("_first", "_last", "began_s", "counts", "width_ms")

    def __init__(self, began_s: float) -> None:
        self.began_s = began_s
        self.width_ms = FIRST_WIDTH_MS
        self.counts: list[int] = []
        self._first: list[Mark] = []
        self._last: deque[Mark] = deque(maxlen=LAST_MARKS)

    def at_ms(self, now: float) -> int:
        return max(0, round((now - self.began_s) * 1000))

    def add(self, now: float, chunks: int) -> None:
        """So many have come since the last time."""
        place = self.at_ms(now) // self.width_ms
        while place >= MAX_BUCKETS:
            self._widen()
            place = self.at_ms(now) // self.width_ms
        missing = place + 1 - len(self.counts)
        if missing > 0:
            self.counts += [0] * missing
        self.counts[place] += chunks

    def _widen(self) -> None:
        self.width_ms *= 2
        counts = self.counts + [0] * (len(self.counts) % 2)
        self.counts = [left + right for left, right in zip(counts[::2], counts[1::2], strict=True)]

    def mark(self, now: float, kind: str, detail: str = "") -> None:
        mark = Mark(self.at_ms(now), kind, detail)
        if len(self._first) < FIRST_MARKS:
            self._first.append(mark)
        else:
            self._last.append(mark)

    @property
    def marks(self) -> Iterator[Mark]:
        yield from self._first
        yield from self._last


class Timelines(OrderedDict[str, Timeline]):
    """Of ended streams by their ids; the oldest make room."""

    def keep(self, stream: str, timeline: Timeline) -> None:
        self[stream] = timeline
        self.move_to_end(stream)
        if len(self) > MAX_REMEMBERED:
            self.popitem(last=False)

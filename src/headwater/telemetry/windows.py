"""The figures of the last minutes by the second, and of the last day by the minute. Bounded, and without a clock.

Minutes are held as they are stored, some hundred bytes each; what an earlier process measured stands before them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .bucket import Bucket, decode_bucket, encode_bucket

MINUTE_MS = 60_000
SECONDS_HELD = 300
MINUTES_HELD = 1440


class Piece(NamedTuple):
    """What was measured in a minute from `start_ms` on (Unix milliseconds), or in the second that ended then."""

    start_ms: int
    bucket: Bucket


class Row(NamedTuple):
    """A minute as it is stored."""

    minute_ms: int
    data: bytes


class Windows:
    """`push` is called about once a second, in order."""

    def __init__(self) -> None:
        self._seconds: deque[Piece] = deque(maxlen=SECONDS_HELD)
        self._minutes: deque[Row] = deque(maxlen=MINUTES_HELD)
        self._minute: Piece | None = None

    def begin_with(self, rows: Iterable[Row], now_ms: int) -> None:
        """What was measured before this process; of the minute that it is now, the rest is still to come."""
        self._minutes.extend(rows)
        if self._minutes and self._minutes[-1].minute_ms == _minute_of(now_ms):
            self._minute = next(pieces_of((self._minutes.pop(),)), None)

    def push(self, at_ms: int, bucket: Bucket) -> Row | None:
        """The minute that is over with this second, if one is. A wall clock that was set back changes nothing."""
        self._seconds.append(Piece(at_ms, bucket))
        minute_ms, closed = _minute_of(at_ms), None
        if self._minute is not None and minute_ms > self._minute.start_ms:
            closed = self.current_row()
            self._minute = None
        if closed is not None:
            self._minutes.append(closed)
        if self._minute is None:
            self._minute = Piece(minute_ms, Bucket())
        self._minute.bucket.merge(bucket)
        return closed

    def current_row(self) -> Row | None:
        """The minute under way, as far as it has come."""
        return None if self._minute is None else Row(self._minute.start_ms, encode_bucket(self._minute.bucket))

    def seconds(self, since_ms: int) -> list[Piece]:
        """Of the last `SECONDS_HELD`."""
        return [piece for piece in self._seconds if piece.start_ms >= since_ms]

    def rows(self, since_ms: int) -> list[Row]:
        """Of the last `MINUTES_HELD` minutes, the one under way included."""
        current = self.current_row()
        rows = [row for row in self._minutes if row.minute_ms > since_ms - MINUTE_MS]
        return rows if current is None else [*rows, current]


def pieces_of(rows: Iterable[Row]) -> Iterator[Piece]:
    """A row that does not decode, as after damage, is left out."""
    for row in rows:
        try:
            yield Piece(row.minute_ms, decode_bucket(row.data))
        except ValueError:
            continue


def merged(pieces: Iterable[Piece]) -> Bucket:
    whole = Bucket()
    for piece in pieces:
        whole.merge(piece.bucket)
    return whole


def stepped(pieces: Iterable[Piece], *, start_ms: int, step_ms: int, count: int) -> list[Bucket]:
    """The pieces in `count` steps from `start_ms` on; a step in which nothing was measured covers no time."""
    steps = [Bucket() for _ in range(count)]
    for piece in pieces:
        place = (piece.start_ms - start_ms) // step_ms
        if 0 <= place < count:
            steps[place].merge(piece.bucket)
    return steps


def _minute_of(at_ms: int) -> int:
    return at_ms // MINUTE_MS * MINUTE_MS

"""The log's checksums, by which a read knows its own records. What they cover is what the file cannot say twice.

A segment's sum has two halves: of its place, which is checked when the index is loaded, so that a flipped number
never makes one stream's row another's; and of place and bytes, which is checked on every read. A stream's row has
three: of what never changes, of its end, and of the numbers that change. `boot` has none: a wrong one begins a new
epoch, which costs viewers a replay and nothing else.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from zlib import crc32

from ...integrity import sum_of
from ...integrity.sums import Value

_place = struct.Struct("<qqq").pack
_state = struct.Struct("<qqqqqq").pack
# SQLite's integers have a sign, and ours need none.
_HALF = 0x7FFFFFFF


def segment_sum(num: int, first_seq: int, count: int, data: bytes) -> int:
    """Of a journal row or a chunk, with the half that `is_at` checks."""
    place = crc32(_place(num, first_seq, count)) & _HALF
    return place << 32 | crc32(data, place)


def is_at(total: int | None, num: int, first_seq: int, count: int) -> bool:
    """Whether a segment's numbers are those it was stored with. None: it was stored by a release without sums."""
    return total is None or total >> 32 == crc32(_place(num, first_seq, count)) & _HALF


def stream_sum(values: Sequence[Value]) -> int:
    """Of the columns `num, id, created_ms, model, provider, dialect, owner, linger_s, idempotency_key, fingerprint,
    request`, in this order.
    """
    return sum_of(values)


def end_sum(num: int, next_seq: int, finished_ms: int, ended: bytes) -> int:
    return crc32(ended, crc32(_place(num, next_seq, finished_ms)))


def is_state(total: object, numbers: Sequence[object], *, summed: bool) -> bool:
    """Whether the arguments of `state_sum` are all numbers, and those that were stored with `total`.

    `summed`: the row's other sums are there. Without them `total` None means a release without sums.
    """
    if total is None:
        return not summed and all(isinstance(number, int) for number in numbers)
    num, epoch, first_seq, archived_seq, folded, size = numbers
    try:
        return total == crc32(_state(num, epoch, first_seq, archived_seq, bool(folded), size))
    except struct.error:
        return False  # a number that is no number any more


def state_sum(num: int, epoch: int, first_seq: int, archived_seq: int, folded: bool, bytes: int) -> int:
    return crc32(_state(num, epoch, first_seq, archived_seq, folded, bytes))

"""SQLite's write-ahead log, as far as telling damage takes.

SQLite gives every frame a checksum that goes on from the frame before, and stops at the first one that does not hold,
without a word: what was committed behind it is gone, and the next writer overwrites it
(https://www.sqlite.org/fileformat2.html#the_write_ahead_log). A process that is killed leaves a log that ends early,
never one with a hole. So frames of the same generation behind a broken one mean that commits were lost.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

_HEADER = struct.Struct(">IIIIIIII")
_FRAME = struct.Struct(">IIIIII")
_MAGIC = {0x377F0682: "<", 0x377F0683: ">"}
_MASK = 0xFFFFFFFF


class Wal(NamedTuple):
    """`frames`: whole ones that SQLite takes. `commits`: the place of the last commit among them, from 1; 0: none.

    `damaged`: there is more behind them that was written after them, or the head itself does not hold.
    """

    frames: int
    commits: int
    damaged: bool


def read_wal(path: Path, *, trust: int = 0) -> Wal:
    """Look through the log, which nobody writes meanwhile; no file and an empty one are fine.

    `trust`: so many frames hold already, as SQLite itself said. Each other one takes half a millisecond.
    Raises `OSError`.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Wal(0, 0, damaged=False)
    if len(data) <= _HEADER.size:
        return Wal(0, 0, damaged=False)
    magic, _version, page_bytes, _number, salt_1, salt_2, sum_1, sum_2 = _HEADER.unpack_from(data)
    order = _MAGIC.get(magic)
    if order is None or not _is_page_size(page_bytes) or _chain(data[:24], (0, 0), order) != (sum_1, sum_2):
        return Wal(0, 0, damaged=True)
    return _Frames(data, page_bytes, (salt_1, salt_2), order).look((sum_1, sum_2), trust)


class _Frames:
    def __init__(self, data: bytes, page_bytes: int, salts: tuple[int, int], order: str) -> None:
        self._data = data
        self._bytes = _FRAME.size + page_bytes
        self._salts = salts
        self._order = order
        self._count = (len(data) - _HEADER.size) // self._bytes

    def look(self, sums: tuple[int, int], trust: int) -> Wal:
        good = commit = 0
        while good < self._count:
            _page, pages, salt_1, salt_2, *stored = _FRAME.unpack_from(self._data, self._at(good))
            if good >= trust and ((salt_1, salt_2) != self._salts or self._sums(good, sums) != tuple(stored)):
                break
            sums = (stored[0], stored[1])
            good += 1
            commit = good if pages else commit
        return Wal(good, commit, damaged=any(self._is_recent(number) for number in range(good, self._count)))

    def _at(self, number: int) -> int:
        return _HEADER.size + number * self._bytes

    def _sums(self, number: int, before: tuple[int, int]) -> tuple[int, int]:
        at = self._at(number)
        head = _chain(self._data[at : at + 8], before, self._order)
        return _chain(self._data[at + _FRAME.size : at + self._bytes], head, self._order)

    def _is_recent(self, number: int) -> bool:
        """Whether a frame is of this generation, or was before one bit of its salts flipped.

        An older generation's second salt is another random number.
        """
        _page, _pages, salt_1, salt_2, *_ = _FRAME.unpack_from(self._data, self._at(number))
        different: int = (salt_1 ^ self._salts[0]).bit_count() + (salt_2 ^ self._salts[1]).bit_count()
        return different <= 1


def _chain(data: bytes, sums: tuple[int, int], order: str) -> tuple[int, int]:
    one, two = sums
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for first, second in zip(words, words, strict=True):
        one = (one + first + two) & _MASK
        two = (two + second + one) & _MASK
    return one, two


def _is_page_size(size: int) -> bool:
    return 512 <= size <= 65_536 and size.bit_count() == 1

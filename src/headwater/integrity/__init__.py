"""Telling whether stored bytes are still the ones that were written: checksums, and SQLite's write-ahead log.

Checksums are CRC-32: they find every flipped bit and every run of up to 32 of them, and one of four billion other
accidents passes. They are no protection from whoever can write the files; `encryption` is.
"""

from __future__ import annotations

from .sums import file_sum, sum_of
from .texts import decode_text, shown
from .wal import Wal, read_wal

__all__ = ["Wal", "decode_text", "file_sum", "read_wal", "shown", "sum_of"]

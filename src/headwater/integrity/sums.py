"""Checksums of records: a value counts with its kind and its length, so that nothing can move between two of them."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import TypeAlias
from zlib import crc32

Value: TypeAlias = "str | bytes | int | float | None"

_INTEGER = struct.Struct("<cq").pack
_REAL = struct.Struct("<cd").pack
_LENGTH = struct.Struct("<cI").pack


def sum_of(values: Iterable[Value], start: int = 0) -> int:
    """CRC-32 of the values, of `start` (another sum) on. Integers are of 64 bits, as SQLite's."""
    total = start
    for value in values:
        match value:
            case None:
                total = crc32(b"n", total)
            case int():
                total = crc32(_INTEGER(b"i", value), total)
            case float():
                total = crc32(_REAL(b"r", value), total)
            case str():
                data = value.encode("utf-8", "surrogatepass")
                total = crc32(data, crc32(_LENGTH(b"t", len(data)), total))
            case _:
                total = crc32(value, crc32(_LENGTH(b"b", len(value)), total))
    return total


def file_sum(data: bytes) -> str:
    """Of a small file that people may look into, as text."""
    return f"crc32:{crc32(data):08x}"

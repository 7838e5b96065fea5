"""Stored segments: cutting the wanted events out of them, and the compact form of a finished stream.

The compact form joins adjacent segments into chunks and compresses each. Seqs are kept: a chunk's events are
numbered from its `first_seq`, so a cursor from before compaction still cuts exactly.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..errors import LogCorrupt
from ..events import Event, decode_segment, join_segments

# A read decodes whole chunks, so a chunk bounds what a small `max_bytes` can cost. Twice deflate's window of 32 KiB:
# larger chunks compress token streams no better (8.5 : 1 at 64 KiB and at 1 MiB).
CHUNK_BYTES = 65_536
# Measured on token events: level 3 costs 0.1-0.2 µs an event; level 6 takes twice that for 4 % less.
COMPRESSION_LEVEL = 3


class Piece(NamedTuple):
    """`events` adjacent ones, the first at `first_seq`, as one segment."""

    first_seq: int
    events: int
    data: bytes


def events_from(pieces: Iterable[Piece], position: int) -> list[Event]:
    """The events of adjacent pieces from seq `position` on. Raises `LogCorrupt` for a hole or damaged bytes."""
    events: list[Event] = []
    for first_seq, count, data in pieces:
        if not first_seq <= position < first_seq + count:
            raise LogCorrupt(f"the events from seq {position} on are missing")
        batch = decode_segment(data)
        if len(batch) != count:
            raise LogCorrupt(f"{count} events were stored at seq {first_seq}, but {len(batch)} are there")
        events += batch[position - first_seq :] if position > first_seq else batch
        position = first_seq + count
    return events


def pack(pieces: Iterable[Piece], level: int = COMPRESSION_LEVEL) -> Iterator[Piece]:
    """Adjacent pieces as few compressed ones. Raises `LogCorrupt` for a hole, or a segment that cannot be joined."""
    run: list[Piece] = []
    size = 0
    expected: int | None = None
    for piece in pieces:
        if expected is not None and piece.first_seq != expected:
            raise LogCorrupt(f"the events from seq {expected} on are missing")
        expected = piece.first_seq + piece.events
        if run and size + len(piece.data) > CHUNK_BYTES:
            yield _chunk(run, level)
            run, size = [], 0
        run.append(piece)
        size += len(piece.data)
    if run:
        yield _chunk(run, level)


def unpack(piece: Piece) -> Piece:
    """The inverse of `pack` for one chunk. Raises `LogCorrupt` when its checksum does not hold."""
    try:
        return piece._replace(data=zlib.decompress(piece.data))
    except zlib.error as exc:
        raise LogCorrupt(f"the chunk at seq {piece.first_seq} does not decompress: {exc}") from exc


def _chunk(run: list[Piece], level: int) -> Piece:
    joined = join_segments([piece.data for piece in run])
    return Piece(run[0].first_seq, sum(piece.events for piece in run), zlib.compress(joined, level))

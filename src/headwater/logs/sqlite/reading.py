"""Reads: everything that one answer is made of comes from one snapshot of the file.

A read begins in the loop, where it takes a stream's `Place` from the index, and goes on in a reading thread, where
the file may have moved on since. What the place says and the snapshot does not bear out is `Stale`: look again.
Compaction is never in the way, since a snapshot has an event in the archive, or else in the journal.
"""

from __future__ import annotations

import sqlite3
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple

import msgspec

from ...errors import LogCorrupt
from ...events import StreamId
from ...streams.log import Ended, Query, Slice, StreamRecord
from ..segments import Piece, events_from, unpack
from .database import json_list, snapshot, sql
from .index import Place

_decode_ended = msgspec.json.Decoder(Ended).decode


class Stale(Exception):
    """The file moved on between the loop's look at the index and the snapshot."""


class Row(NamedTuple):
    """One row of the stream table. The record of an unfinished stream lacks its `next_seq`."""

    record: StreamRecord
    num: int
    archived_seq: int
    folded: bool


def select_record(db: sqlite3.Connection, stream: StreamId) -> Row | None:
    found = db.execute(sql("record"), (stream,)).fetchone()
    return None if found is None else _row(found)


def select_records(db: sqlite3.Connection, query: Query) -> list[Row]:
    """Rows that match, newest first."""
    conditions, values = ["TRUE"], list[object]()
    if query.state == "unfinished":
        conditions.append("folded = 0 AND finished_ms IS NULL")
    elif query.state == "finished":
        conditions.append("finished_ms IS NOT NULL")
    if query.owner is not None:
        conditions.append("owner = ?")
        values.append(query.owner)
    if query.idempotency_key is not None:
        conditions.append("idempotency_key = ?")
        values.append(query.idempotency_key)
        if query.idempotency_key:
            conditions.append("idempotency_key <> ''")  # what lets SQLite use the partial index
    if query.before is not None:
        conditions.append("id < ?")
        values.append(query.before)
    statement = sql("find").format(conditions=" AND ".join(conditions))
    return [_row(found) for found in db.execute(statement, (*values, query.limit)).fetchall()]


def read_slice(
    db: sqlite3.Connection, stream: StreamId, *, after: int, max_bytes: int, place: Place | None
) -> Slice | None:
    """`Log.read` in a reading thread. Raises `Stale`, or `LogCorrupt` naming the stream."""
    try:
        with snapshot(db):
            row = select_record(db, stream)
            if row is None:
                if place is None:
                    return None
                raise Stale  # deleted since
            record = _record_at(row, place)
            position = min(max(after + 1, record.first_seq), record.next_seq)
            pieces = _pieces(db, row, place, position, max_bytes) if position < record.next_seq else []
        return Slice(record, position, events_from(pieces, position))
    except LogCorrupt as exc:
        raise LogCorrupt(f"stream {stream}: {exc.message}") from exc


def read_rows(db: sqlite3.Connection, num: int, rows: array[int]) -> list[Piece]:
    """The journal rows of stream `num` with these ids, in one step. Raises `LogCorrupt` when one is missing."""
    if not rows:
        return []
    nums, firsts, counts, lengths, data = db.execute(sql("rows"), (json_list(rows),)).fetchone()
    owners = nums.split(",") if nums else []
    if len(owners) != len(rows) or set(owners) != {str(num)}:
        raise LogCorrupt("rows are missing in the journal")
    pieces = []
    start = 0
    for first_seq, count, length in zip(firsts.split(","), counts.split(","), lengths.split(","), strict=True):
        end = start + int(length)
        pieces.append(Piece(int(first_seq), int(count), data[start:end]))
        start = end
    return pieces


def _record_at(row: Row, place: Place | None) -> StreamRecord:
    """The record at the snapshot, which must be the same instant for the index as for the file."""
    record = row.record
    if place is None:
        if not row.folded:
            raise Stale  # created since, and not in the index yet
        return record
    if (record.epoch, record.first_seq, record.ended is not None) != (place.epoch, place.first_seq, place.ended):
        raise Stale
    return msgspec.structs.replace(record, next_seq=place.next_seq)


def _pieces(db: sqlite3.Connection, row: Row, place: Place | None, position: int, max_bytes: int) -> list[Piece]:
    pieces: list[Piece] = []
    size = 0
    if position < row.archived_seq:
        for piece in _chunks(db, row.num, position):
            pieces.append(piece)
            size += len(piece.data)
            if size >= max_bytes:
                return pieces
    if place is not None:
        rows = place.rows[bisect_left(place.starts, row.archived_seq) :]
        if place.bytes > max_bytes - size:
            rows = rows[: _rows_within(db, rows, max_bytes - size)]
        pieces += read_rows(db, row.num, rows)
    return pieces


def _chunks(db: sqlite3.Connection, num: int, position: int) -> Iterator[Piece]:
    with closing(db.execute(sql("chunks"), (num, num, position))) as found:
        for first_seq, count, data in found:
            yield unpack(Piece(first_seq, count, data))


def _rows_within(db: sqlite3.Connection, rows: array[int], max_bytes: int) -> int:
    """How many of these rows make up `max_bytes`; the row that reaches it counts."""
    lengths: str | None = db.execute(sql("row_lengths"), (json_list(rows),)).fetchone()[0]
    size = 0
    for index, length in enumerate(lengths.split(",") if lengths else ()):
        size += int(length)
        if size >= max_bytes:
            return index + 1
    return len(rows)


def _row(found: tuple[Any, ...]) -> Row:
    *record, num, archived_seq, folded = found
    if record[-1] is not None:
        try:
            record[-1] = _decode_ended(record[-1])
        except msgspec.DecodeError as exc:
            raise LogCorrupt(f"stream {record[0]}: its end does not decode: {exc}") from exc
    return Row(StreamRecord(*record), num, archived_seq, bool(folded))

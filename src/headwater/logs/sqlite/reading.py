"""Reads: everything that one answer is made of comes from one snapshot of the file.

A read begins in the loop, where it takes a stream's `Place` from the index, and goes on in a reading thread, where
the file may have moved on since. What the place says and the snapshot does not bear out is `Stale`: look again.
Compaction is never in the way, since a snapshot has an event in the archive, or else in the journal.
"""

from __future__ import annotations

import logging
import sqlite3
import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple

import msgspec

from ...errors import LogCorrupt
from ...events import StreamId, Usage
from ...streams.log import Ended, Query, Slice, StreamRecord
from ..sealing import PLAIN, Kind, Seals
from ..segments import Piece, events_from, unpack
from .database import json_list, snapshot, sql
from .index import Place
from .sums import end_sum, is_state, segment_sum, state_sum, stream_sum

_log = logging.getLogger(__name__)

_decode_ended = msgspec.json.Decoder(Ended).decode


class Stale(Exception):
    """The file moved on between the loop's look at the index and the snapshot."""


class Row(NamedTuple):
    """One row of the stream table, its checksums checked. The record of an unfinished stream lacks its `next_seq`."""

    record: StreamRecord
    num: int
    archived_seq: int
    folded: bool


def select_record(db: sqlite3.Connection, stream: StreamId, seals: Seals = PLAIN) -> Row | None:
    found = db.execute(sql("record"), (stream,)).fetchone()
    return None if found is None else row_of(found, seals)


def select_records(db: sqlite3.Connection, query: Query, seals: Seals = PLAIN) -> list[Row]:
    """Rows that match, newest first. A damaged one is left out: it must not keep the others from their readers."""
    rows: list[Row] = []
    while True:
        found = _find(db, query)
        for values in found:
            try:
                rows.append(row_of(values, seals))
            except LogCorrupt as exc:
                _log.error("%s", exc.message)
        missing = query.limit - len(rows)
        if len(found) < query.limit or not missing:
            return rows
        query = msgspec.structs.replace(query, before=StreamId(found[-1][0]), limit=missing)


def _find(db: sqlite3.Connection, query: Query) -> list[tuple[Any, ...]]:
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
    return db.execute(statement, (*values, query.limit)).fetchall()


def read_slice(
    db: sqlite3.Connection,
    stream: StreamId,
    *,
    after: int,
    max_bytes: int,
    place: Place | None,
    seals: Seals = PLAIN,
) -> Slice | None:
    """`Log.read` in a reading thread. Raises `Stale`, or `LogCorrupt` naming the stream."""
    try:
        with snapshot(db):
            row = select_record(db, stream, seals)
            if row is None:
                if place is None:
                    return None
                raise Stale  # deleted since
            record = _record_at(row, place)
            position = min(max(after + 1, record.first_seq), record.next_seq)
            pieces = _Reading(db, row, seals).pieces(place, position, max_bytes) if position < record.next_seq else []
        if not pieces and position < record.next_seq:
            raise LogCorrupt(f"the events from seq {position} on are missing")
        return Slice(record, position, events_from(pieces, position))
    except LogCorrupt as exc:
        raise LogCorrupt(f"stream {stream}: {exc.message}") from exc


def read_rows(db: sqlite3.Connection, num: int, rows: array[int]) -> list[Piece]:
    """The journal rows of stream `num` with these ids, in one step. Raises `LogCorrupt` where one is not as it was."""
    if not rows:
        return []
    nums, firsts, counts, sums, lengths, data = db.execute(sql("rows"), (json_list(rows),)).fetchone()
    owners = nums.split(",") if nums else []
    if len(owners) != len(rows) or set(owners) != {str(num)}:
        raise LogCorrupt("rows are missing in the journal")
    try:
        return _cut(num, (firsts, counts, sums, lengths), data)
    except ValueError as exc:
        raise LogCorrupt("rows of the journal hold something else where there were numbers") from exc


def _cut(num: int, columns: tuple[str, ...], data: bytes) -> list[Piece]:
    """Raises `LogCorrupt`, and `ValueError` for a number that is none."""
    pieces = []
    start = 0
    for first_seq, count, total, length in zip(*(column.split(",") for column in columns), strict=True):
        end = start + int(length)
        piece = Piece(int(first_seq), int(count), data[start:end])
        check_piece(num, piece, int(total) if total else None)
        pieces.append(piece)
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


class _Reading(NamedTuple):
    """One stream's events, from archive and journal."""

    db: sqlite3.Connection
    row: Row
    seals: Seals

    def pieces(self, place: Place | None, position: int, max_bytes: int) -> list[Piece]:
        pieces: list[Piece] = []
        size = 0
        if position < self.row.archived_seq:
            for piece in self._chunks(position):
                pieces.append(piece)
                size += len(piece.data)
                if size >= max_bytes:
                    return pieces
        if place is not None:
            rows = place.rows[bisect_left(place.starts, self.row.archived_seq) :]
            if place.bytes > max_bytes - size:
                rows = rows[: _rows_within(self.db, rows, max_bytes - size)]
            found = read_rows(self.db, self.row.num, rows)
            pieces += [opened_piece(piece, self.row.record.id, self.seals) for piece in found]
        return pieces

    def _chunks(self, position: int) -> Iterator[Piece]:
        num, stream = self.row.num, self.row.record.id
        with closing(self.db.execute(sql("chunks"), (num, num, position))) as found:
            for first_seq, count, data, total in found:
                piece = Piece(first_seq, count, data)
                check_piece(num, piece, total)
                yield unpack(opened_piece(piece, stream, self.seals, "archive"))


def opened_piece(piece: Piece, stream: StreamId, seals: Seals, kind: Kind = "journal") -> Piece:
    """Raises `LogCorrupt`."""
    return piece._replace(data=seals.open(stream, kind, piece.data, piece.first_seq, piece.events))


def check_piece(num: int, piece: Piece, total: int | None) -> None:
    """Raises `LogCorrupt` for a journal row or chunk that is not as it was. `total` None: of a release without sums."""
    try:
        good = total is None or total == segment_sum(num, *piece)
    except (struct.error, TypeError):
        good = False
    if not good:
        raise LogCorrupt(f"what is stored at seq {piece.first_seq} does not match its checksum")


def _rows_within(db: sqlite3.Connection, rows: array[int], max_bytes: int) -> int:
    """How many of these rows make up `max_bytes`; the row that reaches it counts."""
    lengths: str | None = db.execute(sql("row_lengths"), (json_list(rows),)).fetchone()[0]
    size = 0
    for index, length in enumerate(lengths.split(",") if lengths else ()):
        size += int(length)
        if size >= max_bytes:
            return index + 1
    return len(rows)


class Stored(NamedTuple):
    """The columns of the queries `record` and `find`, as they are stored."""

    id: StreamId
    created_ms: int
    model: str
    provider: str
    dialect: str
    owner: str
    linger_s: float
    request: bytes
    idempotency_key: str
    fingerprint: str
    boot: str
    epoch: int
    first_seq: int
    next_seq: int
    ended: bytes | None
    num: int
    archived_seq: int
    folded: int
    bytes: int
    finished_ms: int | None
    sum: int | None
    end_sum: int | None
    state_sum: int | None


def row_of(found: tuple[Any, ...], seals: Seals = PLAIN) -> Row:
    """From the columns of `Stored`. Raises `LogCorrupt`."""
    stored = _checked(found)
    try:
        ended = None if stored.ended is None else _decode_ended(seals.open(stored.id, "ended", stored.ended))
    except (msgspec.DecodeError, UnicodeError) as exc:
        raise LogCorrupt(f"stream {stored.id}: its end does not decode: {exc}") from exc
    stored = stored._replace(request=seals.open(stored.id, "request", stored.request))
    return Row(StreamRecord(*stored[:14], ended), stored.num, stored.archived_seq, bool(stored.folded))


def without_sealed(found: tuple[Any, ...]) -> Row:
    """The same with nothing of what is sealed, for whoever has no key. An end is there all the same."""
    stored = _checked(found)
    ended = None if stored.finished_ms is None else Ended("done", stored.finished_ms, Usage(0, 0))
    record = StreamRecord(*stored._replace(request=b"")[:14], ended)
    return Row(record, stored.num, stored.archived_seq, bool(stored.folded))


def _checked(found: tuple[Any, ...]) -> Stored:
    """Raises `LogCorrupt` for a record that is not as it was."""
    stored = Stored(*found)
    try:
        good = _holds(stored)
    except (struct.error, TypeError):
        good = False  # a number that is no number any more
    if not good:
        raise LogCorrupt(f"stream {stored.id}: its record does not match its checksum")
    return stored


def _holds(stored: Stored) -> bool:
    numbers = (stored.num, stored.epoch, stored.first_seq, stored.archived_seq, stored.folded, stored.bytes)
    if not is_state(stored.state_sum, numbers, summed=stored.sum is not None):
        return False
    if stored.sum is None:
        return stored.ended is None or isinstance(stored.next_seq, int)  # of a release without checksums
    if (stored.ended is None) != (stored.finished_ms is None):
        return False
    sums = sums_of(stored)
    return (stored.sum, stored.end_sum) == (sums.record, sums.end)


class Sums(NamedTuple):
    """The columns `sum`, `end_sum` and `state_sum`."""

    record: int
    end: int | None
    state: int


def sums_of(stored: Stored) -> Sums:
    """As they ought to be. Raises `struct.error` and `TypeError` for what is no record any more."""
    num, ended, finished_ms = stored.num, stored.ended, stored.finished_ms
    names = (num, stored.id, stored.created_ms, stored.model, stored.provider, stored.dialect, stored.owner)
    terms = (stored.linger_s, stored.idempotency_key, stored.fingerprint, stored.request)
    numbers = (stored.epoch, stored.first_seq, stored.archived_seq, bool(stored.folded), stored.bytes)
    end = None if ended is None or finished_ms is None else end_sum(num, stored.next_seq, finished_ms, ended)
    return Sums(stream_sum((*names, *terms)), end, state_sum(num, *numbers))

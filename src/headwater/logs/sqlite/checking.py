"""A look at everything that a log's file holds: one pass over each table, with every checksum and every event."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ...errors import LogCorrupt
from ...events import decode_segment
from ...integrity.findings import Report, check_structure, opened
from ..segments import Piece, unpack
from .database import make_schema, sql
from .reading import Row, check_piece, row_of
from .storage import FILE_NAME


class _Span(NamedTuple):
    """Events that are there: from `first_seq` to before `end`."""

    first_seq: int
    end: int


def check_log(data_dir: Path, report: Report) -> None:
    """Nobody may write meanwhile: whoever calls this owns the data directory. Changes nothing."""
    path = data_dir / FILE_NAME
    with opened(path, report) as db:
        if db is None:
            return
        check_structure(db, path, report, make_schema)
        streams = _streams(db, path, report)
        spans: dict[int, list[_Span]] = {num: [] for num in streams}
        for table in ("archive", "journal"):
            _segments(db, table, path, report, spans)
        for num, row in streams.items():
            if (hole := _hole(row, sorted(spans[num]))) is not None:
                report.find(path, f"stream {row.record.id}", f"the events from seq {hole} on are missing")


def _streams(db: sqlite3.Connection, path: Path, report: Report) -> dict[int, Row]:
    rows: dict[int, Row] = {}
    for found in db.execute(sql("all_records")):
        report.count("streams")
        try:
            row = row_of(found)
        except LogCorrupt as exc:
            report.find(path, f"stream {found[0]}", exc.message)
        else:
            rows[row.num] = row
    return rows


def _segments(db: sqlite3.Connection, table: str, path: Path, report: Report, spans: dict[int, list[_Span]]) -> None:
    statement = f"SELECT id, stream, first_seq, count, data, sum FROM {table} ORDER BY id"  # noqa: S608 - ours
    for id, num, first_seq, count, data, total in db.execute(statement):
        report.count("segments")
        piece = Piece(first_seq, count, data)
        try:
            check_piece(num, piece, total)
            plain = unpack(piece).data if table == "archive" else data
            if len(decode_segment(plain)) != count:
                raise LogCorrupt(f"{count} events were stored at seq {first_seq}, but others are there")
        except (LogCorrupt, TypeError) as exc:
            report.find(path, f"{table} row {id}", getattr(exc, "message", "it holds no segment"))
            continue
        report.count("events", count)
        if num in spans:
            spans[num].append(_Span(first_seq, first_seq + count))


def _hole(row: Row, spans: Iterable[_Span]) -> int | None:
    """The first seq that ought to be there and is not. The end of an unfinished stream is where its events end."""
    position = row.record.first_seq
    for span in spans:
        if span.first_seq > position:
            return position
        position = max(position, span.end)
    end = row.record.next_seq if row.record.ended is not None else row.archived_seq
    return position if position < end else None

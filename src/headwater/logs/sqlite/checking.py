"""A look at everything that a log's file holds: one pass over each table, with every checksum and every event."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ...encryption import Sealer, is_sealed
from ...errors import LogCorrupt
from ...events import decode_segment
from ...integrity.findings import Report, check_structure, opened
from ..sealing import Seals
from ..segments import Piece, unpack
from .database import make_schema, sql
from .reading import Row, check_piece, opened_piece, row_of, without_sealed
from .storage import FILE_NAME


class _Span(NamedTuple):
    """Events that are there: from `first_seq` to before `end`."""

    first_seq: int
    end: int


def check_log(data_dir: Path, report: Report, sealer: Sealer | None = None) -> None:
    """Nobody may write meanwhile: whoever calls this owns the data directory. Changes nothing.

    `sealer` None: of what is sealed the checksums are checked and nothing more.
    """
    path = data_dir / FILE_NAME
    with opened(path, report) as db:
        if db is None:
            return
        check_structure(db, path, report, make_schema)
        _Check(db, path, report, sealer).run()


class _Check:
    def __init__(self, db: sqlite3.Connection, path: Path, report: Report, sealer: Sealer | None) -> None:
        self._db = db
        self._path = path
        self._report = report
        self._seals = Seals(sealer)
        self._rows: dict[int, Row] = {}
        self._spans: dict[int, list[_Span]] = {}

    def run(self) -> None:
        self._streams()
        for kind in ("archive", "journal"):
            self._segments(kind)
        for num, row in self._rows.items():
            if (hole := _hole(row, sorted(self._spans[num]))) is not None:
                self._find(f"stream {row.record.id}", f"the events from seq {hole} on are missing")

    def _streams(self) -> None:
        for found in self._db.execute(sql("all_records")):
            self._report.count("streams")
            try:
                row = self._row(found)
            except LogCorrupt as exc:
                self._find(f"stream {found[0]}", exc.message)
            else:
                self._rows[row.num], self._spans[row.num] = row, []

    def _row(self, found: tuple[Any, ...]) -> Row:
        if self._seals.sealer is None and any(isinstance(value, bytes) and is_sealed(value) for value in found):
            self._report.count("sealed")
            return without_sealed(found)
        return row_of(found, self._seals)

    def _segments(self, kind: Literal["archive", "journal"]) -> None:
        statement = f"SELECT id, stream, first_seq, count, data, sum FROM {kind} ORDER BY id"  # noqa: S608 - ours
        for id, num, first_seq, count, data, total in self._db.execute(statement):
            self._report.count("segments")
            piece = Piece(first_seq, count, data)
            try:
                check_piece(num, piece, total)
                self._check_events(num, piece, kind)
            except (LogCorrupt, TypeError) as exc:
                self._find(f"{kind} row {id}", getattr(exc, "message", "it holds no segment"))
                continue
            self._report.count("events", count)
            if num in self._spans:
                self._spans[num].append(_Span(first_seq, first_seq + count))

    def _check_events(self, num: int, piece: Piece, kind: Literal["archive", "journal"]) -> None:
        if is_sealed(piece.data):
            self._report.count("sealed")
            if self._seals.sealer is None or num not in self._rows:
                return  # nothing to open it with, or nobody left whose it is
            piece = opened_piece(piece, self._rows[num].record.id, self._seals, kind)
        plain = unpack(piece) if kind == "archive" else piece
        if len(decode_segment(plain.data)) != plain.events:
            raise LogCorrupt(f"{plain.events} events were stored at seq {plain.first_seq}, but others are there")

    def _find(self, item: str, problem: str) -> None:
        self._report.find(self._path, item, problem)


def _hole(row: Row, spans: Iterable[_Span]) -> int | None:
    """The first seq that ought to be there and is not. The end of an unfinished stream is where its events end."""
    position = row.record.first_seq
    for span in spans:
        if span.first_seq > position:
            return position
        position = max(position, span.end)
    end = row.record.next_seq if row.record.ended is not None else row.archived_seq
    return position if position < end else None

"""Sealing all records of a log's file with the newest key, with no server on it.

Part by part, each in a transaction that leaves a file which is right; what is sealed with that key already is left
alone. So a run that was killed is gone on with by the next one. What does not match its checksum, or does not open,
stays as it is and is told: it must neither look sound afterwards nor keep the others from being sealed.
"""

from __future__ import annotations

import sqlite3
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from ...encryption import Sealer, is_sealed, key_of
from ...errors import LogCorrupt, LogUnavailable
from ...integrity import read_wal
from ...integrity.findings import Report
from ..sealing import Kind, Seals
from ..segments import Piece
from .database import log_error, open_writer, overwrite_all, sql, transaction
from .keys import check_keys, note_key
from .reading import Stored, check_piece, row_of, sums_of
from .rescue import forget_old_journals, old_journals
from .storage import FILE_NAME
from .sums import segment_sum

ROWS_AT_ONCE = 200
# What is not as it was may be of any type, too.
_DAMAGE: Final = (LogCorrupt, ArithmeticError, TypeError, ValueError, struct.error)
_LEFT = "it does not match its checksum, or does not open, and is left as it is"
_RECORD = sql("find").format(conditions="num = ?")
_UPDATE = "UPDATE stream SET request = ?, ended = ?, bytes = ?, sum = ?, end_sum = ?, state_sum = ? WHERE num = ?"


def reseal_log(
    data_dir: Path, sealer: Sealer, report: Report, *, on_progress: Callable[[int], None] = lambda count: None
) -> int:
    """Records that were sealed. `on_progress` gets their number now and then, `report` what was left as it is.

    Whoever calls this owns the data directory. Raises `LogError`, `ConfigError`.
    """
    path = data_dir / FILE_NAME
    if not path.exists():
        return 0
    with _opened(path) as db:
        work = _Resealing(db, sealer, report, on_progress)
        work.run()
        return work.count


def count_keys(data_dir: Path) -> Counter[str]:
    """How many records each key seals; "": those that are plain. Raises `LogError`."""
    counts: Counter[str] = Counter()
    path = data_dir / FILE_NAME
    if not path.exists():
        return counts
    columns = (("journal", "data"), ("archive", "data"), ("stream", "request"), ("stream", "ended"))
    with _opened(path) as db:
        for table, column in columns:
            heads = f"SELECT substr({column}, 1, 6), count(*) FROM {table} WHERE length({column}) > 0 GROUP BY 1"  # noqa: S608
            for head, number in db.execute(heads):
                counts[_key_name(head)] += number
        for table in old_journals(db):
            for head in _readable_heads(db, table):
                counts[_key_name(head)] += 1
    return counts


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Raises `LogError`, also for what SQLite raises inside."""
    wal = path.with_name(f"{path.name}-wal")
    try:
        lost = read_wal(wal).damaged
    except OSError as exc:
        raise LogUnavailable(f"cannot read {wal}: {exc.strerror}") from exc
    if lost:
        # Opening would drop it without a word, and the next start could not tell that commits were lost.
        raise LogCorrupt("the write-ahead log is damaged: start the server once, which saves what it can")
    try:
        with closing(open_writer(path, "commit")) as db:
            yield db
    except sqlite3.Error as exc:
        raise log_error(exc) from exc


def _key_name(head: bytes) -> str:
    return key_of(head).hex() if is_sealed(head) else ""


def _readable_heads(db: sqlite3.Connection, table: str) -> Iterator[bytes]:
    """Of a table with pages that cannot be read: what stands before them, and behind."""
    for order in ("ASC", "DESC"):
        with suppress(sqlite3.DatabaseError):
            for (head,) in db.execute(f"SELECT substr(data, 1, 6) FROM {table} ORDER BY id {order}"):  # noqa: S608
                yield head
            return


class _Stream(NamedTuple):
    """`journal_from`: journal rows count that hold events from this seq on; None: none of them does."""

    id: str
    journal_from: int | None


class _Resealing:
    def __init__(
        self, db: sqlite3.Connection, sealer: Sealer, report: Report, on_progress: Callable[[int], None]
    ) -> None:
        self._db = db
        self._seals = Seals(sealer)
        self._active = sealer.active
        self._name = sealer.ring.active.name
        self._report = report
        self._on_progress = on_progress
        self._streams: dict[int, _Stream] = {}
        self._damaged: set[int] = set()
        # What a stream takes in journal and archive: sealed records are longer.
        self._sizes: Counter[int] = Counter()
        self._all_read = True
        self._found_before = len(report.findings)
        self.count = 0

    def run(self) -> None:
        db = self._db
        check_keys(db, self._seals.sealer)
        note_key(db, self._name)
        overwrite_all(db)
        self._load()
        for kind in ("journal", "archive"):
            self._table(kind)
        self._records()
        self._empty_free_pages()
        if len(self._report.findings) == self._found_before:
            db.execute("DELETE FROM sealing WHERE key <> ?", (self._name,))

    def _load(self) -> None:
        """Which streams there are. One whose record is damaged is left with all its events: its id may not be its."""
        for values in self._db.execute(sql("all_records")):
            stored = Stored(*values)
            try:
                self._streams[stored.num] = self._stream(stored)
            except _DAMAGE:
                self._damaged.add(stored.num)
                self._find(f"stream {stored.id}", f"{_LEFT}, with its events")

    def _stream(self, stored: Stored) -> _Stream:
        finished = stored.finished_ms is not None
        record, _num, archived_seq, folded = row_of(stored, self._seals)
        if finished != (record.ended is not None):
            raise LogCorrupt("half an end")  # of a release without checksums; with them it would not pass as sound
        needed = max(record.first_seq, archived_seq)
        return _Stream(record.id, needed if finished and not folded else None)

    def _table(self, kind: Kind) -> None:
        try:
            self._segments(kind)
        except sqlite3.DatabaseError as exc:
            if not isinstance(log_error(exc), LogCorrupt):
                raise
            self._all_read = False
            then = ": a start of the server saves what is on the others" if kind == "journal" else ""
            self._find(kind, f"pages of it cannot be read, and the rows from there on are left as they are{then}")

    def _segments(self, kind: Kind) -> None:
        select = f"SELECT id, stream, first_seq, count, data, sum FROM {kind} WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608
        after = -1
        while rows := self._db.execute(select, (after, ROWS_AT_ONCE)).fetchall():
            after = rows[-1][0]
            with transaction(self._db):
                for id, num, *piece, total in rows:
                    if num in self._damaged:
                        continue
                    try:
                        self._segment(kind, id, num, Piece(*piece), total)
                    except _DAMAGE:
                        self._find(f"{kind} row {id}", _LEFT)
            self._on_progress(self.count)

    def _segment(self, kind: Kind, id: int, num: int, piece: Piece, total: int | None) -> None:
        first_seq, count, data = piece
        stream = self._streams.get(num)
        size = len(data)
        try:
            check_piece(num, piece, total)
            if stream is None:
                # Of a stream that was deleted: nobody reads it, and it may be plain.
                self._db.execute(f"DELETE FROM {kind} WHERE id = ?", (id,))  # noqa: S608
                return
            if not self._is_current(data):
                plain = self._seals.open(stream.id, kind, data, first_seq, count)
                data = self._seals.seal(stream.id, kind, plain, first_seq, count)
                total = segment_sum(num, first_seq, count, data)
                self._db.execute(f"UPDATE {kind} SET data = ?, sum = ? WHERE id = ?", (data, total, id))  # noqa: S608
                size = len(data)
                self.count += 1
        finally:
            if stream is not None and (kind == "archive" or _counts(stream, first_seq, count)):
                self._sizes[num] += size

    def _records(self) -> None:
        nums = sorted(self._streams)
        for start in range(0, len(nums), ROWS_AT_ONCE):
            with transaction(self._db):
                for num in nums[start : start + ROWS_AT_ONCE]:
                    try:
                        self._record(num)
                    except _DAMAGE:
                        self._find(f"stream {self._streams[num].id}", _LEFT)
            self._on_progress(self.count)

    def _record(self, num: int) -> None:
        """Its bytes and all of its checksums in one step: with some of them a reader would take it for damaged."""
        stored = Stored(*self._db.execute(_RECORD, (num, 1)).fetchone())
        request, ended = self._sealed(stored.id, "request", stored.request), stored.ended
        if ended is not None:
            ended = self._sealed(stored.id, "ended", ended)
        size = len(request) + self._sizes[num] if self._all_read else stored.bytes
        new = stored._replace(request=request, ended=ended, bytes=size)
        if new != stored:
            self._db.execute(_UPDATE, (request, ended, size, *sums_of(new), num))
            self.count += (request != stored.request) + (ended != stored.ended)

    def _sealed(self, stream: str, kind: Kind, record: bytes) -> bytes:
        """With the newest key. An empty record says nothing, and stays."""
        if not record or self._is_current(record):
            return record
        return self._seals.seal(stream, kind, self._seals.open(stream, kind, record))

    def _empty_free_pages(self) -> None:
        """Also where nothing was left to seal: a run that was killed before this leaves there what was plain."""
        if self._all_read:  # else `VACUUM` fails, and their pages would be nobody's
            forget_old_journals(self._db)
        try:
            self._db.execute("VACUUM")
        except sqlite3.DatabaseError as exc:
            if not isinstance(log_error(exc), LogCorrupt):
                raise
            self._find("", "pages cannot be read, and what was deleted before could not be overwritten")
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _is_current(self, record: bytes) -> bool:
        return is_sealed(record) and key_of(record) == self._active

    def _find(self, item: str, problem: str) -> None:
        self._report.find(Path(FILE_NAME), item, problem)


def _counts(stream: _Stream, first_seq: int, count: int) -> bool:
    """Whether a journal row counts as bytes of its stream; of one without an end they do not yet."""
    return stream.journal_from is not None and first_seq + count > stream.journal_from

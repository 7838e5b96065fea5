"""The changes that callers ask for: a group commit, a new epoch, a trim, a deletion."""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from ...errors import LogCorrupt, LogError, SeqConflict
from ...events import StreamId
from ...streams.log import Append, Ended, StreamRecord
from ..refusals import ENDED, TAKEN
from ..sealing import PLAIN, Seals
from .database import ROWS_A_STATEMENT, execute_rows, json_list, sql, transaction
from .index import Hot, Index
from .sums import end_sum, is_state, segment_sum, state_sum, stream_sum

_ROW_COLUMNS = 6
_STREAM_COLUMNS = 16
_END_COLUMNS = 7


class GroupCommit:
    """Appends to hot streams are judged from the index. Creations are judged by the file's unique indexes, and only
    refused appends look anything up. Nearly every group is one `INSERT`, in autocommit: one step, one wait for the GIL.
    """

    __slots__ = (
        "_creates",
        "_endings",
        "_hots",
        "_index",
        "_lookups",
        "_rows",
        "_seals",
        "_settled",
        "_streams",
        "appends",
        "bytes",
        "catalog_rows",
        "events",
        "outcomes",
    )

    def __init__(
        self, index: Index, appends: Sequence[Append], settled: Callable[[GroupCommit], None], seals: Seals = PLAIN
    ) -> None:
        self.appends = appends
        self._seals = seals
        self.outcomes: list[LogError | None] = [None] * len(appends)
        self.events = 0
        self.bytes = 0
        self.catalog_rows = 0  # rows of the stream table that it touched
        self._index = index
        self._settled = settled
        self._hots: list[Hot | None] = []  # one an append; None: refused
        self._rows: list[object] = []
        self._streams: list[object] = []
        self._endings: list[object] = []
        self._creates: dict[int, int] = {}  # stream number → position in the group
        self._lookups: dict[int, int] = {}  # position in the group → the log's next seq as the file has it

    def begin(self) -> None:
        index = self._index
        index.group += 1
        group, row, rows = index.group, index.next_row, self._rows
        sealed = self._seals.sealer is not None
        for position, append in enumerate(self.appends):
            hot = index.hot.get(append.stream)
            if append.create is not None:
                hot = self._begin_stream(position, append.create, hot)
            elif hot is None:
                self._lookups[position] = -1
            elif hot.next_seq != append.expected_seq or hot.end_seq >= 0 or hot.group == group:
                self.outcomes[position] = _refusal(append, hot)
                hot = None
            self._hots.append(hot)
            if hot is None:
                continue
            hot.group = group
            num, seq, count, data = hot.num, append.expected_seq, append.count, append.segment
            if sealed:
                data = self._seals.seal(append.stream, "journal", data, seq, count)
            rows += (row, num, seq, count, data, segment_sum(num, seq, count, data))
            row += 1
            if append.ended is not None:
                self._begin_end(hot, append, append.ended)

    def work(self, db: sqlite3.Connection) -> None:
        for position in self._lookups:
            self._look_up(db, position)
        if self._streams or self._endings or len(self._rows) > _ROW_COLUMNS * ROWS_A_STATEMENT:
            with transaction(db):
                self._write(db)
        else:
            execute_rows(db, "add_rows", _ROW_COLUMNS, self._rows)

    def settle(self) -> list[LogError | None]:
        index = self._index
        row = index.next_row
        for position, (append, hot) in enumerate(zip(self.appends, self._hots, strict=True)):
            if hot is None:
                continue
            if append.create is not None:
                if position in self._lookups:
                    row += 1  # refused by the file; its row's number is left out
                    continue
                index.hot[append.stream] = hot
            size = len(append.segment) + self._seals.overhead_bytes
            hot.rows.append(row)
            hot.starts.append(hot.next_seq)
            hot.journal_bytes += size
            self.bytes += size
            self.events += append.count
            if append.ended is not None:
                hot.end_seq = hot.next_seq
                index.finished[append.stream] = hot
            hot.next_seq += append.count
            row += 1
        index.next_row = row
        for position, next_seq in self._lookups.items():
            append = self.appends[position]
            self.outcomes[position] = _refusal(append, index.hot.get(append.stream), next_seq)
        self.catalog_rows = len(self._creates) + len(self._endings) // _END_COLUMNS
        self._settled(self)
        return self.outcomes

    def _begin_stream(self, position: int, new: StreamRecord, known: Hot | None) -> Hot | None:
        append = self.appends[position]
        if known is not None or append.expected_seq != 0:
            self.outcomes[position] = _refusal(append, known)
            return None
        num = self._index.next_num
        self._index.next_num += 1
        self._creates[num] = position
        names = (num, append.stream, new.created_ms, new.model, new.provider, new.dialect, new.owner)
        terms = (float(new.linger_s), new.idempotency_key, new.fingerprint)
        request = self._seals.seal(append.stream, "request", new.request) if new.request else b""
        hot = Hot(num, append.stream, new.epoch, len(request))
        self._streams += (*names, *terms, new.boot, new.epoch, len(request), request)
        self._streams += (stream_sum((*names, *terms, request)), _state(hot))
        return hot

    def _begin_end(self, hot: Hot, append: Append, how: Ended) -> None:
        size = hot.bytes + len(append.segment) + self._seals.overhead_bytes
        ended = self._seals.seal(append.stream, "ended", msgspec.json.encode(how))
        next_seq = append.expected_seq + append.count
        self._endings += (hot.num, next_seq, size, how.finished_ms, ended)
        self._endings += (end_sum(hot.num, next_seq, how.finished_ms, ended), _state(hot, size))

    def _write(self, db: sqlite3.Connection) -> None:
        rows, endings = self._rows, self._endings
        if self._creates and execute_rows(db, "add_streams", _STREAM_COLUMNS, self._streams) < len(self._creates):
            known = {num for (num,) in db.execute(sql("known_nums"), (json_list(self._creates),))}
            refused = self._creates.keys() - known
            for num in refused:
                self._look_up(db, self._creates[num])
            rows = _without(rows, _ROW_COLUMNS, 1, refused)
            endings = _without(endings, _END_COLUMNS, 0, refused)
        execute_rows(db, "add_rows", _ROW_COLUMNS, rows)
        execute_rows(db, "end_streams", _END_COLUMNS, endings)

    def _look_up(self, db: sqlite3.Connection, position: int) -> None:
        found = db.execute(sql("next_seq"), (self.appends[position].stream,)).fetchone()
        # A damaged row holds anything there; it is refused like one that is unknown.
        self._lookups[position] = found[0] if found and isinstance(found[0], int) else -1


def _without(values: list[object], columns: int, num_column: int, nums: set[int]) -> list[object]:
    """Rows of `values` whose stream number is not in `nums`."""
    kept: list[object] = []
    for start in range(0, len(values), columns):
        if values[start + num_column] not in nums:
            kept += values[start : start + columns]
    return kept


def _refusal(append: Append, hot: Hot | None, next_seq: int = -1) -> SeqConflict:
    if hot is not None:
        next_seq = hot.next_seq
    if append.create is not None:
        return SeqConflict(append.expected_seq, next_seq, TAKEN)
    if next_seq >= 0 and (hot is None or hot.ended):
        return SeqConflict(append.expected_seq, next_seq, ENDED)
    return SeqConflict(append.expected_seq, next_seq)


def _state(hot: Hot, size: int | None = None) -> int:
    """Of an unfinished stream's row. `size`: of one that ends, with what the journal holds."""
    size = hot.stored_bytes if size is None else size
    return state_sum(hot.num, hot.epoch, hot.first_seq, hot.archived_seq, False, size)


class _Stored(NamedTuple):
    """The columns of the query `stream_position`."""

    num: int
    epoch: int
    first_seq: int
    archived_seq: int
    folded: int
    bytes: int
    next_seq: int
    ended: int
    sum: int | None
    state_sum: int | None


def _stored(db: sqlite3.Connection, stream: StreamId) -> _Stored | None:
    """What the file says of a stream. Raises `LogCorrupt` where that is not what was written."""
    found = db.execute(sql("stream_position"), (stream,)).fetchone()
    if found is None:
        return None
    stored = _Stored(*found)
    sound = is_state(stored.state_sum, stored[:6], summed=stored.sum is not None)
    if not sound or (stored.ended and not isinstance(stored.next_seq, int)):
        raise LogCorrupt(f"stream {stream}: its record does not match its checksum")
    return stored


class AdvanceEpoch:
    def __init__(self, index: Index, stream: StreamId, boot: str) -> None:
        self._index = index
        self._stream = stream
        self._boot = boot
        self._num = 0
        self._state = 0

    def begin(self) -> None:
        hot = self._index.hot.get(self._stream)
        if hot is not None and not hot.ended:
            self._num = hot.num
            self._state = state_sum(hot.num, hot.epoch + 1, hot.first_seq, hot.archived_seq, False, hot.stored_bytes)

    def work(self, db: sqlite3.Connection) -> None:
        if self._num:
            db.execute(sql("advance_epoch"), (self._boot, self._state, self._num))
            return
        stored = _stored(db, self._stream)
        raise SeqConflict(stored.next_seq, stored.next_seq, ENDED) if stored else SeqConflict(0, -1)

    def settle(self) -> int:
        hot = self._index.hot[self._stream]
        hot.epoch += 1
        return hot.epoch


class Trim:
    """A journal row or chunk that holds events on both sides of the cut stays; reads begin at `first_seq`."""

    def __init__(self, index: Index, stream: StreamId, before: int) -> None:
        self._index = index
        self._stream = stream
        self._before = before
        self._rows: list[int] = []
        self._archive_bytes = 0
        self._row_bytes = 0

    def begin(self) -> None:
        hot = self._index.hot.get(self._stream)
        if hot is not None:
            ends = [*hot.starts[1:], hot.next_seq]
            self._before = min(self._before, hot.next_seq)
            self._rows = hot.rows[: bisect_right(ends, self._before)].tolist() if hot.rows else []

    def work(self, db: sqlite3.Connection) -> None:
        with transaction(db):
            stored = _stored(db, self._stream)
            if stored is None:
                return
            num, epoch, first_seq, archived_seq, folded, size, next_seq, ended = stored[:8]
            # What ended is final in the file; before the end only the index knows how far the stream has come.
            before = min(self._before, next_seq) if ended else self._before
            if before <= first_seq:
                return
            (self._archive_bytes,) = db.execute(sql("trimmed_archive_bytes"), (num, before)).fetchone()
            (self._row_bytes,) = db.execute(sql("row_bytes"), (json_list(self._rows),)).fetchone()
            size -= self._archive_bytes + (self._row_bytes if ended else 0)
            state = state_sum(num, epoch, before, archived_seq, bool(folded), size)
            db.execute(sql("trim_archive"), (num, before))
            db.execute(sql("trim_stream"), (before, size, state, num))

    def settle(self) -> None:
        hot = self._index.hot.get(self._stream)
        if hot is not None:
            hot.first_seq = max(hot.first_seq, self._before)
            hot.drop_rows(len(self._rows))
            hot.stored_bytes -= self._archive_bytes
            hot.journal_bytes -= self._row_bytes


class Delete:
    """Journal rows of what is deleted belong to nobody then, and are reclaimed like folded ones."""

    def __init__(self, index: Index, streams: Sequence[StreamId]) -> None:
        self._index = index
        self._streams = streams
        self._deleted: dict[StreamId, int] = {}

    def begin(self) -> None:
        """Nothing to plan: the file knows which of them there are."""

    def work(self, db: sqlite3.Connection) -> None:
        with transaction(db):
            self._deleted = dict(db.execute(sql("nums_of"), (json_list(self._streams),)).fetchall())
            nums = json_list(self._deleted.values())
            db.execute(sql("delete_archive"), (nums,))
            db.execute(sql("delete_streams"), (nums,))

    def settle(self) -> int:
        for stream, num in self._deleted.items():
            self._index.damaged.pop(num, None)
            hot = self._index.hot.get(stream)
            if hot is not None:
                self._index.forget(hot)
        return len(self._deleted)

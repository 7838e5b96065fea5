"""What the log keeps in memory: where the events of each stream that the journal still holds are.

A stream is *hot* until it has ended and its events have been folded into the archive; of the others, millions
perhaps, nothing is in memory. The index belongs to the loop's thread. It changes only when a change is on disk, so it
never shows what a crash could take back.
"""

from __future__ import annotations

import logging
import sqlite3
from array import array
from bisect import bisect_right
from itertools import chain
from typing import NamedTuple

from ...errors import LogCorrupt
from ...events import StreamId
from .database import log_error, snapshot, sql
from .rescue import rebuild_journal, repair_indexes, scan
from .sums import is_at, is_state

_log = logging.getLogger(__name__)

UNENDED = -1


class Hot:
    """One hot stream. Events below `archived_seq` are in the archive, the others in journal rows `rows`.

    `starts[i]` is the seq of the first event in `rows[i]`. `end_seq` is the seq at which the append that ended the
    stream began. `stored_bytes` counts request and archive, `journal_bytes` the rows.
    """

    __slots__ = (
        "archived_seq",
        "damaged",
        "end_seq",
        "epoch",
        "first_seq",
        "group",
        "id",
        "journal_bytes",
        "next_seq",
        "num",
        "rows",
        "starts",
        "stored_bytes",
    )

    def __init__(self, num: int, id: StreamId, epoch: int, stored_bytes: int) -> None:
        self.num = num
        self.id = id
        self.epoch = epoch
        self.stored_bytes = stored_bytes
        self.journal_bytes = 0
        self.first_seq = 0
        self.next_seq = 0
        self.archived_seq = 0
        self.end_seq = UNENDED
        self.rows = array("q")
        self.starts = array("q")
        self.group = 0  # the last group that has an append of this stream
        self.damaged = False  # cannot be folded; stays as it is until it is deleted

    @property
    def ended(self) -> bool:
        return self.end_seq != UNENDED

    @property
    def bytes(self) -> int:
        return self.stored_bytes + self.journal_bytes

    def row_of(self, seq: int) -> int:
        """Index of the row that holds `seq`, or the first row when it is before all of them."""
        return max(0, bisect_right(self.starts, seq) - 1)

    def drop_rows(self, count: int) -> None:
        """Forget the first `count` rows, which are in the archive now, or trimmed."""
        del self.rows[:count]
        del self.starts[:count]


class Place(NamedTuple):
    """A hot stream as it stood when a read began: what the loop's thread hands to a reading one."""

    num: int
    epoch: int
    first_seq: int
    next_seq: int
    ended: bool
    rows: array[int]
    starts: array[int]
    bytes: int


def place_of(hot: Hot, position: int) -> Place:
    """Where the events from seq `position` on are."""
    row = hot.row_of(position)
    return Place(
        hot.num, hot.epoch, hot.first_seq, hot.next_seq, hot.ended, hot.rows[row:], hot.starts[row:], hot.bytes
    )


class Index:
    """All hot streams. `finished` are those that only wait to be folded.

    `damaged` (by number) are not among them: their rows in the stream table are not what was written. Nothing is
    written for them, so that no new checksum makes them look sound, and what the journal holds of them stays.
    """

    __slots__ = ("damaged", "finished", "group", "hot", "lost", "next_num", "next_row", "oldest_row")

    def __init__(self) -> None:
        self.hot: dict[StreamId, Hot] = {}
        self.finished: dict[StreamId, Hot] = {}
        self.damaged: dict[int, Hot] = {}
        self.next_num = 1
        self.next_row = 1
        self.oldest_row = 1  # no journal row has a lower id
        self.group = 0
        self.lost = False  # rows of the journal are damaged, and nobody can say which streams lack them

    def forget(self, hot: Hot) -> None:
        del self.hot[hot.id]
        self.finished.pop(hot.id, None)

    def oldest_needed_row(self) -> int:
        """Journal rows with a lower id belong to nobody any more."""
        hots = chain(self.hot.values(), self.damaged.values())
        return min((hot.rows[0] for hot in hots if hot.rows), default=self.next_row)


def load_index(db: sqlite3.Connection) -> Index:
    """Rebuild the index from the file: one scan of the journal, which holds hot streams and little else.

    What is damaged is left out and repaired as far as it goes; then `lost` tells. Raises `sqlite3.DatabaseError` where
    the stream table itself cannot be read.
    """
    try:
        index, damaged, rows = _load(db)
    except sqlite3.DatabaseError as exc:
        if not isinstance(log_error(exc), LogCorrupt):
            raise
        repair_indexes(db)
        index, damaged, rows = _load(db)
        index.lost = True
    if damaged:
        rebuild_journal(db, rows)
        index, _, _ = _load(db)
        index.lost = True
    for hot in index.damaged.values():
        _log.error("stream %s is damaged: its record does not match its checksum, and stays as it is", hot.id)
    return index


def _load(db: sqlite3.Connection) -> tuple[Index, list[int], array[int]]:
    """With where the journal cannot be read, and the rows that can be, which are only told apart in that case."""
    index = Index()
    damaged: list[int] = []
    rows = array("q")
    with snapshot(db):
        by_num = _load_streams(db, index)
        last_num: int = db.execute(sql("last_num")).fetchone()[0]
        row = 0
        for row, num, first_seq, count, size, total in scan(db, damaged):
            rows.append(row)
            if not _is_good(num, first_seq, count, size, total):
                index.lost = True
                continue
            # Rows of deleted streams linger until they are reclaimed: their numbers must not be given out again.
            last_num = max(last_num, num)
            hot = by_num.get(num)
            if hot is not None:
                _load_row(hot, row, first_seq, count, size)
    index.next_num = last_num + 1
    index.next_row = row + 1
    index.oldest_row = rows[0] if rows else index.next_row
    for hot in index.finished.values():
        # While a stream is unfinished its row counts request and archive only; its end adds the journal's share.
        hot.stored_bytes -= hot.journal_bytes
        hot.end_seq = hot.starts[-1] if hot.starts else hot.next_seq
    return index, damaged, rows


def _load_streams(db: sqlite3.Connection, index: Index) -> dict[int, Hot]:
    by_num = {}
    for num, id, epoch, first_seq, next_seq, archived_seq, size, ended, names, state in db.execute(sql("hot_streams")):
        numbers = (num, epoch, first_seq, archived_seq, False, size)
        sound = isinstance(id, str) and (not ended or isinstance(next_seq, int))
        if not sound or not is_state(state, numbers, summed=names is not None):
            # Where its events are in the journal is all that is kept of it.
            by_num[num] = index.damaged[num] = Hot(num, id, 0, 0)
            continue
        hot = by_num[num] = index.hot[id] = Hot(num, id, epoch, size)
        hot.first_seq = first_seq
        hot.archived_seq = archived_seq
        hot.next_seq = next_seq if ended else max(first_seq, archived_seq)
        if ended:
            index.finished[id] = hot
    return by_num


def _is_good(num: object, first_seq: object, count: object, size: object, total: object) -> bool:
    match num, first_seq, count, size, total:
        case int(), int(), int(), int(), int() | None:
            return is_at(total, num, first_seq, count)
        case _:
            return False


def _load_row(hot: Hot, row: int, first_seq: int, count: int, size: int) -> None:
    end = first_seq + count
    if end <= max(hot.archived_seq, hot.first_seq):
        return
    hot.rows.append(row)
    hot.starts.append(first_seq)
    hot.journal_bytes += size
    hot.next_seq = max(hot.next_seq, end)

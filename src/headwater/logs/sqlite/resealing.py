"""Sealing all records of a log's file with the newest key, with no server on it.

Part by part, each in a transaction; what is sealed with that key already is left alone. So a run that was killed is
gone on with by the next one.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from ...encryption import Sealer, is_sealed, key_of
from ..sealing import Kind, Seals
from .database import open_writer, overwrite_all, transaction
from .keys import check_keys, note_key
from .storage import FILE_NAME
from .sums import end_sum, segment_sum, state_sum, stream_sum

ROWS_AT_ONCE = 200
_SIZES = """
SELECT num, epoch, first_seq, archived_seq, folded, bytes, length(request)
    + coalesce((SELECT sum(length(data)) FROM archive WHERE stream = num), 0)
    + iif(finished_ms IS NULL OR folded, 0, coalesce((SELECT sum(length(data)) FROM journal WHERE stream = num), 0))
FROM stream
"""


def reseal_log(data_dir: Path, sealer: Sealer, on_progress: Callable[[int], None] = lambda count: None) -> int:
    """Records that were sealed. `on_progress` gets their number now and then.

    Whoever calls this owns the data directory. Raises `LogError`, `ConfigError`, `sqlite3.Error`.
    """
    path = data_dir / FILE_NAME
    if not path.exists():
        return 0
    with closing(open_writer(path, "commit")) as db:
        work = _Resealing(db, sealer, on_progress)
        work.run()
        return work.count


def count_keys(data_dir: Path) -> Counter[str]:
    """How many records each key seals; "": those that are plain."""
    counts: Counter[str] = Counter()
    path = data_dir / FILE_NAME
    if not path.exists():
        return counts
    columns = (("journal", "data"), ("archive", "data"), ("stream", "request"), ("stream", "ended"))
    with closing(open_writer(path, "commit")) as db:
        for table, column in columns:
            heads = f"SELECT substr({column}, 1, 6), count(*) FROM {table} WHERE length({column}) > 0 GROUP BY 1"  # noqa: S608
            for head, number in db.execute(heads):
                counts[key_of(head).hex() if is_sealed(head) else ""] += number
    return counts


class _Resealing:
    def __init__(self, db: sqlite3.Connection, sealer: Sealer, on_progress: Callable[[int], None]) -> None:
        self._db = db
        self._seals = Seals(sealer)
        self._active = sealer.active
        self._name = sealer.ring.active.name
        self._on_progress = on_progress
        self._streams: dict[int, str] = {}
        self.count = 0

    def run(self) -> None:
        db = self._db
        check_keys(db, self._seals.sealer)
        note_key(db, self._name)
        overwrite_all(db)
        self._streams = dict(db.execute("SELECT num, id FROM stream"))
        self._segments("journal")
        self._segments("archive")
        self._records()
        self._sizes()
        # Also where nothing was left to seal: a run that was killed before this leaves what was plain in free pages.
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        db.execute("DELETE FROM sealing WHERE key <> ?", (self._name,))

    def _segments(self, kind: Kind) -> None:
        select = f"SELECT id, stream, first_seq, count, data FROM {kind} WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608
        after = -1
        while rows := self._db.execute(select, (after, ROWS_AT_ONCE)).fetchall():
            after = rows[-1][0]
            with transaction(self._db):
                for row in rows:
                    self._segment(kind, row)
            self._on_progress(self.count)

    def _segment(self, kind: Kind, row: tuple[int, int, int, int, bytes]) -> None:
        id, num, first_seq, count, data = row
        stream = self._streams.get(num)
        if stream is None:
            # Of a stream that was deleted: nobody reads it, and it may be plain.
            self._db.execute(f"DELETE FROM {kind} WHERE id = ?", (id,))  # noqa: S608
            return
        if self._is_current(data):
            return
        plain = self._seals.open(stream, kind, data, first_seq, count)
        data = self._seals.seal(stream, kind, plain, first_seq, count)
        total = segment_sum(num, first_seq, count, data)
        self._db.execute(f"UPDATE {kind} SET data = ?, sum = ? WHERE id = ?", (data, total, id))  # noqa: S608
        self.count += 1

    def _records(self) -> None:
        nums = sorted(self._streams)
        for start in range(0, len(nums), ROWS_AT_ONCE):
            with transaction(self._db):
                for num in nums[start : start + ROWS_AT_ONCE]:
                    self._record(num, self._streams[num])
            self._on_progress(self.count)

    def _record(self, num: int, stream: str) -> None:
        columns = "request, ended, next_seq, finished_ms, created_ms, model, provider, dialect, owner, linger_s"
        found = self._db.execute(
            f"SELECT {columns}, idempotency_key, fingerprint FROM stream WHERE num = ?",  # noqa: S608
            (num,),
        ).fetchone()
        request, ended, next_seq, finished_ms, *names = found
        if request and not self._is_current(request):
            request = self._seals.seal(stream, "request", self._seals.open(stream, "request", request))
            total = stream_sum((num, stream, *names, request))
            self._db.execute("UPDATE stream SET request = ?, sum = ? WHERE num = ?", (request, total, num))
            self.count += 1
        if ended is not None and not self._is_current(ended):
            ended = self._seals.seal(stream, "ended", self._seals.open(stream, "ended", ended))
            total = end_sum(num, next_seq, finished_ms, ended)
            self._db.execute("UPDATE stream SET ended = ?, end_sum = ? WHERE num = ?", (ended, total, num))
            self.count += 1

    def _sizes(self) -> None:
        """Sealed records are longer; what a stream takes is told in its row."""
        with transaction(self._db):
            for num, epoch, first_seq, archived_seq, folded, size, now in self._db.execute(_SIZES).fetchall():
                if size != now:
                    state = state_sum(num, epoch, first_seq, archived_seq, bool(folded), now)
                    self._db.execute("UPDATE stream SET bytes = ?, state_sum = ? WHERE num = ?", (now, state, num))

    def _is_current(self, record: bytes) -> bool:
        return is_sealed(record) and key_of(record) == self._active

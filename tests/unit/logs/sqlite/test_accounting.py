"""What the log believes its streams to cost agrees with what the file holds, whatever was done to them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from headwater.events import Seq
from headwater.logs import SqliteLog
from headwater.logs.sqlite import Limits
from headwater.logs.sqlite.upkeep import _Fold, _part
from tests.conformance.logs.stories import Story, committed


def assert_accounts(log: SqliteLog, data_dir: Path) -> None:
    with closing(sqlite3.connect(data_dir / "streams.db")) as db:
        for stream, num, size, ended, request in db.execute(
            "SELECT id, num, bytes, finished_ms IS NOT NULL, length(request) FROM stream"
        ).fetchall():
            archive = db.execute("SELECT total(length(data)) FROM archive WHERE stream = ?", (num,)).fetchone()[0]
            hot = log._index.hot.get(stream)
            rows = hot.rows.tolist() if hot is not None else []
            marks = ",".join("?" * len(rows))
            journal = db.execute(f"SELECT total(length(data)) FROM journal WHERE id IN ({marks})", rows).fetchone()[0]  # noqa: S608 - only placeholders
            if hot is not None:
                assert hot.stored_bytes == request + archive
                assert hot.journal_bytes == journal
                assert hot.ended == bool(ended)
            assert size == request + archive + (journal if ended else 0)


async def test_bytes_agree_with_the_file(tmp_path: Path) -> None:
    limits = Limits(fold_rows=5, fold_bytes=400)
    log = await SqliteLog.open(tmp_path, limits=limits)
    stories = [Story(f"s{number}", request=bytes(10 * number)) for number in range(6)]
    await committed(log, *(story.create() for story in stories))
    for number in range(30):
        await committed(log, *(story.text(f"{number} of {story.id}") for story in stories))
        if number == 12:
            await log.compact()
        if number == 20:
            await log.trim(stories[0].id, Seq(16))
            await log.trim(stories[1].id, Seq(4))
            assert_accounts(log, tmp_path)
    await committed(log, *(story.end() for story in stories[:4]))
    assert_accounts(log, tmp_path)
    await log.trim(stories[2].id, Seq(25))
    assert_accounts(log, tmp_path)
    await log.close()
    log = await SqliteLog.open(tmp_path, limits=limits)
    assert_accounts(log, tmp_path)
    await committed(log, stories[4].end())
    part = _part(log._index.hot[stories[4].id], 100)  # one step of folding, which takes a part of it
    assert await log._turns.chore(_Fold(log._index, log._upkeep._packed([part]))) == 0
    assert_accounts(log, tmp_path)
    await log.compact()
    await log.trim(stories[3].id, Seq(20))
    assert_accounts(log, tmp_path)
    assert log.stats().hot_streams == 1
    await log.close()

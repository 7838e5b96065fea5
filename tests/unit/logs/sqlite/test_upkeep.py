from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from pathlib import Path

import pytest

from headwater.errors import LogUnavailable
from headwater.events import Seq
from headwater.logs import SqliteLog
from headwater.logs.sqlite import Limits
from headwater.streams.log import Query
from tests.conformance.logs.stories import Story, assert_intact, begun, committed, finished
from tests.conformance.logs.subjects import SMALL


async def settled(log: SqliteLog) -> None:
    """Wait for the round of upkeep that is running."""
    while (task := log._upkeep._task) is not None:
        await asyncio.wait((task,))


async def test_a_long_answer_costs_no_growing_memory(tmp_path: Path) -> None:
    """Row numbers of an unfinished stream stay bounded, also when nobody asks for compaction."""
    log = await SqliteLog.open(tmp_path, limits=Limits(fold_rows=50, wal_bytes=100_000))
    story = await begun(log, "s1")
    longest = 0
    for number in range(1_000):
        await committed(log, story.text(f"{number} "))
        longest = max(longest, len(log._index.hot[story.id].rows))
        if number % 20 == 0:
            await settled(log)
    assert longest < 200
    assert log.stats().journal_rows < 200
    await assert_intact(log, story)
    await log.close()


async def test_an_old_stream_does_not_hold_the_journal(tmp_path: Path) -> None:
    log = await SqliteLog.open(tmp_path, limits=Limits(journal_rows=100, reclaim_rows=10))
    old, busy = await begun(log, "old", texts=2), await begun(log, "busy")
    for number in range(500):
        await committed(log, busy.text(f"{number} "))
        await settled(log)
    assert log.stats().journal_rows <= 110
    for story in (old, busy):
        await assert_intact(log, story)
    await log.close()


async def test_finished_streams_leave_memory_and_journal(tmp_path: Path) -> None:
    log = await SqliteLog.open(tmp_path, limits=Limits(fold_streams=4))
    stories = [await finished(log, f"s{number:02}", texts=3) for number in range(10)]
    await settled(log)
    stats = log.stats()
    assert stats.hot_streams < 4
    assert stats.journal_rows <= 5 * 4
    assert stats.commits == stats.appends == 50
    assert stats.events == 60
    assert stats.bytes > 60 * 20
    for story in stories:
        await assert_intact(log, story)
    await log.close()


async def test_a_large_stream_is_folded_in_parts(tmp_path: Path) -> None:
    log = await SqliteLog.open(tmp_path, limits=Limits(fold_bytes=1_000))
    story = await begun(log, "s1")
    for number in range(40):
        await committed(log, story.text(f"{number} " * 40))
    await committed(log, story.end())
    assert await log.compact() == 1
    assert log.stats().hot_streams == 0
    await assert_intact(log, story)
    await log.close()


async def test_a_stream_that_ends_while_it_is_folded(tmp_path: Path) -> None:
    log = await SqliteLog.open(tmp_path, limits=Limits(fold_rows=3))
    story = await begun(log, "s1", texts=5)
    folding = asyncio.ensure_future(log.compact())
    await asyncio.sleep(0)
    await committed(log, story.end())
    count = await folding + await log.compact()
    assert count == 1
    await assert_intact(log, story)
    # Bytes are counted to the end, whichever part was where.
    assert await log.expire(now_ms=0, max_age_s=None, max_bytes=0) == 1
    await log.close()
    log = await SqliteLog.open(tmp_path)
    assert await log.find(Query()) == []
    await log.close()


async def test_the_wal_stays_bounded_and_is_gone_after_closing(tmp_path: Path) -> None:
    limits = Limits(wal_bytes=200_000)
    log = await SqliteLog.open(tmp_path, limits=limits)
    stories = [Story(f"s{number}") for number in range(20)]
    await committed(log, *(story.create() for story in stories))
    wal = tmp_path / "streams.db-wal"
    for number in range(1_500):
        await committed(log, *(story.text(f"{number} ") for story in stories))
        if number % 20 == 0:
            await settled(log)
    assert wal.stat().st_size < 12 * limits.wal_bytes  # about 14 MB were written
    for story in stories:
        await assert_intact(log, story)
    await log.close()
    assert not wal.exists()


async def test_the_file_shrinks_when_retention_empties_it(tmp_path: Path) -> None:
    log = await SqliteLog.open(tmp_path, limits=SMALL)
    for number in range(60):
        await committed(log, (story := Story(f"s{number:02}", request=bytes(20_000))).create())
        await committed(log, story.end(finished_ms=number))
    path = tmp_path / "streams.db"
    await log.expire(now_ms=0, max_age_s=None, max_bytes=10**9)
    await log.compact()
    full = path.stat().st_size + (tmp_path / "streams.db-wal").stat().st_size
    assert await log.expire(now_ms=0, max_age_s=None, max_bytes=60_000) > 50
    await log.close()
    assert path.stat().st_size < full / 4


async def test_failing_upkeep_is_logged_and_waits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await SqliteLog.open(tmp_path, limits=Limits(fold_streams=1))
    log._storage.keeping.set_progress_handler(lambda: 1, 1)  # every statement is interrupted
    first = await finished(log, "s1", texts=3)
    await settled(log)
    second = await finished(log, "s2")
    assert log._upkeep._task is None  # not before the pause is over
    with pytest.raises(LogUnavailable, match="interrupted"):
        await log.compact()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "upkeep failed" in caplog.records[0].getMessage()
    log._storage.keeping.set_progress_handler(None, 1)
    monkeypatch.setattr(log._upkeep, "_not_before_s", 0.0)
    third = await finished(log, "s3")
    await settled(log)
    assert log.stats().hot_streams == 0
    for story in (first, second, third):
        await assert_intact(log, story)
    await log.close()


async def test_closing_in_the_middle_of_upkeep(tmp_path: Path) -> None:
    stories = []
    for number in range(5):
        log = await SqliteLog.open(tmp_path, limits=SMALL)
        stories += [await finished(log, f"s{number}{part}", texts=5) for part in range(4)]
        await log.close()
    log = await SqliteLog.open(tmp_path)
    await log.compact()
    for story in stories:
        await assert_intact(log, story)
    await log.close()


async def test_compacting_a_log_that_closes_meanwhile(tmp_path: Path) -> None:
    log = await SqliteLog.open(tmp_path)
    story = await finished(log, "s1", texts=3)
    compacting = asyncio.ensure_future(log.compact())
    await asyncio.sleep(0)
    await log.close()
    with suppress(LogUnavailable):  # whichever came first
        await compacting
    log = await SqliteLog.open(tmp_path)
    await assert_intact(log, story)
    await log.close()


async def test_trimming_what_is_being_folded(tmp_path: Path) -> None:
    """The trim comes between reading the rows and storing their archived form, which is then dropped."""
    log = await SqliteLog.open(tmp_path)
    story = await finished(log, "s1", texts=6)
    compacting = asyncio.ensure_future(log.compact())
    await asyncio.sleep(0)
    await log.trim(story.id, Seq(4))
    await compacting
    await assert_intact(log, story, first_seq=4)
    await log.close()

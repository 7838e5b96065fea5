from __future__ import annotations

from pathlib import Path

import pytest

from headwater.errors import LogCorrupt, LogUnavailable
from headwater.events import StreamId
from headwater.logs import SqliteLog
from headwater.logs.sqlite.reading import Stale, select_record
from headwater.streams.log import FROM_START, Query
from tests.conformance.logs.stories import EVERYTHING, assert_intact, begun, committed, finished

from .damage import tamper


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM stream WHERE id = 's1'",
        "UPDATE stream SET epoch = 9, sum = NULL, state_sum = NULL WHERE id = 's1'",
        "UPDATE stream SET first_seq = 1, sum = NULL, state_sum = NULL WHERE id = 's1'",
    ],
)
async def test_index_and_file_that_never_agree_are_told_not_read_for_ever(tmp_path: Path, statement: str) -> None:
    log = await SqliteLog.open(tmp_path)
    await begun(log, "s1", texts=1)
    tamper(tmp_path, statement)
    with pytest.raises(LogUnavailable, match="changed during every attempt"):
        await log.read(StreamId("s1"), FROM_START, max_bytes=EVERYTHING)
    await log.close()


async def test_a_stream_that_is_not_in_the_index_yet_is_looked_up_again(tmp_path: Path) -> None:
    log = await SqliteLog.open(tmp_path)
    await finished(log, "s1")
    await log.compact()
    tamper(tmp_path, "UPDATE stream SET folded = 0, ended = NULL, sum = NULL, state_sum = NULL")
    with pytest.raises(LogUnavailable):
        await log.get(StreamId("s1"))
    with pytest.raises(LogUnavailable):
        await log.find(Query())
    with pytest.raises(LogUnavailable):
        await log.read(StreamId("s1"), FROM_START, max_bytes=1)
    await log.close()


async def test_a_record_read_just_before_the_end_is_whole(tmp_path: Path) -> None:
    """The end is committed between the snapshot and the loop's look at the index."""
    log = await SqliteLog.open(tmp_path)
    story = await begun(log, "s1", texts=2)
    row = select_record(log._storage.reading, story.id)
    assert row is not None
    await committed(log, story.end())
    record = log._record(row)
    assert (record.next_seq, record.ended) == (3, None)
    await log.compact()
    with pytest.raises(Stale):
        log._record(row)
    await log.close()


async def test_rows_that_are_missing_are_damage_of_that_stream_only(tmp_path: Path) -> None:
    log = await SqliteLog.open(tmp_path)
    lost, other = await begun(log, "lost", texts=3), await begun(log, "other", texts=3)
    tamper(tmp_path, "DELETE FROM journal WHERE stream = 1 AND first_seq = 2")
    for max_bytes in (1, 200, EVERYTHING):
        with pytest.raises(LogCorrupt, match="stream lost: rows are missing"):
            await log.read(lost.id, FROM_START, max_bytes=max_bytes if max_bytes > 1 else 150)
    tamper(tmp_path, "DELETE FROM journal WHERE stream = 1")
    for max_bytes in (1, EVERYTHING):
        with pytest.raises(LogCorrupt, match="stream lost: rows are missing"):
            await log.read(lost.id, FROM_START, max_bytes=max_bytes)
    await assert_intact(log, other)
    await log.close()
    log = await SqliteLog.open(tmp_path)
    await assert_intact(log, other)
    await log.close()


async def test_an_archive_that_rots_is_damage_of_that_stream_only(tmp_path: Path) -> None:
    log = await SqliteLog.open(tmp_path)
    rotten, other = await finished(log, "rotten", texts=9), await finished(log, "other", texts=9)
    await log.compact()
    tamper(tmp_path, "UPDATE archive SET data = zeroblob(20), sum = NULL WHERE stream = 1")
    with pytest.raises(LogCorrupt, match="stream rotten: the chunk at seq 0"):
        await log.read(rotten.id, FROM_START, max_bytes=1)
    await assert_intact(log, other)
    await log.close()


async def test_an_end_that_does_not_decode_is_damage(tmp_path: Path) -> None:
    log = await SqliteLog.open(tmp_path)
    story, other = await finished(log, "s1"), await finished(log, "s2")
    await log.compact()
    tamper(tmp_path, "UPDATE stream SET ended = x'00', sum = NULL WHERE id = 's1'")
    with pytest.raises(LogCorrupt, match="stream s1: its end"):
        await log.get(story.id)
    await assert_intact(log, other)
    await log.close()

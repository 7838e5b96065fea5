"""What is special about the memory log; everything else is in tests/conformance/logs."""

from __future__ import annotations

from headwater.logs import MemoryLog
from headwater.streams.log import (
    Log,
    Query,
    SupportsDelete,
    SupportsEpoch,
    SupportsMaintenance,
    SupportsTrim,
    SupportsWatch,
)
from tests.conformance.logs.stories import assert_intact, begun, finished


async def test_it_has_every_ability() -> None:
    log: Log = MemoryLog()
    for ability in (SupportsWatch, SupportsTrim, SupportsEpoch, SupportsDelete, SupportsMaintenance):
        assert isinstance(log, ability)


async def test_the_oldest_finished_streams_give_way_to_new_ones() -> None:
    """Memory grows with failed streams (litellm #12685, #6404)."""
    log = MemoryLog(max_bytes=5_000)
    running = await begun(log, "a", texts=3)
    for number in range(200):
        newest = await finished(log, f"s{number:03}", texts=3)
    kept = await log.find(Query(limit=1_000))
    assert 5 < len(kept) < 60
    assert [record.id for record in kept[:-1]] == [f"s{199 - n:03}" for n in range(len(kept) - 1)]
    await assert_intact(log, running)
    await assert_intact(log, newest)


async def test_unfinished_streams_stay_whatever_they_cost() -> None:
    log = MemoryLog(max_bytes=1)
    stories = [await begun(log, f"s{number}", texts=20) for number in range(5)]
    for story in stories:
        await assert_intact(log, story)


async def test_compaction_makes_it_smaller() -> None:
    log = MemoryLog()
    story = await finished(log, "s1", texts=500)
    before = log._bytes
    assert await log.compact() == 1
    assert log._bytes < before / 4
    await assert_intact(log, story)

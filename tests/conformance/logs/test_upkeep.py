"""Trim, epochs, deletion, retention, compaction."""

from __future__ import annotations

import asyncio

import pytest

from headwater.errors import SeqConflict
from headwater.events import Seq, StreamId
from headwater.streams.log import FROM_START, Query

from .stories import EVERYTHING, Story, assert_intact, begun, committed, finished, read_all
from .subjects import FullLog, Reopen


@pytest.mark.parametrize("state", ["unfinished", "finished", "compact"])
async def test_trim_forgets_the_front_and_moves_nothing(log: FullLog, state: str) -> None:
    story = await begun(log, "s1", texts=3)
    await committed(log, story.text("a", "b", "c", "d"))
    if state != "unfinished":
        await committed(log, story.end())
    if state == "compact":
        await log.compact()
    for before in (0, 2, 2, 1, 5, 6):  # 5 and 6 lie within one append
        await log.trim(story.id, Seq(before))
        reached = max(before, 2) if before else 0
        record = await log.get(story.id)
        assert record is not None
        assert record.first_seq == reached
        part = await log.read(story.id, FROM_START, max_bytes=EVERYTHING)
        assert part is not None
        assert part.first_seq == reached
        assert await read_all(log, story.id) == story.events[reached:]
    await log.trim(story.id, Seq(10**6))
    record = await log.get(story.id)
    assert record is not None
    assert record.first_seq == record.next_seq == len(story.events)
    assert await read_all(log, story.id) == []
    await log.compact()
    assert await read_all(log, story.id) == []


async def test_a_trimmed_stream_goes_on(log: FullLog, reopen: Reopen) -> None:
    story = await begun(log, "s1", texts=9)
    await log.trim(story.id, Seq(len(story.events)))
    log = await reopen()
    await assert_intact(log, story, first_seq=10)
    await committed(log, story.text("after"))
    await assert_intact(log, story, first_seq=10)
    log = await reopen()
    await assert_intact(log, story, first_seq=10)
    await committed(log, story.end())
    await log.compact()
    log = await reopen()
    await assert_intact(log, story, first_seq=10)


async def test_trim_of_an_unknown_stream_does_nothing(log: FullLog) -> None:
    await log.trim(StreamId("nobody"), Seq(5))
    assert await log.get(StreamId("nobody")) is None


async def test_a_new_epoch_may_belong_to_a_new_boot(log: FullLog, reopen: Reopen) -> None:
    """Else each later start of the same boot would take the stream for one of an older boot, and reset its viewers."""
    story = await begun(log, "s1", texts=1)
    await log.advance_epoch(story.id, boot="b2")
    log = await reopen()
    record = await log.get(story.id)
    assert record is not None
    assert (record.epoch, record.boot) == (2, "b2")
    await log.advance_epoch(story.id)
    record = await log.get(story.id)
    assert record is not None
    assert (record.epoch, record.boot) == (3, "b2")


async def test_epochs_grow(log: FullLog, reopen: Reopen) -> None:
    story = await begun(log, "s1", texts=1)
    assert await log.advance_epoch(story.id) == 2
    assert await log.advance_epoch(story.id) == 3
    await assert_intact(log, story, epoch=3)
    log = await reopen()
    assert await log.advance_epoch(story.id) == 4
    await committed(log, story.end())
    await assert_intact(log, story, epoch=4)
    await log.compact()
    await assert_intact(log, story, epoch=4)


@pytest.mark.parametrize("compact", [False, True])
async def test_only_unfinished_streams_get_a_new_epoch(log: FullLog, *, compact: bool) -> None:
    story = await finished(log, "s1")
    if compact:
        await log.compact()
    with pytest.raises(SeqConflict, match="ended") as ended:
        await log.advance_epoch(story.id)
    assert ended.value.actual == len(story.events)
    with pytest.raises(SeqConflict) as unknown:
        await log.advance_epoch(StreamId("nobody"))
    assert unknown.value.actual == -1


async def test_deleted_streams_are_gone(log: FullLog, reopen: Reopen) -> None:
    kept = await begun(log, "kept", texts=2)
    running = await begun(log, "running", texts=2, key="k")
    done = await finished(log, "done", texts=2)
    compact = await finished(log, "compact", texts=2)
    await log.compact()
    fresh = await finished(log, "fresh", texts=2)
    assert await log.delete([running.id, done.id, StreamId("nobody"), compact.id, fresh.id]) == 4
    for again in (False, True):
        assert await log.delete([running.id, done.id]) == 0
        assert [record.id for record in await log.find(Query())] == ["kept"]
        assert await log.read(compact.id, FROM_START, max_bytes=1) is None
        assert isinstance((await log.commit([running.text("late")]))[0], SeqConflict)
        await assert_intact(log, kept)
        if not again:
            log = await reopen()
    # The key is free again, and a new stream's events are not mixed up with those of deleted ones.
    new = await begun(log, "new", texts=1, key="k")
    await assert_intact(log, new)
    log = await reopen()
    await assert_intact(log, new)


async def test_many_streams_are_deleted_at_once(log: FullLog) -> None:
    stories = [Story(f"s{number:03}") for number in range(150)]
    await committed(log, *(story.create() for story in stories))
    assert await log.delete([story.id for story in stories[1:]]) == 149
    assert [record.id for record in await log.find(Query())] == ["s000"]
    assert await log.delete([]) == 0


async def test_expire_by_age(log: FullLog) -> None:
    old = await finished(log, "s1", texts=1, finished_ms=1_000)
    running = await begun(log, "s2", texts=1)
    young = await finished(log, "s3", texts=1, finished_ms=61_000)
    await log.compact()
    assert await log.expire(now_ms=62_000, max_age_s=None, max_bytes=None) == 0
    assert await log.expire(now_ms=61_000, max_age_s=60.0, max_bytes=None) == 0
    assert await log.expire(now_ms=61_001, max_age_s=60.0, max_bytes=None) == 1
    assert await log.get(old.id) is None
    await assert_intact(log, running)
    await assert_intact(log, young)


async def test_expire_by_age_when_the_clock_stepped_back(log: FullLog) -> None:
    young = await finished(log, "s1", finished_ms=90_000)
    old = await finished(log, "s2", finished_ms=10_000)
    assert await log.expire(now_ms=100_000, max_age_s=50.0, max_bytes=None) == 1
    assert await log.get(old.id) is None
    await assert_intact(log, young)


async def test_expire_by_size(log: FullLog) -> None:
    running = await begun(log, "a", texts=2)
    stories = []
    for number in range(100):
        story = Story(f"s{number:03}", request=bytes(1_000))
        await committed(log, story.create())
        await committed(log, story.end(finished_ms=1_000 + number))
        stories.append(story)
    await log.compact()
    assert await log.expire(now_ms=0, max_age_s=None, max_bytes=10**9) == 0
    gone = await log.expire(now_ms=0, max_age_s=None, max_bytes=50_000)
    assert 50 <= gone < 90
    for story in stories[:gone]:
        assert await log.get(story.id) is None
    await assert_intact(log, stories[gone])
    assert await log.expire(now_ms=0, max_age_s=None, max_bytes=50_000) == 0
    assert await log.expire(now_ms=0, max_age_s=None, max_bytes=0) == 100 - gone
    assert [record.id for record in await log.find(Query())] == ["a"]
    await assert_intact(log, running)


async def test_compaction_counts_finished_streams_once(log: FullLog) -> None:
    running = await begun(log, "a", texts=30)
    stories = [await finished(log, f"s{number}", texts=number) for number in range(5)]
    assert await log.compact() <= 5  # a log may have compacted some by itself
    assert await log.compact() == 0
    for story in (running, *stories):
        await assert_intact(log, story)


async def test_long_streams_compact_exactly(log: FullLog, reopen: Reopen) -> None:
    story = Story("s1")
    await committed(log, story.create())
    for number in range(300):
        await committed(log, story.text(f"{number} " * 100, "and"))
        if number == 150:
            await log.compact()
    await committed(log, story.end())
    await log.compact()
    await assert_intact(log, story)
    log = await reopen()
    await assert_intact(log, story)
    for after in range(-1, len(story.events), 37):
        assert await read_all(log, story.id, after=after, max_bytes=5_000) == story.events[after + 1 :]


async def test_reads_are_exact_at_every_moment_of_compaction(log: FullLog) -> None:
    """A read sees an event once, wherever it is stored just then."""
    stories = [await begun(log, f"s{number}", texts=12) for number in range(8)]
    stop = asyncio.Event()
    rounds = 0

    async def look(story: Story, after: int) -> None:
        nonlocal rounds
        while not stop.is_set():
            record = await log.get(story.id)
            assert record is not None
            events = await read_all(log, story.id, after=after, max_bytes=60)
            assert len(events) >= record.next_seq - after - 1
            assert events == story.events[after + 1 : after + 1 + len(events)]
            rounds += 1
            await asyncio.sleep(0)

    lookers = [asyncio.ensure_future(look(story, after)) for story in stories for after in (-1, 5)]
    for number in range(20):
        appends = [story.text(f"more {number}") for story in stories[4:]]
        await committed(log, *appends)
        await log.compact()
        await asyncio.sleep(0)
    for story in stories:
        await committed(log, story.end())
        await log.compact()
    stop.set()
    await asyncio.gather(*lookers)
    assert rounds >= len(lookers)
    for story in stories:
        await assert_intact(log, story)


async def test_streams_may_be_deleted_and_trimmed_while_they_are_compacted(log: FullLog) -> None:
    stories = [await finished(log, f"s{number}", texts=6) for number in range(12)]
    compacting = asyncio.ensure_future(log.compact())
    for number, story in enumerate(stories):
        if number % 3 == 0:
            assert await log.delete([story.id]) == 1
        elif number % 3 == 1:
            await log.trim(story.id, Seq(4))
        await asyncio.sleep(0)
    await compacting
    await log.compact()
    for number, story in enumerate(stories):
        if number % 3 == 0:
            assert await log.get(story.id) is None
        else:
            await assert_intact(log, story, first_seq=4 if number % 3 == 1 else 0)

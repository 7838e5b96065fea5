"""Reading: any cursor, any page size, watching, finding."""

from __future__ import annotations

import asyncio

import pytest

from headwater.errors import LogCorrupt
from headwater.events import Event, Seq, Text
from headwater.streams.log import FROM_START, Append, Query

from .stories import EVERYTHING, Story, assert_intact, begun, committed, finished, read_all
from .subjects import FullLog, Reopen


@pytest.mark.parametrize("compact", [False, True])
async def test_every_cursor_cuts_exactly(log: FullLog, *, compact: bool) -> None:
    story = await begun(log, "s1", texts=4)
    await committed(log, story.text("a", "b", "c"))
    await committed(log, story.end())
    if compact:
        assert await log.compact() <= 1  # a log may have done it by itself
    for after in range(-1, len(story.events)):
        assert await read_all(log, story.id, after=after) == story.events[after + 1 :]
        part = await log.read(story.id, Seq(after), max_bytes=EVERYTHING)
        assert part is not None
        assert part.record.ended == story.ended


@pytest.mark.parametrize("max_bytes", [1, 50, 100, 333, 1_000, EVERYTHING])
@pytest.mark.parametrize("compact", [False, True])
async def test_pages_add_up(log: FullLog, max_bytes: int, *, compact: bool) -> None:
    story = await begun(log, "s1", texts=20)
    if compact:
        await committed(log, story.end())
        await log.compact()
    assert await read_all(log, story.id, max_bytes=max_bytes) == story.events


async def test_a_page_is_about_max_bytes(log: FullLog) -> None:
    """One write of 91 MB on replay (open-agents PR #276)."""
    story = await begun(log, "s1")
    for _ in range(40):
        await committed(log, story.text("x" * 10_000))
    part = await log.read(story.id, FROM_START, max_bytes=20_000)
    assert part is not None
    assert 2 <= len(part.events) <= 10
    await committed(log, story.end())
    await log.compact()
    part = await log.read(story.id, FROM_START, max_bytes=20_000)
    assert part is not None
    assert 2 <= len(part.events) <= 10
    assert await read_all(log, story.id, max_bytes=20_000) == story.events


async def test_a_cursor_beyond_the_end_reads_nothing(log: FullLog) -> None:
    for story in (await begun(log, "s1", texts=2), await finished(log, "s2", texts=2)):
        for after in (len(story.events) - 1, len(story.events), 10**15):
            part = await log.read(story.id, Seq(after), max_bytes=EVERYTHING)
            assert part is not None
            assert (part.first_seq, part.events) == (len(story.events), [])


async def test_damage_is_told_for_that_stream_only(log: FullLog, reopen: Reopen) -> None:
    sound, damaged = await begun(log, "sound", texts=2), await begun(log, "damaged", texts=1)
    await committed(log, Append(damaged.id, len(damaged.events), 1, b"9[no such version]"))
    damaged.events.append(Text("?"))
    await committed(log, damaged.end(), sound.end())
    for again in (False, True):
        await log.compact()
        with pytest.raises(LogCorrupt, match="damaged"):
            await read_all(log, damaged.id)
        await assert_intact(log, sound)
        assert await log.get(damaged.id) is not None
        assert [record.id for record in await log.find(Query())] == ["sound", "damaged"]
        if not again:
            log = await reopen()
    assert await log.delete([damaged.id]) == 1


async def test_compaction_goes_round_damage(log: FullLog) -> None:
    damaged, sound = await begun(log, "damaged"), await begun(log, "sound", texts=2)
    await committed(log, Append(damaged.id, 1, 1, b"9[no such version]"))
    damaged.events.append(Text("?"))
    await committed(log, damaged.end(), sound.end())
    await log.compact()
    assert await log.compact() == 0
    part = await log.read(damaged.id, FROM_START, max_bytes=1)
    assert part is not None
    assert part.events == damaged.events[:1]
    await assert_intact(log, sound)


async def test_a_segment_that_holds_another_number_of_events_is_damage(log: FullLog) -> None:
    story = await begun(log, "s1")
    append = story.text("one", "two")
    await committed(log, Append(story.id, append.expected_seq, 3, append.segment))
    with pytest.raises(LogCorrupt, match="s1"):
        await log.read(story.id, FROM_START, max_bytes=EVERYTHING)


async def test_watchers_hear_of_every_commit_to_their_stream(log: FullLog) -> None:
    one, two = await begun(log, "s1"), await begun(log, "s2")
    heard: list[str] = []
    undo_first = log.watch(one.id, lambda: heard.append("first"))
    log.watch(one.id, lambda: heard.append("second"))
    log.watch(two.id, lambda: heard.append("two"))
    await committed(log, one.text("a"))
    assert heard == ["first", "second"]
    await log.commit([two.text("b"), Story("s1").text("refused")])
    assert heard[2:] == ["two"]
    undo_first()
    undo_first()
    await committed(log, one.text("c"))
    assert heard[3:] == ["second"]


async def test_a_watcher_that_raises_does_not_undo_the_commit(log: FullLog) -> None:
    story = await begun(log, "s1")
    reports: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reports.append(context))
    heard: list[int] = []

    def broken() -> None:
        raise ValueError("a watcher's own fault")

    log.watch(story.id, broken)
    log.watch(story.id, lambda: heard.append(1))
    await committed(log, story.text("a"))
    assert heard == [1]
    assert [type(report["exception"]) for report in reports] == [ValueError]
    await assert_intact(log, story)


async def test_following_misses_nothing_and_repeats_nothing(log: FullLog) -> None:
    """Replay→live hand-off gap (mercure #178; resumable-stream PR #41)."""
    story = await begun(log, "s1", texts=3)
    seen: list[Event] = []
    news = asyncio.Event()
    undo = log.watch(story.id, news.set)

    async def follow() -> None:
        while True:
            news.clear()
            part = await log.read(story.id, Seq(len(seen) - 1), max_bytes=100)
            assert part is not None
            seen.extend(part.events)
            if len(seen) < part.record.next_seq:
                continue
            if part.record.ended is not None:
                return
            await news.wait()

    follower = asyncio.ensure_future(follow())
    for number in range(60):
        await committed(log, story.text(f"{number} "))
        if number % 20 == 0:
            await log.compact()
    await committed(log, story.end())
    await follower
    undo()
    assert seen == story.events


async def test_find_pages_newest_first(log: FullLog) -> None:
    for number in range(7):
        await (finished if number % 2 else begun)(log, f"s{number}", owner="ann" if number < 5 else "bob")
    await log.compact()
    assert await ids(log, Query()) == ["s6", "s5", "s4", "s3", "s2", "s1", "s0"]
    assert await ids(log, Query(limit=2)) == ["s6", "s5"]
    assert await ids(log, Query(limit=2, before=Story("s5").id)) == ["s4", "s3"]
    assert await ids(log, Query(state="unfinished")) == ["s6", "s4", "s2", "s0"]
    assert await ids(log, Query(state="finished")) == ["s5", "s3", "s1"]
    assert await ids(log, Query(owner="bob")) == ["s6", "s5"]
    assert await ids(log, Query(owner="bob", state="finished", before=Story("s6").id, limit=9)) == ["s5"]
    assert await ids(log, Query(owner="nobody")) == []


async def test_find_by_idempotency_key(log: FullLog) -> None:
    ann, bob = await begun(log, "s1", owner="ann", key="k"), await begun(log, "s2", owner="bob", key="k")
    await begun(log, "s3", owner="ann")
    await committed(log, bob.end())
    await log.compact()
    assert await ids(log, Query(owner="ann", idempotency_key="k")) == [ann.id]
    assert await ids(log, Query(idempotency_key="k")) == [bob.id, ann.id]
    assert await ids(log, Query(owner="ann", idempotency_key="")) == ["s3"]
    assert await ids(log, Query(idempotency_key="other")) == []


async def test_found_records_are_current(log: FullLog) -> None:
    story = await begun(log, "s1", texts=5)
    (record,) = await log.find(Query())
    assert (record.next_seq, record.ended) == (6, None)
    await log.advance_epoch(story.id)
    await log.trim(story.id, Seq(2))
    (record,) = await log.find(Query())
    assert (record.first_seq, record.next_seq, record.epoch) == (2, 6, 2)
    await committed(log, story.end())
    for _ in range(2):
        (record,) = await log.find(Query(state="finished"))
        assert (record.first_seq, record.next_seq, record.epoch, record.ended) == (2, 8, 2, story.ended)
        await log.compact()


async def ids(log: FullLog, query: Query) -> list[str]:
    return [record.id for record in await log.find(query)]

"""Appending: expected seqs, groups, refusals, ends."""

from __future__ import annotations

import asyncio

import pytest

from headwater.errors import LogUnavailable, SeqConflict
from headwater.events import Seq, StreamId
from headwater.streams.log import FROM_START, Query

from .stories import Story, assert_intact, begun, committed, finished, read_all
from .subjects import FullLog, Reopen


async def test_a_new_stream_is_readable_once_it_is_committed(log: FullLog) -> None:
    story = Story("s1", owner="ann", key="k1", request=b'{"model":"m"}')
    assert await log.get(story.id) is None
    assert await log.read(story.id, FROM_START, max_bytes=100) is None
    await committed(log, story.create())
    record = await log.get(story.id)
    assert record is not None
    assert record.next_seq == 1
    assert record.request == b'{"model":"m"}'
    assert (record.owner, record.idempotency_key, record.fingerprint) == ("ann", "k1", "print-s1")
    assert (record.linger_s, record.boot, record.created_ms, record.dialect) == (2.5, "boot", 1_000, "events")
    part = await log.read(story.id, FROM_START, max_bytes=100)
    assert part is not None
    assert part.record == record
    assert (part.first_seq, part.events) == (0, story.events)


async def test_appends_continue_at_the_next_seq(log: FullLog) -> None:
    story = await begun(log, "s1", texts=3)
    await committed(log, story.text("several ", "events ", "at once"))
    await committed(log, story.end())
    await assert_intact(log, story)


async def test_one_group_holds_many_streams(log: FullLog) -> None:
    stories = [Story(f"s{n:03}") for n in range(150)]
    await committed(log, *(story.create() for story in stories))
    await committed(log, *(story.text(f"{n}") for n, story in enumerate(stories)))
    await committed(log, *(story.text("even") if n % 2 else story.end() for n, story in enumerate(stories)))
    for story in stories:
        await assert_intact(log, story)


async def test_an_empty_group_is_fine(log: FullLog) -> None:
    assert list(await log.commit([])) == []


@pytest.mark.parametrize("shift", [-1, 1, 100])
async def test_a_wrong_seq_is_refused_and_leaves_the_others_untouched(log: FullLog, shift: int) -> None:
    good, bad = await begun(log, "good", texts=2), await begun(log, "bad", texts=2)
    wrong = Story("bad")
    wrong.events = bad.events[:1] * (len(bad.events) + shift)
    outcomes = await log.commit([wrong.text("never"), good.text("still here")])
    assert isinstance(outcomes[0], SeqConflict)
    assert (outcomes[0].expected, outcomes[0].actual) == (len(bad.events) + shift, len(bad.events))
    assert outcomes[1] is None
    await assert_intact(log, good)
    await assert_intact(log, bad)


async def test_an_unknown_stream_is_refused(log: FullLog) -> None:
    story = Story("nobody")
    outcomes = await log.commit([story.text("lost")])
    assert isinstance(outcomes[0], SeqConflict)
    assert (outcomes[0].expected, outcomes[0].actual) == (0, -1)
    assert await log.get(story.id) is None


async def test_a_creation_begins_at_seq_0(log: FullLog) -> None:
    story = Story("s1")
    story.text("never sent")
    outcomes = await log.commit([story.create()])
    assert isinstance(outcomes[0], SeqConflict)
    assert await log.get(story.id) is None


@pytest.mark.parametrize("compact", [False, True])
async def test_nothing_follows_an_end(log: FullLog, *, compact: bool) -> None:
    story = await finished(log, "s1", texts=1)
    if compact:
        await log.compact()
    late = Story("s1")
    late.events = list(story.events)
    outcomes = await log.commit([late.text("late")])
    assert isinstance(outcomes[0], SeqConflict)
    # A writer whose first try was stored, though its answer got lost, recognises that by `actual`.
    assert (outcomes[0].expected, outcomes[0].actual) == (len(story.events), len(story.events))
    assert "ended" in outcomes[0].message
    await assert_intact(log, story)


@pytest.mark.parametrize("state", ["unfinished", "finished", "compact"])
async def test_an_id_is_never_used_twice(log: FullLog, state: str) -> None:
    """A reused stream id makes every event "old" (LibreChat PR #13117)."""
    story = await (begun if state == "unfinished" else finished)(log, "s1", texts=2)
    if state == "compact":
        await log.compact()
    again, other = Story("s1"), Story("s2")
    outcomes = await log.commit([again.create(), other.create()])
    assert isinstance(outcomes[0], SeqConflict)
    assert (outcomes[0].expected, outcomes[0].actual) == (0, len(story.events))
    assert outcomes[1] is None
    await assert_intact(log, story)
    await assert_intact(log, other)


@pytest.mark.parametrize("state", ["unfinished", "finished", "compact"])
async def test_an_idempotency_key_makes_one_stream(log: FullLog, state: str) -> None:
    first = await begun(log, "s1", owner="ann", key="k")
    if state != "unfinished":
        await committed(log, first.end())
    if state == "compact":
        await log.compact()
    repeat, other_owner, bystander = Story("s2", owner="ann", key="k"), Story("s3", owner="bob", key="k"), Story("s4")
    outcomes = await log.commit([repeat.create(), other_owner.create(), bystander.create()])
    assert isinstance(outcomes[0], SeqConflict)
    assert outcomes[0].actual == -1
    assert list(outcomes[1:]) == [None, None]
    assert await log.get(repeat.id) is None
    for story in (first, other_owner, bystander):
        await assert_intact(log, story)


async def test_a_refused_creation_may_also_carry_its_end(log: FullLog) -> None:
    await begun(log, "s1", key="k")
    whole, fine = Story("s2", key="k"), Story("s3")
    record, end = whole.record, whole.end()
    refused = type(end)(whole.id, 0, 2, end.segment, record, end.ended)
    end = fine.end()
    taken = type(end)(fine.id, 0, 2, end.segment, fine.record, end.ended)
    outcomes = await log.commit([refused, taken])
    assert isinstance(outcomes[0], SeqConflict)
    assert outcomes[1] is None
    assert await log.get(whole.id) is None
    await assert_intact(log, fine)
    await committed(log, Story("s4").create())


async def test_two_creations_with_one_key_in_one_group(log: FullLog) -> None:
    one, two, three = Story("s1", key="k"), Story("s2", key="k"), Story("s3", key="k")
    outcomes = await log.commit([one.create(), two.create(), three.create()])
    assert outcomes[0] is None
    assert [type(outcome) for outcome in outcomes[1:]] == [SeqConflict, SeqConflict]
    await committed(log, one.text("on"))
    await assert_intact(log, one)


async def test_the_same_append_twice_in_one_group_is_stored_once(log: FullLog) -> None:
    story = await begun(log, "s1")
    append = story.text("once")
    outcomes = await log.commit([append, append])
    assert outcomes[0] is None
    assert isinstance(outcomes[1], SeqConflict)
    await assert_intact(log, story)


async def test_concurrent_groups_are_taken_in_order(log: FullLog) -> None:
    story = await begun(log, "s1")
    groups = [[story.text(f"{n} ")] for n in range(20)]
    outcomes = await asyncio.gather(*(log.commit(group) for group in groups))
    assert [list(outcome) for outcome in outcomes] == [[None]] * 20
    await assert_intact(log, story)


async def test_a_cancelled_commit_is_either_stored_or_not(log: FullLog) -> None:
    story = await begun(log, "s1")
    for number in range(20):
        append = story.text(f"{number} ")
        task = asyncio.ensure_future(log.commit([append]))
        for _ in range(number % 5):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait((task,))
        record = await log.get(story.id)
        assert record is not None
        # The log's own view is exact again with the next commit, whatever became of the cancelled one.
        (outcome,) = await log.commit([append])
        if outcome is not None:
            assert isinstance(outcome, SeqConflict)
            assert outcome.actual == len(story.events)
    await assert_intact(log, story)


async def test_what_is_committed_is_there_after_a_restart(log: FullLog, reopen: Reopen) -> None:
    unfinished = await begun(log, "s1", texts=30, owner="ann", key="k")
    done = await finished(log, "s2", texts=3)
    compact = await finished(log, "s3", texts=9)
    log = await reopen()
    await log.compact()
    await finished(log, "s4")
    log = await reopen()
    for story in (unfinished, done, compact):
        await assert_intact(log, story)
    await committed(log, unfinished.text("goes on"), (new := Story("s5")).create())
    outcomes = await log.commit([Story("s6", owner="ann", key="k").create()])
    assert isinstance(outcomes[0], SeqConflict)
    log = await reopen()
    await assert_intact(log, unfinished)
    await assert_intact(log, new)
    assert [record.id for record in await log.find(Query(state="unfinished"))] == ["s5", "s1"]


async def test_a_closed_log_refuses(log: FullLog) -> None:
    story = await begun(log, "s1")
    await log.close()
    await log.close()
    with pytest.raises(LogUnavailable):
        await log.commit([story.text("late")])
    with pytest.raises(LogUnavailable):
        await log.read(story.id, FROM_START, max_bytes=1)
    with pytest.raises(LogUnavailable):
        await log.get(story.id)
    with pytest.raises(LogUnavailable):
        await log.find(Query())
    with pytest.raises(LogUnavailable):
        await log.trim(story.id, Seq(1))
    with pytest.raises(LogUnavailable):
        await log.advance_epoch(story.id)
    with pytest.raises(LogUnavailable):
        await log.delete([story.id])
    with pytest.raises(LogUnavailable):
        await log.compact()
    with pytest.raises(LogUnavailable):
        await log.expire(now_ms=0, max_age_s=None, max_bytes=0)


async def test_closing_finishes_what_was_committed(log: FullLog, reopen: Reopen) -> None:
    story = await begun(log, "s1")
    commits = [asyncio.ensure_future(log.commit([story.text(f"{n}")])) for n in range(10)]
    await asyncio.sleep(0)
    log = await reopen()
    assert [list(await commit) for commit in commits] == [[None]] * 10
    assert await read_all(log, StreamId("s1")) == story.events

"""The read side of a stream: committed events, the newest of them in memory, and who waits for what."""

from __future__ import annotations

import asyncio

import pytest

from headwater.cursor import Cursor
from headwater.errors import LogUnavailable
from headwater.events import (
    Done,
    Error,
    Event,
    Metadata,
    Reasoning,
    Source,
    Sources,
    Start,
    Status,
    Text,
    ToolCall,
    Usage,
)
from headwater.streams import Channel, Ended, Fold, StreamRecord
from headwater.streams.channel import EVENT_BYTES, outcome

from .kit import MemorySink, PlainEncoder, World, channel_of, publish

START = Start("s", "m", 0)


def test_a_new_channel_is_empty_and_queued() -> None:
    channel = Channel(StreamRecord("s", 5, model="m", provider="p"), Fold(), tail_bytes=100)  # type: ignore[arg-type]
    assert (channel.id, channel.model, channel.provider, channel.created_ms, channel.epoch) == ("s", "m", "p", 5, 1)
    assert (channel.status, channel.next_seq, channel.cursor) == ("queued", 0, None)
    assert not (channel.ended or channel.watched or channel.has_head)


@pytest.mark.parametrize(
    ("ended", "terminal"),
    [
        (Ended("done", 9, Usage(1, 2), "length"), Done("length")),
        (Ended("done", 9, Usage(1, 2), metadata={"cost": {"amount": 1}}), Done("stop")),
        (Ended("cancelled", 9, Usage(1, 2), "cancelled"), Done("cancelled")),
        (Ended("failed", 9, Usage(1, 2), error=Error("x", "y")), Error("x", "y")),
    ],
)
async def test_an_ended_stream_is_known_from_its_record(ended: Ended, terminal: Done | Error) -> None:
    channel = Channel(StreamRecord("s", 5, next_seq=4, ended=ended), Fold(), tail_bytes=0)  # type: ignore[arg-type]
    assert (channel.status, channel.terminal, channel.fold.usage) == (ended.status, terminal, Usage(1, 2))
    assert channel.fold.served == ended.metadata  # the cost in `openai_chat` is the same when the end is read again
    assert not channel.has_whole_fold
    assert channel.ended
    assert await channel.wait_end() == terminal
    await channel.wait_head(1000)
    assert channel.cursor == Cursor(1, 3)


@pytest.mark.parametrize(
    ("terminal", "status"),
    [(Done("stop"), "done"), (Done("length"), "done"), (Done("cancelled"), "cancelled"), (Error("x", "y"), "failed")],
)
def test_the_status_follows_the_committed_end(terminal: Done | Error, status: str) -> None:
    channel = channel_of(START, Text("a"))
    assert channel.status == "streaming"
    publish(channel, Usage(1, 1), terminal)
    assert channel.status == outcome(terminal) == status
    assert channel.terminal == terminal


@pytest.mark.parametrize(
    ("cursor", "next_seq", "reason"),
    [
        (None, 2, None),
        ("", 2, None),
        ("3.2", 3, None),
        ("3.3", 4, None),
        ("3.4", 5, None),
        ("3.1", 2, None),
        ("3.0", 2, "trimmed"),
        ("3.5", 2, "unknown_cursor"),
        ("3.999999999999", 2, "unknown_cursor"),
        ("2.3", 2, "epoch_changed"),
        ("4.3", 2, "epoch_changed"),
        ("garbage", 2, "unknown_cursor"),
        ("3.-1", 2, "unknown_cursor"),
    ],
)
def test_every_cursor_has_an_answer(cursor: str | None, next_seq: int, reason: str | None) -> None:
    """An unknown cursor must not leave its client stuck for ever (mercure #704)."""
    channel = channel_of(Text("c"), Text("d"), Text("e"), first_seq=2, epoch=3)
    assert channel.next_seq == 5
    assert channel.locate(cursor) == (next_seq, reason)


def test_at_the_end_there_is_nothing_more() -> None:
    channel = channel_of(START, Text("a"))
    assert not channel.at_end("1.1")
    publish(channel, Usage(1, 1), Done("stop"))
    assert channel.at_end("1.3")
    for cursor in (None, "1.2", "1.4", "2.3", "x"):
        assert not channel.at_end(cursor)


def test_equal_encoders_are_one() -> None:
    channel = channel_of(START)
    assert channel.encoder(PlainEncoder) is channel.encoder(PlainEncoder)
    assert channel.encoder(lambda view: PlainEncoder(view)) is not channel.encoder(PlainEncoder)


def test_forgotten_encoders_are_made_again() -> None:
    channel = channel_of(START)
    before = channel.encoder(PlainEncoder)
    channel.forget_encoders()
    assert channel.encoder(PlainEncoder) is not before


def test_the_tail_is_bounded() -> None:
    """Memory must not grow with the stream (ai-resumable-stream #7; litellm #12685)."""
    channel = channel_of(START, tail_bytes=10 * (EVENT_BYTES + 4))
    for _ in range(1000):
        publish(channel, Text("four"))
    assert channel.next_seq == 1001
    assert channel.tail_first == 991
    assert channel.tail_from(995) == [Text("four")] * 6
    assert channel.tail_from(1001) == []


@pytest.mark.parametrize(
    "heavy",
    [
        Reasoning("a" * 1000),
        ToolCall(0, arguments="a" * 1000),
        Sources([Source("a" * 1000)]),
        Metadata({"a": "a" * 1000}),
        Text("a", logprobs={"content": ["a" * 1000]}),
    ],
)
def test_the_tail_counts_what_events_hold(heavy: Event) -> None:
    """A source with a whole page in it is not as light as a token."""
    channel = channel_of(START, tail_bytes=10_000)
    for _ in range(100):
        publish(channel, heavy)
    assert channel.next_seq - channel.tail_first <= 10


def test_the_last_batch_stays_however_large() -> None:
    channel = channel_of(START, tail_bytes=10)
    publish(channel, Text("a" * 50), Text("b" * 50))
    assert channel.tail_from(channel.tail_first) == [Text("a" * 50), Text("b" * 50)]


async def _begin(waiter: asyncio.Task[None] | asyncio.Task[Done | Error]) -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiter.done()


@pytest.mark.parametrize("event", [Text("a"), Reasoning("a"), ToolCall(0), Error("x", "y"), Done("stop")])
async def test_the_head_is_content_or_the_end(event: Event) -> None:
    """Between acceptance and the first token there is a signal (cloudflare/agents #1784)."""
    channel = channel_of(START)
    waiter = asyncio.create_task(channel.wait_head(1000))
    await _begin(waiter)
    publish(channel, Status("queued"))
    await _begin(waiter)
    publish(channel, event)
    await waiter
    assert channel.has_head
    await channel.wait_head(1000)


async def test_the_wait_for_the_head_is_bounded_and_leaves_nothing() -> None:
    channel = channel_of(START)
    await channel.wait_head(0.001)
    assert not channel.has_head
    assert channel._head_waiters == []


async def test_a_waiter_that_gives_up_leaves_nothing() -> None:
    channel = channel_of(START)
    for wait in (channel.wait_head(1000), channel.wait_end()):
        waiter = asyncio.create_task(wait)
        await _begin(waiter)
        waiter.cancel()
        await asyncio.wait((waiter,))
    assert channel._head_waiters == channel._end_waiters == []


async def test_everybody_who_waits_for_the_end_gets_it() -> None:
    channel = channel_of(START)
    waiters = [asyncio.create_task(channel.wait_end()) for _ in range(3)]
    await asyncio.sleep(0)
    waiters[0].cancel()
    channel._end_waiters[1].cancel()  # as a loop that shuts down does
    publish(channel, Usage(1, 1), Done("stop"))
    assert await waiters[2] == Done("stop")
    await asyncio.wait(waiters)


async def test_readers_of_a_stream_that_the_log_lost_are_told() -> None:
    """P3 over P1's log: an error in memory, not a silence."""
    channel = channel_of(START)
    head, end = asyncio.create_task(channel.wait_head(1000)), asyncio.create_task(channel.wait_end())
    await _begin(head)
    channel.break_off(LogUnavailable("disk full"))
    for wait in (head, end, channel.wait_head(1000), channel.wait_end()):
        with pytest.raises(LogUnavailable, match="disk full"):
            await wait
    assert (channel.status, channel.ended) == ("recovering", False)


async def test_viewers_of_a_stream_that_the_log_lost_are_told() -> None:
    async with World() as world:
        channel, sink = channel_of(START, Text("a")), MemorySink()
        world.watch(channel, sink)
        channel.break_off(LogUnavailable("disk full"))
        assert getattr(sink.events[-1], "reason", "") == "log_unavailable"
        assert sink.finished
        assert channel.viewers == []


async def test_an_error_told_to_many_readers_does_not_grow() -> None:
    """One exception raised for each of them would otherwise gather the frames of all."""
    channel = channel_of(START)
    channel.break_off(LogUnavailable("disk full"))
    for _ in range(100):
        with pytest.raises(LogUnavailable):
            await channel.wait_end()
    assert channel.failure is not None
    depth, frame = 0, channel.failure.__traceback__
    while frame is not None:
        depth, frame = depth + 1, frame.tb_next
    assert depth < 5


class Explosive(MemorySink):
    def write(self, data: bytes) -> None:
        raise RuntimeError("the transport is closed")


async def test_a_broken_viewer_costs_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    async with World() as world:
        channel = channel_of(START)
        before, broken, after = MemorySink(), Explosive(), MemorySink()
        world.watch(channel, before)
        viewer = world.watch(channel, broken, "1.0")
        world.watch(channel, after)
        publish(channel, Text("a"))
        assert before.text == after.text == "a"
        assert viewer.closed
        assert broken.aborted
        assert "a viewer of stream s failed" in caplog.text
        assert len(channel.viewers) == 2


async def test_holds_and_viewers_are_an_audience() -> None:
    async with World() as world:
        channel = channel_of(START)
        viewer = world.watch(channel, MemorySink())
        assert channel.watched
        channel.holds += 1
        viewer.close()
        assert channel.watched
        channel.holds -= 1
        assert not channel.watched

"""A stream that another process produces: the same bytes, no gap, no repeat, and an end to the following."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from headwater.errors import HeadwaterError, LogError, LogUnavailable, UnknownStream
from headwater.events import Done, Event, Seq, StreamId, Text, Usage, encode_segment
from headwater.streams import Append, Channel, Ended, Fold, Query, Slice, StreamRecord
from headwater.streams.follower import UNWATCHED_S, Follower

from .kit import FaultyLog, MemorySink, World, eventually, fill


class Elsewhere(World):
    """A stream in the log that somebody else writes, and a follower of it here."""

    async def begin(self, *events: Event) -> None:
        record = await fill(self.log, "s", events)
        held = await self.log.get(record.id)
        assert held is not None
        self.channel = Channel(held, Fold(), tail_bytes=32_768)
        self.channel.status = "streaming"
        self.ends = 0
        self.follower = Follower(self.channel, self.log, self._ended)

    def _ended(self) -> None:
        self.ends += 1

    async def append(self, *events: Event, ended: Ended | None = None) -> None:
        record = await self.log.get(StreamId("s"))
        assert record is not None
        segment = encode_segment(events)
        assert await self.log.commit([Append(record.id, record.next_seq, len(events), segment, None, ended)]) == [None]

    async def finish(self) -> None:
        await self.append(Usage(1, 1), Done("stop"), ended=Ended("done", 0, Usage(1, 1), "stop"))


@pytest.fixture
async def elsewhere() -> AsyncIterator[Elsewhere]:
    async with Elsewhere() as elsewhere:
        yield elsewhere
        await elsewhere.follower.stop()
        assert elsewhere.ends == 1
        assert len(elsewhere.log._watchers) == 0


async def test_what_is_written_elsewhere_is_seen_here(elsewhere: Elsewhere) -> None:
    await elsewhere.begin(Text("a"))
    early, late = MemorySink(), MemorySink()
    elsewhere.watch(elsewhere.channel, early)
    await elsewhere.append(Text("b"))
    await elsewhere.append(Text("c"))
    await eventually(lambda: early.text == "abc")
    elsewhere.watch(elsewhere.channel, late, "1.2")
    await elsewhere.finish()
    assert await elsewhere.channel.wait_end() == Done("stop")
    await eventually(lambda: early.finished and late.finished)
    assert (early.text, late.text) == ("abc", "c")
    assert [frame.cursor for frame in early.frames][-1] == "1.5"
    assert elsewhere.channel.status == "done"
    assert elsewhere.channel.fold.usage == Usage(1, 1)


async def test_what_comes_between_the_watch_and_the_first_read_is_not_missed(elsewhere: Elsewhere) -> None:
    """Replay to live: mercure #178; resumable-stream PR #41."""
    await elsewhere.begin(Text("a"))
    await elsewhere.append(Text("b"))
    await eventually(lambda: elsewhere.channel.next_seq == 3)
    elsewhere.log.read_gate = asyncio.Event()
    await elsewhere.append(Text("c"))
    await eventually(lambda: elsewhere.log.reads >= 3)
    await elsewhere.append(Text("d"))
    elsewhere.log.read_gate.set()
    await eventually(lambda: elsewhere.channel.next_seq == 5)
    assert elsewhere.channel.tail_from(2) == [Text("b"), Text("c"), Text("d")]


async def test_reaching_waits_for_what_others_have_seen(elsewhere: Elsewhere) -> None:
    """A cursor of the producing process must not be unknown here (mercure #704)."""
    await elsewhere.begin(Text("a"))
    await elsewhere.follower.reach(2)
    elsewhere.log.read_gate = asyncio.Event()
    await elsewhere.append(Text("b"))
    reaching = [asyncio.create_task(elsewhere.follower.reach(3)) for _ in range(2)]
    await eventually(lambda: len(elsewhere.follower._waiters) == 2)
    reaching[0].cancel()
    assert elsewhere.channel.locate("1.2") == (0, "unknown_cursor")
    elsewhere.log.read_gate.set()
    await reaching[1]
    assert elsewhere.channel.locate("1.2") == (3, None)


async def _broken(elsewhere: Elsewhere, error: type[HeadwaterError], sink: MemorySink) -> None:
    with pytest.raises(error):
        await elsewhere.channel.wait_end()
    assert sink.finished
    assert getattr(sink.events[-1], "reason", None) == error.code
    assert elsewhere.channel.viewers == []
    await elsewhere.follower.reach(1000)  # does not hang


async def test_a_log_that_cannot_be_read_is_told(elsewhere: Elsewhere) -> None:
    await elsewhere.begin(Text("a"))
    sink = MemorySink()
    elsewhere.watch(elsewhere.channel, sink)
    await eventually(lambda: sink.text == "a")
    elsewhere.log.read_error = LogUnavailable("I/O error")
    await elsewhere.append(Text("b"))
    await _broken(elsewhere, LogUnavailable, sink)
    assert sink.frames[-1].cursor == "1.1"


async def test_a_bug_in_the_log_is_told_too(elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture) -> None:
    await elsewhere.begin(Text("a"))
    sink = MemorySink()
    elsewhere.watch(elsewhere.channel, sink)
    await eventually(lambda: sink.text == "a")
    elsewhere.log.read_error = RuntimeError("a bug")
    await elsewhere.append(Text("b"))
    await _broken(elsewhere, LogUnavailable, sink)
    assert "following stream s failed" in caplog.text


async def test_a_stream_that_is_deleted_leaves_nobody_waiting(elsewhere: Elsewhere) -> None:
    """No end (LibreChat #13345: the UI stays loading)."""
    await elsewhere.begin(Text("a"))
    sink = MemorySink()
    elsewhere.watch(elsewhere.channel, sink)
    await eventually(lambda: sink.text == "a")
    await elsewhere.log.delete([StreamId("s")])
    elsewhere.follower._news.set()
    await _broken(elsewhere, UnknownStream, sink)


@pytest.mark.parametrize("change", ["epoch", "trim"])
async def test_a_log_that_was_rebuilt_sends_its_viewers_back(elsewhere: Elsewhere, change: str) -> None:
    """Silent hole after a gap (LibreChat): the same positions may now hold other events."""
    await elsewhere.begin(Text("a"))
    sink = MemorySink()
    elsewhere.watch(elsewhere.channel, sink)
    await eventually(lambda: sink.text == "a" and elsewhere.log.reads >= 2)
    if change == "epoch":
        await elsewhere.log.advance_epoch(StreamId("s"))
        await elsewhere.append(Text("b"))
    else:
        elsewhere.log.read_gate = asyncio.Event()
        await elsewhere.append(Text("b"), Text("c"))
        await elsewhere.log.trim(StreamId("s"), Seq(3))
        elsewhere.log.read_gate.set()
    await _broken(elsewhere, LogUnavailable, sink)
    assert sink.text == "a"


async def test_stopping_tells_who_still_reads(elsewhere: Elsewhere) -> None:
    await elsewhere.begin(Text("a"))
    sink = MemorySink()
    elsewhere.watch(elsewhere.channel, sink)
    await eventually(lambda: sink.text == "a")
    await elsewhere.follower.stop()
    await _broken(elsewhere, LogUnavailable, sink)


async def test_a_follower_stopped_before_its_first_step_leaves_nothing(elsewhere: Elsewhere) -> None:
    await elsewhere.begin()
    await elsewhere.follower.stop()
    assert elsewhere.ends == 1


async def test_without_an_audience_it_stops(elsewhere: Elsewhere) -> None:
    """Nothing leaks: the process that wrote the stream may be dead, and its end never come."""
    await elsewhere.begin(Text("a"))
    follower, channel = elsewhere.follower, elsewhere.channel
    follower.sweep(100.0)
    follower.sweep(100.0 + UNWATCHED_S - 1)
    channel.holds = 1
    follower.sweep(100.0 + UNWATCHED_S)
    channel.holds = 0
    follower.sweep(200.0)
    follower.sweep(200.0 + UNWATCHED_S - 1)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert elsewhere.ends == 0
    follower.sweep(200.0 + UNWATCHED_S)
    await eventually(lambda: elsewhere.ends == 1)


class Mute:
    """A log that cannot notify: only the five methods."""

    def __init__(self, log: FaultyLog) -> None:
        self._log = log

    async def commit(self, appends: Sequence[Append]) -> Sequence[LogError | None]:
        return await self._log.commit(appends)

    async def read(self, stream: StreamId, after: Seq, *, max_bytes: int) -> Slice | None:
        return await self._log.read(stream, after, max_bytes=max_bytes)

    async def get(self, stream: StreamId) -> StreamRecord | None:
        return await self._log.get(stream)

    async def find(self, query: Query) -> list[StreamRecord]:
        return await self._log.find(query)

    async def close(self) -> None:
        await self._log.close()


async def test_a_log_that_cannot_notify_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.streams.follower.POLL_S", 0.001)
    async with Elsewhere() as elsewhere:
        await elsewhere.begin(Text("a"))
        await elsewhere.follower.stop()
        channel = Channel(elsewhere.channel.record, Fold(), tail_bytes=0)
        channel.status = "streaming"
        Follower(channel, Mute(elsewhere.log), lambda: None)
        await elsewhere.append(Text("b"))
        await eventually(lambda: channel.next_seq == 3)
        await elsewhere.finish()
        assert await channel.wait_end() == Done("stop")

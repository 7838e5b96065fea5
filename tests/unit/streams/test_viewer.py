"""One viewer: whatever its sink does, it gets every event after its cursor, once, in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest

from headwater.cursor import parse_cursor
from headwater.errors import LogCorrupt, LogUnavailable
from headwater.events import Done, Event, Seq, Start, Status, StreamId, Text, Usage, encode_segment
from headwater.streams import Append, Channel, Ended, Fold, Slice, history
from headwater.streams import viewer as viewer_module
from headwater.streams.viewer import WRITE_BYTES, Viewer

from .kit import FaultyLog, MemorySink, PlainEncoder, Script, World, channel_of, eventually, fill, publish

START = Start("s", "m", 0)
END: list[Event] = [Usage(1, 1), Done("stop")]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World() as world:
        yield world


async def stored(world: World, *events: Event) -> Channel:
    """A live channel of which nothing is in memory: catching up means reading the log."""
    record = await fill(world.log, "s", events)
    held = await world.log.get(record.id)
    assert held is not None
    channel = Channel(held, Fold(), tail_bytes=0)
    channel.status = "streaming"
    return channel


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_viewer_at_the_tail_is_written_to_from_the_commit(world: World) -> None:
    channel, sink = channel_of(START), MemorySink()
    viewer = world.watch(channel, sink)
    publish(channel, Text("a"), now=5.0)
    publish(channel, Text("b"), Text("c"), now=7.0)
    assert [frame.cursor for frame in sink.frames] == ["1.0", "1.1", "1.2", "1.3"]
    assert len(sink.chunks) == 3  # one write a commit
    assert viewer.last_write == 7.0
    assert not viewer.catching_up
    publish(channel, *END)
    assert sink.finished
    assert viewer.closed
    assert channel.viewers == []


async def test_what_was_there_before_comes_as_one_write(world: World) -> None:
    """Refresh must not lose the text before the refresh (open-webui #29596)."""
    channel, sink = channel_of(START, Text("a"), Text("b"), Text("c")), MemorySink()
    world.watch(channel, sink)
    assert [(frame.cursor, frame.event) for frame in sink.frames] == [("1.0", START), ("1.3", Text("abc"))]
    assert len(sink.chunks) == 1


async def test_an_ended_stream_is_replayed_and_finished(world: World) -> None:
    channel, sink = channel_of(START, Text("a"), *END), MemorySink()
    viewer = world.watch(channel, sink, "1.1")
    assert sink.events == END
    assert sink.finished
    assert viewer.closed


async def test_a_viewer_at_the_end_is_finished_at_once(world: World) -> None:
    channel, sink = channel_of(START, *END), MemorySink()
    world.watch(channel, sink, "1.2")
    assert sink.chunks == []
    assert sink.finished


class Counting(PlainEncoder):
    encoded = 0

    def encode(self, seq: int, event: Event) -> bytes:
        type(self).encoded += 1
        return super().encode(seq, event)


async def test_equal_viewers_share_one_encoded_copy(world: World) -> None:
    class Mine(Counting):
        pass

    channel = channel_of()
    sinks = [MemorySink() for _ in range(5)]
    for sink in sinks:
        viewer = Viewer(
            channel, channel.encoder(Mine), sink, log=world.log, next_seq=0, now=0.0, on_closed=lambda _: None
        )
        channel.viewers.append(viewer)
        viewer.start(None)
    publish(channel, START, Text("a"))
    publish(channel, Text("b"))
    assert Mine.encoded == 3
    assert {b"".join(sink.chunks) for sink in sinks} == {b"".join(sinks[0].chunks)}
    assert sinks[0].text == "ab"


class Silent(PlainEncoder):
    """Some dialects have no frame for some events."""

    def encode(self, seq: int, event: Event) -> bytes:
        return super().encode(seq, event) if isinstance(event, Text) else b""


async def test_an_event_without_a_frame_is_passed_and_nothing_is_written(world: World) -> None:
    channel, sink = channel_of(START), MemorySink()
    viewer = Viewer(channel, Silent(channel), sink, log=world.log, next_seq=0, now=1.0, on_closed=lambda _: None)
    channel.viewers.append(viewer)
    viewer.start(None)
    publish(channel, Usage(1, 1), now=9.0)
    assert (sink.chunks, viewer.next_seq, viewer.last_write) == ([], 2, 1.0)
    publish(channel, Text("a"))
    assert [frame.cursor for frame in sink.frames] == ["1.2"]


async def test_a_sink_that_takes_nothing_costs_nothing_and_catches_up_merged(world: World) -> None:
    """A frozen client must not hang the sender (sse-starlette #89, PR #208)."""
    channel, sink = channel_of(START), MemorySink(budget=1)
    viewer = world.watch(channel, sink)
    for word in "abcdef":
        publish(channel, Text(word))
    assert len(sink.frames) == 1
    assert viewer.catching_up
    sink.open_up()
    assert [(frame.cursor, frame.event) for frame in sink.frames[1:]] == [("1.6", Text("abcdef"))]
    publish(channel, Text("g"))
    assert sink.frames[-1].cursor == "1.7"


async def test_a_slow_sink_gets_no_more_than_it_asked_for(world: World) -> None:
    """One write of 91 MB on replay (open-agents PR #276)."""
    big = "a" * 40_000
    channel, sink = channel_of(*[Text(big, choice=i) for i in range(20)], tail_bytes=2**22), MemorySink(budget=1)
    viewer = world.watch(channel, sink)
    seen = 0
    while viewer.catching_up:
        written = sum(map(len, sink.chunks))
        assert written - seen <= WRITE_BYTES + 41_000
        seen = written
        sink.open_up(budget=1)
    assert [frame.cursor for frame in sink.frames] == [f"1.{seq}" for seq in range(20)]


async def test_a_large_commit_comes_in_portions_and_only_while_they_are_taken(world: World) -> None:
    """What a frozen peer can cost is bounded also where the batch is not (open-agents PR #276)."""
    big = "a" * 40_000
    channel, frozen, fine = channel_of(START, tail_bytes=2**22), MemorySink(budget=500), MemorySink()
    for sink in (frozen, fine):
        world.watch(channel, sink)
    publish(channel, *[Text(big, choice=i) for i in range(5)], now=1.0)
    assert [frame.cursor for frame in fine.frames] == [f"1.{seq}" for seq in range(6)]
    assert [frame.cursor for frame in frozen.frames] == ["1.0", "1.1", "1.2"]
    frozen.open_up()
    assert frozen.events == fine.events


async def test_a_sink_whose_viewer_left_may_still_become_writable(world: World) -> None:
    channel, sink = channel_of(START), MemorySink(budget=0)
    world.watch(channel, sink).close()
    sink.open_up()
    assert sink.chunks == []


async def test_a_fast_sink_gets_large_catch_ups_in_several_writes(world: World) -> None:
    big = "a" * 40_000
    channel, sink = channel_of(*[Text(big, choice=i) for i in range(5)], tail_bytes=2**22), MemorySink()
    world.watch(channel, sink)
    assert len(sink.chunks) == 3
    assert len(sink.frames) == 5


class Fragile(MemorySink):
    """Its peer goes away during the write number `at`, and it says so at once."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at
        self.leave: Callable[[], None] = lambda: None

    def write(self, data: bytes) -> None:
        super().write(data)
        if len(self.chunks) == self.at:
            self.leave()
            self.finished = True


async def test_a_peer_that_leaves_during_a_write_gets_no_more(world: World) -> None:
    big = "a" * 40_000
    channel, sink = channel_of(START), Fragile(at=2)
    viewer = world.watch(channel, sink)
    sink.leave = viewer.close
    publish(channel, Text("a"))
    publish(channel, Text("b"))
    assert len(sink.chunks) == 2

    channel = channel_of(*[Text(big, choice=i) for i in range(8)], tail_bytes=2**22)
    sink = Fragile(at=2)
    viewer = Viewer(channel, PlainEncoder(channel), sink, log=world.log, next_seq=0, now=0, on_closed=lambda _: None)
    sink.leave = viewer.close
    viewer.start(None)
    assert len(sink.chunks) == 2


async def test_a_viewer_that_another_one_closed_is_not_written_to(world: World) -> None:
    channel, first, second = channel_of(START), Fragile(at=2), MemorySink()
    world.watch(channel, first)
    first.leave = world.watch(channel, second).close
    publish(channel, Text("a"))
    assert second.text == ""


@pytest.mark.parametrize("cursor", [None, "1.0", "1.1", "1.2"])
async def test_beyond_the_tail_the_log_is_read(world: World, cursor: str | None) -> None:
    channel, sink = await stored(world, Text("a"), Text("b")), MemorySink()
    world.watch(channel, sink, cursor)
    await eventually(lambda: not channel.viewers[0].catching_up)
    assert sink.text == {None: "ab", "1.0": "ab", "1.1": "b", "1.2": ""}[cursor]
    publish(channel, Text("c"), *END)
    assert sink.text.endswith("c")
    assert sink.finished


async def test_a_log_that_is_ahead_of_the_channel_is_not_read_ahead(world: World) -> None:
    """Between a commit and its callback the log holds more. A viewer that took it from there would never be finished
    (LibreChat #13345), and its cursor would be unknown if it came back at once (mercure #704).
    """
    channel = await stored(world, Text("a"), Text("b"))
    segment = encode_segment([Text("c"), *END])
    assert await world.log.commit([Append(StreamId("s"), 3, 3, segment, None, None)]) == [None]
    sink, again = MemorySink(), MemorySink()
    viewer = world.watch(channel, sink)
    await eventually(lambda: not viewer.catching_up)
    assert sink.text == "ab"
    world.watch(channel, again, sink.frames[-1].cursor)
    publish(channel, Text("c"), *END)
    assert (sink.text, again.text, again.words) == ("abc", "c", [])
    assert sink.finished
    assert again.finished


async def test_the_hand_off_from_log_to_tail_has_no_gap_and_no_repeat(world: World) -> None:
    """Replay to live: mercure #178; resumable-stream PR #41."""
    channel, sink = await stored(world, Text("a")), MemorySink()
    world.log.read_gate = asyncio.Event()
    world.watch(channel, sink)
    await _turns()
    publish(channel, Text("b"))
    assert sink.chunks == []
    world.log.read_gate.set()
    await eventually(lambda: sink.text == "ab")
    publish(channel, Text("c"), *END)
    assert sink.text == "abc"
    assert sink.finished


async def test_a_sink_that_stops_while_the_log_is_read_goes_on_later(world: World) -> None:
    big = "a" * 40_000
    channel = await stored(world, *[Text(big, choice=i) for i in range(12)])
    sink = MemorySink(budget=1)
    viewer = world.watch(channel, sink)
    for _ in range(20):
        await eventually(lambda: viewer._reading is None)
        if not viewer.catching_up:
            break
        sink.open_up(budget=1)
    await eventually(lambda: not viewer.catching_up)
    seqs = [int(frame.cursor.partition(".")[2]) for frame in sink.frames]
    assert seqs == list(range(13))


async def test_the_log_is_read_in_parts(world: World) -> None:
    big = "a" * 100_000
    channel, sink = await stored(world), MemorySink()
    record = await world.log.get(StreamId("s"))
    assert record is not None
    writer = world.generations.take_up(record, Fold(), lambda: pytest.fail("not produced")).writer
    for i in range(6):
        writer.write([Text(big, choice=i)])
        await writer.flush()
    held = await world.log.get(record.id)
    assert held is not None
    channel = Channel(held, Fold(), tail_bytes=0)
    channel.status = "streaming"
    viewer = world.watch(channel, sink)
    await eventually(lambda: not viewer.catching_up)
    assert world.log.reads >= 2
    assert [frame.cursor for frame in sink.frames] == [f"1.{seq}" for seq in range(7)]


@pytest.mark.parametrize("delete", [False, True])
async def test_a_log_that_cannot_be_read_is_told_and_the_cursor_stays_good(world: World, delete: bool) -> None:
    channel, sink = await stored(world, Text("a"), Text("b")), MemorySink()
    if delete:
        await world.log.delete([StreamId("s")])
    else:
        world.log.read_error = LogUnavailable("I/O error")
    viewer = world.watch(channel, sink, "1.1")
    await viewer.wait_closed()
    (frame,) = sink.frames
    assert frame.cursor == "1.1"
    assert getattr(frame.event, "reason", "") == ("stream_not_found" if delete else "log_unavailable")
    assert sink.finished


async def test_a_viewer_with_nothing_comes_back_to_everything(world: World) -> None:
    """The error's id must not be a cursor that skips the events which the viewer never got (mercure #178)."""
    channel, sink = await stored(world, Text("a")), MemorySink()
    world.log.read_error = LogUnavailable("I/O error")
    await world.watch(channel, sink).wait_closed()
    (frame,) = sink.frames
    assert parse_cursor(frame.cursor) is None
    world.log.read_error = None
    again = MemorySink()
    viewer = world.watch(channel, again, frame.cursor)
    await eventually(lambda: not viewer.catching_up)
    assert again.words == ["!reset unknown_cursor"]
    assert again.text == "a"
    assert isinstance(again.events[0], Start)


class Holes(FaultyLog):
    """A log whose answers have events missing."""

    answer: Callable[[Slice], Slice] = staticmethod(lambda part: part)

    async def read(self, stream: StreamId, after: Seq, *, max_bytes: int) -> Slice | None:
        part = await super().read(stream, after, max_bytes=max_bytes)
        assert part is not None
        return type(self).answer(part)


async def test_a_hole_in_the_log_is_an_error_not_a_silence() -> None:
    """Silent hole after a gap (LibreChat)."""

    class Empty(Holes):
        answer = staticmethod(lambda part: msgspec.structs.replace(part, events=[]))

    async with World(Empty()) as world:
        channel, sink = await stored(world, Text("a")), MemorySink()
        await world.watch(channel, sink, "1.0").wait_closed()
        assert [getattr(event, "reason", "") for event in sink.events] == [LogCorrupt.code]


@pytest.mark.parametrize("leaves", [False, True])
async def test_what_was_trimmed_meanwhile_is_a_reset(leaves: bool) -> None:
    async with World() as world:
        channel = await stored(world, Text("a"), Text("b"), Text("c"))
        sink = Fragile(at=1 if leaves else -1)
        world.log.read_gate = asyncio.Event()
        viewer = world.watch(channel, sink, "1.0")
        sink.leave = viewer.close
        await world.log.trim(StreamId("s"), Seq(3))
        world.log.read_gate.set()
        await eventually(lambda: viewer.closed or not viewer.catching_up)
        assert sink.words == ["!reset trimmed"]
        assert [frame.cursor for frame in sink.frames if frame.cursor] == ([] if leaves else ["1.3"])


async def test_an_unknown_cursor_is_reset_before_the_replay(world: World) -> None:
    channel, sink = channel_of(START, Text("a")), MemorySink()
    world.watch(channel, sink, "7.0")
    assert sink.frames[0].word == "!reset epoch_changed"
    assert sink.text == "a"


async def test_a_broken_log_object_cuts_its_viewer(world: World, caplog: pytest.LogCaptureFixture) -> None:
    channel, sink = await stored(world, Text("a")), MemorySink()
    world.log.read_error = RuntimeError("a bug")
    viewer = world.watch(channel, sink)
    await viewer.wait_closed()
    assert sink.aborted
    assert "a viewer of stream s failed" in caplog.text


class BrokenEncoder(PlainEncoder):
    heartbeat = b"!hb\n"

    def encode(self, seq: int, event: Event) -> bytes:
        raise ValueError("a bug")

    def reset(self, reason: str) -> bytes:
        raise ValueError("a bug")


def _broken(world: World, channel: Channel, sink: MemorySink, *, next_seq: int) -> Viewer:
    viewer = Viewer(
        channel,
        BrokenEncoder(channel),
        sink,
        log=world.log,
        next_seq=next_seq,
        now=0.0,
        on_closed=channel.viewers.remove,
    )
    channel.viewers.append(viewer)
    return viewer


@pytest.mark.parametrize(
    "meet",
    [
        lambda viewer: viewer.start("unknown_cursor"),
        lambda viewer: viewer.start(None),
        lambda viewer: viewer.pull(),
        lambda viewer: viewer.fail(LogUnavailable("x")),
    ],
    ids=["reset", "start", "pull", "fail"],
)
async def test_a_broken_encoder_cuts_its_viewer_and_raises_nowhere(
    world: World, meet: Callable[[Viewer], None], caplog: pytest.LogCaptureFixture
) -> None:
    """An exception here would otherwise end in the commit, the sweep or the shutdown that met it."""
    channel, sink = channel_of(START), MemorySink()
    viewer = _broken(world, channel, sink, next_seq=0)
    meet(viewer)
    assert viewer.closed
    assert sink.aborted
    assert channel.viewers == []
    assert "failed" in caplog.text


class BrokenSink(MemorySink):
    def write(self, data: bytes) -> None:
        raise RuntimeError("closed")

    def abort(self) -> None:
        self.aborted = True
        raise RuntimeError("closed twice")


@pytest.mark.parametrize(
    "meet", [lambda viewer: viewer.heartbeat(5.0), lambda viewer: viewer.dismiss(2000)], ids=["heartbeat", "dismiss"]
)
async def test_a_broken_sink_is_let_go(
    world: World, meet: Callable[[Viewer], None], caplog: pytest.LogCaptureFixture
) -> None:
    channel, sink = channel_of(START), BrokenSink()
    viewer = world.watch(channel, sink, "1.0")
    meet(viewer)
    assert viewer.closed
    assert sink.aborted
    assert channel.viewers == []
    assert "cannot be cut" in caplog.text


async def test_a_heartbeat_is_a_write(world: World) -> None:
    channel, sink = channel_of(START), MemorySink()
    viewer = world.watch(channel, sink)
    viewer.heartbeat(11.0)
    assert sink.words == ["!hb"]
    assert viewer.last_write == 11.0


async def test_dismissal_says_when_to_come_back(world: World) -> None:
    channel, sink = channel_of(START), MemorySink()
    viewer = world.watch(channel, sink)
    viewer.dismiss(1500)
    assert sink.words == ["retry: 1500"]
    assert sink.finished


async def test_a_dialect_may_have_its_own_word_for_coming_back(world: World) -> None:
    class Leaving(PlainEncoder):
        def reconnect(self, retry_ms: int) -> bytes:
            return b"!reconnect %d\n" % retry_ms

    channel, sink = channel_of(START), MemorySink()
    viewer = Viewer(channel, Leaving(channel), sink, log=world.log, next_seq=0, now=0.0, on_closed=lambda _: None)
    viewer.dismiss(1500)
    assert sink.words == ["retry: 1500", "!reconnect 1500"]
    assert sink.finished


class Spans(PlainEncoder):
    """Its frames tell which events they stand for."""

    def encode(self, seq: int, event: Event) -> bytes:
        return self.encode_run(seq, seq, event)

    def encode_run(self, first_seq: int, seq: int, event: Event) -> bytes:
        return b"!%d to %d\n" % (first_seq, seq)


@pytest.mark.parametrize(("next_seq", "spans"), [(0, ["!0 to 0", "!1 to 3"]), (2, ["!2 to 3"])])
async def test_an_encoder_may_be_told_where_merged_events_began(world: World, next_seq: int, spans: list[str]) -> None:
    texts = [Text("a"), Text("b"), Text("c")]
    for channel in (channel_of(START, *texts), await stored(world, *texts)):
        sink = MemorySink()
        viewer = Viewer(
            channel, Spans(channel), sink, log=world.log, next_seq=next_seq, now=0.0, on_closed=lambda _: None
        )
        channel.viewers.append(viewer)
        viewer.start(None)
        await eventually(lambda: not viewer.catching_up)  # noqa: B023 - awaited before the next
        publish(channel, Text("d"))
        assert sink.words == [*spans, "!4 to 4"]


class Counter(PlainEncoder):
    """Its frames tell the number of texts before them."""

    reads_fold = True

    def encode(self, seq: int, event: Event) -> bytes:
        return b"!%d of %d\n" % (self._view.fold.text_number(seq), self._view.fold.texts)


@pytest.mark.parametrize("next_seq", [2, 4])
async def test_an_encoder_that_reads_the_fold_finds_all_of_an_ended_stream_in_it(world: World, next_seq: int) -> None:
    events = [Text("a"), Status("recovering"), Text("b", choice=1), Text("c"), *END]
    record = await fill(world.log, "s", events, ended=Ended("done", 1, Usage(1, 1), "stop"))
    held = await world.log.get(record.id)
    assert held is not None
    channel, sink = Channel(held, Fold(), tail_bytes=0), MemorySink()
    viewer = Viewer(
        channel, Counter(channel), sink, log=world.log, next_seq=next_seq, now=0.0, on_closed=lambda _: None
    )
    viewer.start(None)
    await viewer.wait_closed()
    assert "!2 of 3" in sink.words  # the text at seq 4, whatever was read before it
    assert channel.has_whole_fold
    assert sink.finished


async def test_what_decodes_of_a_damaged_stream_is_shown_without_its_fold(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewer_module, "READ_BYTES", 1)
    monkeypatch.setattr(history, "READ_BYTES", 1)
    record = await fill(world.log, "s", [Text("a")])
    ended = Ended("done", 1, Usage(1, 1), "stop")
    await world.log.commit([Append(record.id, Seq(2), 1, b"1[5]", ended=ended)])
    held = await world.log.get(record.id)
    assert held is not None
    channel, sink = Channel(held, Fold(), tail_bytes=0), MemorySink()
    viewer = Viewer(channel, Counter(channel), sink, log=world.log, next_seq=0, now=0.0, on_closed=lambda _: None)
    viewer.start(None)
    await viewer.wait_closed()
    assert len(sink.words) == 3  # start, text, and the error
    assert sink.finished


async def test_a_fold_that_cannot_be_read_ends_the_viewer_with_the_error(world: World) -> None:
    record = await fill(world.log, "s", [Text("a"), *END], ended=Ended("done", 1, Usage(1, 1), "stop"))
    held = await world.log.get(record.id)
    assert held is not None
    world.log.read_error = LogUnavailable("gone")
    channel, sink = Channel(held, Fold(), tail_bytes=0), MemorySink()
    viewer = Viewer(channel, Counter(channel), sink, log=world.log, next_seq=0, now=0.0, on_closed=lambda _: None)
    viewer.start(None)
    await viewer.wait_closed()
    assert sink.finished
    assert not channel.has_whole_fold


async def test_nothing_follows_a_close(world: World) -> None:
    channel, sink = channel_of(START), MemorySink()
    viewer = world.watch(channel, sink)
    viewer.close()
    written = list(sink.chunks)
    viewer.close()
    viewer.finish()
    viewer.abort()
    viewer.dismiss(1)
    viewer.heartbeat(1.0)
    viewer.fail(LogUnavailable("x"))
    viewer.pull()
    publish(channel, Text("a"))
    assert sink.chunks == written
    assert not (sink.finished or sink.aborted)


async def test_a_frozen_viewer_is_cut(world: World) -> None:
    channel, sink = channel_of(START), MemorySink(budget=0)
    viewer = world.watch(channel, sink)
    viewer.abort()
    assert sink.aborted
    assert not sink.finished
    assert viewer.closed


async def test_closing_stops_the_read(world: World) -> None:
    channel, sink = await stored(world, Text("a")), MemorySink()
    world.log.read_gate = asyncio.Event()
    viewer = world.watch(channel, sink)
    await _turns()
    viewer.close()
    task = viewer._reading
    assert task is not None
    await asyncio.wait((task,))
    assert task.cancelled()
    assert sink.chunks == []


async def test_waiting_for_the_close(world: World) -> None:
    viewer = world.watch(channel_of(START), MemorySink())
    waiters = [asyncio.create_task(viewer.wait_closed()) for _ in range(3)]
    await _turns()
    waiters[0].cancel()
    await asyncio.wait((waiters[0],))
    assert not waiters[1].done()
    viewer.close()
    await asyncio.gather(*waiters[1:])
    await viewer.wait_closed()


async def test_a_close_is_told_though_its_waiter_was_cancelled(world: World) -> None:
    viewer = world.watch(channel_of(START), MemorySink())
    waiter = asyncio.create_task(viewer.wait_closed())
    await _turns()
    assert viewer._waiter is not None
    viewer._waiter.cancel()
    await asyncio.wait((waiter,))
    viewer.close()
    assert viewer.closed


async def test_a_stream_that_the_log_lost_gives_what_it_has_then_the_error(world: World) -> None:
    """A partial answer is kept, and a cursor in the middle is not answered with the error alone."""
    channel = channel_of(START, Text("a"), Text("b"))
    watching, late, fresh = MemorySink(), MemorySink(), MemorySink()
    world.watch(channel, watching)
    channel.break_off(LogUnavailable("disk full"))
    world.watch(channel, late, "1.1")
    world.watch(channel, fresh)
    for sink, text in ((watching, "ab"), (late, "b"), (fresh, "ab")):
        assert sink.text == text
        assert getattr(sink.events[-1], "reason", "") == "log_unavailable"
        assert sink.frames[-1].cursor == "1.2"
        assert sink.finished
    assert channel.viewers == []


async def test_progress_is_no_stall(world: World) -> None:
    """A slow reader is not a frozen one, though its sink is full whenever somebody looks."""
    channel, sink = channel_of(START), MemorySink(budget=0)
    viewer = world.watch(channel, sink)
    viewer.stalled_since = 5.0
    sink.open_up(budget=1)
    assert viewer.stalled_since is None


async def test_how_a_viewer_parted(world: World) -> None:
    generation = await world.create(Script())
    channel = generation.channel
    lost, away, cut = (world.watch(channel, MemorySink()) for _ in range(3))
    assert lost.parting is None
    lost.close()
    away.dismiss(1000)
    cut.abort()
    assert [viewer.parting for viewer in (lost, away, cut)] == ["lost", "sent_away", "lost"]
    stays = world.watch(channel, MemorySink())
    generation.cancel()
    await channel.wait_end()
    assert stays.parting == "finished"

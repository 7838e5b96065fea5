"""The write side: terminal rules, usage on every path, what cannot be stored, bounded waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from headwater.errors import (
    HeadwaterError,
    LogError,
    LogUnavailable,
    ProducerFailed,
    ProviderRejected,
    ProviderTimeout,
    SeqConflict,
    StreamEnded,
    StreamLimit,
)
from headwater.events import (
    Done,
    Error,
    Event,
    JsonObject,
    Metadata,
    Reasoning,
    Start,
    Status,
    StreamId,
    Terminal,
    Text,
    ToolCall,
    Usage,
)
from headwater.streams import Channel, Fold, StreamSettings
from headwater.streams.admission import Gate
from headwater.streams.committer import Committer
from headwater.streams.lifecycle import Signal
from headwater.streams.ports import Watch
from headwater.streams.writer import StreamWriter, error_event

from .kit import FaultyLog, MemorySink, World, eventually, fill, store


class Bench(World):
    """A writer without a generation around it."""

    def writer(self, *, prompt_characters: int = 0) -> StreamWriter:
        record = self.record()
        channel = Channel(record, Fold(), tail_bytes=32_768)
        self.closed: list[LogError | None] = []
        writer = StreamWriter(
            channel,
            self.committer,
            self.settings,
            create=record,
            prompt_characters=prompt_characters,
            on_closed=self.closed.append,
        )
        writer.write([Start(record.id, "m", 0)])
        channel.signal(Signal.ADMIT)
        channel.signal(Signal.CONNECT)
        return writer

    def stored(self, writer: StreamWriter) -> list[Event]:
        return self.log.committed(writer.channel.id)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with Bench() as bench:
        yield bench


async def test_nothing_is_seen_before_it_is_stored(bench: Bench) -> None:
    """P1."""
    writer = bench.writer()
    await writer.flush()
    bench.log.gate = asyncio.Event()
    writer.write([Text("a")])
    await asyncio.sleep(0.01)
    assert writer.channel.next_seq == 1
    assert writer.fold.has_content
    bench.log.gate.set()
    await writer.flush()
    assert writer.channel.next_seq == 2
    assert bench.stored(writer)[1:] == [Text("a")]


async def test_flushing_waits_for_all_that_was_written(bench: Bench) -> None:
    writer = bench.writer()
    bench.log.gate = asyncio.Event()
    first = asyncio.create_task(writer.flush())
    await asyncio.sleep(0.01)
    writer.write([Text("a")])
    second = asyncio.create_task(writer.flush())
    gone = asyncio.create_task(writer.flush())
    await asyncio.sleep(0)
    gone.cancel()
    bench.log.gate.set()
    await first
    await second
    assert len(bench.stored(writer)) == 2
    await writer.flush()


async def test_a_flush_is_not_done_before_its_own_events_are(bench: Bench) -> None:
    writer = bench.writer()
    await writer.flush()
    bench.log.gate = asyncio.Event()
    writer.write([Text("a")])
    await eventually(lambda: writer._inflight)
    writer.write([Text("b")])
    flushing = asyncio.create_task(writer.flush())
    await asyncio.sleep(0)
    seen = len(bench.stored(writer))
    bench.log.gate.set()
    await flushing
    assert (seen, len(bench.stored(writer))) == (1, 3)


async def test_done_ends_it_with_estimated_usage(bench: Bench) -> None:
    """Usage is settled on every path (vercel/ai #7628)."""
    writer = bench.writer(prompt_characters=40)
    writer.write([Text("a" * 8), Done("length")])
    end = await writer.channel.wait_end()
    assert end == Done("length")
    assert bench.stored(writer)[-2:] == [Usage(10, 2, "estimated"), Done("length")]
    record = await bench.log.get(StreamId(writer.channel.id))
    assert record is not None
    assert record.ended is not None
    assert (record.ended.status, record.ended.finish_reason, record.ended.usage.source) == (
        "done",
        "length",
        "estimated",
    )
    assert bench.closed == [None]


async def test_exact_usage_is_kept(bench: Bench) -> None:
    writer = bench.writer()
    writer.write([Text("a"), Usage(3, 5), Done("stop")])
    await writer.channel.wait_end()
    assert bench.stored(writer)[-2:] == [Usage(3, 5), Done("stop")]


async def test_an_error_may_be_written_too(bench: Bench) -> None:
    writer = bench.writer()
    writer.write([Text("a"), Error("custom", "no more")])
    assert await writer.channel.wait_end() == Error("custom", "no more")
    assert writer.channel.status == "failed"


async def test_nothing_follows_the_end(bench: Bench) -> None:
    writer = bench.writer()
    writer.write([Done("stop"), Text("late"), Done("length")])
    with pytest.raises(StreamEnded):
        writer.write([Text("later")])
    assert writer.end(Done("cancelled")) is False
    assert writer.fail(ProducerFailed("late")) is False
    assert await writer.channel.wait_end() == Done("stop")
    assert [type(event) for event in bench.stored(writer)] == [Start, Usage, Done]


async def test_an_empty_write_is_nothing(bench: Bench) -> None:
    writer = bench.writer()
    await writer.flush()
    assert writer.write([]) is True
    await writer.flush()
    assert bench.committer.events == 1


async def test_the_end_while_a_commit_is_in_flight_is_the_next_commit(bench: Bench) -> None:
    writer = bench.writer()
    bench.log.gate = asyncio.Event()
    await asyncio.sleep(0.01)
    writer.write([Text("a")])
    assert writer.end(Done("cancelled"))
    assert not writer.channel.ended
    assert writer.channel.status == "streaming"  # a crash now would take the end back
    bench.log.gate.set()
    assert await writer.channel.wait_end() == Done("cancelled")
    assert writer.channel.status == "cancelled"


async def test_a_sealed_stream_takes_no_more_and_has_no_end(bench: Bench) -> None:
    """Handed over: what was written is stored, the next process goes on."""
    writer = bench.writer()
    writer.write([Text("a")])
    writer.seal()
    assert writer.ended
    with pytest.raises(StreamEnded):
        writer.write([Text("b")])
    assert writer.end(Done("stop")) is False
    await writer.flush()
    assert bench.stored(writer)[-1] == Text("a")
    assert not writer.channel.ended
    assert bench.closed == []


@pytest.mark.parametrize("content", [Text("a"), Reasoning("a"), ToolCall(0)])
async def test_content_means_that_it_streams(bench: Bench, content: Event) -> None:
    writer = bench.writer()
    writer.write([Status("connecting")])
    assert writer.channel.status == "connecting"
    writer.write([content])
    assert writer.channel.status == "streaming"
    writer.write([Status("retrying")])
    assert writer.channel.status == "streaming"


async def test_before_content_an_upstream_may_be_tried_again(bench: Bench) -> None:
    writer = bench.writer()
    writer.connected()
    writer.connected()
    assert writer.channel.status == "streaming"
    writer.write([Status("searching")])
    assert writer.channel.status == "streaming"
    writer.write([Status("retrying", attempt=2)])
    assert writer.channel.status == "connecting"
    writer.connected()
    writer.write([Text("a")])
    assert writer.channel.status == "streaming"


async def test_a_continued_answer_streams_with_its_first_new_piece(bench: Bench) -> None:
    record = await fill(bench.log, "old", [Text("a")])
    held = await bench.log.get(record.id)
    assert held is not None
    state = Fold()
    state.apply(Text("a"))
    writer = bench.generations.take_up(held, state, lambda: pytest.fail("not run")).writer
    writer.channel.signal(Signal.ADMIT)
    writer.channel.signal(Signal.CONNECT)
    writer.write([Status("recovering", attempt=1)])
    assert writer.channel.status == "connecting"
    writer.write([Text("b")])
    assert writer.channel.status == "streaming"
    writer.end(Done("cancelled"))


async def test_connected_after_the_end_changes_nothing(bench: Bench) -> None:
    writer = bench.writer()
    writer.end(Done("cancelled"))
    writer.connected()
    await writer.channel.wait_end()
    writer.connected()
    assert writer.channel.status == "cancelled"


async def test_life_is_noted(bench: Bench) -> None:
    """Upstream comments reset the watchdog (mattermost-plugin-agents #985)."""
    writer = bench.writer()
    for act in (writer.touch, writer.connected, lambda: writer.write([Status("x")])):
        writer.alive = False
        act()
        assert writer.alive


@pytest.fixture
async def tight() -> AsyncIterator[Bench]:
    settings = StreamSettings(max_pending_bytes=2000, max_stream_bytes=100_000, log_retry_s=0.05, flush_ms=0)
    async with Bench(settings=settings) as bench:
        yield bench


async def test_a_slow_log_slows_its_producer(tight: Bench) -> None:
    writer = tight.writer()
    await writer.flush()
    tight.log.gate = asyncio.Event()
    assert writer.write([Text("a" * 1000)])
    assert not writer.write([Text("a" * 1000)])
    assert writer.congested
    draining = asyncio.create_task(writer.drain())
    gone = asyncio.create_task(writer.drain())
    await asyncio.sleep(0.01)
    assert not draining.done()
    gone.cancel()
    tight.log.gate.set()
    await draining
    assert not writer.congested
    await writer.drain()


async def test_a_drain_lasts_until_there_is_room(tight: Bench) -> None:
    writer = tight.writer()
    await writer.flush()
    tight.log.gate = asyncio.Event()
    writer.write([Text("a")])
    await eventually(lambda: writer._inflight)
    writer.write([Text("b" * 5000)])
    draining = asyncio.create_task(writer.drain())
    gate, tight.log.gate = tight.log.gate, asyncio.Event()
    gate.set()
    await eventually(lambda: writer.channel.next_seq == 2)
    await asyncio.sleep(0)
    assert not draining.done()
    tight.log.gate.set()
    await draining


@pytest.mark.parametrize("how", ["end", "seal", "lost"])
async def test_an_end_releases_who_drains(tight: Bench, how: str) -> None:
    writer = tight.writer()
    await writer.flush()
    tight.log.gate = asyncio.Event()
    writer.write([Text("a" * 5000)])
    draining = asyncio.create_task(writer.drain())
    await asyncio.sleep(0)
    match how:
        case "end":
            writer.end(Done("cancelled"))
        case "seal":
            writer.seal()
        case _:
            tight.log.always = LogUnavailable("gone")
            tight.log.gate.set()
    await draining
    tight.log.gate.set()


async def test_a_stream_that_outgrows_its_bound_is_told(tight: Bench) -> None:
    """Memory and disk grow no further than the setting says (litellm #6404, #38193)."""
    writer = tight.writer()
    with pytest.raises(StreamLimit) as caught:
        for _ in range(100):
            writer.write([Text("a" * 2000)])
            await writer.drain()
    writer.fail(caught.value)
    end = await writer.channel.wait_end()
    assert isinstance(end, Error)
    assert end.reason == "stream_too_large"
    assert 100_000 <= writer.fold.content_characters + 160 * writer.channel.next_seq <= 110_000


async def test_the_bound_holds_though_the_log_takes_nothing(tight: Bench) -> None:
    writer = tight.writer()
    tight.log.gate = asyncio.Event()
    with pytest.raises(StreamLimit):
        for _ in range(100):
            writer.write([Text("a" * 2000)])  # a producer that never drains
    tight.log.gate.set()


async def test_the_bound_counts_what_is_no_text(tight: Bench) -> None:
    writer = tight.writer()
    with pytest.raises(StreamLimit):
        for _ in range(100):
            writer.write([Metadata({"a": "b" * 2000})])
            await writer.flush()


async def test_lone_surrogates_are_replaced(bench: Bench) -> None:
    """A model that emits half a character must not end its answer."""
    writer = bench.writer()
    sink = MemorySink()
    bench.watch(writer.channel, sink)
    details = {"note": "\udfff"}
    writer.write([Text("fine"), Text("a\ud800b"), Usage(1, 2, details=details), Error("x", "m\ud800")])
    end = await writer.channel.wait_end()
    assert end == Error("x", "m\ufffd")
    assert bench.stored(writer)[1:] == [Text("fine"), Text("a\ufffdb"), Usage(1, 2, details={"note": "\ufffd"}), end]
    assert sink.events == bench.stored(writer)
    record = await bench.log.get(StreamId(writer.channel.id))
    assert record is not None
    assert record.ended is not None
    assert record.ended.usage.details == {"note": "\ufffd"}
    assert record.ended.error == end


class Loop(dict[str, object]):
    """What nests itself cannot be written down."""

    def __init__(self) -> None:
        self["self"] = self


@pytest.mark.parametrize(
    "bad",
    [
        Metadata({"a": object()}),
        Metadata({"a": {1j: 2}}),
        Metadata(Loop()),
        Metadata({"half": "\ud800", "bad": object()}),
        Text("a", logprobs={"x": {object()}}),
    ],
    ids=["object", "key", "loop", "surrogate and object", "logprobs"],
)
async def test_what_json_cannot_carry_ends_its_stream_and_keeps_the_answer(
    bench: Bench, bad: Event, caplog: pytest.LogCaptureFixture
) -> None:
    """The partial answer is kept, the error is typed, the committer lives."""
    writer, other = bench.writer(), None
    await writer.flush()
    writer.write([Text("part"), bad, Text("never"), Usage(9, 9), Done("stop")])
    end = await writer.channel.wait_end()
    assert isinstance(end, Error)
    assert end.reason == "producer_failed"
    assert [type(event) for event in bench.stored(writer)] == [Start, Text, Usage, Error]
    assert bench.stored(writer)[1] == Text("part")
    assert writer.fold.usage == bench.stored(writer)[2]
    assert writer.fold.usage is not None
    assert writer.fold.usage.source == "estimated"
    assert "cannot be stored" in caplog.text
    with pytest.raises(StreamEnded):
        writer.write([Text("more")])
    assert bench.closed == [None]
    other = bench.writer()
    await other.flush()


async def test_usage_that_was_told_before_stays(bench: Bench) -> None:
    writer = bench.writer()
    writer.write([Usage(3, 5), Metadata({"a": object()})])
    await writer.channel.wait_end()
    assert [type(event) for event in bench.stored(writer)] == [Start, Usage, Error]
    assert writer.fold.usage == Usage(3, 5)


async def test_a_log_that_fails_for_good_ends_the_stream_in_memory(bench: Bench) -> None:
    writer = bench.writer()
    await writer.flush()
    sink = MemorySink()
    bench.watch(writer.channel, sink)
    bench.log.always = LogUnavailable("disk full")
    writer.write([Text("lost")])
    with pytest.raises(LogUnavailable, match="disk full"):
        await writer.flush()
    with pytest.raises(LogUnavailable, match="disk full"):
        await writer.flush()
    assert sink.text == ""
    assert [getattr(event, "reason", None) for event in sink.events] == [None, "log_unavailable"]
    assert sink.finished
    with pytest.raises(StreamEnded):
        writer.write([Text("more")])
    assert [str(error) for error in bench.closed] == ["disk full"]


async def test_a_waiter_that_left_is_no_trouble_when_the_log_fails(bench: Bench) -> None:
    bench.log.always = LogUnavailable("disk full")
    writer = bench.writer()
    flushing = asyncio.create_task(writer.flush())
    await asyncio.sleep(0)
    flushing.cancel()
    await eventually(lambda: bench.closed)


async def test_a_conflict_from_elsewhere_is_told(bench: Bench) -> None:
    writer = bench.writer()
    await writer.flush()
    record = bench.record()
    await store(bench.log, record, [Text("x")])
    await bench.log.delete([StreamId(writer.channel.id)])
    writer.write([Text("a")])
    with pytest.raises(SeqConflict):
        await writer.flush()


@pytest.mark.parametrize("count", [1, 3])
async def test_a_retry_stores_once(count: int) -> None:
    """Nothing is lost and nothing is repeated (vercel/ai #14688, #18457; cloudflare/agents #1733)."""
    async with Bench(settings=StreamSettings(log_retry_s=60)) as bench:
        writer = bench.writer()
        await writer.flush()
        sink = MemorySink()
        bench.watch(writer.channel, sink)
        bench.log.lie = 1
        bench.log.failures = [LogUnavailable("once")] * (count - 1)
        writer.write([Text(word) for word in "abc"])
        writer.write([Done("stop")])
        await writer.channel.wait_end()
        assert sink.events == bench.stored(writer)
        assert sink.text == "abc"


def test_a_typed_error_is_logged_with_its_facts() -> None:
    rejected = ProviderRejected("slow down", status=429, provider="p", upstream_code="quota", retry_after_s=7)
    assert error_event(rejected) == Error(
        "provider_rejected", "slow down", 429, True, provider="p", code="quota", retry_after_s=7
    )
    assert error_event(HeadwaterError("x")) == Error("internal_error", "x")


async def test_a_committer_is_all_that_a_writer_needs() -> None:
    log = FaultyLog()
    committer = Committer(log, flush_ms=0, retry_s=1, timeout_s=30)
    committer.start()
    record = await fill(log, "s", [])
    held = await log.get(record.id)
    assert held is not None
    writer = StreamWriter(Channel(held, Fold(), tail_bytes=0), committer, StreamSettings(), on_closed=lambda _: None)
    writer.write([Text("a")])
    await writer.flush()
    assert log.committed("s")[-1] == Text("a")
    await committer.stop()


class Settling:
    """A settlement that keeps what it is asked."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    def usage(self, estimated: Usage) -> Usage:
        self.asked.append(estimated)
        return Usage(7, 8, "estimated")

    def facts(self, usage: Usage, terminal: Terminal) -> JsonObject:
        self.asked += [usage, terminal]
        return {"attempts": 1}


class TestControl:
    """What producers with several attempts have of a stream."""

    async def test_a_settlement_tells_usage_and_facts_before_the_end(self, bench: Bench) -> None:
        writer, settling = bench.writer(prompt_characters=40), Settling()
        writer.control.settle(Settling())
        writer.control.settle(settling)
        writer.write([Text("abcd")])
        writer.end(Done("cancelled"))
        await writer.channel.wait_end()
        usage = Usage(7, 8, "estimated")
        assert bench.stored(writer)[-3:] == [usage, Metadata({"attempts": 1}), Done("cancelled")]
        assert settling.asked == [Usage(10, 1, "estimated"), usage, Done("cancelled")]
        record = await bench.log.get(StreamId(writer.channel.id))
        assert record is not None
        assert record.ended is not None
        assert (record.ended.usage, record.ended.metadata) == (usage, {"attempts": 1})

    async def test_it_is_not_asked_for_usage_that_was_told(self, bench: Bench) -> None:
        writer, settling = bench.writer(), Settling()
        writer.control.settle(settling)
        writer.write([Text("a"), Usage(3, 5), Done("stop")])
        await writer.channel.wait_end()
        assert settling.asked == [Usage(3, 5), Done("stop")]

    async def test_a_watch_is_swept_from_when_it_was_begun(self, bench: Bench) -> None:
        writer = bench.writer()
        fired: list[ProviderTimeout] = []
        writer.control.watch(Watch(5.0, 1.0, fired.append))
        assert writer.watchdog is not None
        writer.watchdog.sweep(bench.now + 4)
        assert fired == []
        writer.watchdog.sweep(bench.now + 6)
        assert len(fired) == 1
        assert not writer.ended  # what follows is the producer's affair
        writer.control.watch(None)
        assert writer.watchdog is None

    async def test_an_end_takes_the_watch_away(self, bench: Bench) -> None:
        writer = bench.writer()
        writer.control.watch(Watch(5.0, 1.0, lambda _: None))
        writer.end(Done("stop"))
        assert writer.watchdog is None

    async def test_history_is_everything_once_it_is_stored(self, bench: Bench) -> None:
        writer = bench.writer()
        words = [Text(str(number)) for number in range(50)]
        for word in words:
            writer.write([word])
        events = await writer.control.history()
        assert events[1:] == words
        assert bench.stored(writer) == events

    async def test_an_ended_stream_has_no_more_to_go_on_from(self, bench: Bench) -> None:
        writer = bench.writer()
        writer.end(Done("stop"))
        with pytest.raises(StreamEnded):
            await writer.control.history()

    async def test_the_first_content_has_its_time(self, bench: Bench) -> None:
        writer = bench.writer()
        writer.write([Status("fallback")])
        assert writer.control.first_content_s is None
        before = bench.now
        writer.write([Text("a")])
        first = writer.control.first_content_s
        assert first is not None
        assert first >= before
        writer.write([Text("b")])
        assert writer.control.first_content_s == first

    async def test_also_of_an_answer_that_was_taken_up(self, bench: Bench) -> None:
        """Its text so far came from another process."""
        await fill(bench.log, "old", [Text("a")])
        record = await bench.log.get(StreamId("old"))
        assert record is not None
        state = Fold()
        state.apply(Text("a"))
        channel = Channel(record, state, tail_bytes=32_768)
        writer = StreamWriter(channel, bench.committer, bench.settings, on_closed=lambda _: None)
        for signal in (Signal.CRASH, Signal.ADMIT, Signal.CONNECT):
            channel.signal(signal)
        writer.connected()
        writer.write([Text("b")])
        assert writer.control.first_content_s is not None
        await writer.flush()


async def test_a_slot_is_lent_where_there_is_one(bench: Bench) -> None:
    """A producer lends its slot while it waits for something else; a stream that only gets its end has none."""
    writer = bench.writer()
    writer.control.lend_slot(True)
    gate = Gate(1, 1)
    writer.slot = gate.enter()
    writer.control.lend_slot(True)
    assert gate.running == 0
    writer.control.lend_slot(False)
    assert gate.running == 1

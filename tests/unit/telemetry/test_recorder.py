"""Every figure of a scripted run, against what the script says: known chunks, delays, cuts, cancels."""

from __future__ import annotations

import asyncio

import pytest

from headwater.errors import LogUnavailable, ProviderTimeout, QueueFull
from headwater.events import Done, Metadata, Reasoning, Start, Status, StreamId, Text, Usage
from headwater.logs.memory import MemoryLog
from headwater.streams import Channel, Ended, Hub, Network, NewStream, StreamRecord, StreamSettings
from headwater.telemetry.bucket import Bucket
from headwater.telemetry.calls import Place
from headwater.telemetry.recorder import Recorder
from headwater.telemetry.track import Recorded, Slot
from tests.unit.streams.kit import FaultyLog, MemorySink, PlainEncoder, Script, eventually, store
from tests.unit.streams.virtual_time import run_virtual

from .kit import Steps, counted

ATTEMPTS = [
    {"provider": "a", "model": "m", "outcome": "failed", "began_ms": 0.0, "duration_ms": 100.0},
    {"provider": "b", "model": "m", "outcome": "done", "began_ms": 120.0, "duration_ms": 900.0},
    {"provider": "c", "model": "m", "outcome": "lost", "began_ms": 130.0, "duration_ms": 10.0},
    {"provider": "d", "model": "m", "outcome": "cancelled", "began_ms": 500.0, "duration_ms": 10.0},
]


async def finished(hub: Hub, recorder: Recorder, producer: Steps, **new: object) -> Channel:
    channel, _ = await hub.create(NewStream(**new), producer)  # type: ignore[arg-type]
    await channel.wait_end()
    await eventually(lambda: not recorder.streams)
    return channel


def test_times_are_those_of_the_script() -> None:
    async def work() -> Bucket:
        async with counted() as (hub, recorder):
            steps = [(0.3, [Text("a")]), (0.05, [Text("b")]), (0.05, [Text("c"), Text("d")]), (0.2, [Text("e")])]
            await finished(hub, recorder, Steps(*steps))
            return recorder.take(0)

    bucket = run_virtual(work())
    timings = bucket.timings
    assert timings.first_token.count == 1
    assert timings.first_token.total == pytest.approx(0.3, abs=1e-6)
    # What came together is one delivery: three gaps for five chunks.
    assert timings.chunk_gap.count == 3
    assert timings.chunk_gap.total == pytest.approx(0.3, abs=1e-6)
    assert timings.chunk_gap.largest == pytest.approx(0.2, abs=1e-6)
    assert timings.duration.total == pytest.approx(0.6, abs=1e-6)
    assert timings.setup.count == 1
    assert bucket.covered_s == pytest.approx(0.6, abs=0.1)


async def test_counts_are_those_of_the_script() -> None:
    async with counted() as (hub, recorder):
        await finished(hub, recorder, Steps((0, [Reasoning("hm"), Text("naïve")]), (0, [Text("b")])), model="m")
        await finished(hub, recorder, Steps((0, [Text("x")]), error=ProviderTimeout("slow")), model="m")
        script = Script()
        channel, _ = await hub.create(NewStream(model="n"), script)
        script.say("1", "2", "3")
        await eventually(lambda: channel.fold.texts == 3)
        assert recorder.states() == {"streaming": 1}
        await hub.cancel(StreamId(channel.id), owner="")
        await eventually(lambda: not recorder.streams)
        recorder.sample()
        bucket = recorder.take(2)
    counts = bucket.counts
    assert (counts.started, counts.done, counts.failed, counts.cancelled, counts.recovered) == (3, 1, 1, 1, 0)
    assert (counts.chunks, counts.text_bytes) == (3 + 1 + 3, len("naïveb".encode()) + 1 + 3)
    assert bucket.reasons == {"provider_timeout": 1}
    told = bucket.models["m"]
    # One told its usage, the other is estimated: one token for one character.
    assert (told.streams, told.prompt_tokens, told.completion_tokens) == (2, 7, 11 + 1)
    assert (counts.prompt_tokens, counts.completion_tokens) == (7, 11 + 1 + 1)
    assert bucket.models["n"].streams == 1
    assert (bucket.peaks.queued, bucket.peaks.streams) == (2, 1)  # one after the other


async def test_running_streams_count_while_they_run_and_nothing_twice() -> None:
    async with counted() as (hub, recorder):
        script = Script()
        channel, _ = await hub.create(NewStream(), script)
        whole = Bucket()
        for words in (["a", "b"], ["c"], []):
            script.say(*words)
            expected = channel.fold.texts + len(words)
            await eventually(lambda expected=expected: channel.fold.texts == expected)
            recorder.sample()
            part = recorder.take(0)
            assert part.counts.chunks == len(words)
            whole.merge(part)
        assert part.peaks.streams == 1
        script.finish()
        await channel.wait_end()
        await eventually(lambda: not recorder.streams)
        recorder.sample()
        whole.merge(recorder.take(0))
    assert (whole.counts.chunks, whole.counts.done, whole.counts.started) == (3, 1, 1)


async def test_stages_are_counted_and_marked() -> None:
    place = {"provider": "b", "model": "m", "reason": "provider_timeout"}
    stages = ["retrying", "retrying", "fallback", "hedging", "continuing", "searching"]
    async with counted() as (hub, recorder):
        steps = [(0, [Status(stage, data=place)]) for stage in stages]
        channel = await finished(hub, recorder, Steps(*steps, (0, [Status("retrying"), Text("a")])))
        counts = recorder.take(0).counts
        timeline = recorder.timeline(channel.id)
    assert (counts.retries, counts.fallbacks, counts.hedges, counts.continuations) == (3, 1, 1, 1)
    assert timeline is not None
    kinds = [mark.kind for mark in timeline.marks]
    assert kinds == ["started", *stages, "retrying", "first_token", "done"]
    assert [mark.detail for mark in timeline.marks][1] == "b m provider_timeout"


async def test_attempts_tell_of_their_providers_and_costs() -> None:
    facts = Metadata({"attempts": ATTEMPTS, "first_token_ms": 450.0, "cost": {"amount": 0.25, "currency": "EUR"}})
    async with counted() as (hub, recorder):
        await finished(hub, recorder, Steps((0, [Text("a"), facts])), model="m")
        bucket = recorder.take(0)
    told = {name: (part.attempts, part.failures) for name, part in bucket.providers.items()}
    assert told == {"a": (1, 1), "b": (1, 0)}
    assert bucket.providers["b"].first_token.total == pytest.approx(0.330)
    assert bucket.models["m"].costs == {"EUR": 0.25}


def test_gaps_belong_to_the_call_that_made_them() -> None:
    """Also in a stream that goes on elsewhere: the wait at the seam is the viewers', and no call's."""
    facts = Metadata({"attempts": ATTEMPTS[:2], "first_token_ms": 450.0})
    silent, place = {"provider": "s", "model": "o"}, {"provider": "c", "model": "n"}
    steps = [
        (0.1, [Text("a")]), (0.1, [Text("b")]), (0.1, [Status("continuing", data=silent)]),
        # Who goes on gives nothing, and another one does.
        (0.1, [Status("continuing", data=place)]), (0.3, [Text("c")]), (0.2, [Text("d")]), (0.0, [facts]),
    ]  # fmt: skip

    async def work() -> tuple[Bucket, Recorder]:
        async with counted() as (hub, recorder):
            await finished(hub, recorder, Steps(*steps))
            return recorder.take(0), recorder

    bucket, recorder = run_virtual(work())
    assert bucket.timings.chunk_gap.total == pytest.approx(0.1 + 0.5 + 0.2, abs=1e-6)
    calls = recorder.calls.by_place
    told = {place: figures.output_chunk.total for place, figures in calls.items() if figures.output_chunk.count}
    assert told == {Place("b", "m"): pytest.approx(0.1, abs=1e-6), Place("c", "n"): pytest.approx(0.2, abs=1e-6)}
    assert calls[Place("b", "m")].first_chunk.total == pytest.approx(0.33)
    assert calls[Place("a", "m")].durations["failed"].total == pytest.approx(0.1)
    # `Usage(7, 11)` of the script is the provider's own; the attempts themselves tell no tokens.
    assert calls[Place("b", "m")].prompt_tokens.count == 0


@pytest.mark.parametrize(
    "data",
    [
        {"attempts": "none", "cost": 3, "first_token_ms": "soon"},
        {"attempts": [1, {}, {"outcome": "done"}], "cost": {"amount": "much"}},
        {"attempts": [{"outcome": "done", "began_ms": None}], "first_token_ms": 3.0},
    ],
)
async def test_metadata_of_an_application_may_be_anything(data: dict[str, object]) -> None:
    async with counted() as (hub, recorder):
        await finished(hub, recorder, Steps((0, [Text("a"), Metadata(data)])), model="m")
        bucket = recorder.take(0)
    assert bucket.counts.done == 1
    assert bucket.models["m"].costs == {}


async def test_viewers_their_bytes_and_their_return() -> None:
    async with counted() as (hub, recorder):
        script = Script()
        channel, _ = await hub.create(NewStream(), script)
        sinks = [MemorySink(), MemorySink(), MemorySink()]
        first = hub.attach(channel, PlainEncoder, sinks[0])
        script.say("a", "b")
        await eventually(lambda: sinks[0].text == "ab")
        first.close()
        hub.attach(channel, PlainEncoder, sinks[1], f"1.{channel.next_seq - 1}")
        hub.attach(channel, PlainEncoder, sinks[2], "9.9")
        assert recorder.viewers == 2
        part = recorder.take(0)
        assert part.peaks.viewers == 2
        script.finish()
        await channel.wait_end()
        await eventually(lambda: not recorder.viewers and not recorder.streams)
        whole = recorder.take(0)
        whole.merge(part)
        timeline = recorder.timeline(channel.id)
    counts = whole.counts
    assert (counts.attached, counts.resumed, counts.reset, counts.left_early) == (3, 1, 1, 1)
    assert counts.sent_bytes == sum(len(b"".join(sink.chunks)) for sink in sinks)
    assert timeline is not None
    kinds = [mark.kind for mark in timeline.marks]
    assert [kind for kind in kinds if kind in ("attached", "resumed", "reset", "left")] == [
        "attached", "left", "resumed", "reset", "left", "left",
    ]  # fmt: skip


async def test_a_stream_that_is_taken_up_is_no_new_one() -> None:
    log = MemoryLog()
    record = StreamRecord(StreamId("s1"), 0, model="m", linger_s=300)
    await store(log, record, [Start("s1", "m", 0), Text("old")])
    recorder = Recorder(asyncio.get_running_loop().time)
    hub = Hub(log, StreamSettings(), recover=lambda record, fold: Steps((0, [Text("new")])), observer=recorder)
    await hub.start()
    channel = await hub.open(StreamId("s1"), owner="")
    await channel.wait_end()
    await eventually(lambda: not recorder.streams)
    bucket = recorder.take(0)
    await hub.shutdown(0)
    counts, timings = bucket.counts, bucket.timings
    assert (counts.started, counts.recovered, counts.done) == (0, 1, 1)
    assert (counts.chunks, counts.text_bytes) == (1, 3)
    assert [timings.setup.count, timings.first_token.count, timings.duration.count] == [0, 0, 0]


async def test_what_cannot_be_taken_up_counts_as_failed() -> None:
    log = MemoryLog()
    await store(log, StreamRecord(StreamId("s1"), 0), [Start("s1", "", 0)])
    async with counted(log) as (_, recorder):
        await eventually(lambda: not recorder.streams)
        bucket = recorder.take(0)
    assert (bucket.counts.failed, bucket.reasons) == (1, {"interrupted": 1})


async def test_what_was_never_stored_was_never_there() -> None:
    log = FaultyLog()
    async with counted(log, StreamSettings(log_retry_s=0.0)) as (hub, recorder):
        log.always = LogUnavailable("full")
        with pytest.raises(LogUnavailable):
            await hub.create(NewStream(), Steps())
        log.always = None
        await eventually(lambda: not recorder.streams)
        bucket = recorder.take(0)
    assert bucket.counts.started == 0
    assert bucket.counts.failed == 0


async def test_a_stream_that_the_log_lost_fails_once() -> None:
    log = FaultyLog()
    async with counted(log, StreamSettings(log_retry_s=0.0)) as (hub, recorder):
        script = Script()
        channel, _ = await hub.create(NewStream(), script)
        log.always = LogUnavailable("full")
        script.say("a")
        await eventually(lambda: channel.failure is not None)
        log.always = None
        await eventually(lambda: recorder.bucket.counts.failed)
        bucket = recorder.take(0)
    assert (bucket.counts.started, bucket.counts.failed, bucket.reasons) == (1, 1, {"log_unavailable": 1})


async def test_a_refused_stream_leaves_nothing() -> None:
    async with counted(settings=StreamSettings(max_streams=1, max_queued=0)) as (hub, recorder):
        script = Script()
        channel, _ = await hub.create(NewStream(), script)
        with pytest.raises(QueueFull):
            await hub.create(NewStream(), Script())
        assert recorder.streams == 1
        script.finish()
        await channel.wait_end()
        await eventually(lambda: not recorder.streams)


async def test_streams_of_other_processes_are_theirs() -> None:
    log = MemoryLog()
    async with counted(log) as (hub, own), counted(log) as (other, theirs):
        script = Script()
        channel, _ = await hub.create(NewStream(), script)
        followed = await other.open(StreamId(channel.id), owner="")
        script.say("a")
        script.finish()
        await followed.wait_end()
        await eventually(lambda: not own.streams)
        assert own.take(0).counts.chunks == 1
        assert theirs.take(0) == Bucket(covered_s=pytest.approx(0, abs=60))  # type: ignore[arg-type]


async def test_an_ended_stream_has_its_timeline_and_its_late_viewers() -> None:
    async with counted() as (hub, recorder):
        channel = await finished(hub, recorder, Steps((0, [Text("a"), Text("b")])))
        again = await hub.open(StreamId(channel.id), owner="")
        await hub.attach(again, PlainEncoder, MemorySink()).wait_closed()
        timeline = recorder.timeline(channel.id)
        assert recorder.timeline("unknown") is None
    assert timeline is not None
    assert sum(timeline.counts) == 2
    assert [mark.kind for mark in timeline.marks][-3:] == ["done", "attached", "left"]


def test_nothing_of_an_ended_stream_is_held() -> None:
    async def work() -> None:
        async with counted() as (hub, recorder):
            channel = await finished(hub, recorder, Steps((0.01, [Text("a")])))
            assert recorder._live == {}
            assert recorder._viewers == {}
            assert recorder._gaps == []
            assert channel.terminal == Done("stop")

    run_virtual(work())


# ---------------------------------------------------------------------- one stream, for its connections


class Wired(MemorySink):
    """A sink whose connection is as the test says."""

    def __init__(self, network: Network | None) -> None:
        super().__init__()
        self.known = network

    def network(self) -> Network | None:
        return self.known


def whole(recorded: Recorded | None) -> Slot:
    assert recorded is not None
    return recorded.between(0, 1e15).slot


async def test_a_stream_keeps_who_came_came_back_and_was_lost() -> None:
    async with counted() as (hub, recorder):
        script = Script()
        channel, _ = await hub.create(NewStream(), script)
        script.say("a", "b")
        await eventually(lambda: channel.next_seq == 3)
        lost = hub.attach(channel, PlainEncoder, MemorySink())
        lost.close()
        hub.attach(channel, PlainEncoder, MemorySink(), "1.2").dismiss(1)  # sent away: no drop
        hub.attach(channel, PlainEncoder, MemorySink(), "9.9")
        running = whole(recorder.recorded(channel.id))
        assert (running.attached, running.returned, running.drops, running.texts) == (3, 2, 1, 2)
        script.finish()
        await channel.wait_end()
        await eventually(lambda: not recorder.streams)
        assert recorder.unsaved[channel.id].outcome == "done"
        recorder.unsaved.clear()
        # Who comes back for the rest after the end belongs to it, too.
        late = hub.attach(await hub.open(StreamId(channel.id), owner=""), PlainEncoder, MemorySink(budget=1), "1.1")
        late.close()
        told = whole(recorder.recorded(channel.id))
        assert (told.attached, told.returned, told.drops) == (4, 3, 2)
        assert whole(recorder.unsaved[channel.id]) == told
        counts = recorder.take(0).counts
    assert (counts.attached, counts.resumed, counts.reset, counts.drops, counts.texts) == (4, 2, 1, 2, 2)
    assert recorder.recorded("unknown") is None


async def test_only_so_many_ended_streams_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.telemetry.recorder.MAX_REMEMBERED", 2)
    async with counted() as (hub, recorder):
        made = [await finished(hub, recorder, Steps((0, [Text("a")]))) for _ in range(3)]
        assert [recorder.recorded(channel.id) is not None for channel in made] == [False, True, True]
        assert len(recorder.unsaved) == 3


def test_the_gaps_of_a_stream_are_its_own() -> None:
    async def work() -> tuple[Recorded | None, Recorded | None]:
        async with counted() as (hub, recorder):
            fast = Steps(*[(0.01, [Text("a")])] * 10)
            slow = Steps(*[(1.0, [Text("b"), Text("c")])] * 10)
            first, _ = await hub.create(NewStream(), fast)
            second, _ = await hub.create(NewStream(), slow)
            for _ in range(12):
                await asyncio.sleep(1)
                recorder.sample()
                recorder.take(0)
            return recorder.recorded(first.id), recorder.recorded(second.id)

    fast, slow = run_virtual(work())
    assert whole(fast).gaps.largest == pytest.approx(0.01)
    assert (whole(slow).gaps.count, whole(slow).texts) == (9, 20)
    assert whole(slow).gaps.smallest == pytest.approx(1.0)
    assert slow is not None
    assert slow.end_ms - slow.began_ms == pytest.approx(10_000, abs=1)
    begun = slow.between(slow.began_ms, slow.began_ms + 4_000)
    assert (begun.slot.texts, begun.end_ms - begun.start_ms) == (8, 5_000)


async def test_gaps_are_counted_in_steps_and_once_also_of_what_ends_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.telemetry.recorder.GAPS_AT_ONCE", 3)
    async with counted() as (hub, recorder):
        scripts = [Script() for _ in range(5)]
        channels = [(await hub.create(NewStream(), script))[0] for script in scripts]
        for number in range(4):
            for script in scripts:
                script.say("a")
            await eventually(lambda: all(channel.next_seq == number + 2 for channel in channels))  # noqa: B023
        steps = recorder.sweep()
        counts = [len(list(zip(range(2), steps)))]  # noqa: B905 - two of the five
        scripts[-1].put(Done("stop"))
        await eventually(lambda: recorder.streams == 4)
        counts += [len(list(steps)), len(list(recorder.sweep()))]
        # The texts, too, before a slot of theirs is over.
        assert recorder.bucket.counts.texts == 5 * 4
        bucket = recorder.take(0)
        tracks = [recorder.recorded(channel.id) for channel in channels]
    assert counts == [2, 2, 0]
    assert bucket.timings.chunk_gap.count == 5 * 3
    assert [whole(track).gaps.count for track in tracks] == [3] * 5
    assert [track.outcome for track in tracks if track] == [None] * 4 + ["done"]


async def test_connections_are_looked_at_in_turn_and_when_they_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.telemetry.recorder.NETWORKS_A_SECOND", 2)
    async with counted() as (hub, recorder):
        script = Script()
        channel, _ = await hub.create(NewStream(), script)
        sinks = [Wired(Network(0.010, 1, 1)) for _ in range(4)] + [Wired(None)]
        viewers = [hub.attach(channel, PlainEncoder, sink) for sink in sinks]
        seconds = []
        for _ in range(3):
            script.say("a")
            await eventually(lambda expected=channel.next_seq + 1: channel.next_seq == expected)
            seconds.append(recorder.take(0))
        for second in seconds:
            assert second.timings.rtt.count <= 2
        sinks[0].known = Network(0.030, 4, 2)
        viewers[0].close()
        last = recorder.take(0)
        assert last.timings.rtt.largest == 0.030
        merged = Bucket()
        for second in (*seconds, last):
            merged.merge(second)
        for viewer in viewers[1:]:
            viewer.close()
        merged.merge(recorder.take(0))
        slot = whole(recorder.recorded(channel.id))
    # Each packet that was sent again counts once, however often its connection is looked at.
    assert (merged.counts.retransmissions, merged.counts.packets_lost) == (4 + 3, 2 + 3)
    assert (slot.retransmissions, slot.packets_lost, slot.rtt.count) == (7, 5, merged.timings.rtt.count)


async def test_who_watches_what_is_not_recorded_is_counted_all_the_same() -> None:
    log = MemoryLog()
    ended = Ended("done", 5000, Usage(1, 2), "stop")
    await store(log, StreamRecord(StreamId("old"), 0), [Start("old", "", 0), Text("a"), Done("stop")], ended=ended)
    async with counted(log) as (hub, recorder):
        channel = await hub.open(StreamId("old"), owner="")
        hub.attach(channel, PlainEncoder, Wired(Network(0.001, 0, 0)))
        await eventually(lambda: not recorder.viewers)
        bucket = recorder.take(0)
    assert (bucket.counts.attached, bucket.counts.drops, bucket.timings.rtt.count) == (1, 0, 1)
    assert recorder.unsaved == {}

"""The hub: readers, viewers, cancelling, deleting, listing, starting and stopping."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from headwater.errors import (
    LogCorrupt,
    LogError,
    LogUnavailable,
    MethodNotAllowed,
    ShuttingDown,
    StreamStillRunning,
    TooManyConnections,
    UnknownStream,
)
from headwater.events import Done, Error, Seq, Start, Status, StreamId, Text, Usage
from headwater.logs.memory import MemoryLog
from headwater.streams import Append, Channel, Hub, NewStream, RecoveryReport, Slice, StreamInfo, StreamSettings, Writer

from .kit import FAST, FaultyLog, MemorySink, PlainEncoder, Script, Words, eventually, fill, started


@pytest.fixture
def log() -> FaultyLog:
    return FaultyLog()


@pytest.fixture
async def hub(log: FaultyLog) -> AsyncIterator[Hub]:
    hub = await started(log)
    yield hub
    log.always = None
    await hub.shutdown(0)


async def ended(hub: Hub, *words: str, **new: object) -> StreamId:
    channel, _ = await hub.create(NewStream(**new), Words(words))  # type: ignore[arg-type]
    await channel.wait_end()
    await eventually(lambda: hub._generations.get(channel.id) is None)
    return StreamId(channel.id)


# ------------------------------------------------------------------ reading


async def test_a_live_stream_is_one_channel_for_all(hub: Hub) -> None:
    channel, _ = await hub.create(NewStream(), Script())
    assert await hub.open(StreamId(channel.id), owner="") is channel


async def test_an_ended_stream_is_read_from_the_log(hub: Hub) -> None:
    stream = await ended(hub, "a", "b")
    channel = await hub.open(stream, owner="")
    sink = MemorySink()
    await hub.attach(channel, PlainEncoder, sink).wait_closed()
    assert sink.text == "ab"
    assert sink.finished
    assert channel.at_end(sink.frames[-1].cursor)
    assert hub.viewers == 0


@pytest.mark.parametrize("live", [True, False])
async def test_another_owners_stream_does_not_exist(hub: Hub, live: bool) -> None:
    if live:
        stream = StreamId((await hub.create(NewStream(owner="a"), Script())).channel.id)
    else:
        stream = await ended(hub, owner="a")
    for act in (hub.open, hub.info, hub.cancel, hub.delete):
        with pytest.raises(UnknownStream):
            await act(stream, owner="b")
    assert (await hub.open(stream, owner="a")).id == stream
    assert await hub.list(owner="b") == []
    assert len(await hub.list(owner="a")) == 1


async def test_what_does_not_exist_is_unknown(hub: Hub) -> None:
    for act in (hub.open, hub.info, hub.cancel, hub.delete):
        with pytest.raises(UnknownStream):
            await act(StreamId("nope"), owner="")


async def test_looking_for_a_stream_tells_no_owner_of_anothers(hub: Hub) -> None:
    channel, _ = await hub.create(NewStream(owner="a"), Script())
    stream = StreamId(channel.id)
    assert await hub.find_stream(stream, owner="a") is channel
    assert await hub.find_stream(stream, owner="b") is None
    assert await hub.find_stream(StreamId("none"), owner="a") is None


async def test_what_is_not_committed_does_not_exist(hub: Hub, log: FaultyLog) -> None:
    """P1: an id that a crash can take back is told to nobody."""
    log.gate = asyncio.Event()
    creating = asyncio.create_task(hub.create(NewStream(), Script()))
    await eventually(lambda: hub.live == 1)
    (stream,) = hub._generations._live
    with pytest.raises(UnknownStream):
        await hub.open(StreamId(stream), owner="")
    log.gate.set()
    await creating


async def test_a_viewer_sees_it_all_and_is_counted(hub: Hub) -> None:
    script = Script()
    channel, _ = await hub.create(NewStream(), script)
    sink = MemorySink()
    viewer = hub.attach(channel, PlainEncoder, sink)
    assert hub.viewers == 1
    assert (await hub.info(StreamId(channel.id), owner="")).viewers == 1
    script.say("a", "b")
    script.finish()
    await viewer.wait_closed()
    assert sink.text == "ab"
    assert hub.viewers == 0


async def test_connections_are_bounded(log: FaultyLog) -> None:
    hub = await started(log, StreamSettings(max_connections=2))
    channel, _ = await hub.create(NewStream(), Script())
    viewers = [hub.attach(channel, PlainEncoder, MemorySink()) for _ in range(2)]
    with pytest.raises(TooManyConnections):
        hub.attach(channel, PlainEncoder, MemorySink())
    viewers[0].close()
    hub.attach(channel, PlainEncoder, MemorySink())
    await hub.shutdown(0)


async def test_an_encoder_that_cannot_be_made_leaves_nobody_attached(hub: Hub) -> None:
    channel, _ = await hub.create(NewStream(), Script())

    def factory(view: object) -> PlainEncoder:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        hub.attach(channel, factory, MemorySink())
    assert hub.viewers == 0
    assert channel.viewers == []


@pytest.mark.parametrize("cursor", ["garbage", "9.0", "1.99", "1.-1", "٣.٤"])
async def test_an_unknown_cursor_gets_a_reset_and_everything(hub: Hub, cursor: str) -> None:
    """Unknown cursor, client stuck for ever (mercure #704); a cursor crashes the worker (nchan #676)."""
    channel = await hub.open(await ended(hub, "a", "b"), owner="")
    sink = MemorySink()
    await hub.attach(channel, PlainEncoder, sink, cursor).wait_closed()
    assert sink.words[0].startswith("!reset ")
    assert sink.frames[0].word == sink.words[0]
    assert sink.text == "ab"
    assert isinstance(sink.events[0], Start)


async def test_the_whole_answer_of_a_live_stream_comes_from_memory(hub: Hub, log: FaultyLog) -> None:
    script = Script()
    channel, _ = await hub.create(NewStream(), script)
    script.say("a")
    script.finish()
    with hub.hold(channel):
        await channel.wait_end()
        reads = log.reads
        assert await hub.read_all(channel) == log.committed(channel.id)
        assert log.reads == reads


async def test_the_whole_answer_of_an_ended_stream_comes_from_the_log(
    hub: Hub, log: FaultyLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headwater.streams.history.READ_BYTES", 30)
    stream = await ended(hub, *"abcdef")
    channel = await hub.open(stream, owner="")
    assert await hub.read_all(channel) == log.committed(stream)
    assert log.reads >= 2


async def test_an_answer_that_is_gone_is_told(hub: Hub, log: FaultyLog) -> None:
    stream = await ended(hub, "a")
    channel = await hub.open(stream, owner="")
    await log.delete([stream])
    with pytest.raises(UnknownStream):
        await hub.read_all(channel)


class Holes(FaultyLog):
    async def read(self, stream: StreamId, after: Seq, *, max_bytes: int) -> Slice | None:
        part = await super().read(stream, after, max_bytes=max_bytes)
        assert part is not None
        return Slice(part.record, part.first_seq, [])


async def test_an_answer_with_a_hole_is_no_answer() -> None:
    """Truncation that looks like success (LibreChat PR #11710)."""
    hub = await started(Holes())
    channel = await hub.open(await ended(hub, "a"), owner="")
    with pytest.raises(LogCorrupt):
        await hub.read_all(channel)
    await hub.shutdown(0)


# ------------------------------------------------------------------ linger and hold


async def test_the_last_leaving_ends_a_stream_without_linger(hub: Hub) -> None:
    """Upstream left running after the client is gone (litellm #30244, #36123, #37140; bifrost #3164)."""
    script = Script()
    channel, _ = await hub.create(NewStream(linger_s=0), script)
    viewer = hub.attach(channel, PlainEncoder, MemorySink())
    await script.started.wait()
    viewer.close()
    assert await channel.wait_end() == Done("cancelled")
    await script.stopped.wait()


async def test_a_holder_is_an_audience(hub: Hub) -> None:
    script = Script()
    channel, _ = await hub.create(NewStream(linger_s=0), script)
    with hub.hold(channel):
        hub.attach(channel, PlainEncoder, MemorySink()).close()
        script.say("a")
        await eventually(lambda: channel.next_seq == 2)
    assert await channel.wait_end() == Done("cancelled")


async def test_a_frozen_viewer_is_cut_and_the_stream_goes_on(log: FaultyLog) -> None:
    """A frozen client hangs the sender (sse-starlette #89, PR #208)."""
    hub = await started(log, StreamSettings(send_timeout_s=0.02))
    script = Script()
    channel, _ = await hub.create(NewStream(), script)
    frozen, fine = MemorySink(budget=0), MemorySink()
    viewer = hub.attach(channel, PlainEncoder, frozen)
    hub.attach(channel, PlainEncoder, fine)
    script.say("a")
    await viewer.wait_closed()
    assert frozen.aborted
    script.say("b")
    script.finish()
    await eventually(lambda: fine.finished)
    assert fine.text == "ab"
    await hub.shutdown(0)


class Silent:
    """Says `words`, then nothing, for ever."""

    def __init__(self, *words: str) -> None:
        self._words = words
        self.stopped = asyncio.Event()

    async def run(self, writer: Writer) -> None:
        writer.write([Text(word) for word in self._words])
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped.set()


@pytest.mark.parametrize(
    ("settings", "words", "reason", "message"),
    [
        ({"first_token_timeout_s": 0.02}, "", "provider_timeout", "no first token within 0.02 s"),
        ({"idle_timeout_s": 0.02}, "a", "provider_timeout", "the provider was silent for 0.02 s"),
        ({"total_timeout_s": 0.02}, "a", "provider_timeout", "the answer took longer than 0.02 s"),
    ],
    ids=["first token", "silence", "total"],
)
async def test_a_silent_provider_is_an_end_in_bounded_time(
    log: FaultyLog, settings: dict[str, float], words: str, reason: str, message: str
) -> None:
    """No inter-token time-out (tensorzero #6328); one knob with two meanings (litellm #19184)."""
    hub = await started(log, StreamSettings(max_streams=1, **settings))  # type: ignore[arg-type]
    producer = Silent(*words)
    channel, _ = await hub.create(NewStream(), producer)
    sink = MemorySink()
    await hub.attach(channel, PlainEncoder, sink).wait_closed()
    end = channel.terminal
    assert isinstance(end, Error)
    assert (end.reason, end.message, end.status) == (reason, message, 504)
    assert sink.text == words
    await producer.stopped.wait()
    following, _ = await hub.create(NewStream(), Words(["b"]))  # the slot is free again
    assert await following.wait_end() == Done("stop")
    await hub.shutdown(0)


# ------------------------------------------------------------------ managing


async def test_cancelling_returns_the_committed_end(hub: Hub, log: FaultyLog) -> None:
    """Stop deletes the prompt and the answer (chat-ui #459)."""
    script = Script()
    channel, _ = await hub.create(NewStream(), script)
    script.say("part")
    await eventually(lambda: channel.next_seq == 2)
    info = await hub.cancel(StreamId(channel.id), owner="")
    assert (info.status, info.finish_reason, info.error) == ("cancelled", "cancelled", None)
    assert info.usage == Usage(0, 1, "estimated")
    assert log.committed(channel.id)[1] == Text("part")
    assert script.stopped.is_set()


async def test_cancelling_an_ended_stream_changes_nothing(hub: Hub) -> None:
    stream = await ended(hub, "a")
    assert (await hub.cancel(stream, owner="")).status == "done"


async def test_cancelling_twice_at_once(hub: Hub) -> None:
    channel, _ = await hub.create(NewStream(), Script())
    infos = await asyncio.gather(*[hub.cancel(StreamId(channel.id), owner="") for _ in range(3)])
    assert [info.status for info in infos] == ["cancelled"] * 3


async def test_an_ended_stream_can_be_deleted(hub: Hub) -> None:
    stream = await ended(hub, "a")
    await hub.delete(stream, owner="")
    with pytest.raises(UnknownStream):
        await hub.open(stream, owner="")


async def test_a_running_stream_cannot(hub: Hub) -> None:
    channel, _ = await hub.create(NewStream(), Script())
    with pytest.raises(StreamStillRunning):
        await hub.delete(StreamId(channel.id), owner="")


class Keeper:
    """A log that cannot delete: the five methods only."""

    def __init__(self, log: MemoryLog) -> None:
        self.commit, self.read, self.get, self.find, self.close = log.commit, log.read, log.get, log.find, log.close


async def test_a_log_that_cannot_delete_says_so() -> None:
    hub = Hub(Keeper(MemoryLog()))  # type: ignore[arg-type]
    await hub.start()
    stream = await ended(hub, "a")
    with pytest.raises(MethodNotAllowed):
        await hub.delete(stream, owner="")
    await hub.shutdown(0)


async def test_infos_of_every_state(hub: Hub) -> None:
    script = Script()
    live, _ = await hub.create(NewStream(model="m"), script)
    done = await ended(hub, "a")
    script.say("a")
    await eventually(lambda: live.next_seq == 2)
    listed = await hub.list(owner="")
    assert {info.id for info in listed} == {live.id, done}
    assert [info.id for info in await hub.list(owner="", state="unfinished")] == [live.id]
    assert [info.id for info in await hub.list(owner="", state="finished")] == [done]
    assert [info.id for info in await hub.list(owner="", before=StreamId(max(live.id, done)), limit=1)] == [
        min(live.id, done)
    ]
    info: StreamInfo = await hub.info(StreamId(live.id), owner="")
    assert (info.status, info.events, info.cursor, info.model) == ("streaming", 2, "1.1", "m")
    assert (await hub.info(done, owner="")).events == 4


async def test_the_status_never_promises_what_is_not_committed(hub: Hub, log: FaultyLog) -> None:
    """P1 for the status: a `done` that a crash takes back would be a false success."""
    script = Script()
    channel, _ = await hub.create(NewStream(), script)
    script.say("a")
    await eventually(lambda: channel.next_seq == 2)
    log.gate = asyncio.Event()
    script.finish()
    await script.stopped.wait()
    assert (await hub.info(StreamId(channel.id), owner="")).status == "streaming"
    log.gate.set()
    await channel.wait_end()
    assert (await hub.info(StreamId(channel.id), owner="")).status == "done"


# ------------------------------------------------------------------ two hubs on one log


@contextlib.asynccontextmanager
async def two_hubs(log: FaultyLog) -> AsyncIterator[tuple[Hub, Hub]]:
    there, here = await started(log), await started(log)
    try:
        yield there, here
    finally:
        await here.shutdown(0)
        await there.shutdown(0)
        assert len(log._watchers) == 0


async def test_another_hubs_stream_is_watched_without_gap_or_repeat(log: FaultyLog) -> None:
    async with two_hubs(log) as (there, here):
        script = Script()
        produced, _ = await there.create(NewStream(), script)
        script.say("a")
        await eventually(lambda: produced.next_seq == 2)
        channels = await asyncio.gather(*[here.open(StreamId(produced.id), owner="") for _ in range(3)])
        assert len(set(map(id, channels))) == 1
        channel = channels[0]
        sink, resumed = MemorySink(), MemorySink()
        hub_viewer = here.attach(channel, PlainEncoder, sink)
        script.say("b", "c")
        await eventually(lambda: sink.text == "abc")
        again = await here.open(StreamId(produced.id), owner="")
        here.attach(again, PlainEncoder, resumed, sink.frames[-1].cursor)
        info = await here.info(StreamId(produced.id), owner="")
        assert (info.status, info.viewers) == ("streaming", 2)
        assert here.live == 0
        script.say("d")
        script.finish()
        await hub_viewer.wait_closed()
        await eventually(lambda: resumed.finished)
        assert (sink.text, resumed.text) == ("abcd", "d")
        await eventually(lambda: not here._followers)
        assert (await here.open(StreamId(produced.id), owner="")).ended


async def test_a_cursor_of_the_other_hub_is_known_here(log: FaultyLog) -> None:
    """P2 across processes: a follower that lags behind must not answer with a reset."""
    async with two_hubs(log) as (there, here):
        script = Script()
        produced, _ = await there.create(NewStream(), script)
        await here.open(StreamId(produced.id), owner="")
        await eventually(lambda: log.reads)
        log.read_gate = asyncio.Event()
        script.say("a", "b")
        await eventually(lambda: produced.next_seq == 3)
        opening = asyncio.create_task(here.open(StreamId(produced.id), owner=""))
        await asyncio.sleep(0.01)
        assert not opening.done()
        log.read_gate.set()
        sink = MemorySink()
        here.attach(await opening, PlainEncoder, sink, str(produced.cursor))
        script.say("c")
        await eventually(lambda: sink.text == "c")
        assert sink.words == []


async def test_a_stream_of_a_stream_that_nobody_watches_is_let_go(log: FaultyLog) -> None:
    async with two_hubs(log) as (there, here):
        produced, _ = await there.create(NewStream(), Script())
        channel = await here.open(StreamId(produced.id), owner="")
        here.attach(channel, PlainEncoder, MemorySink()).close()
        here._sweeper.sweep(1e9)
        here._sweeper.sweep(2e9)
        await eventually(lambda: not here._followers)
        assert len(log._watchers) == 0


async def test_cancelling_another_hubs_stream_leaves_it_to_that_hub(log: FaultyLog) -> None:
    async with two_hubs(log) as (there, here):
        produced, _ = await there.create(NewStream(), Script())
        assert (await here.cancel(StreamId(produced.id), owner="")).finished_at is None
        assert not produced.ended


# ------------------------------------------------------------------ a log that fails


async def test_readers_of_a_stream_that_the_log_lost(hub: Hub, log: FaultyLog) -> None:
    script = Script()
    channel, _ = await hub.create(NewStream(), script)
    sink = MemorySink()
    hub.attach(channel, PlainEncoder, sink)
    script.say("kept")
    await eventually(lambda: sink.text == "kept")
    log.always = LogUnavailable("disk full")
    script.say("lost")
    await eventually(lambda: sink.finished)
    assert (sink.text, getattr(sink.events[-1], "reason", "")) == ("kept", "log_unavailable")
    assert hub.viewers == hub.live == 0
    assert hub.log_failing
    await script.stopped.wait()
    again = MemorySink()
    assert await hub.open(StreamId(channel.id), owner="") is channel
    hub.attach(channel, PlainEncoder, again, "1.0")
    assert again.text == "kept"
    with pytest.raises(LogError):
        await channel.wait_end()
    assert (await hub.info(StreamId(channel.id), owner="")).status == "recovering"
    log.always = None
    await hub._recovery.settle()
    assert not hub.log_failing
    last = MemorySink()
    settled = await hub.open(StreamId(channel.id), owner="")
    await hub.attach(settled, PlainEncoder, last, again.frames[-1].cursor).wait_closed()
    assert [type(event) for event in last.events] == [Usage, Error]
    assert last.frames[-1].cursor == "1.3"


async def test_a_log_that_works_again_is_ready_again(hub: Hub, log: FaultyLog) -> None:
    """A server that says "not ready" gets no traffic: nothing but itself can find out that the log works."""
    log.always = LogUnavailable("disk full")
    with pytest.raises(LogUnavailable):
        await hub.create(NewStream(), Script())
    assert hub.log_failing
    log.always = None
    await hub._recovery.settle()
    assert not hub.log_failing


# ------------------------------------------------------------------ start and shutdown


async def test_the_start_reports_what_it_took_up(log: FaultyLog) -> None:
    await fill(log, "s1", [Text("a")])
    await fill(log, "s2", [])
    hub = Hub(log, FAST, recover=lambda record, state: Words(["b"]) if state.has_content else None)
    assert not hub.accepting
    assert await hub.start() == RecoveryReport(continued=1, interrupted=1)
    assert hub.accepting
    channel = await hub.open(StreamId("s1"), owner="")
    sink = MemorySink()
    await hub.attach(channel, PlainEncoder, sink, "1.1").wait_closed()
    assert sink.text == "b"
    assert sink.events[0] == Status("recovering", attempt=1)
    await hub.shutdown(0)


async def test_streams_may_finish_within_the_grace_period(hub: Hub, log: FaultyLog) -> None:
    script = Script()
    channel, _ = await hub.create(NewStream(), script)
    sink = MemorySink()
    hub.attach(channel, PlainEncoder, sink)
    stopping = asyncio.create_task(hub.shutdown(1000))
    await asyncio.sleep(0)
    assert not hub.accepting
    late = MemorySink()
    hub.attach(channel, PlainEncoder, late)
    script.say("a")
    script.finish()
    await stopping
    assert (sink.text, late.text) == ("a", "a")
    assert sink.finished
    assert sink.words == []
    assert log.committed(channel.id)[-1] == Done("stop")


@pytest.mark.parametrize("linger_s", [0.0, 300.0])
async def test_the_rest_is_handed_over_and_its_viewers_are_sent_away(log: FaultyLog, linger_s: float) -> None:
    """A reconnecting viewer is told when to come back, and the next process has the stream without an end."""
    hub = await started(log)
    script = Script()
    channel, _ = await hub.create(NewStream(linger_s=linger_s), script)
    sink = MemorySink()
    hub.attach(channel, PlainEncoder, sink)
    script.say("so ")
    await eventually(lambda: sink.text)
    await hub.shutdown(0)
    assert sink.words == [f"retry: {hub.settings.retry_ms}"]
    assert sink.finished
    assert script.stopped.is_set()
    assert hub.live == hub.viewers == 0
    assert log.committed(channel.id)[-1] == Text("so ")
    heir = await started(log, recover=lambda record, state: Words(["far"]))
    again = MemorySink()
    opened = await heir.open(StreamId(channel.id), owner="")
    await heir.attach(opened, PlainEncoder, again, sink.frames[-2].cursor).wait_closed()
    assert again.text == "far"
    assert again.words == []
    await heir.shutdown(0)


async def test_a_shutdown_can_be_asked_for_again_and_at_once(hub: Hub) -> None:
    await hub.create(NewStream(), Script())
    await asyncio.gather(hub.shutdown(0), hub.shutdown(0))
    await hub.shutdown()
    await Hub(MemoryLog()).shutdown()


async def test_who_comes_after_the_shutdown_is_sent_away(hub: Hub) -> None:
    """Never a 503 to a reconnecting viewer, and never a viewer that nobody serves."""
    channel, _ = await hub.create(NewStream(), Script())
    await hub.shutdown(0)
    sink = MemorySink()
    viewer = hub.attach(channel, PlainEncoder, sink)
    assert viewer.closed
    assert sink.words == ["retry: 2000"]
    assert hub.viewers == 0


async def test_followers_end_with_the_hub(log: FaultyLog) -> None:
    hub = await started(log)
    for name in "xy":
        await fill(log, name, [])
    await hub.open(StreamId("x"), owner="")
    await hub.open(StreamId("y"), owner="")
    assert len(hub._followers) == 2
    await hub.shutdown(0)
    assert hub._followers == {}
    assert len(log._watchers) == 0


async def test_a_viewer_of_a_stream_produced_here_and_lost_to_another_process(hub: Hub, log: FaultyLog) -> None:
    script = Script()
    channel, _ = await hub.create(NewStream(), script)
    sink = MemorySink()
    hub.attach(channel, PlainEncoder, sink)
    await script.started.wait()
    await MemoryLog.commit(log, [Append(StreamId(channel.id), 1, 1, b'1[{"type":"text","text":"foreign"}]')])
    script.say("ours")
    await eventually(lambda: sink.finished)
    assert getattr(sink.events[-1], "reason", "") == "seq_conflict"
    reopened = await hub.open(StreamId(channel.id), owner="")
    assert isinstance(reopened, Channel)
    assert reopened is not channel
    again = MemorySink()
    hub.attach(reopened, PlainEncoder, again, "1.0")
    await eventually(lambda: again.text == "foreign")


async def test_who_waits_for_a_handed_over_stream_is_told() -> None:
    """A caller that waits for the whole answer, or for its head, must not hang until the process dies."""
    hub = await started()
    channel = (await hub.create(NewStream(), Script())).channel
    waiting = [asyncio.create_task(channel.wait_end()), asyncio.create_task(channel.wait_head(60))]
    await asyncio.sleep(0)
    await hub.shutdown(0)
    for task in waiting:
        with pytest.raises(ShuttingDown):
            await task
    with pytest.raises(ShuttingDown):
        await channel.wait_end()


async def test_a_log_that_does_not_answer_ends_its_streams_and_the_next() -> None:
    """P3: a hanging disk is no excuse for a stream without an end."""
    log = FaultyLog()
    settings = StreamSettings(log_timeout_s=0.05, log_retry_s=0.1, heartbeat_s=0.1, flush_ms=0)
    hub = await started(log, settings)
    script = Script()
    channel = (await hub.create(NewStream(), script)).channel
    sink = MemorySink()
    hub.attach(channel, PlainEncoder, sink)
    gate = log.gate = asyncio.Event()
    script.say("never stored")
    await eventually(lambda: sink.finished)
    assert isinstance(sink.events[-1], Error)
    assert sink.events[-1].reason == "log_unavailable"
    assert hub.log_failing
    with pytest.raises(LogUnavailable):
        await hub.create(NewStream(), Script())
    log.gate = None
    gate.set()
    await eventually(lambda: not hub.log_failing)
    again = (await hub.create(NewStream(), Words(["works"]))).channel
    assert isinstance(await again.wait_end(), Done)
    ended = await hub.info(StreamId(channel.id), owner="")
    assert ended.status == "failed"
    await hub.shutdown(0)


async def test_a_log_that_does_not_answer_does_not_stop_a_shutdown() -> None:
    log = FaultyLog()
    hub = await started(log, StreamSettings(log_timeout_s=0.05, flush_ms=0))
    channel = (await hub.create(NewStream(), script := Script())).channel
    log.gate = asyncio.Event()
    script.say("never stored")
    await script.started.wait()
    waiting = asyncio.create_task(channel.wait_end())
    await hub.shutdown(0)
    with pytest.raises((LogUnavailable, ShuttingDown)):
        await waiting
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_a_shutdown_waits_for_a_slow_commit_also_without_retries() -> None:
    log = FaultyLog()
    hub = await started(log, StreamSettings(log_retry_s=0, flush_ms=0))
    channel = (await hub.create(NewStream(), script := Script())).channel
    gate = log.gate = asyncio.Event()
    script.say("stored late")
    script.finish()
    await eventually(lambda: channel.fold.terminal is not None)
    asyncio.get_running_loop().call_later(0.05, gate.set)
    await hub.shutdown(0)
    record = await log.get(StreamId(channel.id))
    assert record is not None
    assert record.ended is not None

"""All streams of one process: known, counted, let go of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest

from headwater.errors import LogUnavailable, QueueFull
from headwater.events import Done, Error, Event, Start, StreamId, Text, Usage, encode_segment
from headwater.request import ChatRequest, encode_request
from headwater.streams import Append, Channel, Fold, StreamSettings, Viewer, Writer

from .kit import FAST, MemorySink, Script, World, eventually, fill


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World(settings=FAST) as world:
        yield world


async def test_a_stream_is_known_while_it_lives(world: World) -> None:
    script = Script()
    generation = await world.create(script)
    stream = generation.channel.id
    assert world.generations.get(stream) is generation
    assert world.generations.channel(stream) is generation.channel
    assert (len(world.generations), list(world.generations)) == (1, [generation])
    script.finish()
    await generation.channel.wait_end()
    await eventually(lambda: world.generations.get(stream) is None)
    assert world.generations.channel(stream) is None
    assert len(world.generations) == 0


async def test_a_full_queue_refuses_before_anything_is_stored() -> None:
    async with World(settings=StreamSettings(max_streams=1, max_queued=0)) as world:
        await world.create(Script())
        with pytest.raises(QueueFull):
            await world.create(Script())
        assert len(world.generations) == 1
        assert len(world.log.groups) == 1


async def test_what_the_log_lost_is_unsettled(world: World) -> None:
    script = Script()
    generation = await world.create(script)
    await script.started.wait()
    world.log.always = LogUnavailable("disk full")
    script.say("a")
    with pytest.raises(LogUnavailable):
        await generation.channel.wait_end()
    await script.stopped.wait()
    assert world.generations.unsettled == {generation.channel.id: generation}
    assert world.generations.channel(generation.channel.id) is generation.channel
    assert len(world.generations) == 0


async def test_a_creation_whose_answer_was_lost_may_be_stored(world: World) -> None:
    """It would otherwise be found `streaming` until the next start (cloudflare/agents #1485)."""
    world.log.lie = 100
    with pytest.raises(LogUnavailable):
        await world.create(Script())
    assert len(world.generations.unsettled) == 1


async def test_a_long_outage_does_not_gather_what_was_never_stored() -> None:
    """Memory grows with failed streams (litellm #12685, #6404)."""
    async with World(settings=StreamSettings(max_streams=3, log_retry_s=0)) as world:
        world.log.always = LogUnavailable("disk full")
        for _ in range(10):
            with pytest.raises(LogUnavailable):
                await world.create(Script())
        assert len(world.generations.unsettled) == 3


async def test_a_conflict_means_that_the_end_is_not_ours(world: World) -> None:
    script = Script()
    generation = await world.create(script)
    stream = StreamId(generation.channel.id)
    await world.log.commit([Append(stream, 1, 1, encode_segment([Text("foreign")]))])
    script.say("a")
    await eventually(lambda: generation.channel.failure)
    assert world.generations.unsettled == {}
    await script.stopped.wait()


async def test_finishing_waits_for_the_running(world: World) -> None:
    script = Script()
    generation = await world.create(script)
    finishing = asyncio.create_task(world.generations.finish(1000))
    await asyncio.sleep(0)
    script.say("a")
    script.finish()
    await finishing
    assert generation.channel.terminal == Done("stop")
    await world.generations.finish(1000)


@pytest.mark.parametrize(
    ("others", "told"), [(0, "1 stream did not finish within 0.01 s and is"), (1, "2 streams did not finish")]
)
async def test_what_does_not_finish_in_time_is_handed_over(
    world: World, caplog: pytest.LogCaptureFixture, others: int, told: str
) -> None:
    script = Script()
    generation = await world.create(script)
    for _ in range(others):
        await world.create(Script())
    script.say("a")
    await eventually(lambda: generation.channel.next_seq == 2)
    await world.generations.finish(0.01)
    assert script.stopped.is_set()
    assert world.log.committed(generation.channel.id)[-1] == Text("a")
    assert told in caplog.text


class Deaf:
    def __init__(self, *, ends: bool) -> None:
        self._ends = ends
        self.cancels = 0
        self.release = asyncio.Event()

    async def run(self, writer: Writer) -> None:
        if self._ends:
            writer.write([Done("stop")])
        while not self.release.is_set():
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.cancels += 1


@pytest.mark.parametrize("ends", [True, False], ids=["after its end", "in mid-answer"])
async def test_a_producer_that_ignores_everything_does_not_hold_up_the_shutdown(world: World, ends: bool) -> None:
    deaf = Deaf(ends=ends)
    generation = await world.create(deaf)
    if ends:
        await generation.channel.wait_end()
    await asyncio.sleep(0)
    await world.generations.finish(0)
    assert deaf.cancels >= 1
    deaf.release.set()
    assert generation.task is not None
    await asyncio.wait((generation.task,))


async def test_what_is_closed_up_takes_no_slot() -> None:
    async with World(settings=StreamSettings(max_streams=1, max_queued=0)) as world:
        await world.create(Script())
        await fill(world.log, "old", [Text("a")])
        record = await world.log.get(StreamId("old"))
        assert record is not None
        generation = world.generations.close_up(record, Fold())
        assert generation.channel.status == "recovering"
        generation.writer.end(Error("interrupted", "x"))
        generation.sweep(world.now + 10_000)
        assert (await generation.channel.wait_end()).reason == "interrupted"
        assert world.log.committed("old")[-1] == Error("interrupted", "x")
        assert world.generations._admission.running == 1


async def test_what_is_closed_up_is_not_produced(world: World, caplog: pytest.LogCaptureFixture) -> None:
    record = await fill(world.log, "old", [])
    held = await world.log.get(record.id)
    assert held is not None
    generation = world.generations.close_up(held, Fold())
    generation.start()
    assert (await generation.channel.wait_end()).reason == "producer_failed"


@pytest.mark.parametrize(
    ("request_bytes", "prompt_tokens"),
    [(encode_request(ChatRequest("m", [{"role": "user", "content": "a" * 40}])), 10), (b"", 0), (b"damaged", 0)],
    ids=["stored", "none", "damaged"],
)
async def test_usage_is_settled_from_the_stored_request(world: World, request_bytes: bytes, prompt_tokens: int) -> None:
    """No usage on abort (vercel/ai #7628): a stream taken up knows its prompt from the log."""
    state = Fold()
    state.apply(Start("s", "m", 0))
    state.apply(Text("a" * 8))
    for generation in (
        world.generations.close_up(world.record(request=request_bytes), state),
        world.generations.take_up(world.record(request=request_bytes), state, Script),
    ):
        state.usage = None
        generation.writer.end(Done("cancelled"))
        assert state.usage == Usage(prompt_tokens, 2, "estimated")


async def test_viewers_of_a_lost_stream_leave_nothing_behind(world: World) -> None:
    script = Script()
    generation = await world.create(script)
    world.watch(generation.channel, MemorySink())
    world.log.always = LogUnavailable("disk full")
    script.say("a")
    await eventually(lambda: generation.channel.failure)
    assert generation.channel.viewers == []


async def test_clearing_forgets_everything(world: World) -> None:
    generation = await world.create(Script())
    world.generations.unsettled["x"] = generation
    world.generations.clear()
    assert len(world.generations) == 0
    assert world.generations.unsettled == {}
    generation.cancel()


async def test_the_priority_decides_who_is_next() -> None:
    async with World(settings=StreamSettings(max_streams=1)) as world:
        running = world.generations.create(world.record(), Script, prompt_characters=0)
        low = world.generations.create(world.record(), Script, prompt_characters=0, priority="low")
        high = world.generations.create(world.record(), Script, prompt_characters=0, priority="high")
        assert (high._ticket.position, low._ticket.position) == (1, 2)
        for generation in (running, low, high):
            generation.cancel()
        assert (world.generations._admission.running, world.generations._admission.queued) == (0, 0)


async def test_how_far_a_priority_overtakes_is_a_setting() -> None:
    async with World(settings=StreamSettings(max_streams=1, priority_ageing_s=0)) as world:
        running = world.generations.create(world.record(), Script, prompt_characters=0)
        low = world.generations.create(world.record(), Script, prompt_characters=0, priority="low")
        high = world.generations.create(world.record(), Script, prompt_characters=0, priority="high")
        assert (low._ticket.position, high._ticket.position) == (1, 2)
        for generation in (running, low, high):
            generation.cancel()


async def test_a_stream_taken_up_keeps_its_priority() -> None:
    async with World(settings=StreamSettings(max_streams=1)) as world:

        def take_up(request: bytes) -> int:
            generation = world.generations.take_up(world.record(request=request), Fold(), Script)
            return generation._ticket.position

        messages = [{"role": "user", "content": "x"}]
        assert take_up(encode_request(ChatRequest("m", messages))) == 0
        assert take_up(encode_request(ChatRequest("m", messages, priority="low"))) == 1
        assert take_up(b"damaged") == 1
        assert take_up(encode_request(ChatRequest("m", messages, priority="high"))) == 1
        assert take_up(b"") == 3
        for generation in world.generations:
            generation.cancel()


async def test_an_end_is_told_once_it_is_stored() -> None:
    """Whoever bills by it must not be told of what a crash may still undo."""
    told: list[list[Event]] = []
    async with World(on_end=lambda channel: told.append(world.log.committed(channel.id))) as world:
        script = Script()
        generation = await world.create(script)
        script.finish()
        await generation.channel.wait_end()
        assert [events[-1] for events in told] == [Done("stop")]


async def test_who_listens_and_fails_costs_nobody_anything(caplog: pytest.LogCaptureFixture) -> None:
    """The committer tells of the end: an error that came through would take the whole group's commit with it."""

    def fail(channel: Channel) -> None:
        raise RuntimeError(f"the bill of {channel.id} cannot be written")

    async with World(on_end=fail) as world:
        scripts = Script(), Script()
        ending, other = [await world.create(script) for script in scripts]
        for script in scripts:
            await script.started.wait()
        ending.writer.write([Text("a"), Done("stop")])
        other.writer.write([Text("b")])
        assert await ending.channel.wait_end() == Done("stop")
        await other.writer.flush()
        assert {each.stream for each in world.log.groups[-1]} == {ending.channel.id, other.channel.id}
        assert (other.channel.failure, other.channel.next_seq) == (None, 2)
    assert f"stream {ending.channel.id} failed" in caplog.text


class Miscounting:
    """An observer that is wrong about everything."""

    def begun(self, channel: Channel, now: float) -> None: ...

    def committed(self, channel: Channel, events: Sequence[Event], now: float) -> None:
        raise TypeError(f"{len(events)} events are too many")

    def ended(self, channel: Channel) -> None:
        raise OverflowError("this end is too much")

    def attached(self, viewer: Viewer, cursor: str | None, reset: str | None) -> None: ...

    def left(self, viewer: Viewer) -> None: ...


async def test_who_counts_and_fails_costs_nobody_anything(caplog: pytest.LogCaptureFixture) -> None:
    """What an application writes into its events may break whoever looks at them, and no other stream's commit."""
    ends: list[str] = []
    async with World(on_end=lambda channel: ends.append(channel.id), observer=Miscounting()) as world:
        scripts = Script(), Script()
        ending, other = [await world.create(script) for script in scripts]
        for script in scripts:
            await script.started.wait()
        ending.writer.write([Text("a"), Done("stop")])
        other.writer.write([Text("b")])
        assert await ending.channel.wait_end() == Done("stop")
        await other.writer.flush()
        assert {each.stream for each in world.log.groups[-1]} == {ending.channel.id, other.channel.id}
        assert (other.channel.failure, other.channel.next_seq) == (None, 2)
        assert ends == [ending.channel.id]
    assert f"stream {ending.channel.id} could not be counted" in caplog.text


@pytest.mark.parametrize("listens", [True, False])
async def test_an_end_whose_answer_was_lost_is_told_when_the_log_is_asked(listens: bool) -> None:
    """The usage of such a stream would else be nobody's."""
    told: list[str] = []
    settings = msgspec.structs.replace(FAST, log_retry_s=0.0)
    async with World(settings=settings, on_end=(lambda channel: told.append(channel.id)) if listens else None) as world:
        script = Script()
        generation = await world.create(script)
        world.log.lie = 1
        script.finish()
        with pytest.raises(LogUnavailable):
            await generation.channel.wait_end()
        await script.stopped.wait()
        assert told == []
        for _ in range(2):
            world.generations.has_ended(generation.channel.id)
        assert (told, world.generations.unsettled) == ([generation.channel.id] if listens else [], {})

"""One stream being produced: it ends with a typed reason and gives its slot back, whatever its producer does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from headwater.errors import LogUnavailable, ProviderRejected, StreamEnded
from headwater.events import Done, Error, Event, Start, Status, Text, Usage
from headwater.streams import Fold, StreamSettings, Writer
from headwater.streams.generation import FIRST_VIEWER_S, WIND_UP_S, Generation

from .kit import MemorySink, Script, World, eventually

SETTINGS = StreamSettings(
    first_token_timeout_s=10, idle_timeout_s=5, total_timeout_s=100, queue_timeout_s=60, max_streams=2, max_queued=2
)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World(settings=SETTINGS) as world:
        yield world


def slots(world: World) -> tuple[int, int]:
    gate = world.generations._admission
    return gate.running, gate.queued


async def end_of(generation: Generation) -> Error | Done:
    end = await generation.channel.wait_end()
    task = generation.task
    if task is not None:
        await asyncio.wait((task,))
    return end


def stored(world: World, generation: Generation) -> list[Event]:
    return world.log.committed(generation.channel.id)


async def test_an_answer_from_start_to_end(world: World) -> None:
    script = Script()
    generation = await world.create(script)
    script.say("a", "b")
    script.finish()
    assert await end_of(generation) == Done("stop")
    kinds = [type(event) for event in stored(world, generation)]
    assert kinds == [Start, Text, Text, Usage, Done]
    assert generation.channel.status == "done"
    assert slots(world) == (0, 0)
    assert len(world.generations) == 0


class Acts:
    """A producer that is one coroutine function."""

    def __init__(self, act: Callable[[Writer], object]) -> None:
        self._act = act

    async def run(self, writer: Writer) -> None:
        writer.write([Text("part")])
        result = self._act(writer)
        if asyncio.iscoroutine(result):
            await result


def _raise(error: BaseException) -> Callable[[Writer], object]:
    def act(_: Writer) -> None:
        raise error

    return act


def _write_after_done(writer: Writer) -> None:
    writer.write([Done("length")])
    writer.write([Text("late")])


def _unencodable(writer: Writer) -> None:
    writer.write([Text("fine", logprobs={"x": object()})])


def _no_event(writer: Writer) -> None:
    writer.write(["text"])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (lambda _: None, "stop"),
        (_write_after_done, "length"),
        (lambda w: w.write([Error("custom", "x")]), "custom"),
        (_raise(ProviderRejected("no", status=400)), "provider_rejected"),
        (_raise(StreamEnded("another stream's")), "stream_ended"),
        (_raise(ValueError("password=hunter2")), "producer_failed"),
        (_raise(asyncio.CancelledError()), "cancelled"),
        (_unencodable, "producer_failed"),
        (_no_event, "producer_failed"),
    ],
    ids=[
        "return",
        "after done",
        "error",
        "typed",
        "foreign StreamEnded",
        "foreign",
        "cancelled",
        "unencodable",
        "no event",
    ],
)
async def test_every_way_out_is_an_end(
    world: World, act: Callable[[Writer], object], expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Abort, error or time-out must not leave the stream open (Durable Streams proxy section 8.3)."""
    generation = await world.create(Acts(act))
    end = await end_of(generation)
    assert end.reason == expected
    assert isinstance(end, Done) == (expected in {"stop", "length", "cancelled"})
    assert Text("part") in stored(world, generation)
    assert sum(isinstance(event, Done | Error) for event in stored(world, generation)) == 1
    assert sum(isinstance(event, Usage) for event in stored(world, generation)) == 1
    assert "hunter2" not in str(end)
    assert slots(world) == (0, 0)


async def test_a_factory_that_raises_is_a_producer_that_failed(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A producer that never starts."""

    def make() -> Script:
        raise OSError("no model file")

    record = world.record()
    generation = world.generations.create(record, make, prompt_characters=0)
    generation.writer.write([Start(record.id, "m", 0)])
    generation.start()
    end = await end_of(generation)
    assert end.reason == "producer_failed"
    assert slots(world) == (0, 0)


class Stubborn:
    """Ignores its cancellation, then does `afterwards`."""

    def __init__(self, afterwards: Callable[[Writer], object] = lambda _: None) -> None:
        self.cancelled = asyncio.Event()
        self.release = asyncio.Event()
        self.running = asyncio.Event()
        self._afterwards = afterwards
        self.raised: BaseException | None = None

    async def run(self, writer: Writer) -> None:
        writer.write([Text("part")])
        self.running.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
        await self.release.wait()
        try:
            self._afterwards(writer)
        except BaseException as exc:
            self.raised = exc
            raise


async def test_a_producer_that_ignores_its_cancellation_ends_and_gives_its_slot_back(world: World) -> None:
    """Stop must stop (open-webui #1567, #16251), and the slot comes back (litellm #30244, #36123)."""
    stubborn = Stubborn(lambda writer: writer.write([Text("late")]))
    generation = await world.create(stubborn)
    await stubborn.running.wait()
    generation.cancel()
    assert slots(world) == (0, 0)
    assert await generation.channel.wait_end() == Done("cancelled")
    stubborn.release.set()
    assert generation.task is not None
    await asyncio.wait((generation.task,))
    assert isinstance(stubborn.raised, StreamEnded)
    assert [type(event) for event in stored(world, generation)] == [Start, Text, Usage, Done]
    assert slots(world) == (0, 0)


async def test_a_cancellation_reaches_the_producer_at_once(world: World) -> None:
    """`cancel` stops the provider within 100 ms (litellm #37140; bifrost #3164; production-stack #634)."""
    script = Script()
    generation = await world.create(script)
    await script.started.wait()
    generation.cancel()
    assert generation.task is not None
    await asyncio.wait((generation.task,))
    assert script.stopped.is_set()


@pytest.mark.parametrize("watched", [True, False])
async def test_a_second_cancel_changes_nothing(world: World, watched: bool) -> None:
    script = Script()
    generation = await world.create(script)
    generation.cancel()
    generation.cancel()
    assert await end_of(generation) == Done("cancelled")
    generation.cancel()
    assert [type(event) for event in stored(world, generation)] == [Start, Usage, Done]


async def test_a_cancel_before_the_first_step_never_runs_the_producer(world: World) -> None:
    script = Script()
    generation = await world.create(script)
    generation.cancel()
    assert await end_of(generation) == Done("cancelled")
    assert script.runs == 0
    assert slots(world) == (0, 0)


async def test_a_cancel_loses_against_an_end_that_came_first(world: World) -> None:
    script = Script()
    generation = await world.create(script)
    world.log.gate = asyncio.Event()
    script.say("a")
    script.finish()
    await eventually(lambda: generation.writer.ended)
    generation.cancel()
    world.log.gate.set()
    assert await end_of(generation) == Done("stop")


async def test_a_producer_may_cancel_its_own_stream(world: World) -> None:
    script = Script()
    generation = await world.create(script)
    script.act(lambda _: generation.cancel())
    script.leave()
    assert await end_of(generation) == Done("cancelled")
    assert script.stopped.is_set()


async def test_who_waits_says_so_and_is_served_in_turn(world: World) -> None:
    scripts = [Script() for _ in range(4)]
    generations = [await world.create(script) for script in scripts]
    await eventually(lambda: slots(world) == (2, 2))
    await eventually(lambda: len(stored(world, generations[3])) == 2)
    assert stored(world, generations[2])[1] == Status("queued", position=1)
    assert stored(world, generations[3])[1] == Status("queued", position=2)
    assert generations[3].channel.status == "queued"
    scripts[0].finish()
    await scripts[2].started.wait()
    assert scripts[3].runs == 0
    for script in scripts[1:]:
        script.finish()
    for generation in generations:
        assert await end_of(generation) == Done("stop")
    assert slots(world) == (0, 0)


@pytest.mark.parametrize("how", ["cancel", "total", "linger"])
async def test_who_waits_can_be_ended(world: World, how: str) -> None:
    """Concurrency slots never come back when streams are cancelled (litellm #27955, #20256; bifrost PR #6802)."""
    running = [await world.create(Script()) for _ in range(2)]
    script = Script()
    waiting = await world.create(script, linger_s=7.0)
    await eventually(lambda: waiting.channel.next_seq == 2)
    match how:
        case "cancel":
            waiting.cancel()
        case "total":
            waiting.audience_changed(world.now)
            waiting.alone_since = None
            waiting.sweep(world.now + 101)
        case _:
            waiting.sweep(world.now + 8)
    end = await end_of(waiting)
    assert end.reason == ("provider_timeout" if how == "total" else "cancelled")
    assert script.runs == 0
    assert slots(world) == (2, 0)
    for generation in running:
        generation.cancel()
        await end_of(generation)
    assert slots(world) == (0, 0)


async def test_the_wait_for_a_slot_is_bounded() -> None:
    async with World(settings=StreamSettings(max_streams=1, queue_timeout_s=0.01)) as world:
        running = await world.create(Script())
        waiting = await world.create(Script())
        end = await end_of(waiting)
        assert isinstance(end, Error)
        assert (end.reason, end.status, end.retryable, end.retry_after_s) == ("queue_timeout", 503, True, 1.0)
        assert slots(world) == (1, 0)
        running.cancel()
        await end_of(running)
        assert slots(world) == (0, 0)


async def test_a_grant_that_came_with_the_cancel_is_passed_on(world: World) -> None:
    running = [await world.create(Script()) for _ in range(2)]
    next_up, script = await world.create(Script()), Script()
    last = await world.create(script)
    await eventually(lambda: slots(world) == (2, 2))
    await eventually(lambda: last.channel.next_seq == 2)
    running[0].cancel()  # grants `next_up` its slot
    next_up.cancel()  # before its task could run
    await script.started.wait()
    assert slots(world) == (2, 0)


# ------------------------------------------------------------------ watchdogs


async def watched(world: World, script: Script) -> Generation:
    generation = await world.create(script)
    generation.channel.holds += 1
    generation.audience_changed(world.now)
    await script.started.wait()
    return generation


async def test_the_first_token_has_its_own_time_out(world: World) -> None:
    """One time-out knob with two meanings (litellm #19184)."""
    script = Script()
    generation = await watched(world, script)
    began = world.now
    script.act(lambda writer: writer.touch())
    script.put(Status("searching"))
    await eventually(lambda: generation.channel.next_seq == 2)
    generation.sweep(began + 9.9)
    assert not generation.writer.ended
    generation.sweep(began + 10.1)
    generation.sweep(began + 20)
    end = await end_of(generation)
    assert isinstance(end, Error)
    assert (end.reason, end.status, end.message) == ("provider_timeout", 504, "no first token within 10 s")
    assert script.stopped.is_set()
    assert slots(world) == (0, 0)


async def test_silence_between_tokens_is_noticed(world: World) -> None:
    """No inter-token time-out (tensorzero #6328)."""
    script = Script()
    generation = await watched(world, script)
    script.say("a")
    await eventually(lambda: generation.channel.next_seq == 2)
    now = world.now
    generation.sweep(now)
    generation.sweep(now + 4.9)
    assert not generation.writer.ended
    generation.sweep(now + 5.1)
    end = await end_of(generation)
    assert isinstance(end, Error)
    assert end.message == "the provider was silent for 5 s"
    assert Text("a") in stored(world, generation)
    assert slots(world) == (0, 0)


async def test_a_comment_of_the_upstream_counts_as_life(world: World) -> None:
    """Upstream comments do not reset the watchdog (mattermost-plugin-agents #985)."""
    script = Script()
    generation = await watched(world, script)
    script.say("a")
    await eventually(lambda: generation.channel.next_seq == 2)
    now = world.now
    for tick in range(1, 10):
        script.act(lambda writer: writer.touch())
        await eventually(lambda: generation.writer.alive)
        generation.sweep(now + 4 * tick)
        assert not generation.writer.alive
    assert not generation.writer.ended
    generation.sweep(now + 4 * 9 + 5.1)
    assert (await end_of(generation)).reason == "provider_timeout"


async def test_our_own_slow_log_is_no_silence_of_the_provider() -> None:
    settings = StreamSettings(idle_timeout_s=5, max_pending_bytes=100)
    async with World(settings=settings) as world:
        script = Script()
        generation = await watched(world, script)
        world.log.gate = asyncio.Event()
        script.say("a" * 500)
        await eventually(lambda: generation.writer.congested)
        for tick in range(10):
            generation.sweep(world.now + 5 * tick)
        assert not generation.writer.ended
        generation.cancel()


async def test_a_continued_answer_has_a_first_token_of_its_own(world: World) -> None:
    """A long prompt is read again before the next token comes: that is no silence in mid-answer."""
    state = Fold()
    state.apply(Text("so far"))
    script = Script()
    record = world.record()
    generation = world.generations.take_up(record, state, lambda: script)
    generation.start()
    await script.started.wait()
    began = world.now
    generation.audience_changed(began)
    generation.sweep(began + 9.9)
    assert not generation.writer.ended
    generation.sweep(began + 10.1)
    assert generation.writer.ended
    assert isinstance(generation.writer.fold.terminal, Error)
    assert "no first token" in generation.writer.fold.terminal.message


async def test_the_total_time_is_bounded_though_tokens_flow(world: World) -> None:
    script = Script()
    generation = await watched(world, script)
    script.say("a")
    await eventually(lambda: generation.channel.next_seq == 2)
    now = world.now
    for tick in range(99):
        generation.writer.alive = True
        generation.sweep(now + tick)
    assert not generation.writer.ended
    generation.writer.alive = True
    generation.sweep(now + 101)
    end = await end_of(generation)
    assert isinstance(end, Error)
    assert end.message == "the answer took longer than 100 s"


async def test_a_watchdog_fires_once(world: World) -> None:
    script = Script()
    generation = await watched(world, script)
    for _ in range(3):
        generation.sweep(world.now + 1000)
    await end_of(generation)
    generation.sweep(world.now + 2000)
    assert [type(event) for event in stored(world, generation)] == [Start, Usage, Error]


async def test_before_the_producer_runs_there_is_no_silence(world: World) -> None:
    for _ in range(2):
        await world.create(Script())
    waiting = await world.create(Script())
    waiting.channel.holds = 1
    waiting.audience_changed(world.now)
    waiting.sweep(world.now + 50)
    assert not waiting.writer.ended


# ------------------------------------------------------------------ audience


async def test_a_viewer_that_leaves_stops_nothing_until_linger_is_over(world: World) -> None:
    """Stop is not disconnect (vercel/ai #6502, #18458); the abandoned stream still ends (litellm #30244)."""
    script = Script()
    generation = await world.create(script, linger_s=30.0)
    viewer = world.watch(generation.channel, MemorySink())
    generation.audience_changed(world.now)
    generation.sweep(world.now + 9)
    assert generation.alone_since is None
    viewer.close()
    left = world.now
    generation.audience_changed(left)
    generation.audience_changed(left + 5)  # no viewer is no news
    generation.writer.watch(None)  # the other watchdogs are not in question here
    generation.sweep(left + 29.9)
    assert not generation.writer.ended
    generation.sweep(left + 30)
    assert await end_of(generation) == Done("cancelled")
    assert slots(world) == (0, 0)


async def test_who_comes_back_in_time_keeps_it_alive(world: World) -> None:
    generation = await world.create(Script(), linger_s=6.0)
    channel, now = generation.channel, world.now
    generation.writer.watch(None)
    for start in (0, 5, 10):
        channel.holds = 1
        generation.audience_changed(now + start)
        channel.holds = 0
        generation.audience_changed(now + start + 1)
        generation.sweep(now + start + 5)
    assert not generation.writer.ended


async def test_without_linger_the_last_leaving_ends_it_at_once(world: World) -> None:
    """A disconnect before the first token goes unnoticed (litellm PR #31499)."""
    script = Script()
    generation = await world.create(script, linger_s=0.0)
    one, two = (world.watch(generation.channel, MemorySink()) for _ in range(2))
    generation.audience_changed(world.now)
    one.close()
    generation.audience_changed(world.now)
    assert not generation.writer.ended
    two.close()
    generation.audience_changed(world.now)
    assert generation.writer.ended
    assert await end_of(generation) == Done("cancelled")


async def test_linger_counts_from_acceptance_where_nobody_came(world: World) -> None:
    generation = await world.create(Script(), linger_s=5.0)
    accepted = world.now
    generation.sweep(accepted + 4.9)
    assert not generation.writer.ended
    generation.sweep(accepted + 5)
    assert await end_of(generation) == Done("cancelled")


async def test_who_asked_without_linger_has_time_to_come(world: World) -> None:
    """A sweep between acceptance and the first viewer must not end the answer that was just asked for."""
    generation = await world.create(Script(), linger_s=0.0)
    accepted = world.now
    generation.sweep(accepted)
    generation.sweep(accepted + FIRST_VIEWER_S - 0.1)
    assert not generation.writer.ended
    generation.sweep(accepted + FIRST_VIEWER_S)
    assert await end_of(generation) == Done("cancelled")


async def test_a_slow_acceptance_is_not_taken_off_the_linger(world: World) -> None:
    record = world.record(linger_s=5.0)
    generation = world.generations.create(record, Script, prompt_characters=0)
    generation.alone_since = world.now - 60
    generation.writer.write([Start(record.id, "m", 0)])
    await generation.writer.flush()
    generation.sweep(world.now)  # not started: its creator has it
    generation.start()
    generation.sweep(world.now)
    assert not generation.writer.ended


async def test_who_came_before_the_start_is_counted(world: World) -> None:
    record = world.record(linger_s=0.0)
    generation = world.generations.create(record, Script, prompt_characters=0)
    generation.writer.write([Start(record.id, "m", 0)])
    await generation.writer.flush()
    generation.channel.holds = 1
    generation.audience_changed(world.now)
    generation.start()
    generation.sweep(world.now + 9)
    assert not generation.writer.ended


# ------------------------------------------------------------------ letting go


def _say_that_all_is_well(writer: Writer) -> None:
    writer.write([Done("stop")])


@pytest.mark.parametrize(
    "afterwards",
    [lambda _: None, _say_that_all_is_well, _raise(ValueError("closed")), _raise(ProviderRejected("x", status=500))],
    ids=["returns", "writes done", "raises", "raises typed"],
)
async def test_a_stream_handed_over_gets_no_end_here(
    world: World, afterwards: Callable[[Writer], object], caplog: pytest.LogCaptureFixture
) -> None:
    """A cut answer must not become a clean one (portkey #1797; bifrost #5546): the next process finishes it."""
    stubborn = Stubborn(afterwards)
    generation = await world.create(stubborn)
    await stubborn.running.wait()
    generation.hand_over()
    assert slots(world) == (0, 0)
    stubborn.release.set()
    assert generation.task is not None
    await asyncio.wait((generation.task,))
    await generation.writer.flush()
    assert stored(world, generation)[-1] == Text("part")
    generation.sweep(world.now + 10_000)
    generation.cancel()
    assert stored(world, generation)[-1] == Text("part")


async def test_a_stream_that_the_log_lost_stops_its_producer(world: World) -> None:
    world.log.always = LogUnavailable("disk full")
    script = Script()
    record = world.record()
    generation = world.generations.create(record, lambda: script, prompt_characters=0)
    generation.writer.write([Start(record.id, "m", 0)])
    generation.start()
    generation.writer.lost(LogUnavailable("disk full"))
    assert generation.task is not None
    await asyncio.wait((generation.task,))
    assert slots(world) == (0, 0)


class Lingers:
    """Ends its answer and does not return."""

    def __init__(self) -> None:
        self.stopped = asyncio.Event()

    async def run(self, writer: Writer) -> None:
        writer.write([Text("a"), Done("stop")])
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped.set()


async def test_a_producer_that_does_not_return_after_its_end_keeps_no_slot(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upstream that never closes its body must not keep the slot (litellm #27955) nor the task."""
    monkeypatch.setattr("headwater.streams.generation.WIND_UP_S", 1000.0)
    lasting = await world.create(Lingers())
    assert await lasting.channel.wait_end() == Done("stop")
    assert slots(world) == (0, 0)
    monkeypatch.setattr("headwater.streams.generation.WIND_UP_S", 0.01)
    producer = Lingers()
    generation = await world.create(producer)
    assert await generation.channel.wait_end() == Done("stop")
    await producer.stopped.wait()
    assert stored(world, generation)[-1] == Done("stop")


async def test_a_producer_that_returns_soon_after_its_end_is_not_cancelled(world: World) -> None:
    """It may read its upstream's last bytes, so that the connection can be used again."""
    script = Script()
    generation = await world.create(script)
    script.put(Text("a"), Done("stop"))
    await generation.channel.wait_end()
    script.leave()
    assert generation.task is not None
    await asyncio.wait((generation.task,), timeout=WIND_UP_S)
    assert not generation.task.cancelled()
    assert generation.task.exception() is None

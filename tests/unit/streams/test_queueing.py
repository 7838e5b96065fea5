"""Waiting for a slot: the place is told, the wait is bounded, and whatever ends it leaves the ticket to the caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from headwater.errors import QueueTimeout, StreamEnded
from headwater.events import Done, JsonObject, Status
from headwater.streams import Gate, wait_for_slot
from headwater.streams.generation import Generation
from headwater.streams.settings import StreamSettings

from .kit import Script, World
from .virtual_time import loop_time, run_virtual


@asynccontextmanager
async def waiting_stream() -> AsyncIterator[tuple[World, Generation]]:
    """A real stream with a real writer, whose producer does nothing."""
    async with World(settings=StreamSettings(total_timeout_s=10_000)) as world:
        script = Script()
        generation = await world.create(script)
        await script.started.wait()
        yield world, generation


def told(world: World, generation: Generation) -> list[Status]:
    return [event for event in world.log.committed(generation.channel.id) if isinstance(event, Status)]


def positions(world: World, generation: Generation) -> list[int | None]:
    return [status.position for status in told(world, generation)]


Story = Callable[[World, Generation, Gate], Awaitable[None]]


def play(story: Story, gate: Callable[[], Gate] = lambda: Gate(1, 99, clock=loop_time)) -> None:
    async def live() -> None:
        async with waiting_stream() as (world, generation):
            await story(world, generation, gate())

    run_virtual(live())


def test_who_is_admitted_at_once_is_told_nothing() -> None:
    async def story(world: World, generation: Generation, gate: Gate) -> None:
        await wait_for_slot(gate.enter(), generation.writer, timeout_s=1)
        assert told(world, generation) == []
        assert loop_time() == 0

    play(story)


def test_who_was_granted_before_it_looked_is_told_nothing() -> None:
    async def story(world: World, generation: Generation, gate: Gate) -> None:
        before, ticket = gate.enter(), gate.enter()
        before.release()
        await wait_for_slot(ticket, generation.writer, timeout_s=0)
        assert told(world, generation) == []

    play(story)


def test_the_place_is_told_at_once_and_when_it_has_changed() -> None:
    async def story(world: World, generation: Generation, gate: Gate) -> None:
        before = [gate.enter() for _ in range(4)]
        waiting = asyncio.create_task(wait_for_slot(gate.enter(), generation.writer, timeout_s=100))
        await asyncio.sleep(0.1)
        assert told(world, generation) == [Status("queued", position=4)]
        await asyncio.sleep(5)
        assert positions(world, generation) == [4]
        before[1].release()
        before[2].release()
        await asyncio.sleep(1)
        assert positions(world, generation) == [4, 2]
        gate.enter("high")
        await asyncio.sleep(1)
        assert positions(world, generation) == [4, 2, 3]

        before[3].release()
        before[0].release()
        await asyncio.sleep(1)
        assert positions(world, generation) == [4, 2, 3, 1]
        assert not waiting.done()
        waiting.cancel()

    play(story)


def test_however_fast_the_queue_moves_one_look_a_second_is_enough() -> None:
    async def story(world: World, generation: Generation, gate: Gate) -> None:
        before = [gate.enter() for _ in range(100)]
        ticket = gate.enter()
        waiting = asyncio.create_task(wait_for_slot(ticket, generation.writer, timeout_s=100))
        for other in before:
            await asyncio.sleep(0.05)
            other.release()
        await waiting
        assert not ticket.waiting
        seen = [place for place in positions(world, generation) if place is not None]
        assert len(seen) in (5, 6)
        assert seen == sorted(seen, reverse=True)

    play(story, lambda: Gate(1, 100, clock=loop_time))


def test_the_wait_ends_the_moment_the_slot_comes() -> None:
    async def story(world: World, generation: Generation, gate: Gate) -> None:
        before, ticket = gate.enter(), gate.enter()
        asyncio.get_running_loop().call_later(3.3, before.release)
        await wait_for_slot(ticket, generation.writer, timeout_s=100)
        assert loop_time() == pytest.approx(3.3)
        assert gate.running == 1

    play(story)


@pytest.mark.parametrize(
    ("name", "target", "message", "status"),
    [
        ("", None, "no slot of this server within 2.5 s", Status("queued", position=2)),
        (
            "openai",
            {"provider": "openai", "model": "gpt-4o"},
            "no slot of openai within 2.5 s",
            Status("queued", "waiting for openai", position=2, data={"provider": "openai", "model": "gpt-4o"}),
        ),
    ],
)
def test_the_wait_is_bounded(name: str, target: JsonObject | None, message: str, status: Status) -> None:
    async def story(world: World, generation: Generation, gate: Gate) -> None:
        for hold_s in (8, 8):
            held = gate.enter()
            await asyncio.sleep(hold_s)
            held.release()
        since = loop_time()
        _running, _first, ticket = gate.enter(), gate.enter(), gate.enter()
        with pytest.raises(QueueTimeout) as caught:
            await wait_for_slot(ticket, generation.writer, timeout_s=2.5, target=target)
        assert loop_time() - since == pytest.approx(2.5)
        assert (caught.value.message, caught.value.http_status, caught.value.retryable) == (message, 503, True)
        assert caught.value.retry_after_s == pytest.approx(2 * 8)
        assert told(world, generation) == [status]
        assert gate.queued == 2  # the ticket is still the caller's
        ticket.release()
        assert gate.queued == 1

    play(story, lambda: Gate(1, 99, name=name, clock=loop_time))


def test_a_cancelled_wait_takes_no_slot() -> None:
    """litellm #27955: slots of streams that were cancelled while they waited."""

    async def story(world: World, generation: Generation, gate: Gate) -> None:
        before, ticket = gate.enter(), gate.enter()
        waiting = asyncio.create_task(wait_for_slot(ticket, generation.writer, timeout_s=100))
        await asyncio.sleep(0.5)
        waiting.cancel()
        await asyncio.wait((waiting,))
        assert waiting.cancelled()
        assert ticket.granted is not None
        assert not ticket.granted.cancelled()
        assert (loop_time(), gate.queued) == (0.5, 1)
        ticket.release()
        before.release()
        assert (gate.running, gate.queued) == (0, 0)

    play(story)


def test_a_ticket_released_meanwhile_is_no_grant() -> None:
    async def story(world: World, generation: Generation, gate: Gate) -> None:
        _running, ticket = gate.enter(), gate.enter()
        waiting = asyncio.create_task(wait_for_slot(ticket, generation.writer, timeout_s=100))
        await asyncio.sleep(0.5)
        ticket.release()
        await asyncio.wait((waiting,))
        assert waiting.cancelled()
        assert loop_time() == 0.5

    play(story)


def test_a_stream_that_ended_meanwhile_ends_the_wait() -> None:
    async def story(world: World, generation: Generation, gate: Gate) -> None:
        before, _between, ticket = gate.enter(), gate.enter(), gate.enter()
        waiting = asyncio.create_task(wait_for_slot(ticket, generation.writer, timeout_s=100))
        await asyncio.sleep(0.5)
        generation.writer.end(Done("cancelled"))
        before.release()
        with pytest.raises(StreamEnded):
            await waiting
        assert loop_time() == pytest.approx(1)

    play(story)

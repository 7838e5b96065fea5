"""One attempt: whatever ends it, its slots come back, its breaker learns of it, and the ledger has it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headwater.errors import (
    HeadwaterError,
    ProviderRejected,
    ProviderTimeout,
    ProviderTruncated,
    ProviderUnreachable,
    QueueFull,
    QueueTimeout,
    StreamLimit,
)
from headwater.events import Done, Status, Text, Usage
from headwater.request import ChatRequest
from headwater.routing import TargetSettings
from headwater.routing.attempt import attempt, demand_of
from headwater.routing.ledger import Ledger
from headwater.routing.target import Upstreams
from headwater.streams.ports import Writer
from headwater.tables import Limits
from headwater.tables import Target as TargetTable
from tests.conformance.providers.kit import KeepingWriter

from .kit import Acting, Clock, fail, hang, say, target

REQUEST = ChatRequest("m", [{"role": "user", "content": "x" * 40}], {"max_tokens": 90})


class Bench:
    """One target, with a slot, and all that an attempt needs."""

    def __init__(self, act: Any, limits: Limits | None = None, **fields: Any) -> None:
        self.clock = Clock()
        self.upstreams = Upstreams(TargetSettings(breaker_failures=2), now=self.clock)
        limits = limits if limits is not None else Limits(max_concurrent=1)
        self.provider = Acting("a", act)
        self.target = target(self.provider, "m", self.upstreams, limits=limits, **fields)
        self.writer = KeepingWriter()
        self.ledger = Ledger(self.writer.fold, 10, self.clock, control=self.writer)
        self.writer.settle(self.ledger)

    async def run(self) -> HeadwaterError | None:
        producer = self.provider.producer(REQUEST, "m")
        async with asyncio.timeout(10):
            return await attempt(self.target, producer, self.writer, ledger=self.ledger, demand=demand_of(REQUEST))

    @property
    def outcomes(self) -> list[tuple[str | None, HeadwaterError | None]]:
        return [(entry.outcome, entry.error) for entry in self.ledger._attempts]


@pytest.mark.parametrize(
    ("params", "tokens"),
    [
        ({}, 10),
        ({"max_tokens": 90}, 100),
        ({"max_completion_tokens": 5, "max_tokens": 90}, 15),
        ({"max_tokens": "many"}, 10),
        ({"max_tokens": -5}, 10),
    ],
)
def test_what_a_request_demands(params: dict[str, Any], tokens: int) -> None:
    demand = demand_of(ChatRequest("m", REQUEST.messages, params, priority="high"))
    assert (demand.priority, demand.prompt_tokens, demand.tokens) == ("high", 10, tokens)


async def test_a_whole_answer() -> None:
    bench = Bench(say(Text("a"), Usage(1, 1), Done("stop")))
    bench.target.breaker.fail(probe=False)
    assert await bench.run() is None
    assert bench.outcomes == [("done", None)]
    assert bench.upstreams.running == 0
    bench.target.breaker.fail(probe=False)
    assert bench.target.breaker.state == "closed"  # the success has ended the row of failures
    assert bench.writer.watches[-1] is None


@pytest.mark.parametrize(
    ("error", "blamed"),
    [(ProviderTruncated("cut"), True), (ProviderRejected("no", status=400), False)],
)
async def test_a_failure_is_returned(error: HeadwaterError, blamed: bool) -> None:
    bench = Bench(fail(error))
    assert await bench.run() is error
    assert await bench.run() is error
    assert bench.outcomes == [("failed", error)] * 2
    assert bench.target.breaker.state == ("open" if blamed else "closed")
    assert bench.upstreams.running == 0


@pytest.mark.parametrize("error", [StreamLimit("too large"), KeyError("a bug"), TimeoutError("its own")])
async def test_anything_else_is_raised_and_still_lets_go(error: Exception) -> None:
    bench = Bench(fail(error))
    with pytest.raises(type(error)):
        await bench.run()
    assert bench.outcomes == [("failed", error if isinstance(error, HeadwaterError) else None)]
    assert (bench.upstreams.running, bench.target.breaker.state) == (0, "closed")


async def test_a_cancel_gives_everything_back_at_once() -> None:
    bench = Bench(hang)
    for _ in range(2):
        bench.target.breaker.fail(probe=False)
    bench.clock.now += 10
    running = asyncio.create_task(bench.run())
    await asyncio.sleep(0)
    assert bench.upstreams.running == 1
    assert bench.target.breaker.refuses  # this is the probe
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert bench.outcomes == [("cancelled", None)]
    assert bench.upstreams.running == 0
    assert not bench.target.breaker.refuses  # somebody else may probe


class TestSlots:
    async def test_are_waited_for_in_sight(self) -> None:
        bench = Bench(say(Done("stop")))
        holder = bench.target.gates[0].enter()
        running = asyncio.create_task(bench.run())
        await bench.writer.until(lambda writer: writer.of(Status))
        holder.release()
        assert await running is None
        place = {"provider": "a", "model": "m"}
        assert bench.writer.of(Status) == [Status("queued", "waiting for a", position=1, data=place)]

    async def test_of_a_target_are_told_from_those_of_its_provider(self) -> None:
        bench = Bench(say(Done("stop")), own=TargetTable(provider="a", max_concurrent=1), route="r")
        own, shared = [gate.enter() for gate in bench.target.gates]
        running = asyncio.create_task(bench.run())
        for holder, told in ((own, 1), (shared, 2)):
            await bench.writer.until(lambda writer, told=told: len(writer.of(Status)) == told)
            holder.release()
        assert await running is None
        assert [status.message for status in bench.writer.of(Status)] == ["waiting for a/m", "waiting for a"]

    async def test_a_cancel_while_waiting_leaves_the_queue(self) -> None:
        """Concurrency slots never come back when streams are cancelled: litellm #27955, #20256."""
        bench = Bench(say(Done("stop")))
        holder = bench.target.gates[0].enter()
        running = asyncio.create_task(bench.run())
        await bench.writer.until(lambda writer: writer.of(Status))
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert (bench.target.gates[0].queued, bench.outcomes) == (0, [])
        holder.release()
        assert bench.upstreams.running == 0

    async def test_a_full_queue_is_a_failed_attempt(self) -> None:
        bench = Bench(hang, Limits(max_concurrent=1, max_queued=0))
        bench.target.gates[0].enter()
        error = await bench.run()
        assert isinstance(error, QueueFull)
        assert bench.outcomes == [("failed", error)]
        assert bench.target.breaker.state == "closed"

    async def test_a_wait_is_bounded_and_gives_back_the_first_slot(self) -> None:
        own = TargetTable(provider="a", max_concurrent=5, queue_timeout_s=0.01)
        bench = Bench(hang, own=own, route="r")
        bench.target.gates[1].enter()
        assert isinstance(await bench.run(), QueueTimeout)
        assert [gate.running for gate in bench.target.gates] == [0, 1]

    @pytest.mark.parametrize(
        ("act", "left"),
        [
            (say(Text("a"), Usage(10, 5), Done("stop")), 1000 - 15),  # as told
            (fail(ProviderRejected("no", status=429)), 1000),  # refused: nothing was used
            (fail(ProviderUnreachable("no")), 1000),
            (fail(ProviderTimeout("no")), 1000 - 100),  # nobody knows: as reserved
        ],
    )
    async def test_tokens_are_settled(self, act: Any, left: int) -> None:
        class Settling(KeepingWriter):
            def write(self, events: Any) -> bool:
                flowing = super().write(events)
                for end in self.of(Done):
                    self.settlement.facts(self.fold.usage, end)  # type: ignore[union-attr, arg-type]
                return flowing

        bench = Bench(act, Limits(tokens_per_minute=1000))
        bench.writer = Settling()
        bench.ledger = Ledger(bench.writer.fold, 10, bench.clock, control=bench.writer)
        bench.writer.settle(bench.ledger)
        await bench.run()
        taken = bench.target.gates[0].enter(tokens=left - 1)
        assert taken.granted is None
        assert bench.target.gates[0].enter(tokens=20).granted is not None


class TestWatchdog:
    def fired(self, bench: Bench) -> None:
        watch = bench.writer.watches[-1]
        assert watch is not None
        watch.fire(ProviderTimeout("no first token"))

    async def test_ends_the_attempt_and_not_the_stream(self) -> None:
        bench = Bench(hang)
        running = asyncio.create_task(bench.run())
        await asyncio.sleep(0)
        self.fired(bench)
        error = await running
        assert isinstance(error, ProviderTimeout)
        assert error.provider == "a"
        assert bench.outcomes == [("failed", error)]
        assert bench.upstreams.running == 0
        assert bench.writer.watches[-1] is None

    async def test_watches_with_the_targets_own_times(self) -> None:
        bench = Bench(say(Done("stop")), Limits(first_token_timeout_s=3, idle_timeout_s=2))
        await bench.run()
        assert bench.writer.watches[0] is not None
        assert bench.writer.watches[0][:2] == (3, 2)

    async def test_that_fires_as_the_answer_ends_changes_nothing(self) -> None:
        def end(writer: Writer) -> Any:
            self.fired(bench)
            writer.write([Done("stop")])
            return hang(writer)

        bench = Bench(end)
        assert await bench.run() is None
        assert bench.outcomes == [("done", None)]

    async def test_that_fires_before_the_answer_returns_changes_nothing(self) -> None:
        def end(writer: Writer) -> None:
            self.fired(bench)
            writer.write([Done("stop")])

        bench = Bench(end)
        assert await bench.run() is None
        assert bench.target.breaker.state == "closed"

    async def test_a_cancel_at_the_same_moment_is_a_cancel(self) -> None:
        bench = Bench(hang)
        running = asyncio.create_task(bench.run())
        await asyncio.sleep(0)
        self.fired(bench)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert bench.outcomes == [("cancelled", None)]


async def test_the_streams_own_slot_is_lent_while_it_waits_for_the_targets() -> None:
    bench = Bench(say(Done("stop")))
    holder = bench.target.gates[0].enter()
    running = asyncio.ensure_future(bench.run())
    await bench.writer.until(lambda writer: writer.of(Status))
    assert bench.writer.lent == [True]
    holder.release()
    assert await running is None
    assert bench.writer.lent == [True, False]


async def test_a_target_that_says_itself_that_it_is_full_is_one_attempt() -> None:
    full = QueueFull("full there")
    bench = Bench(fail(full))
    assert await bench.run() is full
    assert bench.outcomes == [("failed", full)]
    assert (bench.upstreams.running, bench.target.breaker.state) == (0, "closed")

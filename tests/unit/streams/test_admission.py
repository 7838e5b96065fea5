"""The gate: slots, rates and the order of the queue; every slot comes back, and nobody starves."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import QueueFull
from headwater.request import Priority
from headwater.streams.admission import RANKS, Gate, Ticket

from .virtual_time import loop_time, pending_timers, run_virtual


class Clock:
    """Time is what the test says it is."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


# ------------------------------------------------------------------ slots


async def test_slots_then_the_queue_then_no() -> None:
    gate = Gate(1, 2)
    running, first, second = gate.enter(), gate.enter(), gate.enter()
    assert (running.waiting, first.waiting, second.waiting) == (False, True, True)
    assert (running.position, first.position, second.position) == (0, 1, 2)
    assert (gate.running, gate.queued) == (1, 2)
    with pytest.raises(QueueFull) as caught:
        gate.enter()
    assert (caught.value.http_status, caught.value.retryable) == (429, True)
    assert (gate.running, gate.queued) == (1, 2)


async def test_a_slot_goes_to_who_waited_longest() -> None:
    gate = Gate(1, 5)
    running, first, second = gate.enter(), gate.enter(), gate.enter()
    running.release()
    assert (first.waiting, second.waiting) == (False, True)
    assert (first.position, second.position) == (0, 1)
    assert first.granted is not None
    assert first.granted.done()
    first.release()
    assert not second.waiting
    second.release()
    assert (gate.running, gate.queued) == (0, 0)


async def test_without_a_bound_nobody_waits() -> None:
    gate = Gate(0, 0)
    tickets = [gate.enter() for _ in range(100)]
    assert [ticket.granted for ticket in tickets] == [None] * 100
    assert gate.running == 100
    for ticket in tickets:
        ticket.release()
    assert gate.running == 0


async def test_a_second_release_gives_nothing_back() -> None:
    gate = Gate(2, 0)
    one, _two = gate.enter(), gate.enter()
    one.release()
    one.release(tokens=5)
    assert gate.running == 1


async def test_who_leaves_the_queue_leaves_no_slot_behind() -> None:
    """Concurrency slots must come back from cancelled streams (litellm #27955, #20256; bifrost PR #6802)."""
    gate = Gate(1, 5)
    running, first, second = gate.enter(), gate.enter(), gate.enter()
    assert first.granted is not None
    first.release()
    first.release()
    assert first.granted.cancelled()
    assert (first.position, second.position) == (0, 1)
    running.release()
    assert not second.waiting
    assert (gate.running, gate.queued) == (1, 0)


async def test_a_grant_nobody_waits_for_any_more_is_passed_over() -> None:
    """A future that died with its waiter must not swallow the slot, nor give one back that it never had."""
    gate = Gate(1, 5)
    running, first, second = gate.enter(), gate.enter(), gate.enter()
    assert first.granted is not None
    first.granted.cancel()
    running.release()
    assert not second.waiting
    assert gate.running == 1
    first.release()
    assert gate.running == 1
    second.release()
    assert (gate.running, gate.queued) == (0, 0)


async def test_a_release_before_anybody_noticed_the_cancelled_future_is_one_from_the_queue() -> None:
    gate = Gate(1, 5)
    running, first = gate.enter(), gate.enter()
    assert first.granted is not None
    first.granted.cancel()
    first.release()
    assert (gate.running, gate.queued) == (1, 0)
    running.release()
    assert gate.running == 0


async def test_a_granted_slot_that_was_never_seen_comes_back() -> None:
    gate = Gate(1, 5)
    running, first, second = gate.enter(), gate.enter(), gate.enter()
    running.release()
    first.release()  # granted, but its task was cancelled before it ran
    assert not second.waiting
    assert gate.running == 1


# ------------------------------------------------------------------ order


async def test_a_high_one_overtakes_within_its_time(clock: Clock) -> None:
    gate = Gate(1, 9, ageing_s=10, clock=clock)
    gate.enter()
    low, normal = gate.enter("low"), gate.enter("normal")
    clock.now += 9.9
    high = gate.enter("high")
    assert [high.position, normal.position, low.position] == [1, 2, 3]
    clock.now += 0.2
    late = gate.enter("high")
    assert [high.position, normal.position, late.position, low.position] == [1, 2, 3, 4]
    clock.now += 10
    later = gate.enter("high")
    assert [low.position, later.position] == [4, 5]


async def test_without_ageing_all_are_equal(clock: Clock) -> None:
    gate = Gate(1, 9, ageing_s=0, clock=clock)
    gate.enter()
    waiting = [gate.enter("low"), gate.enter("high"), gate.enter("normal")]
    assert [ticket.position for ticket in waiting] == [1, 2, 3]


async def test_a_free_slot_is_never_kept_from_anybody() -> None:
    gate = Gate(2, 0)
    assert gate.enter("low").granted is None
    assert gate.enter("low").granted is None


# ------------------------------------------------------------------ rates


async def test_requests_start_in_a_burst_of_ten_seconds_and_then_at_the_rate() -> None:
    gate = Gate(0, 9, requests_per_minute=60)
    tickets = [gate.enter() for _ in range(12)]
    assert [ticket.waiting for ticket in tickets] == [False] * 10 + [True] * 2
    for ticket in tickets:
        ticket.release()


def test_the_next_one_is_woken_when_the_bucket_allows_it() -> None:
    async def history() -> list[float]:
        gate = Gate(0, 9, requests_per_minute=6, clock=loop_time)
        tickets = [gate.enter() for _ in range(4)]
        started = []
        for ticket in tickets:
            if ticket.granted is not None:
                await ticket.granted
            started.append(loop_time())
            ticket.release()
        assert (gate.running, gate.queued) == (0, 0)
        return started

    assert run_virtual(history()) == pytest.approx([0, 10, 20, 30], abs=0.01)


def test_a_slot_and_a_bucket_are_both_needed() -> None:
    async def history() -> None:
        gate = Gate(1, 9, requests_per_minute=6, clock=loop_time)
        first, second = gate.enter(), gate.enter()
        await asyncio.sleep(25)
        assert second.waiting  # the bucket allows it, the slot does not
        first.release()
        assert not second.waiting
        third = gate.enter()
        second.release()
        assert third.waiting  # the slot allows it, the bucket does not
        assert third.granted is not None
        await third.granted
        assert loop_time() == pytest.approx(35, abs=0.01)

    run_virtual(history())


def test_tokens_are_reserved_and_settled() -> None:
    async def history() -> None:
        gate = Gate(0, 9, tokens_per_minute=6000, clock=loop_time)
        first = gate.enter(tokens=6000)
        second = gate.enter(tokens=1000)
        assert second.waiting
        first.release(tokens=4500)  # less than was reserved
        assert not second.waiting
        third = gate.enter(tokens=1000)
        second.release(tokens=90_000)  # more: debt, but a minute's worth at most
        assert third.granted is not None
        await third.granted
        assert loop_time() == pytest.approx(60 + 10, abs=0.01)  # to nothing, then its own thousand
        third.release()
        assert gate.running == 0

    run_virtual(history())


def test_a_higher_priority_with_less_to_ask_goes_by_while_the_head_waits_for_tokens() -> None:
    async def history() -> None:
        gate = Gate(0, 9, tokens_per_minute=60, ageing_s=10, clock=loop_time)
        gate.enter(tokens=50)
        large = gate.enter(tokens=40)
        small = gate.enter("low", tokens=1)
        assert (large.position, small.position) == (1, 2)  # no way round the head: it would starve
        assert gate.enter("high", tokens=5).granted is None
        wide = gate.enter("high", tokens=10)
        assert (wide.position, large.position, small.position) == (1, 2, 3)
        assert wide.granted is not None
        await wide.granted
        assert loop_time() == pytest.approx(5, abs=0.01)
        wide.release(tokens=0)
        assert large.granted is not None
        await large.granted
        assert loop_time() == pytest.approx(35, abs=0.01)

    run_virtual(history())


def test_who_leaves_from_the_head_makes_way() -> None:
    async def history() -> None:
        gate = Gate(0, 9, tokens_per_minute=60, clock=loop_time)
        gate.enter(tokens=50)
        large, small = gate.enter(tokens=40), gate.enter(tokens=10)
        large.release()
        assert not small.waiting
        waiting = [gate.enter(tokens=20), gate.enter(tokens=20), gate.enter("high", tokens=20)]
        assert pending_timers() == 1
        waiting[1].release()
        waiting[2].release()
        assert pending_timers() == 1
        waiting[0].release()
        assert pending_timers() == 0

    run_virtual(history())


# ------------------------------------------------------------------ when to come back


async def refused(gate: Gate, tokens: int = 0) -> float:
    with pytest.raises(QueueFull) as caught:
        gate.enter(tokens=tokens)
    assert caught.value.retry_after_s is not None
    return caught.value.retry_after_s


async def test_retry_after_follows_hold_times_and_the_queue(clock: Clock) -> None:
    gate = Gate(2, 3, clock=clock)
    for hold_s in (4.0, 4.0):
        ticket = gate.enter()
        clock.now += hold_s
        ticket.release()
    waiting = [gate.enter() for _ in range(5)][2:]
    assert await refused(gate) == pytest.approx(4 * 4.0 / 2)
    assert waiting[-1].retry_after_s == pytest.approx(3 * 4.0 / 2)  # it is one of the three itself


async def test_retry_after_forgets_old_hold_times(clock: Clock) -> None:
    gate = Gate(1, 0, clock=clock)
    for hold_s in [50.0] + 100 * [2.0]:
        ticket = gate.enter()
        clock.now += hold_s
        ticket.release()
    gate.enter()
    assert await refused(gate) == pytest.approx(2, abs=0.1)


async def test_retry_after_is_bounded(clock: Clock) -> None:
    quick, slow = Gate(1, 0, clock=clock), Gate(1, 0, clock=clock)
    for gate, hold_s in ((quick, 0.001), (slow, 1000.0)):
        ticket = gate.enter()
        clock.now += hold_s
        ticket.release()
        gate.enter()
    assert (await refused(quick), await refused(slow)) == (1, 60)


async def test_retry_after_is_not_longer_than_one_may_wait(clock: Clock) -> None:
    """Who is told to stay away for 50 s where the queue lasts 12 loses the place that it could have had."""
    hasty, instant = Gate(1, 0, longest_retry_s=12, clock=clock), Gate(1, 0, longest_retry_s=0.01, clock=clock)
    for gate in (hasty, instant):
        ticket = gate.enter()
        clock.now += 50
        ticket.release()
        gate.enter()
    assert (await refused(hasty), await refused(instant)) == (12, 1)


@pytest.mark.parametrize(
    ("name", "running", "queued", "message"),
    [
        ("", 1, 2, "the queue of this server is full: 1 request is running and 2 wait already"),
        ("openai", 2, 1, "the queue of openai is full: 2 requests are running and 1 waits already"),
        ("openai/gpt-4o", 1, 0, "the queue of openai/gpt-4o is full: 1 request is running and none may wait"),
    ],
)
async def test_a_refusal_says_whose_queue_is_full(name: str, running: int, queued: int, message: str) -> None:
    gate = Gate(running, queued, name=name)
    tickets = [gate.enter() for _ in range(running + queued)]
    with pytest.raises(QueueFull) as caught:
        gate.enter()
    assert caught.value.message == message
    assert {ticket.queue for ticket in tickets} == {name}


async def test_retry_after_before_anything_was_measured() -> None:
    gate = Gate(4, 0)
    for _ in range(4):
        gate.enter()
    assert await refused(gate) == pytest.approx(2.5)


async def test_retry_after_knows_the_buckets(clock: Clock) -> None:
    requests = Gate(0, 1, requests_per_minute=6, clock=clock)
    tokens = Gate(0, 1, tokens_per_minute=600, clock=clock)
    for gate in (requests, tokens):
        gate.enter(tokens=600)
        gate.enter(tokens=100)
    assert await refused(requests) == pytest.approx(20)
    assert await refused(tokens, tokens=50) == pytest.approx(15)
    for gate in (requests, tokens):
        gate._queue[0].release()


# ------------------------------------------------------------------ properties

Priorities = st.sampled_from(["low", "normal", "high"])
Steps = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), Priorities, st.integers(0, 50)),
        st.tuples(st.just("release"), st.integers(0, 30), st.none() | st.integers(0, 80)),
        st.tuples(st.just("lose"), st.integers(0, 30), st.none()),
        st.tuples(st.just("pass"), st.floats(0, 15), st.none()),
    ),
    max_size=60,
)


class Entry(NamedTuple):
    ticket: Ticket
    priority: Priority
    entered: float
    number: int


class History:
    """Drives a gate and checks after each step what must hold at any moment."""

    def __init__(self, gate: Gate, *, running: int, queued: int, ageing_s: float, rated: bool) -> None:
        self.gate = gate
        self.held: list[Entry] = []
        self.started: list[float] = []
        self._bounds = (running, queued)
        self._ageing_s = ageing_s
        self._rated = rated
        self._waiting: list[Entry] = []
        self._numbers = 0

    async def step(self, kind: str, which: object, amount: object) -> None:
        match kind, which, amount:
            case "enter", ("low" | "normal" | "high") as priority, int(tokens):
                self._enter(priority, tokens)
            case "release", int(index), tokens if self.held:
                assert tokens is None or isinstance(tokens, int)
                self.held.pop(index % len(self.held)).ticket.release(tokens)
            case "lose", int(index), None if self.held:
                # A waiter that is cancelled while it awaits the future itself, and releases at once.
                entry = self.held.pop(index % len(self.held))
                if entry.ticket.granted is not None:
                    entry.ticket.granted.cancel()
                entry.ticket.release()
            case "pass", float(pause_s), None:
                await asyncio.sleep(pause_s)
            case _:
                pass
        self._check()

    def _enter(self, priority: Priority, tokens: int) -> None:
        self._numbers += 1
        try:
            ticket = self.gate.enter(priority, tokens)
        except QueueFull:
            assert self.gate.queued == self._bounds[1]
            return
        entry = Entry(ticket, priority, loop_time(), self._numbers)
        self.held.append(entry)
        if ticket.granted is None:
            self.started.append(loop_time())
            assert all(self._key(entry) < self._key(other) for other in self._waiting)
        else:
            self._waiting.append(entry)
            ticket.granted.add_done_callback(
                lambda granted: None if granted.cancelled() else self.started.append(loop_time())
            )

    def _key(self, entry: Entry) -> tuple[float, int]:
        return (entry.entered - RANKS[entry.priority] * self._ageing_s, entry.number)

    def _check(self) -> None:
        gate, (max_running, max_queued) = self.gate, self._bounds
        waiting = sorted((entry for entry in self.held if entry.ticket.waiting), key=self._key)
        assert (gate.queued, gate.running) == (len(waiting), len(self.held) - len(waiting))
        assert gate.queued <= max_queued
        assert not max_running or gate.running <= max_running
        assert [entry.ticket.position for entry in waiting] == list(range(1, len(waiting) + 1))
        if waiting and not self._rated:
            assert gate.running == max_running  # nobody waits beside a free slot
        granted = [entry for entry in self._waiting if entry in self.held and not entry.ticket.waiting]
        assert not waiting or all(self._key(entry) < self._key(waiting[0]) for entry in granted)
        self._waiting = waiting


@given(Steps, st.integers(0, 3), st.integers(0, 5), st.sampled_from([0.0, 2.0, 10.0]), st.booleans())
def test_whatever_happens_slots_and_order_hold(
    steps: list[tuple[str, object, object]], running: int, queued: int, ageing_s: float, rated: bool
) -> None:
    """Slots never exceed, never leak and never idle; the order is that of the keys; rates hold."""
    rates = {"requests_per_minute": 30, "tokens_per_minute": 200} if rated else {}

    async def live() -> None:
        gate = Gate(running, queued, ageing_s=ageing_s, clock=loop_time, **rates)
        history = History(gate, running=running, queued=queued, ageing_s=ageing_s, rated=rated)
        for step in steps:
            await history.step(*step)
        if rated:
            check_rate(history.started, burst=5, per_s=0.5)
            # With time alone all get in where slots are free: the gate's own timer brings them.
            futures = [entry.ticket.granted for entry in history.held if entry.ticket.granted is not None]
            if futures and not running:
                await asyncio.wait(futures)
                assert gate.queued == 0
        for entry in list(history.held):
            entry.ticket.release()
        assert (gate.running, gate.queued, pending_timers()) == (0, 0, 0)

    run_virtual(live())


def check_rate(started: list[float], *, burst: float, per_s: float) -> None:
    for first, since in enumerate(started):
        for count, until in enumerate(started[first:], 1):
            assert count <= burst + (until - since) * per_s + 1e-3


Arrivals = st.lists(st.tuples(st.floats(0, 4), Priorities, st.floats(0.01, 8)), min_size=2, max_size=40)


@given(Arrivals, st.integers(1, 3), st.sampled_from([0.0, 1.0, 5.0]))
def test_nobody_is_overtaken_by_what_came_too_late(
    arrivals: list[tuple[float, Priority, float]], slots: int, ageing_s: float
) -> None:
    """A request is overtaken only by what came within `ageing_s` a step of priority after it; so nobody starves."""

    async def live() -> list[tuple[float, float, Priority]]:
        gate = Gate(slots, len(arrivals), ageing_s=ageing_s, clock=loop_time)
        told: list[tuple[float, float, Priority]] = []

        async def one(priority: Priority, hold_s: float) -> None:
            entered = loop_time()
            ticket = gate.enter(priority)
            if ticket.granted is not None:
                await ticket.granted
            told.append((entered, loop_time(), priority))
            await asyncio.sleep(hold_s)
            ticket.release()

        async with asyncio.TaskGroup() as group:
            for pause_s, priority, hold_s in arrivals:
                await asyncio.sleep(pause_s)
                group.create_task(one(priority, hold_s))
        assert (gate.running, gate.queued) == (0, 0)
        return told

    told = run_virtual(live())
    assert len(told) == len(arrivals)
    for entered, started, priority in told:
        for other_entered, other_started, other_priority in told:
            steps = max(RANKS[other_priority] - RANKS[priority], 0)
            if other_entered > entered + steps * ageing_s:
                assert other_started >= started


def overload(ageing_s: float) -> list[float]:
    """Twenty callers of high priority for two slots, each back at once, and five low ones among them.

    Each holds its slot for a second. Returns when the low ones had been served, of a thousand seconds.
    """

    async def live() -> list[float]:
        gate = Gate(2, 100, ageing_s=ageing_s, clock=loop_time)
        served: list[float] = []

        async def hold(priority: Priority) -> None:
            ticket = gate.enter(priority)
            try:
                if ticket.granted is not None:
                    await ticket.granted
                await asyncio.sleep(1)
            finally:
                ticket.release()

        async def again_and_again() -> None:
            while True:
                await hold("high")

        async def once() -> None:
            await hold("low")
            served.append(loop_time())

        callers = [asyncio.create_task(again_and_again()) for _ in range(20)]
        await asyncio.sleep(0.5)
        low = [asyncio.create_task(once()) for _ in range(5)]
        await asyncio.wait(low, timeout=1000)
        for caller in callers + low:
            caller.cancel()
        await asyncio.wait(callers + low)
        assert (gate.running, gate.queued) == (0, 0)
        return served

    return run_virtual(live())


def test_at_ten_times_overload_the_low_ones_are_served_while_high_ones_keep_coming() -> None:
    """They wait for their 2 x 10 s of ageing, and for the twenty callers that were in line before that."""
    served = overload(10)
    assert len(served) == 5
    assert all(20 < at < 20 + 20 / 2 + 5 for at in served)


def test_what_the_ageing_is_for() -> None:
    """The same load with next to no ageing: the low ones are never served."""
    assert overload(1e9) == []


async def test_no_number_of_tokens_holds_up_the_others() -> None:
    gate = Gate(1, 1, tokens_per_minute=60_000)
    huge, waiting = gate.enter(tokens=10**400), gate.enter(tokens=10**400)
    with pytest.raises(QueueFull) as caught:
        gate.enter()
    assert caught.value.retry_after_s == 60
    assert waiting.retry_after_s == 60
    huge.release(5)
    assert (gate.running, gate.queued, waiting.waiting) == (1, 0, False)
    waiting.release()
    assert gate.running == 0


# ------------------------------------------------------------------ lending


async def test_a_lent_slot_is_anothers() -> None:
    gate = Gate(1, 5)
    first, second, third = gate.enter(), gate.enter(), gate.enter()
    first.lend(True)
    first.lend(True)
    assert (second.waiting, third.waiting, gate.running) == (False, True, 1)
    first.lend(False)
    first.lend(False)
    assert gate.running == 2
    second.release()
    assert (third.waiting, gate.running) == (True, 1)
    first.release()
    assert (third.waiting, gate.running) == (False, 1)


async def test_who_leaves_while_its_slot_is_lent_has_none_to_give_back() -> None:
    gate = Gate(1, 5)
    first, second = gate.enter(), gate.enter()
    first.lend(True)
    first.release()
    first.lend(False)
    assert (second.waiting, gate.running) == (False, 1)
    second.release()
    assert gate.running == 0


async def test_who_waits_has_nothing_to_lend() -> None:
    gate = Gate(1, 5)
    first, second = gate.enter(), gate.enter()
    second.lend(True)
    assert (second.waiting, second.position, gate.running) == (True, 1, 1)
    first.release()
    assert (second.waiting, gate.running) == (False, 1)

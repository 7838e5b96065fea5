"""Slots: first come, first served; every one comes back."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import QueueFull
from headwater.streams.admission import Admission, Ticket


async def test_slots_then_the_queue_then_no() -> None:
    gate = Admission(1, 2)
    running, first, second = gate.enter(), gate.enter(), gate.enter()
    assert (running.waiting, first.waiting, second.waiting) == (False, True, True)
    assert (running.position, first.position, second.position) == (0, 1, 2)
    assert (gate.running, gate.queued) == (1, 2)
    with pytest.raises(QueueFull) as caught:
        gate.enter()
    assert (caught.value.http_status, caught.value.retryable) == (429, True)


async def test_a_slot_goes_to_who_waited_longest() -> None:
    gate = Admission(1, 5)
    running, first, second = gate.enter(), gate.enter(), gate.enter()
    running.release()
    assert (first.waiting, second.waiting) == (False, True)
    assert second.position == 1
    first.release()
    assert not second.waiting
    second.release()
    assert (gate.running, gate.queued) == (0, 0)


async def test_a_second_release_gives_nothing_back() -> None:
    gate = Admission(2, 0)
    one, _two = gate.enter(), gate.enter()
    one.release()
    one.release()
    assert gate.running == 1


async def test_who_leaves_the_queue_leaves_no_slot_behind() -> None:
    """Concurrency slots must come back from cancelled streams (litellm #27955, #20256; bifrost PR #6802)."""
    gate = Admission(1, 5)
    running, first, second = gate.enter(), gate.enter(), gate.enter()
    assert first.granted is not None
    first.release()
    assert first.granted.cancelled()
    running.release()
    assert not second.waiting
    assert (gate.running, gate.queued) == (1, 0)


async def test_a_grant_nobody_waits_for_any_more_is_passed_over() -> None:
    gate = Admission(1, 5)
    running, first, second = gate.enter(), gate.enter(), gate.enter()
    assert first.granted is not None
    first.granted.cancel()
    running.release()
    assert not second.waiting
    assert gate.running == 1


async def test_nobody_overtakes_the_queue() -> None:
    gate = Admission(2, 5)
    one, two, waiting = gate.enter(), gate.enter(), gate.enter()
    assert waiting.granted is not None
    waiting.granted.add_done_callback(lambda _: None)
    one.release()
    late = gate.enter()
    assert not waiting.waiting
    assert late.waiting
    two.release()
    assert not late.waiting


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=80), st.integers(1, 4), st.integers(0, 4))
def test_counts_are_right_after_any_history(steps: list[tuple[bool, int]], running: int, queued: int) -> None:
    async def history() -> None:
        gate = Admission(running, queued)
        held: list[Ticket] = []
        for enters, which in steps:
            if enters:
                try:
                    held.append(gate.enter())
                except QueueFull:
                    assert (gate.running, gate.queued) == (running, queued)
            elif held:
                held.pop(which % len(held)).release()
            waiting = [ticket for ticket in held if ticket.waiting]
            assert (gate.queued, gate.running) == (len(waiting), len(held) - len(waiting))
            assert not waiting or gate.running == running
            assert [ticket.position for ticket in waiting] == list(range(1, len(waiting) + 1))
        for ticket in held:
            ticket.release()
        assert (gate.running, gate.queued) == (0, 0)

    asyncio.run(history())

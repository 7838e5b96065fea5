"""Back-off: full jitter, both bounds, and what counts as progress."""

from __future__ import annotations

import pytest

from headwater.client.reconnect import Backoff, Reconnect
from headwater.errors import ConnectionLost, ShuttingDown

from .scripted import Waits

CUT = ConnectionLost("cut")


async def test_the_ceiling_of_the_jitter_doubles_up_to_its_cap() -> None:
    waits = Waits(base_s=0.5, cap_s=3.0)
    backoff = Backoff(waits.policy, None)
    for _ in range(5):
        await backoff.wait(CUT, hint_s=0.0)
    assert waits.asked == [(0.0, 0.5), (0.0, 1.0), (0.0, 2.0), (0.0, 3.0), (0.0, 3.0)]
    assert waits.slept == [0.5, 1.0, 2.0, 3.0, 3.0]


async def test_what_the_server_asked_for_is_waited_out_in_full() -> None:
    waits = Waits(base_s=0.5)
    await Backoff(waits.policy, None).wait(CUT, hint_s=10.0)
    assert waits.slept == [10.5]


async def test_attempts_are_bounded_and_told() -> None:
    waits = Waits(max_attempts=2)
    told: list[tuple[int, float, str]] = []
    backoff = Backoff(waits.policy, lambda *what: told.append(what))
    await backoff.wait(CUT, hint_s=0.0)
    await backoff.wait(CUT, hint_s=0.0)
    with pytest.raises(ConnectionLost, match="gave up after 2 attempts: cut") as caught:
        await backoff.wait(CUT, hint_s=0.0)
    assert caught.value.__cause__ is CUT
    assert told == [(1, 0.5, "cut"), (2, 1.0, "cut")]


async def test_time_is_bounded() -> None:
    """A wait that would end too late is not begun: `Retry-After: 3600` answers at once."""
    waits = Waits(max_elapsed_s=100.0)
    backoff = Backoff(waits.policy, None)
    await backoff.wait(CUT, hint_s=60.0)
    busy = ShuttingDown("busy")
    with pytest.raises(ConnectionLost) as caught:
        await backoff.wait(busy, hint_s=60.0)
    assert caught.value.__cause__ is busy
    assert len(waits.slept) == 1


async def test_progress_starts_both_bounds_anew() -> None:
    waits = Waits(max_attempts=1, max_elapsed_s=10.0)
    backoff = Backoff(waits.policy, None)
    for _ in range(3):
        await backoff.wait(CUT, hint_s=8.0)
        backoff.progress()
    assert (backoff.total, backoff.attempts) == (3, 0)


async def test_many_attempts_do_not_overflow() -> None:
    waits = Waits(max_attempts=3000, max_elapsed_s=1e9)
    backoff = Backoff(waits.policy, None)
    for _ in range(2000):
        await backoff.wait(CUT, hint_s=0.0)
    assert waits.slept[-1] == waits.policy.cap_s


async def test_the_default_policy_waits_for_real() -> None:
    await Backoff(Reconnect(base_s=0.0), None).wait(CUT, hint_s=0.0)

"""How the commands come back to their server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from headwater.client.reconnect import Backoff, Reconnect
from headwater.config import load_settings
from headwater.errors import ConnectionLost
from headwater.terminal.reaching import RECONNECT


def _at(clock: Callable[[], float], sleep: Callable[[float], Awaitable[object]]) -> Reconnect:
    """The policy as it is, but for its time."""
    return msgspec.structs.replace(RECONNECT, clock=clock, sleep=sleep, uniform=lambda low, high: high)


@pytest.mark.parametrize("asked_s", [0.0, load_settings().retry_ms / 1000])
async def test_no_wait_is_above_three_seconds_and_the_time_says_when_to_give_up(asked_s: float) -> None:
    now, waits = 0.0, []

    async def sleep(delay_s: float) -> None:
        nonlocal now
        now += delay_s
        waits.append(delay_s)
        await asyncio.sleep(0)

    backoff = Backoff(_at(lambda: now, sleep), None)
    with pytest.raises(ConnectionLost):
        while True:
            await backoff.wait(ConnectionLost("gone"), hint_s=asked_s)
    assert max(waits) <= 3
    assert now > RECONNECT.max_elapsed_s - 3

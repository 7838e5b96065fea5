"""When to try again: exponential back-off with full jitter, bounded in number and in time.

Full jitter (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/) spreads the viewers that a
restarted server gets back all at once.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import msgspec

from ..errors import ConnectionLost, HeadwaterError

OnReconnect: TypeAlias = Callable[[int, float, str], None]

_MAX_DOUBLINGS = 30  # above it a float of seconds is far beyond any cap, and 2 ** n only grows


class Reconnect(msgspec.Struct, frozen=True):
    """How a client gets back to its stream; all times in seconds.

    Attempt n waits what the server asked for (`retry:`, `Retry-After`) plus a random time up to
    min(`cap_s`, `base_s` · 2ⁿ⁻¹). Both bounds count from the last progress: an event or a heartbeat received.
    `uniform`, `clock` and `sleep` are the sources of chance and time.
    """

    max_attempts: int = 20
    max_elapsed_s: float = 300.0
    base_s: float = 0.5
    cap_s: float = 15.0
    uniform: Callable[[float, float], float] = random.uniform
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep


class Backoff:
    """The attempts of one stream. `total` counts all of them, `attempts` those since the last progress."""

    __slots__ = ("_notify", "_policy", "_since", "attempts", "total")

    def __init__(self, policy: Reconnect, notify: OnReconnect | None) -> None:
        self._policy = policy
        self._notify = notify
        self._since: float | None = None
        self.attempts = 0
        self.total = 0

    def progress(self) -> None:
        self.attempts = 0
        self._since = None

    async def wait(self, failure: HeadwaterError, *, hint_s: float) -> None:
        """Wait before the next attempt. Raises `ConnectionLost` from `failure` when no attempt is left."""
        policy = self._policy
        now = policy.clock()
        if self._since is None:
            self._since = now
        ceiling_s = min(policy.cap_s, policy.base_s * 2 ** min(self.attempts, _MAX_DOUBLINGS))
        delay_s = hint_s + policy.uniform(0.0, ceiling_s)
        if self.attempts >= policy.max_attempts or now - self._since + delay_s > policy.max_elapsed_s:
            raise ConnectionLost(f"gave up after {self.attempts} attempts: {failure.message}") from failure
        self.attempts += 1
        self.total += 1
        if self._notify is not None:
            self._notify(self.attempts, delay_s, failure.message)
        await policy.sleep(delay_s)

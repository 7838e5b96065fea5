"""The one periodic sweep of a process: watchdogs, lingering, heartbeats, send time-outs.

A sweep looks at plain attributes only, so ten thousand idle viewers cost milliseconds a second and no timer objects,
and nothing on the event path arms or cancels anything.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping

from .follower import Follower
from .generations import Generations
from .settings import StreamSettings
from .viewer import Viewer

_logger = logging.getLogger(__name__)

# The sweep runs at least this often, and four times within the shortest time-out.
LONGEST_TICK_S = 0.25
SHORTEST_TICK_S = 0.01
# Heartbeats start before they are due and at most this share of the viewers gets one in a sweep, so that ten
# thousand viewers who came in one second do not stall the loop in one second either.
HEARTBEAT_EARLY = 0.75
HEARTBEAT_SHARE = 8
SMALLEST_HEARTBEAT_BATCH = 128
# A stream that the log lost is given its end as soon as the log works again; how often that is tried.
SETTLE_INTERVAL_S = 1.0


class Sweeper:
    """Sweeps all that it is given from `start` to `stop`.

    `check_log` is called in each sweep; `settle` is awaited now and then while due.
    """

    def __init__(
        self,
        generations: Generations,
        viewers: set[Viewer],
        followers: Mapping[str, Follower],
        settings: StreamSettings,
        *,
        check_log: Callable[[float], None],
        settle: Callable[[], Awaitable[None]],
    ) -> None:
        self._generations = generations
        self._viewers = viewers
        self._followers = followers
        self._settings = settings
        self._check_log = check_log
        self._settle = settle
        self._quiet_s = _longest_quiet_s(settings)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._sweep_forever(), name="headwater-sweeper"),
            loop.create_task(self._settle_forever(), name="headwater-settler"),
        ]

    async def stop(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _sweep_forever(self) -> None:
        loop = asyncio.get_running_loop()
        tick_s = self._tick_s()
        while True:
            await asyncio.sleep(tick_s)
            try:
                self.sweep(loop.time())
            except Exception:
                _logger.exception("a sweep failed")

    async def _settle_forever(self) -> None:
        while True:
            await asyncio.sleep(SETTLE_INTERVAL_S)
            if self._generations.unsettled:
                try:
                    await self._settle()
                except Exception:
                    _logger.exception("streams that the log lost could not be settled")

    def _tick_s(self) -> float:
        s = self._settings
        shortest = min(s.heartbeat_s, s.first_token_timeout_s, s.idle_timeout_s, s.total_timeout_s, s.send_timeout_s)
        return min(max(shortest / 4, SHORTEST_TICK_S), LONGEST_TICK_S)

    def sweep(self, now: float) -> None:
        """Fire what is due at `now` (the loop's time)."""
        self._check_log(now)
        for generation in self._generations:
            generation.sweep(now)
        for follower in tuple(self._followers.values()):
            follower.sweep(now)
        self._sweep_viewers(now)

    def _sweep_viewers(self, now: float) -> None:
        budget = max(SMALLEST_HEARTBEAT_BATCH, len(self._viewers) // HEARTBEAT_SHARE)
        due = now - HEARTBEAT_EARLY * self._settings.heartbeat_s
        cut = now - self._settings.send_timeout_s
        stalled: list[Viewer] = []
        for viewer in tuple(self._viewers):
            if not viewer.sink.writable:
                if viewer.stalled_since is None:
                    viewer.stalled_since = now
                elif viewer.stalled_since <= cut:
                    stalled.append(viewer)
                continue
            viewer.stalled_since = None
            if viewer.last_write <= due and budget > 0 and not viewer.catching_up:
                budget -= 1
                if viewer.quiet_s(now) < self._quiet_s:
                    viewer.heartbeat(now)
                else:
                    viewer.dismiss(self._settings.retry_ms)
        for viewer in stalled:
            viewer.abort()


def _longest_quiet_s(settings: StreamSettings) -> float:
    """A model that may think for longer than a connection may be idle must not lose its viewers for it."""
    if not settings.connection_timeout_s:
        return math.inf
    waits = (settings.first_token_timeout_s, settings.idle_timeout_s, settings.queue_timeout_s)
    return max(settings.connection_timeout_s, *waits)

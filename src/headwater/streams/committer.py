"""Group commit: all streams' new events go to the log together.

Events produced while a commit is in flight form the next group. An idle log commits at once; under load groups are
`flush_ms` apart, so that the cost of a commit is shared; what a person waits for (a start, the first content, an
end) never waits for that delay.

When the log fails, the same group is tried again for `log_retry_s`; then its streams are told (`lost`). Nothing that
one stream brings can stop the commits of the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from ..errors import LogError, LogUnavailable, SeqConflict
from .log import Append, Log

_logger = logging.getLogger(__name__)

# A group is worth waiting for when the delay would gather at least this many events.
WORTH_WAITING_EVENTS = 4
# Weight of the newest interval in the smoothed event rate.
RATE_WEIGHT = 0.2
FIRST_RETRY_S = 0.02
LARGEST_RETRY_S = 1.0


class Source(Protocol):
    """One stream's writer, as the committer sees it."""

    def take(self) -> Append:
        """What is to be committed next. Called once a group; not again before `settled` or `lost`."""
        ...

    def settled(self, now: float) -> bool:
        """The last `take` is committed. True: there is more already."""
        ...

    def lost(self, error: LogError) -> None:
        """The last `take` cannot be committed, and nothing more will be asked for."""
        ...


class Committer:
    """Runs as one task from `start` to `stop`."""

    def __init__(self, log: Log, *, flush_ms: float, retry_s: float, timeout_s: float) -> None:
        self.log = log
        self._flush_s = flush_ms / 1000
        self._retry_s = retry_s
        self._timeout_s = timeout_s
        self._dirty: list[Source] = []
        self._urgent = False
        self._stopping = False
        self._waiter: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._rate = 0.0
        self.commits = 0
        self.events = 0
        self.failing_since: float | None = None  # while a commit is being tried again, or does not return
        self._in_flight: list[Source] = []
        self._in_flight_since = 0.0

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="headwater-committer")

    def submit(self, source: Source, *, urgent: bool) -> None:
        """`source` has something to `take`. Call once until its `settled` or `lost`."""
        self._dirty.append(source)
        if urgent or self._urgent:
            self._urgent = True
        if self._waiter is not None and (self._urgent or len(self._dirty) == 1):
            self._wake()

    def hurry(self) -> None:
        """Something already submitted became urgent."""
        self._urgent = True
        self._wake()

    async def stop(self) -> None:
        """Commit what was submitted, then end; a log that does not answer is left after `timeout_s`. Idempotent."""
        self._stopping = True
        self._wake()
        task, self._task = self._task, None
        if task is not None:
            await asyncio.wait((task,), timeout=self._timeout_s)
            if not task.done():
                self._give_up()
                task.cancel()
                await asyncio.wait((task,))

    def lag_s(self, now: float) -> float:
        """How long the commit under way has taken so far, its retries included; 0 where there is none."""
        return now - self._in_flight_since if self._in_flight_since else 0.0

    def give_up_if_stuck(self, now: float) -> None:
        """Break off the streams of a commit that does not return, and of those that wait behind it."""
        if self._in_flight_since and now - self._in_flight_since >= self._timeout_s:
            self._give_up()

    def _give_up(self) -> None:
        waiting, self._in_flight = self._in_flight, []
        waiting += self._next_group()
        self.failing_since = self._in_flight_since
        if waiting:
            _logger.error("the log has not answered for %g s; %d streams break off", self._timeout_s, len(waiting))
        for source in waiting:
            source.lost(LogUnavailable("the log does not answer"))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            if not self._dirty:
                if self._stopping:
                    return
                await self._wait(loop, None)
                continue
            if not self._urgent and not self._stopping and self._rate * self._flush_s >= WORTH_WAITING_EVENTS:
                delay = last + self._flush_s - loop.time()
                if delay > 0:
                    await self._wait(loop, delay)
            started = loop.time()
            # Without a name here: while the log idles, the last group's streams must not be held in memory.
            count = await self._commit_safely(self._next_group())
            interval = max(started - last, 1e-6)
            self._rate += RATE_WEIGHT * (count / interval - self._rate) if count else 0.0
            last = started

    def _next_group(self) -> list[Source]:
        group, self._dirty, self._urgent = self._dirty, [], False
        return group

    async def _wait(self, loop: asyncio.AbstractEventLoop, delay: float | None) -> None:
        """Until something is submitted (no delay), or until the delay is over or something urgent comes."""
        waiter = self._waiter = loop.create_future()
        timer = loop.call_later(delay, self._wake) if delay is not None else None
        try:
            await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    async def _commit_safely(self, group: list[Source]) -> int:
        try:
            return await self._commit(group)
        except Exception:
            # Without this task every stream would hang, so a bug costs one group, and its streams still end.
            _logger.exception("a commit of %d streams failed", len(group))
            lost, self._in_flight, self._in_flight_since = group if self._in_flight is group else [], [], 0.0
            for source in lost:
                source.lost(LogUnavailable("the commit failed"))
            return 0

    async def _commit(self, group: list[Source]) -> int:
        """Commit one group; returns how many events it had."""
        loop = asyncio.get_running_loop()
        self._in_flight, self._in_flight_since = group, loop.time()
        appends = [source.take() for source in group]
        outcomes = await self._store(appends)
        if self._in_flight is not group:  # `give_up_if_stuck` was faster
            self._in_flight_since = 0.0
            return 0
        now = loop.time()
        count = 0
        for source, append, outcome in zip(group, appends, outcomes, strict=True):
            if outcome is not None:
                source.lost(outcome)
                continue
            count += append.count
            if source.settled(now):
                self._dirty.append(source)
        self._in_flight, self._in_flight_since = [], 0.0
        self.commits += 1
        self.events += count
        return count

    async def _store(self, appends: Sequence[Append]) -> Sequence[LogError | None]:
        """Commit with retries; when `log_retry_s` is over, the last `LogError` is every stream's outcome."""
        loop = asyncio.get_running_loop()
        delay = FIRST_RETRY_S
        started = loop.time()
        retried = False
        while True:
            try:
                outcomes = await self.log.commit(appends)
            except LogError as exc:
                if not exc.retryable:
                    return await self._store_each(appends)
                if self._stopping or loop.time() - started + delay > self._retry_s:
                    _logger.exception("the log failed; %d streams break off", len(appends))
                    self.failing_since = None
                    return [exc.with_traceback(None)] * len(appends)
                if self.failing_since is None:
                    self.failing_since = loop.time()
                await asyncio.sleep(delay)
                delay = min(2 * delay, LARGEST_RETRY_S)
                retried = True
                continue
            except Exception:
                _logger.exception("the log raised what it must not")
                return await self._store_each(appends)
            self.failing_since = None
            if not retried:
                return outcomes
            return [_ours(append, outcome) for append, outcome in zip(appends, outcomes, strict=True)]

    async def _store_each(self, appends: Sequence[Append]) -> Sequence[LogError | None]:
        """One by one, so that what cannot be stored at all takes no other stream with it."""
        self.failing_since = None
        outcomes: list[LogError | None] = []
        for append in appends:
            try:
                (outcome,) = await self.log.commit([append])
                outcomes.append(_ours(append, outcome))
            except LogError as exc:
                outcomes.append(exc.with_traceback(None))
            except Exception:
                _logger.exception("stream %s cannot be stored", append.stream)
                outcomes.append(LogUnavailable("the log cannot store this stream"))
        return outcomes


def _ours(append: Append, outcome: LogError | None) -> LogError | None:
    """A commit may be stored although its answer was lost; its retry then conflicts with itself."""
    if isinstance(outcome, SeqConflict) and outcome.actual == append.expected_seq + append.count:
        return None
    return outcome

"""Watching a stream that another process (or another hub on the same log) produces.

The log notifies, the follower reads what is new and publishes it: viewers cannot tell the difference.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ..errors import HeadwaterError, LogUnavailable, UnknownStream
from ..events import Seq
from .channel import Channel
from .log import Log, Slice, SupportsWatch

_logger = logging.getLogger(__name__)

READ_BYTES = 262_144
# How often a log that cannot notify is asked for news.
POLL_S = 0.25
# A follower without an audience stops after this time: longer than a viewer needs to come back.
UNWATCHED_S = 10.0


class Follower:
    """Keeps one channel current until the stream's end, a fault of the log, or `stop`."""

    def __init__(self, channel: Channel, log: Log, on_end: Callable[[], None]) -> None:
        self.channel = channel
        self._log = log
        self._on_end = on_end
        self._news = asyncio.Event()
        self._waiters: list[asyncio.Future[None]] = []
        self._alone_since: float | None = None
        self._unwatch = log.watch(channel.record.id, self._news.set) if isinstance(log, SupportsWatch) else None
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"follow-{channel.id}")
        self._task.add_done_callback(self._finished)

    async def _run(self) -> None:
        channel = self.channel
        # Watching began before this first read, so what is committed in between is announced, not missed.
        while not channel.ended:
            self._news.clear()
            part = await self._log.read(channel.record.id, Seq(channel.next_seq - 1), max_bytes=READ_BYTES)
            if part is None:
                raise UnknownStream("the stream was deleted")
            self._publish(part)
            if not part.events:
                await self._wait_for_news()

    def _publish(self, part: Slice) -> None:
        channel = self.channel
        if part.record.epoch != channel.epoch or (part.events and part.first_seq != channel.next_seq):
            raise LogUnavailable("the log was rebuilt under this stream; come back for it")
        if part.events:
            for event in part.events:
                channel.fold.apply(event)
            channel.publish(part.first_seq, part.events, asyncio.get_running_loop().time())
            self._release()

    async def _wait_for_news(self) -> None:
        if self._unwatch is not None:
            await self._news.wait()
        else:
            await asyncio.sleep(POLL_S)

    async def reach(self, seq: int) -> None:
        """Return when all events before `seq` are published here, or when the following is over."""
        while self.channel.next_seq < seq and not self._task.done():
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    def sweep(self, now: float) -> None:
        """Stop when nobody has watched for a while."""
        if self.channel.watched:
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = now
        elif now - self._alone_since >= UNWATCHED_S:
            self._task.cancel()

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait((self._task,))

    def _finished(self, task: asyncio.Task[None]) -> None:
        # A callback, because a task that is cancelled before its first step never runs its own `finally`.
        if self._unwatch is not None:
            self._unwatch()
        self._on_end()
        failure = None if task.cancelled() else task.exception()
        if failure is not None and not isinstance(failure, HeadwaterError):
            _logger.error("following stream %s failed", self.channel.id, exc_info=failure)
        if not self.channel.ended:
            stopped = LogUnavailable("the stream is not followed any more")
            self.channel.break_off(failure if isinstance(failure, HeadwaterError) else stopped)
        self._release()

    def _release(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

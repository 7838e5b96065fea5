"""Watching a stream that another process (or another hub on the same log) produces.

The log notifies, the follower reads what is new and publishes it: viewers cannot tell the difference.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..errors import LogError
from ..events import Seq
from .channel import Channel
from .log import Log, SupportsWatch

READ_BYTES = 262_144


class Follower:
    """Keeps one channel current until the stream's end, or `stop`."""

    def __init__(self, channel: Channel, log: Log, on_end: Callable[[], None]) -> None:
        self.channel = channel
        self._log = log
        self._on_end = on_end
        self._news = asyncio.Event()
        self._unwatch = log.watch(channel.record.id, self._news.set) if isinstance(log, SupportsWatch) else None
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"follow-{channel.id}")

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        channel = self.channel
        try:
            # Watching began before this first read, so what is committed in between is announced, not missed.
            while not channel.ended:
                self._news.clear()
                part = await self._log.read(channel.record.id, Seq(channel.next_seq - 1), max_bytes=READ_BYTES)
                if part is None:
                    return
                if part.events:
                    for event in part.events:
                        channel.fold.apply(event)
                    channel.publish(part.first_seq, part.events, loop.time())
                else:
                    await self._news.wait()
        except LogError as exc:
            channel.break_off(exc)
        finally:
            if self._unwatch is not None:
                self._unwatch()
            self._on_end()

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait((self._task,))

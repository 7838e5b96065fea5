"""One stream being produced here: its producer's task, its slot, its watchdogs, its audience.

Whatever happens — the producer returns, raises, hangs, ignores its cancellation; viewers leave; the server stops —
the stream ends with a typed reason and its slot comes back (P3, P4, P10).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TypeAlias

from ..errors import HeadwaterError, ProducerFailed, ProviderTimeout
from ..events import Done
from ..log_context import STREAM_ID
from .admission import Ticket
from .channel import Channel
from .lifecycle import Signal
from .ports import Producer, Watch
from .queueing import wait_for_slot
from .settings import StreamSettings
from .writer import StreamWriter

_logger = logging.getLogger(__name__)

MakeProducer: TypeAlias = Callable[[], Producer]

# Who asked for a stream needs a moment to come and watch it, also where `linger_s` is 0 or close to it.
FIRST_VIEWER_S = 2.0
# What a producer may still take after its `Done`: reading its upstream's last bytes, closing files.
WIND_UP_S = 5.0


class Generation:
    """Made by the hub, which calls `sweep` several times a second: no timer per stream, let alone per event."""

    __slots__ = (
        "_make",
        "_settings",
        "_started",
        "_ticket",
        "_was_watched",
        "alone_since",
        "channel",
        "linger_s",
        "task",
        "writer",
    )

    def __init__(
        self,
        channel: Channel,
        writer: StreamWriter,
        ticket: Ticket,
        make: MakeProducer,
        *,
        settings: StreamSettings,
        now: float,
    ) -> None:
        self.channel = channel
        self.writer = writer
        self.linger_s = channel.record.linger_s
        self.alone_since: float | None = now
        self.task: asyncio.Task[None] | None = None
        self._ticket = writer.slot = ticket
        self._make = make
        self._settings = settings
        self._started = now
        self._was_watched = False

    def start(self) -> None:
        """The stream is accepted: produce it."""
        self._started = asyncio.get_running_loop().time()
        if self.alone_since is not None:
            self.alone_since = self._started
        self.task = asyncio.get_running_loop().create_task(self._run(), name=f"stream-{self.channel.id}")

    async def _run(self) -> None:
        writer = self.writer
        STREAM_ID.set(self.channel.id)
        try:
            await wait_for_slot(self._ticket, writer, timeout_s=self._settings.queue_timeout_s)
            self.channel.signal(Signal.ADMIT)
            self.channel.signal(Signal.CONNECT)
            settings = self._settings
            writer.watch(Watch(settings.first_token_timeout_s, settings.idle_timeout_s, self.fail))
            await self._make().run(writer)
            writer.end(Done("stop"))
        except asyncio.CancelledError:
            writer.end(Done("cancelled"))
        except HeadwaterError as exc:
            writer.fail(exc)
        except Exception as exc:
            _logger.exception("the producer of stream %s failed", self.channel.id)
            # The text of a foreign exception may hold a secret; its type does not.
            writer.fail(ProducerFailed(f"the application's stream raised {type(exc).__name__}"))
        finally:
            self._ticket.release()

    def cancel(self) -> None:
        """End the stream as cancelled now, whatever its producer does about it."""
        self.writer.end(Done("cancelled"))
        self._stop_task()

    def fail(self, error: HeadwaterError) -> None:
        """End the stream with a typed error now."""
        self.writer.fail(error)
        self._stop_task()

    def hand_over(self) -> None:
        """Let go without an end: the next process to open the log takes the stream up."""
        self.writer.seal()
        self._stop_task()

    def drop(self) -> None:
        """The log lost the stream; there is nothing left to write to."""
        self._stop_task()

    def wind_up(self) -> asyncio.Task[None] | None:
        """Nothing more will be committed: the slot comes back. Returns the task if it has not ended yet."""
        self._ticket.release()
        task = self.task
        if task is None or task.done():
            return None
        timer = asyncio.get_running_loop().call_later(WIND_UP_S, task.cancel)
        task.add_done_callback(lambda _: timer.cancel())
        return task

    def _stop_task(self) -> None:
        task = self.task
        if task is not None and task is not asyncio.current_task():
            task.cancel()
        self._ticket.release()

    def audience_changed(self, now: float) -> None:
        """A viewer came or left. With `linger_s = 0` the last one's leaving ends the stream at once."""
        if self.channel.watched:
            self._was_watched = True
            self.alone_since = None
        elif self.alone_since is None:
            self.alone_since = now
            if self.linger_s <= 0:
                self.cancel()

    def sweep(self, now: float) -> None:
        """Fire what is due."""
        # A stream whose creation is not committed yet, and so not started, is still its creator's.
        if self.writer.ended or self.task is None:
            return
        linger_s = self.linger_s if self._was_watched else max(self.linger_s, FIRST_VIEWER_S)
        if self.alone_since is not None and now - self.alone_since >= linger_s:
            self.cancel()
            return
        settings = self._settings
        if now - self._started >= settings.total_timeout_s:
            self.fail(ProviderTimeout(f"the answer took longer than {settings.total_timeout_s:g} s"))
        elif self.writer.watchdog is not None:
            self.writer.watchdog.sweep(now)

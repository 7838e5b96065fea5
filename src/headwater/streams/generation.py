"""One stream being produced here: its producer's task, its slot, its watchdogs, its audience.

Whatever happens — the producer returns, raises, hangs, ignores its cancellation; viewers leave; the server stops —
the stream ends with a typed reason and its slot comes back (P3, P4, P10).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TypeAlias

from ..errors import HeadwaterError, ProducerFailed, ProviderTimeout, QueueTimeout, StreamEnded
from ..events import Done
from ..events import Status as StatusEvent
from .admission import Ticket
from .channel import Channel
from .lifecycle import Signal
from .ports import Producer
from .settings import StreamSettings
from .writer import StreamWriter

_log = logging.getLogger(__name__)

MakeProducer: TypeAlias = Callable[[], Producer]


class Generation:
    """Made by the hub, which calls `sweep` several times a second: no timer per stream, let alone per event."""

    __slots__ = (
        "_began",
        "_handing_over",
        "_last_life",
        "_make",
        "_settings",
        "_started",
        "_ticket",
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
        self._ticket = ticket
        self._make = make
        self._settings = settings
        self._started = now
        self._began: float | None = None
        self._last_life = now
        self._handing_over = False

    def start(self) -> None:
        self.task = asyncio.get_running_loop().create_task(self._run(), name=f"stream-{self.channel.id}")

    async def _run(self) -> None:
        writer = self.writer
        try:
            if self._ticket.granted is not None:
                await self._wait_for_slot()
            self.channel.signal(Signal.ADMIT)
            self.channel.signal(Signal.CONNECT)
            self._began = self._last_life = asyncio.get_running_loop().time()
            await self._make().run(writer)
            writer.end(Done("stop"))
        except asyncio.CancelledError:
            if not writer.ended and not self._handing_over:
                writer.end(Done("cancelled"))
        except StreamEnded:
            pass
        except HeadwaterError as exc:
            writer.fail(exc)
        except Exception as exc:
            _log.exception("the producer of stream %s failed", self.channel.id)
            # The text of a foreign exception may hold a secret; its type does not.
            writer.fail(ProducerFailed(f"the application's stream raised {type(exc).__name__}"))
        finally:
            self._ticket.release()

    async def _wait_for_slot(self) -> None:
        self.writer.write([StatusEvent("queued", position=self._ticket.position)])
        granted = self._ticket.granted
        assert granted is not None
        done, _ = await asyncio.wait((granted,), timeout=self._settings.queue_timeout_s)
        if not done:
            raise QueueTimeout(f"no slot within {self._settings.queue_timeout_s:g} s")

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
        self._handing_over = True
        self._stop_task()

    def drop(self) -> None:
        """The log lost the stream; there is nothing left to write to."""
        self._stop_task()

    def _stop_task(self) -> None:
        task = self.task
        if task is not None and task is not asyncio.current_task():
            task.cancel()
        self._ticket.release()

    def audience_changed(self, now: float) -> None:
        """A viewer came or left. With `linger_s = 0` the last one's leaving ends the stream at once."""
        if self.channel.watched:
            self.alone_since = None
        elif self.alone_since is None:
            self.alone_since = now
            if self.linger_s <= 0:
                self.cancel()

    def sweep(self, now: float) -> None:
        """Fire what is due."""
        if self.writer.ended:
            return
        if self.alone_since is not None and now - self.alone_since >= self.linger_s:
            self.cancel()
            return
        settings = self._settings
        if now - self._started >= settings.total_timeout_s:
            self.fail(ProviderTimeout(f"the answer took longer than {settings.total_timeout_s:g} s"))
        elif self._began is not None:
            self._sweep_silence(self._began, now)

    def _sweep_silence(self, began: float, now: float) -> None:
        if self.writer.alive or self.writer.congested:
            # While the log is slow the upstream is paused: its silence is ours.
            self.writer.alive = False
            self._last_life = now
        settings = self._settings
        if not self.channel.fold.has_content:
            if now - began >= settings.first_token_timeout_s:
                self.fail(ProviderTimeout(f"no first token within {settings.first_token_timeout_s:g} s"))
        elif now - self._last_life >= settings.idle_timeout_s:
            self.fail(ProviderTimeout(f"the provider was silent for {settings.idle_timeout_s:g} s"))

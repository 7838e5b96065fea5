"""The write side of one stream: events wait here for the group commit, then are published.

Implements `ports.Writer` towards the producer and `committer.Source` towards the commit. The terminal rules are
kept here, in one place: usage is settled before every end, and nothing follows it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from ..errors import HeadwaterError, LogError, ProducerFailed, ProviderError, StreamEnded, StreamLimit
from ..events import (
    CONTENT_TYPES,
    Done,
    Error,
    Event,
    JsonObject,
    Metadata,
    Status,
    Terminal,
    Text,
    Usage,
    encode_event,
    encode_segment,
    scrub,
)
from .admission import Ticket
from .channel import EVENT_BYTES, Channel, outcome
from .committer import Committer
from .fold import Fold, utf8_bytes
from .history import read_events
from .lifecycle import Signal
from .lifecycle import Status as LifecycleStatus
from .log import Append, Ended, StreamRecord
from .observer import Observer
from .ports import Control, Settlement, Watch
from .settings import StreamSettings
from .watchdog import Watchdog

_logger = logging.getLogger(__name__)

# Stages that say: the upstream's state begins anew. After content they are seams, and nothing is connected anew.
_ANEW = frozenset({"retrying", "fallback"})


def error_event(error: HeadwaterError) -> Error:
    """The logged form of a typed error."""
    return Error(
        error.code,
        error.message,
        status=error.http_status,
        retryable=error.retryable,
        provider=error.provider if isinstance(error, ProviderError) else "",
        code=getattr(error, "upstream_code", None) or "",
        param=error.param,
        retry_after_s=error.retry_after_s,
    )


class StreamWriter:
    """One a stream and process; `create` is the record of a stream that the first commit makes.

    `on_closed` is called once, when nothing more will be committed: with `None` after the terminal event's commit,
    with the error where the log lost the stream.
    """

    __slots__ = (
        "_bytes",
        "_committer",
        "_create",
        "_drain_waiters",
        "_ended",
        "_flush_waiters",
        "_inflight",
        "_limit_bytes",
        "_next",
        "_observer",
        "_on_closed",
        "_pending",
        "_pending_limit",
        "_prompt_characters",
        "_settled_size",
        "_settlement",
        "_size",
        "_submitted",
        "_taken_size",
        "alive",
        "channel",
        "first_content_s",
        "slot",
        "watchdog",
    )

    def __init__(
        self,
        channel: Channel,
        committer: Committer,
        settings: StreamSettings,
        *,
        create: StreamRecord | None = None,
        prompt_characters: int = 0,
        on_closed: Callable[[LogError | None], None],
        observer: Observer | None = None,
    ) -> None:
        self.channel = channel
        self.alive = False
        self.first_content_s: float | None = None
        self.watchdog: Watchdog | None = None
        self.slot: Ticket | None = None
        self._committer = committer
        self._create = create
        self._prompt_characters = prompt_characters
        self._on_closed = on_closed
        self._observer = observer
        self._settlement: Settlement | None = None
        self._next = channel.next_seq
        self._pending: list[Event] = []
        self._inflight: list[Event] = []
        self._submitted = False
        self._ended = False
        self._bytes = 0
        self._limit_bytes = settings.max_stream_bytes
        self._pending_limit = settings.max_pending_bytes
        self._size = self._taken_size = self._settled_size = self._written_size()
        self._flush_waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._drain_waiters: list[asyncio.Future[None]] = []

    @property
    def fold(self) -> Fold:
        return self.channel.fold

    @property
    def ended(self) -> bool:
        """Whether nothing more can be written: the terminal event is (committed or not), or the stream was let go."""
        return self._ended

    @property
    def congested(self) -> bool:
        """Whether so much waits for the log that the producer should pause."""
        return self._size - self._settled_size > self._pending_limit

    def _written_size(self) -> int:
        fold = self.channel.fold
        characters = fold.content_characters + fold.reasoning_characters
        return characters + EVENT_BYTES * (self._next + len(self._inflight) + len(self._pending))

    def write(self, events: Sequence[Event]) -> bool:
        """See `ports.Writer.write`. Also raises `StreamLimit`."""
        if self._ended:
            raise StreamEnded("the stream has ended")
        if self._bytes > self._limit_bytes or self._size > self._limit_bytes:
            raise StreamLimit(f"the stream is larger than {self._limit_bytes} bytes")
        self.alive = True
        channel = self.channel
        fold = channel.fold
        begun = fold.content_events
        is_one = len(events) == 1 and self.first_content_s is not None
        if is_one and type(event := events[0]) is Text and channel.status == "streaming":
            return self._write_text(event, fold)
        if self.first_content_s is None and any(type(event) in CONTENT_TYPES for event in events):
            self.first_content_s = asyncio.get_running_loop().time()
        pending = self._pending
        for event in events:
            if type(event) is Done or type(event) is Error:
                self._end(event)
                break
            fold.apply(event)
            pending.append(event)
        status = channel.status
        if begun == 0 or status == "connecting":
            self._before_content(events, status, content=fold.content_events > begun)
        if pending:
            self._submit(urgent=begun == 0 or fold.terminal is not None)
        self._size = size = self._written_size()
        return size - self._settled_size <= self._pending_limit

    def _write_text(self, event: Text, fold: Fold) -> bool:
        """What `write` and `Fold.apply` do, for the one plain text in mid-answer that nearly every read brings."""
        characters = len(event.text)
        fold.content_events += 1
        fold.content_characters += characters
        fold.text_bytes += utf8_bytes(event.text)
        self._pending.append(event)
        if not self._submitted:
            self._submitted = True
            self._committer.submit(self, urgent=False)
        self._size = size = self._size + characters + EVENT_BYTES
        return size - self._settled_size <= self._pending_limit

    def _before_content(self, events: Sequence[Event], status: LifecycleStatus, *, content: bool) -> None:
        """Follow the upstream's state until content comes: afterwards nothing is tried again."""
        if content:
            if status == "connecting":
                self.channel.signal(Signal.CONNECTED)
        elif status == "streaming" and any(type(e) is Status and e.stage in _ANEW for e in events):
            self.channel.signal(Signal.CONNECT)

    def _submit(self, *, urgent: bool) -> None:
        if not self._submitted:
            self._submitted = True
            self._committer.submit(self, urgent=urgent)
        elif urgent:
            self._committer.hurry()

    def touch(self) -> None:
        self.alive = True

    def connected(self) -> None:
        self.alive = True
        if not self._ended and self.channel.status == "connecting":
            self.channel.signal(Signal.CONNECTED)

    async def drain(self) -> None:
        while self.congested and not self._ended:
            waiter = asyncio.get_running_loop().create_future()
            self._drain_waiters.append(waiter)
            await waiter

    def end(self, terminal: Terminal) -> bool:
        """Settle usage and write the terminal event. False: the stream had ended already."""
        if self._ended:
            return False
        self._end(terminal)
        self._submit(urgent=True)
        return True

    def fail(self, error: HeadwaterError) -> bool:
        """End with a typed error, and tell the operator once: without content, and with no secret in the message."""
        failed = self.end(error_event(error))
        if failed:
            provider = self.channel.provider or "the application"
            _logger.warning("stream %s (%s) failed: %s: %s", self.channel.id, provider, error.code, error.message)
        return failed

    def _end(self, terminal: Terminal) -> None:
        fold = self.channel.fold
        usage = fold.usage
        if usage is None:
            usage = self._usage()
            fold.apply(usage)
            self._pending.append(usage)
        facts = self._settlement.facts(usage, terminal) if self._settlement is not None else None
        if facts:
            told = Metadata(facts)
            fold.apply(told)
            self._pending.append(told)
        fold.apply(terminal)
        self._pending.append(terminal)
        self.seal()

    def _usage(self) -> Usage:
        fold = self.channel.fold
        if fold.usage is not None:
            return fold.usage
        estimated = fold.estimated_usage(self._prompt_characters)
        return estimated if self._settlement is None else self._settlement.usage(estimated)

    # For producers with several attempts: `ports.Control`.

    @property
    def control(self) -> Control:
        return self

    @property
    def content_events(self) -> int:
        return self.channel.fold.content_events

    def watch(self, watch: Watch | None) -> None:
        self.watchdog = None if watch is None else Watchdog(watch, self, asyncio.get_running_loop().time())

    def settle(self, settlement: Settlement) -> None:
        self._settlement = settlement

    def lend_slot(self, lent: bool) -> None:
        if self.slot is not None:
            self.slot.lend(lent)

    async def history(self) -> list[Event]:
        if self._ended:
            raise StreamEnded("the stream has ended")
        await self.flush()
        return await read_events(self._committer.log, self.channel.id, self._next)

    def seal(self) -> None:
        """Take no more events. What was written is still committed; without an end the stream is taken up later."""
        self._ended = True
        # It holds the generation, which holds this: an ended stream is freed without waiting for the collector.
        self.watchdog = None
        self._release_drain()

    async def flush(self) -> None:
        """Wait until everything written so far is committed. Raises the `LogError` where the log lost the stream."""
        self.channel.check()
        target = self._next + len(self._inflight) + len(self._pending)
        if target > self._next:
            waiter = asyncio.get_running_loop().create_future()
            self._flush_waiters.append((target, waiter))
            await waiter

    def take(self) -> Append:
        events, self._pending = self._pending, []
        try:
            segment = encode_segment(events)
        except Exception:  # noqa: BLE001 - told by `_storable`, which finds the event at fault
            events = self._storable(events)
            segment = encode_segment(events)
        self._inflight = events
        self._bytes += len(segment)
        self._taken_size = self._size
        ended = None
        if self._ended and isinstance(events[-1], Done | Error):
            ended = _ended(events[-1], self._usage(), self.channel.fold.served)
        return Append(self.channel.id, self._next, len(events), segment, self._create, ended)

    def _storable(self, events: Sequence[Event]) -> list[Event]:
        """What can be stored: lone surrogates replaced, and an error in place of what JSON cannot carry and after."""
        fold = self.channel.fold
        kept: list[Event] = []
        for event in events:
            try:
                clean = _clean(event)
            except Exception:
                # Only a generator of the application's can bring such values.
                _logger.exception("stream %s: an event cannot be stored", self.channel.id)
                return kept + self._refusal(events[len(kept) :])
            if event is fold.usage and isinstance(clean, Usage):
                fold.usage = clean
            kept.append(clean)
        return kept

    def _refusal(self, refused: Sequence[Event]) -> list[Event]:
        """The end of a stream whose producer wrote `refused`, none of which is stored."""
        fold = self.channel.fold
        self._pending = []
        self.seal()
        end: list[Event] = []
        if fold.usage is None or any(event is fold.usage for event in refused):
            fold.usage = fold.estimated_usage(self._prompt_characters)
            end.append(fold.usage)
        fold.terminal = error_event(ProducerFailed("the application's stream made an event that cannot be stored"))
        return [*end, fold.terminal]

    def settled(self, now: float) -> bool:
        events, self._inflight = self._inflight, []
        first = self._next
        self._next += len(events)
        self._create = None
        self._settled_size = self._taken_size
        self.channel.publish(first, events, now)
        if self._observer is not None:
            try:
                self._observer.committed(self.channel, events, now)
            except Exception:
                # The committer calls this: whoever counts must not cost other streams their commits.
                _logger.exception("stream %s could not be counted", self.channel.id)
        if self._flush_waiters:
            self._release_flush()
        if self._drain_waiters and not self.congested:
            self._release_drain()
        if self._pending:
            return True
        self._submitted = False
        if self.channel.ended:
            self._on_closed(None)
        return False

    def lost(self, error: LogError) -> None:
        self._ended = True
        self.watchdog = None
        self._inflight, self._pending = [], []
        self.channel.break_off(error)
        for _, waiter in self._flush_waiters:
            if not waiter.done():
                waiter.set_exception(error)
        self._flush_waiters.clear()
        self._release_drain()
        self._on_closed(error)

    def _release_flush(self) -> None:
        remaining = []
        for target, waiter in self._flush_waiters:
            if target > self._next:
                remaining.append((target, waiter))
            elif not waiter.done():
                waiter.set_result(None)
        self._flush_waiters = remaining

    def _release_drain(self) -> None:
        for waiter in self._drain_waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._drain_waiters.clear()


def _clean(event: Event) -> Event:
    """The event as it can be encoded. Raises whatever says that it cannot."""
    try:
        encode_event(event)
    except UnicodeEncodeError:
        event = scrub(event)
        encode_event(event)
    return event


def _ended(terminal: Terminal, usage: Usage, facts: JsonObject | None) -> Ended:
    return Ended(
        status=outcome(terminal),
        finished_ms=time.time_ns() // 1_000_000,
        usage=usage,
        finish_reason=terminal.reason if isinstance(terminal, Done) else None,
        error=terminal if isinstance(terminal, Error) else None,
        metadata=facts,
    )

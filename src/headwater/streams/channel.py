"""A stream as its readers see it: committed events only, the newest of them in memory.

A channel knows nothing of producers. `publish` is called after the commit and reaches every viewer in the same
call: no task wakes, no lock, no timer (DESIGN, "The event path").
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

from ..cursor import Cursor, parse_cursor
from ..errors import HeadwaterError
from ..events import CONTENT_TYPES, TERMINAL_TYPES, Done, Error, Event, Reasoning, Terminal, Text, encode_event
from .fold import Fold
from .lifecycle import INITIAL, Signal, Status, step
from .log import Ended, Outcome, StreamRecord
from .ports import Encoder, EncoderFactory

if TYPE_CHECKING:
    from .viewer import Viewer

_logger = logging.getLogger(__name__)

# What an event costs in memory besides its characters: the struct, its str header and its slot (measured 140-170).
EVENT_BYTES = 160

END_SIGNALS: dict[Outcome, Signal] = {"done": Signal.FINISH, "failed": Signal.FAIL, "cancelled": Signal.CANCEL}


class Channel:
    """Read side of one stream, live or ended. Attributes are read-only outside `streams`."""

    __slots__ = (
        "_encoders",
        "_end_waiters",
        "_head_waiters",
        "_tail",
        "_tail_bytes",
        "_tail_limit",
        "_unattended",
        "failure",
        "first_content_s",
        "fold",
        "has_head",
        "has_whole_fold",
        "holds",
        "id",
        "next_seq",
        "record",
        "status",
        "tail_first",
        "terminal",
        "viewers",
    )

    def __init__(self, record: StreamRecord, fold: Fold, *, tail_bytes: int) -> None:
        self.record = record
        self.id = record.id
        self.fold = fold
        self.status: Status = INITIAL
        self.next_seq = record.next_seq
        self.tail_first = record.next_seq
        self.viewers: list[Viewer] = []
        self.holds = 0
        self.has_head = fold.has_content
        # Loop time at which viewers could see the first content; None also where that was not here.
        self.first_content_s: float | None = None
        self.has_whole_fold = True
        self.terminal: Terminal | None = None
        self.failure: HeadwaterError | None = None
        self._tail: deque[Event] = deque()
        self._tail_bytes = 0
        self._tail_limit = tail_bytes
        self._unattended: HeadwaterError | None = None
        self._encoders: dict[EncoderFactory, Encoder] = {}
        self._head_waiters: list[asyncio.Future[None]] = []
        self._end_waiters: list[asyncio.Future[None]] = []
        if record.ended is not None:
            self._adopt_end(record.ended)

    def _adopt_end(self, ended: Ended) -> None:
        self.status = ended.status
        self.has_whole_fold = False
        self.fold.usage = ended.usage
        self.fold.served = ended.metadata
        self.terminal = ended.error or Done(ended.finish_reason or "stop")  # type: ignore[arg-type]
        self.fold.terminal = self.terminal
        self.has_head = True

    def adopt_fold(self, whole: Fold) -> None:
        """In place of what the record of an ended stream tells of its events."""
        self.fold = whole
        self.has_whole_fold = True

    @property
    def model(self) -> str:
        return self.record.model

    @property
    def provider(self) -> str:
        return self.record.provider

    @property
    def created_ms(self) -> int:
        return self.record.created_ms

    @property
    def epoch(self) -> int:
        return self.record.epoch

    @property
    def ended(self) -> bool:
        """Whether the terminal event is committed."""
        return self.terminal is not None

    @property
    def cursor(self) -> Cursor | None:
        """Of the last committed event."""
        return Cursor(self.epoch, self.next_seq - 1) if self.next_seq else None

    @property
    def watched(self) -> bool:
        return bool(self.viewers) or self.holds > 0

    def at_end(self, cursor: str | None) -> bool:
        """Whether a viewer with this cursor has everything there will ever be (HTTP 204)."""
        return self.ended and cursor is not None and parse_cursor(cursor) == self.cursor

    def locate(self, cursor: str | None) -> tuple[int, str | None]:
        """The next seq for a viewer with this cursor, and the reason for a `reset` where it is unknown."""
        first = self.record.first_seq
        if not cursor:
            return first, None
        position = parse_cursor(cursor)
        if position is None:
            return first, "unknown_cursor"
        if position.epoch != self.epoch:
            return first, "epoch_changed"
        if position.seq >= self.next_seq:
            return first, "unknown_cursor"
        if position.seq < first - 1:
            return first, "trimmed"
        return position.seq + 1, None

    def encoder(self, factory: EncoderFactory) -> Encoder:
        """Equal factories share one encoder, and so one encoded copy of each batch."""
        encoder = self._encoders.get(factory)
        if encoder is None:
            encoder = self._encoders[factory] = factory(self)
        return encoder

    def forget_encoders(self) -> None:
        """Nobody watches: without this cycle of channel and encoder an ended stream is freed at once."""
        self._encoders.clear()

    def signal(self, signal: Signal) -> None:
        self.status = step(self.status, signal)

    def publish(self, first_seq: int, events: Sequence[Event], now: float) -> None:
        """These events are committed: show them. `now` is the loop's time."""
        self.next_seq = first_seq + len(events)
        self._remember(events)
        last = events[-1]
        if type(last) in TERMINAL_TYPES:
            self._end(last)  # type: ignore[arg-type]
        viewers = self.viewers
        if viewers:
            shared: dict[Encoder, bytes] = {}
            for viewer in tuple(viewers):
                try:
                    viewer.deliver(first_seq, events, shared, now)
                except Exception:
                    # One viewer's broken encoder or socket must not stop the commits of every stream.
                    _logger.exception("a viewer of stream %s failed", self.id)
                    viewer.abort()
        if not self.has_head:
            self._check_head(events, now)
        if self.terminal is not None:
            _resolve(self._end_waiters)

    def _end(self, terminal: Terminal) -> None:
        # Only now: a status of `done` that a crash can take back would be a promise broken (P1).
        self.terminal = terminal
        self.signal(END_SIGNALS[outcome(terminal)])

    def _check_head(self, events: Sequence[Event], now: float) -> None:
        has_content = any(type(event) in CONTENT_TYPES for event in events)
        if self.terminal is not None or has_content:
            self.has_head = True
            self.first_content_s = now if has_content else None
            _resolve(self._head_waiters)

    def _remember(self, events: Sequence[Event]) -> None:
        tail = self._tail
        size = 0
        for event in events:
            size += EVENT_BYTES + len(event.text) if type(event) is Text and not event.logprobs else _memory(event)
        tail.extend(events)
        self._tail_bytes += size
        while self._tail_bytes > self._tail_limit and len(tail) > len(events):
            self._tail_bytes -= _memory(tail.popleft())
        self.tail_first = self.next_seq - len(tail)

    def tail_from(self, seq: int) -> list[Event]:
        """Committed events from `seq` on; `seq` must be at least `tail_first`."""
        return list(islice(self._tail, seq - self.tail_first, None))

    def break_off(self, failure: HeadwaterError) -> None:
        """The log lost the stream: readers are told now, with an error that is not logged (P3 over P1's log)."""
        self.signal(Signal.CRASH)
        self.failure = failure
        self.has_head = True
        for viewer in tuple(self.viewers):
            viewer.fail(failure)
        _resolve(self._head_waiters)
        _resolve(self._end_waiters)

    async def wait_head(self, timeout_s: float) -> None:
        """Return when the first content or the end is committed, or after `timeout_s`.

        Raises the error where the log lost the stream before.
        """
        if not self.has_head:
            waiter = asyncio.get_running_loop().create_future()
            self._head_waiters.append(waiter)
            try:
                await asyncio.wait((waiter,), timeout=timeout_s)
            finally:
                if waiter in self._head_waiters:
                    self._head_waiters.remove(waiter)
        self.check()

    async def wait_end(self) -> Error | Done:
        """The committed terminal event. Raises the error where the log lost the stream."""
        while self.terminal is None:
            self.check()
            waiter = asyncio.get_running_loop().create_future()
            self._end_waiters.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._end_waiters:
                    self._end_waiters.remove(waiter)
        return self.terminal

    def let_go(self, reason: HeadwaterError) -> None:
        """This process produces the stream no longer: `reason` is for those who wait and are no viewers."""
        self._unattended = reason
        self.has_head = True
        _resolve(self._head_waiters)
        _resolve(self._end_waiters)

    def check(self) -> None:
        """Raise the error where the log lost the stream, or this process let go of it."""
        error = self.failure or self._unattended
        if error is not None:
            # Raised for every reader: without this each one's frames would be added to the others'.
            raise error.with_traceback(None)


def outcome(terminal: Terminal) -> Outcome:
    """How a stream with this terminal event ended."""
    if isinstance(terminal, Error):
        return "failed"
    return "cancelled" if terminal.reason == "cancelled" else "done"


def _memory(event: Event) -> int:
    kind = type(event)
    if (kind is Text and event.logprobs is None) or kind is Reasoning:  # type: ignore[union-attr]
        return EVENT_BYTES + len(event.text)  # type: ignore[union-attr]
    # Nested objects take about four times their JSON.
    return EVENT_BYTES + 4 * len(encode_event(event))


def _resolve(waiters: list[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
    waiters.clear()

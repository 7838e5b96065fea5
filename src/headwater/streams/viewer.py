"""One viewer: a cursor, an encoder and a sink.

At the tail it is written to straight from the commit (`deliver`). A viewer that fell behind costs nothing but its
cursor: it `pull`s what it missed, merged, from the tail in memory or from the log, when its sink takes bytes again.
The hand-off from log to tail is decided in one synchronous step, so there is no gap and no repeat.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from ..errors import HeadwaterError, LogCorrupt, LogError, UnknownStream
from ..events import Error, Event, Seq, StreamId
from ..sse import retry
from .channel import Channel
from .history import read_fold
from .log import Log
from .merge import merge
from .pacing import Pace, PacedSink
from .ports import Encoder, EncodesRuns, Layer, ReadsFold, Sink, SupportsReconnect

_logger = logging.getLogger(__name__)

# One write and one log read of a viewer that catches up: what a frozen peer can cost beyond its socket buffer.
WRITE_BYTES = 65_536
READ_BYTES = 262_144

Parting: TypeAlias = Literal["finished", "sent_away", "lost"]


class Viewer:
    """Made by `Hub.attach`. `close` it when the client leaves; the stream goes on (cancel is not disconnect).

    `number`: among those of its hub. `first_seq`: of the first event that it was to get. `bytes`: of frames handed to
    its sink. `about`: what whoever attached it wants to know of it later. `parting`: how it went, None while it is
    here: it had all, this side sent it away, or the connection was lost (or cut, because its peer took nothing).
    """

    __slots__ = (
        "_log",
        "_on_closed",
        "_reading",
        "_waiter",
        "about",
        "attached_ms",
        "bytes",
        "channel",
        "closed",
        "encoder",
        "first_seq",
        "last_write",
        "next_seq",
        "number",
        "paced",
        "parting",
        "quiet_seq",
        "quiet_since",
        "sink",
        "stalled_since",
    )

    def __init__(
        self,
        channel: Channel,
        encoder: Encoder,
        sink: Sink,
        *,
        log: Log,
        next_seq: int,
        now: float,
        on_closed: Callable[[Viewer], None],
        number: int = 0,
        attached_ms: int = 0,
        about: object = None,
        pace: Pace | None = None,
    ) -> None:
        self.number = number
        self.about = about
        self.attached_ms = attached_ms
        self.bytes = 0
        self.channel = channel
        self.encoder = encoder
        self.paced = None if pace is None else PacedSink(sink, pace)
        self.sink: Sink = self.paced or sink
        self.first_seq = self.next_seq = next_seq
        self.closed = False
        self.parting: Parting | None = None
        self.last_write = self.quiet_since = now
        self.quiet_seq = next_seq
        self.stalled_since: float | None = None
        self._log = log
        self._on_closed = on_closed
        self._reading: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def catching_up(self) -> bool:
        return self._reading is not None or self.next_seq < self.channel.next_seq

    def start(self, reset: str | None) -> None:
        """Send what is committed since the cursor. `reset`: why the cursor is unknown."""
        self._safely(self._greet, reset)
        self.pull()

    def _greet(self, reset: str | None) -> None:
        self.sink.bind(self.pull)
        if reset is not None:
            self._send(self.encoder.reset(reset))

    def deliver(self, first_seq: int, events: Sequence[Event], shared: dict[Encoder, bytes], now: float) -> None:
        """These events were committed just now. `shared` holds what equal encoders made of them already."""
        # A viewer that reads the log is behind, so it is passed over too.
        if self.closed or self.next_seq != first_seq or not self.sink.writable:
            if self.paced is not None and not self.closed:
                self.paced.hold(events, ends=self.channel.terminal is not None)
            return
        encoder = self.encoder
        data = shared.get(encoder)
        if data is None:
            if len(events) == 1:
                data = encoder.encode(first_seq, events[0])
            else:
                encode = encoder.encode
                data = b"".join([encode(seq, event) for seq, event in enumerate(events, first_seq)])
            shared[encoder] = data
        if len(data) > WRITE_BYTES:
            # More than a frozen peer may cost in one write: in portions then, while the sink takes them.
            self.pull()
            return
        self.next_seq = first_seq + len(events)
        if data:
            self.sink.write(data)
            self.bytes += len(data)
            self.last_write = now
        if self.channel.terminal is not None:
            self.finish()

    def pull(self) -> None:
        """Catch up as far as the sink takes it. Called at the start and whenever the sink became writable."""
        self.stalled_since = None
        self._safely(self._pull)

    def _pull(self) -> None:
        channel = self.channel
        while not self.closed and self._reading is None:
            if self.next_seq >= channel.next_seq:
                if channel.terminal is not None:
                    self.finish()
                elif channel.failure is not None:
                    self.parting = "sent_away"
                    self._fail(channel.failure)
                return
            if not self.sink.writable:
                return
            if self.next_seq < channel.tail_first:
                self._reading = asyncio.get_running_loop().create_task(self._read_log())
                return
            self._write_merged(channel.tail_from(self.next_seq), self.next_seq)

    def _write_merged(self, events: Sequence[Event], first_seq: int) -> None:
        """Write until all is written or the sink stops; `next_seq` follows what was handed to the sink."""
        frames: list[bytes] = []
        size = 0
        encoder = self.encoder
        runs = encoder if isinstance(encoder, EncodesRuns) else None
        for seq, event in merge(events, first_seq, 0 if self.paced is None else self.paced.pace.buffer_bytes):
            data = encoder.encode(seq, event) if runs is None else runs.encode_run(self.next_seq, seq, event)
            frames.append(data)
            size += len(data)
            self.next_seq = seq + 1
            if size >= WRITE_BYTES:
                self._write(b"".join(frames))
                frames.clear()
                size = 0
                if self.closed or not self.sink.writable:
                    return
        if size:
            self._write(b"".join(frames))

    def _write(self, data: bytes) -> None:
        if self.closed:
            return
        self._send(data)
        self.last_write = asyncio.get_running_loop().time()

    def _send(self, data: bytes) -> None:
        self.sink.write(data)
        self.bytes += len(data)

    async def _read_log(self) -> None:
        """Read beyond the tail. One task a catch-up, never one an event."""
        try:
            await self._complete_fold()
            while self.sink.writable and self.next_seq < self.channel.tail_first:
                part = await self._log.read(StreamId(self.channel.id), Seq(self.next_seq - 1), max_bytes=READ_BYTES)
                if part is None:
                    raise UnknownStream("the stream was deleted")
                if part.first_seq > self.next_seq:
                    self._write(self.encoder.reset("trimmed"))
                    self.next_seq = part.first_seq
                if not part.events:
                    raise LogCorrupt(f"events from seq {self.next_seq} on are missing")
                # The log may be ahead of the channel: what is not published yet comes with its commit's callback.
                published = self.channel.next_seq - part.first_seq
                self._write_merged(part.events[:published], part.first_seq)
        except (LogError, UnknownStream) as exc:
            self._reading = None
            self.fail(exc)
        except Exception:
            _logger.exception("a viewer of stream %s failed", self.channel.id)
            self.abort()
        else:
            self._reading = None
            self.pull()

    async def _complete_fold(self) -> None:
        channel = self.channel
        if not channel.has_whole_fold and isinstance(self.encoder, ReadsFold):
            # Of a damaged stream, what does decode is still shown; the read that follows tells of the damage.
            with contextlib.suppress(LogCorrupt):
                channel.adopt_fold(await read_fold(self._log, channel.record))

    def quiet_s(self, now: float) -> float:
        """How long it has got no event, to within the time between two heartbeats; ask before each."""
        if self.quiet_seq != self.next_seq:
            self.quiet_seq, self.quiet_since = self.next_seq, self.last_write
        return now - self.quiet_since

    def heartbeat(self, now: float) -> None:
        if not self.closed:
            self._safely(self._send, self.encoder.heartbeat)
            self.last_write = now

    def fail(self, error: HeadwaterError) -> None:
        """Tell the viewer of a fault that is not in the log. Its cursor stays valid, so it may come back."""
        if not self.closed:
            self.parting = "sent_away"
            self._safely(self._fail, error)

    def _fail(self, error: HeadwaterError) -> None:
        event = Error(error.code, error.message, status=error.http_status, retryable=error.retryable)
        # A viewer that has nothing yet gets `epoch.-1`, which is no cursor: it comes back to a reset, not to a gap.
        self._send(self.encoder.encode(self.next_seq - 1, event))
        self.finish()

    def dismiss(self, retry_ms: int) -> None:
        """Send the viewer to reconnect: here after a restart, or to another node."""
        if not self.closed:
            self.parting = "sent_away"
            self._safely(self._dismiss, retry_ms)

    def _dismiss(self, retry_ms: int) -> None:
        self._send(farewell(self.encoder, retry_ms))
        self.finish()

    def finish(self) -> None:
        """All is written: end the response and let go."""
        if not self.closed:
            self.parting = self.parting or "finished"
            self.sink.finish()
            self.close()

    def abort(self) -> None:
        """Cut a viewer whose socket takes nothing."""
        if self.closed:
            return
        try:
            self.sink.abort()
        except Exception:
            _logger.exception("a viewer of stream %s cannot be cut", self.channel.id)
        self.close()

    def _safely(self, action: Callable[..., object], *arguments: object) -> None:
        """A broken encoder or sink costs its own viewer, never the commit, the sweep or the shutdown that met it."""
        try:
            action(*arguments)
        except Exception:
            _logger.exception("a viewer of stream %s failed", self.channel.id)
            self.abort()

    def close(self) -> None:
        """The client is gone, or done. Idempotent."""
        if self.closed:
            return
        self.closed = True
        self.parting = self.parting or "lost"
        if self._reading is not None:
            self._reading.cancel()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        # Not a cycle of viewer and sink that only the collector would free, with the stream that both lead to.
        self._safely(self.sink.bind, _nothing)
        self._on_closed(self)

    def carry(self, sink: Sink) -> None:
        """Go on through another sink, which has been given what the one before it held."""
        if self.closed:
            return
        if isinstance(self.sink, Layer):
            self.sink.carry(sink)
        else:
            self.sink = sink
            sink.bind(self.pull)
        self.pull()

    async def wait_closed(self) -> None:
        if not self.closed:
            if self._waiter is None:
                self._waiter = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._waiter)


def farewell(encoder: Encoder, retry_ms: int) -> bytes:
    """What sends a viewer away to come back after `retry_ms` milliseconds."""
    own = encoder.reconnect(retry_ms) if isinstance(encoder, SupportsReconnect) else b""
    return retry(retry_ms) + own


def _nothing() -> None:
    """A sink may still become writable after its viewer is gone."""

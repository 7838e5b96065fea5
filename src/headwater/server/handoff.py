"""The hand-off: uvicorn answers up to the response's head, then a viewer writes frames straight to the transport.

From the commit's callback to the socket there is no coroutine wake-up, no ASGI message and no task: an idle viewer
costs its connection and nothing else. `HeadwaterHttpProtocol` offers the hand-off in
`scope["extensions"]["headwater.handoff"]`; where that is missing (another ASGI server, a test client) `responses` falls
back to plain ASGI sends with the same bytes.

This rests on uvicorn's `HttpToolsProtocol`, which is semi-internal. Everything it relies on is pinned by
`tests/integration/test_handoff_contract.py`, which must pass before uvicorn's version bound moves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from ..dialects.openai_chat import error_object
from ..streams import Network, Sink
from .tcp_info import read_network

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

EXTENSION = "headwater.handoff"

# What a peer that does not read may hold in user space; the kernel's socket buffer comes on top. Two catch-up writes
# (64 KiB each) overshoot it at most once, because the viewer asks `writable` between them.
HIGH_WATER_BYTES = 32_768
LOW_WATER_BYTES = 8_192
# From here on a copy costs more than two more buffers: a batch is then one object for all its viewers.
SHARED_BYTES = 4_096


class HttpLimits(msgspec.Struct, frozen=True):
    """All are security limits. `read_timeout_s`: a whole request, head and body, must arrive within it (slowloris).

    `send_timeout_s`: a peer that takes nothing of an ended response for this long is cut (sse-starlette #89); while
    the response goes on, the hub watches.
    """

    max_header_bytes: int = 65_536
    read_timeout_s: float = 60.0
    send_timeout_s: float = 30.0


class HeadTooLarge(Exception):
    """Raised inside the parser's callbacks; `data_received` turns it into 431."""


class HeadwaterHttpProtocol(HttpToolsProtocol):
    """One client connection: uvicorn's, with the hand-off, a bound on the head and a deadline for reading."""

    limits: ClassVar[HttpLimits] = HttpLimits()

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.sink: TransportSink | None = None
        self._running: RequestResponseCycle | None = None
        self._answered = False
        self._head_bytes = 0  # of the whole headers that the parser told of
        self._raw_head_bytes = 0  # of reads that left the head unfinished
        self._in_head = False
        self._deadline: asyncio.TimerHandle | None = None
        self._draining: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES, low=LOW_WATER_BYTES)
        self._deadline = self.loop.call_later(self.limits.read_timeout_s, self._read_timed_out)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_deadline()
        if self._draining is not None:
            self._draining.cancel()
        # Uvicorn tells only the newest request of a pipeline; the one being answered must know too.
        running = self._running
        if running is not None and not running.response_complete:
            running.disconnected = True
            running.message_event.set()
        self.pipeline.clear()
        super().connection_lost(exc)
        self._running = None
        if self.sink is not None:
            self.sink.lost()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        began_in_head = self._in_head
        super().data_received(data)
        if began_in_head and self._in_head:
            # The parser tells of a header only when it is whole: an endless one is counted here.
            self._raw_head_bytes += len(data)
            if self._raw_head_bytes > self.limits.max_header_bytes and not self.transport.is_closing():
                self._refuse(431, "the request's head is too large", "header_too_large")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = self._raw_head_bytes = 0
        self._in_head = True
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.limits.read_timeout_s, self._read_timed_out)

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._stop_deadline()
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.sink is not None:
            self.sink.writable = False

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.sink is not None:
            self.sink.resumed()

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn where the parser gave up, for a malformed request as well as for our own limit."""
        if self._head_bytes > self.limits.max_header_bytes:
            self._refuse(431, "the request's head is too large", "header_too_large")
        else:
            self._refuse(400, "this is not a valid HTTP request", "invalid_http")

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        cycle.scope["extensions"] = {EXTENSION: Handoff(self, cycle)}  # type: ignore[dict-item]
        super()._start_asgi_task(cycle, app)

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self.limits.max_header_bytes:
            raise HeadTooLarge

    def _read_timed_out(self) -> None:
        self._deadline = None
        if self._running is None and not self._in_head:
            # A browser opens connections ahead of need: one that never sent a byte is closed without a word.
            self.transport.close()
        else:
            self._refuse(408, "the request did not arrive in time", "request_timeout")

    def network_before(self) -> Network | None:
        """What happened on this connection before the response that begins now; None on its first one."""
        return self.network() if self._answered else None

    def network(self) -> Network | None:
        sock = self.transport.get_extra_info("socket")
        return None if sock is None else read_network(sock)

    def on_response_complete(self) -> None:
        self._answered = True
        self.watch_the_rest()
        super().on_response_complete()

    def watch_the_rest(self, before: int | None = None) -> None:
        """A response is over, and nobody writes any more who would notice a peer that does not read its rest."""
        if self._draining is not None:
            self._draining.cancel()
            self._draining = None
        left = self.transport.get_write_buffer_size()
        if not left or self.sink is not None:
            return  # all is with the kernel, or the hub watches the next response
        if before is not None and left >= before:
            self.transport.abort()
        else:
            self._draining = self.loop.call_later(self.limits.send_timeout_s, self.watch_the_rest, left)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, status: int, message: str, code: str) -> None:
        """Answer what never became a request, and close."""
        if self._may_answer():
            body = msgspec.json.encode(error_object(message, status=status, code=code))
            head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            self.transport.write(STATUS_LINE[status] + head + body)
        self.watch_the_rest()
        self.transport.close()

    def _may_answer(self) -> bool:
        """Whether bytes written now would not land in the middle, or behind the end, of another answer."""
        running = self._running
        if running is None:
            return True
        return running.response_complete if self._in_head else not running.response_started


def protocol_class(limits: HttpLimits) -> type[HeadwaterHttpProtocol]:
    """For uvicorn's `http=`, which takes a class and gives it no settings of ours."""
    return type("LimitedHttpProtocol", (HeadwaterHttpProtocol,), {"limits": limits})


class Handoff:
    """The offer in the scope of one request."""

    __slots__ = ("_cycle", "_protocol")

    def __init__(self, protocol: HeadwaterHttpProtocol, cycle: RequestResponseCycle) -> None:
        self._protocol = protocol
        self._cycle = cycle

    def sink(self) -> TransportSink:
        """Ask once, before the head is sent."""
        if self._cycle.scope["http_version"] == "1.0":
            # Uvicorn would send chunks, which HTTP/1.0 does not know (RFC 9112 section 6.1): the end is the close.
            self._cycle.chunked_encoding = False
        return TransportSink(self._protocol, self._cycle)


class TransportSink:
    """A viewer's sink on the connection itself.

    Attach the viewer, send `http.response.start`, then `open`. What is written before is held, so that nothing precedes
    the head. After `open` the ASGI application returns; the connection's own callbacks keep the sink alive.
    """

    __slots__ = (
        "_before",
        "_chunked",
        "_cycle",
        "_early",
        "_ended",
        "_on_lost",
        "_on_writable",
        "_protocol",
        "writable",
    )

    def __init__(self, protocol: HeadwaterHttpProtocol, cycle: RequestResponseCycle) -> None:
        self._protocol = protocol
        self._cycle = cycle
        self._early: list[bytes] | None = []
        self._ended = False
        self._chunked = True
        self._on_writable: Callable[[], None] = _nothing
        self._on_lost: Callable[[], None] = _nothing
        self._before = protocol.network_before()
        self.writable = False

    @property
    def head_is_out(self) -> bool:
        """Whether `http.response.start` has reached the connection, or never will because the client left."""
        return self._cycle.response_started or self._cycle.disconnected

    def bind(self, on_writable: Callable[[], None]) -> None:
        self._on_writable = on_writable

    def write(self, data: bytes) -> None:
        if self._early is not None:
            self._early.append(data)
        elif not self._chunked:
            self._protocol.transport.write(data)
        elif len(data) < SHARED_BYTES:
            self._protocol.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            self._protocol.transport.writelines((b"%x\r\n" % len(data), data, b"\r\n"))

    def open(self, on_lost: Callable[[], None]) -> None:
        """The head was sent: take the connection over. `on_lost` is called once when the client leaves first."""
        protocol, cycle = self._protocol, self._cycle
        self._on_lost = on_lost
        early, self._early = self._early or [], None
        if cycle.disconnected or protocol.transport.is_closing():
            self.lost()
            return
        self._chunked = bool(cycle.chunked_encoding)
        _cut_from_asgi(protocol, cycle)
        protocol.sink = self
        for data in early:
            self.write(data)
        if self._ended:
            self._complete()
            return
        if not protocol.flow.write_paused:
            self.writable = True
            self._on_writable()

    def hand_over(self, other: Sink) -> None:
        """Instead of `open`: what was held goes to another sink, and so does the end where it has come."""
        early, self._early = self._early or [], []
        for data in early:
            other.write(data)
        if self._ended:
            other.finish()

    def network(self) -> Network | None:
        now, before = self._protocol.network(), self._before
        if now is None or before is None:
            return now
        return Network(
            now.rtt_s, now.retransmissions - before.retransmissions, max(0, now.packets_lost - before.packets_lost)
        )

    def finish(self) -> None:
        if not self._ended:
            self._ended = True
            self.writable = False
            if self._early is None:
                self._complete()

    def abort(self) -> None:
        self._ended = True
        self.writable = False
        self._protocol.transport.abort()

    def resumed(self) -> None:
        """The transport's buffer drained below the low-water mark."""
        if not self._ended:
            self.writable = True
            self._on_writable()

    def lost(self) -> None:
        """The connection is gone."""
        self._protocol.sink = None
        self.writable = False
        if not self._ended:
            self._ended = True
            self._on_lost()

    def _complete(self) -> None:
        """End the response as `RequestResponseCycle.send` would, so that the connection can carry the next request."""
        protocol, cycle = self._protocol, self._cycle
        protocol.sink = None
        if self._chunked:
            protocol.transport.write(b"0\r\n\r\n")
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            protocol.transport.close()
        protocol.on_response_complete()


def _cut_from_asgi(protocol: HeadwaterHttpProtocol, cycle: RequestResponseCycle) -> None:
    """Let the application return while the response goes on, and drop what only the application needed.

    `disconnected` is what makes uvicorn accept that return, and its `send` a no-op. `response_complete` stays false,
    so pipelined requests keep waiting and a shutdown waits for this response.
    """
    cycle.disconnected = True
    if protocol.scope is cycle.scope:
        protocol.scope = {}  # type: ignore[typeddict-item]
        protocol.headers = []
    cycle.scope = {}  # type: ignore[typeddict-item]
    # A body read half-way may have paused reading, and then nobody would see the client leave.
    if not protocol.pipeline:
        protocol.flow.resume_reading()


def _nothing() -> None:
    """Before a viewer is bound there is nobody to tell."""

"""A stream as an HTTP response: held head, hand-off or plain ASGI, the same bytes either way.

The status line waits for the provider where the dialect asks for it, so an upstream's 401, 429 or 503 keeps its status.
A client that leaves, at whatever moment, is a viewer that leaves (litellm PR #31499).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from ..errors import TooManyConnections
from ..events import Error
from ..streams import Channel, EncoderFactory, Hub, Pace, Sink, Viewer, farewell
from .compression import Coding, CompressedSink, Compression
from .errors import event_response
from .handoff import EXTENSION, HIGH_WATER_BYTES, TransportSink
from .viewer_facts import facts_of_viewer

_SSE_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}
_VARY = (b"vary", b"Accept-Encoding")


class EventStreamResponse(Response):
    """One viewer. `cursor` is what the client sent, raw; `head_wait_s` > 0 holds the status line that long. `dialect`:
    the encoder's name, for who looks at the connections. `compression`: None sends everything as it is. `carries`: as
    in `ViewerFacts`; `pace`: as in `Hub.attach`.

    A viewer that returns with a cursor and finds no room gets 200 and `retry:`, because any error status stops a
    browser's EventSource for good.
    """

    def __init__(
        self,
        hub: Hub,
        channel: Channel,
        encoder: EncoderFactory,
        *,
        cursor: str | None = None,
        head_wait_s: float = 0.0,
        headers: Mapping[str, str] | None = None,
        dialect: str = "",
        compression: Compression | None = None,
        carries: bool = False,
        pace: Pace | None = None,
    ) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers({**(headers or {}), **_SSE_HEADERS, "X-Stream-Id": channel.id})
        self._hub = hub
        self._channel = channel
        self._encoder = encoder
        self._cursor = cursor
        self._head_wait_s = head_wait_s
        self._dialect = dialect
        self._compression = compression
        self._coding: Coding | None = None
        self._carries = carries
        self._pace = pace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        channel = self._channel
        # Until the viewer is attached this caller counts as one, so that a linger of 0 does not end the stream.
        with self._hub.hold(channel):
            if not await self._head_is_ready(receive):
                return
            if self._head_wait_s and isinstance(channel.terminal, Error) and not channel.fold.has_content:
                await event_response(channel.terminal, {"X-Stream-Id": channel.id})(scope, receive, send)
                return
            if self._compression is not None:
                self._coding = self._compression.choose(scope, channel, self._dialect)
            if scope["method"] == "HEAD":
                # Nobody watches: there is no viewer to count, and none that leaves.
                await send(self._start(scope))
                await send({"type": "http.response.body"})
                return
            sink = _sink(scope)
            try:
                viewer = self._attach(scope, sink)
            except TooManyConnections:
                if self._cursor is None:
                    raise
                self._coding = None
                await self._send_away(scope, send)
                return
        await self._run(scope, receive, send, sink, viewer)

    def _attach(self, scope: Scope, sink: Sink) -> Viewer:
        """Raises `TooManyConnections`."""
        about = facts_of_viewer(
            scope,
            self._dialect,
            resumed=self._cursor is not None,
            carries=self._carries,
            compressed=self._coding is not None,
        )
        compressed: CompressedSink | None = None
        if self._coding is not None and self._compression is not None:
            compressed = self._compression.sink(self._coding, sink)
        try:
            return self._hub.attach(
                self._channel,
                self._encoder,
                compressed or sink,
                self._cursor,
                about=about,
                caller=about.caller,
                pace=self._pace,
            )
        except BaseException:
            if compressed is not None:
                compressed.release()
            raise

    async def _head_is_ready(self, receive: Receive) -> bool:
        """False: the client left first."""
        if not self._head_wait_s or self._channel.has_head:
            return True
        return await before_disconnect(receive, self._channel.wait_head(self._head_wait_s))

    async def _run(
        self, scope: Scope, receive: Receive, send: Send, sink: TransportSink | AsgiSink, viewer: Viewer
    ) -> None:
        try:
            await send(self._start(scope))
            if isinstance(sink, TransportSink) and sink.head_is_out:
                sink.open(viewer.close)
            elif isinstance(sink, TransportSink):
                # A middleware of the application holds the head back (`BaseHTTPMiddleware` queues it, `GZipMiddleware`
                # waits for the body), and would be overtaken: everything goes through it then.
                through = AsgiSink()
                sink.hand_over(through)
                viewer.carry(through)
                await through.run(receive, send, viewer.close)
            else:
                await sink.run(receive, send, viewer.close)
        except BaseException:
            viewer.close()
            raise

    async def _send_away(self, scope: Scope, send: Send) -> None:
        await send(self._start(scope))
        body = farewell(self._encoder(self._channel), self._hub.settings.retry_ms)
        await send({"type": "http.response.body", "body": body})

    def _start(self, scope: Scope) -> Message:
        headers = self.raw_headers
        if self._compression is not None and self._compression.enabled:
            headers = [*headers, _VARY]
        if self._coding is not None:
            headers = [*headers, (b"content-encoding", self._coding.encode())]
        if scope["http_version"] == "1.1" and (b"connection", b"close") not in scope["headers"]:
            headers = [*headers, (b"connection", b"keep-alive")]
        return {"type": "http.response.start", "status": self.status_code, "headers": headers}


def _sink(scope: Scope) -> TransportSink | AsgiSink:
    offer = scope.get("extensions", {}).get(EXTENSION)
    return AsgiSink() if offer is None else offer.sink()


class AsgiSink:
    """A viewer's sink under any ASGI server: one task sends, one waits for the disconnect."""

    __slots__ = ("_aborted", "_ended", "_on_writable", "_pending", "_pending_bytes", "_sender", "_wake")

    def __init__(self) -> None:
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._ended = False
        self._aborted = False
        self._wake = asyncio.Event()
        self._sender: asyncio.Task[None] | None = None
        self._on_writable: Callable[[], None] | None = None

    @property
    def writable(self) -> bool:
        return self._pending_bytes < HIGH_WATER_BYTES and not self._ended

    def bind(self, on_writable: Callable[[], None]) -> None:
        self._on_writable = on_writable

    def write(self, data: bytes) -> None:
        self._pending.append(data)
        self._pending_bytes += len(data)
        self._wake.set()

    def finish(self) -> None:
        self._ended = True
        self._wake.set()

    def abort(self) -> None:
        """Leaves the body unfinished, which makes the server cut the connection."""
        self._ended = self._aborted = True
        self._wake.set()
        if self._sender is not None:
            self._sender.cancel()

    async def run(self, receive: Receive, send: Send, on_lost: Callable[[], None]) -> None:
        """Send what is written until `finish`, `abort` or the client's leaving."""
        try:
            await before_disconnect(receive, self._send_all(send))
        finally:
            self._ended = True
            on_lost()

    async def _send_all(self, send: Send) -> None:
        self._sender = asyncio.current_task()
        while not (self._ended and not self._pending) and not self._aborted:
            if not self._pending:
                self._wake.clear()
                await self._wake.wait()
                continue
            data = b"".join(self._pending)
            self._pending.clear()
            await send({"type": "http.response.body", "body": data, "more_body": True})
            was_full = not self.writable  # only now: what was written meanwhile may have filled it
            self._pending_bytes -= len(data)
            if was_full and self.writable and self._on_writable is not None:
                self._on_writable()
        if not self._aborted:
            await send({"type": "http.response.body"})


async def before_disconnect(receive: Receive, work: Coroutine[Any, Any, object]) -> bool:
    """Do `work` unless the client leaves first, which cancels it. True: it was done. Re-raises what it raised."""
    loop = asyncio.get_running_loop()
    working = loop.create_task(work)
    leaving = loop.create_task(_disconnected(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done() and not working.cancelled():
            working.result()
            return True
        return False
    finally:
        rest = [task for task in (working, leaving) if task.cancel()]
        if rest:
            await asyncio.wait(rest)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

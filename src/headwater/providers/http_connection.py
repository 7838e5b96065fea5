"""One HTTP/1.1 connection to a provider: an `asyncio.BufferedProtocol` around httptools' response parser.

One read of the socket is one `Receiver.data` call. The connection serves one exchange at a time and tells its owner
when it is free again or gone. It must not know of pools, providers or events.
"""

from __future__ import annotations

import asyncio
import select
from typing import Protocol, cast

import httptools

from ..errors import ProviderError
from .ports import Receiver
from .transport_errors import MAX_HEAD_BYTES, compressed, head_too_large, is_identity, lost_error


class Owner(Protocol):
    """What a connection reports to, at most once an exchange each."""

    def free(self, connection: HttpConnection) -> None:
        """The exchange ended and the connection can serve another."""
        ...

    def gone(self, connection: HttpConnection) -> None:
        """The socket is closed."""
        ...

    def unanswered(self, connection: HttpConnection) -> bool:
        """The peer closed a reused connection before the first byte of an answer: True where the owner retries."""
        ...


class HttpConnection(asyncio.BufferedProtocol):
    """`buffer` may be shared by all connections of a loop that reads and reports in one step (all but Windows' own)."""

    __slots__ = ("_buffer", "_chunks", "_closing", "_head_bytes", "_headers", "_keep_alive", "_owner", "_parser",
                 "_paused", "_received", "_receiver", "_status", "_told", "_transport", "_whole")  # fmt: skip

    def __init__(self, owner: Owner, buffer: memoryview) -> None:
        self._owner = owner
        self._buffer = buffer
        self._transport: asyncio.Transport | None = None
        self._receiver: Receiver | None = None
        self._closing = False
        self._paused = False
        self._begin()

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._chunks: list[bytes] = []
        self._head_bytes = 0
        self._status = 0
        self._keep_alive = False
        self._received = False
        self._told = False
        self._whole = False

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._closing and not self._transport.is_closing()

    @property
    def quiet(self) -> bool:
        """Usable, with nothing received that the loop has not read yet: an idle peer that speaks is about to leave."""
        if self._transport is None or not self.usable:
            return False
        return not _is_readable(self._transport.get_extra_info("socket").fileno())

    def send(self, data: bytes, receiver: Receiver) -> None:
        """Begin an exchange; `data` is the whole request. The connection must be usable and free."""
        self._receiver = receiver
        self._begin()
        if self._transport is not None:
            self._transport.write(data)

    def abort(self) -> None:
        """Close the socket now; nothing is reported any more but `gone`."""
        self._receiver = None
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    def pause(self) -> None:
        if self._transport is not None and self.usable and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None and self.usable and self._paused:
            self._paused = False
            self._transport.resume_reading()

    # Called by the loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by inheritance

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._receiver is None:
            # Bytes that nobody asked for would be taken for the next answer (response splitting).
            self.abort()
            return
        self._received = True
        error: ProviderError | None = None
        try:
            self._parser.feed_data(self._buffer[:nbytes])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            self._keep_alive = False
            error = None if self._whole else lost_error(exc, head_seen=True)
        if not self._told:
            error = self._head(nbytes) or error
        if self._chunks:
            self._body()
        if error is not None:
            self.lose(error)
        elif self._whole:
            self._end()

    def eof_received(self) -> None:
        self._gone(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone(exc)
        self._transport = None
        self._owner.gone(self)

    # Called by the parser, inside `buffer_updated`. They only note what came: whatever is raised in here becomes a
    # parser error, which a receiver's own error must not.

    def on_message_begin(self) -> None:
        if self._whole:
            raise ConnectionError("bytes behind the answer")  # ends the parsing; see `buffer_updated`
        self._headers = {}  # also those of an informational response before

    def on_header(self, name: bytes, value: bytes) -> None:
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        self._status = 0 if 100 <= status < 200 else status

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        if self._status:
            self._whole = True
            self._keep_alive = self._parser.should_keep_alive()

    # What follows from it.

    def _head(self, nbytes: int) -> ProviderError | None:
        """Report the head once it is there; returns why it cannot be taken."""
        if not self._status:
            self._head_bytes += nbytes
            return head_too_large() if self._head_bytes > MAX_HEAD_BYTES else None
        self._told = True
        # The read that brought its end has brought other things, too, so it is not counted by that.
        if sum(len(name) + len(value) + 4 for name, value in self._headers.items()) > MAX_HEAD_BYTES:
            self._chunks.clear()
            return head_too_large()
        coding = self._headers.get("content-encoding", "")
        # An error's status is worth more than its unreadable body.
        if self._status < 400 and not is_identity(coding):
            self._chunks.clear()
            return compressed(coding)
        if self._receiver is not None:
            self._receiver.head(self._status, self._headers)
        return None

    def _body(self) -> None:
        """Hand over the body bytes of this read, as one piece."""
        chunks, self._chunks = self._chunks, []
        if self._receiver is not None:
            self._receiver.data(chunks[0] if len(chunks) == 1 else b"".join(chunks))

    def _end(self) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is None:
            return
        if self._keep_alive and self.usable:
            self.resume()
            self._owner.free(self)
        else:
            self.abort()
        receiver.end()

    def lose(self, error: ProviderError) -> None:
        """Close the socket and report why."""
        receiver, self._receiver = self._receiver, None
        self.abort()
        if receiver is not None:
            receiver.lost(error)

    def _gone(self, error: Exception | None) -> None:
        """The peer sends no more."""
        if self._receiver is None:
            self.abort()
        elif self._status and error is None and self._ends_with_connection():
            self._keep_alive = False
            self._end()
        elif not self._received and self._owner.unanswered(self):
            self.abort()
        else:
            self.lose(lost_error(error, head_seen=bool(self._status)))

    def _ends_with_connection(self) -> bool:
        """RFC 9112, 6.3: neither chunked nor a length means that the body ends where the connection does."""
        return not ("transfer-encoding" in self._headers or "content-length" in self._headers)


def _is_readable(descriptor: int) -> bool:
    """Whether a read would return now. `select` alone cannot take descriptors above 1023, but Windows has no `poll`."""
    if hasattr(select, "poll"):
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        return bool(poller.poll(0))
    return bool(select.select([descriptor], [], [], 0)[0])

"""One attempt at an answer over HTTP: a wire protocol on a transport, and the producer that carries it into a stream.

Bytes are pushed: the transport's read callback feeds the decoder and writes to the stream in the same call, with no
queue and no task wake-up in between; the producer's task awaits one future for the whole answer. Invariants: on
cancellation the socket is closed before anything is awaited; whatever fails is raised as a `ProviderError`, and what
to do about it is decided elsewhere (`routing`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from ..errors import HeadwaterError, ProviderError, ProviderProtocolError, ProviderRejected, ProviderTruncated
from ..events import Done, Event, Metadata
from ..streams.ports import Writer
from .ports import Decoder, Exchange, Transport, UpstreamRequest, WireProtocol

_logger = logging.getLogger(__name__)

ERROR_BODY_BYTES = 65_536
ERROR_BODY_TIMEOUT_S = 5.0
# The rest of a body whose answer is whole (the last chunk's mark); then the connection is kept, else closed.
_TAIL_S = 1.0


class HttpCall:
    """See `streams.ports.Producer`. `decoder`: one that was made for just this answer, in place of a fresh one.

    `dropped` names the fields that were left out of the request; the stream's metadata tells of them.
    """

    def __init__(
        self,
        provider: str,
        protocol: WireProtocol,
        transport: Transport,
        request: UpstreamRequest,
        *,
        decoder: Decoder | None = None,
        dropped: Sequence[str] = (),
        error_body_timeout_s: float = ERROR_BODY_TIMEOUT_S,
    ) -> None:
        self._provider = provider
        self.protocol = protocol
        self._transport = transport
        self._request = request
        self._own_decoder = decoder
        self.dropped = list(dropped)
        self._error_body_timeout_s = error_body_timeout_s
        self._decoder: Decoder | None = None

    @property
    def position(self) -> int | None:
        """See `ports.Positioned`."""
        return getattr(self._decoder, "position", None)

    async def run(self, writer: Writer) -> None:
        self._decoder = decoder = self._own_decoder or self.protocol.decoder()
        self._own_decoder = None
        if self.dropped:
            writer.write([Metadata({"dropped": self.dropped})])
        call = _Receiver(writer, self.protocol, decoder, self._error_body_timeout_s)
        exchange = call.exchange = self._transport.open(self._request, call)
        try:
            while True:
                await call.signal
                if call.over:
                    break
                call.signal = asyncio.get_running_loop().create_future()
                await writer.drain()
                exchange.resume()
            if call.error is not None:
                raise call.error
        except ProviderError as error:
            error.provider = self._provider
            raise
        finally:
            call.leave()


class _Receiver:
    """The receiver of one attempt. `signal` wakes the producer: the answer is over, or the log is slow.

    The producer sets `exchange` as soon as it is open, before any callback.
    """

    exchange: Exchange

    def __init__(self, writer: Writer, protocol: WireProtocol, decoder: Decoder, error_body_timeout_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self.signal: asyncio.Future[None] = self._loop.create_future()
        self.over = False
        self.error: HeadwaterError | None = None
        self._writer = writer
        self._protocol = protocol
        self._decoder = decoder
        self._error_body_timeout_s = error_body_timeout_s
        self._refused: tuple[int, Mapping[str, str]] | None = None
        self._body = bytearray()
        self._body_ended = False
        self._timer: asyncio.TimerHandle | None = None

    # Called by the transport.

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        if 200 <= status < 300:
            self._writer.connected()
        else:
            self._refused = status, headers
            self._timer = self._loop.call_later(self._error_body_timeout_s, self._reject, status, headers)

    def data(self, chunk: bytes) -> None:
        if self.over:
            return
        if self._refused is not None:
            self._body += chunk
            if len(self._body) >= ERROR_BODY_BYTES:
                self._reject(*self._refused)
            return
        try:
            events = self._decoder.feed(chunk)
        except Exception as exc:  # noqa: BLE001 -- see `_undecodable`
            self._undecodable(exc)
            return
        if events:
            self._write(events)
        else:
            self._writer.touch()

    def end(self) -> None:
        self._body_ended = True
        self._stop_timer()
        if self.over:
            return
        if self._refused is not None:
            self._reject(*self._refused)
            return
        try:
            events = self._decoder.close()
        except Exception as exc:  # noqa: BLE001 -- see `_undecodable`
            self._undecodable(exc)
            return
        self._fail(ProviderTruncated("the provider's answer ended before it was whole"), events)

    def lost(self, error: ProviderError) -> None:
        self._body_ended = True
        self._stop_timer()
        if self.over:
            return
        if self._refused is not None:
            self._reject(*self._refused)
        else:
            self._fail(error, ())

    # Called by the producer.

    def leave(self) -> None:
        """Let go of the upstream at once, save for the last bytes of a whole answer's body."""
        self._stop_timer()
        if self._body_ended:
            return
        if self.over and self.error is None:
            self._timer = self._loop.call_later(_TAIL_S, self.exchange.abort)
            return
        self._abort()

    def _write(self, events: Sequence[Event]) -> None:
        try:
            flowing = self._writer.write(events)
        except HeadwaterError as error:  # the stream has ended for another reason
            self._finish(error)
            return
        if type(events[-1]) is Done:
            self._finish(None)
        elif not flowing:
            self.exchange.pause()
            self._wake()

    def _reject(self, status: int, headers: Mapping[str, str]) -> None:
        """The error answer is complete, or as much of it as is waited for."""
        try:
            error = self._protocol.error(status, headers, bytes(self._body[:ERROR_BODY_BYTES]))
        except Exception:
            _logger.exception("the protocol of %s cannot read an error answer", self._protocol.name)
            error = ProviderRejected(f"the provider answered with HTTP status {status}", status=status)
        self._finish(error)

    def _undecodable(self, exc: Exception) -> None:
        """A decoder's own fault (a plug-in's, most likely) ends the attempt too: nobody else would (P3)."""
        if isinstance(exc, ProviderError):
            self._fail(exc, self._decoder.pending)
            return
        _logger.error("the decoder of %s failed", self._protocol.name, exc_info=exc)
        self._fail(ProviderProtocolError("the provider's answer cannot be decoded"), ())

    def _fail(self, error: ProviderError, events: Sequence[Event]) -> None:
        if events:
            self._write(events)
        if not self.over:
            self._finish(error)

    def _finish(self, error: HeadwaterError | None) -> None:
        self.over = True
        self.error = error
        if error is not None:
            self._abort()
        self._wake()

    def _wake(self) -> None:
        if not self.signal.done():
            self.signal.set_result(None)

    def _abort(self) -> None:
        self.over = True
        self._stop_timer()
        self.exchange.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

"""A provider over HTTP: one wire protocol on one transport, and the producer that carries one answer into a stream.

Bytes are pushed: the transport's read callback feeds the decoder and writes to the stream in the same call, with no
queue and no task wake-up in between; the producer's task awaits one future for the whole answer. Invariants: an answer
is never retried once content of it was written; on cancellation the socket is closed before anything is awaited.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from ..errors import HeadwaterError, ProviderError, ProviderProtocolError, ProviderTimeout
from ..events import Done, Event, Status
from ..request import ChatRequest
from ..streams.ports import Producer, Writer
from .ports import Decoder, Exchange, Transport, UpstreamRequest, WireProtocol

_ERROR_BODY_BYTES = 65_536
_FETCH_BYTES = 8 * 2**20
# The rest of a body whose answer is whole (the last chunk's mark); then the connection is kept, else closed.
_TAIL_S = 1.0


class RetryPolicy(msgspec.Struct, frozen=True):
    """Attempts before the first content: `attempts` in all, waits doubling from `first_delay_s` to `max_delay_s`.

    Each wait is drawn between half and all of that, so that clients which failed together do not return together. A
    `Retry-After` above `retry_after_max_s` is not waited for: the caller gets the error, and the hint with it.
    """

    attempts: int = 3
    first_delay_s: float = 0.5
    max_delay_s: float = 8.0
    retry_after_max_s: float = 4.0  # below head_wait_s, so that an SDK sees the status and can do its own waiting
    error_body_timeout_s: float = 5.0
    draw: Callable[[], float] = random.random
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep

    def delay_s(self, attempt: int, error: ProviderError) -> float | None:
        """Seconds to wait after the failure of `attempt` (from 1); None where it is final."""
        if attempt >= self.attempts or not error.retryable:
            return None
        delay_s = min(self.max_delay_s, self.first_delay_s * 2.0 ** (attempt - 1)) * (0.5 + self.draw() / 2)
        if error.retry_after_s is not None:
            return max(delay_s, error.retry_after_s) if error.retry_after_s <= self.retry_after_max_s else None
        return delay_s


class HttpProvider:
    """See `ports.Provider`. `name` prefixes its models (`name/model`). The transport may be shared by providers."""

    def __init__(
        self,
        name: str,
        protocol: WireProtocol,
        transport: Transport,
        *,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 -- frozen
        models_timeout_s: float = 5.0,
    ) -> None:
        self.name = name
        self._protocol = protocol
        self._transport = transport
        self._retry = retry
        self._models_timeout_s = models_timeout_s

    async def models(self) -> Sequence[str]:
        try:
            status, headers, body = await fetch(
                self._transport, self._protocol.list_models(), timeout_s=self._models_timeout_s
            )
            if status != 200:
                raise self._protocol.error(status, headers, body[:_ERROR_BODY_BYTES])
            return self._protocol.parse_models(body)
        except ProviderError as error:
            error.provider = self.name
            raise

    def producer(self, request: ChatRequest, model: str) -> Producer:
        return HttpProducer(
            self.name, self._protocol, self._transport, self._protocol.chat(request, model), self._retry
        )

    async def close(self) -> None:
        """Nothing of its own: the transport belongs to whoever made it."""


class HttpProducer:
    """See `streams.ports.Producer`."""

    def __init__(
        self,
        provider: str,
        protocol: WireProtocol,
        transport: Transport,
        request: UpstreamRequest,
        retry: RetryPolicy,
    ) -> None:
        self._provider = provider
        self._protocol = protocol
        self._transport = transport
        self._request = request
        self._retry = retry

    async def run(self, writer: Writer) -> None:
        attempt = 1
        while True:
            try:
                await self._attempt(writer)
                return
            except ProviderError as error:
                error.provider = self._provider
                delay_s = None if writer.fold.has_content else self._retry.delay_s(attempt, error)
                if delay_s is None:
                    raise
                reason = error.message
            attempt += 1
            writer.write([Status("retrying", message=reason, attempt=attempt)])
            await self._retry.sleep(delay_s)

    async def _attempt(self, writer: Writer) -> None:
        call = _Call(writer, self._protocol, self._retry.error_body_timeout_s)
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
        finally:
            call.leave()


class _Call:
    """The receiver of one attempt. `signal` wakes the producer: the answer is over, or the log is slow."""

    def __init__(self, writer: Writer, protocol: WireProtocol, error_body_timeout_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self.signal: asyncio.Future[None] = self._loop.create_future()
        self.over = False
        self.error: HeadwaterError | None = None
        self.exchange: Exchange | None = None
        self._writer = writer
        self._protocol = protocol
        self._decoder: Decoder = protocol.decoder()
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
            self._timer = self._loop.call_later(self._error_body_timeout_s, self._reject)

    def data(self, chunk: bytes) -> None:
        if self.over:
            return
        if self._refused is not None:
            self._body += chunk
            if len(self._body) >= _ERROR_BODY_BYTES:
                self._reject()
            return
        try:
            events = self._decoder.feed(chunk)
        except ProviderError as error:
            self._fail(error, self._decoder.pending)
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
            self._reject()
            return
        try:
            events = self._decoder.close()
        except ProviderError as error:
            self._fail(error, self._decoder.pending)
            return
        self._write(events)

    def lost(self, error: ProviderError) -> None:
        self._body_ended = True
        self._stop_timer()
        if self.over:
            return
        if self._refused is not None:
            self._reject()
        else:
            self._fail(error, ())

    # Called by the producer.

    def leave(self) -> None:
        """Let go of the upstream at once, save for the last bytes of a whole answer's body."""
        self._stop_timer()
        if self._body_ended:
            return
        if self.over and self.error is None and self.exchange is not None:
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
        elif not flowing and self.exchange is not None:
            self.exchange.pause()
            self._wake()

    def _reject(self) -> None:
        """The error answer is complete, or as much of it as is waited for."""
        if self._refused is not None:
            status, headers = self._refused
            self._finish(self._protocol.error(status, headers, bytes(self._body[:_ERROR_BODY_BYTES])))

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
        if self.exchange is not None:
            self.exchange.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def fetch(
    transport: Transport, request: UpstreamRequest, *, timeout_s: float
) -> tuple[int, Mapping[str, str], bytes]:
    """A small whole answer: status, headers, body. Raises `ProviderError`, `ProviderTimeout` after `timeout_s`."""
    receiver = _Fetch()
    exchange = transport.open(request, receiver)
    try:
        async with asyncio.timeout(timeout_s):
            return await receiver.answer
    except TimeoutError as exc:
        raise ProviderTimeout(f"the provider did not answer within {timeout_s:g} s") from exc
    finally:
        exchange.abort()


class _Fetch:
    """The receiver of a small whole body."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[tuple[int, Mapping[str, str], bytes]] = asyncio.get_running_loop().create_future()
        self._head: tuple[int, Mapping[str, str]] = (0, {})
        self._body = bytearray()

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        self._head = status, headers

    def data(self, chunk: bytes) -> None:
        self._body += chunk
        if len(self._body) > _FETCH_BYTES:
            self.lost(ProviderProtocolError(f"the provider's answer is larger than {_FETCH_BYTES} bytes"))

    def end(self) -> None:
        if not self.answer.done():
            self.answer.set_result((*self._head, bytes(self._body)))

    def lost(self, error: ProviderError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)

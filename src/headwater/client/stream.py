"""One stream as an async iterator of canonical events, across any number of connections."""

from __future__ import annotations

import weakref
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from types import TracebackType
from typing import Self

import msgspec

from ..errors import ConnectionLost, HeadwaterError, StreamFailed, StreamReset
from ..events import EVENT_TYPES, Done, Error, Event, decode_event
from ..sse import Message, Parser
from ..streams import StreamInfo
from .http import STREAMS_PATH, Http, decoded, stream_path
from .reconnect import Backoff

_DIALECT = "events"
_RESET = "reset"
_NAMES = frozenset(str(kind.__struct_config__.tag) for kind in EVENT_TYPES)  # type: ignore[attr-defined]

# A server that restarts, or a proxy in front of it: the same request may pass in a moment. A start that is refused
# with 429 is for the caller to see; a reading that is, is only late.
_START_AGAIN = frozenset({502, 503, 504})
_READ_AGAIN = frozenset({408, 425, 429, 502, 503, 504})


class Order(msgspec.Struct, frozen=True):
    """What starts a stream: the JSON body of `POST /v1/streams` and its headers, an `Idempotency-Key` among them."""

    body: bytes
    headers: dict[str, str]


class _Reset(msgspec.Struct):
    reason: str = ""


class EventStream:
    """Events of one stream, each exactly once and in order, whatever happens to the connection.

    `async for` reads to the stream's end. Leaving the loop only disconnects: the generation goes on, and iterating
    again continues after `cursor`. `cancel` stops it. One task reads at a time. `async with` (or `aclose`) closes
    the connection at a definite point.

    While reading it raises `StreamFailed` after an `Error` event (unless `raise_on_error` is false), `StreamReset`
    when the server no longer knows the cursor (what was received may differ from what it now has: drop it and read
    anew with `follow(stream_id)`), `ConnectionLost` when the attempts to get back are used up, and what the server
    refuses with. An event of a type that this release does not know is passed over.
    """

    def __init__(
        self,
        http: Http,
        backoff: Backoff,
        source: Order | str,
        *,
        after: str | None = None,
        raise_on_error: bool = True,
    ) -> None:
        """`source`: what starts the stream, or the id of one that exists."""
        self._http = http
        self._backoff = backoff
        self._source = source
        self._cursor = after
        self._raise_on_error = raise_on_error
        self._parser = Parser()
        self._terminal: Error | Done | None = None
        self._ended = False
        # Weak, so that a loop left by `break` drops its connection at once and not when this object goes.
        self._reading: weakref.ref[AsyncGenerator[Event, None]] | None = None

    @property
    def stream_id(self) -> str | None:
        """Known once the server has accepted the stream."""
        return None if isinstance(self._source, Order) else self._source

    @property
    def cursor(self) -> str | None:
        """Position of the last event yielded, for `follow(stream_id, after=cursor)`, also in another process."""
        return self._cursor

    @property
    def reconnects(self) -> int:
        """Attempts to reach the server again, so far."""
        return self._backoff.total

    @property
    def ended(self) -> bool:
        """Whether the last event was received, or the server said that none comes after `cursor`."""
        return self._ended

    async def start(self) -> str:
        """Have the stream accepted, if it is not yet, without reading it; returns its id."""
        while isinstance(self._source, Order):
            try:
                answer = await self._http.call(
                    "POST", STREAMS_PATH, body=self._source.body, headers=self._source.headers
                )
            except HeadwaterError as failure:
                await self._wait(failure, _START_AGAIN)
            else:
                self._source = decoded(answer, StreamInfo).id
                self._backoff.progress()
        return self._source

    async def cancel(self) -> StreamInfo:
        """Stop the generation; its last event, `Done("cancelled")`, still reaches a reader.

        Where the start was not answered yet it is repeated first, under its key, because it may have been accepted.
        """
        return decoded(await self._http.call("POST", stream_path(await self.start(), "/cancel")), StreamInfo)

    def __aiter__(self) -> AsyncIterator[Event]:
        reading = self._events()
        self._reading = weakref.ref(reading)
        return reading

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Disconnect. Not while another task reads: cancel that task instead."""
        reading = self._reading() if self._reading is not None else None
        if reading is not None:
            await reading.aclose()

    async def _events(self) -> AsyncGenerator[Event, None]:
        stream_id = await self.start()
        while not self._ended:
            failure: HeadwaterError = ConnectionLost("the server closed the connection before the stream's end")
            try:
                async with aclosing(self._connection(stream_id)) as events:
                    async for event in events:
                        yield event
            except HeadwaterError as exc:
                failure = exc
            if not self._ended:
                await self._wait(failure, _READ_AGAIN)
        if self._raise_on_error and isinstance(self._terminal, Error):
            raise StreamFailed(self._terminal.message, reason=self._terminal.reason)

    async def _connection(self, stream_id: str) -> AsyncGenerator[Event, None]:
        """Events of one connection, until it is cut or the stream ends."""
        query = {"dialect": _DIALECT, **({"after": self._cursor} if self._cursor else {})}
        self._parser.close()
        async with self._http.events(stream_path(stream_id, "/events"), query) as chunks:
            if chunks is None:
                self._ended = True
                return
            async for chunk in chunks:
                comments = self._parser.comments
                for message in self._parser.feed(chunk):
                    event = self._received(message)
                    if event is not None:
                        yield event
                    if self._ended:
                        return
                if self._parser.comments > comments:
                    self._backoff.progress()

    def _received(self, message: Message) -> Event | None:
        if message.event == _RESET:
            raise StreamReset(decoded(message.data.encode(), _Reset).reason)
        event = decode_event(message.data) if message.event in _NAMES else None
        self._cursor = message.id or self._cursor
        self._backoff.progress()
        if isinstance(event, Error | Done):
            self._terminal = event
            self._ended = True
        return event

    async def _wait(self, failure: HeadwaterError, statuses: frozenset[int]) -> None:
        """Until the next attempt; raises `failure` itself where another attempt would meet the same."""
        if not isinstance(failure, ConnectionLost) and failure.http_status not in statuses:
            raise failure
        asked_s = (self._parser.retry_ms or 0) / 1000
        await self._backoff.wait(failure, hint_s=max(asked_s, failure.retry_after_s or 0.0))

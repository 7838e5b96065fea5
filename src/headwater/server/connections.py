"""The connections of reference 002: requests that were created, are answered, or have been.

A connection's id is its stream's id. From its start on it is that stream, and what else is known of it lies in the
stream's stored request, so it survives a restart. Before its start it lives here, bounded in number, bytes and time.
Another owner's connection looks like none. Knows nothing of HTTP or of providers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from ..dialects.streaming import StreamingEncoder, StreamingEncoding, StreamRequestBody
from ..errors import ShuttingDown, TooManyConnections, UnknownItem, UnknownStream
from ..events import Event, JsonObject, StreamId, text_of
from ..ids import new_stream_id
from ..sse import Parser
from ..streams import Accepted, Channel, Fold, Hub, Query, StreamRecord
from ..telemetry.track import Recorded
from . import connection_views as views
from .connection_facts import Facts, facts_of
from .connection_hooks import ConnectionHooks
from .connection_metrics import no_metrics
from .connection_shapes import (
    ConnectionStatus,
    Figures,
    StreamConnection,
    StreamEvent,
    StreamMetrics,
    StreamResponse,
)
from .connection_streams import ConnectionStreams, ReadRecorded, nothing_recorded

_logger = logging.getLogger(__name__)

SWEEP_S = 1.0
# Records that one call of `listed` looks at: streams of other kinds may lie between the connections.
PAGE = 200
MAX_PAGES = 25

Begin: TypeAlias = Callable[[StreamId, StreamRequestBody, Facts], Awaitable[Accepted]]
"""Makes the stream of this id through the hub, its stored request made by `keep`. Raises what refuses it."""

_decode_body = msgspec.json.Decoder(StreamRequestBody).decode


class ConnectionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`max_connections`: created and not ended. `max_pending_bytes`: of requests that wait for their start.

    `pending_timeout_s`: how long one may wait for it (the reference's `connectionTimeout`); 0: as long as it likes.
    """

    max_connections: int = 10_000
    max_pending_bytes: int = 64 * 2**20
    pending_timeout_s: float = 300.0


class Listed(NamedTuple):
    """Newest first. `before`: ask again for those before this id; None: there are no more."""

    connections: list[StreamConnection]
    before: str | None


class _Pending:
    """Created and not started. `starting` is shared by all who start it."""

    __slots__ = ("body", "facts", "id", "owner", "starting")

    def __init__(self, id: StreamId, owner: str, facts: Facts, body: bytes) -> None:
        self.id = id
        self.owner = owner
        self.facts = facts
        self.body = body
        self.starting: asyncio.Task[Accepted] | None = None


class Connections:
    """One per hub. `open` it after the hub was started, so that hooks hear of what was taken up; `close` it at the end.

    `hooks.on(…)` may be called at any time. Without `open` all works but hooks for streams of an earlier process.
    """

    def __init__(
        self,
        hub: Hub,
        settings: ConnectionSettings = ConnectionSettings(),  # noqa: B008 - frozen
        *,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        recorded: ReadRecorded = nothing_recorded,
    ) -> None:
        self.settings = settings
        self.hooks = ConnectionHooks()
        self._hub = hub
        self._clock_ms = clock_ms
        self._streams = ConnectionStreams(hub, self.hooks, clock_ms, recorded)
        self._pending: dict[str, _Pending] = {}
        self._pending_bytes = 0
        self._sweeper: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """How many are open: created and not ended."""
        return len(self._pending) + len(self._streams)

    async def open(self) -> None:
        """Accompany what an earlier process left and the hub has taken up. Raises `LogError`."""
        async for record in self._records("unfinished", None, None):
            facts = facts_of(record)
            channel = None if facts is None else await self._hub.find_stream(record.id, owner=record.owner)
            if facts is not None and channel is not None and not channel.ended:
                self._accompany(channel, facts, is_new=False)

    async def close(self) -> None:
        """Let go of everything. Streams are the hub's: they end, or go on, as it says."""
        tasks: list[asyncio.Task[Accepted] | asyncio.Task[None]] = []
        tasks += [pending.starting for pending in self._pending.values() if pending.starting is not None]
        tasks += [self._sweeper] if self._sweeper is not None else []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._pending.clear()
        self._pending_bytes = 0
        await self._streams.close()

    # ------------------------------------------------------------------ creating, starting, closing

    def create(self, owner: str, body: StreamRequestBody, facts: Facts) -> StreamConnection:
        """A connection that waits for its start. Raises `TooManyConnections`, `ShuttingDown`."""
        self._expire()
        hub, settings = self._hub, self.settings
        if not hub.accepting:
            raise ShuttingDown("the server is shutting down or not ready yet", retry_after_s=hub.settings.grace_s)
        kept = msgspec.json.encode(body)
        if len(self) >= settings.max_connections or self._pending_bytes + len(kept) > settings.max_pending_bytes:
            raise TooManyConnections("Maximum connections reached")
        facts = msgspec.structs.replace(facts, created_ms=self._clock_ms())
        pending = _Pending(new_stream_id(facts.created_ms), owner, facts, kept)
        self._pending[pending.id] = pending
        self._pending_bytes += len(kept)
        self._watch_over()
        connection = self._view(pending)
        self.hooks.tell("connection_created", connection)
        return connection

    async def start(self, connection_id: str, owner: str, begin: Begin) -> Accepted:
        """Start its stream, or find it: there is one, whoever asks and however often.

        One that was refused may be started again. Raises `UnknownItem`, and what `begin` raises.
        """
        pending = self._waiting(connection_id, owner)
        if pending is None:
            channel, _ = await self._stream(connection_id, owner)
            return Accepted(channel, False)
        is_first = pending.starting is None
        if pending.starting is None:
            pending.starting = asyncio.get_running_loop().create_task(self._begin(pending, begin))
            pending.starting.add_done_callback(_retrieve)
        # It goes on when its caller leaves: others may wait for it.
        channel, created = await asyncio.shield(pending.starting)
        return Accepted(channel, created and is_first)

    async def _begin(self, pending: _Pending, begin: Begin) -> Accepted:
        try:
            accepted = await begin(pending.id, _decode_body(pending.body), pending.facts)
        except BaseException:
            pending.starting = None
            raise
        if accepted.channel.id != pending.id:
            # Its idempotency key stands for an earlier stream, and that is the answer.
            self._forget(pending)
            return accepted
        self._drop(pending)
        self._accompany(accepted.channel, pending.facts, is_new=True)
        return accepted

    def abandon(self, connection_id: str) -> None:
        """Forget one that was not started and whose caller knows no id to start it with."""
        pending = self._pending.get(connection_id)
        if pending is not None and pending.starting is None:
            self._forget(pending)

    async def disconnect(self, connection_id: str, owner: str) -> StreamConnection:
        """Cancel its stream, or forget one that was not started. An ended one stays as it is. Raises `UnknownItem`."""
        pending = self._waiting(connection_id, owner)
        if pending is not None and pending.starting is not None:
            await asyncio.wait((pending.starting,))
            pending = self._waiting(connection_id, owner)
        if pending is not None:
            return self._forget(pending)
        await self._stream(connection_id, owner)
        await self._hub.cancel(StreamId(connection_id), owner=owner)
        return await self.connection(connection_id, owner)

    def _waiting(self, connection_id: str, owner: str) -> _Pending | None:
        self._expire()
        pending = self._pending.get(connection_id)
        if pending is not None and pending.owner != owner:
            raise UnknownItem("connection")
        return pending

    def _view(self, pending: _Pending) -> StreamConnection:
        return views.pending(pending.id, pending.facts, self._streams.heartbeat_ms)

    def _drop(self, pending: _Pending) -> None:
        if self._pending.pop(pending.id, None) is not None:
            self._pending_bytes -= len(pending.body)

    def _forget(self, pending: _Pending) -> StreamConnection:
        self._drop(pending)
        closed = views.forgotten(self._view(pending), self._clock_ms())
        self.hooks.tell("connection_closed", closed)
        return closed

    # ------------------------------------------------------------------ looking

    async def connection(self, connection_id: str, owner: str) -> StreamConnection:
        """Raises `UnknownItem`, `LogError`."""
        pending = self._waiting(connection_id, owner)
        if pending is not None:
            return self._view(pending)
        return views.connection(await self._look(connection_id, owner), self._streams.heartbeat_ms)

    async def response(self, connection_id: str, owner: str, *, limit: int, after: str | None = None) -> StreamResponse:
        """The answer so far, with `limit` of its events after the cursor `after`. Raises `UnknownItem`, `LogError`."""
        pending = self._waiting(connection_id, owner)
        if pending is not None:
            return views.pending_response(pending.id, pending.facts)
        channel, _ = await self._stream(connection_id, owner)
        events = await self._hub.read_all(channel)
        if not channel.has_whole_fold:
            channel.adopt_fold(_whole(channel, events))
            self._streams.remember(channel.id, Figures(channel.fold.texts, channel.fold.text_bytes))
        first_seq = channel.locate(after)[0]
        encoder = StreamingEncoding()(channel)
        begin = first_seq - channel.record.first_seq
        told = [_told(encoder, seq, event) for seq, event in enumerate(events[begin : begin + limit], first_seq)]
        return views.response(await self._look(connection_id, owner), text_of(events), told)

    async def metrics(self, connection_id: str, owner: str, *, start_ms: float, end_ms: float) -> StreamMetrics:
        """Also of a stream that is no connection, where it was recorded. Raises `UnknownItem`, `LogError`."""
        if self._waiting(connection_id, owner) is not None:
            return no_metrics(connection_id, start_ms, end_ms)
        record = await self._hub.log.get(StreamId(connection_id))
        if record is None or record.owner != owner:
            raise UnknownItem("connection")
        told = await self._streams.recorded_metrics(record, start_ms, end_ms)
        return told or views.metrics(await self._look(connection_id, owner), start_ms, end_ms)

    async def recorded(self, stream: str) -> Recorded | None:
        """What was recorded of a stream, also of one that is no connection."""
        return await self._streams.recorded(stream)

    async def owner_of(self, connection_id: str) -> str:
        """Whose connection it is. Raises `UnknownItem`, `LogError`."""
        pending = self._pending.get(connection_id)
        if pending is not None:
            return pending.owner
        record = await self._hub.log.get(StreamId(connection_id))
        if record is None:
            raise UnknownItem("connection")
        return record.owner

    def here(self) -> Iterator[tuple[str, StreamConnection]]:
        """Those that are open in this process, with their owners; the log is not read for it."""
        self._expire()
        for pending in self._pending.values():
            yield pending.owner, self._view(pending)
        for seen in self._streams.running():
            yield seen.record.owner, views.connection(seen, self._streams.heartbeat_ms)

    async def listed(
        self, owner: str | None, *, status: ConnectionStatus | None = None, limit: int = 100, before: str | None = None
    ) -> Listed:
        """The owner's that have this status; None: those that are open; all owners' for None. Raises `LogError`."""
        self._expire()
        found: dict[str, StreamConnection] = {}
        rest: str | None = None
        if status != "connecting":
            found, rest = await self._started(owner, status, limit, before)
            self._watch_over()
        if status in (None, "connecting"):
            for pending in self._pending.values():
                if owner in (None, pending.owner) and (before is None or pending.id < before):
                    found[pending.id] = self._view(pending)
        newest = sorted(found.values(), key=lambda connection: connection.id, reverse=True)
        if rest is not None:
            # What lies beyond the last record that was looked at comes with the next page.
            newest = [connection for connection in newest if connection.id >= rest]
        if len(newest) > limit:
            return Listed(newest[:limit], newest[limit - 1].id)
        return Listed(newest, rest)

    async def _started(
        self, owner: str | None, status: ConnectionStatus | None, limit: int, before: str | None
    ) -> tuple[dict[str, StreamConnection], str | None]:
        """One more than `limit` where there are, and the last id that was looked at where there may be more."""
        state: Literal["unfinished", "finished"] = "finished"
        if status in (None, "connected", "streaming"):
            state = "unfinished"
        found: dict[str, StreamConnection] = {}
        looked_at = 0
        async for record in self._records(state, owner, before):
            looked_at += 1
            seen = await self._seen(record)
            if seen is not None and (seen.status == status or (status is None and not seen.ended)):
                found[record.id] = views.connection(seen, self._streams.heartbeat_ms)
            if len(found) > limit or looked_at >= PAGE * MAX_PAGES:
                return found, record.id
        return found, None

    async def _seen(self, record: StreamRecord) -> views.Seen | None:
        """None for a stream that is no connection, or is gone."""
        facts = facts_of(record)
        if facts is None:
            return None
        try:
            return await self._streams.seen(record, facts)
        except UnknownItem:
            return None

    async def _records(
        self, state: Literal["unfinished", "finished"], owner: str | None, before: str | None
    ) -> AsyncIterator[StreamRecord]:
        place = None if before is None else StreamId(before)
        while True:
            page = await self._hub.log.find(Query(state=state, owner=owner, before=place, limit=PAGE))
            for record in page:
                yield record
            if len(page) < PAGE:
                return
            place = page[-1].id

    async def _stream(self, connection_id: str, owner: str) -> tuple[Channel, Facts]:
        """Raises `UnknownItem`, also for a stream that is no connection."""
        live = self._streams.get(connection_id, owner)
        if live is not None:
            return live.channel, live.facts
        try:
            channel = await self._hub.open(StreamId(connection_id), owner=owner)
        except UnknownStream:
            raise UnknownItem("connection") from None
        facts = facts_of(channel.record)
        if facts is None:
            raise UnknownItem("connection")
        if not channel.ended:
            self._accompany(channel, facts, is_new=False)
        return channel, facts

    async def _look(self, connection_id: str, owner: str) -> views.Seen:
        _, facts = await self._stream(connection_id, owner)
        record = await self._hub.log.get(StreamId(connection_id))
        if record is None:
            raise UnknownItem("connection")
        return await self._streams.seen(record, facts)

    # ------------------------------------------------------------------ time

    def _accompany(self, channel: Channel, facts: Facts, *, is_new: bool) -> None:
        self._streams.accompany(channel, facts, is_new=is_new)
        self._watch_over()

    def _watch_over(self) -> None:
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().create_task(self._sweep(), name="headwater-connections")

    async def _sweep(self) -> None:
        """While there is anything to sweep."""
        try:
            while len(self):
                await asyncio.sleep(SWEEP_S)
                try:
                    self.sweep()
                except Exception:
                    _logger.exception("a sweep of the connections failed")
        finally:
            self._sweeper = None

    def sweep(self) -> None:
        """What is due now: connections that nobody started, activity, streams that only a hook still follows."""
        self._expire()
        self._streams.sweep(self._clock_ms())

    def _expire(self) -> None:
        if not self.settings.pending_timeout_s:
            return
        due_ms = self._clock_ms() - self.settings.pending_timeout_s * 1000
        expired = []
        for pending in self._pending.values():  # oldest first
            if pending.facts.created_ms > due_ms:
                break
            if pending.starting is None:
                expired.append(pending)
        for pending in expired:
            self._forget(pending)


def _retrieve(task: asyncio.Task[Accepted]) -> None:
    """Nobody may be waiting for it any more."""
    if not task.cancelled():
        task.exception()


def _whole(channel: Channel, events: list[Event]) -> Fold:
    """Of an ended stream, which is opened without its events."""
    whole = Fold(channel.record.first_seq)
    for event in events:
        whole.apply(event)
    return whole


def _told(encoder: StreamingEncoder, seq: int, event: Event) -> StreamEvent:
    """The event as it is streamed."""
    [message] = Parser().feed(encoder.encode(seq, event))
    data = msgspec.json.decode(message.data, type=JsonObject)
    return StreamEvent(type=message.event, data=data, timestamp=str(data["timestamp"]), event_id=message.id)

"""Connections whose streams run: what is seen of them here, and who is told.

One task a connection waits for the first content and for the end; the events between are nobody's business unless
there is a callback for `stream_event`, and then a viewer like any other follows them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import TypeAlias

from ..errors import HeadwaterError, LogCorrupt, UnknownItem
from ..events import Error, StreamId
from ..following import follow_channel
from ..streams import Channel, Hub, StreamInfo, StreamRecord
from ..streams.generation import FIRST_VIEWER_S
from ..streams.history import read_fold
from ..streams.info import describe
from ..telemetry.track import Recorded
from . import connection_views as views
from .connection_facts import Facts
from .connection_hooks import ConnectionHooks
from .connection_metrics import recorded_metrics
from .connection_shapes import Figures, StreamCompleted, StreamFailure, StreamMetrics, StreamTold
from .viewer_facts import ViewerFacts

_logger = logging.getLogger(__name__)

# Figures of ended streams, some 200 bytes each; those of others are added up from their events again.
REMEMBERED = 4096
# `wait_head` wants a bound; the stream's own time-outs end it long before.
_HEAD_WAIT_S = 3600.0


class Live:
    """Started and not ended, as this process has seen it. `alone_ms`: since when only a hook follows it."""

    __slots__ = ("alone_ms", "channel", "facts", "first_ms", "followed", "last_ms", "seen_seq", "task")

    def __init__(self, channel: Channel, facts: Facts, now_ms: int) -> None:
        self.channel = channel
        self.facts = facts
        self.first_ms: int | None = None
        self.last_ms = now_ms
        self.seen_seq = channel.next_seq
        self.followed = False
        self.alone_ms: int | None = None
        self.task: asyncio.Task[None] | None = None

    @property
    def figures(self) -> Figures:
        fold = self.channel.fold
        return Figures(fold.texts, fold.text_bytes, self.first_ms)


ReadRecorded: TypeAlias = Callable[[str], Awaitable[Recorded | None]]
"""What was recorded of a stream while it ran."""


async def nothing_recorded(stream: str) -> Recorded | None:
    """Where nothing is counted."""
    return None


class ConnectionStreams:
    def __init__(self, hub: Hub, hooks: ConnectionHooks, clock_ms: Callable[[], int], recorded: ReadRecorded) -> None:
        self.recorded = recorded
        self.heartbeat_ms = hub.settings.heartbeat_s * 1000
        self._hub = hub
        self._hooks = hooks
        self._clock_ms = clock_ms
        self._live: dict[str, Live] = {}
        self._figures: OrderedDict[str, Figures] = OrderedDict()
        self._cancelling: set[asyncio.Task[StreamInfo]] = set()

    def __len__(self) -> int:
        return len(self._live)

    def get(self, connection_id: str, owner: str) -> Live | None:
        live = self._live.get(connection_id)
        return live if live is not None and live.channel.record.owner == owner else None

    def accompany(self, channel: Channel, facts: Facts, *, is_new: bool) -> Live:
        """To its end, or until this process lets go of it. `is_new`: it has just been made here."""
        live = self._live.get(channel.id)
        if live is None:
            live = self._live[channel.id] = Live(channel, facts, self._clock_ms())
            after = None if is_new or channel.cursor is None else str(channel.cursor)
            sees_first = is_new or not channel.fold.has_content
            live.task = asyncio.get_running_loop().create_task(
                self._accompany(live, after, sees_first), name=f"connection-{channel.id}"
            )
            live.task.add_done_callback(lambda _: self._live.pop(channel.id, None))
        return live

    async def close(self) -> None:
        tasks: list[asyncio.Task[None] | asyncio.Task[StreamInfo]] = [*self._cancelling]
        tasks += [live.task for live in self._live.values() if live.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # ------------------------------------------------------------------ to the end

    async def _accompany(self, live: Live, after: str | None, sees_first: bool) -> None:
        channel = live.channel
        following: asyncio.Task[None] | None = None
        if self._hooks.listens("stream_event"):
            following = asyncio.get_running_loop().create_task(self._follow(live, after))
        try:
            while not channel.has_head:
                await channel.wait_head(_HEAD_WAIT_S)
            if sees_first and channel.fold.has_content:
                live.first_ms = self._clock_ms()
            await channel.wait_end()
            if following is not None:
                await asyncio.wait((following,))
            await self._tell_end(live)
        except HeadwaterError as exc:
            # It goes on in the next process, or the log has lost it, which its writer logs.
            _logger.info("the end of connection %s is not told here: %s", channel.id, exc.message)
        except Exception:
            _logger.exception("accompanying connection %s failed", channel.id)
        finally:
            if following is not None:
                following.cancel()

    async def _follow(self, live: Live, after: str | None) -> None:
        channel = live.channel
        live.followed = True
        try:
            async with aclosing(follow_channel(self._hub, channel, after)) as events:
                async for event in events:
                    self._hooks.tell("stream_event", StreamTold(channel.id, event))
        except HeadwaterError as exc:
            _logger.warning("the events of connection %s are not told to the end: %s", channel.id, exc.message)
        except Exception:
            _logger.exception("following connection %s failed", channel.id)
        finally:
            live.followed = False

    async def _tell_end(self, live: Live) -> None:
        channel = live.channel
        self.remember(channel.id, live.figures)
        record = await self._hub.log.get(StreamId(channel.id))
        if record is None or record.ended is None:
            return
        seen = await self.seen(record, live.facts)
        connection = views.connection(seen, self.heartbeat_ms)
        ended = record.ended
        if isinstance(ended.error, Error):
            self._hooks.tell("stream_error", StreamFailure(connection, ended.error))
        elif ended.status == "done":
            self._hooks.tell("stream_completed", StreamCompleted(connection, ended.finish_reason or "stop"))
        told = await self.metrics(seen, record.created_ms, ended.finished_ms)
        self._hooks.tell("metrics_updated", told)
        self._hooks.tell("connection_closed", connection)

    # ------------------------------------------------------------------ what is seen

    async def seen(self, record: StreamRecord, facts: Facts) -> views.Seen:
        """A started connection as it is now. Raises `UnknownItem` where it was deleted meanwhile, `LogError`."""
        live: Live | None = None
        if record.ended is None:
            live = await self._live_of(record, facts)
            if live is None or live.channel.ended:
                # It ended between the two looks, and its record tells more now.
                record, live = await self._record(record.id), None
        if live is None:
            figures = await self._figures_of(record)
            last_ms = record.created_ms if record.ended is None else record.ended.finished_ms
        else:
            figures, last_ms = live.figures, max(live.last_ms, record.created_ms)
        return views.Seen(
            facts=facts,
            record=record,
            info=describe(record, None if live is None else live.channel),
            figures=figures,
            last_ms=last_ms,
            now_ms=self._clock_ms(),
            carried=views.NOBODY if live is None else carried_by(live.channel),
        )

    def running(self) -> Iterator[views.Seen]:
        """All that run here, without a look into the log."""
        now_ms = self._clock_ms()
        for live in self._live.values():
            channel = live.channel
            if not channel.ended:
                yield views.Seen(
                    facts=live.facts,
                    record=channel.record,
                    info=describe(channel.record, channel),
                    figures=live.figures,
                    last_ms=max(live.last_ms, channel.record.created_ms),
                    now_ms=now_ms,
                    carried=carried_by(channel),
                )

    async def metrics(self, seen: views.Seen, start_ms: float, end_ms: float) -> StreamMetrics:
        """By what was recorded; without that, by what its record and its events tell."""
        told = await self.recorded_metrics(seen.record, start_ms, end_ms)
        return told or views.metrics(seen, start_ms, end_ms)

    async def recorded_metrics(self, record: StreamRecord, start_ms: float, end_ms: float) -> StreamMetrics | None:
        """Of any stream; None where nobody recorded it."""
        recorded = await self.recorded(record.id)
        if recorded is None:
            return None
        outcome = None if record.ended is None else record.ended.status
        return recorded_metrics(record.id, recorded, start_ms=start_ms, end_ms=end_ms, outcome=outcome)

    async def _record(self, stream: StreamId) -> StreamRecord:
        record = await self._hub.log.get(stream)
        if record is None:
            raise UnknownItem("connection")
        return record

    async def _live_of(self, record: StreamRecord, facts: Facts) -> Live | None:
        """None: it has ended, or is gone."""
        live = self._live.get(record.id)
        if live is None:
            channel = await self._hub.find_stream(record.id, owner=record.owner)
            if channel is not None and not channel.ended:
                live = self.accompany(channel, facts, is_new=False)
        return live

    def remember(self, connection_id: str, figures: Figures) -> None:
        """Of an ended stream: they change no more, but who was there knows most."""
        if figures.first_ms is not None or connection_id not in self._figures:
            self._figures[connection_id] = figures
        if len(self._figures) > REMEMBERED:
            self._figures.popitem(last=False)

    async def _figures_of(self, record: StreamRecord) -> Figures | None:
        """Of an ended stream; None where its events do not decode."""
        known = self._figures.get(record.id)
        if known is not None:
            self._figures.move_to_end(record.id)
            return known
        try:
            fold = await read_fold(self._hub.log, record)
        except LogCorrupt as exc:
            _logger.warning("connection %s cannot be added up: %s", record.id, exc.message)
            return None
        figures = Figures(fold.texts, fold.text_bytes)
        self.remember(record.id, figures)
        return figures

    # ------------------------------------------------------------------ the sweep

    def sweep(self, now_ms: int) -> None:
        """Note what has changed, and give up streams that only a hook still follows."""
        for live in self._live.values():
            channel = live.channel
            if channel.next_seq != live.seen_seq:
                live.seen_seq, live.last_ms = channel.next_seq, now_ms
            if not live.followed or len(channel.viewers) + channel.holds > 1:
                live.alone_ms = None
            elif live.alone_ms is None:
                live.alone_ms = now_ms
            elif now_ms - live.alone_ms >= max(channel.record.linger_s, FIRST_VIEWER_S) * 1000:
                # A hook counts as a viewer there, but it is nobody's wish that the answer go on.
                live.followed = False
                self._cancel(channel)

    def _cancel(self, channel: Channel) -> None:
        work = self._hub.cancel(StreamId(channel.id), owner=channel.record.owner)
        task = asyncio.get_running_loop().create_task(work)
        self._cancelling.add(task)
        task.add_done_callback(self._cancelled)

    def _cancelled(self, task: asyncio.Task[StreamInfo]) -> None:
        self._cancelling.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.warning("a stream that nobody watches could not be cancelled: %s", error)


def carried_by(channel: Channel) -> views.Carried:
    """Who carries a connection, besides those that look at its stream in other ways."""
    facts = [viewer.about for viewer in channel.viewers if isinstance(viewer.about, ViewerFacts)]
    carry = [about for about in facts if about.carries]
    return views.Carried(len(carry), any(about.compressed for about in carry))

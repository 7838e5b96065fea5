"""The hub: all streams of one process. Creates, finds, watches, cancels; recovers at start, hands over at the end.

Data goes one way: producer → writer → committer → log → channel → viewers. The hub only connects the pieces.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import msgspec

from ..errors import (
    IdempotencyMismatch,
    MethodNotAllowed,
    SeqConflict,
    ShuttingDown,
    StreamStillRunning,
    UnknownStream,
)
from ..events import Event, Start, StreamId
from ..ids import new_stream_id
from ..request import Priority
from .channel import Channel
from .committer import Committer
from .fold import Fold
from .follower import Follower
from .generation import MakeProducer
from .generations import Generations
from .history import read_events, read_fold
from .info import RecoveryReport, StreamInfo, describe
from .log import Log, Query, StreamRecord, SupportsDelete
from .observer import Observer
from .pacing import Pace
from .ports import EncoderFactory, Producer, Sink
from .recovery import Recover, Recovery, boot_id
from .seats import NOBODY, Caller, Seats
from .settings import StreamSettings
from .sweeper import Sweeper
from .viewer import Viewer

# Failed attempts that one idempotency key can have; then the last failure is the answer.
MAX_KEY_ATTEMPTS = 16
# Between a key and the number of a further attempt; no key that came in a header holds it.
ATTEMPT_MARK = "\x1f"


class NewStream(msgspec.Struct, frozen=True, kw_only=True):
    """What a stream is made with. `fingerprint` identifies the request behind an `idempotency_key`.

    `retry`: where the key's stream failed before any content and may succeed now, make another one. `priority`: where
    the stream waits for a slot; after a restart the one in `request` counts. `id`: one that the caller made for it,
    so that it could note it before; `epoch`: of its cursors, where the address that they belong to had streams before.
    """

    id: StreamId | None = None
    epoch: int = 1
    model: str = ""
    provider: str = ""
    dialect: str = "events"
    owner: str = ""
    linger_s: float = 300.0
    request: bytes = b""
    prompt_characters: int = 0
    idempotency_key: str = ""
    fingerprint: str = ""
    retry: bool = False
    priority: Priority = "normal"


class Accepted(NamedTuple):
    """`created` is false where the idempotency key was known: then this is the stream made before."""

    channel: Channel
    created: bool


class Hub:
    """One per process and log. Use in one event loop, between `start` and `shutdown`.

    `on_end` is told of every stream that was produced here when its end is committed; it must return at once.
    `observer`: who counts what happens.
    """

    def __init__(
        self,
        log: Log,
        settings: StreamSettings | None = None,
        *,
        recover: Recover | None = None,
        on_end: Callable[[Channel], None] | None = None,
        observer: Observer | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.log = log
        self.settings = settings or StreamSettings()
        self.accepting = False
        self._clock_ms = clock_ms
        self._boot = boot_id()
        self._committer = Committer(
            log,
            flush_ms=self.settings.flush_ms,
            retry_s=self.settings.log_retry_s,
            timeout_s=self.settings.log_timeout_s,
        )
        self._observer = observer
        self._generations = Generations(self._committer, self.settings, on_end, observer)
        self._recovery = Recovery(log, self._generations, recover, self.settings)
        self._viewers: set[Viewer] = set()
        self._seats = Seats(self.settings)
        self._viewer_numbers = itertools.count(1)
        self._followers: dict[str, Follower] = {}
        self._sweeper = Sweeper(
            self._generations,
            self._viewers,
            self._followers,
            self.settings,
            check_log=self._committer.give_up_if_stuck,
            settle=self._recovery.settle,
        )
        self._creating: dict[tuple[str, str], asyncio.Task[Accepted]] = {}
        self._stopped = False

    @property
    def live(self) -> int:
        """Streams being produced here."""
        return len(self._generations)

    @property
    def queued(self) -> int:
        """Streams that wait for a slot here."""
        return self._generations.queued

    @property
    def viewers(self) -> int:
        """Viewers attached here."""
        return len(self._viewers)

    def audience(self) -> Iterator[Viewer]:
        """The viewers attached here, in no order."""
        return iter(tuple(self._viewers))

    @property
    def log_failing(self) -> bool:
        """Whether the last commit failed, or ended streams still wait for a log that works."""
        return self._committer.failing_since is not None or bool(self._generations.unsettled)

    @property
    def log_lag_s(self) -> float:
        """How long the commit under way has taken so far; what it holds is visible to nobody yet."""
        return self._committer.lag_s(asyncio.get_running_loop().time())

    async def start(self) -> RecoveryReport:
        """Take up what an earlier process left, then accept streams."""
        self._committer.start()
        report = await self._recovery.take_up(self._boot)
        self._sweeper.start()
        self.accepting = True
        return report

    # ------------------------------------------------------------------ creating

    async def create(self, new: NewStream, producer: Producer | MakeProducer) -> Accepted:
        """Accept a stream: when this returns, it is in the log and being produced.

        Raises `ShuttingDown`, `QueueFull`, `IdempotencyMismatch`, or `LogError` where the log cannot take it.
        """
        if not new.idempotency_key:
            return Accepted(await self._create(new, producer), True)
        key = (new.owner, new.idempotency_key)
        creating = self._creating.get(key)
        is_first = creating is None
        if creating is None:
            creating = self._creating[key] = asyncio.get_running_loop().create_task(self._create_once(new, producer))
            creating.add_done_callback(lambda task: self._created(key, task))
        # The creation goes on when its caller leaves: others may wait for it, and the caller may come back by the key.
        channel, created = await asyncio.shield(creating)
        _check_same_request(channel, new)
        return Accepted(channel, created and is_first)

    def _check_accepting(self) -> None:
        if not self.accepting:
            raise ShuttingDown("the server is shutting down or not ready yet", retry_after_s=self.settings.grace_s)

    def _created(self, key: tuple[str, str], task: asyncio.Task[Accepted]) -> None:
        del self._creating[key]
        if not task.cancelled():
            task.exception()  # nobody may be waiting for it

    async def find(self, new: NewStream) -> Channel | None:
        """The stream that this key stands for; `None`: `create` would make one. Raises `IdempotencyMismatch`."""
        channel, attempt = await self._newest(new)
        if channel is not None:
            _check_same_request(channel, new)
        return None if _wants_another(channel, attempt, new) else channel

    async def last_attempt(self, new: NewStream) -> Channel | None:
        """The last stream made under this key, also where `create` would make another one."""
        return (await self._newest(new))[0]

    async def _create_once(self, new: NewStream, producer: Producer | MakeProducer) -> Accepted:
        while True:
            channel, attempt = await self._newest(new)
            if channel is not None and not _wants_another(channel, attempt, new):
                return Accepted(channel, False)
            try:
                return Accepted(await self._create(new, producer, attempt=attempt + 1), True)
            except SeqConflict:
                # Another process took the key meanwhile.
                if (await self._newest(new))[1] == attempt:
                    raise

    async def _newest(self, new: NewStream) -> tuple[Channel | None, int]:
        """The last stream made under a key, and the number of attempts there were."""
        newest: Channel | None = None
        attempt = 0
        while newest is None or (_failed_before_content(newest) and attempt < MAX_KEY_ATTEMPTS):
            key = _key_of(new, attempt + 1)
            found = await self.log.find(Query(owner=new.owner, idempotency_key=key, limit=1))
            if not found:
                break
            newest = await self._channel(found[0])
            attempt += 1
        return newest, attempt

    async def _create(self, new: NewStream, producer: Producer | MakeProducer, *, attempt: int = 1) -> Channel:
        # Only here: a returning caller whose stream exists gets it also while the server drains.
        self._check_accepting()
        created_ms = self._clock_ms()
        record = StreamRecord(
            id=new.id or new_stream_id(created_ms),
            created_ms=created_ms,
            model=new.model,
            provider=new.provider,
            dialect=new.dialect,
            owner=new.owner,
            linger_s=new.linger_s,
            request=new.request,
            idempotency_key=_key_of(new, attempt),
            fingerprint=new.fingerprint,
            boot=self._boot,
            # A cursor of an earlier attempt, or of another stream of this address, is no position in this one.
            epoch=new.epoch + attempt - 1,
        )
        make = producer if callable(producer) else lambda: producer
        generation = self._generations.create(
            record, make, prompt_characters=new.prompt_characters, priority=new.priority
        )
        generation.writer.write([Start(record.id, record.model, created_ms, record.provider)])
        try:
            await generation.writer.flush()
        except asyncio.CancelledError:
            # The caller left before the stream was durable; it will be, so it must also end.
            generation.cancel()
            raise
        if not generation.writer.ended:
            generation.start()
        return generation.channel

    # ------------------------------------------------------------------ reading

    async def open(self, stream: StreamId, *, owner: str) -> Channel:
        """The stream, live or ended. Raises `UnknownStream`, also for another owner's."""
        live = self._generations.channel(stream)
        if live is not None and live.next_seq:
            record = live.record
        else:
            found = await self.log.get(stream)
            if found is None:
                raise UnknownStream("no such stream")
            record = found
        if record.owner != owner:
            raise UnknownStream("no such stream")
        return await self._channel(record)

    async def find_stream(self, stream: StreamId, *, owner: str) -> Channel | None:
        """As `open`; None for a stream that is not there, or another owner's."""
        try:
            return await self.open(stream, owner=owner)
        except UnknownStream:
            return None

    async def _channel(self, record: StreamRecord) -> Channel:
        channel = self._generations.channel(record.id)
        if channel is not None:
            return channel
        if record.ended is not None:
            return Channel(record, Fold(), tail_bytes=0)
        follower = self._followers.get(record.id)
        state = await read_fold(self.log, record) if follower is None else Fold()
        # Another caller may have begun to follow while this one read.
        follower = follower or self._followers.get(record.id)
        if follower is None:
            channel = Channel(record, state, tail_bytes=self.settings.tail_bytes)
            channel.status = "streaming" if state.has_content else "connecting"
            follower = Follower(channel, self.log, lambda: self._unfollow(record.id))
            self._followers[record.id] = follower
        # What the record has may be what the viewer has: a cursor of the producing process is not unknown here.
        await follower.reach(record.next_seq)
        return follower.channel

    def _unfollow(self, stream: str) -> None:
        self._followers.pop(stream, None)

    def attach(
        self,
        channel: Channel,
        encoder: EncoderFactory,
        sink: Sink,
        cursor: str | None = None,
        *,
        about: object = None,
        caller: Caller = NOBODY,
        pace: Pace | None = None,
    ) -> Viewer:
        """Send everything after `cursor` (raw text, as the client sent it) to `sink`, then what comes.

        `about`: what is to be known of this viewer later. `caller`: whom it counts against. `pace`: where it wants
        fewer and larger frames. An unknown cursor is answered in-band with a reset and the full replay. Raises
        `TooManyConnections`.
        """
        self.check_room(caller)
        now = asyncio.get_running_loop().time()
        next_seq, reset = channel.locate(cursor)
        viewer = Viewer(
            channel,
            channel.encoder(encoder),
            sink,
            log=self.log,
            next_seq=next_seq,
            now=now,
            on_closed=self._left,
            number=next(self._viewer_numbers),
            attached_ms=self._clock_ms(),
            about=about,
            pace=pace,
        )
        channel.viewers.append(viewer)
        self._viewers.add(viewer)
        self._seats.take(viewer, caller)
        if self._observer is not None:
            self._observer.attached(viewer, cursor, reset)
        self._audience_changed(channel)
        viewer.start(reset)
        if self._stopped:
            viewer.dismiss(self.settings.retry_ms)
        return viewer

    def check_room(self, caller: Caller = NOBODY) -> None:
        """Whether one more viewer may come. Raises `TooManyConnections`."""
        self._seats.check(len(self._viewers), caller)

    def _left(self, viewer: Viewer) -> None:
        self._viewers.discard(viewer)
        self._seats.give_back(viewer)
        channel = viewer.channel
        channel.viewers.remove(viewer)
        if self._observer is not None:
            self._observer.left(viewer)
        if not channel.viewers:
            channel.forget_encoders()
        self._audience_changed(channel)

    def _audience_changed(self, channel: Channel) -> None:
        generation = self._generations.get(channel.id)
        if generation is not None and generation.channel is channel:
            generation.audience_changed(asyncio.get_running_loop().time())

    @contextmanager
    def hold(self, channel: Channel) -> Iterator[None]:
        """A reader without a socket (a caller that waits for the whole answer): counts as a viewer for linger."""
        channel.holds += 1
        self._audience_changed(channel)
        try:
            yield
        finally:
            channel.holds -= 1
            self._audience_changed(channel)

    async def read_all(self, channel: Channel) -> list[Event]:
        """All committed events. Raises `LogError` or `UnknownStream`."""
        if channel.tail_first == channel.record.first_seq and channel.next_seq:
            return channel.tail_from(channel.tail_first)
        return await read_events(self.log, channel.record.id, channel.next_seq)

    # ------------------------------------------------------------------ managing

    async def cancel(self, stream: StreamId, *, owner: str) -> StreamInfo:
        """Stop the generation and its provider; returns when the end is committed. An ended stream stays as it is."""
        channel = await self.open(stream, owner=owner)
        generation = self._generations.get(stream)
        if generation is not None:
            generation.cancel()
            await channel.wait_end()
        return await self.info(stream, owner=owner)

    async def delete(self, stream: StreamId, *, owner: str) -> None:
        """Remove an ended stream. Raises `StreamStillRunning`, `UnknownStream`, or `MethodNotAllowed` by the log."""
        record = await self.record(stream, owner=owner)
        if record.ended is None:
            raise StreamStillRunning("cancel the stream before you delete it")
        if not isinstance(self.log, SupportsDelete):
            raise MethodNotAllowed("this log cannot delete streams")
        await self.log.delete([stream])

    async def info(self, stream: StreamId, *, owner: str) -> StreamInfo:
        return self.describe(await self.record(stream, owner=owner))

    def describe(self, record: StreamRecord) -> StreamInfo:
        """What is known of the stream of a record just read."""
        return describe(record, self._known_channel(record))

    async def list(
        self,
        *,
        owner: str,
        state: Literal["any", "unfinished", "finished"] = "any",
        before: StreamId | None = None,
        limit: int = 100,
    ) -> list[StreamInfo]:
        """Newest first; `before` pages by id."""
        found = await self.log.find(Query(state=state, owner=owner, before=before, limit=limit))
        return [self.describe(record) for record in found]

    async def record(self, stream: StreamId, *, owner: str) -> StreamRecord:
        """What is stored of a stream beside its events. Raises `UnknownStream`, also for another owner's."""
        record = await self.log.get(stream)
        if record is None or record.owner != owner:
            raise UnknownStream("no such stream")
        return record

    def _known_channel(self, record: StreamRecord) -> Channel | None:
        if record.ended is None:
            channel = self._generations.channel(record.id)
            if channel is not None:
                return channel
        follower = self._followers.get(record.id)
        return follower.channel if follower is not None else None

    # ------------------------------------------------------------------ shutdown

    async def shutdown(self, grace_s: float | None = None) -> None:
        """Stop accepting, let streams finish for `grace_s`, hand the rest over, send the viewers away. Idempotent."""
        self.accepting = False
        await self._generations.finish(self.settings.grace_s if grace_s is None else grace_s)
        await self._committer.stop()
        self._stopped = True
        for viewer in list(self._viewers):
            viewer.dismiss(self.settings.retry_ms)
        # Whoever still waits without being a viewer (for the head, for a whole answer) is told, too.
        for generation in self._generations:
            generation.channel.let_go(ShuttingDown("the server stopped; ask again", retry_after_s=1.0))
        for follower in list(self._followers.values()):
            await follower.stop()
        await self._sweeper.stop()
        self._generations.clear()


def _check_same_request(channel: Channel, new: NewStream) -> None:
    if channel.record.fingerprint != new.fingerprint:
        raise IdempotencyMismatch("this Idempotency-Key was used before with another request")


def _key_of(new: NewStream, attempt: int) -> str:
    """Under which a stream is kept: a further attempt of a key needs one of its own."""
    return new.idempotency_key if attempt == 1 else f"{new.idempotency_key}{ATTEMPT_MARK}{attempt}"


def _wants_another(channel: Channel | None, attempt: int, new: NewStream) -> bool:
    """Whether a retry is due: it must not meet the failure of its first attempt for ever (bifrost #4788)."""
    if channel is None:
        return True
    same = channel.record.fingerprint == new.fingerprint
    return new.retry and same and attempt < MAX_KEY_ATTEMPTS and _failed_before_content(channel)


def _failed_before_content(channel: Channel) -> bool:
    """Whether it may be tried again: nothing was generated, and nobody has a part of it."""
    ended = channel.record.ended
    if ended is None or ended.error is None:
        return False
    return ended.error.retryable and not ended.usage.completion_tokens

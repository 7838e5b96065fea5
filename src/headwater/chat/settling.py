"""Writing what a stream became to its message, once, whoever notices first.

Three notice: the hub (`ended`), a reader who finds a message still open (`current`), and the next start (`reconcile`).
All do the same, and doing it twice changes nothing. Until then the text is in the log, and only there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from ..errors import HeadwaterError, LogCorrupt, UnknownStream
from ..events import Event, JsonObject, Reasoning, Source, Sources, StreamId, text_of
from ..streams import Channel, Hub, StreamRecord
from ..streams.fold import served_by
from ..streams.history import read_events
from ..streams.log import Query
from ..streams.recovery import INTERRUPTED
from .conversations import Conversations
from .records import Message, Settled
from .turn import has_confidential_history, is_confidential

_logger = logging.getLogger(__name__)

RETRY_S = 5.0
# Most messages that one look for open ones takes.
PAGE = 500
# Ended streams that a start looks at, for what they used: those that ended while the last process died, or could not
# write. All that a dead process had not ended are told of as they end.
LOOK_BACK, _LOOK_BACK_PAGE = 1000, 100
# Facts of the stream that the message has elsewhere, or that would only repeat its text.
_ELSEWHERE = frozenset({"chat_id", "finish_reason", "total_response"})


class Settler:
    """`on_end` is awaited for each ended stream of the backend's making, before its message is looked for; doing it
    twice must change nothing. `on_settled` is awaited once for each message that an ended stream was written to, here.
    """

    def __init__(
        self,
        hub: Hub,
        conversations: Conversations,
        on_end: Callable[[StreamRecord], Awaitable[None]],
        *,
        on_settled: Callable[[Message, StreamRecord | None], Awaitable[None]],
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._hub = hub
        self._conversations = conversations
        self._on_end = on_end
        self._on_settled = on_settled
        self._clock_ms = clock_ms
        self._queue: asyncio.Queue[StreamId] = asyncio.Queue()
        self._opening: set[StreamId] = set()
        # Held while an answer is settled and what follows it is done, which is not to be cut in two.
        self._busy = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Settle what an earlier process left; then whatever ends."""
        await self.reconcile()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="headwater-settler")

    async def close(self) -> None:
        """What has ended by now is settled first; what cannot be is at the next start."""
        if self._task is None:
            return
        task, self._task = self._task, None
        async with self._busy:
            task.cancel()
        await asyncio.wait((task,))
        while not self._queue.empty():
            await self._settle_safely(self._queue.get_nowait())

    @contextmanager
    def opening(self, stream: StreamId) -> Iterator[None]:
        """While its message is there already, and it is not: whoever looks for it then must not call it lost."""
        self._opening.add(stream)
        try:
            yield
        finally:
            self._opening.discard(stream)

    def ended(self, channel: Channel) -> None:
        """For `Hub(on_end=…)`."""
        request = channel.record.request
        if b'"task":{' in request or _counts(request):
            self._queue.put_nowait(StreamId(channel.id))

    async def reconcile(self) -> None:
        """Settle every message whose stream has ended, or is gone."""
        seen: set[StreamId] = set()
        while True:
            # Those that were seen and are still being made are found again.
            found = await self._conversations.messages.streaming(len(seen) + PAGE)
            news = {StreamId(message.stream_id) for message in found} - seen
            if not news:
                return
            seen |= news
            for stream in news:
                if not await self._settle_safely(stream):
                    self._queue.put_nowait(stream)

    async def _run(self) -> None:
        await self._look_back()
        while True:
            stream = await self._queue.get()
            settled = False
            try:
                async with self._busy:
                    settled = await self._settle_safely(stream)
                if not settled:
                    await asyncio.sleep(RETRY_S)
            finally:
                # Also where this task is stopped in the middle of it.
                if not settled:
                    self._queue.put_nowait(stream)

    async def _look_back(self) -> None:
        """Count what the newest ended streams used: no row says that a dead process had not come to it."""
        before: StreamId | None = None
        try:
            for _ in range(0, LOOK_BACK, _LOOK_BACK_PAGE):
                page = await self._hub.log.find(Query(state="finished", before=before, limit=_LOOK_BACK_PAGE))
                for record in page:
                    if _counts(record.request):
                        self._queue.put_nowait(record.id)
                if len(page) < _LOOK_BACK_PAGE:
                    return
                before = page[-1].id
        except HeadwaterError as exc:
            _logger.warning("what streams of an earlier process used is not counted: %s", exc.message)

    async def _settle_safely(self, stream: StreamId) -> bool:
        """False: it is worth trying again."""
        try:
            await self.settle(stream)
        except HeadwaterError as exc:
            _logger.warning("the answer of stream %s cannot be kept yet: %s", stream, exc.message)
            return not exc.retryable
        except Exception:
            # One bad answer must not keep all later ones from being kept.
            _logger.exception("the answer of stream %s cannot be kept", stream)
        return True

    async def settle(self, stream: StreamId) -> Message | None:
        """Write an ended stream to its message. None: it has not ended, or belongs to no open message."""
        # Before the log is asked: else it could be made in between.
        opening = stream in self._opening
        record = await self._hub.log.get(stream)
        if opening if record is None else record.ended is None:
            return None
        if record is not None:
            await self._on_end(record)
        if record is not None and b'"answer_id":' not in record.request:
            return None
        message = await self._conversations.messages.settle(stream, await self._settled(record))
        if message is not None:
            await self._tell(message, record)
        return message

    async def _tell(self, message: Message, record: StreamRecord | None) -> None:
        try:
            await self._on_settled(message, record)
        except HeadwaterError as exc:
            # The answer is kept; whoever reads it must not get this in its place.
            _logger.warning("thread %s: what follows an answer failed: %s", message.thread_id, exc.message)

    async def current(self, message: Message) -> Message:
        """An open message as it is now: settled where its stream has ended, else with the text so far."""
        stream = StreamId(message.stream_id)
        settled = await self.settle(stream)
        if settled is not None:
            return settled
        try:
            channel = await self._hub.open(stream, owner=message.tenant)
            if channel.ended:
                # Somebody was faster, or it ended just now.
                return await self.settle(stream) or await self._conversations.messages.get(message.tenant, message.id)
            events = await self._hub.read_all(channel)
        except UnknownStream:
            return await self._conversations.messages.get(message.tenant, message.id)
        sources = _sources(events)
        return msgspec.structs.replace(
            message,
            content=text_of(events),
            reasoning=_reasoning(events),
            metadata=_facts(channel.fold.served or {}),
            sources=sources,
            confidential=is_confidential(sources) or has_confidential_history(channel.record.request),
        )

    async def _settled(self, record: StreamRecord | None) -> Settled:
        if record is None or record.ended is None:
            # The log forgot the stream before its end was kept: after a restore of one without the other.
            return Settled(content="", status="failed", error=INTERRUPTED, finished_ms=self._clock_ms())
        ended = record.ended
        try:
            events = await read_events(self._hub.log, record.id, record.next_seq)
        except (LogCorrupt, UnknownStream):
            _logger.exception("the events of stream %s cannot be read; its message keeps no text", record.id)
            events = []
        facts = ended.metadata or {}
        sources = _sources(events)
        return Settled(
            content=text_of(events),
            reasoning=_reasoning(events),
            status=ended.status,
            finish_reason=ended.finish_reason or "",
            model=record.model,
            provider=served_by(facts) or record.provider,
            error=ended.error,
            usage=ended.usage,
            sources=sources,
            metadata=_facts(facts),
            included=not facts.get("refused"),
            confidential=is_confidential(sources) or has_confidential_history(record.request),
            finished_ms=ended.finished_ms,
        )


def _counts(request: bytes) -> bool:
    """Whether it counts against somebody's budget."""
    return b'"meters":[' in request


def _facts(told: JsonObject) -> JsonObject:
    return {name: value for name, value in told.items() if name not in _ELSEWHERE}


def _sources(events: Sequence[Event]) -> list[Source]:
    return [item for event in events if isinstance(event, Sources) for item in event.items]


def _reasoning(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Reasoning) and event.choice == 0)

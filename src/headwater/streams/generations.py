"""All streams that this process produces: makes them, knows them, lets go of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator

from ..errors import LogCorrupt, LogError, SeqConflict
from ..request import ChatRequest, Priority, decode_request, prompt_characters
from .admission import Gate, Ticket
from .channel import Channel
from .committer import Committer
from .fold import Fold
from .generation import Generation, MakeProducer
from .lifecycle import Signal
from .log import StreamRecord
from .observer import Observer
from .ports import Producer
from .settings import StreamSettings
from .writer import StreamWriter

_logger = logging.getLogger(__name__)


class Generations:
    """`unsettled` are streams that the log lost before their end was stored; recovery gives them one later."""

    def __init__(
        self,
        committer: Committer,
        settings: StreamSettings,
        on_end: Callable[[Channel], None] | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.unsettled: dict[str, Generation] = {}
        self._committer = committer
        self._settings = settings
        self._on_end = on_end
        self._observer = observer
        self._admission = Gate(
            settings.max_streams,
            settings.max_queued,
            ageing_s=settings.priority_ageing_s,
            longest_retry_s=settings.queue_timeout_s,
        )
        self._live: dict[str, Generation] = {}
        self._winding_up: set[asyncio.Task[None]] = set()
        self._empty = asyncio.Event()

    def __len__(self) -> int:
        return len(self._live)

    def __iter__(self) -> Iterator[Generation]:
        return iter(list(self._live.values()))

    def get(self, stream: str) -> Generation | None:
        return self._live.get(stream)

    @property
    def queued(self) -> int:
        """Streams that wait for a slot."""
        return self._admission.queued

    def channel(self, stream: str) -> Channel | None:
        """Of a stream that is produced here, or was until the log lost it."""
        generation = self._live.get(stream) or self.unsettled.get(stream)
        return generation.channel if generation is not None else None

    def create(
        self, record: StreamRecord, make: MakeProducer, *, prompt_characters: int, priority: Priority = "normal"
    ) -> Generation:
        """A new stream; its first commit makes it. Raises `QueueFull`."""
        return self._add(record, Fold(), self._admission.enter(priority), make, prompt_characters, create=record)

    def take_up(self, record: StreamRecord, state: Fold, make: MakeProducer) -> Generation:
        """A stream whose process is gone. Raises `QueueFull`."""
        asked = _stored_request(record)
        ticket = self._admission.enter(asked.priority if asked is not None else "normal")
        generation = self._add(record, state, ticket, make, _characters(asked))
        generation.channel.signal(Signal.CRASH)
        return generation

    def close_up(self, record: StreamRecord, state: Fold) -> Generation:
        """A stream whose process is gone and of which only the end is to be written: takes no slot."""
        ticket = Gate(0, 0).enter()
        generation = self._add(record, state, ticket, _no_producer, _characters(_stored_request(record)))
        generation.channel.signal(Signal.CRASH)
        return generation

    def _add(
        self,
        record: StreamRecord,
        state: Fold,
        ticket: Ticket,
        make: MakeProducer,
        prompt_characters: int,
        *,
        create: StreamRecord | None = None,
    ) -> Generation:
        channel = Channel(record, state, tail_bytes=self._settings.tail_bytes)
        writer = StreamWriter(
            channel,
            self._committer,
            self._settings,
            create=create,
            prompt_characters=prompt_characters,
            on_closed=lambda error: self._closed(record.id, error),
            observer=self._observer,
        )
        now = asyncio.get_running_loop().time()
        generation = Generation(channel, writer, ticket, make, settings=self._settings, now=now)
        self._live[record.id] = generation
        if self._observer is not None:
            self._observer.begun(channel, now)
        return generation

    def _closed(self, stream: str, error: LogError | None) -> None:
        """Nothing more of this stream will be committed here."""
        generation = self._live.pop(stream, None)
        if generation is not None:
            self._let_go(generation, error)
            if self._observer is not None:
                self._tell_end(generation.channel, self._observer.ended)
            if error is None and self._on_end is not None:
                self._tell_end(generation.channel, self._on_end)
        if not self._live:
            self._empty.set()

    def has_ended(self, stream: str) -> None:
        """The log has the end of an unsettled stream after all: only its answer to the commit was lost."""
        lost = self.unsettled.pop(stream, None)
        if lost is not None and self._on_end is not None:
            self._tell_end(lost.channel, self._on_end)

    def _tell_end(self, channel: Channel, tell: Callable[[Channel], None]) -> None:
        try:
            tell(channel)
        except Exception:
            # The committer calls this: whatever listens must not cost other streams their commits.
            _logger.exception("what listens for the end of stream %s failed", channel.id)

    def _let_go(self, generation: Generation, error: LogError | None) -> None:
        if error is not None:
            generation.drop()
            # A conflict means that somebody else owns or removed the stream: then its end is not ours to write.
            # What seems never stored may be, its answer lost, so `settle` asks; a long outage must not gather them all.
            room = generation.channel.next_seq or len(self.unsettled) < self._settings.max_streams
            if room and not isinstance(error, SeqConflict):
                self.unsettled[generation.channel.id] = generation
        task = generation.wind_up()
        if task is not None:
            self._winding_up.add(task)
            task.add_done_callback(self._winding_up.discard)

    async def finish(self, grace_s: float) -> None:
        """Wait for all to end, at most `grace_s`; then let go of the rest without an end (they are taken up later)."""
        if self._live:
            self._empty.clear()
            try:
                await asyncio.wait_for(self._empty.wait(), grace_s)
            except TimeoutError:
                number = len(self._live)
                streams, are = ("stream", "is") if number == 1 else ("streams", "are")
                told = "%d %s did not finish within %g s and %s handed over"
                _logger.warning(told, number, streams, grace_s, are)
        rest = list(self._live.values())
        for generation in rest:
            generation.hand_over()
        for task in self._winding_up:
            task.cancel()
        tasks = [generation.task for generation in rest if generation.task is not None] + list(self._winding_up)
        if tasks:
            # A producer that ignores its cancellation must not hold up the shutdown.
            await asyncio.wait(tasks, timeout=1.0)

    def clear(self) -> None:
        self._live.clear()
        self.unsettled.clear()


def _stored_request(record: StreamRecord) -> ChatRequest | None:
    """None where the stream was made without one, or it is damaged."""
    try:
        return decode_request(record.request) if record.request else None
    except LogCorrupt:
        return None


def _characters(asked: ChatRequest | None) -> int:
    return prompt_characters(asked) if asked is not None else 0


def _no_producer() -> Producer:
    raise AssertionError("a stream that only gets its end is not produced")

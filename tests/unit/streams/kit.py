"""Real small parts for tests of the stream core: producers that do as told, sinks that record, a plain encoder."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from headwater.cursor import Cursor
from headwater.errors import LogError, LogUnavailable
from headwater.events import Done, Event, Seq, Start, StreamId, Text, Usage, decode_event, decode_segment, encode_event
from headwater.logs.memory import MemoryLog
from headwater.streams import (
    Append,
    Channel,
    Ended,
    Fold,
    Hub,
    Producer,
    Slice,
    StreamRecord,
    StreamSettings,
    StreamView,
    Writer,
)
from headwater.streams.committer import Committer
from headwater.streams.generation import Generation
from headwater.streams.generations import Generations
from headwater.streams.observer import Observer
from headwater.streams.viewer import Viewer


class Frame(NamedTuple):
    """What `PlainEncoder` wrote: a cursor and an event, or a word."""

    cursor: str
    event: Event | None
    word: str = ""


class PlainEncoder:
    """One line an event: `epoch.seq <json>`; `!reset reason` and `!hb` otherwise."""

    heartbeat = b"!hb\n"

    def __init__(self, view: StreamView) -> None:
        self._view = view

    def encode(self, seq: int, event: Event) -> bytes:
        return str(Cursor(self._view.epoch, seq)).encode() + b" " + encode_event(event) + b"\n"

    def reset(self, reason: str) -> bytes:
        return b"!reset " + reason.encode() + b"\n"


def parse(data: bytes) -> list[Frame]:
    frames = []
    for line in data.decode().split("\n"):
        if line.startswith(("!", "retry:")):
            frames.append(Frame("", None, line))
        elif line:
            cursor, _, body = line.partition(" ")
            frames.append(Frame(cursor, decode_event(body)))
    return frames


class MemorySink:
    """Keeps what is written. `budget` bytes make it unwritable until `open_up`."""

    def __init__(self, budget: int | None = None) -> None:
        self.chunks: list[bytes] = []
        self.finished = False
        self.aborted = False
        self._budget = budget
        self._on_writable: Callable[[], None] = lambda: None

    @property
    def writable(self) -> bool:
        return self._budget is None or self._budget > 0

    def write(self, data: bytes) -> None:
        assert not (self.finished or self.aborted), "a write after the end"
        self.chunks.append(data)
        if self._budget is not None:
            self._budget -= len(data)

    def finish(self) -> None:
        self.finished = True

    def abort(self) -> None:
        self.aborted = True

    def bind(self, on_writable: Callable[[], None]) -> None:
        self._on_writable = on_writable

    def open_up(self, budget: int | None = None) -> None:
        self._budget = budget
        self._on_writable()

    @property
    def frames(self) -> list[Frame]:
        return parse(b"".join(self.chunks))

    @property
    def events(self) -> list[Event]:
        return [frame.event for frame in self.frames if frame.event is not None]

    @property
    def text(self) -> str:
        return "".join(e.text for e in self.events if isinstance(e, Text))

    @property
    def words(self) -> list[str]:
        return [frame.word for frame in self.frames if frame.word]


@dataclass
class Script:
    """A producer driven by the test: `put` makes it write, `finish` and `fail` end it."""

    steps: asyncio.Queue[Callable[[Writer], object] | None] = field(default_factory=asyncio.Queue)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    runs: int = 0
    writer: Writer | None = None

    async def run(self, writer: Writer) -> None:
        self.runs += 1
        self.writer = writer
        self.started.set()
        try:
            while (step := await self.steps.get()) is not None:
                step(writer)
        finally:
            self.stopped.set()

    def put(self, *events: Event) -> None:
        self.steps.put_nowait(lambda writer: writer.write(events))

    def say(self, *words: str) -> None:
        for word in words:
            self.put(Text(word))

    def act(self, step: Callable[[Writer], object]) -> None:
        self.steps.put_nowait(step)

    def fail(self, error: BaseException) -> None:
        def step(_: Writer) -> None:
            raise error

        self.steps.put_nowait(step)

    def finish(self, *, usage: bool = True) -> None:
        self.put(*([Usage(3, 5)] if usage else []), Done("stop"))
        self.steps.put_nowait(None)

    def leave(self) -> None:
        """Return without a `Done`."""
        self.steps.put_nowait(None)


class Words:
    """A producer that writes its words, yielding to the loop between them."""

    def __init__(self, words: Sequence[str], *, pause_every: int = 1) -> None:
        self._words = words
        self._pause_every = pause_every

    async def run(self, writer: Writer) -> None:
        for number, word in enumerate(self._words, 1):
            if not writer.write([Text(word)]):
                await writer.drain()
            if number % self._pause_every == 0:
                await asyncio.sleep(0)
        writer.write([Usage(1, len(self._words)), Done("stop")])


class FaultyLog(MemoryLog):
    """A real memory log whose commits the test can hold, fail, or store without telling.

    `gate` holds a commit before it is stored, `answer_gate` after.
    """

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[LogError] = []
        self.lie = 0
        self.always: LogError | None = None
        self.gate: asyncio.Event | None = None
        self.answer_gate: asyncio.Event | None = None
        self.groups: list[list[Append]] = []
        self.read_gate: asyncio.Event | None = None
        self.read_error: Exception | None = None
        self.reads = 0

    async def commit(self, appends: Sequence[Append]) -> Sequence[LogError | None]:
        if self.gate is not None:
            await self.gate.wait()
        if self.always is not None:
            raise self.always
        if self.failures:
            raise self.failures.pop(0)
        self.groups.append(list(appends))
        outcomes = await super().commit(appends)
        if self.answer_gate is not None:
            await self.answer_gate.wait()
        if self.lie:
            self.lie -= 1
            raise LogUnavailable("stored, but the answer was lost")
        return outcomes

    async def read(self, stream: StreamId, after: Seq, *, max_bytes: int) -> Slice | None:
        self.reads += 1
        if self.read_gate is not None:
            await self.read_gate.wait()
        if self.read_error is not None:
            raise self.read_error
        return await super().read(stream, after, max_bytes=max_bytes)

    def committed(self, stream: str) -> list[Event]:
        """What the log holds of a stream at this instant."""
        held = self._streams.get(StreamId(stream))
        return [event for piece in held.pieces for event in decode_segment(piece.data)] if held is not None else []


async def fill(log: MemoryLog, stream: str, events: Sequence[Event], *, ended: Ended | None = None) -> StreamRecord:
    """Store a stream as a process that is gone left it."""
    record = StreamRecord(StreamId(stream), 1_700_000_000_000, model="m")
    await store(log, record, [Start(stream, "m", record.created_ms), *events], ended=ended)
    return record


async def store(log: MemoryLog, record: StreamRecord, events: Sequence[Event], *, ended: Ended | None = None) -> None:
    segment = b"1" + b"[" + b",".join(encode_event(event) for event in events) + b"]"
    outcomes = await log.commit([Append(record.id, 0, len(events), segment, record, ended)])
    assert outcomes == [None]


class World:
    """Committer and generations without a hub and without a sweeper: time is what the test says it is."""

    def __init__(
        self,
        log: FaultyLog | None = None,
        settings: StreamSettings | None = None,
        on_end: Callable[[Channel], None] | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.log = log if log is not None else FaultyLog()
        self.settings = settings or FAST
        self.committer = Committer(
            self.log,
            flush_ms=self.settings.flush_ms,
            retry_s=self.settings.log_retry_s,
            timeout_s=self.settings.log_timeout_s,
        )
        self.generations = Generations(self.committer, self.settings, on_end, observer)
        self._made = 0

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def __aenter__(self) -> World:
        self.committer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        gate, self.log.gate = self.log.gate, None
        if gate is not None:
            gate.set()
        await self.generations.finish(0)
        await self.committer.stop()

    def record(self, **fields: object) -> StreamRecord:
        self._made += 1
        return StreamRecord(StreamId(f"s{self._made}"), 0, model="m", **{"linger_s": 300.0, **fields})  # type: ignore[arg-type]

    async def create(self, producer: Producer, **fields: object) -> Generation:
        """An accepted stream, being produced."""
        record = self.record(**fields)
        generation = self.generations.create(record, lambda: producer, prompt_characters=40)
        generation.writer.write([Start(record.id, record.model, 0)])
        await generation.writer.flush()
        generation.start()
        return generation

    def watch(self, channel: Channel, sink: MemorySink, cursor: str | None = None) -> Viewer:
        next_seq, reset = channel.locate(cursor)
        viewer = Viewer(
            channel,
            channel.encoder(PlainEncoder),
            sink,
            log=self.log,
            next_seq=next_seq,
            now=self.now,
            on_closed=lambda left: channel.viewers.remove(left),
        )
        channel.viewers.append(viewer)
        viewer.start(reset)
        return viewer


def channel_of(*events: Event, first_seq: int = 0, tail_bytes: int = 32_768, **fields: object) -> Channel:
    """A live channel that has published these events."""
    record = StreamRecord(StreamId("s"), 0, first_seq=first_seq, next_seq=first_seq, **fields)  # type: ignore[arg-type]
    channel = Channel(record, Fold(), tail_bytes=tail_bytes)
    channel.status = "streaming"
    publish(channel, *events)
    return channel


def publish(channel: Channel, *events: Event, now: float = 0.0) -> None:
    for event in events:
        channel.fold.apply(event)
    if events:
        channel.publish(channel.next_seq, events, now)


FAST = StreamSettings(log_retry_s=0.1, flush_ms=1.0)


async def started(log: MemoryLog | None = None, settings: StreamSettings = FAST, **options: object) -> Hub:
    hub = Hub(log if log is not None else MemoryLog(), settings, **options)  # type: ignore[arg-type]
    await hub.start()
    return hub


async def eventually(condition: Callable[[], object], *, timeout_s: float = 10.0) -> None:
    """Give the loop turns until the condition holds; the bound only catches a hang."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while not condition():
        assert loop.time() < deadline, "the condition never came true"
        await asyncio.sleep(0.001)

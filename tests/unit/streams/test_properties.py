"""The promises under any history: what each viewer has, put together, is the log, and it never ran ahead of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.cursor import Cursor, parse_cursor
from headwater.errors import LogError, LogUnavailable
from headwater.events import Done, Event, Reasoning, Source, Sources, Status, StreamId, Text, ToolCall, Usage
from headwater.streams import Channel, Hub, NewStream, StreamSettings, Writer, viewer
from headwater.streams.viewer import Viewer

from .kit import FaultyLog, MemorySink, PlainEncoder, eventually, parse, started

# Small bounds make the tail, the log reads and the hand-offs between them happen within a few events.
TINY = StreamSettings(tail_bytes=700, flush_ms=0, log_retry_s=60.0, heartbeat_s=1000)


@pytest.fixture(autouse=True, scope="module")
def small_portions() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(viewer, "WRITE_BYTES", 60)
        patch.setattr(viewer, "READ_BYTES", 200)
        yield


words = st.sampled_from(["a", "bc", " ", "\n", "\r\n", "é😀", "x" * 300])
content: st.SearchStrategy[Event] = st.one_of(
    words.map(Text),
    st.builds(Text, words, st.integers(0, 1), st.booleans()),
    words.map(Reasoning),
    st.builds(ToolCall, st.integers(0, 1), st.sampled_from(["", "id"]), st.just(""), words),
    st.just(Status("searching")),
    st.just(Sources([Source("t")])),
)


def pieces(events: list[Event]) -> list[tuple[object, ...]]:
    """The answer with the cuts between its deltas forgotten, and nothing else."""
    flat: list[tuple[object, ...]] = []
    for event in events:
        match event:
            case Text(text=text):
                flat += [("text", event.choice, event.refusal, character) for character in text]
            case Reasoning(text=text):
                flat += [("reasoning", event.choice, character) for character in text]
            case ToolCall(arguments=arguments):
                flat += [("call", event.index, event.id)] if event.id else []
                flat += [("argument", event.index, character) for character in arguments]
            case _:
                flat.append((event,))
    return flat


class Witness(MemorySink):
    """A sink that checks, as each byte arrives, that the log held the event before it was seen (P1)."""

    def __init__(self, log: FaultyLog, stream: str, budget: int | None) -> None:
        super().__init__(budget)
        self._log = log
        self._stream = stream

    def write(self, data: bytes) -> None:
        held = self._log.committed(self._stream)
        for frame in parse(data):
            if frame.event is not None:
                cursor = parse_cursor(frame.cursor)
                assert cursor is not None
                assert cursor.seq < len(held), "seen before it was committed"
        super().write(data)


@dataclass
class Client:
    """One reader through all its connections: it keeps its last cursor and comes back with it."""

    hub: Hub
    log: FaultyLog
    channel: Channel
    budget: int | None
    have: list[tuple[int, Event]] = field(default_factory=list)
    sink: Witness | None = None
    viewer: Viewer | None = None
    finished: bool = False

    @property
    def cursor(self) -> str | None:
        return str(Cursor(self.channel.epoch, self.have[-1][0])) if self.have else None

    async def connect(self) -> None:
        self.disconnect()
        self.channel = await self.hub.open(StreamId(self.channel.id), owner="")
        self.sink = Witness(self.log, self.channel.id, self.budget)
        self.viewer = self.hub.attach(self.channel, PlainEncoder, self.sink, self.cursor)

    def disconnect(self) -> None:
        if self.sink is not None and self.viewer is not None:
            self.viewer.close()
            self._keep(self.sink)
            self.sink = self.viewer = None

    async def read_to_the_end(self) -> None:
        for _ in range(3):
            if self.finished:
                return
            await self.connect()
            assert self.viewer is not None
            self.open_up(None)
            await self.viewer.wait_closed()
            self.disconnect()
        raise AssertionError("no connection ever reached the end")

    def _keep(self, sink: Witness) -> None:
        assert sink.words == [], "a cursor of ours was not known"
        for frame in sink.frames:
            cursor = parse_cursor(frame.cursor)
            assert cursor is not None
            assert frame.event is not None
            self.have.append((cursor.seq, frame.event))
        self.finished = self.finished or sink.finished

    def open_up(self, budget: int | None, *, silently: bool = False) -> None:
        self.budget = budget
        if silently and self.sink is not None:
            self.sink._budget = budget  # the transport has room again, and its callback comes later
        elif self.sink is not None and not (self.sink.finished or self.sink.aborted):
            self.sink.open_up(budget)

    def check(self, log: list[Event]) -> None:
        """Covered seqs and content are the log's: none lost, none twice, none out of order."""
        seqs = [seq for seq, _ in self.have]
        assert seqs == sorted(set(seqs))
        assert seqs[-1] == len(log) - 1
        assert pieces([event for _, event in self.have]) == pieces(log)
        before = -1
        for seq, event in self.have:  # each frame covers exactly the events since the one before it
            assert pieces([event]) == pieces(log[before + 1 : seq + 1])
            before = seq


class Steps:
    """A producer that takes one step whenever the test says so."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[list[Event]] = asyncio.Queue()
        self.taken = 0

    async def run(self, writer: Writer) -> None:
        while True:
            events = await self.queue.get()
            self.taken += 1
            writer.write(events)
            if any(isinstance(event, Done) for event in events):
                return


class Bench:
    """One stream, a log whose commits wait at a gate and fail on order, and clients that come and go."""

    def __init__(self, log: FaultyLog, hub: Hub, channel: Channel, producer: Steps, clients: list[Client]) -> None:
        self.log, self.hub, self.channel, self.producer, self.clients = log, hub, channel, producer, clients
        self.put = 0

    @classmethod
    async def begin(cls, clients: int) -> Bench:
        log, producer = FaultyLog(), Steps()
        hub = await started(log, TINY)
        channel, _ = await hub.create(NewStream(model="m"), producer)
        return cls(log, hub, channel, producer, [Client(hub, log, channel, None) for _ in range(clients)])

    async def write(self, events: list[Event]) -> None:
        self.put += 1
        self.producer.queue.put_nowait(events)
        await eventually(lambda: self.producer.taken == self.put)

    async def turns(self, count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    def hold(self) -> None:
        if self.log.gate is None:
            self.log.gate = asyncio.Event()

    def hold_answers(self) -> None:
        if self.log.answer_gate is None:
            self.log.answer_gate = asyncio.Event()

    def release(self) -> None:
        for gate in (self.log.gate, self.log.answer_gate):
            if gate is not None:
                gate.set()
        self.log.gate = self.log.answer_gate = None

    async def end(self) -> None:
        await self.write([Usage(1, 2), Done("stop")])
        self.release()
        await self.channel.wait_end()
        for client in self.clients:
            await client.read_to_the_end()
            client.check(self.log.committed(self.channel.id))
        assert self.hub.viewers == 0
        await self.hub.shutdown(0)


index = st.integers(0, 3)
budgets = st.one_of(st.none(), st.integers(0, 60), st.integers(0, 400))
Step = Callable[[Bench], object]


def _connect(which: int) -> Step:
    return lambda bench: bench.clients[which % len(bench.clients)].connect()


def _cut(which: int) -> Step:
    return lambda bench: bench.clients[which % len(bench.clients)].disconnect()


def _budget(which: int, budget: int | None, silently: bool) -> Step:
    return lambda bench: bench.clients[which % len(bench.clients)].open_up(budget, silently=silently)


def _write(events: list[Event]) -> Step:
    return lambda bench: bench.write(events)


def _fail(stored: bool) -> Step:
    def act(bench: Bench) -> None:
        if stored:
            bench.log.lie += 1
        else:
            bench.log.failures.append(LogUnavailable("once"))

    return act


steps: st.SearchStrategy[list[Step]] = st.lists(
    st.one_of(
        *[st.lists(content, min_size=1, max_size=5).map(_write)] * 3,
        *[st.builds(_budget, index, budgets, st.booleans())] * 3,
        index.map(_connect),
        index.map(_cut),
        st.just(lambda bench: bench.hold()),
        st.just(lambda bench: bench.hold_answers()),
        st.just(lambda bench: bench.release()),
        st.integers(1, 4).map(lambda count: lambda bench: bench.turns(count)),
    ),
    min_size=15,
    max_size=50,
)
# A failed commit is tried again after 20 ms and more, so histories with failures are fewer and have few of them.
faults = st.lists(st.booleans().map(_fail), min_size=1, max_size=2)


async def _history(clients: list[int | None], acts: list[Step]) -> None:
    bench = await Bench.begin(len(clients))
    for client, budget in zip(bench.clients, clients, strict=True):
        client.budget = budget
        await client.connect()
    for act in acts:
        result = act(bench)
        if asyncio.iscoroutine(result):
            await result
    await bench.end()


relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


crowds = st.lists(budgets, min_size=1, max_size=4)


@settings(relaxed, max_examples=300)
@given(crowds, steps)
def test_every_viewers_pieces_are_the_log(clients: list[int | None], acts: list[Step]) -> None:
    """None lost, none twice, none out of order, at any cut point (LibreChat PR #11710; vercel/ai #14688, #18457;
    mercure #178; resumable-stream PR #41; open-webui #29596), and never ahead of the log (P1, P2, P7).
    """
    asyncio.run(_history(clients, acts))


@settings(relaxed, max_examples=25)
@given(crowds, steps, faults, steps)
def test_failing_commits_change_nothing_that_anybody_sees(
    clients: list[int | None], before: list[Step], failing: list[Step], after: list[Step]
) -> None:
    """Retries store nothing twice and skip nothing (cloudflare/agents #1733)."""
    asyncio.run(_history(clients, before + failing + after))


async def _ended_stream(batches: list[list[Event]]) -> tuple[FaultyLog, Hub, Channel]:
    bench = await Bench.begin(0)
    for batch in batches:
        await bench.write(batch)
        await bench.turns(3)
    await bench.write([Done("stop")])
    await bench.channel.wait_end()
    await eventually(lambda: bench.hub.live == 0)
    return bench.log, bench.hub, await bench.hub.open(StreamId(bench.channel.id), owner="")


batches = st.lists(st.lists(content, min_size=1, max_size=4), max_size=6)


@settings(relaxed, max_examples=50)
@given(batches)
def test_a_cursor_at_any_seq_gives_exactly_the_rest(history: list[list[Event]]) -> None:
    """P2, for every position there is."""

    async def scenario() -> None:
        log, hub, channel = await _ended_stream(history)
        events = log.committed(channel.id)
        for seq in range(len(events)):
            sink = MemorySink()
            await hub.attach(channel, PlainEncoder, sink, str(Cursor(1, seq))).wait_closed()
            assert pieces(sink.events) == pieces(events[seq + 1 :])
            assert sink.words == []
            assert sink.finished
        await hub.shutdown(0)

    asyncio.run(scenario())


strangers = st.one_of(
    st.text(min_size=1, max_size=12),
    st.builds(lambda epoch, seq: f"{epoch}.{seq}", st.integers(2, 10**19), st.integers(0, 20)),
    st.builds(lambda seq: f"1.{seq}", st.integers(10_000, 10**25)),
    st.builds(lambda seq: f"0.{seq}", st.integers(0, 20)),
    st.builds(lambda seq: f"1.-{seq}", st.integers(0, 20)),
)


@settings(relaxed, max_examples=100)
@given(batches, strangers)
def test_a_cursor_of_nobody_gets_a_reset_and_everything(history: list[list[Event]], cursor: str) -> None:
    """Unknown cursor, client stuck for ever (mercure #704); a request with a cursor crashes the worker (nchan #676)."""
    position = parse_cursor(cursor)

    async def scenario() -> None:
        log, hub, channel = await _ended_stream(history)
        if position is not None and position.epoch == 1 and position.seq < channel.next_seq:
            return
        sink = MemorySink()
        await hub.attach(channel, PlainEncoder, sink, cursor).wait_closed()
        assert sink.frames[0].word in {"!reset unknown_cursor", "!reset epoch_changed"}
        assert len(sink.words) == 1
        assert pieces(sink.events) == pieces(log.committed(channel.id))
        assert sink.finished
        await hub.shutdown(0)

    asyncio.run(scenario())


@settings(relaxed, max_examples=40)
@given(batches, st.integers(0, 40), st.sampled_from(["fail", "continue", "restart"]))
def test_a_process_that_dies_anywhere_leaves_prefixes(history: list[list[Event]], after: int, fate: str) -> None:
    """What a viewer saw is a prefix of the final log, whoever finishes it (LibreChat PR #15532)."""

    async def scenario() -> None:
        bench = await Bench.begin(2)
        for client in bench.clients:
            await client.connect()
        for batch in history:
            bench.put += 1
            bench.producer.queue.put_nowait(batch)
        await bench.turns(after)
        bench.log.gate = asyncio.Event()  # the process dies: nothing more of it reaches the log
        seen = [client for client in bench.clients if client.sink is not None]
        for client in seen:
            client.disconnect()
        heir_log = FaultyLog()
        heir_log._streams = bench.log._streams
        heir_log._keys, heir_log._finished = bench.log._keys, bench.log._finished
        producer = Steps()
        heir = await started(heir_log, TINY, recover=lambda record, state: producer if fate != "fail" else None)
        producer.queue.put_nowait([Text("the rest"), Done("stop")])
        channel = await heir.open(StreamId(bench.channel.id), owner="")
        for client in seen:
            client.hub, client.log, client.channel = heir, heir_log, channel
            await client.read_to_the_end()
            client.check(heir_log.committed(channel.id))
        bench.log._streams = {}
        bench.release()
        await heir.shutdown(0)
        await bench.hub.shutdown(0)

    asyncio.run(scenario())


@settings(relaxed, max_examples=60)
@given(st.lists(st.sampled_from(["a", "\ud800", "\udfffb", "c\ud83d"]), min_size=1, max_size=8), st.integers(1, 4))
def test_half_characters_are_the_same_for_all(texts: list[str], size: int) -> None:
    """Live, merged and replayed, a lone surrogate is one U+FFFD."""

    async def scenario() -> None:
        bench = await Bench.begin(1)
        live = bench.clients[0]
        await live.connect()
        for start in range(0, len(texts), size):
            await bench.write([Text(text) for text in texts[start : start + size]])
        await bench.end()

    asyncio.run(scenario())


@settings(relaxed, max_examples=30)
@given(batches, st.integers(0, 6))
def test_a_log_that_fails_for_good_keeps_what_was_seen(history: list[list[Event]], good: int) -> None:
    """P3 and P1 together: an end in memory for who watches, one in the log when it works again, and no byte moved."""

    async def scenario() -> None:
        bench = await Bench.begin(2)
        hub, log, channel = bench.hub, bench.log, bench.channel
        hub._committer._retry_s = 0.0
        for client in bench.clients:
            await client.connect()
        for number, batch in enumerate(history):
            if number == good:
                log.always = LogUnavailable("disk full")
            if channel.failure is None:
                bench.producer.queue.put_nowait(batch)
                await bench.turns(10)
        log.always = LogUnavailable("disk full")
        if channel.failure is None:
            bench.producer.queue.put_nowait([Text("never"), Done("stop")])
        try:
            await channel.wait_end()
        except LogError:
            pass
        else:
            raise AssertionError("it cannot have ended")
        sinks = [client.sink for client in bench.clients]
        for client, sink in zip(bench.clients, sinks, strict=True):
            assert sink is not None
            assert sink.finished
            assert getattr(sink.events[-1], "reason", "") == "log_unavailable"
            error = sink.chunks.pop()  # not an event of the log; its id is the viewer's own cursor
            assert parse(error)[0].cursor == sink.frames[-1].cursor
            client.disconnect()
            client.finished = False
        log.always = None
        await hub._recovery.settle()
        for client in bench.clients:
            await client.read_to_the_end()
            client.check(log.committed(channel.id))
        await hub.shutdown(0)

    asyncio.run(scenario())

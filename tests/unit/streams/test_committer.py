"""Group commit: nothing waits that need not, nothing is stored twice, and one stream never harms another."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence

import pytest

from headwater.errors import LogCorrupt, LogError, LogUnavailable, SeqConflict
from headwater.events import Event, StreamId, Text, encode_segment
from headwater.streams.committer import Committer
from headwater.streams.log import Append, StreamRecord

from .kit import FaultyLog, eventually


class Stream:
    """A source that writes when told and remembers what became of it."""

    def __init__(self, log: FaultyLog, committer: Committer, name: str) -> None:
        self.name = StreamId(name)
        self.lost_with: LogError | None = None
        self.told: list[Event] = []
        self._log = log
        self._committer = committer
        self._pending: list[Event] = []
        self._taken: list[Event] = []
        self._submitted = False

    def write(self, *events: Event, urgent: bool = False) -> None:
        self._pending += events
        if not self._submitted:
            self._submitted = True
            self._committer.submit(self, urgent=urgent)
        elif urgent:
            self._committer.hurry()

    def take(self) -> Append:
        self._taken, self._pending = self._pending, []
        first = len(self.told)
        create = None if first else StreamRecord(self.name, 0)
        return Append(self.name, first, len(self._taken), encode_segment(self._taken), create)

    def settled(self, now: float) -> bool:
        assert self._log.committed(self.name)[len(self.told) :] == self._taken, "told before it was stored"
        self.told += self._taken
        self._submitted = bool(self._pending)
        return self._submitted

    def lost(self, error: LogError) -> None:
        self.lost_with = error


class Bench:
    def __init__(self, *, flush_ms: float = 0.0, retry_s: float = 60.0) -> None:
        self.log = FaultyLog()
        self.committer = Committer(self.log, flush_ms=flush_ms, retry_s=retry_s, timeout_s=30)
        self._count = 0

    def stream(self) -> Stream:
        self._count += 1
        return Stream(self.log, self.committer, f"s{self._count}")


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    bench.committer.start()
    yield bench
    bench.log.gate = None
    await bench.committer.stop()


async def test_an_idle_log_commits_at_once(bench: Bench) -> None:
    stream = bench.stream()
    stream.write(Text("a"))
    await eventually(lambda: stream.told == [Text("a")])
    assert (bench.committer.commits, bench.committer.events) == (1, 1)


async def test_what_comes_while_a_commit_is_in_flight_is_the_next_group(bench: Bench) -> None:
    bench.log.gate = asyncio.Event()
    one, two = bench.stream(), bench.stream()
    one.write(Text("a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    one.write(Text("b"))
    two.write(Text("x"))
    one.write(Text("c"))
    bench.log.gate.set()
    await eventually(lambda: len(one.told) == 3)
    assert [[(a.stream, a.count) for a in group] for group in bench.log.groups] == [[("s1", 1)], [("s2", 1), ("s1", 2)]]


class Loaded(Bench):
    """Groups are a minute apart, which no test waits for: what is committed was hurried."""

    def __init__(self) -> None:
        super().__init__(flush_ms=60_000.0)

    async def warm_up(self) -> Stream:
        stream = self.stream()
        stream.write(*[Text("a")] * 1000, urgent=True)
        await eventually(lambda: stream.told)
        return stream


@pytest.fixture
async def loaded() -> AsyncIterator[Loaded]:
    bench = Loaded()
    bench.committer.start()
    yield bench
    await bench.committer.stop()


async def _turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_under_load_a_group_waits_for_company(loaded: Loaded) -> None:
    one, two = await loaded.warm_up(), loaded.stream()
    one.write(Text("b"))
    await _turns()
    two.write(Text("x"))
    await _turns()
    assert loaded.committer.commits == 1
    one.write(Text("c"), urgent=True)
    await eventually(lambda: one.told[-1] == Text("c"))
    assert two.told == [Text("x")]
    assert loaded.committer.commits == 2


async def test_what_a_person_waits_for_does_not_wait(loaded: Loaded) -> None:
    """40 ms before the first token were seen on one gateway; 1 ms a chunk is hard-coded in another (portkey)."""
    one, two = await loaded.warm_up(), loaded.stream()
    one.write(Text("b"))
    await _turns()
    two.write(Text("first"), urgent=True)
    await eventually(lambda: two.told)
    assert one.told[-1] == Text("b")


async def test_an_urgent_group_stays_urgent(loaded: Loaded) -> None:
    one, two = await loaded.warm_up(), loaded.stream()
    two.write(Text("x"), urgent=True)
    one.write(Text("b"))
    await eventually(lambda: two.told)
    assert one.told[-1] == Text("b")


async def test_stopping_waits_for_nothing_but_the_log(loaded: Loaded) -> None:
    one = await loaded.warm_up()
    one.write(Text("b"))
    await _turns()
    await loaded.committer.stop()
    assert one.told[-1] == Text("b")
    await loaded.committer.stop()


async def test_a_delay_that_is_over_is_not_waited_for() -> None:
    bench = Bench(flush_ms=1.0)
    bench.committer.start()
    one = bench.stream()
    one.write(*[Text("a")] * 100_000)
    await eventually(lambda: one.told)
    for count in range(1, 6):
        one.write(Text("b"))
        await eventually(lambda count=count: len(one.told) == 100_000 + count)
    await bench.committer.stop()


async def test_a_committer_that_never_started_stops() -> None:
    await Bench().committer.stop()


async def test_a_log_that_fails_for_a_while_loses_and_repeats_nothing(bench: Bench) -> None:
    bench.log.failures = [LogUnavailable("disk full")] * 3
    stream = bench.stream()
    stream.write(Text("a"))
    await eventually(lambda: bench.committer.failing_since is not None)
    stream.write(Text("b"))
    await eventually(lambda: stream.told == [Text("a"), Text("b")])
    assert bench.log.committed("s1") == [Text("a"), Text("b")]
    assert bench.committer.failing_since is None
    assert bench.committer.commits == 2


async def test_what_was_stored_though_the_answer_was_lost_is_ours(bench: Bench) -> None:
    """The retry conflicts with the first attempt: neither an error nor a repeat."""
    bench.log.lie = 1
    one, two = bench.stream(), bench.stream()
    one.write(Text("a"))
    two.write(Text("x"), Text("y"))
    await eventually(lambda: one.told and two.told)
    assert (one.lost_with, two.lost_with) == (None, None)
    assert bench.log.committed("s2") == [Text("x"), Text("y")]
    bench.log.lie = 1
    one.write(Text("b"))
    await eventually(lambda: len(one.told) == 2)
    assert bench.log.committed("s1") == [Text("a"), Text("b")]


async def _take_position(log: FaultyLog, stream: StreamId, seq: int) -> None:
    assert await log.commit([Append(stream, seq, 1, encode_segment([Text("foreign")]))]) == [None]


async def test_a_conflict_from_elsewhere_is_the_streams_own(bench: Bench) -> None:
    one, two = bench.stream(), bench.stream()
    one.write(Text("a"))
    await eventually(lambda: one.told)
    await _take_position(bench.log, one.name, 1)
    one.write(Text("b"))
    two.write(Text("x"))
    await eventually(lambda: one.lost_with and two.told)
    assert isinstance(one.lost_with, SeqConflict)
    assert two.lost_with is None


async def test_a_conflict_from_elsewhere_stays_one_on_a_retry(bench: Bench) -> None:
    one = bench.stream()
    one.write(Text("a"))
    await eventually(lambda: one.told)
    await _take_position(bench.log, one.name, 1)
    bench.log.failures = [LogUnavailable("once")]
    one.write(Text("b"), Text("c"))
    await eventually(lambda: one.lost_with)
    assert isinstance(one.lost_with, SeqConflict)


async def test_a_log_that_fails_for_good_gives_its_streams_up(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(retry_s=0.05)
    bench.committer.start()
    bench.log.always = LogUnavailable("read-only")
    one, two = bench.stream(), bench.stream()
    one.write(Text("a"))
    two.write(Text("x"))
    await eventually(lambda: one.lost_with and two.lost_with)
    assert isinstance(one.lost_with, LogUnavailable)
    assert one.told == []
    assert bench.committer.failing_since is None
    assert "2 streams break off" in caplog.text
    bench.log.always = None
    three = bench.stream()
    three.write(Text("y"))
    await eventually(lambda: three.told)
    await bench.committer.stop()


async def test_a_stopping_server_does_not_wait_for_a_broken_log(bench: Bench) -> None:
    bench.log.gate = asyncio.Event()
    bench.log.always = LogUnavailable("gone")
    stream = bench.stream()
    stream.write(Text("a"))
    stopping = asyncio.ensure_future(bench.committer.stop())
    await _turns()
    bench.log.gate.set()
    await stopping
    assert stream.lost_with is not None


async def test_a_log_that_stays_silent_is_told_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The sweeper asks every second for as long as the commit does not return."""
    bench.log.gate = asyncio.Event()
    one, two = bench.stream(), bench.stream()
    one.write(Text("a"))
    await _turns()
    two.write(Text("x"))
    late = asyncio.get_running_loop().time() + 30
    for _ in range(3):
        bench.committer.give_up_if_stuck(late)
    assert [isinstance(stream.lost_with, LogUnavailable) for stream in (one, two)] == [True, True]
    assert [record.getMessage() for record in caplog.records] == [
        "the log has not answered for 30 s; 2 streams break off"
    ]
    bench.log.gate.set()


class PickyLog(FaultyLog):
    """Refuses one stream as no log may: by an exception for the whole group."""

    def __init__(self, refusal: Exception) -> None:
        super().__init__()
        self.refusal = refusal

    async def commit(self, appends: Sequence[Append]) -> Sequence[LogError | None]:
        if any(append.stream == "s1" for append in appends):
            raise self.refusal
        return await super().commit(appends)


@pytest.mark.parametrize(
    "refusal", [LogCorrupt("a page is damaged"), UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates")]
)
async def test_what_cannot_be_stored_at_all_takes_no_other_stream_with_it(
    refusal: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """One request with a lone surrogate in a name must not end every stream of the server (nchan #676)."""
    bench = Bench()
    bench.log = PickyLog(refusal)
    bench.committer = Committer(bench.log, flush_ms=0, retry_s=5, timeout_s=30)
    bench.committer.start()
    one, two, three = bench.stream(), bench.stream(), bench.stream()
    for stream in (one, two, three):
        stream.write(Text("a"))
    await eventually(lambda: one.lost_with and two.told and three.told)
    assert isinstance(one.lost_with, LogError)
    assert two.lost_with is None
    two.write(Text("b"))
    await eventually(lambda: len(two.told) == 2)
    await bench.committer.stop()
    assert isinstance(refusal, LogError) or caplog.records[0].levelno == logging.ERROR


class ShortLog(FaultyLog):
    """A broken implementation: it forgets outcomes."""

    broken = True

    async def commit(self, appends: Sequence[Append]) -> Sequence[LogError | None]:
        return [] if self.broken else await super().commit(appends)


async def test_a_bug_costs_a_group_never_the_committer(caplog: pytest.LogCaptureFixture) -> None:
    """Without the committer no stream would ever end (LibreChat PR #15532)."""
    bench = Bench()
    log = bench.log = ShortLog()
    bench.committer = Committer(log, flush_ms=0, retry_s=5, timeout_s=30)
    bench.committer.start()
    one = bench.stream()
    one.write(Text("a"))
    await eventually(lambda: one.lost_with)
    assert "failed" in caplog.text
    log.broken = False
    two = bench.stream()
    two.write(Text("b"))
    await eventually(lambda: two.told)
    await bench.committer.stop()

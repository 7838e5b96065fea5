"""The race: one winner, whose events alone reach the stream; nobody else goes on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from headwater.errors import HeadwaterError, ProviderRejected, ProviderTimeout, ProviderUnreachable, StreamEnded
from headwater.events import Done, Event, Metadata, Status, Text
from headwater.routing import hedge
from headwater.routing.hedge import Race
from headwater.streams.ports import Watch, Writer
from tests.conformance.providers.kit import KeepingWriter

from ..streams.kit import eventually

DOWN = ProviderUnreachable("down")


class Runner:
    """One side of a race; `steps` are done when the test says so."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.cancelled = False
        self.lane: Writer | None = None
        self._steps: asyncio.Queue[Callable[[Writer], Any]] = asyncio.Queue()
        self._result: HeadwaterError | None = None

    async def run(self, lane: Writer) -> HeadwaterError | None:
        self.lane = lane
        self.started.set()
        try:
            while (step := await self._steps.get()) is not None:
                step(lane)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return self._result

    def say(self, *events: Event) -> None:
        self._steps.put_nowait(lambda lane: lane.write(events))

    def act(self, step: Callable[[Writer], Any]) -> None:
        self._steps.put_nowait(step)

    def end(self, result: HeadwaterError | None = None) -> None:
        self._result = result
        self._steps.put_nowait(None)  # type: ignore[arg-type]


class Bench:
    def __init__(self) -> None:
        self.writer = KeepingWriter()
        self.first, self.second = Runner(), Runner()
        self.won: list[Writer] = []
        self.hedged = 0
        self.race = Race(self.writer, self.won.append)

    def hedge(self) -> None:
        self.hedged += 1

    def start(self, after_s: float = 0.0) -> asyncio.Task[HeadwaterError | None]:
        running: Awaitable[HeadwaterError | None] = self.race.run(
            self.first.run, self.second.run, after_s=after_s, on_hedge=self.hedge
        )
        return asyncio.ensure_future(running)


async def test_an_answer_in_time_is_alone() -> None:
    bench = Bench()
    running = bench.start(after_s=60)
    bench.first.say(Metadata({"id": 1}))
    bench.first.say(Text("a"))
    bench.first.say(Text("b"), Done("stop"))
    bench.first.end()
    assert await running is None
    assert bench.writer.events == [Metadata({"id": 1}), Text("a"), Text("b"), Done("stop")]
    assert (bench.hedged, bench.second.lane) == (0, None)


async def test_a_quick_failure_is_no_reason_to_hedge() -> None:
    """Retry and fall-back are decided by the route."""
    bench = Bench()
    bench.first.end(DOWN)
    assert await bench.start(after_s=60) is DOWN
    assert bench.hedged == 0


@pytest.mark.parametrize("second_wins", [True, False])
async def test_the_first_content_wins_and_the_other_is_cancelled(second_wins: bool) -> None:
    bench = Bench()
    running = bench.start()
    await bench.second.started.wait()
    winner, loser = (bench.second, bench.first) if second_wins else (bench.first, bench.second)
    loser.say(Metadata({"id": "loser"}))
    winner.say(Metadata({"id": "winner"}))
    winner.say(Text("a"))
    await bench.writer.until(lambda writer: writer.of(Text))
    assert bench.won == [winner.lane]
    winner.say(Done("stop"))
    winner.end()
    assert await running is None
    assert loser.cancelled
    assert bench.hedged == 1
    assert bench.writer.events == [Metadata({"id": "winner"}), Text("a"), Done("stop")]


async def test_the_loser_cannot_write_while_it_is_being_cancelled() -> None:
    bench = Bench()
    running = bench.start()
    await bench.second.started.wait()
    assert bench.first.lane is not None
    assert bench.second.lane is not None
    bench.first.lane.write([Text("a")])
    with pytest.raises(StreamEnded):
        bench.second.lane.write([Text("b")])
    bench.second.lane.connected()
    bench.second.lane.touch()
    bench.second.lane.control.watch(None)
    assert (bench.writer.connections, bench.writer.touches, bench.writer.watches) == (0, 0, [None])
    bench.first.lane.touch()
    bench.first.lane.connected()
    assert (bench.writer.connections, bench.writer.touches) == (1, 1)
    bench.first.end()
    assert await running is None


async def test_where_both_fail_the_last_failure_counts() -> None:
    bench = Bench()
    running = bench.start()
    await bench.second.started.wait()
    bench.first.end(DOWN)
    other = ProviderTimeout("slow")
    bench.second.end(other)
    assert await running is other


async def test_but_a_refusal_of_the_request_counts_most() -> None:
    bench = Bench()
    running = bench.start()
    await bench.second.started.wait()
    refusal = ProviderRejected("bad request", status=400)
    bench.first.end(refusal)
    bench.second.end(DOWN)
    assert await running is refusal


async def test_one_failure_leaves_the_other_running() -> None:
    bench = Bench()
    running = bench.start()
    await bench.second.started.wait()
    bench.first.end(DOWN)
    bench.second.say(Text("b"))
    bench.second.end(DOWN)
    assert await running is DOWN
    assert bench.writer.events == [Text("b")]


async def test_a_winner_that_breaks_off_returns_its_failure() -> None:
    bench = Bench()
    running = bench.start(after_s=60)
    bench.first.say(Text("a"))
    bench.first.end(DOWN)
    assert await running is DOWN


async def test_an_answer_without_any_content_is_one() -> None:
    bench = Bench()
    running = bench.start()
    await bench.second.started.wait()
    bench.second.say(Metadata({"id": 2}))
    bench.second.end()
    assert await running is None
    assert bench.first.cancelled
    assert bench.writer.events == [Metadata({"id": 2})]


async def test_a_cancel_ends_both_at_once() -> None:
    """P4: cancel reaches the provider from every state."""
    bench = Bench()
    running = bench.start()
    await bench.second.started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert bench.first.cancelled
    assert bench.second.cancelled


async def test_what_is_no_failure_is_raised() -> None:
    bench = Bench()
    running = bench.start()
    await bench.second.started.wait()

    def bug(_: Writer) -> None:
        raise KeyError("a bug")

    bench.first.act(bug)
    bench.second.end(DOWN)
    with pytest.raises(KeyError):
        await running


async def test_where_one_waits_is_true_of_either() -> None:
    bench = Bench()
    running = bench.start(after_s=60)
    bench.first.say(Status("queued", position=1))
    await bench.writer.until(lambda writer: writer.of(Status))
    assert bench.race.winner is None
    bench.first.say(Done("stop"))
    bench.first.end()
    await running


class TestControl:
    async def test_each_is_watched_by_itself_until_one_has_won(self) -> None:
        bench = Bench()
        running = bench.start(after_s=60)
        await bench.first.started.wait()
        fired: asyncio.Queue[ProviderTimeout] = asyncio.Queue()
        assert bench.first.lane is not None
        control = bench.first.lane.control
        control.watch(Watch(60, 60, fired.put_nowait))
        control.watch(Watch(0.001, 60, fired.put_nowait))
        assert "no first token" in (await fired.get()).message
        assert bench.writer.watches == []
        running.cancel()
        await asyncio.wait([running])
        assert fired.empty()

    async def test_the_winners_watch_becomes_the_streams(self) -> None:
        bench = Bench()
        running = bench.start(after_s=60)
        await bench.first.started.wait()
        assert bench.first.lane is not None
        control = bench.first.lane.control
        watch = Watch(60, 60, lambda _: None)
        control.watch(watch)
        bench.first.lane.write([Text("a")])
        control.watch(None)
        assert bench.writer.watches == [watch, None]
        bench.first.end()
        await running

    async def test_the_rest_is_the_streams(self) -> None:
        bench = Bench()
        running = bench.start(after_s=60)
        await bench.first.started.wait()
        lane = bench.first.lane
        assert lane is not None
        assert lane.fold is bench.writer.fold
        assert lane.control.first_content_s is None
        assert await lane.control.history() == []
        settlement: Any = object()
        lane.control.settle(settlement)
        assert bench.writer.settlement is settlement
        bench.writer.release()
        await lane.drain()
        assert bench.writer.drains == 1
        bench.first.end()
        await running


async def test_the_slot_is_lent_only_while_both_wait() -> None:
    bench = Bench()
    running = bench.start()
    await bench.second.started.wait()
    assert bench.first.lane is not None
    assert bench.second.lane is not None
    bench.first.lane.control.lend_slot(True)
    assert bench.writer.lent[-1] is False
    bench.second.lane.control.lend_slot(True)
    assert bench.writer.lent[-1] is True
    bench.first.lane.control.lend_slot(False)
    assert bench.writer.lent[-1] is False
    bench.first.end(DOWN)  # the one that is left waits
    await eventually(lambda: bench.writer.lent[-1])
    bench.second.lane.control.lend_slot(False)
    bench.second.end(DOWN)
    assert await running is DOWN
    assert bench.writer.lent[-1] is False


async def test_a_loser_that_ignores_its_cancellation_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hedge, "_LET_GO_S", 0.01)
    stop = asyncio.Event()

    async def stubborn(_: Writer) -> None:
        while not stop.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await stop.wait()

    async def broken_off(lane: Writer) -> HeadwaterError:
        lane.write([Text("a")])
        return DOWN

    bench = Bench()
    async with asyncio.timeout(5):
        assert await bench.race.run(stubborn, broken_off, after_s=0.0, on_hedge=bench.hedge) is DOWN
    stop.set()
    await eventually(lambda: not bench.race.lanes)

"""The periodic sweep: what is due fires, what is not does not, and no single stream can stop it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from headwater.events import Start, Text
from headwater.streams import StreamSettings
from headwater.streams.follower import UNWATCHED_S, Follower
from headwater.streams.sweeper import SMALLEST_HEARTBEAT_BATCH, Sweeper
from headwater.streams.viewer import Viewer

from .kit import MemorySink, PlainEncoder, Script, World, channel_of, eventually, fill, publish

SETTINGS = StreamSettings(heartbeat_s=20.0, send_timeout_s=30.0)


class Swept(World):
    """A world with a sweeper whose clock is the test's."""

    def __init__(self, settings: StreamSettings = SETTINGS) -> None:
        super().__init__(settings=settings)
        self.viewers: set[Viewer] = set()
        self.followers: dict[str, Follower] = {}
        self.settlements = 0
        self.settle_error: Exception | None = None
        self.checked: list[float] = []
        self.sweeper = Sweeper(
            self.generations, self.viewers, self.followers, settings, check_log=self.checked.append, settle=self.settle
        )

    async def settle(self) -> None:
        self.settlements += 1
        if self.settle_error is not None:
            raise self.settle_error

    def viewer(self, sink: MemorySink, *, now: float = 0.0, next_seq: int = 1) -> Viewer:
        channel = channel_of(Start("s", "m", 0))
        viewer = Viewer(
            channel,
            PlainEncoder(channel),
            sink,
            log=self.log,
            next_seq=next_seq,
            now=now,
            on_closed=self.viewers.discard,
        )
        self.viewers.add(viewer)
        viewer.start(None)
        viewer.last_write = now
        return viewer


@pytest.fixture
async def swept() -> AsyncIterator[Swept]:
    async with Swept() as swept:
        yield swept


async def test_a_quiet_viewer_gets_a_heartbeat_before_it_is_due(swept: Swept) -> None:
    """60 s load balancers kill thinking models (litellm #34374, #31865; bifrost #5010, #5212; vllm #47647)."""
    sink = MemorySink()
    swept.viewer(sink, now=100.0)
    swept.sweeper.sweep(114.0)
    assert sink.words == []
    swept.sweeper.sweep(116.0)
    assert sink.words == ["!hb"]
    swept.sweeper.sweep(117.0)
    assert sink.words == ["!hb"]
    swept.sweeper.sweep(132.0)
    assert sink.words == ["!hb", "!hb"]


async def test_an_event_counts_as_a_heartbeat(swept: Swept) -> None:
    sink = MemorySink()
    viewer = swept.viewer(sink, now=100.0)
    viewer.channel.viewers.append(viewer)
    publish(viewer.channel, Text("a"), now=115.0)
    swept.sweeper.sweep(120.0)
    assert sink.words == []


async def test_who_catches_up_gets_events_not_heartbeats(swept: Swept) -> None:
    sink = MemorySink(budget=0)
    viewer = swept.viewer(sink, now=100.0, next_seq=0)
    sink._budget = None  # it became writable, and has not said so yet
    swept.sweeper.sweep(200.0)
    assert viewer.catching_up
    assert sink.words == []


async def test_heartbeats_to_a_crowd_are_spread(swept: Swept) -> None:
    """Ten thousand viewers that came in one second must not stall the loop in one second either."""
    sinks = [MemorySink() for _ in range(SMALLEST_HEARTBEAT_BATCH + 10)]
    for sink in sinks:
        swept.viewer(sink, now=100.0)
    swept.sweeper.sweep(116.0)
    assert sum(len(sink.words) for sink in sinks) == SMALLEST_HEARTBEAT_BATCH
    swept.sweeper.sweep(116.2)
    assert [sink.words for sink in sinks] == [["!hb"]] * len(sinks)


async def test_a_frozen_socket_is_cut_once_its_time_is_over(swept: Swept) -> None:
    """A frozen client hangs the sender (sse-starlette #89, PR #208)."""
    sink, fine = MemorySink(budget=0), MemorySink()
    viewer = swept.viewer(sink, now=100.0)
    swept.viewer(fine, now=100.0)
    swept.sweeper.sweep(101.0)
    swept.sweeper.sweep(130.9)
    assert not sink.aborted
    swept.sweeper.sweep(131.0)
    assert sink.aborted
    assert viewer.closed
    assert viewer not in swept.viewers
    assert len(swept.viewers) == 1
    swept.sweeper.sweep(200.0)


async def test_a_slow_reader_that_reads_is_not_cut(swept: Swept) -> None:
    """Its sink is full at every sweep, yet it took something in between."""
    sink = MemorySink(budget=0)
    viewer = swept.viewer(sink, now=100.0, next_seq=0)
    for tick in range(1, 20):
        swept.sweeper.sweep(100.0 + 10 * tick)
        publish(viewer.channel, Text("a"))
        sink.open_up(budget=1)
        assert not sink.writable
    assert not sink.aborted
    assert "a" in sink.text


async def test_a_sink_that_takes_again_starts_anew(swept: Swept) -> None:
    sink = MemorySink(budget=0)
    swept.viewer(sink, now=100.0)
    swept.sweeper.sweep(101.0)
    sink._budget = 1
    swept.sweeper.sweep(120.0)
    sink._budget = 0
    swept.sweeper.sweep(121.0)
    swept.sweeper.sweep(140.0)
    assert not sink.aborted


class Leaves(MemorySink):
    def write(self, data: bytes) -> None:
        super().write(data)
        if data == PlainEncoder.heartbeat:
            self.leave()

    leave = staticmethod(lambda: None)


async def test_a_peer_that_goes_during_the_sweep_is_no_trouble(swept: Swept) -> None:
    viewers = []
    for _ in range(5):
        sink = Leaves()
        viewers.append(swept.viewer(sink, now=100.0))
    for viewer, neighbour in zip(viewers, viewers[1:] + viewers[:1], strict=True):
        assert isinstance(viewer.sink, Leaves)
        viewer.sink.leave = neighbour.close  # type: ignore[method-assign]
    swept.sweeper.sweep(200.0)
    assert len(swept.viewers) < 5


async def test_generations_are_swept(swept: Swept) -> None:
    generation = await swept.create(Script(), linger_s=3.0)
    swept.sweeper.sweep(swept.now + 4)
    assert (await generation.channel.wait_end()).reason == "cancelled"


async def test_followers_without_an_audience_are_swept(swept: Swept) -> None:
    await fill(swept.log, "s", [])
    follower = Follower(channel_of(Start("s", "m", 0)), swept.log, lambda: swept.followers.clear())
    swept.followers["s"] = follower
    swept.sweeper.sweep(100.0)
    swept.sweeper.sweep(100.0 + UNWATCHED_S)
    await eventually(lambda: not swept.followers)


@pytest.mark.parametrize(
    ("settings", "tick_s"),
    [
        (StreamSettings(), 0.25),
        (StreamSettings(idle_timeout_s=0.4), 0.1),
        (StreamSettings(send_timeout_s=0.001), 0.01),
        (StreamSettings(heartbeat_s=0.2, total_timeout_s=0.1), 0.025),
    ],
)
async def test_the_sweep_is_as_frequent_as_the_shortest_time_out_needs(settings: StreamSettings, tick_s: float) -> None:
    assert Swept(settings).sweeper._tick_s() == pytest.approx(tick_s)


async def test_it_runs_until_it_is_stopped() -> None:
    async with Swept(StreamSettings(heartbeat_s=0.01)) as swept:
        sink = MemorySink()
        swept.viewer(sink, now=swept.now)
        swept.sweeper.start()
        await eventually(lambda: len(sink.words) >= 3)
        await swept.sweeper.stop()
        before = len(sink.words)
        swept.sweeper._tasks = []
        await swept.sweeper.stop()
        assert len(sink.words) == before


class Broken(MemorySink):
    faults = 0

    @property
    def writable(self) -> bool:
        type(self).faults += 1
        raise RuntimeError("a bug")


async def test_a_sweep_that_fails_is_not_the_last(caplog: pytest.LogCaptureFixture) -> None:
    async with Swept(StreamSettings(heartbeat_s=0.01)) as swept:
        viewer = swept.viewer(MemorySink(), now=swept.now)
        viewer.sink = Broken()
        swept.sweeper.start()
        await eventually(lambda: Broken.faults >= 2)
        await swept.sweeper.stop()
        assert "a sweep failed" in caplog.text


async def test_what_the_log_lost_is_settled_again_and_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("headwater.streams.sweeper.SETTLE_INTERVAL_S", 0.001)
    async with Swept() as swept:
        swept.sweeper.start()
        await asyncio.sleep(0.01)
        assert swept.settlements == 0
        swept.settle_error = RuntimeError("a bug")
        swept.generations.unsettled["s"] = await swept.create(Script())
        await eventually(lambda: swept.settlements >= 3)
        await swept.sweeper.stop()
        assert "could not be settled" in caplog.text


# ------------------------------------------------------------------ silence


IDLE = StreamSettings(
    heartbeat_s=20.0, connection_timeout_s=100.0, idle_timeout_s=60.0, first_token_timeout_s=70.0, queue_timeout_s=30.0
)


def swept_over(swept: Swept, times: list[float]) -> None:
    for now in times:
        swept.sweeper.sweep(now)


async def test_a_viewer_that_is_told_nothing_for_long_is_sent_to_come_back() -> None:
    async with Swept(IDLE) as swept:
        sink = MemorySink()
        viewer = swept.viewer(sink)
        swept_over(swept, [20.0 * step for step in range(1, 5)])
        assert sink.words == ["!hb"] * 4
        viewer.deliver(1, [Text("a")], {}, 85.0)  # and it begins anew
        publish(viewer.channel, Text("a"))
        swept_over(swept, [20.0 * step + 85.0 for step in range(1, 5)])
        assert not viewer.closed
        swept_over(swept, [185.0])
        assert (viewer.closed, viewer.parting, sink.finished) == (True, "sent_away", True)
        assert sink.words[-1].startswith("retry:")


@pytest.mark.parametrize(
    ("settings", "stays"),
    [
        (StreamSettings(heartbeat_s=20.0, connection_timeout_s=0.0), 100_000.0),
        # A model that may think for an hour does not lose its audience after minutes.
        (StreamSettings(heartbeat_s=20.0, connection_timeout_s=100.0, idle_timeout_s=3600.0), 3599.0),
        (StreamSettings(heartbeat_s=20.0, connection_timeout_s=100.0, first_token_timeout_s=900.0), 899.0),
    ],
)
async def test_silence_that_is_allowed_ends_nothing(settings: StreamSettings, stays: float) -> None:
    async with Swept(settings) as swept:
        viewer = swept.viewer(MemorySink())
        swept_over(swept, [50.0, stays])
        assert not viewer.closed

"""The monitor: seconds, minutes, restarts, and questions about all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from headwater.events import Text
from headwater.logs.memory import MemoryLog
from headwater.streams import Hub, NewStream
from headwater.telemetry import Alert, History, Monitor, ProviderState, TelemetrySettings
from headwater.telemetry.bucket import OTHER, Bucket, encode_bucket
from headwater.telemetry.windows import MINUTE_MS, Row
from tests.unit.streams.kit import eventually
from tests.unit.streams.virtual_time import run_virtual

from .kit import SETTINGS, Steps

NOON_MS = 1_800_000_000_000 // MINUTE_MS * MINUTE_MS


class World:
    """A monitor whose wall clock is the test's."""

    def __init__(self, path: Path | None = None, *, now_ms: int = NOON_MS, **settings: float) -> None:
        self.now_ms = now_ms
        self.providers: list[ProviderState] = [ProviderState("a")]
        self.history = History(path)
        self.monitor = Monitor(
            TelemetrySettings(**settings),  # type: ignore[arg-type]
            self.history,
            providers=self._states,
            clock_ms=lambda: self.now_ms,
        )
        self.hub = Hub(MemoryLog(), SETTINGS, observer=self.monitor.recorder, clock_ms=lambda: self.now_ms)

    def _states(self) -> Sequence[ProviderState]:
        return self.providers

    async def __aenter__(self) -> World:
        await self.monitor.open(self.hub)
        await self.hub.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.hub.shutdown(0)
        await self.monitor.close()

    async def say(self, *words: str) -> None:
        channel, _ = await self.hub.create(NewStream(), Steps(*[(0, [Text(word)]) for word in words]))
        await channel.wait_end()
        await eventually(lambda: not self.monitor.recorder.streams)

    async def pass_s(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now_ms += 1000
            await self.monitor.roll()


async def test_a_window_holds_what_happened_in_it() -> None:
    async with World() as world:
        await world.say("a", "b")
        await world.pass_s(10)
        await world.say("c")
        await world.pass_s(1)
        assert (await world.monitor.summary(60)).totals.chunks == 3
        assert (await world.monitor.summary(5)).totals.chunks == 1
        assert (await world.monitor.summary(3600)).totals.done == 2
        now = (await world.monitor.summary(60)).now
    assert (now.streams.active, now.streams.limit, now.viewers.limit) == (
        0, SETTINGS.max_streams, SETTINGS.max_connections,
    )  # fmt: skip


async def test_what_the_process_takes_is_measured() -> None:
    async with World() as world:
        sum(range(1_000_000))
        await world.pass_s(2)
        summary = await world.monitor.summary(60)
        series = await world.monitor.series(["cpu_cores", "memory_bytes"], window_s=60, step_s=60)
    assert summary.rates.cpu_cores
    assert summary.now.memory_bytes > 10_000_000
    cores, memory = (one.values["value"][-1] for one in series.data)
    assert cores
    assert memory
    assert memory > 10_000_000


async def test_series_by_the_second_and_by_the_minute() -> None:
    async with World() as world:
        await world.say("a", "b")
        await world.pass_s(61)
        await world.say("c")
        await world.pass_s(1)
        seconds = await world.monitor.series(["done"], window_s=120, step_s=1)
        minutes = await world.monitor.series(["done"], window_s=3600, step_s=60)
    values = seconds.data[0].values["value"]
    assert (len(values), sum(value or 0 for value in values)) == (120, 2)
    assert seconds.times[-1] == world.now_ms // 1000
    assert values[-1] == 1
    values = minutes.data[0].values["value"]
    assert (len(values), values[:58], values[58:]) == (60, [None] * 58, [1, 1])
    assert [time % 60 for time in minutes.times] == [0] * 60


async def test_a_restart_keeps_the_history(tmp_path: Path) -> None:
    path = tmp_path / "metrics.sqlite3"
    async with World(path) as before:
        await before.say("a", "b")
        await before.pass_s(70)
        await before.say("c")
    # Within the same minute, as after an upgrade.
    async with World(path, now_ms=before.now_ms + 5000) as after:
        await after.say("d", "e", "f")
        await after.pass_s(1)
        told = await after.monitor.summary(3600)
        assert (told.totals.chunks, told.totals.done) == (6, 3)
        assert (await after.monitor.summary(60)).totals.chunks == 3
        series = await after.monitor.series(["done"], window_s=600, step_s=60)
        assert [value for value in series.data[0].values["value"] if value] == [1, 2]


async def test_a_killed_process_loses_a_minute_at_most(tmp_path: Path) -> None:
    path = tmp_path / "metrics.sqlite3"
    killed = World(path)
    async with killed:
        await killed.say("a")
        await killed.pass_s(61)
        await killed.say("b")
        # What a SIGKILL leaves on disk: nothing of the minute under way.
        rows = await killed.history.read(0)
    assert [row.minute_ms for row in rows] == [NOON_MS]


async def test_beyond_a_day_the_disk_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "metrics.sqlite3"
    history = History(path)
    days = [1, 2, 29, 31]
    for day in days:
        bucket = Bucket(covered_s=60.0)
        bucket.counts.done = day
        await history.save(Row(NOON_MS - day * 86_400_000 + MINUTE_MS, encode_bucket(bucket)), prune_before_ms=0)
    await history.close()
    async with World(path) as world:
        await world.pass_s(1)
        assert (await world.monitor.summary(86_400)).totals.done == 1
        assert (await world.monitor.summary(3 * 86_400)).totals.done == 3
        assert (await world.monitor.summary(30 * 86_400)).totals.done == 32
        series = await world.monitor.series(["done"], window_s=30 * 86_400, step_s=86_400)
        assert sorted(value for value in series.data[0].values["value"] if value) == [1, 2, 29]
        await world.pass_s(60)
        oldest, *_ = await world.history.read(0)
        assert oldest.minute_ms > NOON_MS - 30 * 86_400_000


async def test_drops_are_counted_over_an_hour_and_over_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "metrics.sqlite3"
    async with World(path, alert_drops_per_hour=4) as before:
        before.monitor.recorder.bucket.counts.drops = 3
        await before.pass_s(61)
        before.monitor.recorder.bucket.counts.drops = 1
        await before.pass_s(1)
        assert await before.monitor._drops(before.now_ms) == 4
    async with World(path, now_ms=before.now_ms + 1000, alert_drops_per_hour=4) as after:
        told: list[Alert] = []
        after.monitor.on_alert = told.append
        after.monitor.recorder.bucket.counts.drops = 1
        await after.pass_s(1)
        await after.monitor.judge()
        await after.monitor.judge()
        assert [(alert.name, alert.value, alert.ended_at) for alert in told] == [("connection_drops", 5, None)]
        after.now_ms += 3_700_000
        await after.monitor.judge()
        await after.monitor.judge()
        assert [alert.end_reason for alert in told] == [None, "recovered"]
    async with World(alert_drops_per_hour=0) as off:
        assert await off.monitor._drops(off.now_ms) is None


async def test_alerts_are_told_to_the_operator_once(caplog: pytest.LogCaptureFixture) -> None:
    async with World() as world:
        world.providers = [ProviderState("a", "open")]
        for _ in range(4):
            await world.monitor.judge()
        world.providers = [ProviderState("a")]
        for _ in range(4):
            await world.monitor.judge()
    told = [record.message for record in caplog.records if record.name.endswith("monitor")]
    assert told == [
        "alert provider_down: a: 100% of its calls fail; the threshold is 50%",
        "alert provider_down is over (unknown): a: 100% of its calls fail; the threshold is 50%",
    ]


def test_it_measures_by_itself() -> None:
    """In a loop whose time jumps: a minute of it, with a stream in its middle."""

    async def work() -> None:
        world = World()
        started_s = asyncio.get_running_loop().time()
        world.monitor._clock_ms = lambda: NOON_MS + round(asyncio.get_running_loop().time() * 1000)
        async with world:
            await asyncio.sleep(20)
            channel, _ = await world.hub.create(NewStream(), Steps((1.0, [Text("a")]), (2.0, [Text("b")])))
            await channel.wait_end()
            await asyncio.sleep(30)
            told = await world.monitor.summary(300)
            elapsed_s = asyncio.get_running_loop().time() - started_s
            assert told.covered_s == pytest.approx(elapsed_s, abs=1.5)
            assert (told.totals.chunks, told.totals.done) == (2, 1)
            assert told.durations.first_token.p50 == pytest.approx(1000, rel=0.011)
            assert told.durations.chunk_gap.max == pytest.approx(2000, rel=0.001)
            timeline = world.monitor.timeline(channel.id)
            assert timeline is not None
            # Looked at every quarter of a second: in its own bucket, or in the next.
            first, second = [place for place, count in enumerate(timeline.counts) if count]
            assert (first in (4, 5), second in (12, 13)) == (True, True)

    run_virtual(work())


async def test_one_bad_second_is_not_the_last(caplog: pytest.LogCaptureFixture) -> None:
    async with World() as world:
        sample, failures = world.monitor.recorder.sample, 1

        def broken() -> None:
            nonlocal failures
            if failures:
                failures -= 1
                raise RuntimeError("once")
            sample()

        world.monitor.recorder.sample = broken  # type: ignore[method-assign]
        await world.say("a")
        await eventually(lambda: failures == 0)
        world.now_ms += 1000
        await eventually(lambda: world.monitor._windows.seconds(0))
    assert "measuring failed" in caplog.text


async def test_closing_twice_is_closing_once() -> None:
    async with World() as world:
        await world.monitor.close()
    with pytest.raises(RuntimeError, match="not open"):
        World().monitor.now()


async def test_a_snapshot_is_of_everything_since_the_start(tmp_path: Path) -> None:
    async with World(tmp_path / "metrics.sqlite3", metrics_max_labels=1) as world:
        monitor = world.monitor
        assert (monitor.snapshot().error_rate, monitor.snapshot().mean_gap_s, monitor.snapshot().disk) == (None,) * 3
        await world.say("a", "b")
        await world.pass_s(400)
        await world.say("c")
        monitor.recorder.bucket.fail("x")
        monitor.recorder.bucket.fail("y")
        await world.pass_s(1)
        told = monitor.snapshot()
        assert (told.whole.counts.chunks, told.whole.counts.done, told.error_rate) == (3, 2, 0.0)
        assert told.whole.reasons == {"x": 1, OTHER: 1}
        assert (told.log_failing, told.log_lag_s) == (False, 0.0)


async def test_the_disk_is_looked_at_and_may_be_gone(tmp_path: Path) -> None:
    async with World() as world:
        world.monitor._disk_path = tmp_path
        await world.monitor._look_at_disk()
        disk = world.monitor.snapshot().disk
        assert disk is not None
        assert 0 < disk.free_bytes <= disk.size_bytes
        world.monitor._disk_path = tmp_path / "gone"
        await world.monitor._look_at_disk()
        assert world.monitor.snapshot().disk is None


async def test_a_commit_that_hangs_is_seen() -> None:
    async with World() as world:
        hub = world.hub
        world.monitor._look_at_log()
        hub._committer._in_flight_since = asyncio.get_running_loop().time() - 2.0
        assert hub.log_lag_s >= 2.0
        world.monitor._look_at_log()
        hub._committer._in_flight_since = 0.0
        world.monitor._look_at_log()
        await world.pass_s(1)
        assert world.monitor._windows.seconds(0)[-1].bucket.peaks.log_lag_ms >= 2000
        await world.pass_s(1)
        assert world.monitor._windows.seconds(0)[-1].bucket.peaks.log_lag_ms == 0
        assert world.monitor.snapshot().log_lag_s >= 2.0
        await world.pass_s(61)
        assert world.monitor.snapshot().log_lag_s == 0.0


async def test_a_streams_figures_are_had_while_it_runs_when_it_ended_and_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "metrics.sqlite3"
    async with World(path) as world:
        channel, _ = await world.hub.create(NewStream(), Steps((0, [Text("a")]), (0.05, [Text("bc")])))
        assert (await world.monitor.recorded(channel.id)) is not None
        await channel.wait_end()
        await eventually(lambda: not world.monitor.recorder.streams)
        told = await world.monitor.recorded(channel.id)
        assert told is not None
        assert (told.outcome, told.between(0, 1e15).slot.text_bytes) == ("done", 3)
        await world.pass_s(61)
        assert world.monitor.recorder.unsaved == {}
    async with World(path) as again:
        assert await again.monitor.recorded(channel.id) == told
        assert await again.monitor.recorded("unknown") is None


async def test_many_ended_streams_do_not_wait_for_the_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.telemetry.monitor.UNSAVED_STREAMS", 2)
    async with World(tmp_path / "metrics.sqlite3") as world:
        await world.say("a")
        await world.pass_s(1)
        assert len(world.monitor.recorder.unsaved) == 1
        await world.say("b")
        await world.pass_s(1)
        assert world.monitor.recorder.unsaved == {}


async def test_none_are_kept_where_none_shall_be(tmp_path: Path) -> None:
    async with World(tmp_path / "metrics.sqlite3", metrics_keep_streams=0) as world:
        await world.say("a")
        [stream] = world.monitor.recorder.unsaved
        await world.pass_s(61)
        assert await world.history.read_stream(stream) is None

"""The monitor of a process: samples, rolls the windows, keeps the minutes, evaluates alerts, answers questions."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from ..streams.hub import Hub
from .alerts import Alert, Alerts, Beside
from .bucket import Bucket
from .figures import Disk, Now, ProviderState, StreamsNow, Summary, ViewersNow, share, summarize
from .history import History
from .process import ProcessUse, memory_bytes
from .recorder import Recorder
from .series import TimeSeries, series_of
from .settings import TelemetrySettings
from .snapshot import Snapshot
from .timeline import Timeline
from .track import Recorded
from .windows import MINUTE_MS, MINUTES_HELD, SECONDS_HELD, Piece, Row, Windows, merged, pieces_of, stepped

SAMPLE_S = 0.25
HOUR_MS = 3_600_000
# Of seconds, merged in one go.
PIECES_AT_ONCE = 20
# Ended streams that wait for the minute's end to be kept; with more they are kept at once.
UNSAVED_STREAMS = 500
# From here on decoding and merging is worth a thread: some 0.3 ms a busy minute.
MINUTES_AT_ONCE = 10

_logger = logging.getLogger(__name__)


T = TypeVar("T")


class Monitor:
    """Make it in the loop that it works in, give its `recorder` to the hub, `open` it with that, `close` it before.

    `providers`: how the configured ones are now. `disk`: a path on the file system that the data are on.
    `on_alert`: is told of each alert that begins or ends, and returns at once.
    """

    def __init__(
        self,
        settings: TelemetrySettings,
        history: History,
        *,
        providers: Callable[[], Sequence[ProviderState]],
        disk: Path | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.settings = settings
        self.recorder = Recorder(asyncio.get_running_loop().time, clock_ms, max_labels=settings.metrics_max_labels)
        self.alerts = Alerts(settings)
        self._history = history
        self._providers = providers
        self._clock_ms = clock_ms
        self.on_alert: Callable[[Alert], None] | None = None
        self._disk_path = disk
        self._disk: Disk | None = None
        self._windows = Windows()
        self._process = ProcessUse()
        self._whole = Bucket()
        self._log_lag_s = 0.0
        self._hub: Hub | None = None
        self._task: asyncio.Task[None] | None = None
        self._saving: Mapping[str, Recorded] = {}

    async def open(self, hub: Hub) -> None:
        """Begin, after what an earlier process has kept."""
        self._hub = hub
        now_ms = self._clock_ms()
        self._windows.begin_with(await self._history.read(now_ms - MINUTES_HELD * MINUTE_MS), now_ms)
        await self._look_at_disk()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="headwater-monitor")

    async def close(self) -> None:
        """Keep what is measured so far, and stop. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))
            await self.roll()
            if (row := self._windows.current_row()) is not None:
                await self._history.save(row, prune_before_ms=self._prune_before_ms)
            await self._save_streams()
        await self._history.close()

    # ------------------------------------------------------------------ measuring

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        rolled = judged = loop.time()
        while True:
            await asyncio.sleep(SAMPLE_S)
            try:
                now = loop.time()
                self._look_at_log()
                if now - rolled >= 1.0:
                    # Not `now`, or each second would be a sample longer.
                    rolled = max(rolled + 1.0, now - 1.0)
                    await self.roll()
                else:
                    self.recorder.sample()
                if now - judged >= self.settings.alert_every_s:
                    judged = now
                    await self._look_at_disk()
                    await self.judge()
            except Exception:
                # One bad second must not be the last one that is measured.
                _logger.exception("measuring failed")

    async def roll(self) -> None:
        """A second is over."""
        for _ in self.recorder.sweep():
            await asyncio.sleep(0)
        bucket = self.recorder.take(0 if self._hub is None else self._hub.queued)
        bucket.counts.cpu_ms = self._process.take_cpu_ms()
        bucket.peaks.memory_bytes = memory_bytes()
        bucket.peaks.log_lag_ms, self._log_lag_s = round(self._log_lag_s * 1000), 0.0
        self._whole.merge(bucket, names=self.settings.metrics_max_labels)
        closed = self._windows.push(self._clock_ms(), bucket)
        if closed is not None:
            await self._history.save(closed, prune_before_ms=self._prune_before_ms)
        if closed is not None or len(self.recorder.unsaved) >= UNSAVED_STREAMS:
            await self._save_streams()

    async def _save_streams(self) -> None:
        recorder, keep = self.recorder, self.settings.metrics_keep_streams
        streams, recorder.unsaved = recorder.unsaved, {}
        if streams and keep:
            self._saving = streams
            await self._history.save_streams(streams, keep=keep, prune_before_ms=self._prune_before_ms)
            self._saving = {}

    def _look_at_log(self) -> None:
        if self._hub is not None:
            self._log_lag_s = max(self._log_lag_s, self._hub.log_lag_s)

    async def _look_at_disk(self) -> None:
        """In a thread: a file system of another machine may not answer."""
        path = self._disk_path
        if path is not None:
            try:
                usage = await asyncio.to_thread(shutil.disk_usage, path)
            except OSError:
                self._disk = None
            else:
                self._disk = Disk(usage.total, usage.free)

    @property
    def _prune_before_ms(self) -> int:
        return self._clock_ms() - int(self.settings.metrics_keep_s * 1000)

    async def judge(self) -> None:
        """Evaluate the alerts, and tell the operator, and who wants to know besides, what has changed."""
        now_ms = self._clock_ms()
        window = await _merged(self._windows.seconds(now_ms - self.settings.alert_window_s * 1000))
        beside = Beside(self._providers(), await self._drops(now_ms), self._disk)
        for alert in self.alerts.evaluate(window, beside, at_ms=now_ms):
            if alert.ended_at is None:
                _logger.warning("alert %s: %s", alert.name, alert.message)
            else:
                _logger.warning("alert %s is over (%s): %s", alert.name, alert.end_reason, alert.message)
            if self.on_alert is not None:
                self.on_alert(alert)

    async def _drops(self, now_ms: int) -> int | None:
        """Within the last hour, to the minute; an earlier process' part is in it."""
        if not self.settings.alert_drops_per_hour:
            return None
        rows = self._windows.rows(now_ms - HOUR_MS)
        return await _aside(len(rows), lambda: sum(piece.bucket.counts.drops for piece in pieces_of(rows)))

    # ------------------------------------------------------------------ answering

    def now(self) -> Now:
        """Streams and viewers against their limits."""
        recorder, hub = self.recorder, self._hub
        if hub is None:
            raise RuntimeError("the monitor is not open")
        settings = hub.settings
        return Now(
            StreamsNow(recorder.streams, settings.max_streams, hub.queued, settings.max_queued, recorder.states()),
            ViewersNow(recorder.viewers, settings.max_connections),
            memory_bytes(),
            self._disk,
        )

    def snapshot(self) -> Snapshot:
        """What a scrape reads: everything since the process began, to within a second."""
        hub = self._hub
        now = self.now()
        recent = self._windows.seconds(self._clock_ms() - SECONDS_HELD * 1000)
        gaps = [piece.bucket.timings.chunk_gap for piece in recent]
        gap_count = sum(gap.count for gap in gaps)
        ended = sum(piece.bucket.counts.done + piece.bucket.counts.failed for piece in recent)
        return Snapshot(
            whole=self._whole,
            calls=self.recorder.calls,
            now=now,
            providers=self._providers(),
            alerts=self.alerts.firing,
            mean_gap_s=sum(gap.total for gap in gaps) / gap_count if gap_count else None,
            error_rate=share(sum(piece.bucket.counts.failed for piece in recent), ended),
            log_failing=hub is not None and hub.log_failing,
            log_lag_s=self._recent_lag_s(recent),
            disk=self._disk,
        )

    def _recent_lag_s(self, recent: Sequence[Piece]) -> float:
        """Of the last minute, that under way included: a scrape hardly ever meets the commit that is slow."""
        since_ms = self._clock_ms() - MINUTE_MS
        longest_ms = max((one.bucket.peaks.log_lag_ms for one in recent if one.start_ms >= since_ms), default=0)
        return max(longest_ms / 1000, self._log_lag_s, 0.0 if self._hub is None else self._hub.log_lag_s)

    def timeline(self, stream: str) -> Timeline | None:
        """Of a stream that is produced here, or was lately."""
        self.recorder.sample()
        return self.recorder.timeline(stream)

    async def recorded(self, stream: str) -> Recorded | None:
        """One stream's figures over time: of one that is produced here, or that ended and is kept."""
        self.recorder.sample()
        found = self.recorder.recorded(stream) or self.recorder.unsaved.get(stream) or self._saving.get(stream)
        return found or await self._history.read_stream(stream)

    async def summary(self, window_s: int) -> Summary:
        """Of the last `window_s` seconds: by the second up to five minutes, above that by the minute."""
        now_ms = self._clock_ms()
        since_ms = now_ms - window_s * 1000
        if window_s <= SECONDS_HELD:
            whole = await _merged(self._windows.seconds(since_ms))
        else:
            rows = await self._rows(since_ms)
            whole = await _aside(len(rows), lambda: merged(pieces_of(rows)))
        return summarize(whole, at_ms=now_ms, window_s=window_s, now=self.now(), providers=self._providers())

    async def series(self, names: Sequence[str], *, window_s: int, step_s: int) -> TimeSeries:
        """Steps are aligned, so that the same instant is in the same step whenever it is asked for.

        `step_s` is whole minutes above five minutes. Raises `KeyError` for an unknown name.
        """
        now_ms = self._clock_ms()
        step_ms = step_s * 1000
        count = -(-window_s // step_s)
        start_ms = (now_ms // step_ms - count + 1) * step_ms
        rows = [] if window_s <= SECONDS_HELD else await self._rows(start_ms)
        seconds = self._windows.seconds(start_ms) if window_s <= SECONDS_HELD else []

        def work() -> TimeSeries:
            pieces: list[Piece] = seconds or list(pieces_of(rows))
            steps = stepped(pieces, start_ms=start_ms, step_ms=step_ms, count=count)
            return series_of(steps, names, at_ms=now_ms, start_ms=start_ms, window_s=window_s, step_s=step_s)

        return await _aside(len(rows), work)

    async def _rows(self, since_ms: int) -> list[Row]:
        """From the disk what is older than the last day."""
        rows = self._windows.rows(since_ms)
        # A day to the minute in which it began is still in memory.
        if since_ms >= self._clock_ms() - (MINUTES_HELD + 1) * MINUTE_MS:
            return rows
        first_ms = rows[0].minute_ms if rows else None
        older = await self._history.read(since_ms)
        return [row for row in older if first_ms is None or row.minute_ms < first_ms] + rows


async def _merged(pieces: Sequence[Piece]) -> Bucket:
    """In slices, between which the loop serves others: five busy minutes by the second take 15 ms."""
    whole = Bucket()
    for start in range(0, len(pieces), PIECES_AT_ONCE):
        whole.merge(merged(pieces[start : start + PIECES_AT_ONCE]))
        await asyncio.sleep(0)
    return whole


async def _aside(minutes: int, work: Callable[[], T]) -> T:
    """In a thread where there is much to decode and merge."""
    return work() if minutes <= MINUTES_AT_ONCE else await asyncio.to_thread(work)

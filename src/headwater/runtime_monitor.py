"""The monitor's part of the composition: what counts, where its minutes are kept, and the stream of its figures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple

from .config import Settings
from .routing import Registry
from .runtime_identity import part_of
from .server.figures_feed import FiguresFeed
from .server.routes_monitor import read_figures
from .streams import Hub, Observer
from .telemetry import FILE_NAME, History, Monitor, ProviderState, TelemetrySettings


class Monitoring(NamedTuple):
    monitor: Monitor
    feed: FiguresFeed


def make_monitor(
    settings: Settings, registry: Registry, *, keeps: bool
) -> tuple[Monitor, Observer] | tuple[None, None]:
    """With what the hub is to tell; None where nothing is to be counted. `keeps`: whether there is a data directory."""
    own = part_of(settings, TelemetrySettings)
    if not own.metrics:
        return None, None
    monitor = Monitor(
        own,
        History(settings.data_dir / FILE_NAME if keeps else None),
        providers=lambda: [ProviderState(*health) for health in registry.health()],
        disk=settings.data_dir if keeps else None,
    )
    return monitor, monitor.recorder


@asynccontextmanager
async def open_monitoring(monitor: Monitor | None, hub: Hub) -> AsyncIterator[Monitoring | None]:
    """Measure the hub, which has the monitor's recorder and is started later. Nothing without a monitor."""
    if monitor is None:
        yield None
        return
    try:
        await monitor.open(hub)
        feed = FiguresFeed(hub, partial(read_figures, monitor))
        await feed.open()
        try:
            yield Monitoring(monitor, feed)
        finally:
            await feed.close()
    finally:
        await monitor.close()

"""The monitor's part of the composition: what counts, where its minutes are kept, and the stream of its figures."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple

import msgspec

from .config import Settings
from .routing import Registry
from .runtime_identity import part_of
from .server.figures_feed import FiguresFeed
from .server.routes_monitor import read_figures
from .streams import Hub, Observer
from .telemetry import FILE_NAME, Alert, History, Monitor, ProviderState, TelemetrySettings
from .webhooks import Webhook, WebhookSettings


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
async def open_monitoring(settings: Settings, monitor: Monitor | None, hub: Hub) -> AsyncIterator[Monitoring | None]:
    """Measure the hub, which has the monitor's recorder and is started later. Nothing without a monitor.

    Raises `ConfigError` for a webhook that cannot work.
    """
    if monitor is None:
        yield None
        return
    webhook = make_webhook(settings)
    if webhook is not None:
        monitor.on_alert = partial(tell_alert, webhook)
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
        if webhook is not None:
            await webhook.close()


def make_webhook(settings: Settings) -> Webhook | None:
    """None where the settings name no address. Raises `ConfigError`."""
    url = settings.alert_webhook_url.get_secret_value()
    if not url:
        return None
    return Webhook(
        WebhookSettings(
            url=url,
            secret=settings.alert_webhook_secret.get_secret_value(),
            timeout_s=settings.alert_webhook_timeout_s,
            attempts=settings.alert_webhook_attempts,
            private=settings.alert_webhook_private,
        )
    )


def tell_alert(webhook: Webhook, alert: Alert) -> None:
    """The alert as `/v1/alerts` has it, and the name of this machine."""
    kind = "alert.began" if alert.ended_at is None else "alert.ended"
    data = {**msgspec.structs.asdict(alert), "server": socket.gethostname()}
    webhook.send(kind, alert.ended_at or alert.began_at, data)

"""The monitor's part of the composition: what counts, where its minutes are kept, and the stream of its figures."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from .config import Settings
from .errors import ConfigError
from .routing import Registry
from .runtime_identity import part_of
from .server.figures_feed import FiguresFeed
from .server.routes_monitor import read_figures
from .streams import Hub, Observer
from .telemetry import FILE_NAME, Alert, History, Monitor, ProviderState, TelemetrySettings
from .webhooks import Webhook, WebhookSettings

if TYPE_CHECKING:
    from .telemetry.otel import Export
    from .telemetry.recorder import Recorder


class Monitoring(NamedTuple):
    monitor: Monitor
    feed: FiguresFeed


class Made(NamedTuple):
    """`observer`: what the hub is to tell. All None where nothing is to be counted."""

    monitor: Monitor | None
    observer: Observer | None
    export: Export | None


def make_monitor(settings: Settings, registry: Registry, *, keeps: bool) -> Made:
    """`keeps`: whether there is a data directory. Raises `ConfigError` where OpenTelemetry is asked for and missing."""
    own = part_of(settings, TelemetrySettings)
    if not own.metrics:
        return Made(None, None, None)
    monitor = Monitor(
        own,
        History(settings.data_dir / FILE_NAME if keeps else None),
        providers=lambda: [ProviderState(*health) for health in registry.health()],
        disk=settings.data_dir if keeps else None,
    )
    export = _make_export(settings, monitor.recorder) if settings.otlp_endpoint else None
    return Made(monitor, monitor.recorder if export is None else export.observer, export)


def _make_export(settings: Settings, recorder: Recorder) -> Export:
    try:
        from .telemetry.otel import Export
    except ImportError as exc:
        raise ConfigError("otlp_endpoint needs OpenTelemetry: pip install 'headwater[otel]'") from exc
    return Export(
        recorder,
        settings.otlp_endpoint,
        sample=settings.trace_sample,
        interval_s=settings.otlp_interval_s,
        timeout_s=settings.otlp_timeout_s,
    )


@asynccontextmanager
async def open_monitoring(settings: Settings, made: Made, hub: Hub) -> AsyncIterator[Monitoring | None]:
    """Measure the hub, which has the observer and is started later. Nothing without a monitor.

    Raises `ConfigError` for a webhook that cannot work.
    """
    monitor, _, export = made
    if monitor is None:
        yield None
        return
    webhook = make_webhook(settings)
    if webhook is not None:
        monitor.on_alert = partial(tell_alert, webhook)
    try:
        await monitor.open(hub)
        if export is not None:
            export.open()
        feed = FiguresFeed(hub, partial(read_figures, monitor))
        await feed.open()
        try:
            yield Monitoring(monitor, feed)
        finally:
            await feed.close()
    finally:
        await monitor.close()
        if export is not None:
            await export.close()
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

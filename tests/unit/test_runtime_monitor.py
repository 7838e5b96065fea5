"""Alerts on their way out: the settings' webhook, and what it is told."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from headwater.config import load_settings
from headwater.errors import ConfigError
from headwater.runtime import open_runtime
from headwater.runtime_monitor import make_webhook, tell_alert
from headwater.telemetry import Alert
from tests.unit.streams.kit import eventually
from tests.unit.test_webhooks import SECRET, Receiver

LASTS = Alert("disk", "", "share", 0.95, 0.9, "2026-01-01T00:00:00.000Z", None, "full")
OVER = Alert(
    "disk", "", "share", 0.95, 0.9, "2026-01-01T00:00:00.000Z", "2026-01-01T01:00:00.000Z", "full", "recovered"
)


async def test_beginning_and_end_are_told_with_the_machine() -> None:
    async with Receiver().serving() as receiver:
        settings = load_settings(
            alert_webhook_url=receiver.url, alert_webhook_secret=SECRET, alert_webhook_private=True
        )
        webhook = make_webhook(settings)
        assert webhook is not None
        tell_alert(webhook, LASTS)
        tell_alert(webhook, OVER)
        await eventually(lambda: len(receiver.requests) == 2)
        await webhook.close()
    told = sorted((json.loads(body) for _, body in receiver.requests), key=lambda one: one["type"])
    assert [(one["type"], one["timestamp"]) for one in told] == [
        ("alert.began", LASTS.began_at), ("alert.ended", OVER.ended_at),
    ]  # fmt: skip
    assert (told[0]["data"]["name"], told[1]["data"]["end_reason"]) == ("disk", "recovered")
    assert told[0]["data"]["server"]


def test_without_an_address_there_is_none() -> None:
    assert make_webhook(load_settings(alert_webhook_secret=SECRET)) is None


async def test_one_that_cannot_work_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")
    settings = load_settings(data_dir=tmp_path, alert_webhook_url="https://example.com")
    with pytest.raises(ConfigError, match="secret"):
        async with open_runtime(settings):
            pytest.fail("it must not start")
    assert load_settings(alert_webhook_url="https://example.com", metrics=False).warnings() == [
        "alert_webhook_url has no effect without metrics"
    ]


async def test_without_the_extra_a_collector_is_refused_at_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "headwater.telemetry.otel", None)
    settings = load_settings(data_dir=tmp_path, otlp_endpoint="http://127.0.0.1:4318")
    with pytest.raises(ConfigError, match=r"headwater\[otel\]"):
        async with open_runtime(settings):
            pytest.fail("it must not start")
    assert load_settings(otlp_endpoint="http://127.0.0.1:4318", metrics=False).warnings() == [
        "otlp_endpoint has no effect without metrics"
    ]

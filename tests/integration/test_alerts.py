"""A scripted outage: the model's server goes and comes back; the alert begins and ends, and all who listen are told."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from headwater.webhooks import signature_of
from tests.stack import Served, Watcher, begin, viewers_client
from tests.unit.streams.kit import eventually
from tests.unit.test_webhooks import KEY, SECRET, Receiver
from tests.upstream import Upstream, prompt

pytestmark = pytest.mark.timeout(120)

TABLE = """
[providers.house]
type = "openai"
base_url = "{url}"
"""


async def asked(client: httpx.AsyncClient, url: str, **script: Any) -> str:
    stream = await begin(client, url, prompt(**script), model="house/fake-1")
    watcher = Watcher(url, stream)
    await watcher.read_to_end(client)
    return watcher.terminal.event  # type: ignore[union-attr]


async def alerts(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    told: dict[str, Any] = (await client.get(f"{url}/v1/alerts")).json()
    return told


async def changed(client: httpx.AsyncClient, url: str, *, lasts: bool) -> dict[str, Any]:
    """When there is an alert that lasts, or none any more."""
    while True:
        told = await alerts(client, url)
        if bool(told["data"]) is lasts:
            return told
        await asyncio.sleep(0.1)


async def firing(client: httpx.AsyncClient, url: str) -> set[tuple[str, str]]:
    text = (await client.get(f"{url}/metrics")).text
    families = (family for family in parse(text) if family.name == "headwater_alert_firing")
    return {(one.labels["alert"], one.labels["subject"]) for family in families for one in family.samples}


async def test_an_outage_is_told_when_it_begins_and_when_it_is_over(tmp_path: Path) -> None:
    flags = (
        "--config", str(tmp_path / "headwater.toml"), "--alert-every-s", "1", "--alert-window-s", "30",
        "--breaker-failures", "3", "--breaker-open-s", "0.5", "--grace-s", "0",
        # Not what this is about: the share of failures is above its threshold too, and a machine's disk may be full.
        "--alert-error-rate", "0", "--alert-disk-used", "0",
    )  # fmt: skip
    async with Upstream() as upstream, Receiver(500).serving() as receiver, viewers_client() as client:
        (tmp_path / "headwater.toml").write_text(TABLE.format(url=upstream.openai_url))
        hook = {
            "HEADWATER_ALERT_WEBHOOK_URL": receiver.url,
            "HEADWATER_ALERT_WEBHOOK_SECRET": SECRET,
            "HEADWATER_ALERT_WEBHOOK_PRIVATE": "true",
        }
        async with Served(tmp_path, flags=flags, environment=hook) as served:
            assert await asked(client, served.url, tokens=3) == "done"
            assert await firing(client, served.url) == set()
            for number in range(3):
                assert await asked(client, served.url, tokens=3, seed=number, fault="status:503") == "error"
            [alert] = (await changed(client, served.url, lasts=True))["data"]
            assert (alert["name"], alert["subject"], alert["ended_at"]) == ("provider_down", "house", None)
            assert await firing(client, served.url) == {("provider_down", "house")}

            for number in range(10):
                assert await asked(client, served.url, tokens=3, seed=number) == "done"
            [past] = (await changed(client, served.url, lasts=False))["past"]
            assert (past["name"], past["end_reason"]) == ("provider_down", "recovered")
            assert await firing(client, served.url) == set()
            # The first attempt was refused, and the second one is two seconds later.
            await eventually(lambda: len(receiver.requests) == 3, timeout_s=60)
            assert await served.stop() == 0
            log = served.output.read_text()
    kinds = {json.loads(body)["type"] for _, body in receiver.requests}
    assert kinds == {"alert.began", "alert.ended"}
    for headers, body in receiver.requests:
        stamp = int(headers["webhook-timestamp"])
        assert headers["webhook-signature"] == signature_of(KEY, headers["webhook-id"], stamp, body)
        assert json.loads(body)["data"]["subject"] == "house"
    assert "alert provider_down: house: 100% of its calls fail" in log
    assert "alert provider_down is over (recovered)" in log
    assert SECRET not in log


async def test_a_webhook_that_cannot_work_keeps_the_server_from_starting(tmp_path: Path) -> None:
    environment = {"HEADWATER_ALERT_WEBHOOK_URL": "https://hooks.example/very-secret"}
    served = Served(tmp_path, environment=environment)
    with pytest.raises(AssertionError, match="the webhook's secret must be whsec_"):
        await served.start()
    assert "very-secret" not in served.output.read_text()

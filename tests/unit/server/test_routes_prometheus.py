"""Who may scrape."""

from __future__ import annotations

import httpx
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from headwater.server import ServerSettings

from .test_routes_monitor import KEYS, api


async def scrape(settings: ServerSettings, key: str = "", **headers: str) -> httpx.Response:
    async with api(settings, key=key) as it:
        return await it.client.get("/metrics", headers=headers)


@pytest.mark.parametrize(
    ("access", "statuses"),
    [
        ("admin", {"": 401, "user": 403, "admin": 200}),
        ("key", {"": 401, "no": 401, "user": 200, "admin": 200}),
        ("open", {"": 200, "no": 200}),
        ("off", {"admin": 404}),
    ],
)
async def test_the_setting_says_who(access: str, statuses: dict[str, int]) -> None:
    settings = msgspec.structs.replace(KEYS, prometheus_access=access)
    assert {key: (await scrape(settings, key)).status_code for key in statuses} == statuses


async def test_who_is_alone_may_and_no_page_of_a_foreign_name() -> None:
    alone = ServerSettings(single_user=True)
    answer = await scrape(alone)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert {family.name for family in parse(answer.text)} >= {"stream_connections", "headwater_build_info"}
    assert (await scrape(alone, host="attacker.example")).status_code == 403
    # A scraper comes by any name; the operator has said that nothing in it is secret.
    everybody = msgspec.structs.replace(alone, prometheus_access="open")
    assert (await scrape(everybody, host="headwater.internal")).status_code == 200


async def test_the_format_is_the_one_that_is_asked_for() -> None:
    answer = await scrape(ServerSettings(single_user=True), accept="application/openmetrics-text; version=1.0.0")
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")

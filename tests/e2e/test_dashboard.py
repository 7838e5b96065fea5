"""The dashboard: what it shows is what happens, and everybody can use it."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.stack import Served, Watcher, begin, viewers_client
from tests.upstream import Upstream, closed_url, prompt

from .browser import check_accessible, shoot
from .conftest import FLAGS, Visit

TABLES = """
[providers.first]
type = "openai"
base_url = "{first}"
[providers.dead]
type = "openai"
base_url = "{dead}"
[routes.house]
targets = [{{ provider = "dead", model = "fake-1" }}, {{ provider = "first", model = "fake-1" }}]
attempts = 1
[prices."first/fake-1"]
input = 1000.0
output = 2000.0
currency = "EUR"
"""
MODEL = "first/fake-1"

pytestmark = pytest.mark.timeout(180)
FIRST_LOAD_BYTES = 200 * 1024
CHARTS = 16
SOME_OF_ALL, NOT_ALL = re.compile(r"^[1-9]\d*(\.\d)?%$"), re.compile(r"^\d{1,2}(\.\d)?%$")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def measured(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """A server with one provider that works and one that does not."""
    directory = tmp_path_factory.mktemp("measured")
    config = directory / "headwater.toml"
    config.write_text(TABLES.format(first=upstream.openai_url, dead=closed_url()))
    async with Served(directory, flags=("--config", str(config), "--grace-s", "0")) as served:
        yield served


@pytest_asyncio.fixture(loop_scope="session")
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with viewers_client() as made:
        yield made


async def answered(client: httpx.AsyncClient, url: str, model: str = MODEL, **script: Any) -> Watcher:
    watcher = Watcher(url, await begin(client, url, prompt(**script), model=model))
    await watcher.read_to_end(client)
    return watcher


async def opened(visit: Visit, url: str, **options: Any) -> Page:
    page = await (await visit(url, **options)).open("/dashboard")
    await expect(page.get_by_test_id("live-state")).to_have_class("live open")
    return page


def figure(page: Page, name: str) -> Any:
    return page.get_by_test_id(name).locator("strong")


async def test_a_stream_is_seen_to_come_and_go(visit: Visit, measured: Served, client: httpx.AsyncClient) -> None:
    page = await opened(visit, measured.url)
    await expect(figure(page, "active-streams")).to_have_text("0")
    stream = await begin(
        client, measured.url, prompt(tokens=40, delay_ms=30, fault="hang_mid", fault_after=30), model=MODEL
    )
    watcher = Watcher(measured.url, stream)
    # Not so many events: pieces that are there already come as one.
    await watcher.read(client, until=lambda seen: bool(seen.text))
    cursor = watcher.cursor
    assert cursor
    address = f"{measured.url}/v1/streams/{stream}/events"
    async with client.stream("GET", address, headers={"Last-Event-ID": cursor}):
        await expect(figure(page, "active-streams")).to_have_text("1")
        await expect(figure(page, "active-viewers")).to_have_text("1")
        await expect(figure(page, "resumes")).not_to_have_text("0")
        row = page.get_by_test_id("connection")
        await expect(row).to_have_count(1)
        await expect(row).to_contain_text("python-httpx")
        await expect(row).to_contain_text("came back")
        # Which the kernel tells, and which is a dash where it does not.
        await expect(row.locator("td.number").nth(4)).to_contain_text("ms" if sys.platform == "linux" else "–")
        await row.get_by_role("button", name=f"Details of stream {stream}").click()
        dialog = page.get_by_test_id("stream-dialog")
        for kind in ("started", "first_token", "attached", "resumed"):
            await expect(dialog.locator("code", has_text=kind).first).to_be_visible()
        await expect(dialog.get_by_role("img", name="Chunks over time: 30 chunks")).to_be_visible()
        figures = dialog.get_by_test_id("stream-figures")
        await expect(figures).to_contain_text("Chunks30")
        await expect(figures).to_contain_text("Reconnection rate50%")
        await expect(figures).to_contain_text("Dropped connections1")
        await check_accessible(page)
        await shoot(page, "dashboard-stream")
        await client.post(f"{measured.url}/v1/streams/{stream}/cancel")
        await expect(dialog.locator("code", has_text="cancelled")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(dialog).to_have_count(0)
    await expect(figure(page, "active-streams")).to_have_text("0")
    await expect(figure(page, "active-viewers")).to_have_text("0")
    await expect(page.get_by_text("Nobody watches a stream now.")).to_be_visible()
    # One client was cut and came back, and its answer was cancelled; other tests' clients may be of the same minute.
    await expect(figure(page, "drops")).not_to_have_text("0")
    await expect(figure(page, "reconnection-rate")).to_have_text(SOME_OF_ALL)
    await expect(figure(page, "completion-rate")).to_have_text(NOT_ALL)
    await expect(figure(page, "mean-chunk")).not_to_have_text("–")
    if sys.platform == "linux":
        await expect(figure(page, "round-trip")).to_contain_text("ms")
        # Usually none, but a kernel that was kept waiting sends a segment again on the loopback as well.
        told = (await client.get(f"{measured.url}/v1/metrics/summary", params={"window_s": 3600})).json()
        await expect(figure(page, "retransmissions")).to_have_text(str(told["totals"]["retransmissions"]))


async def test_what_went_wrong_is_told_by_reason_provider_and_model(
    visit: Visit, measured: Served, client: httpx.AsyncClient
) -> None:
    for number in range(3):
        await answered(client, measured.url, "house", tokens=10, seed=number)
    broken = await answered(client, measured.url, tokens=10, fault="rst_mid", fault_after=3)
    assert broken.terminal is not None
    reason = broken.terminal.data["reason"]
    page = await opened(visit, measured.url)
    await expect(page.get_by_test_id(f"reason-{reason}")).to_contain_text("1")
    await expect(page.get_by_test_id("provider-dead")).to_contain_text("100%")
    await expect(page.get_by_test_id("provider-first")).to_contain_text("closed")
    await expect(page.get_by_test_id("model-house")).to_contain_text("€")
    await expect(figure(page, "error-rate")).not_to_have_text("0%")
    await expect(figure(page, "memory")).to_contain_text("MB")
    await expect(figure(page, "disk")).to_contain_text("%")
    await shoot(page, "dashboard-failures", whole=True)


@pytest.mark.parametrize(
    ("name", "options", "title"),
    [
        ("dashboard", {}, "Time to first token"),
        ("dashboard-dark", {"color_scheme": "dark"}, "Time to first token"),
        ("dashboard-french", {"locale": "fr-FR"}, "Délai du premier jeton"),
        ("dashboard-phone", {"viewport": {"width": 390, "height": 844}, "has_touch": True}, "Time to first token"),
    ],
)
async def test_everybody_can_read_it(
    visit: Visit, measured: Served, client: httpx.AsyncClient, name: str, options: dict[str, Any], title: str
) -> None:
    await answered(client, measured.url, tokens=10, delay_ms=5)
    page = await opened(visit, measured.url, **options)
    charts = page.get_by_role("img")
    await expect(charts.first).to_be_visible()
    # Each chart says in words what it shows, and shows it as a table, too.
    assert title in (await charts.first.get_attribute("aria-label") or "")
    await expect(page.locator("figure details")).to_have_count(CHARTS)
    await page.locator("figure summary").first.click()
    await expect(page.locator("figure table").first).to_be_visible()
    await check_accessible(page)
    await page.evaluate("scrollTo(0, 0)")
    wider = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wider <= 0
    await shoot(page, name)


async def test_the_day_and_the_hour(visit: Visit, measured: Served, client: httpx.AsyncClient) -> None:
    await answered(client, measured.url, tokens=10)
    page = await opened(visit, measured.url)
    async with page.expect_response(lambda response: "window_s=86400&step_s=900" in response.url) as asked:
        await page.get_by_label("24 hours").check()
    assert (await (await asked.value).json())["step_s"] == 900
    await expect(page.locator("figure")).to_have_count(CHARTS)


async def test_it_comes_back_after_a_restart(visit: Visit, measured: Served) -> None:
    reader = await visit(measured.url)
    reader.expect("Failed to load resource|net::ERR")
    page = await reader.open("/dashboard")
    state = page.get_by_test_id("live-state")
    await expect(state).to_have_class("live open")
    await measured.kill()
    await expect(state).to_have_text("Reconnecting")
    await shoot(page, "dashboard-reconnecting")
    await measured.start()
    await expect(state).to_have_text("Live")


async def test_it_is_for_administrators(
    visit: Visit, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory: Path = tmp_path_factory.mktemp("keyed")
    keys = {"HEADWATER_API_KEYS": "users-key", "HEADWATER_ADMIN_KEYS": "admins-key"}
    async with Served(directory, openai_url=upstream.openai_url, flags=FLAGS, environment=keys) as keyed:
        reader = await visit(keyed.url)
        reader.expect("Failed to load resource")  # also when its server is gone before it is
        page = await reader.open("/dashboard")
        dialog = page.get_by_test_id("key-dialog")
        await dialog.get_by_role("textbox").fill("users-key")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text("Figures are for administrators.")
        await expect(dialog).to_have_count(0)
        await check_accessible(page)
        await shoot(page, "dashboard-refused")
        await page.get_by_role("button", name="Use another key").click()
        await dialog.get_by_role("textbox").fill("admins-key")
        await page.keyboard.press("Enter")
        await expect(page.get_by_test_id("active-streams")).to_be_visible()


async def test_a_server_that_does_not_count_says_so(
    visit: Visit, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> None:
    off = {"HEADWATER_METRICS": "false"}
    directory: Path = tmp_path_factory.mktemp("uncounted")
    async with Served(directory, openai_url=upstream.openai_url, flags=FLAGS, environment=off) as served:
        reader = await visit(served.url)
        reader.expect("Failed to load resource")
        page = await reader.open("/dashboard")
        await expect(page.get_by_role("alert")).to_contain_text("does not count")
        await shoot(page, "dashboard-off")


async def test_it_loads_little_and_asks_nobody_else(visit: Visit, measured: Served) -> None:
    reader = await visit(measured.url)
    page = await reader.open("/dashboard")
    await expect(page.locator("figure")).to_have_count(CHARTS)
    sizes = [(await request.sizes())["responseBodySize"] for request in reader.requests if "/assets/" in request.url]
    assert 0 < sum(sizes) < FIRST_LOAD_BYTES

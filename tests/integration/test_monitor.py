"""The monitor of a real server: every figure against a count of the run's own, over a restart, for administrators."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from headwater.sse import Parser
from headwater.telemetry import Summary
from headwater.telemetry.series import METRICS, TimeSeries
from tests.stack import Served, Watcher, begin, viewers_client
from tests.upstream import Script, Upstream, closed_url, prompt

from .processes import run

pytestmark = pytest.mark.timeout(120)

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
input = 1.0
output = 2.0
currency = "EUR"
"""
DELAY_MS, FIRST_MS = 40, 150


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as running:
        yield running


def configured(path: Path, upstream: Upstream) -> tuple[str, ...]:
    (path / "headwater.toml").write_text(TABLES.format(first=upstream.openai_url, dead=closed_url()))
    return ("--config", str(path / "headwater.toml"), "--grace-s", "0")


class Run:
    """What was done, counted by who did it."""

    def __init__(self, served: Served, client: httpx.AsyncClient) -> None:
        self.served = served
        self.client = client
        self.viewers = 0
        self.frames = 0

    async def watched(self, model: str, *, cuts: int = 0, **script: Any) -> Watcher:
        stream = await begin(self.client, self.served.url, prompt(**script), model=model)
        watcher = Watcher(self.served.url, stream)
        for cut in range(1, cuts + 1):
            await watcher.read(self.client, until=lambda seen, cut=cut: len(seen.text.split()) > 3 * cut)
        await watcher.read_to_end(self.client)
        self.viewers += watcher.connections
        return watcher

    async def summary(self, window_s: int = 300) -> dict[str, Any]:
        answer = await self.client.get(f"{self.served.url}/v1/metrics/summary", params={"window_s": window_s})
        msgspec.json.decode(answer.content, type=Summary)
        told: dict[str, Any] = answer.json()
        return told

    async def settled(self, ended: int) -> dict[str, Any]:
        """When so many streams have ended and the second is over."""
        while True:
            told = await self.summary()
            totals = told["totals"]
            quiet = told["now"]["streams"]["active"] == told["now"]["viewers"]["active"] == 0
            if quiet and totals["done"] + totals["failed"] + totals["cancelled"] == ended:
                return told
            await asyncio.sleep(0.1)


async def test_figures_are_those_of_the_run(tmp_path: Path, upstream: Upstream) -> None:
    flags = configured(tmp_path, upstream)
    async with Served(tmp_path, flags=flags) as served, viewers_client() as client:
        run = Run(served, client)
        slow = {"tokens": 12, "delay_ms": DELAY_MS, "first_delay_ms": FIRST_MS}
        plain = await run.watched("first/fake-1", **slow)
        cut = await run.watched("first/fake-1", cuts=2, seed=5, **slow)
        fallen = await run.watched("house", tokens=9, seed=7)
        broken = await run.watched("first/fake-1", tokens=8, fault="rst_mid", fault_after=3)
        hanging = await begin(
            client, served.url, prompt(tokens=12, fault="hang_mid", fault_after=6), model="first/fake-1"
        )
        viewer = Watcher(served.url, hanging)
        await viewer.read(client, until=lambda seen: len(seen.text.split()) >= 6)
        await client.post(f"{served.url}/v1/streams/{hanging}/cancel")
        told = await run.settled(5)

        totals, durations = told["totals"], told["durations"]
        assert [totals[name] for name in ("started", "done", "failed", "cancelled", "recovered")] == [5, 3, 1, 1, 0]
        watchers = [plain, cut, fallen, broken, viewer]
        # What the models were told to send; viewers that are late get several as one.
        assert totals["chunks"] == 12 + 12 + 9 + 3 + 6
        assert totals["text_bytes"] == sum(len(watcher.text.encode()) for watcher in watchers)
        assert totals["viewers"] == run.viewers + 1
        assert (totals["resumed"], totals["reset"]) == (2, 0)
        assert totals["left_early"] == 2 + 1
        assert (totals["fallbacks"], totals["continuations"]) == (1, 0)
        assert told["reasons"] == [{"reason": broken.terminal.data["reason"], "count": 1}]  # type: ignore[union-attr]
        assert told["rates"]["error_rate"] == pytest.approx(1 / 4)

        # A clock of a millisecond, a server that has more to do, and no upper bound that a slow machine could miss.
        assert durations["first_token"]["count"] == 5
        assert durations["first_token"]["max"] >= FIRST_MS
        assert durations["chunk_gap"]["p95"] >= 0.9 * DELAY_MS
        assert durations["duration"]["max"] >= FIRST_MS + 11 * DELAY_MS
        assert durations["setup"]["count"] == 5

        usages = [(await client.get(f"{served.url}/v1/streams/{w.stream}")).json()["usage"] for w in watchers]
        assert totals["completion_tokens"] == sum(usage["completion_tokens"] for usage in usages)
        assert totals["prompt_tokens"] == sum(usage["prompt_tokens"] for usage in usages)
        providers = {one["provider"]: one for one in told["providers"]}
        assert (providers["dead"]["attempts"], providers["dead"]["failures"]) == (1, 1)
        assert (providers["first"]["attempts"], providers["first"]["failures"]) == (4, 1)
        await check_scrape(run, totals)
        models = {one["model"]: one for one in told["models"]}
        assert models["first/fake-1"]["streams"] == 4
        assert models["house"]["cost"] == [{"amount": await cost_of(run, fallen), "currency": "EUR"}]


async def check_scrape(run: Run, totals: dict[str, Any]) -> None:
    """The same run as Prometheus sees it; the calls by the model's own name at its provider."""
    text = (await run.client.get(f"{run.served.url}/metrics")).text
    values: dict[str, float] = {}
    for family in parse(text):
        for sample in family.samples:
            labels = ",".join(sample.labels[name] for name in sorted(sample.labels))
            values[f"{sample.name}:{labels}"] = sample.value
    assert values["stream_connections_total:"] == totals["viewers"]
    assert values["stream_chunks_total:"] == totals["chunks"]
    assert values["stream_bytes_total:"] == totals["sent_bytes"]
    assert values["headwater_streams_ended_total:cancelled"] == 1
    assert values["headwater_provider_calls_total:failed,dead"] == 1
    call = "gen_ai_client_operation"
    # Four answers began at `first`, one of them after `dead` had refused; the broken and the cancelled one count too.
    assert values[f"{call}_time_to_first_chunk_seconds_count:chat,first,fake-1"] == 5
    assert values[f"{call}_time_per_output_chunk_seconds_sum:chat,first,fake-1"] >= 0.9 * DELAY_MS / 1000 * 22
    ended = {key: value for key, value in values.items() if key.startswith(f"{call}_duration_seconds_count")}
    assert ended[f"{call}_duration_seconds_count:,chat,first,fake-1"] == 3
    assert ended[f"{call}_duration_seconds_count:cancelled,chat,first,fake-1"] == 1
    assert sum(ended.values()) == 6
    assert values["headwater_disk_free_bytes:"] > 0


async def cost_of(run: Run, watcher: Watcher) -> Any:
    info = (await run.client.get(f"{run.served.url}/v1/streams/{watcher.stream}")).json()
    return info["metadata"]["cost"]["amount"]


async def test_a_timeline_tells_what_happened_and_a_restart_keeps_the_figures(
    tmp_path: Path, upstream: Upstream
) -> None:
    flags = configured(tmp_path, upstream)
    async with Served(tmp_path, flags=flags) as served, viewers_client() as client:
        run = Run(served, client)
        seen = await run.watched("house", cuts=1, tokens=10, delay_ms=20)
        await run.settled(1)
        address = f"{served.url}/v1/streams/{seen.stream}/timeline"
        told = (await client.get(address)).json()
        assert (told["recorded"], told["status"], sum(told["chunks"])) == (True, "done", 10)
        kinds = [mark["kind"] for mark in told["marks"]]
        for kind in ("started", "fallback", "first_token", "attached", "resumed", "left", "done"):
            assert kind in kinds, kind
        assert [one["provider"] for one in told["attempts"]] == ["dead", "first"]
        before = await run.summary(3600)

        assert await served.stop() == 0
        await served.start()
        after = await run.summary(3600)
        for name in ("started", "done", "chunks", "viewers", "resumed", "fallbacks", "completion_tokens"):
            assert after["totals"][name] == before["totals"][name], name
        assert after["durations"]["first_token"] == before["durations"]["first_token"]
        told = (await client.get(address)).json()
        assert (told["recorded"], told["marks"], len(told["attempts"])) == (False, [], 2)
        answer = await client.get(
            f"{served.url}/v1/metrics/timeseries", params={"metric": list(METRICS), "window_s": 3600}
        )
        series = msgspec.json.decode(answer.content, type=TimeSeries)
        [started] = [one for one in series.data if one.metric == "started"]
        assert sum(value or 0 for value in started.values["value"]) == 1


async def test_the_live_stream_shows_streams_come_and_go_and_is_none_of_them(
    tmp_path: Path, upstream: Upstream
) -> None:
    flags = configured(tmp_path, upstream)
    async with Served(tmp_path, flags=flags) as served, viewers_client() as client:
        stream = await begin(
            client, served.url, prompt(tokens=6, fault="hang_mid", fault_after=3), model="first/fake-1"
        )
        watcher = Watcher(served.url, stream)
        reading = asyncio.create_task(watcher.read_to_end(client))
        cancelled = False
        async with client.stream("GET", f"{served.url}/v1/metrics/live") as response:
            assert response.status_code == 200
            async for told in figures(response):
                now = told["summary"]["now"]
                assert now["streams"]["active"] <= 1
                assert now["viewers"]["active"] <= 1
                if not cancelled and now["streams"]["active"] == now["viewers"]["active"] == 1:
                    listed = (await client.get(f"{served.url}/v1/connections")).json()
                    assert [one["streamId"] for one in listed["data"]] == [stream]
                    assert listed["data"][0]["metadata"]["userAgent"].startswith("python-httpx")
                    await client.post(f"{served.url}/v1/streams/{stream}/cancel")
                    cancelled = True
                elif cancelled and now["streams"]["active"] == now["viewers"]["active"] == 0:
                    break
            await reading
            streams = (await client.get(f"{served.url}/v1/streams")).json()["data"]
            assert [one["id"] for one in streams] == [stream]
            # It does not hold up a shutdown either: nobody has to wait for its next event.
            assert await served.stop() == 0


async def figures(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    parser = Parser()
    async for chunk in response.aiter_bytes():
        for message in parser.feed(chunk):
            if message.event == "metadata":
                yield json.loads(message.data)["data"]


async def test_keys_of_users_see_no_figures(tmp_path: Path, upstream: Upstream) -> None:
    keys = {"HEADWATER_API_KEYS": "users-key", "HEADWATER_ADMIN_KEYS": "admins-key"}
    async with (
        Served(tmp_path, flags=configured(tmp_path, upstream), environment=keys) as served,
        httpx.AsyncClient(base_url=served.url) as client,
    ):
        for path in ("metrics/summary", "metrics/live", "alerts", "streams/x/timeline"):
            codes = [
                (await client.get(f"/v1/{path}", headers={"x-api-key": key})).status_code for key in ("users-key", "no")
            ]
            assert codes == [403, 401], path
        asked = await client.get("/v1/metrics/summary", headers={"Authorization": "Bearer admins-key"})
        assert asked.status_code == 200


async def test_switched_off_there_is_nothing(tmp_path: Path, upstream: Upstream) -> None:
    off = {"HEADWATER_METRICS": "false"}
    async with Served(tmp_path, flags=configured(tmp_path, upstream), environment=off) as served, viewers_client() as c:
        watcher = await Run(served, c).watched("first/fake-1", tokens=4, seed=2)
        assert watcher.text == Script(tokens=4, seed=2).answer()
        assert (await c.get(f"{served.url}/v1/metrics/summary")).status_code == 404
    assert not (tmp_path / "data" / "metrics.sqlite3").exists()


async def test_the_description_has_the_monitor(tmp_path: Path, upstream: Upstream) -> None:
    async with Served(tmp_path, flags=configured(tmp_path, upstream)) as served, httpx.AsyncClient() as client:
        text = (await client.get(f"{served.url}/openapi.json")).text
    description = json.loads(text)
    assert set(description["paths"]["/metrics"]["get"]["responses"]) >= {"200", "401", "403"}
    for path in ("metrics/summary", "metrics/timeseries", "metrics/live", "alerts", "connections"):
        assert set(description["paths"][f"/v1/{path}"]["get"]["responses"]) >= {"200", "401", "403"}
    schemas = description["components"]["schemas"]
    referred = set(re.findall(r'"#/components/schemas/([^"]+)"', text))
    assert referred <= schemas.keys()
    assert {"Summary", "TimeSeries", "AlertList", "LiveFigures", "ConnectionList", "StreamTimeline"} <= schemas.keys()


async def test_the_terminal_shows_and_plans(upstream: Upstream, tmp_path: Path) -> None:
    async with Served(tmp_path, flags=configured(tmp_path, upstream)) as served, viewers_client() as client:
        stream = await begin(client, served.url, prompt(tokens=40), model="first/fake-1")
        await Watcher(served.url, stream).read_to_end(client)
        await Run(served, client).settled(1)
        command = (sys.executable, "-m", "headwater")
        shown = await run(*command, "stats", "--url", served.url, "--json")
        planned = await run(*command, "plan", "--url", served.url, "--json")
    told, plan = json.loads(shown.out), json.loads(planned.out)
    memory = told["summary"]["now"]["memory_bytes"]
    assert memory > 30_000_000
    assert told["summary"]["rates"]["cpu_cores"] > 0
    assert (told["summary"]["totals"]["done"], plan["growth"], plan["streams"], plan["nodes"]) == (1, 2.0, 2, 1)
    assert plan["load"]["chunk_basis"] == "documented"  # forty chunks tell nothing of the cost of one
    assert plan["load"]["base_bytes"] == pytest.approx(memory, rel=0.5)

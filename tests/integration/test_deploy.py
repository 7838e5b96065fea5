"""What is in deploy/: rules and a dashboard ask only for what a server that has worked really tells."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
import yaml
from prometheus_client.parser import text_string_to_metric_families as parse

from headwater.telemetry.settings import TelemetrySettings
from tests.programs import find
from tests.stack import ROOT, Served, Watcher, begin, viewers_client
from tests.upstream import Upstream, closed_url, prompt

pytestmark = pytest.mark.timeout(120)

DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "headwater.rules.yaml"
RULES_TEST = DEPLOY / "prometheus" / "headwater.rules.test.yaml"
BOARD = DEPLOY / "grafana" / "headwater.json"

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
"""
# Everywhere: what Prometheus adds to each sample, and the bounds of buckets.
OF_PROMETHEUS = {"job", "instance", "le"}
_NAME = re.compile(r"\b(?:headwater|stream|gen_ai|process)_[a-z0-9_]+\b")
_LABELS = re.compile(r"\b(?:by|on|without)\s*\(([^)]*)\)|\{([^}]*)\}")


def metrics_in(expression: str) -> set[str]:
    return set(_NAME.findall(_LABELS.sub(" ", expression)))


def labels_in(expression: str) -> set[str]:
    found = set()
    for grouped, matched in _LABELS.findall(expression):
        found |= {name.strip() for name in grouped.split(",") if name.strip()}
        found |= {name.strip() for name in re.findall(r"(\w+)\s*(?:=|!)", matched)}
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scraped(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, set[str]]]:
    """Every sample's name with its labels, of a server that has answered, failed, fallen back and is alarmed."""
    path = tmp_path_factory.mktemp("deploy")
    async with Upstream() as upstream, viewers_client() as client:
        (path / "headwater.toml").write_text(TABLES.format(first=upstream.openai_url, dead=closed_url()))
        flags = (
            "--config", str(path / "headwater.toml"), "--grace-s", "0",
            "--alert-every-s", "1", "--alert-disk-used", "0.000001",
        )  # fmt: skip
        async with Served(path, flags=flags) as served:
            for model, script in (
                ("first/fake-1", {"tokens": 6, "delay_ms": 5}),
                ("house", {"tokens": 4}),
                ("first/fake-1", {"tokens": 6, "fault": "rst_mid", "fault_after": 3}),
            ):
                stream = await begin(client, served.url, prompt(**script), model=model)
                await Watcher(served.url, stream).read_to_end(client)
            hanging = await begin(
                client, served.url, prompt(tokens=6, fault="hang_mid", fault_after=3), model="first/fake-1"
            )
            found: dict[str, set[str]] = {}
            await complete(client, served.url, found)
            await client.post(f"{served.url}/v1/streams/{hanging}/cancel")
        yield found


async def complete(client: httpx.AsyncClient, url: str, found: dict[str, set[str]]) -> None:
    """Until the second is over, and the alert begins."""
    while not {"headwater_alert_firing", "stream_errors_rate"} <= found.keys():
        await asyncio.sleep(0.1)
        found.clear()
        found.update(await samples(client, url))


async def samples(client: httpx.AsyncClient, url: str) -> dict[str, set[str]]:
    told: dict[str, set[str]] = {}
    for family in parse((await client.get(f"{url}/metrics")).text):
        for sample in family.samples:
            told.setdefault(sample.name, set()).update(sample.labels)
    return told


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    listed: list[dict[str, Any]] = group["rules"]
    return listed


def board() -> dict[str, Any]:
    told: dict[str, Any] = json.loads(BOARD.read_text("utf-8"))
    return told


def queries() -> Iterator[tuple[str, str]]:
    """Of the dashboard, with where each stands."""
    told = board()
    for panel in told["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for variable in told["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]
    for annotation in told["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


def check_known(where: str, expression: str, scraped: dict[str, set[str]]) -> None:
    names = metrics_in(expression)
    assert names, where
    assert names <= scraped.keys(), where
    known = set().union(*(scraped[name] for name in names)) | OF_PROMETHEUS
    assert labels_in(expression) <= known, where


@pytest.mark.asyncio(loop_scope="module")
async def test_every_metric_of_the_rules_is_told(scraped: dict[str, set[str]]) -> None:
    for rule in rules():
        if rule["alert"] != "HeadwaterUnreachable":
            check_known(rule["alert"], rule["expr"], scraped)
    assert len({rule["alert"] for rule in rules()}) == len(rules())


@pytest.mark.asyncio(loop_scope="module")
async def test_every_metric_of_the_dashboard_is_told(scraped: dict[str, set[str]]) -> None:
    for where, expression in queries():
        check_known(where, re.sub(r"label_values\(([^,]*), \w+\)", r"\1", expression), scraped)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_dashboard_shows_everything_that_is_told(scraped: dict[str, set[str]]) -> None:
    shown = set().union(*(metrics_in(expression) for _, expression in queries()))
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    told = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in scraped}
    assert {name for name in told - shown if not name.startswith(("process_", "python_"))} == set()


@pytest.mark.parametrize(
    ("alert", "threshold"),
    [
        ("HeadwaterErrorRate", TelemetrySettings().alert_error_rate),
        ("HeadwaterFirstToken", TelemetrySettings().alert_first_token_ms / 1000),
        ("HeadwaterChunkGap", TelemetrySettings().alert_chunk_gap_ms / 1000),
        ("HeadwaterProviderDown", TelemetrySettings().alert_provider_error_rate),
        ("HeadwaterConnectionDrops", TelemetrySettings().alert_drops_per_hour),
        ("HeadwaterLogLag", TelemetrySettings().alert_log_lag_ms / 1000),
        ("HeadwaterDisk", TelemetrySettings().alert_disk_used),
    ],
)
def test_rules_have_the_settings_defaults(alert: str, threshold: float) -> None:
    [rule] = [rule for rule in rules() if rule["alert"] == alert]
    assert re.search(rf"> {threshold:g}(\s|$)", rule["expr"])
    assert TelemetrySettings().alert_window_s == 5 * 60
    assert "[5m]" in rule["expr"] or alert in _NO_WINDOW


_NO_WINDOW = ("HeadwaterConnectionDrops", "HeadwaterDisk")


def test_the_dashboard_can_be_laid_out() -> None:
    panels = board()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        assert panel["type"] == "row" or all(
            target["datasource"]["uid"] == "${datasource}" for target in panel["targets"]
        )
    for one, other in itertools.combinations((panel["gridPos"] for panel in panels), 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]


@pytest.mark.monitor
def test_prometheus_takes_the_rules_and_they_fire_and_clear() -> None:
    promtool = find("promtool")
    assert promtool is not None
    for command in (["check", "rules", RULES.name], ["test", "rules", RULES_TEST.name]):
        done = subprocess.run([promtool, *command], cwd=RULES.parent, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_board_that_asks_for_more_is_found_out() -> None:
    with pytest.raises(AssertionError):
        check_known("x", "rate(headwater_nothing_total[5m])", {"headwater_streams": {"state"}})
    with pytest.raises(AssertionError):
        check_known("x", "sum by (model) (headwater_streams)", {"headwater_streams": {"state"}})
    check_known("x", 'sum by (state) (headwater_streams{job="a"})', {"headwater_streams": {"state"}})

"""Figures, alerts and timelines over HTTP: who may see them, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from headwater.events import Done, Error, Start, StreamId, Text, Usage
from headwater.logs.memory import MemoryLog
from headwater.routing import Registry
from headwater.runtime import Directory
from headwater.server import ServerSettings, create_app
from headwater.server.figures_feed import FiguresFeed
from headwater.server.routes_monitor import read_figures
from headwater.server.viewer_facts import ViewerFacts
from headwater.streams import Ended, Hub, NewStream, StreamRecord, StreamSettings
from headwater.telemetry import METRICS, History, Monitor, ProviderState, TelemetrySettings
from tests.unit.streams.kit import MemorySink, PlainEncoder, Script, eventually, store

PATHS = [
    "/v1/metrics/summary",
    "/v1/metrics/timeseries?metric=done",
    "/v1/metrics/live",
    "/v1/alerts",
    "/v1/streams/x/timeline",
]
KEYS = ServerSettings(api_keys=("user",), admin_keys=("admin",))


class Api:
    def __init__(self, client: httpx.AsyncClient, hub: Hub, monitor: Monitor, log: MemoryLog) -> None:
        self.client = client
        self.hub = hub
        self.monitor = monitor
        self.log = log

    async def get(self, path: str, **params: object) -> httpx.Response:
        return await self.client.get(path, params=params)  # type: ignore[arg-type]


@asynccontextmanager
async def api(settings: ServerSettings = ServerSettings(single_user=True), *, key: str = "") -> AsyncIterator[Api]:  # noqa: B008
    log = MemoryLog()
    providers = [ProviderState("openai", "half_open", 2, 1)]
    monitor = Monitor(TelemetrySettings(), History(None), providers=lambda: providers)
    hub = Hub(log, StreamSettings(), observer=monitor.recorder)
    await monitor.open(hub)
    await hub.start()
    feed = FiguresFeed(hub, lambda: read_figures(monitor))
    await feed.open()
    app = create_app(hub, Directory(Registry([]), created=1), settings, monitoring=(monitor, feed))
    headers = {"x-api-key": key} if key else {}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
        yield Api(client, hub, monitor, log)
    await feed.close()
    await hub.shutdown(0)
    await monitor.close()


@pytest.mark.parametrize("path", PATHS)
async def test_they_are_for_administrators(path: str) -> None:
    async with api(KEYS) as it:
        assert (await it.client.get(path)).status_code == 401
    async with api(KEYS, key="user") as it:
        answer = await it.client.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "admin_required")


@pytest.mark.parametrize("path", [path for path in PATHS if "live" not in path])
async def test_who_is_alone_or_administers_sees_them(path: str) -> None:
    expected = 404 if "timeline" in path else 200
    async with api() as it:
        assert (await it.client.get(path)).status_code == expected
    async with api(KEYS, key="admin") as it:
        assert (await it.client.get(path)).status_code == expected


@pytest.mark.parametrize(
    ("path", "params", "param"),
    [
        ("summary", {"window_s": 0}, "window_s"),
        ("summary", {"window_s": 2_592_001}, "window_s"),
        ("summary", {"window_s": "long"}, "window_s"),
        ("timeseries", {}, "metric"),
        ("timeseries", {"metric": "nonsense"}, "metric"),
        ("timeseries", {"metric": "done", "step_s": 0}, "step_s"),
        ("timeseries", {"metric": "done", "step_s": 90}, "step_s"),
        ("timeseries", {"metric": "done", "window_s": 2_592_000, "step_s": 60}, "step_s"),
    ],
)
async def test_what_makes_no_sense_is_refused(path: str, params: dict[str, object], param: str) -> None:
    async with api() as it:
        answer = await it.get(f"/v1/metrics/{path}", **params)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (400, "invalid_request"), error
        assert error["param"].endswith(param)


@pytest.mark.parametrize(
    ("window_s", "step_s"), [(1, 1), (60, 1), (300, 5), (301, 60), (3600, 60), (86_400, 1440), (2_592_000, 43_200)]
)
async def test_a_series_without_a_step_has_some_sixty(window_s: int, step_s: int) -> None:
    async with api() as it:
        told = (await it.get("/v1/metrics/timeseries", metric="done", window_s=window_s)).json()
    assert (told["object"], told["step_s"], len(told["times"])) == (
        "metrics.timeseries", step_s, -(-window_s // step_s),
    )  # fmt: skip


async def test_all_metrics_at_once_and_each_only_once() -> None:
    async with api() as it:
        answer = await it.get("/v1/metrics/timeseries", metric=[*METRICS, "done"], window_s=60)
    assert [one["metric"] for one in answer.json()["data"]] == list(METRICS)


async def test_a_summary_tells_of_streams_and_providers() -> None:
    async with api() as it:
        script = Script()
        channel, _ = await it.hub.create(NewStream(model="m"), script)
        script.say("a", "b")
        await eventually(lambda: channel.fold.texts == 2)
        told = (await it.get("/v1/metrics/summary", window_s=60)).json()
    assert told["object"] == "metrics.summary"
    assert told["now"]["streams"]["active"] == 1
    assert told["now"]["streams"]["by_state"] == {"streaming": 1}
    [provider] = told["providers"]
    assert (provider["provider"], provider["circuit"], provider["running"]) == ("openai", "half_open", 2)


async def test_alerts_are_listed_and_stay_when_over() -> None:
    async with api() as it:
        # Its circuit waits for a probe, and its last call has failed.
        it.monitor.recorder.bucket.provider("openai").failures = 1
        await it.monitor.roll()
        for _ in range(2):
            await it.monitor.judge()
        told = (await it.get("/v1/alerts")).json()
        assert [(alert["name"], alert["subject"]) for alert in told["data"]] == [("provider_down", "openai")]
        assert (told["object"], told["past"]) == ("list", [])


def facts() -> ViewerFacts:
    return ViewerFacts("openai_chat", "curl/8", "127.0.0.1")


async def test_a_timeline_is_of_anybodys_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    async with api(KEYS, key="admin") as it:
        script = Script()
        channel, _ = await it.hub.create(NewStream(model="m", owner="somebody"), script)
        it.hub.attach(channel, PlainEncoder, MemorySink(), about=facts())
        script.say("a", "b")
        await eventually(lambda: channel.fold.texts == 2)
        with monkeypatch.context() as patch:
            get, reads = it.log.get, 0

            async def counting(stream: StreamId) -> StreamRecord | None:
                nonlocal reads
                reads += 1
                return await get(stream)

            patch.setattr(it.log, "get", counting)
            running = (await it.get(f"/v1/streams/{channel.id}/timeline")).json()
        script.finish()
        await channel.wait_end()
        await eventually(lambda: not it.monitor.recorder.streams)
        ended = (await it.get(f"/v1/streams/{channel.id}/timeline")).json()
    assert reads == 1
    assert (running["object"], running["status"], running["recorded"]) == ("stream.timeline", "streaming", True)
    assert [viewer["dialect"] for viewer in running["viewers"]] == ["openai_chat"]
    assert (sum(running["chunks"]), ended["viewers"]) == (2, [])
    kinds = [mark["kind"] for mark in ended["marks"]]
    assert (kinds[0], sorted(kinds[1:])) == ("started", ["attached", "done", "first_token", "left"])
    assert (ended["status"], ended["usage"]["completion_tokens"]) == ("done", 5)


async def test_a_timeline_that_was_not_seen_here_tells_what_the_record_holds() -> None:
    attempts: list[object] = [
        {"provider": "a", "model": "m", "outcome": "failed", "began_ms": 1.0, "duration_ms": 9.0, "reason": "boom"},
        {"provider": "b"},
        "nonsense",
    ]
    ended = Ended("failed", 5000, Usage(1, 2), error=Error("boom", "it broke"), metadata={"attempts": attempts})
    async with api() as it:
        record = StreamRecord(StreamId("s1"), 1000, model="m", provider="a")
        await store(it.log, record, [Start("s1", "m", 1000), Text("x"), Done("stop")], ended=ended)
        told = (await it.get("/v1/streams/s1/timeline")).json()
        unknown = await it.get("/v1/streams/s2/timeline")
    assert (told["recorded"], told["bucket_ms"], told["chunks"], told["marks"]) == (False, None, [], [])
    [attempt] = told["attempts"]
    assert (attempt["provider"], attempt["outcome"], attempt["duration_ms"], attempt["reason"]) == (
        "a", "failed", 9.0, "boom",
    )  # fmt: skip
    assert told["error"]["reason"] == "boom"
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "stream_not_found")


async def test_without_a_monitor_there_are_no_such_routes() -> None:
    hub = Hub(MemoryLog(), StreamSettings())
    app = create_app(hub, Directory(Registry([]), created=1), ServerSettings(single_user=True))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        for path in PATHS:
            assert (await client.get(path)).status_code == 404

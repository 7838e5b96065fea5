"""Traces and metrics of a real server as an OTLP receiver gets them; and nothing of the SDK where they are off."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.stack import Served, Watcher, begin, viewers_client
from tests.upstream import Upstream, prompt

pytestmark = pytest.mark.timeout(120)
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@asynccontextmanager
async def collector() -> AsyncIterator[tuple[str, dict[str, list[bytes]]]]:
    bodies: dict[str, list[bytes]] = defaultdict(list)

    async def take(request: web.Request) -> web.Response:
        bodies[request.path].append(await request.read())
        return web.Response(content_type="application/x-protobuf")

    app = web.Application()
    app.router.add_post("/v1/{kind}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", bodies
    finally:
        await runner.cleanup()


async def test_a_collector_gets_spans_and_histograms(tmp_path: Path) -> None:
    async with Upstream() as upstream, collector() as (url, bodies), viewers_client() as client:
        flags = ("--otlp-endpoint", url, "--grace-s", "0")
        async with Served(tmp_path, openai_url=upstream.openai_url, flags=flags) as served:
            client.headers["traceparent"] = PARENT
            stream = await begin(client, served.url, prompt(tokens=5, delay_ms=5), model="openai/fake-1")
            del client.headers["traceparent"]
            watcher = Watcher(served.url, stream)
            await watcher.read_to_end(client)
            cursor = {"Last-Event-ID": "1.1"}
            await client.get(f"{served.url}/v1/streams/{stream}/events", headers=cursor)
            assert await served.stop() == 0
    [spans] = [
        ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans[0].spans
        for body in bodies["/v1/traces"]
    ]
    named = {span.name: span for span in spans}
    assert named.keys() == {"stream openai/fake-1", "chat fake-1", "resume stream"}
    whole = named["stream openai/fake-1"]
    assert (whole.trace_id.hex(), whole.parent_span_id.hex()) == (PARENT.split("-")[1], PARENT.split("-")[2])
    assert named["chat fake-1"].parent_span_id == whole.span_id
    assert named["resume stream"].links[0].span_id == whole.span_id
    told = ExportMetricsServiceRequest.FromString(bodies["/v1/metrics"][-1]).resource_metrics[0]
    assert {one.key: one.value.string_value for one in told.resource.attributes}["service.name"] == "headwater"
    metrics = {metric.name: metric for metric in told.scope_metrics[0].metrics}
    assert metrics.keys() == {
        "gen_ai.client.operation.duration", "gen_ai.client.operation.time_to_first_chunk",
        "gen_ai.client.operation.time_per_output_chunk", "gen_ai.client.token.usage",
    }  # fmt: skip
    [point] = metrics["gen_ai.client.operation.time_to_first_chunk"].histogram.data_points
    assert (point.count, len(point.explicit_bounds), len(point.bucket_counts)) == (1, 14, 15)
    assert not point.HasField("min")
    assert {one.key: one.value.string_value for one in point.attributes} == {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "fake-1",
    }  # fmt: skip
    kinds = {
        one.value.string_value
        for point in metrics["gen_ai.client.token.usage"].histogram.data_points
        for one in point.attributes
        if one.key == "gen_ai.token.type"
    }
    assert kinds == {"input", "output"}


async def test_a_collector_that_is_away_costs_no_answer_and_no_end(tmp_path: Path) -> None:
    async with Upstream() as upstream, viewers_client() as client:
        flags = ("--otlp-endpoint", "http://127.0.0.1:9", "--otlp-timeout-s", "0.2", "--grace-s", "0")
        async with Served(tmp_path, openai_url=upstream.openai_url, flags=flags) as served:
            stream = await begin(client, served.url, prompt(tokens=3), model="openai/fake-1")
            watcher = Watcher(served.url, stream)
            await watcher.read_to_end(client)
            assert watcher.terminal is not None and watcher.terminal.event == "done"
            assert await served.stop() == 0


def test_off_it_is_not_even_imported() -> None:
    """FastAPI imports OpenTelemetry's API by itself where that is installed."""
    heavy = ("opentelemetry.sdk", "opentelemetry.exporter", "prometheus_client", "structlog")
    code = (
        "import sys, headwater.terminal.serve, headwater.runtime_monitor, headwater.runtime_chat\n"
        f"print([name for name in sys.modules if name.startswith({heavy})])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

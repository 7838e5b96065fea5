"""Spans of ended streams, read from the SDK's own exporter in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from headwater.errors import ProviderTimeout
from headwater.events import Metadata, Status, Text
from headwater.log_context import TRACE_PARENT
from headwater.logs.memory import MemoryLog
from headwater.streams import Channel, Hub, NewStream
from headwater.telemetry import otel_traces
from headwater.telemetry.otel import Traced
from headwater.telemetry.otel_traces import StreamTraces, make_provider
from headwater.telemetry.recorder import Recorder
from tests.unit.streams.kit import MemorySink, PlainEncoder, Script, eventually
from tests.unit.streams.virtual_time import run_virtual

from .kit import SETTINGS, Steps

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = PARENT[:-1] + "0"
CALLS = [
    {
        "provider": "a", "model": "m", "outcome": "failed", "began_ms": 0.0, "duration_ms": 100.0,
        "reason": "provider_timeout",
    },
    {"provider": "c", "model": "m", "outcome": "lost", "began_ms": 110.0, "duration_ms": 10.0},
    {
        "provider": "b", "model": "n", "outcome": "done", "began_ms": 100.0, "duration_ms": 900.0,
        "prompt_tokens": 7, "completion_tokens": 11,
    },
    {"provider": 7},
    {"provider": "d", "model": "m", "outcome": "done"},
]  # fmt: skip


class World:
    def __init__(self, sample: float = 1.0) -> None:
        self.exporter = InMemorySpanExporter()
        provider = make_provider(Resource.get_empty(), sample=sample)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.recorder = Recorder(asyncio.get_running_loop().time)
        self.hub = Hub(MemoryLog(), SETTINGS, observer=self.traced(provider))

    def traced(self, provider: object) -> Traced:
        self.traces = StreamTraces(provider, self.recorder.timeline)  # type: ignore[arg-type]
        return Traced(self.recorder, self.traces)

    async def run(self, producer: Steps | Script, **new: object) -> Channel:
        channel, _ = await self.hub.create(NewStream(**{"model": "house", **new}), producer)  # type: ignore[arg-type]
        if isinstance(producer, Steps):
            await channel.wait_end()
            await eventually(lambda: not self.recorder.streams)
        return channel

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self.exporter.get_finished_spans()}


@asynccontextmanager
async def world(sample: float = 1.0) -> AsyncIterator[World]:
    made = World(sample)
    await made.hub.start()
    yield made
    await made.hub.shutdown(0)


@pytest.fixture(autouse=True)
def no_parent() -> Iterator[None]:
    token = TRACE_PARENT.set("")
    yield
    TRACE_PARENT.reset(token)


def seconds(span: ReadableSpan) -> float:
    assert span.end_time is not None and span.start_time is not None
    return (span.end_time - span.start_time) / 1e9


def test_a_stream_is_one_span_with_its_calls_below_it() -> None:
    async def work() -> dict[str, ReadableSpan]:
        async with world() as it:
            facts = Metadata({"attempts": CALLS, "first_token_ms": 350.0, "duration_ms": 1000.0})
            steps = [
                (0.1, [Status("queued")]), (0.2, [Status("searching")]), (0.3, [Status("searched")]),
                (0.1, [Status("fallback", data={"provider": "b", "model": "n"})]), (0.25, [Text("a")]),
                (0.65, [Text("b"), facts]),
            ]  # fmt: skip
            await it.run(Steps(*steps), provider="a")
            return it.spans

    spans = run_virtual(work())
    assert set(spans) == {"stream house", "queue", "retrieval", "chat m", "chat n"}
    whole = spans["stream house"]
    assert whole.parent is None
    assert seconds(whole) == pytest.approx(1.6, abs=0.01)
    attributes = dict(whole.attributes or {})
    assert attributes["headwater.stream.outcome"] == "done"
    assert (attributes["gen_ai.usage.input_tokens"], attributes["gen_ai.usage.output_tokens"]) == (7, 11)
    events = [event.name for event in whole.events]
    assert events == ["started", "queued", "searching", "searched", "fallback", "first_token", "done"]
    assert dict(whole.events[4].attributes or {}) == {"detail": "b n"}
    for name in ("queue", "retrieval", "chat m", "chat n"):
        child = spans[name]
        assert child.parent is not None and whole.context is not None
        assert (child.parent.span_id, child.context.trace_id) == (whole.context.span_id, whole.context.trace_id)  # type: ignore[union-attr]
    assert seconds(spans["queue"]) == pytest.approx(0.2, abs=0.01)
    assert seconds(spans["retrieval"]) == pytest.approx(0.3, abs=0.01)
    call = spans["chat n"]
    assert (call.kind, seconds(call)) == (SpanKind.CLIENT, pytest.approx(0.9, abs=0.001))
    told = dict(call.attributes or {})
    assert (told["gen_ai.provider.name"], told["gen_ai.usage.output_tokens"]) == ("b", 11)
    assert told["gen_ai.response.time_to_first_chunk"] == pytest.approx(0.25)
    assert call.start_time is not None and whole.start_time is not None
    assert (call.start_time - whole.start_time) / 1e9 == pytest.approx(1.6 - 1.0 + 0.1, abs=0.01)


async def test_a_failure_is_an_error_and_says_which() -> None:
    async with world() as it:
        failed = Metadata({"attempts": CALLS[:1], "duration_ms": 1.0})
        await it.run(Steps((0, [failed]), error=ProviderTimeout("slow")))
        whole, call = it.spans["stream house"], it.spans["chat m"]
    assert (whole.status.status_code, whole.status.description) == (StatusCode.ERROR, "provider_timeout")
    assert (whole.attributes or {})["error.type"] == "provider_timeout"
    assert (call.status.status_code, (call.attributes or {})["error.type"]) == (StatusCode.ERROR, "provider_timeout")


async def test_a_callers_trace_is_continued() -> None:
    async with world() as it:
        TRACE_PARENT.set(PARENT)
        channel = await it.run(Steps((0, [Text("a")])))
        TRACE_PARENT.set("nonsense")
        it.hub.attach(channel, PlainEncoder, MemorySink(), "1.1").close()
        await it.run(Steps((0, [Text("b")])), model="other")
        spans = it.spans
    whole = spans["stream house"]
    assert whole.context is not None and whole.parent is not None
    assert f"{whole.context.trace_id:032x}" == PARENT.split("-")[1]
    assert f"{whole.parent.span_id:016x}" == PARENT.split("-")[2]
    for name in ("stream other", "resume stream"):
        other = spans[name]
        assert other.parent is None and other.context is not None
        assert other.context.trace_id != whole.context.trace_id, name


async def test_viewers_that_come_back_name_the_streams_span() -> None:
    async with world() as it:
        script = Script()
        channel = await it.run(script)
        script.say("a", "b")
        await eventually(lambda: channel.fold.texts == 2)
        fresh = it.hub.attach(channel, PlainEncoder, MemorySink())
        back = it.hub.attach(channel, PlainEncoder, MemorySink(), "1.1")
        lost = it.hub.attach(channel, PlainEncoder, MemorySink(), "9.9")
        for viewer in (fresh, back, lost):
            viewer.close()
        script.finish()
        await channel.wait_end()
        await eventually(lambda: not it.recorder.streams)
        finished = it.exporter.get_finished_spans()
    whole = next(span for span in finished if span.name == "stream house")
    resumed = [span for span in finished if span.name == "resume stream"]
    assert [(span.attributes or {})["headwater.viewer.cursor_known"] for span in resumed] == [True, False]
    for span in resumed:
        [link] = span.links
        assert whole.context is not None and span.context is not None
        assert (link.context.trace_id, link.context.span_id) == (whole.context.trace_id, whole.context.span_id)
        assert span.context.trace_id != whole.context.trace_id


async def test_a_stream_of_an_earlier_process_is_named_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otel_traces, "MAX_REMEMBERED", 1)
    async with world() as it:
        first = await it.run(Steps((0, [Text("a")])))
        await it.run(Steps((0, [Text("b")])), model="other")
        viewer = it.hub.attach(first, PlainEncoder, MemorySink(), "1.1")
        viewer.close()
        finished = it.exporter.get_finished_spans()
    whole = next(span for span in finished if span.name == "stream house")
    [link] = next(span for span in finished if span.name == "resume stream").links
    assert whole.context is not None
    assert (link.context.trace_id, link.context.span_id) == (whole.context.trace_id, whole.context.span_id)


async def test_what_is_sampled_is_said_by_the_caller_then_by_the_setting() -> None:
    async with world(sample=0.0) as it:
        await it.run(Steps((0, [Text("a")])))
        assert not it.spans
        TRACE_PARENT.set(PARENT)
        await it.run(Steps((0, [Text("b")])))
        assert "stream house" in it.spans
    async with world() as it:
        TRACE_PARENT.set(UNSAMPLED)
        await it.run(Steps((0, [Text("a")])))
        assert not it.spans
    async with world(sample=0.5) as it:
        TRACE_PARENT.set("")
        for _ in range(60):
            await it.run(Steps((0, [Text("a")])))
        assert 10 < len(it.exporter.get_finished_spans()) < 50


async def test_what_is_not_known_any_more_has_no_span() -> None:
    async with world() as it:
        channel = await it.run(Steps((0, [Text("a")])))
        assert len(it.exporter.get_finished_spans()) == 1
        it.traces._streams.clear()
        it.traces.ended(channel)
        assert len(it.exporter.get_finished_spans()) == 1

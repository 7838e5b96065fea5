"""The histograms of `calls`, pushed by OTLP as OpenTelemetry's metrics for generative AI: counted once, told twice.

Imported only where they are on: this needs the extra `otel`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    HistogramDataPoint,
    Metric,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.metrics.export import Histogram as Data
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from .._version import __version__
from .calls import Calls, Histogram


class _Kind(NamedTuple):
    name: str
    unit: str
    description: str


DURATION = _Kind("gen_ai.client.operation.duration", "s", "GenAI operation duration.")
FIRST_CHUNK = _Kind("gen_ai.client.operation.time_to_first_chunk", "s", "Time to receive the first chunk.")
OUTPUT_CHUNK = _Kind("gen_ai.client.operation.time_per_output_chunk", "s", "Time per output chunk.")
TOKENS = _Kind("gen_ai.client.token.usage", "{token}", "Number of input and output tokens used.")


def metrics_of(calls: Calls, resource: Resource, *, since_ns: int, now_ns: int) -> MetricsData | None:
    """Everything since `since_ns`, cumulative; None where nothing was measured."""
    points: dict[_Kind, list[HistogramDataPoint]] = {}
    for kind, attributes, histogram in _measured(calls):
        point = HistogramDataPoint(
            attributes=attributes,
            start_time_unix_nano=since_ns,
            time_unix_nano=now_ns,
            count=histogram.count,
            sum=histogram.total,
            bucket_counts=list(histogram.counts),
            explicit_bounds=list(histogram.bounds),
            # Optional in the protocol, and not kept.
            min=None,  # type: ignore[arg-type]
            max=None,  # type: ignore[arg-type]
        )
        points.setdefault(kind, []).append(point)
    if not points:
        return None
    metrics = [
        Metric(kind.name, kind.description, kind.unit, Data(found, AggregationTemporality.CUMULATIVE))
        for kind, found in points.items()
    ]
    scope = ScopeMetrics(InstrumentationScope("headwater", __version__), metrics, "")
    return MetricsData([ResourceMetrics(resource, [scope], "")])


def _measured(calls: Calls) -> Iterator[tuple[_Kind, Mapping[str, str], Histogram]]:
    for place, figures in calls.by_place.items():
        about = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": place.provider,
            "gen_ai.request.model": place.model,
        }
        for error, duration in figures.durations.items():
            yield DURATION, {**about, "error.type": error} if error else about, duration
        if figures.first_chunk.count:
            yield FIRST_CHUNK, about, figures.first_chunk
        if figures.output_chunk.count:
            yield OUTPUT_CHUNK, about, figures.output_chunk
        for kind, tokens in (("input", figures.prompt_tokens), ("output", figures.completion_tokens)):
            if tokens.count:
                yield TOKENS, {**about, "gen_ai.token.type": kind}, tokens

"""Figures over time: which there are, and how each is read from a step's bucket."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, TypeAlias

import msgspec

from ..instants import rfc3339
from .bucket import Bucket
from .figures import duration_of, rates_of
from .sketch import Sketch

Unit: TypeAlias = Literal["1", "1/s", "bytes", "bytes/s", "cores", "ms", "packets", "share"]
Values: TypeAlias = Mapping[str, float | None]


class Metric(msgspec.Struct, frozen=True):
    """`read` gives the same names for every bucket."""

    unit: Unit
    read: Callable[[Bucket], Values]


class MetricSeries(msgspec.Struct, frozen=True):
    """`values`: a list a name (`value`, or `p50`, `p95`, `p99`), one a step; null where nothing was measured."""

    metric: str
    unit: Unit
    values: dict[str, list[float | None]]


class TimeSeries(msgspec.Struct, frozen=True, tag_field="object", tag="metrics.timeseries"):
    """`times`: Unix seconds at which the steps begin; the last one is still under way."""

    at: str
    window_s: int
    step_s: int
    times: list[int]
    data: list[MetricSeries]


def _count(name: str) -> Metric:
    return Metric("1", lambda bucket: {"value": getattr(bucket.counts, name)})


def _peak(name: str) -> Metric:
    return Metric("1", lambda bucket: {"value": getattr(bucket.peaks, name)})


def _rate(name: str, unit: Unit) -> Metric:
    return Metric(unit, lambda bucket: {"value": getattr(rates_of(bucket), name)})


def _quantiles(name: str) -> Metric:
    def read(bucket: Bucket) -> Values:
        sketch: Sketch = getattr(bucket.timings, name)
        told = duration_of(sketch)
        return {"p50": told.p50, "p95": told.p95, "p99": told.p99}

    return Metric("ms", read)


def _of_network(name: str) -> Metric:
    """Null where no connection was measured."""
    return Metric("packets", lambda b: {"value": getattr(b.counts, name) if b.timings.rtt.bins else None})


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "streams": _peak("streams"),
        "queued": _peak("queued"),
        "viewers": _peak("viewers"),
        **{
            name: _count(name)
            for name in (
                "started", "recovered", "done", "failed", "cancelled", "attached", "resumed", "reset", "left_early",
                "retries", "fallbacks", "hedges", "continuations", "drops",
            )
        },
        "chunks_per_s": _rate("chunks_per_s", "1/s"),
        "bytes_per_s": _rate("bytes_per_s", "bytes/s"),
        "tokens_per_s": _rate("tokens_per_s", "1/s"),
        "streams_per_s": _rate("streams_per_s", "1/s"),
        "error_rate": _rate("error_rate", "share"),
        "cpu_cores": _rate("cpu_cores", "cores"),
        "log_lag_ms": Metric("ms", lambda bucket: {"value": bucket.peaks.log_lag_ms}),
        "memory_bytes": Metric("bytes", lambda bucket: {"value": bucket.peaks.memory_bytes or None}),
        "completion_rate": _rate("completion_rate", "share"),
        "reconnection_rate": _rate("reconnection_rate", "share"),
        "mean_chunk_bytes": _rate("mean_chunk_bytes", "bytes"),
        "setup_ms": _quantiles("setup"),
        "first_token_ms": _quantiles("first_token"),
        "chunk_gap_ms": _quantiles("chunk_gap"),
        "duration_ms": _quantiles("duration"),
        "rtt_ms": _quantiles("rtt"),
        "retransmissions": _of_network("retransmissions"),
        "packets_lost": _of_network("packets_lost"),
    }
)  # fmt: skip
"""By name. `streams`, `queued`, `viewers`, `memory_bytes` and `log_lag_ms` are the most that there was."""


def series_of(
    steps: Sequence[Bucket], names: Sequence[str], *, at_ms: int, start_ms: int, window_s: int, step_s: int
) -> TimeSeries:
    """Raises `KeyError` for a name that is not in `METRICS`."""
    data = []
    for name in names:
        metric = METRICS[name]
        values: dict[str, list[float | None]] = {key: [] for key in metric.read(Bucket())}
        for step in steps:
            for key, value in metric.read(step).items():
                values[key].append(value if step.covered_s > 0 else None)
        data.append(MetricSeries(name, metric.unit, values))
    times = [start_ms // 1000 + step_s * place for place in range(len(steps))]
    return TimeSeries(rfc3339(at_ms), window_s, step_s, times, data)

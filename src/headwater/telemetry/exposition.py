"""`/metrics`: a snapshot as Prometheus' families, and those as text. Nothing is counted here.

prometheus-client is imported by the first scrape, in a thread: a start need not wait for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from .._version import __version__
from .bucket import Bucket
from .calls import CallFigures, Histogram, Place
from .families import FAMILIES, Family
from .sketch import Sketch
from .snapshot import Snapshot

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

# Upper bounds in seconds; each histogram has its target (see docs/how-to/monitor.md) as one of them.
SETUP = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
FIRST_TOKEN = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
CHUNK_GAP = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
RTT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
DURATION = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)

CIRCUITS = ("closed", "open", "half_open")


class Cumulated(NamedTuple):
    """A histogram's sample: values up to each bound, how many there are, and their sum."""

    bounds: Sequence[float]
    up_to: Sequence[int]
    number: int
    total: float


class Sample(NamedTuple):
    name: str
    labels: tuple[str, ...]
    value: float | Cumulated


async def render(snapshot: Snapshot, accept: str) -> tuple[bytes, str]:
    """The text and its content type: OpenMetrics where `accept` asks for it, else Prometheus' own format."""
    samples = list(read(snapshot))
    return await asyncio.to_thread(_encode, samples, accept)


def _encode(samples: Sequence[Sample], accept: str) -> tuple[bytes, str]:
    from prometheus_client import CollectorRegistry, ProcessCollector
    from prometheus_client.exposition import choose_encoder

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(samples))
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Collected:
    """See `prometheus_client.registry.Collector`."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = samples

    def collect(self) -> Iterable[Metric]:
        families = {name: _family(family) for name, family in FAMILIES.items()}
        for name, labels, value in self._samples:
            _add(families[name], labels, value)
        return families.values()


def _family(family: Family) -> Metric:
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    kinds = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}
    made: Metric = kinds[family.kind](family.name, family.meaning, labels=family.labels)
    return made


def _add(metric: Metric, labels: tuple[str, ...], value: float | Cumulated) -> None:
    if isinstance(value, Cumulated):
        steps = [(repr(float(bound)), count) for bound, count in zip(value.bounds, value.up_to, strict=True)]
        metric.add_metric(labels, [*steps, ("+Inf", value.number)], value.total)  # type: ignore[attr-defined]
    else:
        metric.add_metric(labels, value)  # type: ignore[attr-defined]


# ---------------------------------------------------------------------- from a snapshot to samples


def read(snapshot: Snapshot) -> Iterator[Sample]:
    """Every sample that there is, by the names of `FAMILIES`."""
    whole = snapshot.whole
    yield from _now(snapshot)
    yield from _counts(whole)
    yield from _timings(whole)
    yield from _providers(snapshot)
    yield from _models(whole)
    for place, figures in snapshot.calls.by_place.items():
        yield from _calls(place, figures)


def _one(name: str, value: float | Cumulated, *labels: str) -> Sample:
    return Sample(name, labels, value)


def _now(snapshot: Snapshot) -> Iterator[Sample]:
    now = snapshot.now
    yield _one("stream_connections_active", now.viewers.active)
    if snapshot.mean_gap_s is not None:
        yield _one("stream_latency_average_seconds", snapshot.mean_gap_s)
    if snapshot.error_rate is not None:
        yield _one("stream_errors_rate", snapshot.error_rate)
    yield _one("headwater_build_info", 1, __version__)
    for state, number in now.streams.by_state.items():
        yield _one("headwater_streams", number, state)
    yield _one("headwater_streams_limit", now.streams.limit)
    yield _one("headwater_streams_queued", now.streams.queued)
    yield _one("headwater_streams_queued_limit", now.streams.queue_limit)
    yield _one("headwater_connections_limit", now.viewers.limit)
    yield _one("headwater_log_failing", int(snapshot.log_failing))
    yield _one("headwater_log_lag_seconds", snapshot.log_lag_s)
    if snapshot.disk is not None:
        yield _one("headwater_disk_size_bytes", snapshot.disk.size_bytes)
        yield _one("headwater_disk_free_bytes", snapshot.disk.free_bytes)
    for alert in snapshot.alerts:
        yield _one("headwater_alert_firing", 1, alert.name, alert.subject)


def _counts(whole: Bucket) -> Iterator[Sample]:
    counts = whole.counts
    yield _one("stream_connections_total", counts.attached)
    yield _one("stream_chunks_total", counts.chunks)
    yield _one("stream_bytes_total", counts.sent_bytes)
    yield _one("headwater_streams_started_total", counts.started)
    yield _one("headwater_streams_recovered_total", counts.recovered)
    for outcome in ("done", "failed", "cancelled"):
        yield _one("headwater_streams_ended_total", getattr(counts, outcome), outcome)
    for reason, number in whole.reasons.items():
        yield _one("headwater_stream_failures_total", number, reason)
    yield _one("headwater_stream_text_bytes_total", counts.text_bytes)
    yield _one("headwater_connections_resumed_total", counts.resumed)
    yield _one("headwater_connections_reset_total", counts.reset)
    yield _one("headwater_connections_dropped_total", counts.drops)
    if whole.timings.rtt.bins:
        yield _one("headwater_connection_retransmissions_total", counts.retransmissions)
        yield _one("headwater_connection_packets_lost_total", counts.packets_lost)
    events = {"retry": "retries", "fallback": "fallbacks", "hedge": "hedges", "continuation": "continuations"}
    for event, name in events.items():
        yield _one("headwater_route_events_total", getattr(counts, name), event)


def _timings(whole: Bucket) -> Iterator[Sample]:
    timings = whole.timings
    yield _one("headwater_stream_setup_seconds", _of_sketch(timings.setup, SETUP))
    yield _one("headwater_stream_first_token_seconds", _of_sketch(timings.first_token, FIRST_TOKEN))
    yield _one("headwater_stream_chunk_gap_seconds", _of_sketch(timings.chunk_gap, CHUNK_GAP))
    yield _one("headwater_stream_duration_seconds", _of_sketch(timings.duration, DURATION))
    if timings.rtt.bins:
        yield _one("headwater_connection_rtt_seconds", _of_sketch(timings.rtt, RTT))


def _providers(snapshot: Snapshot) -> Iterator[Sample]:
    for name, part in snapshot.whole.providers.items():
        yield _one("headwater_provider_calls_total", part.attempts - part.failures, name, "done")
        yield _one("headwater_provider_calls_total", part.failures, name, "failed")
    # Those that are configured are the operator's own, and so not too many.
    for state in snapshot.providers:
        yield _one("headwater_provider_calls_running", state.running, state.provider)
        yield _one("headwater_provider_calls_queued", state.queued, state.provider)
        for circuit in CIRCUITS:
            yield _one("headwater_provider_circuit", int(circuit == state.circuit), state.provider, circuit)


def _models(whole: Bucket) -> Iterator[Sample]:
    for name, part in whole.models.items():
        yield _one("headwater_model_streams_total", part.streams, name)
        yield _one("headwater_model_tokens_total", part.prompt_tokens, name, "prompt")
        yield _one("headwater_model_tokens_total", part.completion_tokens, name, "completion")
        for currency, amount in part.costs.items():
            yield _one("headwater_model_cost_total", amount, name, currency)


def _calls(place: Place, figures: CallFigures) -> Iterator[Sample]:
    """What was measured of it: an empty histogram says nothing."""
    labels = "chat", *place
    prefix = "gen_ai_client_operation"
    for error, duration in figures.durations.items():
        yield _one(f"{prefix}_duration_seconds", _of_histogram(duration), *labels, error)
    if figures.first_chunk.count:
        yield _one(f"{prefix}_time_to_first_chunk_seconds", _of_histogram(figures.first_chunk), *labels)
    if figures.output_chunk.count:
        yield _one(f"{prefix}_time_per_output_chunk_seconds", _of_histogram(figures.output_chunk), *labels)
    for kind, tokens in (("input", figures.prompt_tokens), ("output", figures.completion_tokens)):
        if tokens.count:
            yield _one("gen_ai_client_token_usage", _of_histogram(tokens), *labels, kind)


def _of_sketch(sketch: Sketch, bounds: Sequence[float]) -> Cumulated:
    return Cumulated(bounds, sketch.count_up_to(bounds), sketch.count, sketch.total)


def _of_histogram(histogram: Histogram) -> Cumulated:
    counts, whole = [], 0
    for number in histogram.counts:
        whole += number
        counts.append(whole)
    return Cumulated(histogram.bounds, counts[:-1], whole, histogram.total)

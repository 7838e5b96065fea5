"""A snapshot as Prometheus reads it: every family once, every sample under its name, by the client's own parser."""

from __future__ import annotations

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from headwater.telemetry.alerts import Alert
from headwater.telemetry.bucket import Bucket
from headwater.telemetry.calls import Calls, Place
from headwater.telemetry.exposition import render
from headwater.telemetry.families import FAMILIES
from headwater.telemetry.figures import Now, ProviderState, StreamsNow, ViewersNow
from headwater.telemetry.snapshot import Disk, Snapshot

NOW = Now(StreamsNow(3, 10, 1, 5, {"streaming": 2, "queued": 1}), ViewersNow(4, 100), 1000)
ALERT = Alert("provider_down", "a", "share", 1.0, 0.5, "2026-01-01T00:00:00Z", None, "a: down")


def whole() -> Bucket:
    bucket = Bucket()
    counts = bucket.counts
    counts.started, counts.done, counts.failed, counts.attached, counts.drops = 9, 6, 2, 11, 3
    counts.chunks, counts.sent_bytes, counts.hedges = 40, 4000, 1
    counts.retransmissions, counts.packets_lost = 5, 2
    bucket.timings.rtt.add_all([0.002, 0.03])
    bucket.fail("provider_timeout", 2)
    bucket.timings.first_token.add_all([0.04, 0.2, 3.0])
    provider = bucket.provider("a")
    provider.attempts, provider.failures = 8, 2
    model = bucket.model('m"\n')
    model.streams, model.prompt_tokens, model.completion_tokens, model.costs = 8, 70, 110, {"EUR": 0.5}
    return bucket


def calls() -> Calls:
    calls = Calls(10)
    figures = calls.of(Place("a", "m"))
    figures.first_chunk.add(0.3)
    for gap in (0.015, 0.2):
        figures.output_chunk.add(gap)
    figures.duration("").add(2.0)
    figures.duration("provider_timeout").add(100.0)
    figures.prompt_tokens.add(70)
    figures.completion_tokens.add(110)
    return calls


def snapshot(**other: object) -> Snapshot:
    told = {
        "whole": whole(), "calls": calls(), "now": NOW, "providers": [ProviderState("a", "half_open", 2, 1)],
        "alerts": [ALERT], "mean_gap_s": 0.05, "error_rate": 0.25, "log_failing": True, "log_lag_s": 0.5,
        "disk": Disk(1000, 400),
    }  # fmt: skip
    return Snapshot(**told | other)  # type: ignore[arg-type]


async def samples(taken: Snapshot) -> dict[tuple[str, ...], float]:
    text, _ = await render(taken, "")
    found = {}
    for family in parse(text.decode()):
        for sample in family.samples:
            told = FAMILIES.get(family.name) or FAMILIES.get(f"{family.name}_total")
            order = [*(told.labels if told else ()), "le"]
            key = (sample.name, *(sample.labels[label] for label in order if label in sample.labels))
            assert key not in found, key
            found[key] = sample.value
    return found


async def test_every_figure_is_under_its_name() -> None:
    told = await samples(snapshot())
    expected: dict[tuple[str, ...], float] = {
        ("stream_connections_total",): 11, ("stream_connections_active",): 4, ("stream_chunks_total",): 40,
        ("stream_bytes_total",): 4000, ("stream_latency_average_seconds",): 0.05, ("stream_errors_rate",): 0.25,
        ("headwater_streams", "streaming"): 2, ("headwater_streams_ended_total", "failed"): 2,
        ("headwater_stream_failures_total", "provider_timeout"): 2, ("headwater_connections_dropped_total",): 3,
        ("headwater_connection_retransmissions_total",): 5, ("headwater_connection_packets_lost_total",): 2,
        ("headwater_connection_rtt_seconds_bucket", "0.0025"): 1,
        ("headwater_route_events_total", "hedge"): 1, ("headwater_provider_calls_total", "a", "done"): 6,
        ("headwater_provider_circuit", "a", "half_open"): 1, ("headwater_provider_circuit", "a", "open"): 0,
        ("headwater_model_cost_total", 'm"\n', "EUR"): 0.5, ("headwater_log_failing",): 1,
        ("headwater_log_lag_seconds",): 0.5, ("headwater_disk_free_bytes",): 400,
        ("headwater_alert_firing", "provider_down", "a"): 1,
        ("headwater_stream_first_token_seconds_count",): 3,
        ("headwater_stream_first_token_seconds_bucket", "0.25"): 2,
        ("headwater_stream_first_token_seconds_bucket", "+Inf"): 3,
        ("gen_ai_client_operation_time_per_output_chunk_seconds_sum", "chat", "a", "m"): 0.215,
        ("gen_ai_client_operation_time_per_output_chunk_seconds_bucket", "chat", "a", "m", "0.02"): 1,
        ("gen_ai_client_operation_duration_seconds_bucket", "chat", "a", "m", "provider_timeout", "81.92"): 0,
        ("gen_ai_client_token_usage_sum", "chat", "a", "m", "input"): 70,
    }  # fmt: skip
    for key, value in expected.items():
        assert told[key] == pytest.approx(value), key
    assert told["process_open_fds",] > 0


async def test_the_table_is_what_there_is() -> None:
    text, content_type = await render(snapshot(), "application/openmetrics-text;version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    families = {family.name: family for family in parse_openmetrics(text.decode()) if family.samples}
    for name, family in FAMILIES.items():
        found = families[name.removesuffix("_total")]
        assert (found.type, found.documentation) == (family.kind, family.meaning)
        assert set(family.labels) == set().union(*(sample.labels for sample in found.samples)) - {"le"}, name
    assert {name for name in families if not name.startswith(("process_", "python_"))} == {
        name.removesuffix("_total") for name in FAMILIES
    }


async def test_what_was_not_measured_is_absent() -> None:
    nothing = Snapshot(
        whole=Bucket(), calls=Calls(1), now=NOW, providers=[], alerts=[], mean_gap_s=None, error_rate=None,
        log_failing=False, log_lag_s=0.0, disk=None,
    )  # fmt: skip
    names = {key[0] for key in await samples(nothing)}
    assert "stream_connections_total" in names
    assert not names & {
        "stream_errors_rate", "stream_latency_average_seconds", "headwater_disk_free_bytes", "headwater_alert_firing",
    }  # fmt: skip
    assert not any(name.startswith("gen_ai") for name in names)


async def test_a_call_tells_only_what_was_measured_of_it() -> None:
    some = Calls(10)
    some.of(Place("a", "m")).duration("").add(1.0)
    names = {key[0] for key in await samples(snapshot(calls=some)) if key[0].startswith("gen_ai")}
    assert {name.rpartition("_")[0] for name in names} == {"gen_ai_client_operation_duration_seconds"}

"""Figures over time: every metric is read from the right figure, and what was not measured is null."""

from __future__ import annotations

import pytest

from headwater.telemetry.bucket import Bucket, Counts
from headwater.telemetry.series import METRICS, series_of

from .test_bucket import bucket_of


def read(name: str, bucket: Bucket) -> list[float | None]:
    told = series_of([bucket], [name], at_ms=0, start_ms=0, window_s=60, step_s=60)
    return [values[0] for values in told.data[0].values.values()]


@pytest.mark.parametrize("name", [name for name in METRICS if METRICS[name].unit == "1"])
def test_a_count_is_its_own(name: str) -> None:
    bucket = bucket_of(3)
    source = bucket.counts if name in Counts.__struct_fields__ else bucket.peaks
    assert read(name, bucket) == [getattr(source, name)]


def test_rates_are_by_measured_time() -> None:
    bucket = bucket_of(4)
    bucket.covered_s = 2.0
    assert read("chunks_per_s", bucket) == [bucket.counts.chunks / 2]
    assert read("bytes_per_s", bucket) == [bucket.counts.sent_bytes / 2]
    assert read("tokens_per_s", bucket) == [bucket.counts.completion_tokens / 2]
    assert read("streams_per_s", bucket) == [bucket.counts.started / 2]
    assert read("error_rate", bucket) == [bucket.counts.failed / (bucket.counts.failed + bucket.counts.done)]


def test_durations_are_quantiles_in_milliseconds() -> None:
    bucket = Bucket(covered_s=1.0)
    bucket.timings.first_token.add_all([0.1] * 90 + [0.2] * 9 + [0.9])
    assert read("first_token_ms", bucket) == [pytest.approx(v, rel=0.011) for v in (100, 200, 200)]
    assert read("setup_ms", bucket) == [None, None, None]


def test_a_step_without_measuring_is_null() -> None:
    told = series_of([Bucket(), bucket_of(1)], ["streams", "done"], at_ms=5, start_ms=60_000, window_s=120, step_s=60)
    assert told.times == [60, 120]
    assert [one.metric for one in told.data] == ["streams", "done"]
    assert told.data[0].values["value"][0] is None
    assert told.data[0].values["value"][1] is not None


def test_an_unknown_metric_is_told() -> None:
    with pytest.raises(KeyError):
        series_of([], ["nonsense"], at_ms=0, start_ms=0, window_s=1, step_s=1)


@pytest.mark.parametrize("name", ["retransmissions", "packets_lost"])
def test_of_a_network_that_nobody_measured_nothing_is_told(name: str) -> None:
    bucket = bucket_of(3)
    assert read(name, bucket) == [None]
    bucket.timings.rtt.add(0.01)
    assert read(name, bucket) == [getattr(bucket.counts, name)]

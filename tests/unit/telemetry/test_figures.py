"""What is told of a bucket."""

from __future__ import annotations

import pytest

from headwater.telemetry.bucket import Bucket
from headwater.telemetry.figures import Now, ProviderState, StreamsNow, Summary, ViewersNow, summarize

from .test_bucket import bucket_of

NOW = Now(StreamsNow(3, 10, 1, 5, {"streaming": 3}), ViewersNow(2, 20), 150_000_000)


def test_a_summary_tells_what_was_counted() -> None:
    bucket = bucket_of(2)
    states = [ProviderState("anthropic", "open", 4, 1), ProviderState("openai", "closed", 2)]
    told = summarize(bucket, at_ms=1000, window_s=60, now=NOW, providers=states)
    counts = bucket.counts
    assert (told.at, told.window_s, told.covered_s, told.now) == ("1970-01-01T00:00:01.000Z", 60, 2.0, NOW)
    assert (told.totals.viewers, told.totals.resumed, told.totals.chunks) == (
        counts.attached, counts.resumed, counts.chunks,
    )  # fmt: skip
    assert told.rates.chunks_per_s == counts.chunks / 2
    bucket.counts.cpu_ms = 500
    assert summarize(bucket, at_ms=0, window_s=60, now=NOW, providers=[]).rates.cpu_cores == 0.25
    assert told.rates.bytes_per_s == counts.sent_bytes / 2
    assert told.rates.tokens_per_s == counts.completion_tokens / 2
    assert told.rates.error_rate == counts.failed / (counts.failed + counts.done)
    assert told.durations.setup.p95 == pytest.approx(2, rel=0.011)
    assert told.durations.first_token.p50 is None
    [reason] = told.reasons
    assert (reason.reason, reason.count) == ("provider_timeout", 2)
    anthropic, openai = told.providers
    assert (anthropic.provider, anthropic.circuit, anthropic.running, anthropic.queued) == ("anthropic", "open", 4, 1)
    assert (anthropic.attempts, anthropic.error_rate, anthropic.first_token.count) == (0, None, 0)
    assert (openai.attempts, openai.failures, openai.error_rate) == (4, 2, 0.5)
    assert openai.first_token.p95 == pytest.approx(200, rel=0.011)
    [model] = told.models
    assert (model.model, model.streams, model.cost[0].amount, model.cost[0].currency) == ("gpt", 2, 1.0, "EUR")


def test_nothing_measured_is_null_and_never_nought() -> None:
    told = summarize(Bucket(), at_ms=0, window_s=60, now=NOW, providers=[])
    assert (told.rates.chunks_per_s, told.rates.error_rate, told.rates.cpu_cores) == (None, None, None)
    # Minutes of a release that did not look at the process.
    assert summarize(Bucket(2.0), at_ms=0, window_s=60, now=NOW, providers=[]).rates.cpu_cores is None
    duration = told.durations.chunk_gap
    assert (duration.count, duration.mean, duration.p50, duration.p99, duration.max) == (0, None, None, None, None)


def test_the_most_come_first_and_a_provider_of_the_past_has_no_state() -> None:
    bucket = Bucket()
    for reason, count in (("b", 2), ("a", 2), ("c", 9)):
        bucket.fail(reason, count)
    bucket.provider("gone").attempts = 1
    told = summarize(bucket, at_ms=0, window_s=60, now=NOW, providers=[])
    assert [one.reason for one in told.reasons] == ["c", "a", "b"]
    [provider] = told.providers
    assert (provider.provider, provider.circuit, provider.running) == ("gone", None, None)


def test_shares_of_connections_and_ends() -> None:
    bucket = Bucket()
    counts = bucket.counts
    counts.done, counts.failed, counts.cancelled = 6, 1, 3
    counts.attached, counts.resumed, counts.reset = 8, 1, 1
    counts.chunks, counts.texts, counts.text_bytes = 9, 4, 30  # the others thought, or called tools
    rates = summarize(bucket, at_ms=0, window_s=60, now=NOW, providers=[]).rates
    assert (rates.completion_rate, rates.reconnection_rate, rates.mean_chunk_bytes) == (0.6, 0.25, 7.5)


def test_the_network_is_told_where_it_was_measured_and_else_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Bucket()
    bucket.counts.retransmissions, bucket.counts.packets_lost = 3, 2

    def told() -> Summary:
        return summarize(bucket, at_ms=0, window_s=60, now=NOW, providers=[])

    assert (told().totals.retransmissions, told().totals.packets_lost, told().durations.rtt.mean) == (None, None, None)
    assert "no connection" in (told().network or "")
    monkeypatch.setattr("sys.platform", "darwin")
    assert "Linux" in (told().network or "")
    monkeypatch.undo()
    bucket.timings.rtt.add_all([0.010, 0.030])
    assert (told().totals.retransmissions, told().totals.packets_lost, told().network) == (3, 2, None)
    assert (told().durations.rtt.min, told().durations.rtt.mean, told().durations.rtt.max) == (10.0, 20.0, 30.0)

"""What the figures are as they are told: summaries, series, the streams of this moment. Durations in milliseconds.

Only what was measured: a quantile without a value, and a rate over no time, is null.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

from ..instants import rfc3339
from .bucket import Bucket
from .sketch import Sketch

BreakerState: TypeAlias = Literal["closed", "open", "half_open"]


class ProviderState(msgspec.Struct, frozen=True):
    """A provider now. `circuit`: the worst of its models'; `running`, `queued`: calls under way, and waiting."""

    provider: str
    circuit: BreakerState = "closed"
    running: int = 0
    queued: int = 0


class Disk(msgspec.Struct, frozen=True):
    """The file system that the data directory is on. `free_bytes`: for who is not root."""

    size_bytes: int
    free_bytes: int


class StreamsNow(msgspec.Struct, frozen=True):
    """Produced by this process. `limit`, `queue_limit`: `max_streams` and `max_queued`."""

    active: int
    limit: int
    queued: int
    queue_limit: int
    by_state: dict[str, int]


class ViewersNow(msgspec.Struct, frozen=True):
    """`limit`: `max_connections`."""

    active: int
    limit: int


class Now(msgspec.Struct, frozen=True):
    """`memory_bytes`: resident in this process. `disk`: null where nothing is kept, or nobody could tell."""

    streams: StreamsNow
    viewers: ViewersNow
    memory_bytes: int
    disk: Disk | None = None


class Duration(msgspec.Struct, frozen=True):
    """Milliseconds. The quantiles are within 1 %, and what is below a tenth of a millisecond counts as that."""

    count: int
    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None
    min: float | None


class Durations(msgspec.Struct, frozen=True):
    """`setup`: from a stream's acceptance to its being in the log. `first_token`: from acceptance to the first content.

    `chunk_gap`: between two deliveries of one answer's content; `duration`: from acceptance to the end. `rtt`: round
    trips of viewers' connections, of up to fifty that are busy in a second and of each that goes.
    """

    setup: Duration
    first_token: Duration
    chunk_gap: Duration
    duration: Duration
    rtt: Duration


class Totals(msgspec.Struct, frozen=True):
    """Within the window. `started`: accepted; `recovered`: taken up from an earlier process; the next three: ended.

    `viewers`: attached; `resumed`: of them, those that came back with a known cursor; `reset`: with one that is not;
    `left_early`: viewers that left before the end; `drops`: connections that were lost before they had all, which the
    server had not sent away. Tokens count when their stream ends. Bytes: of the answers' text, which came in `texts` of
    the chunks, and of the frames that were sent. `retransmissions`, `packets_lost`: null where no connection's were
    measured (`network`).
    """

    started: int
    recovered: int
    done: int
    failed: int
    cancelled: int
    viewers: int
    resumed: int
    reset: int
    left_early: int
    retries: int
    fallbacks: int
    hedges: int
    continuations: int
    chunks: int
    text_bytes: int
    sent_bytes: int
    prompt_tokens: int
    completion_tokens: int
    texts: int
    drops: int
    retransmissions: int | None
    packets_lost: int | None


class Rates(msgspec.Struct, frozen=True):
    """A second of measured time. Shares, 0 to 1: `error_rate`: failed of done and failed streams; `completion_rate`:
    done of all that ended; `reconnection_rate`: viewers that came back of all that came. `mean_chunk_bytes`: of text.
    `cpu_cores`: CPU seconds.
    """

    chunks_per_s: float | None
    bytes_per_s: float | None
    tokens_per_s: float | None
    streams_per_s: float | None
    error_rate: float | None
    cpu_cores: float | None
    completion_rate: float | None
    reconnection_rate: float | None
    mean_chunk_bytes: float | None


class ReasonFigures(msgspec.Struct, frozen=True):
    reason: str
    count: int


class ProviderFigures(msgspec.Struct, frozen=True):
    """`first_token`: from the call. `circuit`, `running`, `queued`: null for one that is not configured any more."""

    provider: str
    circuit: BreakerState | None
    running: int | None
    queued: int | None
    attempts: int
    failures: int
    error_rate: float | None
    first_token: Duration


class Money(msgspec.Struct, frozen=True):
    amount: float
    currency: str


class ModelFigures(msgspec.Struct, frozen=True):
    """Streams that ended. `cost`: of those whose price is known."""

    model: str
    streams: int
    prompt_tokens: int
    completion_tokens: int
    cost: list[Money]


class Summary(msgspec.Struct, frozen=True, tag_field="object", tag="metrics.summary"):
    """`window_s`: as asked for; `covered_s`: how much of it was measured. `reasons`: of failures, the most first.

    `network`: why there is no figure of the viewers' network; null: there is.
    """

    at: str
    window_s: int
    covered_s: float
    now: Now
    totals: Totals
    rates: Rates
    durations: Durations
    reasons: list[ReasonFigures]
    providers: list[ProviderFigures]
    models: list[ModelFigures]
    network: str | None


def summarize(bucket: Bucket, *, at_ms: int, window_s: int, now: Now, providers: Sequence[ProviderState]) -> Summary:
    counts = bucket.counts
    totals = {name: getattr(counts, name) for name in Totals.__struct_fields__ if name != "viewers"}
    timings = bucket.timings
    network = why_no_network(timings.rtt)
    if network is not None:
        totals |= {"retransmissions": None, "packets_lost": None}
    reasons = sorted(bucket.reasons.items(), key=lambda item: (-item[1], item[0]))
    return Summary(
        at=rfc3339(at_ms),
        window_s=window_s,
        covered_s=round(bucket.covered_s, 3),
        now=now,
        totals=Totals(**totals, viewers=counts.attached),
        rates=rates_of(bucket),
        durations=Durations(
            setup=duration_of(timings.setup),
            first_token=duration_of(timings.first_token),
            chunk_gap=duration_of(timings.chunk_gap),
            duration=duration_of(timings.duration),
            rtt=duration_of(timings.rtt),
        ),
        reasons=[ReasonFigures(reason, number) for reason, number in reasons],
        providers=_providers(bucket, providers),
        models=_models(bucket),
        network=network,
    )


def why_no_network(rtt: Sketch) -> str | None:
    """Why nothing is known of connections in a time with these round trips; None: something is."""
    if rtt.bins:
        return None
    if sys.platform != "linux":
        return "only Linux tells of its connections (TCP_INFO)"
    return "no connection was measured in this time"


def rates_of(bucket: Bucket) -> Rates:
    counts = bucket.counts
    return Rates(
        chunks_per_s=_a_second(bucket, counts.chunks),
        bytes_per_s=_a_second(bucket, counts.sent_bytes),
        tokens_per_s=_a_second(bucket, counts.completion_tokens),
        streams_per_s=_a_second(bucket, counts.started),
        error_rate=share(counts.failed, counts.done + counts.failed),
        cpu_cores=_a_second(bucket, counts.cpu_ms / 1000) or None,
        completion_rate=share(counts.done, counts.done + counts.failed + counts.cancelled),
        reconnection_rate=share(counts.resumed + counts.reset, counts.attached),
        mean_chunk_bytes=share(counts.text_bytes, counts.texts),
    )


def _a_second(bucket: Bucket, count: float) -> float | None:
    return count / bucket.covered_s if bucket.covered_s > 0 else None


def share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def duration_of(sketch: Sketch) -> Duration:
    count = sketch.count
    p50, p95, p99 = sketch.quantiles(0.5, 0.95, 0.99)
    most, least = (sketch.largest, sketch.smallest) if count else (None, None)
    return Duration(count, _ms(sketch.mean), _ms(p50), _ms(p95), _ms(p99), _ms(most), _ms(least))


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)


def _providers(bucket: Bucket, states: Sequence[ProviderState]) -> list[ProviderFigures]:
    """Those that are configured, in their order; then those that only the past knows."""
    known = {state.provider: state for state in states}
    figures = []
    for name in [*known, *sorted(bucket.providers.keys() - known.keys())]:
        state, part = known.get(name), bucket.providers.get(name)
        figures.append(
            ProviderFigures(
                provider=name,
                circuit=None if state is None else state.circuit,
                running=None if state is None else state.running,
                queued=None if state is None else state.queued,
                attempts=0 if part is None else part.attempts,
                failures=0 if part is None else part.failures,
                error_rate=None if part is None else share(part.failures, part.attempts),
                first_token=duration_of(Sketch() if part is None else part.first_token),
            )
        )
    return figures


def _models(bucket: Bucket) -> list[ModelFigures]:
    """The most used first."""
    ordered = sorted(bucket.models.items(), key=lambda item: (-item[1].streams, item[0]))
    return [
        ModelFigures(
            name,
            part.streams,
            part.prompt_tokens,
            part.completion_tokens,
            [Money(round(amount, 10), currency) for currency, amount in sorted(part.costs.items())],
        )
        for name, part in ordered
    ]

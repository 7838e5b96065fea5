"""What happened in a span of time, as figures that add up: seconds make minutes, minutes make days.

Everything that carries a caller's word as its name is bounded (`MAX_NAMES`): what comes on top is counted as `OTHER`.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from .sketch import Sketch

MAX_NAMES = 50
OTHER = "other"

PartT = TypeVar("PartT")


class Counts(msgspec.Struct, array_like=True):
    """`chunks`: events of content; `text_bytes`: UTF-8 of the answers' text; `sent_bytes`: of frames to viewers.

    `resumed`: viewers that came back with a cursor that is known, `reset`: with one that is not. `left_early`: viewers
    that left before the end; `drops`: of them those that this side did not send away, and those that were lost before
    they had all of an ended answer. `texts`: of the chunks those that `text_bytes` are of. `retransmissions`,
    `packets_lost`: of the connections that were looked at. `cpu_ms`: of this process, 0 where it was not measured. New
    fields are added at the end: rows on disk have those that there were.
    """

    started: int = 0
    recovered: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    chunks: int = 0
    text_bytes: int = 0
    sent_bytes: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    attached: int = 0
    resumed: int = 0
    reset: int = 0
    left_early: int = 0
    retries: int = 0
    fallbacks: int = 0
    hedges: int = 0
    continuations: int = 0
    cpu_ms: float = 0.0
    texts: int = 0
    drops: int = 0
    retransmissions: int = 0
    packets_lost: int = 0


class Peaks(msgspec.Struct, array_like=True):
    """The most that there was at once. `memory_bytes`: resident, 0 where it was not measured.

    `log_lag_ms`: the longest that a commit was seen to be under way.
    """

    streams: int = 0
    queued: int = 0
    viewers: int = 0
    memory_bytes: int = 0
    log_lag_ms: int = 0


class Timings(msgspec.Struct, array_like=True):
    """`setup`: from acceptance to the stream's being in the log. `first_token`: from acceptance to the first content.

    `chunk_gap`: between two deliveries of content of one stream; what came in one read is one delivery. `duration`:
    from acceptance to the end. All to what viewers can see, to within the loop's clock (1 ms). `rtt`: round trips of
    viewers' connections, as the system measures them.
    """

    setup: Sketch = msgspec.field(default_factory=Sketch)
    first_token: Sketch = msgspec.field(default_factory=Sketch)
    chunk_gap: Sketch = msgspec.field(default_factory=Sketch)
    duration: Sketch = msgspec.field(default_factory=Sketch)
    rtt: Sketch = msgspec.field(default_factory=Sketch)


class ProviderPart(msgspec.Struct, array_like=True):
    """`attempts`: calls that ended by themselves, well or not; `first_token`: from the call."""

    attempts: int = 0
    failures: int = 0
    first_token: Sketch = msgspec.field(default_factory=Sketch)

    def merge(self, other: ProviderPart) -> None:
        self.attempts += other.attempts
        self.failures += other.failures
        self.first_token.merge(other.first_token)


class ModelPart(msgspec.Struct, array_like=True):
    """Streams that have ended. `costs` by currency, of those whose price is known."""

    streams: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    costs: dict[str, float] = {}

    def merge(self, other: ModelPart) -> None:
        self.streams += other.streams
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        for currency, amount in other.costs.items():
            self.costs[currency] = self.costs.get(currency, 0.0) + amount


class Bucket(msgspec.Struct, array_like=True):
    """`covered_s`: how long was measured, so that a rate is a count by it; `reasons`: of failures."""

    covered_s: float = 0.0
    counts: Counts = msgspec.field(default_factory=Counts)
    peaks: Peaks = msgspec.field(default_factory=Peaks)
    timings: Timings = msgspec.field(default_factory=Timings)
    reasons: dict[str, int] = {}
    providers: dict[str, ProviderPart] = {}
    models: dict[str, ModelPart] = {}

    def merge(self, other: Bucket, *, names: int = MAX_NAMES) -> None:
        """`names`: how many models, providers and reasons are told apart."""
        self.covered_s += other.covered_s
        for name in Counts.__struct_fields__:
            if more := getattr(other.counts, name):
                setattr(self.counts, name, getattr(self.counts, name) + more)
        for name in Peaks.__struct_fields__:
            setattr(self.peaks, name, max(getattr(self.peaks, name), getattr(other.peaks, name)))
        for name in Timings.__struct_fields__:
            if (sketch := getattr(other.timings, name)).bins:
                getattr(self.timings, name).merge(sketch)
        for reason, number in other.reasons.items():
            self.fail(reason, number, names=names)
        for name, provider in other.providers.items():
            self.provider(name, names=names).merge(provider)
        for name, model in other.models.items():
            self.model(name, names=names).merge(model)

    def fail(self, reason: str, number: int = 1, *, names: int = MAX_NAMES) -> None:
        name = _bounded(self.reasons, reason, names)
        self.reasons[name] = self.reasons.get(name, 0) + number

    def provider(self, name: str, *, names: int = MAX_NAMES) -> ProviderPart:
        return self.providers.setdefault(_bounded(self.providers, name, names), ProviderPart())

    def model(self, name: str, *, names: int = MAX_NAMES) -> ModelPart:
        return self.models.setdefault(_bounded(self.models, name, names), ModelPart())


def _bounded(known: dict[str, PartT], name: str, limit: int) -> str:
    return name if name in known or len(known) < limit else OTHER


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Bucket).decode


def encode_bucket(bucket: Bucket) -> bytes:
    """As it is stored: a few hundred bytes for a quiet minute, about two thousand for a busy one."""
    return _encode(bucket)


def decode_bucket(row: bytes) -> Bucket:
    """Raises `ValueError` for what is none."""
    try:
        return _decode(row)
    except (msgspec.DecodeError, UnicodeError) as exc:
        raise ValueError(f"a row of figures does not decode: {exc}") from exc

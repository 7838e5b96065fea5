"""Alerts: what is over its threshold, told once when it begins and once when it is over.

Each is evaluated over a window, fires when it is above its threshold twice in a row, and is over when it is below
`CLEAR` of that twice in a row: a value that wavers around the threshold makes one alert, not many.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from ..instants import rfc3339
from .bucket import Bucket
from .figures import ProviderState, duration_of, share
from .settings import TelemetrySettings
from .sketch import Sketch

AlertName: TypeAlias = Literal["error_rate", "first_token", "chunk_gap", "provider_down"]

CLEAR = 0.8
IN_A_ROW = 2
# Too few to say anything: one failure of two streams is no rate.
MIN_ENDED = 10
MIN_FIRST_TOKENS = 5
MIN_CHUNK_GAPS = 100
MIN_ATTEMPTS = 5
MAX_PAST = 100


class Alert(msgspec.Struct, frozen=True):
    """`subject`: the provider, where it is about one. `value` and `threshold` in `unit`; `value`: the worst so far.

    `ended_at`: null while it lasts.
    """

    name: AlertName
    subject: str
    unit: Literal["share", "ms"]
    value: float
    threshold: float
    began_at: str
    ended_at: str | None
    message: str


class _Found(NamedTuple):
    """One thing that was looked at. `value` None: there is too little to tell."""

    name: AlertName
    subject: str
    unit: Literal["share", "ms"]
    value: float | None
    threshold: float
    what: str


class _State:
    __slots__ = ("above", "alert", "below")

    def __init__(self) -> None:
        self.above = 0
        self.below = 0
        self.alert: Alert | None = None


class Alerts:
    """Call `evaluate` at regular times; it gives what began and what ended."""

    def __init__(self, settings: TelemetrySettings) -> None:
        self._settings = settings
        self._states: dict[tuple[AlertName, str], _State] = {}
        self._past: deque[Alert] = deque(maxlen=MAX_PAST)

    @property
    def firing(self) -> list[Alert]:
        """The oldest first."""
        found = [state.alert for state in self._states.values() if state.alert is not None]
        return sorted(found, key=lambda alert: (alert.began_at, alert.name, alert.subject))

    @property
    def past(self) -> list[Alert]:
        """Those that are over, the newest first; of this process, and no more than `MAX_PAST`."""
        return list(reversed(self._past))

    def evaluate(self, bucket: Bucket, providers: Sequence[ProviderState], *, at_ms: int) -> list[Alert]:
        changed = []
        looked_at = set()
        for found in self._look(bucket, providers):
            key = found.name, found.subject
            looked_at.add(key)
            state = self._states.setdefault(key, _State())
            if (alert := _judge(state, found, at_ms)) is not None:
                changed.append(alert)
        for key in self._states.keys() - looked_at:
            # A provider that is not configured any more.
            gone = self._states.pop(key).alert
            changed += [] if gone is None else [msgspec.structs.replace(gone, ended_at=rfc3339(at_ms))]
        self._past += [alert for alert in changed if alert.ended_at is not None]
        return changed

    def _look(self, bucket: Bucket, providers: Sequence[ProviderState]) -> Iterator[_Found]:
        settings, counts, timings = self._settings, bucket.counts, bucket.timings
        ended = counts.done + counts.failed
        if threshold := settings.alert_error_rate:
            rate = share(counts.failed, ended) if ended >= MIN_ENDED else None
            yield _Found("error_rate", "", "share", rate, threshold, "of the streams fail")
        if threshold := settings.alert_first_token_ms:
            value = _p95(timings.first_token, MIN_FIRST_TOKENS)
            yield _Found("first_token", "", "ms", value, threshold, "to the first token (p95)")
        if threshold := settings.alert_chunk_gap_ms:
            value = _p95(timings.chunk_gap, MIN_CHUNK_GAPS)
            yield _Found("chunk_gap", "", "ms", value, threshold, "between two chunks (p95)")
        if threshold := settings.alert_provider_error_rate:
            for state in providers:
                value = _illness(state, bucket)
                yield _Found("provider_down", state.provider, "share", value, threshold, "of its calls fail")


def _p95(sketch: Sketch, least: int) -> float | None:
    told = duration_of(sketch)
    return told.p95 if told.count >= least else None


def _illness(state: ProviderState, bucket: Bucket) -> float | None:
    """The share of failed calls; all, where its circuit is open, for then hardly any call is made."""
    if state.circuit != "closed":
        return 1.0
    part = bucket.providers.get(state.provider)
    return share(part.failures, part.attempts) if part is not None and part.attempts >= MIN_ATTEMPTS else None


def _judge(state: _State, found: _Found, at_ms: int) -> Alert | None:
    """The alert where it begins or ends now."""
    value, alert = found.value, state.alert
    state.above = state.above + 1 if value is not None and value > found.threshold else 0
    state.below = state.below + 1 if value is None or value < CLEAR * found.threshold else 0
    if alert is None:
        if state.above < IN_A_ROW or value is None:
            return None
        state.alert = _alert(found, value, rfc3339(at_ms))
        return state.alert
    if value is not None and value > alert.value:
        alert = state.alert = _alert(found, value, alert.began_at)
    if state.below < IN_A_ROW:
        return None
    state.alert = None
    return msgspec.structs.replace(alert, ended_at=rfc3339(at_ms))


def _alert(found: _Found, value: float, began_at: str) -> Alert:
    told = f"{value:.0%}" if found.unit == "share" else f"{value:.0f} ms"
    limit = f"{found.threshold:.0%}" if found.unit == "share" else f"{found.threshold:.0f} ms"
    about = f"{found.subject}: " if found.subject else ""
    message = f"{about}{told} {found.what}; the threshold is {limit}"
    return Alert(found.name, found.subject, found.unit, value, found.threshold, began_at, None, message)

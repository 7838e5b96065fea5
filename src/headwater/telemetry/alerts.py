"""Alerts: what is over its threshold, told once when it begins and once when it is over.

Each is evaluated over a window, fires when it is above its threshold twice in a row, and is over when it is below
`CLEAR` of that twice in a row: a value that wavers around the threshold makes one alert, not many.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, TypeAlias, assert_never

import msgspec

from ..instants import rfc3339
from .bucket import Bucket
from .figures import Disk, ProviderState, duration_of, share
from .settings import TelemetrySettings
from .sketch import Sketch

AlertName: TypeAlias = Literal[
    "error_rate", "first_token", "chunk_gap", "provider_down", "connection_drops", "log_lag", "disk"
]
Unit: TypeAlias = Literal["share", "ms", "1/h"]
EndReason: TypeAlias = Literal["recovered", "unknown", "removed"]

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

    `ended_at`, `end_reason`: null while it lasts; `recovered`: the value is below; `unknown`: there is too little to
    tell, as where nobody calls a provider any more; `removed`: what it was about is not there any more.
    """

    name: AlertName
    subject: str
    unit: Unit
    value: float
    threshold: float
    began_at: str
    ended_at: str | None
    message: str
    end_reason: EndReason | None = None


class Beside(NamedTuple):
    """What is looked at besides the window. `drops`: connections lost in the last hour; None: not known."""

    providers: Sequence[ProviderState]
    drops: int | None = None
    disk: Disk | None = None


class _Found(NamedTuple):
    """One thing that was looked at. `value` None: there is too little to tell."""

    name: AlertName
    subject: str
    unit: Unit
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

    def evaluate(self, bucket: Bucket, beside: Beside, *, at_ms: int) -> list[Alert]:
        """`bucket`: of the window."""
        changed = []
        looked_at = set()
        for found in self._look(bucket, beside):
            key = found.name, found.subject
            looked_at.add(key)
            state = self._states.setdefault(key, _State())
            if (alert := _judge(state, found, at_ms)) is not None:
                changed.append(alert)
        for key in self._states.keys() - looked_at:
            # A provider that is not configured any more.
            gone = self._states.pop(key).alert
            changed += [] if gone is None else [_ended(gone, at_ms, "removed")]
        self._past += [alert for alert in changed if alert.ended_at is not None]
        return changed

    def _look(self, bucket: Bucket, beside: Beside) -> Iterator[_Found]:
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
            for state in beside.providers:
                value = _illness(state, bucket)
                yield _Found("provider_down", state.provider, "share", value, threshold, "of its calls fail")
        yield from self._look_beside(bucket, beside)

    def _look_beside(self, bucket: Bucket, beside: Beside) -> Iterator[_Found]:
        settings, disk = self._settings, beside.disk
        if most := settings.alert_drops_per_hour:
            yield _Found("connection_drops", "", "1/h", beside.drops, most, "connections were lost within an hour")
        if threshold := settings.alert_log_lag_ms:
            lag_ms = float(bucket.peaks.log_lag_ms)
            yield _Found("log_lag", "", "ms", lag_ms, threshold, "for a commit to the log")
        if threshold := settings.alert_disk_used:
            used = None if disk is None else share(disk.size_bytes - disk.free_bytes, disk.size_bytes)
            yield _Found("disk", "", "share", used, threshold, "of the disk with the data is used")


def _p95(sketch: Sketch, least: int) -> float | None:
    told = duration_of(sketch)
    return told.p95 if told.count >= least else None


def _illness(state: ProviderState, bucket: Bucket) -> float | None:
    """The share of failed calls; all, where its circuit is open, for then hardly any call is made.

    A circuit that waits for a probe tells only what the last calls told: none, where none failed within the window,
    else a provider that nobody calls would be down for ever.
    """
    part = bucket.providers.get(state.provider)
    if state.circuit == "open" or (state.circuit == "half_open" and part is not None and part.failures):
        return 1.0
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
    return _ended(alert, at_ms, "unknown" if value is None else "recovered")


def _ended(alert: Alert, at_ms: int, reason: EndReason) -> Alert:
    return msgspec.structs.replace(alert, ended_at=rfc3339(at_ms), end_reason=reason)


def _alert(found: _Found, value: float, began_at: str) -> Alert:
    about = f"{found.subject}: " if found.subject else ""
    message = f"{about}{_told(value, found.unit)} {found.what}; the threshold is {_told(found.threshold, found.unit)}"
    return Alert(found.name, found.subject, found.unit, value, found.threshold, began_at, None, message)


def _told(value: float, unit: Unit) -> str:
    match unit:
        case "share":
            return f"{value:.0%}"
        case "ms":
            return f"{value:.0f} ms"
        case "1/h":
            return f"{value:.0f}"
        case _:
            assert_never(unit)

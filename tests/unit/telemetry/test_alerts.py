"""Alerts begin once, end once, and do not waver."""

from __future__ import annotations

import pytest

from headwater.telemetry.alerts import (
    MAX_PAST,
    MIN_ATTEMPTS,
    MIN_CHUNK_GAPS,
    MIN_ENDED,
    MIN_FIRST_TOKENS,
    Alerts,
    Beside,
)
from headwater.telemetry.bucket import Bucket
from headwater.telemetry.figures import BreakerState, Disk, ProviderState
from headwater.telemetry.settings import TelemetrySettings

OFF = {"alert_drops_per_hour": 0, "alert_log_lag_ms": 0, "alert_disk_used": 0}
HEALTHY = [ProviderState("a")]


def failing(failed: int, ended: int = 100) -> Bucket:
    bucket = Bucket()
    bucket.counts.failed, bucket.counts.done = failed, ended - failed
    return bucket


class World:
    def __init__(self, **settings: float) -> None:
        self.alerts = Alerts(TelemetrySettings(**settings))  # type: ignore[arg-type]
        self.at_ms = 0

    def see(self, bucket: Bucket, providers: list[ProviderState] | None = None, **beside: object) -> list[str]:
        """What began (`+name`) and ended (`-name`)."""
        self.at_ms += 15_000
        looked = Beside(HEALTHY if providers is None else providers, **beside)  # type: ignore[arg-type]
        changed = self.alerts.evaluate(bucket, looked, at_ms=self.at_ms)
        return [("+" if alert.ended_at is None else "-") + alert.name for alert in changed]


def test_an_alert_begins_at_the_second_time_and_ends_at_the_second_time() -> None:
    world = World()
    assert world.see(failing(6)) == []
    assert world.see(failing(9)) == ["+error_rate"]
    assert world.see(failing(20)) == []
    [alert] = world.alerts.firing
    assert (alert.value, alert.threshold, alert.unit, alert.subject) == (0.2, 0.05, "share", "")
    assert alert.began_at == "1970-01-01T00:00:30.000Z"
    assert world.see(failing(1)) == []
    assert world.see(failing(1)) == ["-error_rate"]
    assert world.alerts.firing == []
    [past] = world.alerts.past
    assert (past.value, past.ended_at, past.end_reason) == (0.2, "1970-01-01T00:01:15.000Z", "recovered")
    assert past.message == "20% of the streams fail; the threshold is 5%"


def test_what_wavers_around_the_threshold_is_one_alert() -> None:
    world = World()
    seen = [world.see(failing(failed)) for failed in (6, 4, 6, 6, 5, 6, 5, 5, 3, 5, 3, 3)]
    assert [names for names in seen if names] == [["+error_rate"], ["-error_rate"]]
    assert (seen[3], seen[11]) == (["+error_rate"], ["-error_rate"])


def test_exactly_at_the_threshold_is_not_above_it() -> None:
    world = World()
    assert world.see(failing(5)) == world.see(failing(5)) == []


def slow_first(ms: float, count: int) -> Bucket:
    bucket = Bucket()
    bucket.timings.first_token.add_all([ms / 1000] * count)
    return bucket


def slow_chunks(ms: float, count: int) -> Bucket:
    bucket = Bucket()
    bucket.timings.chunk_gap.add_all([ms / 1000] * count)
    return bucket


@pytest.mark.parametrize(
    ("name", "enough", "few"),
    [
        ("error_rate", failing(10, MIN_ENDED), failing(9, MIN_ENDED - 1)),
        ("first_token", slow_first(5100, MIN_FIRST_TOKENS), slow_first(5100, MIN_FIRST_TOKENS - 1)),
        ("chunk_gap", slow_chunks(1100, MIN_CHUNK_GAPS), slow_chunks(1100, MIN_CHUNK_GAPS - 1)),
    ],
)
def test_too_little_says_nothing(name: str, enough: Bucket, few: Bucket) -> None:
    world = World()
    assert world.see(few) == world.see(few) == []
    assert world.see(enough) == []
    assert world.see(enough) == [f"+{name}"]
    assert world.see(Bucket()) == []
    assert world.see(Bucket()) == [f"-{name}"]


def calls(failures: int, attempts: int) -> Bucket:
    bucket = Bucket()
    part = bucket.provider("a")
    part.attempts, part.failures = attempts, failures
    return bucket


@pytest.mark.parametrize(("circuit", "window"), [("open", Bucket()), ("half_open", calls(1, 1))])
def test_a_provider_whose_circuit_is_not_closed_is_down(circuit: BreakerState, window: Bucket) -> None:
    world = World()
    ill = [ProviderState("a", circuit), ProviderState("b")]
    assert world.see(window, ill) == []
    assert world.see(window, ill) == ["+provider_down"]
    [alert] = world.alerts.firing
    assert (alert.subject, alert.value) == ("a", 1.0)
    assert alert.message == "a: 100% of its calls fail; the threshold is 50%"
    assert world.see(Bucket()) == []
    assert world.see(Bucket()) == ["-provider_down"]


def test_a_provider_that_nobody_calls_any_more_is_not_down_for_ever() -> None:
    """Its circuit waits for a probe that nobody sends: when its failures leave the window, nothing is known of it."""
    world = World()
    waiting = [ProviderState("a", "half_open")]
    world.see(calls(5, 5), waiting)
    assert world.see(calls(1, 5), waiting) == ["+provider_down"]
    assert world.see(calls(1, 5), waiting) == world.see(Bucket(), waiting) == []
    assert world.see(Bucket(), waiting) == ["-provider_down"]
    [past] = world.alerts.past
    assert past.end_reason == "unknown"
    assert world.see(Bucket(), waiting) == world.see(Bucket(), waiting) == []


def test_a_provider_that_mostly_fails_is_down() -> None:
    world = World()
    assert world.see(calls(3, MIN_ATTEMPTS)) == []
    assert world.see(calls(3, MIN_ATTEMPTS)) == ["+provider_down"]


def test_a_provider_that_is_not_configured_any_more_ends_its_alert() -> None:
    world = World()
    ill = [ProviderState("a", "open")]
    world.see(Bucket(), ill)
    world.see(Bucket(), ill)
    assert world.see(Bucket(), []) == ["-provider_down"]
    assert world.alerts.firing == []
    assert world.alerts.past[0].end_reason == "removed"


def lagging(ms: int) -> Bucket:
    bucket = Bucket()
    bucket.peaks.log_lag_ms = ms
    return bucket


@pytest.mark.parametrize(
    ("name", "bad", "good", "message"),
    [
        (
            "connection_drops", {"drops": 101}, {"drops": 79},
            "101 connections were lost within an hour; the threshold is 100",
        ),
        ("log_lag", lagging(2500), lagging(10), "2500 ms for a commit to the log; the threshold is 2000 ms"),
        (
            "disk", {"disk": Disk(1000, 80)}, {"disk": Disk(1000, 400)},
            "92% of the disk with the data is used; the threshold is 90%",
        ),
    ],
)  # fmt: skip
def test_lost_connections_a_slow_log_and_a_full_disk(name: str, bad: object, good: object, message: str) -> None:
    world = World()

    def see(what: object) -> list[str]:
        return world.see(what) if isinstance(what, Bucket) else world.see(Bucket(), **what)  # type: ignore[arg-type]

    assert see(bad) == []
    assert see(bad) == [f"+{name}"]
    assert world.alerts.firing[0].message == message
    assert see(good) == []
    assert see(good) == [f"-{name}"]


def test_what_is_not_known_is_no_alert() -> None:
    world = World()
    assert world.see(Bucket(), drops=None, disk=None) == world.see(Bucket(), disk=Disk(0, 0)) == []


def test_a_threshold_of_zero_switches_off() -> None:
    world = World(alert_error_rate=0, alert_first_token_ms=0, alert_chunk_gap_ms=0, alert_provider_error_rate=0, **OFF)
    bucket = failing(100)
    bucket.merge(slow_first(60_000, 100))
    bucket.merge(slow_chunks(60_000, 100))
    bucket.peaks.log_lag_ms = 60_000
    for _ in range(2):
        assert world.see(bucket, [ProviderState("a", "open")], drops=10_000, disk=Disk(100, 0)) == []


def test_past_alerts_are_bounded_and_the_newest_come_first() -> None:
    world = World()
    for _ in range(MAX_PAST + 5):
        for failed in (50, 50, 0, 0):
            world.see(failing(failed))
    past = world.alerts.past
    assert len(past) == MAX_PAST
    assert past[0].began_at > past[-1].began_at

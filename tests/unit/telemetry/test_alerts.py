"""Alerts begin once, end once, and do not waver."""

from __future__ import annotations

import pytest

from headwater.telemetry.alerts import MAX_PAST, MIN_ATTEMPTS, MIN_CHUNK_GAPS, MIN_ENDED, MIN_FIRST_TOKENS, Alerts
from headwater.telemetry.bucket import Bucket
from headwater.telemetry.figures import BreakerState, ProviderState
from headwater.telemetry.settings import TelemetrySettings

HEALTHY = [ProviderState("a")]


def failing(failed: int, ended: int = 100) -> Bucket:
    bucket = Bucket()
    bucket.counts.failed, bucket.counts.done = failed, ended - failed
    return bucket


class World:
    def __init__(self, **settings: float) -> None:
        self.alerts = Alerts(TelemetrySettings(**settings))  # type: ignore[arg-type]
        self.at_ms = 0

    def see(self, bucket: Bucket, providers: list[ProviderState] | None = None) -> list[str]:
        """What began (`+name`) and ended (`-name`)."""
        self.at_ms += 15_000
        changed = self.alerts.evaluate(bucket, HEALTHY if providers is None else providers, at_ms=self.at_ms)
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
    assert (past.value, past.ended_at) == (0.2, "1970-01-01T00:01:15.000Z")
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


@pytest.mark.parametrize("circuit", ["open", "half_open"])
def test_a_provider_whose_circuit_is_not_closed_is_down(circuit: BreakerState) -> None:
    world = World()
    ill = [ProviderState("a", circuit), ProviderState("b")]
    assert world.see(Bucket(), ill) == []
    assert world.see(Bucket(), ill) == ["+provider_down"]
    [alert] = world.alerts.firing
    assert (alert.subject, alert.value) == ("a", 1.0)
    assert alert.message == "a: 100% of its calls fail; the threshold is 50%"
    assert world.see(Bucket()) == []
    assert world.see(Bucket()) == ["-provider_down"]


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


def test_a_threshold_of_zero_switches_off() -> None:
    world = World(alert_error_rate=0, alert_first_token_ms=0, alert_chunk_gap_ms=0, alert_provider_error_rate=0)
    bucket = failing(100)
    bucket.merge(slow_first(60_000, 100))
    bucket.merge(slow_chunks(60_000, 100))
    assert world.see(bucket, [ProviderState("a", "open")]) == world.see(bucket, [ProviderState("a", "open")]) == []


def test_past_alerts_are_bounded_and_the_newest_come_first() -> None:
    world = World()
    for _ in range(MAX_PAST + 5):
        for failed in (50, 50, 0, 0):
            world.see(failing(failed))
    past = world.alerts.past
    assert len(past) == MAX_PAST
    assert past[0].began_at > past[-1].began_at

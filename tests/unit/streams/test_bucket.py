"""The token bucket: what flows in a minute, what is kept, and debt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.streams.bucket import SLACK, Bucket

Amounts = st.floats(0, 200)


def test_a_full_bucket_gives_its_burst_at_once_and_then_the_rate() -> None:
    bucket = Bucket(60, burst=10, now=100.0)
    for _ in range(10):
        assert bucket.wait_s(1, 100.0) == 0
        bucket.take(1, 100.0)
    assert bucket.wait_s(1, 100.0) == pytest.approx(1)
    assert bucket.wait_s(3, 100.5) == pytest.approx(2.5)
    assert bucket.wait_s(1, 101.0) == 0


def test_no_more_than_the_burst_is_kept() -> None:
    bucket = Bucket(60, burst=10, now=0.0)
    bucket.take(10, 0.0)
    assert bucket.wait_s(10, 1000.0) == 0
    bucket.take(10, 1000.0)
    assert bucket.wait_s(1, 1000.0) == pytest.approx(1)


def test_more_than_it_can_hold_waits_for_a_full_bucket_only() -> None:
    """One prompt larger than the limit must be let through some time, not wait for ever."""
    bucket = Bucket(60, burst=60, now=0.0)
    assert bucket.wait_s(500, 0.0) == 0
    bucket.take(30, 0.0)
    assert bucket.wait_s(500, 0.0) == pytest.approx(30)
    assert bucket.flow_s(500, 0.0) == pytest.approx(470)


def test_debt_delays_the_next_but_by_a_minute_at_most() -> None:
    bucket = Bucket(60, burst=60, now=0.0)
    bucket.take(90, 0.0)
    assert bucket.wait_s(0, 0.0) == pytest.approx(30)
    bucket.take(1_000_000, 0.0)
    assert bucket.wait_s(0, 0.0) == pytest.approx(60)
    assert bucket.wait_s(1_000_000, 0.0) == pytest.approx(120)


def test_what_was_not_used_comes_back_but_never_above_the_burst() -> None:
    bucket = Bucket(60, burst=60, now=0.0)
    bucket.take(50, 0.0)
    bucket.take(-40, 0.0)
    assert bucket.wait_s(50, 0.0) == 0
    bucket.take(-1000, 0.0)
    bucket.take(60, 0.0)
    assert bucket.wait_s(1, 0.0) == pytest.approx(1)


@given(st.lists(st.tuples(st.floats(0, 30), st.floats(0, 20)), max_size=60), st.floats(1, 600), st.floats(20, 100))
def test_who_waits_as_told_never_takes_more_than_burst_and_rate(
    steps: list[tuple[float, float]], per_minute: float, burst: float
) -> None:
    bucket = Bucket(per_minute, burst=burst, now=0.0)
    now = 0.0
    taken: list[tuple[float, float]] = []
    for pause_s, amount in steps:
        now += pause_s
        now += bucket.wait_s(amount, now)
        assert bucket.wait_s(amount, now) < 1e-3
        bucket.take(amount, now)
        taken.append((now, amount))
    for first, (since, _) in enumerate(taken):
        total = 0.0
        for until, amount in taken[first:]:
            total += amount
            assert total <= burst + (until - since) * per_minute / 60 + SLACK * len(taken) * 2


def test_any_number_of_digits() -> None:
    """What a caller writes as `max_tokens` may be more than a float holds."""
    bucket = Bucket(60, burst=60, now=0.0)
    bucket.take(0.5, 0.0)
    assert bucket.flow_s(10**400, 0.0) > 1e9
    bucket.take(10**400, 0.0)
    assert bucket.wait_s(60, 0.0) == pytest.approx(120)
    bucket.take(-(10**400), 0.0)
    assert bucket.wait_s(60, 0.0) == 0

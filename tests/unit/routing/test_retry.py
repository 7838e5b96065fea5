"""Which failures are tried again, and where."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import (
    HeadwaterError,
    InputError,
    ProviderError,
    ProviderProtocolError,
    ProviderRejected,
    ProviderTimeout,
    ProviderTruncated,
    ProviderUnreachable,
    QueueFull,
    StreamLimit,
)
from headwater.routing.retry import RetryPolicy, blames_target, deserves_fallback

STEADY = RetryPolicy(draw=lambda: 1.0)


def rejected(status: int, code: str | None = None, retry_after_s: float | None = None) -> ProviderRejected:
    return ProviderRejected("no", status=status, upstream_code=code, retry_after_s=retry_after_s)


def test_waits_double_up_to_a_bound_and_are_spread() -> None:
    error = ProviderUnreachable("no")
    assert [STEADY.delay_s(n, error) for n in (1, 2, 3, 5, 8)] == [0.5, 1.0, 2.0, 8.0, 8.0]
    assert RetryPolicy(draw=lambda: 0.0).delay_s(1, error) == 0.25


@given(st.integers(1, 50), st.floats(0, 1, exclude_max=True), st.none() | st.floats(0, 100))
def test_a_wait_is_bounded_and_never_shorter_than_asked_for(n: int, draw: float, after: float | None) -> None:
    delay_s = RetryPolicy(draw=lambda: draw).delay_s(n, rejected(429, retry_after_s=after))
    if after is not None and after > 4.0:
        assert delay_s is None
    else:
        assert delay_s is not None
        assert max(0.25, after or 0) <= delay_s <= 8.0


def test_retry_after_is_honoured_within_its_bound() -> None:
    assert STEADY.delay_s(1, rejected(429, retry_after_s=3)) == 3
    assert STEADY.delay_s(1, rejected(429, retry_after_s=0)) == 0.5
    assert STEADY.delay_s(1, rejected(429, retry_after_s=3600)) is None


@pytest.mark.parametrize("error", [rejected(401), rejected(404), InputError("no"), QueueFull("full")])
def test_what_does_not_get_better_by_waiting(error: HeadwaterError) -> None:
    assert STEADY.delay_s(1, error) is None


@pytest.mark.parametrize(
    "error",
    [
        *(rejected(status) for status in (401, 402, 403, 404, 408, 425, 429, 500, 502, 503, 529)),
        ProviderUnreachable("no"),
        ProviderTimeout("no"),
        ProviderTruncated("no"),
        ProviderProtocolError("no"),
        QueueFull("full"),
    ],
)
def test_another_target_may_do_better(error: HeadwaterError) -> None:
    assert deserves_fallback(error)
    assert blames_target(error) == isinstance(error, ProviderError)


@pytest.mark.parametrize(
    "error",
    [
        *(rejected(status) for status in (400, 413, 422)),
        *(rejected(status, "content_filter") for status in (403, 500)),
        rejected(500, "content_policy_violation"),
        InputError("no"),
        StreamLimit("no"),
    ],
)
def test_what_is_wrong_everywhere_ends_at_once(error: HeadwaterError) -> None:
    assert not deserves_fallback(error)
    assert not blames_target(error)

"""Instants as text."""

from __future__ import annotations

import pytest

from headwater.instants import rfc3339


@pytest.mark.parametrize(
    ("unix_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_705_417_620_000, "2024-01-16T15:07:00.000Z"),
        (1_705_417_620_007.5, "2024-01-16T15:07:00.007Z"),
        (951_782_400_999, "2000-02-29T00:00:00.999Z"),
    ],
)
def test_they_are_told_in_utc_to_the_millisecond(unix_ms: float, text: str) -> None:
    assert rfc3339(unix_ms) == text

"""What the banner says of an earlier process's streams."""

from __future__ import annotations

import pytest

from headwater.streams import RecoveryReport
from headwater.terminal.serve import _recovered


@pytest.mark.parametrize(
    ("continued", "restarted", "interrupted", "said"),
    [
        (1, 0, 0, "1 stream continued"),
        (2, 1, 0, "2 streams continued, 1 restarted"),
        (0, 0, 1, "1 stream ended as interrupted"),
        (0, 3, 2, "3 streams restarted, 2 ended as interrupted"),
        (1, 1, 1, "1 stream continued, 1 restarted, 1 ended as interrupted"),
    ],
)
def test_only_what_happened_is_told(continued: int, restarted: int, interrupted: int, said: str) -> None:
    assert _recovered(RecoveryReport(continued=continued, restarted=restarted, interrupted=interrupted)) == said

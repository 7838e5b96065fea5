"""The two times that identity goes by: what a calendar says, and what no one can set back."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    def wall_ms(self) -> int:
        """Unix milliseconds: when something expires, when a period begins."""
        ...

    def steady_s(self) -> float:
        """Seconds since any moment, never backwards: how old something kept in memory is."""
        ...


class SystemClock:
    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def steady_s(self) -> float:
        return time.monotonic()

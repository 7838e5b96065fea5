"""What the tests of identity share: a clock of their own, and stores that count or fail."""

from __future__ import annotations

import time

from headwater.errors import StoreUnavailable
from headwater.store import Store


class ManualClock:
    """Both times move together, and only when a test says so."""

    def __init__(self) -> None:
        self.ms = 1_760_000_000_000  # 2025-10-09T08:53:20Z
        self.s = 1000.0

    def wall_ms(self) -> int:
        return self.ms

    def steady_s(self) -> float:
        return self.s

    def advance(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)
        self.s += seconds


class PresentClock(ManualClock):
    """Begins at the present, by which PyJWT checks."""

    def __init__(self) -> None:
        super().__init__()
        self.ms = time.time_ns() // 1_000_000


class CountedStore:
    """Counts how often it is asked for; `away`: whether it fails. None: there is no database yet."""

    def __init__(self, store: Store | None) -> None:
        self.store = store
        self.asked = 0
        self.away = False

    async def existing(self) -> Store | None:
        self.asked += 1
        if self.away:
            raise StoreUnavailable("away")
        return self.store

    async def opened(self) -> Store:
        store = await self.existing()
        if store is None:
            raise StoreUnavailable("none")
        return store

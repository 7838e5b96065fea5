"""A loop whose time jumps to the next timer: minutes of waiting take no time, and come out the same each run.

A loop that waits for nothing at all would hang; here that is an error.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Jumping(selectors.SelectSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everybody waits, and nothing is due"
        self.now += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Only timers pass its time. No sockets, no threads."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    @property
    def timers(self) -> int:
        """How many are to ring."""
        return sum(not timer.cancelled() for timer in self._scheduled)  # type: ignore[attr-defined]


def run_virtual(work: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` in a loop of this kind, which starts at second 0."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


def pending_timers() -> int:
    """Of the running loop, which is a virtual one."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop.timers


def loop_time() -> float:
    """The running loop's time, as a clock to inject."""
    return asyncio.get_running_loop().time()

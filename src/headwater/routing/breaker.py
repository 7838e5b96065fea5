"""A circuit breaker: a target that fails again and again is left alone for a while, then probed by one request.

closed ──`failures` in a row──▶ open ──after `open_s`──▶ half-open ──success──▶ closed
                                  ▲──────the probe fails (twice as long)──────┘
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal, TypeAlias

State: TypeAlias = Literal["closed", "open", "half_open"]

_log = logging.getLogger(__name__)

_MAX_OPEN_S = 300.0


class Breaker:
    """`failures = 0` switches it off. `now`: a monotonic clock in seconds. `name`: for the operator's log.

    Whoever sends a request calls `begin`, then exactly one of `succeed`, `fail` and `let_go`.
    """

    __slots__ = ("_failures", "_first_open_s", "_limit", "_name", "_now", "_open_s", "_probed_until", "_until")

    def __init__(self, *, failures: int, open_s: float, now: Callable[[], float], name: str = "") -> None:
        self._name = name
        self._limit = failures
        self._first_open_s = self._open_s = open_s
        self._now = now
        self._failures = 0
        self._until: float | None = None
        # A probe may be an answer of many minutes; after `open_s` it no longer keeps another one from being sent.
        self._probed_until: float | None = None

    @property
    def state(self) -> State:
        if self._until is None:
            return "closed"
        return "half_open" if self._now() >= self._until else "open"

    @property
    def refuses(self) -> bool:
        """Whether other targets should be preferred: it is open, or its one probe is under way."""
        if self._until is None:
            return False
        now = self._now()
        return now < self._until or (self._probed_until is not None and now < self._probed_until)

    def begin(self) -> bool:
        """A request is sent. Whether it is the probe: to be told to `fail` and `let_go`."""
        if self._until is None or self.refuses:
            return False
        self._probed_until = self._now() + self._first_open_s
        return True

    def succeed(self) -> None:
        if self._until is not None:
            _log.warning("%s answers again", self._name)
        self._failures = 0
        self._until = self._probed_until = None
        self._open_s = self._first_open_s

    def fail(self, *, probe: bool, retry_after_s: float | None = None) -> None:
        """`retry_after_s`: what the target itself asked for."""
        self._failures += 1
        if self._until is None:
            if not self._limit or self._failures < self._limit:
                return
        elif not probe:
            return  # it was sent before the others had failed, or in spite of that: it tells nothing new
        else:
            self._open_s = min(_MAX_OPEN_S, 2 * self._open_s)
        self._probed_until = None
        open_s = max(self._open_s, min(retry_after_s or 0.0, _MAX_OPEN_S))
        self._until = self._now() + open_s
        _log.warning("%s failed %d times in a row: others are preferred for %g s", self._name, self._failures, open_s)

    def let_go(self, *, probe: bool) -> None:
        """The request ended without saying anything about the target: cancelled, or refused for its own fault."""
        if probe:
            self._probed_until = None

"""A token bucket: how much may flow in a minute, as a pure function of time.

The caller brings the clock; all times are seconds of it. What a unit is (a request, a model's token) the caller knows.
"""

from __future__ import annotations

# A caller may write any number of digits, which no float holds; nothing real is larger.
_MOST = 1e15
# Units within which a level counts as reached: sums of floats are not exact, and a timer may ring a moment early.
SLACK = 1e-6


class Bucket:
    """`per_minute` units flow in evenly, and at most `burst` of them are kept. Starts full.

    More may be taken than is there. The debt then delays who comes next, by at most a minute more: no provider's own
    window is longer, and one wrong figure must not close the gate for hours.
    """

    __slots__ = ("_burst", "_debt", "_level", "_rate", "_since")

    def __init__(self, per_minute: float, *, burst: float, now: float) -> None:
        self._rate = per_minute / 60
        self._burst = burst
        self._debt = per_minute
        self._level = burst
        self._since = now

    def take(self, amount: float, now: float) -> None:
        """Take `amount` units, there or not; a negative amount gives back."""
        # Bounded before any sum: no amount changes the level by more than this.
        most = self._burst + self._debt
        amount = max(-most, min(amount, most))
        self._level = max(self._at(now) - amount, -self._debt)
        self._since = now

    def wait_s(self, amount: float, now: float) -> float:
        """How long until `amount` may be taken. More than the bucket can hold waits for a full one."""
        return self.flow_s(min(amount, self._burst), now)

    def flow_s(self, amount: float, now: float) -> float:
        """How long until `amount` units have come together, were all of them kept."""
        missing = min(amount, _MOST) - self._at(now)
        return missing / self._rate if missing > SLACK else 0.0

    def _at(self, now: float) -> float:
        return min(self._level + (now - self._since) * self._rate, self._burst)

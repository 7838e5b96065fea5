"""Which failures are tried again, where, and after how long. Pure but for the draw and the sleep that are passed in."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import msgspec

from ..errors import HeadwaterError, Overloaded, ProviderError, ProviderRejected, ProviderTimeout

# The request is at fault, or its content: another provider would be asked to do what one has refused.
_OF_THE_REQUEST = frozenset({400, 405, 409, 411, 413, 414, 415, 422, 451})
_OF_THE_CONTENT = frozenset(
    {"content_filter", "content_policy_violation", "content_policy", "responsible_ai_policy_violation", "safety"}
)


class RetryPolicy(msgspec.Struct, frozen=True):
    """Waits before the first content: doubling from `first_delay_s` to `max_delay_s`, with jitter.

    Each wait is drawn between half and all of that, so that clients which failed together do not return together. A
    `Retry-After` above `retry_after_max_s` is not waited for: another target is tried, or the caller gets the error and
    the hint with it.
    """

    first_delay_s: float = 0.5
    max_delay_s: float = 8.0
    retry_after_max_s: float = 4.0  # below head_wait_s, so that an SDK sees the status and can do its own waiting
    draw: Callable[[], float] = random.random
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep

    def delay_s(self, attempt: int, error: HeadwaterError) -> float | None:
        """Seconds until the same target is tried again after its failure number `attempt`; None: it is not."""
        # A full queue here empties no sooner because the same request comes back to it; and who has waited for a
        # first token until the time-out is not made to wait three times as long (bifrost #7035).
        if not error.retryable or isinstance(error, Overloaded | ProviderTimeout):
            return None
        delay_s = min(self.max_delay_s, self.first_delay_s * 2.0 ** (attempt - 1)) * (0.5 + self.draw() / 2)
        if error.retry_after_s is not None:
            return max(delay_s, error.retry_after_s) if error.retry_after_s <= self.retry_after_max_s else None
        return delay_s


def deserves_fallback(error: HeadwaterError) -> bool:
    """Whether another target may do better: not for a request that is wrong, nor for content that was refused."""
    if isinstance(error, ProviderRejected):
        return error.http_status not in _OF_THE_REQUEST and error.upstream_code not in _OF_THE_CONTENT
    return isinstance(error, ProviderError | Overloaded)


def blames_target(error: HeadwaterError) -> bool:
    """Whether the failure says that the target is ill: what its circuit breaker counts."""
    return isinstance(error, ProviderError) and deserves_fallback(error)

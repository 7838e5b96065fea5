"""How a command reaches its server: the first request asks once, a running stream is come back to soon."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from ..client import Reconnect
from ..errors import ConnectionLost

T = TypeVar("T")

# A person watches: with the 2 s that a server asks for when it stops (`retry_ms`), no wait is above 3 s. The short
# waits are many, so the time decides when to give up and not their number.
RECONNECT = Reconnect(cap_s=1.0, max_attempts=10_000)


async def reach(request: Awaitable[T], url: str) -> T:
    """What the request returns. Raises `ConnectionLost` that names the address and says what may be missing."""
    try:
        return await request
    except ConnectionLost as exc:
        raise ConnectionLost(f"no server at {url} ({exc.message}); start one with `headwater serve`") from exc

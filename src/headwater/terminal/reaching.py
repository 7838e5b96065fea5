"""The first request of a command: asks once, so that a wrong address or key is told at once."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from ..errors import ConnectionLost

T = TypeVar("T")


async def reach(request: Awaitable[T], url: str) -> T:
    """What the request returns. Raises `ConnectionLost` that names the address and says what may be missing."""
    try:
        return await request
    except ConnectionLost as exc:
        raise ConnectionLost(f"no server at {url} ({exc.message}); start one with `headwater serve`") from exc

"""Which content codings a client takes (RFC 9110, section 12.5.3)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache


@lru_cache(maxsize=256)
def accepted(header: str, offered: Sequence[str]) -> tuple[str, ...]:
    """Of the codings offered, those that the client takes, the one that it prefers first.

    `header`: the value of `Accept-Encoding`; "" takes none. `offered`: hashable, the server's own preference first,
    which decides between codings that the client likes equally.
    """
    weights: dict[str, float] = {}
    for part in header.lower().split(","):
        name, *parameters = (word.strip() for word in part.split(";"))
        weights[name] = _weight(parameters)
    wanted = {name: weights.get(name, weights.get("*", 0.0)) for name in offered}
    return tuple(sorted((name for name, weight in wanted.items() if weight > 0), key=lambda name: -wanted[name]))


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0

"""How many viewers there may be: in all, of one key, from one address. Knows of the two only that they are names."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import ConnectionLimit, TooManyConnections
from .settings import StreamSettings


class Caller(NamedTuple):
    """Whom a viewer counts against, besides all. "": nobody."""

    key: str = ""
    address: str = ""


NOBODY = Caller()


class Seats:
    """Counts by name only where there is a bound, and forgets a name with its last holder."""

    def __init__(self, settings: StreamSettings) -> None:
        self._all = settings.max_connections
        self._of_key = settings.max_connections_per_key
        self._of_address = settings.max_connections_per_address
        self._keys: dict[str, int] = {}
        self._addresses: dict[str, int] = {}
        self._holders: dict[object, Caller] = {}

    def check(self, viewers: int, caller: Caller = NOBODY) -> None:
        """Whether one more may come, where there are so many. Raises `TooManyConnections`, `ConnectionLimit`."""
        if viewers >= self._all:
            raise TooManyConnections(f"{viewers} viewers are connected")
        if self._of_key and self._keys.get(caller.key, 0) >= self._of_key:
            raise ConnectionLimit(
                f"this key has {self._of_key} connections, which is the most (max_connections_per_key)"
            )
        if self._of_address and self._addresses.get(caller.address, 0) >= self._of_address:
            raise ConnectionLimit(
                f"there are {self._of_address} connections from this address, which is the most"
                " (max_connections_per_address)"
            )

    def take(self, holder: object, caller: Caller) -> None:
        counted = Caller(caller.key if self._of_key else "", caller.address if self._of_address else "")
        if counted == NOBODY:
            return
        self._holders[holder] = counted
        for counts, name in ((self._keys, counted.key), (self._addresses, counted.address)):
            if name:
                counts[name] = counts.get(name, 0) + 1

    def give_back(self, holder: object) -> None:
        caller = self._holders.pop(holder, NOBODY)
        _one_less(self._keys, caller.key)
        _one_less(self._addresses, caller.address)


def _one_less(counts: dict[str, int], name: str) -> None:
    if name in counts:
        counts[name] -= 1
        if not counts[name]:
            del counts[name]

"""Where identity gets the database from, which there may not be yet: a server that only streams opens none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ..errors import StoreUnavailable

if TYPE_CHECKING:
    from ..store import Store


class StoreSource(Protocol):
    async def existing(self) -> Store | None:
        """The database, or None as long as nobody has made one: then it holds no key and no usage."""
        ...

    async def opened(self) -> Store:
        """The database, made where there is none. Raises `StoreUnavailable`."""
        ...


class OpenedStore:
    """One that is open already. Whoever opened it closes it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def existing(self) -> Store | None:
        return self._store

    async def opened(self) -> Store:
        return self._store


class NoStore:
    """For an API that was made without a database."""

    async def existing(self) -> Store | None:
        return None

    async def opened(self) -> Store:
        raise StoreUnavailable("this server has no database")

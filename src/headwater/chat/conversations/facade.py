"""The three kinds of rows under one name, and what concerns more than one kind."""

from __future__ import annotations

import time
from collections.abc import Callable

from ...store import Store
from ..records import Hit, Imported, Thread
from .intake import insert_imported
from .messages import Messages
from .search import find
from .threads import Threads
from .workspaces import Workspaces


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Conversations:
    """`clock_ms`: Unix time in milliseconds."""

    def __init__(self, store: Store, clock_ms: Callable[[], int] = _now_ms) -> None:
        self._store = store
        self._clock_ms = clock_ms
        self.workspaces = Workspaces(store, clock_ms)
        self.threads = Threads(store, clock_ms)
        self.messages = Messages(store, clock_ms)

    async def search(self, tenant: str, text: str, *, workspace_id: str | None = None, limit: int = 20) -> list[Hit]:
        """Messages (of all branches) and titles that contain every word of `text`, newest first.

        Neither case nor accents matter, and a word may stand inside another. Raises `InputError`, `UnknownItem`.
        """
        return await find(self._store, tenant, text, workspace_id=workspace_id, limit=limit)

    async def expire(self, older_than_ms: int) -> int:
        """See `Threads.expire`."""
        return await self.threads.expire(older_than_ms)

    async def import_thread(self, tenant: str, workspace_id: str, imported: Imported) -> Thread:
        """A new thread with fresh ids and numbers (see `importing.parse_import`), or nothing. Raises `UnknownItem`."""
        return await insert_imported(self._store, self.threads, tenant, workspace_id, imported, now_ms=self._clock_ms())

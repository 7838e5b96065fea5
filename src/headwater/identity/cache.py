"""What was found, believed for a while: so that a request does not touch the database.

One lookup a key at a time: when an entry of a busy key ends, the thousand requests that want it ask once. What was not
found is kept apart and in small numbers, so that made-up keys push no real one out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

from .clock import Clock

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MAX_FOUND = 10_000
MAX_MISSED = 1_000


class Kept(NamedTuple, Generic[V]):
    """`for_s`: how long it may be believed. `found`: whether it is worth keeping among many."""

    value: V
    for_s: float
    found: bool = True


class Cache(Generic[K, V]):
    """Use it in one event loop."""

    def __init__(self, clock: Clock, *, max_found: int = MAX_FOUND, max_missed: int = MAX_MISSED) -> None:
        self._clock = clock
        self._found: dict[K, tuple[V, float]] = {}
        self._missed: dict[K, tuple[V, float]] = {}
        self._bounds = (max_found, max_missed)
        self._running: dict[K, asyncio.Task[V]] = {}

    async def get(self, key: K, load: Callable[[], Awaitable[Kept[V]]]) -> V:
        """The value that is kept, else `load`'s, whose errors are everybody's who waits for it and are not kept."""
        entry = self._found.get(key) or self._missed.get(key)
        if entry is not None and self._clock.steady_s() < entry[1]:
            return entry[0]
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._load(key, load))
            self._running[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        # One caller's leaving is not the others' failure.
        return await asyncio.shield(task)

    def clear(self) -> None:
        """Forget everything, also what is being looked up now."""
        self._found.clear()
        self._missed.clear()
        self._running.clear()

    async def _load(self, key: K, load: Callable[[], Awaitable[Kept[V]]]) -> V:
        # Counted from before the question: the answer may be old when it comes.
        began = self._clock.steady_s()
        kept = await load()
        if self._running.get(key) is asyncio.current_task():
            self._keep(key, kept, began + kept.for_s)
        return kept.value

    def _keep(self, key: K, kept: Kept[V], until: float) -> None:
        self._found.pop(key, None)
        self._missed.pop(key, None)
        entries, bound = (self._found, self._bounds[0]) if kept.found else (self._missed, self._bounds[1])
        if len(entries) >= bound:
            del entries[next(iter(entries))]
        entries[key] = (kept.value, until)

    def _ended(self, key: K, task: asyncio.Task[V]) -> None:
        if self._running.get(key) is task:
            del self._running[key]
        if not task.cancelled():
            # Where all that waited have left, nobody else looks at it.
            task.exception()

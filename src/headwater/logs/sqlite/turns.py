"""Whose turn it is on the writing connection: one change at a time, commits before chores.

A change is planned in the loop when its turn comes, so that it sees an index with nothing in flight; its SQL runs in
the worker; then the loop settles it into the index. A caller that is cancelled meanwhile changes nothing of
that: index and file agree in every case.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from typing import Any, Protocol, TypeVar, cast

from ...errors import LogUnavailable
from .worker import Worker

_T_co = TypeVar("_T_co", covariant=True)
_T = TypeVar("_T")


class Change(Protocol[_T_co]):
    """One transaction. `work` runs in the worker's thread, the others in the loop's."""

    def begin(self) -> None:
        """Plan it from the index."""
        ...

    def work(self, db: sqlite3.Connection) -> None:
        """Do it on disk, all or nothing."""
        ...

    def settle(self) -> _T_co:
        """It is on disk: bring the index up to date, and give the caller's result."""
        ...


class Turns:
    """All methods belong to the loop's thread."""

    def __init__(self, worker: Worker, db: sqlite3.Connection) -> None:
        self._worker = worker
        self._db = db
        self._commits: deque[tuple[Change[Any], asyncio.Future[Any]]] = deque()
        self._chores: deque[tuple[Change[Any], asyncio.Future[Any]]] = deque()
        self._busy = False
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()

    def commit(self, change: Change[_T]) -> asyncio.Future[_T]:
        """The result of `change`, ahead of every chore that has not begun."""
        return self._queue(change, self._commits)

    def chore(self, change: Change[_T]) -> asyncio.Future[_T]:
        """The result of `change`, which commits may overtake; so keep each one short."""
        return self._queue(change, self._chores)

    async def close(self) -> None:
        """Refuse what comes from now on, finish what is queued."""
        self._closed = True
        await self._idle.wait()

    def _queue(self, change: Change[_T], queue: deque[tuple[Change[Any], asyncio.Future[Any]]]) -> asyncio.Future[_T]:
        waiter: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        if self._closed:
            waiter.set_exception(LogUnavailable("the log is closed"))
            return waiter
        queue.append((change, waiter))
        if not self._busy:
            self._next()
        return waiter

    def _next(self) -> None:
        while queue := self._commits or self._chores:
            change, waiter = queue.popleft()
            if waiter.done():
                continue  # its caller is gone, and it has not begun
            try:
                change.begin()
            except Exception as exc:  # noqa: BLE001 - raised where it is awaited; the changes behind it go on
                waiter.set_exception(exc)
                continue
            self._busy = True
            self._idle.clear()
            self._start(change, waiter)
            return
        self._busy = False
        self._idle.set()

    def _start(self, change: Change[_T], waiter: asyncio.Future[_T]) -> None:
        self._worker.submit(lambda: change.work(self._db), lambda error: self._done(change, waiter, error))

    def _done(self, change: Change[_T], waiter: asyncio.Future[_T], error: Exception | None) -> None:
        result = change.settle() if error is None else None
        if not waiter.done():
            if error is None:
                waiter.set_result(cast("_T", result))
            else:
                waiter.set_exception(error)
        self._next()

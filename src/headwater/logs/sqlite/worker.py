"""A thread that runs one connection's work in order and brings the results back into the loop.

Not `ThreadPoolExecutor`: its two futures and its locks a job cost more than a small commit does.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeAlias, TypeVar

from ...errors import LogUnavailable
from .database import log_error

_T = TypeVar("_T")
Settle: TypeAlias = Callable[[Exception | None], None]


class Worker:
    """`submit` and `run` are for the loop's thread. Work runs in the worker's thread, first come, first served."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[tuple[Callable[[], None], Settle] | None] = SimpleQueue()
        # A daemon: an application that forgets to close its log must still be able to exit, and nothing
        # that was acknowledged is lost when it does.
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], None], settle: Settle) -> None:
        """Run `work` in the thread, then `settle` in the loop: with `None`, or with what `work` raised."""
        if self._stopped:
            raise LogUnavailable("the log is closed")
        self._jobs.put((work, settle))

    async def run(self, work: Callable[[], _T]) -> _T:
        """The result of `work`, which runs to its end even when the caller is cancelled."""
        waiter: asyncio.Future[_T] = self._loop.create_future()
        results: list[_T] = []

        def settle(error: Exception | None) -> None:
            if waiter.done():
                return
            if error is None:
                waiter.set_result(results.pop())
            else:
                waiter.set_exception(error)

        self.submit(lambda: results.append(work()), settle)
        return await waiter

    def stop(self) -> None:
        """End the thread after what was submitted. Idempotent."""
        self._stopped = True
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            work, settle = job
            error: Exception | None = None
            try:
                work()
            except sqlite3.Error as exc:
                error = log_error(exc)
            except Exception as exc:  # noqa: BLE001 - the thread's boundary: raised again where the result is awaited
                error = exc
            try:
                self._loop.call_soon_threadsafe(settle, error)
            except RuntimeError:
                return  # the loop is closed: nobody waits for this or for what comes after it
            del job, work, settle, error  # a waiting thread must not keep the last job's data alive

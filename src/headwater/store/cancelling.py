"""Cancelling a caller of SQLite, whose driver works in a thread that knows nothing of it.

What was asked for is done all the same, and its cursor is nobody's. SQLAlchemy gives such a connection up; but one that
is closed with an open cursor stays in its transaction (https://www.sqlite.org/c3ref/close.html), so that nobody else
can write until the garbage collector comes by. And in memory the connection is the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

_Execute: TypeAlias = Callable[..., Awaitable[Any]]


def put_off_cancellations(connection: Any) -> None:
    """No call of this aiosqlite connection ends by a cancellation: its task is cancelled where it waits next.

    Every call goes through the driver's `_execute`, which is not public: a test watches over it.
    """
    connection._execute = _to_its_end(connection._execute)


def _to_its_end(execute: _Execute) -> _Execute:
    async def called(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        calling = asyncio.ensure_future(execute(function, *args, **kwargs))
        put_off = 0
        while not calling.done():
            try:
                await asyncio.wait((calling,))
            except asyncio.CancelledError:
                put_off += 1
        if put_off and (task := asyncio.current_task()) is not None:
            for _ in range(put_off):
                # Taken back and asked for again, so that time-outs count right.
                task.uncancel()
                asyncio.get_running_loop().call_soon(task.cancel)
        return calling.result()

    return called

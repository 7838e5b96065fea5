"""A caller that goes away in the middle of a query costs nobody else the database."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import text

from headwater.store import Store, open_store
from headwater.store.database import database_url

ASK = text("SELECT count(*) FROM threads")


async def _cancelled_during_call(store: Store, number: int, *, writes: bool) -> None:
    """Cancelled while the driver is at its `number`th call, wherever in a transaction that is."""

    async def work() -> None:
        async with store.write() if writes else store.read() as connection:
            for _ in range(3):
                await connection.execute(ASK)

    task = asyncio.create_task(work())
    calls = 0
    while not task.done() and calls < number:
        await asyncio.sleep(0)
        calls += 1
    task.cancel()
    await asyncio.wait((task,))


@pytest.mark.parametrize("writes", [True, False])
@pytest.mark.parametrize("in_memory", [True, False])
async def test_wherever_a_query_is_cancelled_the_next_one_works(tmp_path: Path, in_memory: bool, writes: bool) -> None:
    store = await open_store(database_url(None, tmp_path, in_memory=in_memory))
    try:
        for number in range(40):
            await _cancelled_during_call(store, number, writes=writes)
            # Raises within BUSY_TIMEOUT_S where the lock is still held, and at once where the tables are gone.
            async with store.write() as connection:
                assert (await connection.execute(ASK)).scalar() == 0
    finally:
        await store.close()


async def test_a_failure_that_nobody_waits_for_is_no_unheard_one(tmp_path: Path) -> None:
    store = await open_store(database_url(None, tmp_path))
    try:

        async def fails() -> None:
            async with store.write() as connection:
                await connection.execute(text("SELECT * FROM nowhere"))

        for number in range(30):
            task = asyncio.create_task(fails())
            for _ in range(number):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait((task,))
        async with store.read() as connection:
            assert (await connection.execute(ASK)).scalar() == 0
    finally:
        await store.close()


async def test_a_cancellation_comes_where_the_task_waits_next(tmp_path: Path) -> None:
    store = await open_store(database_url(None, tmp_path))
    asked, done = asyncio.Event(), []

    async def work() -> None:
        async with store.write() as connection:
            asked.set()
            await connection.execute(ASK)
            done.append("asked")
        done.append("left")
        await asyncio.Event().wait()

    try:
        task = asyncio.create_task(work())
        await asked.wait()
        task.cancel()
        await asyncio.wait((task,), timeout=5)
        assert task.cancelled()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                while True:
                    async with store.read() as connection:
                        await connection.execute(ASK)
                    await asyncio.sleep(0)
    finally:
        await store.close()

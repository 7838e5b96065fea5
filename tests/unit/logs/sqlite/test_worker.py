from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from functools import partial

import pytest

from headwater.errors import LogUnavailable
from headwater.logs.sqlite.worker import Worker


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    worker = Worker("test-worker")
    yield worker
    worker.stop()
    worker.stop()


async def test_work_runs_elsewhere_and_in_order(worker: Worker) -> None:
    order: list[int] = []

    def work(number: int) -> int:
        order.append(number)
        return threading.get_ident()

    threads = await asyncio.gather(*(worker.run(partial(work, number)) for number in range(9)))
    assert order == list(range(9))
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()


async def test_the_drivers_errors_are_mapped_and_others_are_not(worker: Worker) -> None:
    def no_table() -> None:
        with closing(sqlite3.connect(":memory:")) as db:
            db.execute("SELECT * FROM nowhere")

    with pytest.raises(LogUnavailable) as failed:
        await worker.run(no_table)
    assert isinstance(failed.value.__cause__, sqlite3.OperationalError)
    with pytest.raises(ZeroDivisionError):
        await worker.run(lambda: 1 // 0)
    assert await worker.run(lambda: "alive") == "alive"


async def test_cancelled_work_runs_to_its_end(worker: Worker) -> None:
    gate, done = threading.Event(), threading.Event()
    task = asyncio.ensure_future(worker.run(lambda: gate.wait() and done.set()))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait((task,))
    gate.set()
    assert await worker.run(lambda: done.is_set())


async def test_a_stopped_worker_refuses(worker: Worker) -> None:
    worker.stop()
    with pytest.raises(LogUnavailable, match="closed"):
        await worker.run(lambda: 1)


def test_the_thread_ends_when_its_loop_is_gone() -> None:
    gate = threading.Event()

    async def leave() -> Worker:
        worker = Worker("abandoned")
        worker.submit(lambda: gate.wait() and None, lambda error: None)
        return worker

    worker = asyncio.run(leave())
    gate.set()
    worker._thread.join(10)
    assert not worker._thread.is_alive()

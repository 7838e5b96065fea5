from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from headwater.errors import LogUnavailable
from headwater.logs.sqlite.turns import Turns
from headwater.logs.sqlite.worker import Worker


class Note:
    """A change that writes its name down at each stage; `gate` holds it up in the thread."""

    def __init__(self, name: str, notes: list[str], gate: threading.Event | None = None) -> None:
        self.name, self.notes, self.gate = name, notes, gate

    def begin(self) -> None:
        if self.name == "unplannable":
            raise ValueError(self.name)
        self.notes.append(f"{self.name} begins")

    def work(self, db: sqlite3.Connection) -> None:
        if self.gate is not None:
            self.gate.wait()
        db.execute("SELECT 1 FROM nowhere" if self.name == "fails" else "SELECT 1")

    def settle(self) -> str:
        self.notes.append(f"{self.name} settles")
        return self.name


@pytest.fixture
async def turns() -> AsyncIterator[Turns]:
    worker = Worker("test-writer")
    db = sqlite3.connect(":memory:", check_same_thread=False)
    turns = Turns(worker, db)
    yield turns
    await turns.close()
    worker.stop()
    db.close()


async def test_commits_overtake_chores_but_nothing_overlaps(turns: Turns) -> None:
    notes: list[str] = []
    gate = threading.Event()
    first = turns.chore(Note("first", notes, gate))
    rest = [turns.chore(Note("chore", notes)), turns.commit(Note("one", notes)), turns.commit(Note("two", notes))]
    assert notes == ["first begins"]
    gate.set()
    assert await first == "first"
    assert await asyncio.gather(*rest) == ["chore", "one", "two"]
    names = ("first", "one", "two", "chore")
    assert notes == [f"{name} {stage}" for name in names for stage in ("begins", "settles")]


async def test_a_failure_is_its_callers_alone(turns: Turns) -> None:
    notes: list[str] = []
    waiters = [turns.commit(Note(name, notes)) for name in ("a", "fails", "unplannable", "b")]
    a, fails, unplannable, b = await asyncio.gather(*waiters, return_exceptions=True)
    assert (a, b) == ("a", "b")
    assert isinstance(fails, LogUnavailable)
    assert isinstance(unplannable, ValueError)
    assert notes == ["a begins", "a settles", "fails begins", "b begins", "b settles"]


async def test_cancelling_before_the_turn_drops_it_and_during_it_does_not(turns: Turns) -> None:
    notes: list[str] = []
    gate = threading.Event()
    running, waiting = turns.commit(Note("running", notes, gate)), turns.commit(Note("waiting", notes))
    fails = turns.commit(Note("fails", notes))
    last = turns.commit(Note("last", notes))
    running.cancel()
    waiting.cancel()
    gate.set()
    with suppress(LogUnavailable):
        await fails
    assert await last == "last"
    cancelled = turns.commit(Note("fails", notes))
    cancelled.cancel()
    await turns.close()
    stages = ["running begins", "running settles", "fails begins", "last begins", "last settles", "fails begins"]
    assert notes == stages


async def test_closing_finishes_what_is_queued_and_refuses_the_rest(turns: Turns) -> None:
    notes: list[str] = []
    gate = threading.Event()
    waiters = [turns.commit(Note("one", notes, gate)), turns.chore(Note("two", notes))]
    closing = asyncio.ensure_future(turns.close())
    await asyncio.sleep(0)
    with pytest.raises(LogUnavailable, match="closed"):
        await turns.commit(Note("late", notes))
    gate.set()
    await closing
    assert [waiter.result() for waiter in waiters] == ["one", "two"]

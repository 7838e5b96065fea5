"""Minutes on disk, and a disk that cannot be had."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from headwater.telemetry.history import FILE_NAME, History
from headwater.telemetry.track import Recorded
from headwater.telemetry.windows import Row


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / FILE_NAME


async def test_what_is_kept_is_there_for_the_next_process(path: Path) -> None:
    first = History(path)
    await first.save(Row(60_000, b"one"), prune_before_ms=0)
    await first.save(Row(120_000, b"part"), prune_before_ms=0)
    await first.save(Row(120_000, b"two"), prune_before_ms=0)
    await first.close()
    second = History(path)
    assert await second.read(0) == [Row(60_000, b"one"), Row(120_000, b"two")]
    assert await second.read(60_001) == [Row(120_000, b"two")]
    await second.close()


async def test_the_old_is_pruned(path: Path) -> None:
    history = History(path)
    for minute in range(5):
        await history.save(Row(minute * 60_000, b"x"), prune_before_ms=(minute - 1) * 60_000)
    assert [row.minute_ms for row in await history.read(0)] == [180_000, 240_000]
    await history.close()


async def test_without_a_path_nothing_is_kept(tmp_path: Path) -> None:
    history = History(None)
    await history.save(Row(0, b"x"), prune_before_ms=0)
    assert await history.read(0) == []
    await history.close()
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_is_none_is_told_once_and_costs_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database, and never was one " * 100)
    history = History(path)
    await history.save(Row(0, b"x"), prune_before_ms=0)
    assert await history.read(0) == []
    await history.close()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "not kept over a restart" in caplog.text


async def test_a_place_that_cannot_be_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    history = History(tmp_path / "file" / FILE_NAME)
    assert await history.read(0) == []
    await history.close()


async def test_nothing_is_made_to_read_nothing(path: Path) -> None:
    """A start reads; the first minute makes the file."""
    history = History(path)
    assert await history.read(0) == []
    assert not path.parent.exists()
    await history.save(Row(60_000, b"x"), prune_before_ms=0)
    assert await history.read(0) == [Row(60_000, b"x")]
    await history.close()


async def test_a_caller_that_leaves_lets_no_two_work_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread goes on with the connection; whoever comes next waits for it."""
    history = History(path)
    busy, free = threading.Event(), threading.Event()
    work, at_once = History._work, []

    def slow(self: History, *given: Any) -> Any:
        at_once.append(busy.is_set())
        busy.set()
        free.wait(30)
        try:
            return work(self, *given)
        finally:
            busy.clear()

    monkeypatch.setattr(History, "_work", slow)
    saving = asyncio.create_task(history.save(Row(60_000, b"x"), prune_before_ms=0))
    await asyncio.to_thread(busy.wait, 30)
    saving.cancel()
    closing = asyncio.create_task(history.save(Row(120_000, b"y"), prune_before_ms=0))
    await asyncio.sleep(0)
    free.set()
    await closing
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert at_once == [False, False]
    assert [row.data for row in await history.read(0)] == [b"x", b"y"]
    await history.close()


async def test_the_file_is_plain_sqlite(path: Path) -> None:
    history = History(path)
    await history.save(Row(60_000, b"x"), prune_before_ms=0)
    await history.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM minutes").fetchone() == (1,)
    connection.close()


# ---------------------------------------------------------------------- ended streams


def ended_at(end_ms: float) -> Recorded:
    return Recorded(0.0, end_ms, 5000.0, True, "done", [b""])


async def test_ended_streams_are_there_for_the_next_process(path: Path) -> None:
    first = History(path)
    assert await first.read_stream("a") is None
    assert not path.exists()
    await first.save_streams({"a": ended_at(1), "b": ended_at(2)}, keep=10, prune_before_ms=0)
    await first.save_streams({"a": ended_at(3)}, keep=10, prune_before_ms=0)
    await first.close()
    second = History(path)
    assert [await second.read_stream(name) for name in "abc"] == [ended_at(3), ended_at(2), None]
    await second.close()


async def test_the_oldest_streams_go_by_age_and_by_number(path: Path) -> None:
    history = History(path)
    await history.save_streams({str(at): ended_at(at) for at in range(10)}, keep=100, prune_before_ms=3)
    assert [await history.read_stream(str(at)) is not None for at in range(5)] == [False, False, False, True, True]
    await history.save_streams({"10": ended_at(10)}, keep=2, prune_before_ms=0)
    assert [at for at in range(12) if await history.read_stream(str(at))] == [9, 10]
    await history.close()


async def test_without_a_path_no_stream_is_kept() -> None:
    history = History(None)
    await history.save_streams({"a": ended_at(1)}, keep=10, prune_before_ms=0)
    assert await history.read_stream("a") is None
    await history.close()


async def test_a_file_of_an_earlier_release_gets_the_new_table(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE minutes (minute_ms INTEGER PRIMARY KEY, figures BLOB NOT NULL) STRICT")
    connection.close()
    history = History(path)
    await history.save_streams({"a": ended_at(1)}, keep=10, prune_before_ms=0)
    assert await history.read_stream("a") == ended_at(1)
    await history.close()

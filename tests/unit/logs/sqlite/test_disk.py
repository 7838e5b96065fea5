"""The disk fails: nothing of a failed group is stored, and the same group can be committed again."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from headwater.errors import LogUnavailable
from headwater.logs import SqliteLog
from headwater.logs.sqlite.upkeep import _part
from tests.conformance.logs.stories import Story, assert_intact, begun, committed, finished, read_all

from . import full_disk_child


def test_a_disk_that_is_full_and_then_is_not(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, full_disk_child.__file__, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


async def test_a_failed_group_leaves_nothing_and_can_be_tried_again(tmp_path: Path) -> None:
    log = await SqliteLog.open(tmp_path)
    ends, large = await begun(log, "ends", texts=2), await begun(log, "large", texts=2)
    writing = log._storage.writing
    pages = writing.execute("PRAGMA page_count").fetchone()[0]
    writing.execute(f"PRAGMA max_page_count = {pages + 5}")
    before = {story.id: list(story.events) for story in (ends, large)}
    new = Story("new", key="k")
    group = [new.create(), ends.end(), large.text("x" * 100_000)]
    for _ in range(3):
        with pytest.raises(LogUnavailable, match="the disk is full"):
            await log.commit(group)
        assert await log.get(new.id) is None
        for stream, events in before.items():
            assert await read_all(log, stream) == events
            record = await log.get(stream)
            assert record is not None
            assert record.ended is None
    writing.execute(f"PRAGMA max_page_count = {2**30}")
    await committed(log, *group)
    for story in (new, ends, large):
        await assert_intact(log, story)
    await log.close()


async def test_a_disk_that_fails_while_streams_are_folded(tmp_path: Path) -> None:
    """Only damage is gone round; any other error of the disk ends the round and is tried again later."""
    log = await SqliteLog.open(tmp_path)
    story = await finished(log, "s1", texts=3)
    keeping = log._storage.keeping
    keeping.set_progress_handler(lambda: 1, 1)
    parts = [_part(log._index.hot[story.id], 1_000)]
    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        log._upkeep._packed(parts)
    keeping.set_progress_handler(None, 1)
    assert await log.compact() == 1
    await assert_intact(log, story)
    await log.close()

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from headwater.errors import ConfigError, LogUnavailable
from headwater.logs import LOGS, Keeping, MemoryLog, SqliteLog, open_log
from headwater.streams.log import FROM_START
from tests.conformance.logs.stories import Story, committed


async def test_the_kinds_of_this_release(tmp_path: Path) -> None:
    assert set(LOGS) == {"memory", "sqlite"}
    memory = await open_log("memory", tmp_path / "a", "commit")
    assert isinstance(memory, MemoryLog)
    sqlite = await open_log("sqlite", tmp_path / "b", "fsync")
    assert isinstance(sqlite, SqliteLog)
    await sqlite.close()
    assert not (tmp_path / "a").exists()
    assert (tmp_path / "b").is_dir()


async def test_durability_memory_keeps_no_file(tmp_path: Path) -> None:
    assert isinstance(await open_log("sqlite", tmp_path / "a", "memory"), MemoryLog)
    assert not (tmp_path / "a").exists()
    with pytest.raises(LogUnavailable, match="MemoryLog"):
        await SqliteLog.open(tmp_path / "a", durability="memory")


async def test_what_is_folded_is_compressed_as_told(tmp_path: Path) -> None:
    sizes = []
    for level in (0, 1, 9):
        log = await open_log("sqlite", tmp_path / str(level), "commit", Keeping(compression_level=level))
        assert isinstance(log, SqliteLog)
        story = Story("s")
        await committed(log, story.create())
        for number in range(300):
            await committed(log, story.text(f"word {number * number % 97} of a river and {number % 13} "))
        await committed(log, story.end())
        await log.compact()
        found = await log.read(story.id, FROM_START, max_bytes=10**6)
        assert found is not None
        assert len(found.events) == 303
        await log.close()
        with closing(sqlite3.connect(tmp_path / str(level) / "streams.db")) as db:
            sizes.append(db.execute("SELECT sum(length(data)) FROM archive").fetchone()[0])
    plain, little, most = sizes
    assert most < little < plain / 4


@pytest.mark.parametrize("kind", ["postgres", "redis", "", "SQLITE"])
async def test_other_kinds_are_refused_by_name(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="this release has memory and sqlite") as refused:
        await open_log(kind, tmp_path, "commit")
    assert repr(kind) in refused.value.message

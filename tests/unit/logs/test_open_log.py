from __future__ import annotations

from pathlib import Path

import pytest

from headwater.errors import ConfigError, LogUnavailable
from headwater.logs import LOGS, MemoryLog, SqliteLog, open_log


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


@pytest.mark.parametrize("kind", ["postgres", "redis", "", "SQLITE"])
async def test_other_kinds_are_refused_by_name(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="this release has memory and sqlite") as refused:
        await open_log(kind, tmp_path, "commit")
    assert repr(kind) in refused.value.message

"""Ways to damage a log that no server works on."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from headwater.logs import SqliteLog
from tests.conformance.logs.stories import Story, begun


def tamper(data_dir: Path, *statements: str) -> None:
    with closing(sqlite3.connect(data_dir / "streams.db")) as db, db:
        for statement in statements:
            assert db.execute(statement).rowcount > 0


async def killed_with_a_hole(tmp_path: Path) -> tuple[Path, bytes, Story]:
    """A data directory as of a killed server, with a flipped bit in its write-ahead log; that, and who is in it."""
    log = await SqliteLog.open(live := tmp_path / "live")
    story = await begun(log, "s1", texts=20)
    shutil.copytree(live, killed := tmp_path / "killed")
    await log.close()
    wal = killed / "streams.db-wal"
    data = bytearray(wal.read_bytes())
    data[-6 * 4120] ^= 1
    wal.write_bytes(data)
    return killed, bytes(data), story

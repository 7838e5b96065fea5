"""SQLite's write-ahead log as a killed process leaves it, whole and with damage."""

from __future__ import annotations

import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from headwater.integrity import Wal, read_wal

PAGE_BYTES = 4096
FRAME_BYTES = PAGE_BYTES + 24


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log of twenty commits, the last of several pages."""
    directory = tmp_path_factory.mktemp("wal")
    db = sqlite3.connect(directory / "a.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB)")
    for number in range(20):
        db.execute("INSERT INTO t (b) VALUES (?)", (random.Random(number).randbytes(100 if number < 19 else 9_000),))
    shutil.copy(directory / "a.db-wal", directory / "left")
    db.close()
    return directory / "left"


def test_no_log_an_empty_one_and_a_head_alone_are_fine(tmp_path: Path, left: Path) -> None:
    path = tmp_path / "x-wal"
    assert read_wal(path) == Wal(0, 0, damaged=False)
    path.write_bytes(b"")
    assert read_wal(path) == Wal(0, 0, damaged=False)
    path.write_bytes(left.read_bytes()[:32])
    assert read_wal(path) == Wal(0, 0, damaged=False)


def test_what_a_killed_process_leaves_is_whole(left: Path, tmp_path: Path) -> None:
    whole = read_wal(left)
    assert whole == Wal(whole.frames, whole.frames, damaged=False)
    assert left.stat().st_size == 32 + whole.frames * FRAME_BYTES
    assert read_wal(left, trust=whole.frames) == whole
    # Killed in the middle of a commit of several pages, and in the middle of a page.
    for frames, more in ((whole.frames - 1, 0), (whole.frames - 2, 0), (whole.frames - 1, 700)):
        (path := tmp_path / "cut").write_bytes(left.read_bytes()[: 32 + frames * FRAME_BYTES + more])
        cut = read_wal(path)
        assert (cut.frames, cut.damaged) == (frames, False)
        assert cut.commits < frames
        # SQLite takes what is committed, and what stands behind that is no damage.
        assert read_wal(path, trust=cut.commits) == cut


def test_an_older_generation_behind_the_end_is_no_damage(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE t (a)")
    for _ in range(9):
        db.execute("INSERT INTO t VALUES (1)")
    db.execute("PRAGMA wal_checkpoint(RESTART)")
    db.execute("INSERT INTO t VALUES (1)")
    assert read_wal(tmp_path / "a.db-wal") == Wal(1, 1, damaged=False)
    db.close()


def test_every_flipped_bit_is_damage(left: Path, tmp_path: Path) -> None:
    data, whole = left.read_bytes(), read_wal(left)
    chosen = random.Random(1)
    heads = [32 + frame * FRAME_BYTES + byte for frame in (0, 7, whole.frames - 1) for byte in range(24)]
    for at in (*range(32), *heads, *(chosen.randrange(len(data)) for _ in range(20))):
        damaged = bytearray(data)
        damaged[at] ^= 1 << chosen.randrange(8)
        (path := tmp_path / "flipped").write_bytes(damaged)
        told = read_wal(path)
        assert told.damaged, at
        # As a start looks at it: SQLite has said how far it has come.
        assert read_wal(path, trust=told.commits).damaged, at

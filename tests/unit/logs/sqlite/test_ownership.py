from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.errors import LogInUse, LogUnavailable
from headwater.logs import SqliteLog
from headwater.logs.sqlite.ownership import Ownership
from tests.conformance.logs.stories import begun, committed

HOLDER = """
import sys
from pathlib import Path
from headwater.logs.sqlite.ownership import Ownership
held = Ownership(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


async def test_a_second_open_in_this_process_is_refused(tmp_path: Path) -> None:
    log = await SqliteLog.open(tmp_path)
    with pytest.raises(LogInUse, match=f"process {os.getpid()}"):
        await SqliteLog.open(tmp_path)
    await committed(log)
    await log.close()
    await (await SqliteLog.open(tmp_path)).close()


async def test_another_process_is_named_and_its_death_frees_the_directory(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LogInUse, match=f"process {holder.pid}:"):
            await SqliteLog.open(tmp_path)
        holder.kill()
        holder.wait()
        log = await SqliteLog.open(tmp_path)
    await begun(log, "s1")
    await log.close()


async def test_only_the_owner_may_read_the_files(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        log = await SqliteLog.open(tmp_path / "new" / "data")
        await begun(log, "s1")
    finally:
        os.umask(previous)
    directory = tmp_path / "new" / "data"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert modes == dict.fromkeys(("lock", "streams.db", "streams.db-wal", "streams.db-shm"), 0o600)
    await log.close()
    assert {path.name for path in directory.iterdir()} == {"lock", "streams.db"}


def test_a_file_system_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(_fd: int, _operation: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", flock)  # a network file system, as its kernel module answers
    with pytest.raises(LogUnavailable, match="Operation not supported"):
        Ownership(tmp_path)


def test_a_data_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(LogUnavailable, match=r"data directory .*file"):
        Ownership(tmp_path / "file")


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A directory that this process may not write to; root, whom no permission stops, is somebody else meanwhile."""
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o555)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            yield directory
        finally:
            if root:
                os.seteuid(0)
            directory.chmod(0o700)


async def test_a_read_only_directory_is_refused_clearly(read_only: Path) -> None:
    for data_dir in (read_only, read_only / "data"):
        with pytest.raises(LogUnavailable, match=f"cannot use the data directory {data_dir}: Permission denied"):
            await SqliteLog.open(data_dir)


async def test_a_read_only_file_is_refused_clearly(tmp_path: Path) -> None:
    (tmp_path / "streams.db").mkdir()
    with pytest.raises(LogUnavailable, match=r"cannot write .*streams\.db"):
        await SqliteLog.open(tmp_path)

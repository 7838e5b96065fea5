"""One process owns a data directory. The kernel keeps the lock, so a killed owner never leaves it behind.

Needs `flock` (POSIX); on network file systems that have none, opening fails instead of risking two owners.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from ...errors import LogInUse, LogUnavailable

# As many digits as a 64-bit number has.
PID_DIGITS = 20


class Ownership:
    """Holds `data_dir/lock` until `release`. The file itself stays: removing it would race with the next owner."""

    def __init__(self, data_dir: Path) -> None:
        """Makes the directory where there is none. Raises `LogInUse` naming the owner's pid, or `LogUnavailable`."""
        try:
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise LogUnavailable(f"cannot use the data directory {data_dir}: {exc.strerror}") from exc
        try:
            self._lock(data_dir)
        except BaseException:
            os.close(self._fd)
            raise

    def release(self) -> None:
        os.close(self._fd)

    def _lock(self, data_dir: Path) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            pid = os.pread(self._fd, PID_DIGITS, 0).decode("ascii", "replace").strip()
            raise LogInUse(f"{data_dir} is in use by process {pid or '(starting)'}: stop it, or use another") from exc
        except OSError as exc:
            raise LogUnavailable(f"{data_dir} cannot be locked: {exc.strerror}") from exc
        with suppress(OSError):  # a full disk may refuse the few bytes; the lock holds without them
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode("ascii"), 0)

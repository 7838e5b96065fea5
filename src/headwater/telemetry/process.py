"""What this process takes of its machine: CPU time, and resident memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

_STATM = Path("/proc/self/statm")


class ProcessUse:
    """`cpu_s`: seconds of CPU that the process has used, all threads; its children, as for documents, are not in it."""

    def __init__(self, cpu_s: Callable[[], float] = time.process_time) -> None:
        self._cpu_s = cpu_s
        self._seen_s = cpu_s()

    def take_cpu_ms(self) -> float:
        """Since the last time, in milliseconds."""
        now = self._cpu_s()
        spent, self._seen_s = now - self._seen_s, now
        return spent * 1000


def memory_bytes(statm: Path = _STATM) -> int:
    """Resident now, from Linux's /proc; elsewhere the most that there was, which is all that POSIX tells."""
    try:
        pages = int(statm.read_bytes().split()[1])
    except (OSError, IndexError, ValueError):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
    return pages * resource.getpagesize()

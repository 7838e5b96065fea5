"""Processes of a run: started on a chosen core, read through /proc, ended with the run. Linux only."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class BenchmarkError(Exception):
    """The run cannot give a figure; the message says why."""


class Usage(NamedTuple):
    """CPU seconds since the start of the processes, and memory now in KiB (`pss` shares pages among their users).

    `cpu_s` is exact to the nanosecond; `system_s`, the kernel's part of it, to one tick (10 ms).
    """

    cpu_s: float
    system_s: float
    rss_kib: int
    pss_kib: int


def family(pid: int) -> list[int]:
    """A process and all its descendants that live now."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for member in found:
        found += children.get(member, [])
    return found


def usage(pid: int) -> Usage:
    """What a process and its descendants use, all threads. Raises `BenchmarkError` when it is gone."""
    cpu = 0.0
    system = rss = pss = 0
    try:
        for member in family(pid):
            cpu += time.clock_gettime(_process_clock(member))
            system += int(Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()[12])
            lines = Path(f"/proc/{member}/smaps_rollup").read_text().splitlines()[1:]
            memory = dict(line.split()[:2] for line in lines)
            rss += int(memory["Rss:"])
            pss += int(memory["Pss:"])
    except OSError as exc:
        raise BenchmarkError(f"process {pid} or a child of it is gone: {exc}") from exc
    return Usage(cpu, system / _TICKS_A_SECOND, rss, pss)


def _process_clock(pid: int) -> int:
    """The CPU clock of a whole process, its ended threads included: what clock_getcpuclockid(3) answers on Linux."""
    return (~pid << 3) | 2


@contextlib.contextmanager
def _pinned(core: int) -> Iterator[None]:
    """Be on `core` for a moment: a child inherits that, and so do its threads and children from the start."""
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


class Process:
    """A child in its own session on one core, its output in a file. A context manager: it is ended on exit."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        core: int,
        output: Path,
        env: Mapping[str, str] | None = None,
        pipe: bool = False,
    ) -> None:
        self.name = output.stem
        self.output = output
        stream = subprocess.PIPE if pipe else subprocess.DEVNULL
        with output.open("ab") as sink, _pinned(core):
            self._popen = subprocess.Popen(
                command,
                stdin=stream,
                stdout=stream if pipe else sink,
                stderr=sink,
                env=None if env is None else dict(env),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    def usage(self) -> Usage:
        return usage(self.pid)

    def check(self) -> None:
        """Raises `BenchmarkError` with the end of its output when the process has ended."""
        if self._popen.poll() is not None:
            tail = self.output.read_text(errors="replace")[-2000:]
            raise BenchmarkError(f"{self.name} ended with status {self._popen.returncode}:\n{tail}")

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """SIGTERM to the child's own session, SIGKILL where that does not help within seconds."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(5)
                break
        for stream in (self._popen.stdin, self._popen.stdout):
            if stream is not None:
                stream.close()


class Generator(Process):
    """A load generator of this package, spoken to as `control` describes."""

    def __init__(self, module: str, *arguments: str, core: int, directory: Path) -> None:
        command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
        super().__init__(command, core=core, output=directory / f"{module}.log", pipe=True)
        self.hello = self._answer(20)

    def __enter__(self) -> Generator:
        return self

    def ask(self, command: str, *, within_s: float = 60, **arguments: Any) -> dict[str, Any]:
        """One command and its answer. Raises `BenchmarkError` when it failed or took too long."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(json.dumps({"command": command, **arguments}).encode() + b"\n")
        self._popen.stdin.flush()
        answer = self._answer(within_s)
        if "failed" in answer:
            raise BenchmarkError(f"{self.name} {command}: {answer['failed']}")
        return answer

    def _answer(self, within_s: float) -> dict[str, Any]:
        pipe = self._popen.stdout
        assert pipe is not None
        if not select.select([pipe], [], [], within_s)[0]:
            raise BenchmarkError(f"{self.name} did not answer within {within_s} s")
        line = pipe.readline()
        if not line:
            self._popen.wait(5)
            self.check()
        answer: dict[str, Any] = json.loads(line)
        return answer


def wait_for_http(process: Process, url: str, *, within_s: float = 30) -> float:
    """Seconds until `url` answers 200. Raises `BenchmarkError` when the process ends or time is up."""
    start = time.monotonic()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < start + within_s:
        process.check()
        try:
            with opener.open(url, timeout=5) as answer:
                if answer.status == 200:
                    return time.monotonic() - start
        except (urllib.error.URLError, OSError):
            time.sleep(0.005)
    raise BenchmarkError(f"{process.name} did not answer {url} within {within_s} s")

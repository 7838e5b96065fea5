from __future__ import annotations

import resource
import sys
from pathlib import Path

import pytest

from headwater.telemetry.process import ProcessUse, memory_bytes


def test_cpu_is_told_once() -> None:
    spent = iter([1.0, 1.5, 1.5])
    use = ProcessUse(lambda: next(spent))
    assert (use.take_cpu_ms(), use.take_cpu_ms()) == (500.0, 0.0)


def test_memory_is_what_linux_tells(tmp_path: Path) -> None:
    statm = tmp_path / "statm"
    statm.write_bytes(b"4000 250 30 1 0 200 0\n")
    assert memory_bytes(statm) == 250 * resource.getpagesize()


@pytest.mark.parametrize("told", [None, b"", b"1 much"])
@pytest.mark.parametrize(("platform", "unit"), [("linux", 1024), ("darwin", 1)])
def test_elsewhere_it_is_the_most_that_there_was(
    told: bytes | None, platform: str, unit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if told is not None:
        (tmp_path / "statm").write_bytes(told)
    monkeypatch.setattr(sys, "platform", platform)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert memory_bytes(tmp_path / "statm") == most * unit

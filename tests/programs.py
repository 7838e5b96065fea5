"""The programs of scripts/tools.txt, and where they are on this machine."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from glob import glob
from pathlib import Path

ROOT = Path(__file__).parent.parent


def wanted() -> Iterator[tuple[str, str, Path | None]]:
    """Of each row: who uses it, the program, and where it is (None: missing)."""
    for line in (ROOT / "scripts" / "tools.txt").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            used_by, program, _package, *directories = line.split()
            yield used_by, program, _find(program, directories)


def find(program: str) -> Path | None:
    return next((path for _used_by, name, path in wanted() if name == program), None)


def _find(program: str, patterns: Iterable[str]) -> Path | None:
    beside = sorted((found for pattern in patterns for found in glob(pattern)), key=_numbers, reverse=True)
    path = shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *beside]))
    return Path(path) if path else None


def _numbers(path: str) -> list[int]:
    """Newer versions, in directories named after them, are larger."""
    return [int(digits) for digits in re.findall(r"\d+", path)]

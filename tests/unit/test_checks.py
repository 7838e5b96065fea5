"""The checks of scripts/ fail when they should. They look at a git tree, so each test makes one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent.parent / "scripts"
HOME = "/" + "home/someone"  # in two pieces: this file is checked too


def check(script: str, tree: Path, files: dict[str, str]) -> subprocess.CompletedProcess[str]:
    subprocess.run(["git", "init", "-q", tree], check=True)
    for name, text in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    return subprocess.run([sys.executable, SCRIPTS / script], cwd=tree, capture_output=True, text=True, check=False)


def function_of(lines: int) -> str:
    return "def f():\n" + "    x = 1\n" * (lines - 1)


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("src/a.py", "x = 1\n" * 500, ""),
        ("src/a.py", "x = 1\n" * 501, "src/a.py: 501 lines"),
        ("tests/a.py", "x = 1\n" * 700, ""),
        ("tests/a.py", "x = 1\n" * 701, "tests/a.py: 701 lines"),
        ("src/a.py", function_of(50), ""),
        ("src/a.py", function_of(51), "src/a.py:1: f has 51 lines"),
        ("src/a.py", 'def f():\n    """One.\n\n    Two.\n    """\n' + "    x = 1\n" * 49, ""),
    ],
)
def test_sizes(tmp_path: Path, name: str, text: str, fault: str) -> None:
    run = check("check_sizes.py", tmp_path, {name: text})
    assert (run.returncode, run.stderr.strip()) == (1 if fault else 0, fault)


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("a.md", "see ~/x, /var/lib/headwater and https://example.com/home/x", ""),
        ("a.md", f"see {HOME}/x", f"a.md:1: {HOME}"),
        ("uv.lock", 'source = { registry = "https://pypi.org/simple" }', ""),
        ("uv.lock", 'source = { registry = "https://mirror.example/simple" }', "registry"),
    ],
)
def test_places_of_one_machine(tmp_path: Path, name: str, text: str, fault: str) -> None:
    run = check("check_tree.py", tmp_path, {name: text})
    assert run.returncode == (1 if fault else 0)
    assert fault in run.stderr

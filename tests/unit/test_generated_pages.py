"""The pages that come from the code are the ones in docs/."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from headwater.streams.lifecycle import TRANSITIONS

ROOT = Path(__file__).parent.parent.parent


def test_committed_pages_are_what_the_code_gives():
    run = subprocess.run(
        [sys.executable, "scripts/generate_pages.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


def test_the_diagram_has_every_arrow_of_the_table():
    page = (ROOT / "docs" / "explanation" / "state-machine.md").read_text("utf-8")
    for (before, signal), after in TRANSITIONS.items():
        arrow = next(line for line in page.splitlines() if line.strip().startswith(f"{before} --> {after}:"))
        assert signal.name.lower() in arrow.partition(":")[2].replace(",", " ").split()

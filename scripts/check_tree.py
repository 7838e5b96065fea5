"""Fails when a file names a place that exists on one machine only, or a registry other than the public ones."""

import re
import subprocess
import sys
from pathlib import Path

PRIVATE = re.compile(r"(?<![\w.:/-])/(?:home|root|work|Users|mnt)/[\w.+-]+")
REGISTRY = re.compile(r"(?:registry = \"|resolved\": \")https?://(?!pypi\.org/|registry\.npmjs\.org/)[^\"]+")
faults = []
listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
for name in filter(None, subprocess.run(listed, capture_output=True, check=True, text=True).stdout.split("\0")):
    try:
        lines = Path(name).read_text("utf-8").splitlines()
    except (UnicodeDecodeError, FileNotFoundError):
        continue
    rules = (PRIVATE, REGISTRY) if name.endswith((".lock", "lock.json")) else (PRIVATE,)
    faults += [f"{name}:{n}: {m[0]}" for n, line in enumerate(lines, 1) for rule in rules if (m := rule.search(line))]
sys.exit("\n".join(faults) or 0)

"""Lighthouse on the built chat page: performance and accessibility, of which each has to be 95 or more.

`python -m benchmarks.lighthouse [RUNS]`. Needs npm (and its registry, for `lighthouse` itself), Chromium and the
development packages. Of several runs the median counts, as Lighthouse's own documentation advises. The page is loaded
as a reader's first visit: an empty profile, a slow fourth-generation network and a telephone's processor (Lighthouse's
`mobile`), then as on a desk.

Lighthouse slows a fast desk's processor (`benchmarkIndex` 1500 to 2000) four times to get a telephone's. A slower
machine is slowed less, so that the telephone stays the same; a warm-up tells how fast it is. See
https://github.com/GoogleChrome/lighthouse/blob/main/docs/throttling.md#cpu-throttling.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tests.programs import find
from tests.stack import Served

# The newest that runs on Node 20.
LIGHTHOUSE = "lighthouse@12.8.2"
LEAST = 95
CATEGORIES = ("performance", "accessibility", "best-practices")
FORMS = {"mobile": [], "desktop": ["--preset=desktop"]}
# Of the telephone that is meant: what the middle of the range above becomes.
TELEPHONE = 1750 / 4
CHROMIUM_FLAGS = "--headless --no-sandbox --disable-gpu --disable-quic"


async def run_once(url: str, options: Sequence[str], report: Path) -> dict[str, Any]:
    """Lighthouse's own report."""
    chromium = find("chromium")
    if chromium is None:
        raise SystemExit("there is no Chromium: scripts/tools browser installs it")
    wanted = [f"--only-categories={','.join(CATEGORIES)}", "--output=json", f"--output-path={report}", "--quiet"]
    browser = [f"--chrome-path={chromium}", f"--chrome-flags={CHROMIUM_FLAGS}"]
    command = ["npm", "exec", "--yes", "--package", LIGHTHOUSE, "--", "lighthouse", url]
    process = await asyncio.create_subprocess_exec(*command, *wanted, *browser, *options)
    if await process.wait():
        raise SystemExit("Lighthouse could not run")
    found: dict[str, Any] = json.loads(await asyncio.to_thread(report.read_text, "utf-8"))
    return found


def scores(found: dict[str, Any]) -> dict[str, float]:
    """From 0 to 100; what costs points is printed."""
    for audit in found["audits"].values():
        if audit["scoreDisplayMode"] == "numeric" and (audit["score"] or 0) < LEAST / 100:
            print(f"   {audit['id']}: {audit.get('displayValue', '')}")
    return {name: 100 * found["categories"][name]["score"] for name in CATEGORIES}


async def main(runs: int) -> int:
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        async with Served(home) as server:
            url, report = f"{server.url}/", home / "report.json"
            warm_up = await run_once(url, FORMS["desktop"], report)
            index = warm_up["environment"]["benchmarkIndex"]
            slower = round(min(4.0, max(1.0, index / TELEPHONE)), 1)
            print(f"benchmark index {index:.0f}: the telephone is {slower} times slower")
            for form, options in FORMS.items():
                extra = [f"--throttling.cpuSlowdownMultiplier={slower}"] if form == "mobile" else []
                found = [scores(await run_once(url, [*options, *extra], report)) for _ in range(runs)]
                of_all = {name: median(each[name] for each in found) for name in CATEGORIES}
                print(f"{form}: " + ", ".join(f"{name} {score:.0f}" for name, score in of_all.items()))
                failed = failed or min(of_all["performance"], of_all["accessibility"]) < LEAST
    return int(failed)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)))

"""Lighthouse on the built chat page: performance and accessibility, of which each has to be 95 or more.

`python -m benchmarks.lighthouse [RUNS]`. Needs npm (and its registry, for `lighthouse` itself), Chromium and the
development packages. Of several runs the median counts, as Lighthouse's own documentation advises. The page is loaded
as a reader's first visit: an empty profile, a slow fourth-generation network and a processor four times slower
(Lighthouse's `mobile`), then as on a desk.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from statistics import median

from tests.programs import find
from tests.stack import Served

# The newest that runs on Node 20.
LIGHTHOUSE = "lighthouse@12.8.2"
LEAST = 95
CATEGORIES = ("performance", "accessibility", "best-practices")
FORMS = {"mobile": [], "desktop": ["--preset=desktop"]}
CHROMIUM_FLAGS = "--headless --no-sandbox --disable-gpu --disable-quic"


async def scores(url: str, form: str, report: Path) -> dict[str, float]:
    """Of one run, from 0 to 100."""
    chromium = find("chromium")
    if chromium is None:
        raise SystemExit("there is no Chromium: scripts/tools browser installs it")
    options = [f"--only-categories={','.join(CATEGORIES)}", "--output=json", f"--output-path={report}", "--quiet"]
    browser = [f"--chrome-path={chromium}", f"--chrome-flags={CHROMIUM_FLAGS}"]
    command = ["npm", "exec", "--yes", "--package", LIGHTHOUSE, "--", "lighthouse", url]
    process = await asyncio.create_subprocess_exec(*command, *options, *browser, *FORMS[form])
    if await process.wait():
        raise SystemExit("Lighthouse could not run")
    found = json.loads(await asyncio.to_thread(report.read_text, "utf-8"))
    for audit in found["audits"].values():
        if audit["score"] is not None and audit["score"] < LEAST / 100 and audit["scoreDisplayMode"] == "numeric":
            print(f"   {audit['id']}: {audit.get('displayValue', '')} ({audit['score']})")
    print(f"   {form}: benchmark index {found['environment']['benchmarkIndex']:.0f}")
    return {name: 100 * found["categories"][name]["score"] for name in CATEGORIES}


async def main(runs: int) -> int:
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        async with Served(home) as server:
            for form in FORMS:
                found = [await scores(f"{server.url}/", form, home / f"{form}-{run}.json") for run in range(runs)]
                of_all = {name: median(each[name] for each in found) for name in CATEGORIES}
                print(f"{form}: " + ", ".join(f"{name} {score:.0f}" for name, score in of_all.items()))
                failed = failed or min(of_all["performance"], of_all["accessibility"]) < LEAST
    return int(failed)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)))

"""What long answers cost the page: `python -m benchmarks.page [--kinds …] [--tokens …] [--rate …]`.

Streams answers of one kind each (prose with everything, one block of code, one list, one table, formulas, one
paragraph) into the page's Markdown, built for production and under the page's own policy, and prints what the main
thread took by Chromium's trace. `--rate 200` is what a fast model does and takes four minutes a kind; the default is
ten times that, so that each frame has ten times as much to do. Needs Node, npm's packages and Chromium.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import http.server
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from playwright.async_api import Browser

from headwater.server.page import CONTENT_SECURITY_POLICY
from tests.e2e.browser import launched
from tests.e2e.frames import FRAME_MS, Frames, traced

from .report import render
from .scenarios import Table

ROOT = Path(__file__).resolve().parent.parent
HARNESS = Path("web", "test", "harness", "vite.config.ts")
KINDS = ("mixed", "code", "list", "nested", "table", "math", "paragraph")
COLUMNS = (
    "answer", "updates", "update p50 ms", "update max ms", "task max ms", f"tasks > {FRAME_MS:.0f} ms", "busy",
    "script s", "style s", "layout s", "paint s", "gap p99 ms", "heap MB", "elements",
)  # fmt: skip


class _Handler(http.server.SimpleHTTPRequestHandler):
    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """The table is all that is printed."""


@contextmanager
def harness() -> Iterator[str]:
    """Builds it, serves it; its address."""
    with tempfile.TemporaryDirectory() as directory:
        command = ["npx", "vite", "build", "-c", str(HARNESS), "--outDir", directory, "--logLevel", "error"]
        subprocess.run(command, cwd=ROOT, check=True)
        handler = functools.partial(_Handler, directory=directory)
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_port}/index.html"
            server.shutdown()


async def measured(browser: Browser, url: str, run: dict[str, Any]) -> tuple[str, ...]:
    page = await browser.new_page(viewport={"width": 1280, "height": 800})
    await page.goto(url)
    async with traced(page) as frames:
        updates: list[float] = await page.evaluate("run => window.harness.run(run)", run)
    after = await page.evaluate("() => window.harness.after()")
    await page.close()
    if after["violations"]:
        raise SystemExit(f"{run['kind']} is against the page's policy: {after['violations'][:3]}")
    return row(run["kind"], updates, frames[0], after["elements"])


def row(kind: str, updates: list[float], frames: Frames, elements: int) -> tuple[str, ...]:
    tasks, gaps = frames.tasks_ms, sorted(frames.gaps_ms)
    busy = sum(tasks) / max(1.0, sum(gaps))
    return (
        kind, str(len(updates)), f"{median(updates):.1f}", f"{max(updates):.0f}", f"{max(tasks):.0f}",
        str(sum(task > FRAME_MS for task in tasks)), f"{busy:.0%}",
        *(f"{seconds:.1f}" for seconds in frames.parts_s.values()),
        f"{gaps[int(len(gaps) * 0.99)]:.0f}", f"{frames.heap_mb:.0f}", str(elements),
    )  # fmt: skip


async def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--tokens", type=int, default=50_000)
    parser.add_argument("--rate", type=int, default=2_000, help="tokens a second")
    options = parser.parse_args(arguments)
    rows = []
    with harness() as url:
        async with launched() as browser:
            for kind in options.kinds:
                run = {"kind": kind, "tokens": options.tokens, "tokensPerSecond": options.rate}
                rows.append(await measured(browser, url, run))
    title = f"Answers of {options.tokens:,} tokens at {options.rate:,} a second (tasks in processor time)"
    print(render(Table(title, COLUMNS, rows)))


if __name__ == "__main__":
    asyncio.run(main())

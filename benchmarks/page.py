"""What long answers cost the page: `python -m benchmarks.page [--kinds …] [--tokens …] [--rate …] [--opened|--served]`.

Streams answers of one kind each (prose with everything, one block of code, one list, one table, formulas, one
paragraph) into the page's Markdown, built for production and under the page's own policy, and prints what the main
thread took by Chromium's trace. `--rate 200` is what a fast model does and takes four minutes a kind; the default is
ten times that, so that each frame has ten times as much to do. `--opened`: the answer is there at once, as where one is
opened that was kept. `--served`: the page itself, from a server in front of a scripted model, first as the answer comes
and then opened with it. What a task of more than a frame consisted of is told. Needs Node, npm's packages and Chromium.
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
from tests.e2e.browser import Reader, launched
from tests.e2e.chat import Chat
from tests.e2e.conftest import FLAGS
from tests.e2e.frames import FRAME_MS, Frames, traced
from tests.e2e.texts import long_answer
from tests.stack import Served
from tests.upstream import Upstream

from .report import render
from .scenarios import Table

ROOT = Path(__file__).resolve().parent.parent
HARNESS = Path("web", "test", "harness", "vite.config.ts")
DONE = '.assistant-message[data-status="done"]'
# Colours and formulas near the reader come after the text.
SETTLE_MS = 1_000
KINDS = ("mixed", "code", "list", "nested", "table", "math", "paragraph")
FRAMES = (
    "task max ms", f"tasks > {FRAME_MS:.0f} ms", "busy", "script s", "style s", "layout s", "paint s", "gap p99 ms",
    "heap MB", "elements",
)  # fmt: skip
COLUMNS = ("answer", "updates", "update p50 ms", "update max ms", *FRAMES)
# How often a fast model writes.
WRITES_PER_S = 25


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
    spent = (str(len(updates)), f"{median(updates):.1f}", f"{max(updates):.0f}")
    return (run["kind"], *spent, *cells(frames[0], after["elements"]))


async def served(browser: Browser, tokens: int, rate: int) -> list[tuple[str, ...]]:
    """The page itself: an answer as it comes, and opened when it has come."""
    with tempfile.TemporaryDirectory() as scratch:
        async with Upstream() as upstream, Served(Path(scratch), openai_url=upstream.openai_url, flags=FLAGS) as server:
            context = await browser.new_context(viewport={"width": 1280, "height": 800})
            chat = Chat(await context.new_page(), Reader(context, server.url), upstream)
            await chat.page.goto(server.url)
            rows = []
            pace = {"delay_ms": 1000 / WRITES_PER_S, "batch": max(1, rate // WRITES_PER_S)}
            async with traced(chat.page) as frames:
                await chat.ask("Tell all of it.", text=long_answer(tokens), **pace)
                await chat.page.get_by_test_id("jump-to-latest").click()
                await chat.page.wait_for_selector(DONE, timeout=2000 * tokens / rate + 60_000)
            rows.append((f"{rate:,} tokens a second", *cells(frames[0], await chat.page.locator("*").count())))
            # In another tab: a reload would also count how the old page is taken down.
            page = await context.new_page()
            async with traced(page) as frames:
                await page.goto(chat.page.url)
                await page.wait_for_selector(f"{DONE} .md:not(.md-filling)")
                await page.wait_for_timeout(SETTLE_MS)
            rows.append(("opened", *cells(frames[0], await page.locator("*").count())))
            await context.close()
    return rows


def cells(frames: Frames, elements: int) -> tuple[str, ...]:
    for task in frames.long_tasks:
        print(f"  {task}")
    tasks, gaps = frames.tasks_ms, sorted(frames.gaps_ms) or [0.0]
    busy = sum(tasks) / max(1.0, sum(gaps))
    return (
        f"{max(tasks):.0f}", str(len(frames.long_tasks)), f"{busy:.0%}",
        *(f"{seconds:.1f}" for seconds in frames.parts_s.values()),
        f"{gaps[int(len(gaps) * 0.99)]:.0f}", f"{frames.heap_mb:.0f}", str(elements),
    )  # fmt: skip


async def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--tokens", type=int, default=50_000)
    parser.add_argument("--rate", type=int, default=2_000, help="tokens a second")
    parser.add_argument("--opened", action="store_true", help="all of it at once")
    parser.add_argument("--served", action="store_true", help="the page itself")
    options = parser.parse_args(arguments)
    title = f"Answers of {options.tokens:,} tokens at {options.rate:,} a second (tasks in processor time)"
    if options.served:
        async with launched() as browser:
            rows = await served(browser, options.tokens, options.rate)
        print(render(Table(title, ("the page", *FRAMES), rows)))
        return
    rate = 0 if options.opened else options.rate
    rows = []
    with harness() as url:
        async with launched() as browser:
            for kind in options.kinds:
                run = {"kind": kind, "tokens": options.tokens, "tokensPerSecond": rate}
                rows.append(await measured(browser, url, run))
    if options.opened:
        title = f"Answers of {options.tokens:,} tokens, opened (tasks in processor time)"
    print(render(Table(title, COLUMNS, rows)))


if __name__ == "__main__":
    asyncio.run(main())

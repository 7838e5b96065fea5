"""A Chromium, and readers in it: what a page of theirs says amiss, or asks of another origin, fails the test."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    WebError,
    async_playwright,
    expect,
)

from tests.programs import ROOT, find

AXE = ROOT / "tests" / "node" / "node_modules" / "axe-core" / "axe.min.js"
SHOTS = ROOT / "docs" / "images" / "page"
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
# How long a state may take to come; it is waited for, and never longer than it needs.
PATIENCE_MS = 30_000
SETTLED = """() => Promise.allSettled(document.getAnimations()
    .filter((animation) => Number.isFinite(animation.effect.getComputedTiming().endTime))
    .map((animation) => animation.finished))"""
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# What the browser itself says of a network that is away or a request that is refused; the page tells it in its own way.
NETWORK = re.compile(r"Failed to load resource|net::ERR_")

_TELL_VIOLATIONS = """addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP: ${event.effectiveDirective} ${event.blockedURI} ${event.sample}`))"""


@asynccontextmanager
async def launched() -> AsyncIterator[Browser]:
    program = find("chromium")
    assert program is not None
    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        try:
            yield browser
        finally:
            await browser.close()


class Reader:
    """Somebody with a browser profile of their own. `errors`: what must not be; `expect` tells what is meant to be."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.context = context
        self.url = url
        self._faults: list[str] = []
        self.requests: list[Request] = []
        self._expected: list[re.Pattern[str]] = []
        context.set_default_timeout(PATIENCE_MS)
        context.on("console", self._said)
        context.on("weberror", self._failed)
        context.on("request", self._asked)

    @property
    def errors(self) -> list[str]:
        return [fault for fault in self._faults if not any(pattern.search(fault) for pattern in self._expected)]

    def expect(self, pattern: str | re.Pattern[str]) -> None:
        """Also of what was told before: a page that is opening may be faster than whoever expects it."""
        self._expected.append(re.compile(pattern))

    async def open(self, path: str = "/") -> Page:
        page = await self.context.new_page()
        await page.goto(f"{self.url}{path}")
        await page.locator(".shell").wait_for(state="detached")  # the program has taken its place
        return page

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._note(f"{message.text} ({message.location.get('url', '')})")

    def _failed(self, error: WebError) -> None:
        self._note(f"exception: {error.error.message}\n{error.error.stack}")

    def _asked(self, request: Request) -> None:
        self.requests.append(request)
        if not request.url.startswith((f"{self.url}/", "blob:", "data:")):
            self._note(f"asked another origin: {request.url}")

    def forget(self) -> None:
        self._faults.clear()

    def _note(self, fault: str) -> None:
        self._faults.append(fault)


@asynccontextmanager
async def reading(browser: Browser, url: str, **options: Any) -> AsyncIterator[Reader]:
    """A reader, who at the end has seen nothing amiss. `options`: of the browser's context."""
    context = await browser.new_context(**{"locale": "en-GB", "viewport": {"width": 1280, "height": 800}, **options})
    await context.add_init_script(_TELL_VIOLATIONS)
    reader = Reader(context, url)
    try:
        yield reader
    finally:
        await context.close()
    assert reader.errors == [], "\n".join(reader.errors)


async def check_accessible(page: Page, within: str = "html") -> None:
    """axe finds nothing. Its script goes in by the debugger's way, which the page's policy does not see.

    `within`: a menu that is open, while what is around it is inert.
    """
    await page.evaluate(AXE.read_text("utf-8"))
    await page.evaluate(SETTLED)  # half-way through fading in, a text has less contrast
    found = await page.evaluate(
        "([within, tags]) => axe.run(within, {runOnly: tags, resultTypes: ['violations']})", [within, WCAG]
    )
    told = [
        f"{violation['id']} ({violation['impact']}): {violation['help']}\n"
        + "\n".join(f"  {node['html'][:200]}\n    {node['failureSummary']}" for node in violation["nodes"][:5])
        for violation in found["violations"]
    ]
    assert not told, "\n".join(told)


async def shoot(page: Page, name: str, *, whole: bool = False) -> None:
    """A picture for the documentation, where it is asked for: `SCREENSHOTS=1 make test PYTEST_ARGS=tests/e2e`.

    `whole`: with what has to be scrolled to.
    """
    if os.environ.get("SCREENSHOTS"):
        SHOTS.mkdir(parents=True, exist_ok=True)
        path = Path(SHOTS, f"{name}.png")
        await page.screenshot(path=path, animations="disabled", caret="hide", full_page=whole)

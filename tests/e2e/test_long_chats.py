"""A chat of 1,000 messages, an answer of 50,000 tokens: by counts of what the page does, which hold on any machine.

What the frames took is printed (`-s` shows it); `python -m benchmarks.page` measures it.
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from playwright.async_api import Page, expect

from tests.stack import Served
from tests.upstream import Upstream

from .chat import Chat
from .conftest import Converse, Visit
from .frames import traced
from .texts import PART, long_answer

MESSAGES = 1_000

_WATCH = """() => {
  const watch = { finished: new Set(), touched: [], seen: 0 };
  const inFinished = (node) => {
    for (let at = node; at; at = at.parentNode) if (watch.finished.has(at)) return true;
    return false;
  };
  // Colours come to code, and typesetting to formulas, when the reader is near: that is no rendering of the block.
  const own = (node) =>
    (node.nodeType === 1 ? node : node.parentElement)?.closest(".md-run, .md-math, .md-math-display");
  new MutationObserver((records) => {
    for (const { type, target } of records) {
      if (type !== "attributes" && !own(target) && inFinished(target)) watch.touched.push(target.nodeName);
    }
    const blocks = document.querySelectorAll(".assistant-message:last-of-type .md-blocks > *");
    for (let at = watch.seen; at < blocks.length - 3; at += 1) watch.finished.add(blocks[at]);
    watch.seen = Math.max(watch.seen, blocks.length - 3);
  }).observe(document.body, { subtree: true, childList: true, characterData: true });
  window.watch = watch;
}"""
_WATCHED = """() => ({
  finished: watch.finished.size,
  touched: watch.touched,
  lost: [...watch.finished].filter((block) => !block.isConnected).length,
})"""


# How many blocks came at once, each time that some did.
_COUNT = """addEventListener("DOMContentLoaded", () => {
  window.came = [];
  let before = 0;
  new MutationObserver(() => {
    const now = document.querySelectorAll(".md-blocks > *").length;
    if (now !== before) came.push(now - before);
    before = now;
  }).observe(document.body, { subtree: true, childList: true });
})"""


async def nodes(page: Page, selector: str = "*") -> int:
    found: int = await page.locator(selector).count()
    return found


async def is_done(chat: Chat, part: str) -> None:
    """The answer that says `part`. Not by `expect`: what it notes of the page each time it looks takes page time."""
    done = chat.page.locator('.assistant-message[data-status="done"]')
    await done.filter(has_text=part).last.wait_for(timeout=200_000)


@pytest.mark.timeout(240)
async def test_an_answer_of_fifty_thousand_tokens_is_rendered_once(converse: Converse) -> None:
    chat = await converse()
    await chat.page.evaluate(_WATCH)
    text = long_answer()
    async with traced(chat.page) as frames:
        await chat.ask("Tell all of it.", text=text, delay_ms=10, batch=20)
        # A long answer's beginning is kept in view until the reader asks for its end.
        await chat.page.get_by_test_id("jump-to-latest").click()
        await is_done(chat, "answer 1 is kept")
    print(f"\n50,000 tokens: {frames[0]}")  # noqa: T201 - the figures of the trace
    watched: dict[str, Any] = await chat.page.evaluate(_WATCHED)
    assert watched["touched"] == []
    assert watched["lost"] == 0
    parts = text.count("## Part")
    assert watched["finished"] >= parts * 5 - 5
    answer = chat.answer.locator(".md")
    assert await answer.locator("h4").count() == parts
    assert await answer.locator("pre").count() == parts
    assert await answer.locator("table").count() == parts
    # Coloured is only what is near: three screens hold a dozen of these parts.
    assert await answer.locator(".md-run span").count() < 60 * 10

    # Opened again, it comes by pieces, so that the page stays quick.
    page = await chat.reader.context.new_page()
    await page.add_init_script(_COUNT)
    async with traced(page) as frames:
        await page.goto(chat.page.url)
        await page.locator('.assistant-message[data-status="done"] .md:not(.md-filling)').wait_for()
    print(f"\n50,000 tokens, opened: {frames[0]}")  # noqa: T201 - the figures of the trace
    assert await page.locator(".assistant-message h4").count() == parts
    came: list[int] = await page.evaluate("window.came")
    assert sum(came) >= parts * 5 - 5
    assert max(came) * 10 < sum(came)


@pytest.mark.timeout(240)
async def test_of_a_thousand_messages_those_on_the_screen_are_there(
    visit: Visit, server: Served, upstream: Upstream
) -> None:
    messages = [
        {"role": "user" if n % 2 == 0 else "assistant", "content": PART.format(n=n) if n % 2 else f"Question {n}?"}
        for n in range(MESSAGES)
    ]
    async with httpx.AsyncClient(base_url=server.url) as client:
        made = await client.post("/v1/workspaces/default/import", json={"title": "Long", "messages": messages})
        assert made.is_success, made.text
    reader = await visit()
    chat = Chat(await reader.open(f"/#/t/{made.json()['id']}"), reader, upstream)
    await expect(chat.answer).to_contain_text(f"answer {MESSAGES - 1} is kept", timeout=30_000)
    shown = await nodes(chat.page)
    first = await chat.answers.first.locator("h4").inner_text()
    assert await chat.answers.count() + await chat.questions.count() < 60
    async with traced(chat.page) as frames:
        for _ in range(60):
            await chat.page.mouse.move(700, 400)
            await chat.page.mouse.wheel(0, -1500)
            await chat.page.evaluate("new Promise(requestAnimationFrame)")
    print(f"\nscrolling through 1,000 messages: {frames[0]}")  # noqa: T201 - the figures of the trace
    await expect(chat.answers.first).not_to_contain_text(first)
    assert await chat.answers.count() + await chat.questions.count() < 60
    assert await nodes(chat.page) < shown * 3

    # One more answer at the end of them touches none of the others.
    await chat.page.reload()
    await expect(chat.answer).to_contain_text(f"answer {MESSAGES - 1} is kept", timeout=30_000)
    async with traced(chat.page) as frames:
        await chat.ask("And now?", text=PART.format(n=MESSAGES + 1) * 20, delay_ms=5)
        await is_done(chat, f"answer {MESSAGES + 1} is kept")
    print(f"\nan answer below 1,000 messages: {frames[0]}")  # noqa: T201 - the figures of the trace
    assert await chat.answers.count() + await chat.questions.count() < 60

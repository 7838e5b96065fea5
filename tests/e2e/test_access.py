"""Everybody can use it: by keys alone, by ear, on a telephone; and it loads little, from nowhere else."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from headwater.server.page import FILES
from tests.upstream import Upstream

from .browser import check_accessible, shoot
from .conftest import Converse, Visit
from .texts import TIDES

FIRST_LOAD_BYTES = 200 * 1024


async def focused(page: Page) -> str:
    found: str = await page.evaluate(
        "document.activeElement?.dataset.testid ?? document.activeElement?.className ?? ''"
    )
    return found


async def test_by_keys_alone(converse: Converse, upstream: Upstream) -> None:
    chat = await converse()
    keys = chat.page.keyboard
    assert await focused(chat.page) == "chat-input"
    script = chat.answers_to("Can I do without a mouse?", tokens=40, delay_ms=1, gated=True)
    await keys.type("Can I do without a mouse?")
    await keys.press("Enter")
    await expect(chat.stop).to_be_visible()
    upstream.let(script.key, 20)
    await chat.shows("".join(script.pieces()[:10]))
    await keys.press("Escape")
    await expect(chat.answer.locator(".error-status")).to_contain_text("canceled")

    await keys.press("ArrowUp")
    await expect(chat.page.get_by_label("Edit your message")).to_be_focused()
    await keys.press("Escape")
    await keys.press("Control+k")
    await expect(chat.page.get_by_test_id("thread-search")).to_be_focused()
    await keys.press("Control+,")
    await expect(chat.page.get_by_test_id("settings-dialog")).to_be_visible()
    await keys.press("Escape")
    await expect(chat.page.get_by_test_id("settings-dialog")).to_have_count(0)
    await keys.press("Control+/")
    await expect(chat.page.get_by_role("dialog")).to_contain_text("New chat")
    await check_accessible(chat.page)
    await shoot(chat.page, "shortcuts")
    await keys.press("Escape")
    await keys.press("Control+Shift+o")
    await expect(chat.answers).to_have_count(0)
    assert await focused(chat.page) == "chat-input"


async def test_every_control_is_reached_by_tab(converse: Converse) -> None:
    chat = await converse()
    await chat.ask("What can be reached?", tokens=10)
    await expect(chat.answer).to_have_attribute("data-status", "done")
    await chat.page.reload()
    await expect(chat.answer).to_have_attribute("data-status", "done")
    reached = set()
    for _ in range(60):
        await chat.page.keyboard.press("Tab")
        at = await focused(chat.page)
        reached.add(at)
        visible = await chat.page.evaluate("document.activeElement.getClientRects().length > 0")
        assert visible, at
    wanted = {"skip", "new-thread", "thread-search", "settings-button", "model-selector", "chat-input", "attach-button"}
    assert wanted | {"regenerate-button", "copy-button", "edit-button"} <= reached


async def test_by_ear(converse: Converse, upstream: Upstream) -> None:
    """LibreChat #3570: screen readers were told each fragment. Now the beginning and the end are."""
    chat = await converse()
    said = chat.page.get_by_test_id("announcer")
    script = await chat.ask("Say it aloud.", tokens=40, delay_ms=1, gated=True)
    await expect(chat.log).to_have_attribute("aria-live", "off")
    upstream.let(script.key, 20)
    await expect(said).to_have_text("The answer has begun.")
    await chat.shows("".join(script.pieces()[:10]))
    await expect(said).to_have_text("The answer has begun.")
    upstream.let(script.key)
    await expect(said).to_have_text("The answer is complete.")


async def test_on_a_telephone(converse: Converse) -> None:
    chat = await converse(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, device_scale_factor=2)
    await check_accessible(chat.page)
    await chat.ask("How do tides fit on a telephone?", text=TIDES)
    await expect(chat.answer).to_have_attribute("data-status", "done")
    await expect(chat.answer.locator("table")).to_be_visible()
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert await chat.page.evaluate(wide) <= 0
    await check_accessible(chat.page)
    await shoot(chat.page, "phone")
    await chat.page.get_by_role("button", name="Open the conversations").tap()
    await expect(chat.item("How do tides fit")).to_be_visible()
    await check_accessible(chat.page, "dialog[open]")
    await shoot(chat.page, "phone-list")
    await chat.item("How do tides fit").get_by_role("link").tap()
    await expect(chat.page.get_by_test_id("thread-list")).to_have_count(0)
    # Every button is large enough for a finger (WCAG 2.2, 2.5.8).
    small = await chat.page.evaluate(
        """() => [...document.querySelectorAll("button, a, input")].filter((each) => {
          const box = each.getBoundingClientRect();
          return box.width && !each.closest(".md, .skip") && (box.width < 24 || box.height < 24);
        }).map((each) => each.outerHTML)"""
    )
    assert small == []


async def test_with_little_motion(converse: Converse) -> None:
    chat = await converse(reduced_motion="reduce")
    script = await chat.ask("Stand still.", tokens=5, delay_ms=1, gated=True)
    await expect(chat.answer.locator(".pulse")).to_be_visible()
    moving = """() => document.getAnimations().filter((each) => each.playState === "running")
      .map((each) => `${each.animationName ?? each.transitionProperty}: ${each.effect.target.outerHTML}`)"""
    assert await chat.page.evaluate(moving) == []
    chat.upstream.let(script.key)
    await chat.has(script.answer())


async def test_the_first_load_is_small(visit: Visit) -> None:
    reader = await visit()
    page = await reader.open()
    await expect(page.get_by_test_id("chat-input")).to_be_visible()
    await page.wait_for_load_state("networkidle")
    loaded = {request.url.removeprefix(reader.url).lstrip("/") or "index.html" for request in reader.requests}
    files = [FILES / name for name in loaded if (FILES / name).is_file()]
    assert len(files) >= 3
    total = sum(min(path.stat().st_size, *_squeezed(path)) for path in files)
    assert total <= FIRST_LOAD_BYTES


def _squeezed(path: object) -> list[int]:
    smaller = FILES.joinpath(f"{path}.gz")
    return [smaller.stat().st_size] if smaller.is_file() else [1 << 62]


INLINE = "document.head.append(Object.assign(document.createElement('script'), {text: '1'}))"


@pytest.mark.parametrize("breach", [INLINE, "fetch('http://127.0.0.1:9/')"], ids=["inline script", "another origin"])
async def test_a_breach_of_the_policy_would_be_seen(visit: Visit, breach: str) -> None:
    """What all these tests rest on: a violation is recorded, and the browser refuses what the policy does not name."""
    reader = await visit()
    page = await reader.open()
    await expect(page.get_by_test_id("chat-input")).to_be_visible()
    assert reader.errors == []
    async with page.expect_console_message(lambda message: message.text.startswith("CSP:")):
        await page.evaluate(f"(async () => {{ try {{ await ({breach}) }} catch {{}} }})()")
    assert any(error.startswith("CSP:") for error in reader.errors)
    reader.forget()


async def test_an_answer_runs_no_script(converse: Converse) -> None:
    chat = await converse()
    hostile = (
        "Look: <img src=x onerror=alert(1)> <script>alert(2)</script> [click](javascript:alert(3)) "
        "![picture](https://evil.example/x.png) <a href='https://evil.example'>out</a>"
    )
    await chat.ask("Be hostile.", text=hostile)
    await expect(chat.answer).to_have_attribute("data-status", "done")
    await chat.shows("Look:")
    assert await chat.answer.locator("script, img, iframe, [onerror]").count() == 0
    links = await chat.answer.locator("a").evaluate_all("(links) => links.map((link) => link.href)")
    assert not [link for link in links if not link.startswith(("http", "mailto"))]

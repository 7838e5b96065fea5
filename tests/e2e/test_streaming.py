"""An answer while it is made: shown, stopped, and told of when it fails."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.upstream import Upstream

from .browser import check_accessible, shoot
from .chat import words
from .conftest import Converse
from .texts import INTERVALS, TIDES


async def test_a_question_is_answered_word_by_word(converse: Converse, upstream: Upstream) -> None:
    chat = await converse()
    await expect(chat.send).to_be_disabled()
    await check_accessible(chat.page)
    await shoot(chat.page, "empty")
    script = await chat.ask("How do tides work?", text=TIDES, delay_ms=1, gated=True)
    await expect(chat.stop).to_be_visible()
    await expect(chat.answer).to_contain_text("Waiting for the")
    upstream.let(script.key, 30)
    await chat.shows("The tides follow the Moon, and to a lesser degree the Sun.")
    await expect(chat.answer).to_have_attribute("aria-busy", "true")
    assert "Sun and Moon pull together" not in await chat.text()
    await check_accessible(chat.page)
    await shoot(chat.page, "streaming")
    upstream.let(script.key)
    await expect(chat.answer).to_have_attribute("data-status", "done")
    await expect(chat.answer.locator("table")).to_contain_text("half moon")
    await expect(chat.answer.locator(".katex")).to_have_count(1)
    await expect(chat.answer.locator(".usage")).to_contain_text("tokens")
    await expect(chat.answer.locator(".usage")).to_contain_text("tok/s")
    await expect(chat.send).to_be_visible()
    await check_accessible(chat.page)
    await shoot(chat.page, "answered")
    figures = await chat.answer.locator(".usage").inner_text()
    await chat.page.reload()
    await expect(chat.answer.locator(".usage")).to_be_visible()
    assert await chat.answer.locator(".usage").inner_text() == figures


async def test_code_is_highlighted_and_copied(converse: Converse) -> None:
    chat = await converse(permissions=["clipboard-read", "clipboard-write"])
    await chat.ask("Write a function that merges intervals.", text=INTERVALS)
    await expect(chat.answer).to_have_attribute("data-status", "done")
    await expect(chat.answer.locator("pre span").first).to_be_visible()
    await chat.answer.locator("pre").hover()
    await chat.answer.get_by_role("button", name="Copy").first.click()
    code = INTERVALS.partition("```python\n")[2].partition("```")[0]
    assert (await chat.page.evaluate("navigator.clipboard.readText()")).strip() == code.strip()
    await check_accessible(chat.page)
    await shoot(chat.page, "code")


async def test_stop_stops_the_model_and_keeps_what_there_is(converse: Converse, upstream: Upstream) -> None:
    chat = await converse()
    before = upstream.aborted
    script = await chat.ask("Count the rivers.", tokens=60, delay_ms=1, gated=True)
    upstream.let(script.key, 20)
    part = "".join(script.pieces()[:15])
    await chat.shows(part)
    await chat.stop.click()
    await expect(chat.answer.locator(".error-status")).to_contain_text("canceled")
    await upstream.until(lambda: upstream.aborted > before)
    await expect(chat.send).to_be_visible()
    stopped = await chat.text()
    assert words(script.answer()).startswith(stopped)
    assert len(stopped) < len(words(script.answer()))
    await check_accessible(chat.page)
    await chat.page.reload()
    await expect(chat.answer.locator(".error-status")).to_contain_text("canceled")
    assert await chat.text() == stopped
    await shoot(chat.page, "stopped")


@pytest.mark.parametrize(
    ("fault", "said"), [("status:400", "There is no answer"), ("error_mid", "The answer broke off")]
)
async def test_a_failure_is_told_and_can_be_tried_again(converse: Converse, fault: str, said: str) -> None:
    chat = await converse()
    question = f"What is behind {fault}?"
    script = await chat.ask(question, tokens=30, delay_ms=1, fault=fault, fault_times=1)
    problem = chat.answer.locator(".error-status")
    await expect(problem).to_contain_text(said)
    await check_accessible(chat.page)
    await shoot(chat.page, f"failed-{fault.partition(':')[0]}")
    await problem.get_by_role("button", name="Try again").click()
    await chat.has(script.answer())


async def test_thoughts_and_tool_calls_are_folded_away(converse: Converse, upstream: Upstream) -> None:
    chat = await converse()
    script = await chat.ask(
        "What is the weather at Alder Quay?",
        text="I asked for the weather.", reasoning="The user wants the weather. There is a tool for it.",
        tool_calls=[{"name": "weather", "arguments": {"place": "Alder Quay"}}], delay_ms=1, gated=True,
    )  # fmt: skip
    upstream.let(script.key, 5)
    thoughts = chat.answer.get_by_test_id("reasoning")
    await expect(chat.answer).to_contain_text("Thinking")
    upstream.let(script.key)
    await expect(chat.answer).to_have_attribute("data-status", "done")
    await expect(thoughts).to_contain_text("Thought")
    if not await thoughts.evaluate("(element) => element.open"):
        await thoughts.locator("summary").click()
    await expect(thoughts).to_contain_text("There is a tool for it.")
    call = chat.answer.get_by_test_id("tool-call")
    await expect(call).to_contain_text("weather")
    await call.locator("summary").click()
    await expect(call).to_contain_text("Alder Quay")
    await check_accessible(chat.page)
    await shoot(chat.page, "reasoning")
    # What was opened stays so: when the next question is asked, and when it was out of sight.
    await chat.has((await chat.ask("And what will it be tomorrow?", tokens=900, batch=50)).answer())
    await chat.log.hover()
    await chat.page.mouse.wheel(0, 200_000)
    await expect(chat.page.get_by_test_id("reasoning")).to_have_count(0)
    await chat.page.mouse.wheel(0, -200_000)
    first = chat.answers.first
    await expect(first.get_by_test_id("reasoning")).to_have_attribute("open", "")
    await expect(first.get_by_test_id("tool-call")).to_have_attribute("open", "")
    await first.get_by_test_id("tool-call").locator("summary").click()
    await expect(first.get_by_test_id("tool-call")).not_to_have_attribute("open", "")


async def test_the_reader_may_scroll_up_while_it_streams(converse: Converse, upstream: Upstream) -> None:
    """open-webui #47, LibreChat #983, anything-llm #2253: the page held the reader at the end."""
    chat = await converse()
    script = await chat.ask("Tell a long story.", tokens=900, delay_ms=1, gated=True, batch=10)
    upstream.let(script.key, 60)
    await chat.shows("".join(script.pieces()[:500]))
    await chat.log.hover()
    await chat.page.mouse.wheel(0, 200_000)
    await expect(chat.page.get_by_test_id("jump-to-latest")).to_have_count(0)
    await chat.page.mouse.wheel(0, -300)
    await expect(chat.page.get_by_test_id("jump-to-latest")).to_be_visible()
    at = await chat.log.evaluate("(log) => log.scrollTop")
    upstream.let(script.key, 20)
    await chat.shows("".join(script.pieces()[:700]))
    assert await chat.log.evaluate("(log) => log.scrollTop") == at
    await check_accessible(chat.page)
    await shoot(chat.page, "scrolled-up")
    await chat.page.get_by_test_id("jump-to-latest").click()
    upstream.let(script.key)
    await chat.has(script.answer())
    await expect(chat.page.get_by_test_id("jump-to-latest")).to_have_count(0)
    end = "(log) => log.scrollHeight - log.clientHeight - log.scrollTop"
    assert await chat.log.evaluate(end) <= 24


async def test_the_start_of_a_long_answer_stays_in_view(converse: Converse) -> None:
    """open-webui #10724. The question is at the top, and following it is a setting."""
    chat = await converse()
    await chat.ask("Begin at the beginning.", tokens=900, delay_ms=0)
    await expect(chat.answer).to_have_attribute("data-status", "done")
    await expect(chat.questions.last).to_be_in_viewport()
    await expect(chat.page.get_by_test_id("jump-to-latest")).to_be_visible()


async def test_waiting_never_looks_like_being_stuck(converse: Converse, upstream: Upstream) -> None:
    chat = await converse()
    script = await chat.ask("Take your time.", tokens=5, delay_ms=1, gated=True)
    status = chat.answer.locator(".live-status")
    await expect(status).to_contain_text("Waiting for the")
    # The time goes on, though nothing comes.
    await expect(status).to_contain_text("1 s")
    await expect(status).to_contain_text("2 s")
    await shoot(chat.page, "waiting")
    upstream.let(script.key)
    await chat.has(script.answer())
    await expect(status).to_have_count(0)

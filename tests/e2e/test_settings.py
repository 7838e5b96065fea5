"""What a reader chooses: settings, colours, language; and the key that a server asks for."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.stack import Served
from tests.upstream import Upstream

from .browser import NETWORK, check_accessible, shoot
from .chat import Chat
from .conftest import FLAGS, Converse
from .texts import TIDES

KEY = "a key that nobody guesses"


async def open_settings(chat: Chat) -> None:
    await chat.page.get_by_test_id("settings-button").click()
    await expect(chat.page.get_by_test_id("settings-dialog")).to_be_visible()


async def test_settings_are_kept_and_reach_the_model(converse: Converse, upstream: Upstream) -> None:
    chat = await converse()
    await open_settings(chat)
    await check_accessible(chat.page)
    await shoot(chat.page, "settings")
    await chat.page.get_by_label("Enable Streaming").click()
    await chat.page.get_by_label("Temperature").fill("0.3")
    await chat.page.get_by_label("Maximum tokens").fill("77")
    await chat.page.keyboard.press("Escape")
    await expect(chat.page.get_by_test_id("settings-dialog")).to_have_count(0)
    await expect(chat.page.get_by_test_id("settings-button")).to_be_focused()
    await chat.page.reload()
    await open_settings(chat)
    await expect(chat.page.get_by_label("Enable Streaming")).not_to_be_checked()
    await expect(chat.page.get_by_label("Temperature")).to_have_value("0.3")
    await expect(chat.page.get_by_label("Maximum tokens")).to_have_value("77")
    await chat.page.keyboard.press("Escape")

    script = await chat.ask("Answer as I have set.", tokens=30, delay_ms=1, gated=True)
    upstream.let(script.key, 20)
    await expect(chat.answer).to_contain_text("shown when it is whole")
    await expect(chat.answer.locator(".md")).to_have_count(0)
    # How long it may get is known after a reload, too.
    await expect(chat.answer.get_by_role("progressbar")).to_have_attribute("max", "77")
    await chat.page.reload()
    await expect(chat.answer.get_by_role("progressbar")).to_have_attribute("max", "77")
    await shoot(chat.page, "not-streaming")
    upstream.let(script.key)
    await chat.has(script.answer())
    asked = next(each.body for each in reversed(upstream.requests) if each.key == script.key)
    assert (asked["temperature"], asked["max_tokens"]) == (0.3, 77)


async def test_the_model_can_be_chosen(converse: Converse, upstream: Upstream) -> None:
    chat = await converse()
    await chat.page.get_by_test_id("model-selector").click()
    await expect(chat.page.get_by_test_id("model-option-extractive")).to_be_visible()
    await check_accessible(chat.page, "[role=menu]")
    await shoot(chat.page, "models")
    await chat.page.locator("[data-testid^=model-option-][data-testid$=fake-mini]").click()
    await expect(chat.page.get_by_test_id("provider-status")).to_be_visible()
    script = await chat.ask("Which model are you?", tokens=4)
    await chat.has(script.answer())
    asked = next(each.body for each in reversed(upstream.requests) if each.key == script.key)
    assert asked["model"] == "fake-mini"
    await chat.page.reload()
    await expect(chat.page.get_by_test_id("model-selector")).to_contain_text("fake-mini")


@pytest.mark.parametrize("chosen", [False, True], ids=["by the system", "by the reader"])
async def test_dark(converse: Converse, chosen: bool) -> None:
    chat = await converse(color_scheme="light" if chosen else "dark")
    brightness = "() => getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
    if chosen:
        assert min(await chat.page.evaluate(brightness)) > 200
        await open_settings(chat)
        await chat.page.get_by_text("Dark", exact=True).click()
        await check_accessible(chat.page)
        await chat.page.keyboard.press("Escape")
        await chat.page.reload()
    assert max(await chat.page.evaluate(brightness)) < 60
    await chat.ask("How do tides look at night?", text=TIDES)
    await expect(chat.answer).to_have_attribute("data-status", "done")
    await expect(chat.answer.locator(".katex")).to_have_count(1)
    await check_accessible(chat.page)
    await shoot(chat.page, "dark")


@pytest.mark.parametrize("chosen", [False, True], ids=["by the browser", "by the reader"])
async def test_french(converse: Converse, chosen: bool) -> None:
    chat = await converse(locale="en-GB" if chosen else "fr-FR")
    if chosen:
        await open_settings(chat)
        await chat.page.get_by_label("Language").select_option("fr")
        await expect(chat.page.get_by_role("heading", name="Réglages")).to_be_visible()
        await chat.page.keyboard.press("Escape")
        await chat.page.reload()
    await expect(chat.page.locator("html")).to_have_attribute("lang", "fr")
    await expect(chat.page.get_by_role("heading", name="Que voulez-vous savoir ?")).to_be_visible()
    await check_accessible(chat.page)
    await shoot(chat.page, "french")
    script = await chat.ask("Comment naissent les marées ?", tokens=1234, batch=50)
    await chat.has(script.answer())
    # Numbers, too, as they are written there.
    await expect(chat.answer.locator(".usage")).to_contain_text("1\u202f234 jetons")


async def test_a_server_with_keys_asks_for_one(converse: Converse, upstream: Upstream, tmp_path: Path) -> None:
    flags = (*FLAGS, "--api-keys", KEY)
    async with Served(tmp_path, openai_url=upstream.openai_url, flags=flags) as server:
        chat = await converse(url=server.url)
        chat.reader.expect(NETWORK)  # 401
        dialog = chat.page.get_by_test_id("key-dialog")
        await expect(dialog).to_be_visible()
        await check_accessible(chat.page)
        await shoot(chat.page, "key")
        await dialog.get_by_label("Key", exact=True).fill("another one")
        await dialog.get_by_role("button", name="Continue").click()
        await expect(dialog).to_contain_text("not accepted")
        await dialog.get_by_label("Key", exact=True).fill(KEY)
        await dialog.get_by_role("button", name="Continue").click()
        await expect(dialog).to_have_count(0)
        script = await chat.ask("Do you know me?", tokens=5)
        await chat.has(script.answer())
        # For this tab only, unless the reader says otherwise.
        held = "(store) => Object.values(globalThis[store]).some((value) => value.includes('nobody guesses'))"
        assert await chat.page.evaluate(held, "sessionStorage")
        assert not await chat.page.evaluate(held, "localStorage")
        other = await chat.tab()
        await expect(other.page.get_by_test_id("key-dialog")).to_be_visible()
        await other.page.get_by_label("Key", exact=True).fill(KEY)
        await other.page.get_by_label("Remember").check()
        await other.page.get_by_role("button", name="Continue").click()
        await other.has(script.answer())
        assert await other.page.evaluate(held, "localStorage")
        assert KEY not in " ".join(request.url for request in chat.reader.requests)

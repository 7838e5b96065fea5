"""Conversations: the list of them, their branches and drafts, documents that answers cite, reading without a server."""

from __future__ import annotations

import re

from playwright.async_api import Route, expect

from tests.upstream import Upstream

from .browser import NETWORK, check_accessible, shoot
from .conftest import Converse
from .texts import FERRY


async def test_the_list_finds_renames_exports_and_deletes(converse: Converse) -> None:
    chat = await converse()
    script = await chat.ask("Where do ospreys winter?", tokens=12)
    await chat.has(script.answer())
    item = chat.item("Where do ospreys winter")
    await expect(item).to_be_visible()

    await item.hover()
    await item.get_by_role("button", name="Actions for").click()
    await check_accessible(chat.page, "[role=menu]")
    await shoot(chat.page, "thread-menu")
    async with chat.page.expect_download() as saved:
        await chat.page.get_by_role("menuitem", name="Markdown").click()
    exported = (await (await saved.value).path()).read_text("utf-8")
    assert "Where do ospreys winter?" in exported
    assert script.answer() in exported

    await item.hover()
    await item.get_by_role("button", name="Actions for").click()
    await chat.page.get_by_role("menuitem", name="Rename").click()
    await chat.page.get_by_label("Title of the conversation").fill("Ospreys")
    await chat.page.keyboard.press("Enter")
    await expect(chat.item("Ospreys")).to_be_visible()
    await chat.page.reload()
    await expect(chat.item("Ospreys")).to_be_visible()

    search = chat.page.get_by_test_id("thread-search")
    await search.fill("osprey")
    await expect(chat.threads.first).to_contain_text("Ospreys")
    await check_accessible(chat.page)
    await shoot(chat.page, "search")
    await search.fill("nothing that anybody wrote")
    await expect(chat.threads).to_have_count(0)
    await search.fill("")

    await chat.item("Ospreys").hover()
    await chat.item("Ospreys").get_by_role("button", name="Actions for").click()
    await chat.page.get_by_role("menuitem", name="Delete").click()
    await expect(chat.item("Ospreys")).to_have_count(0)
    await expect(chat.page.get_by_role("button", name="Undo")).to_be_visible()
    await shoot(chat.page, "deleted")
    await chat.page.get_by_role("button", name="Undo").click()
    await expect(chat.item("Ospreys")).to_be_visible()


async def test_editing_and_asking_again_make_branches(converse: Converse) -> None:
    chat = await converse()
    first = await chat.ask("What is an orchard?", tokens=10, seed=1)
    await chat.has(first.answer())
    second = chat.answers_to("What is a meadow?", tokens=10, seed=2)
    await chat.questions.last.hover()
    await chat.page.get_by_test_id("edit-button").click()
    field = chat.page.get_by_label("Edit your message")
    await expect(field).to_have_value("What is an orchard?")
    await field.fill("What is a meadow?")
    await check_accessible(chat.page)
    await shoot(chat.page, "editing")
    await field.press("Enter")
    await chat.has(second.answer())
    await expect(chat.questions).to_have_count(1)

    await chat.page.get_by_test_id("branch-prev").click()
    await chat.has(first.answer())
    await expect(chat.questions.last).to_contain_text("What is an orchard?")
    await chat.page.get_by_test_id("branch-next").click()
    await chat.has(second.answer())
    await expect(chat.page.get_by_role("group", name="Version 2 of 2")).to_be_visible()

    third = chat.answers_to("What is a meadow?", tokens=10, seed=3)
    await chat.answer.hover()
    await chat.page.get_by_test_id("regenerate-button").click()
    await chat.has(third.answer())
    await chat.answer.get_by_test_id("branch-prev").click()
    await chat.has(second.answer())
    await check_accessible(chat.page)
    await shoot(chat.page, "branches")
    # Which branch is shown is the conversation's affair, not the tab's.
    await chat.page.reload()
    await chat.has(second.answer())


async def test_a_hit_of_the_search_is_shown_on_its_own_branch(converse: Converse) -> None:
    chat = await converse()
    first = await chat.ask("Who was the keeper at Gannet Rock?", tokens=30, seed=11)
    await chat.has(first.answer())
    second = chat.answers_to("Who was the pilot at Gannet Rock?", tokens=30, seed=12)
    await chat.page.get_by_test_id("edit-button").click()
    await chat.page.get_by_label("Edit your message").fill("Who was the pilot at Gannet Rock?")
    await chat.page.get_by_label("Edit your message").press("Enter")
    await chat.has(second.answer())
    third = await chat.ask("And after that?", tokens=900, batch=50, seed=13)
    await chat.has(third.answer())
    await chat.page.get_by_test_id("new-thread").click()

    search = chat.page.get_by_test_id("thread-search")
    hits = chat.threads.locator("a[href*='/m/']")
    await search.fill("keeper Gannet")
    await hits.filter(has_text="keeper").first.click()
    await expect(chat.questions).to_have_text([re.compile("keeper at Gannet Rock")])
    await chat.has(first.answer())
    await search.fill("pilot Gannet")
    await hits.filter(has_text="pilot").first.click()
    await expect(chat.questions.first).to_contain_text("pilot at Gannet Rock")
    await expect(chat.questions.first).to_be_in_viewport()
    # Where a hit has led, the reader may go on.
    await chat.page.get_by_test_id("branch-prev").first.click()
    await chat.has(first.answer())


async def test_a_message_is_deleted_with_what_follows_it(converse: Converse) -> None:
    chat = await converse()
    first = await chat.ask("What stays of this?", tokens=12, seed=21)
    await chat.has(first.answer())
    await chat.has((await chat.ask("And what of this?", tokens=12, seed=22)).answer())
    dialog = chat.page.get_by_test_id("delete-dialog")
    await chat.questions.last.get_by_test_id("delete-button").click()
    await expect(dialog).to_be_visible()
    await check_accessible(chat.page)
    await shoot(chat.page, "delete")
    await dialog.get_by_role("button", name="Keep it").click()
    await expect(dialog).to_have_count(0)
    await expect(chat.questions.last).to_contain_text("And what of this?")

    await chat.questions.last.get_by_test_id("delete-button").click()
    await dialog.get_by_role("button", name="Delete").click()
    await chat.has(first.answer())
    await chat.page.reload()
    await chat.has(first.answer())
    await expect(chat.questions).to_have_text([re.compile("What stays of this")])

    await chat.answer.get_by_test_id("delete-button").click()
    await dialog.get_by_role("button", name="Delete").click()
    await expect(chat.answers).to_have_count(0)
    await expect(chat.questions).to_have_count(1)
    await chat.questions.last.get_by_test_id("delete-button").click()
    await dialog.get_by_role("button", name="Delete").click()
    await expect(chat.page.get_by_role("heading", name="What would you like to know?")).to_be_visible()


async def test_a_draft_is_kept(converse: Converse) -> None:
    chat = await converse()
    await chat.input.fill("Half a thought, not yet")
    await chat.page.reload()
    await expect(chat.input).to_have_value("Half a thought, not yet")
    await chat.input.fill("")


async def test_a_document_is_read_and_cited(converse: Converse) -> None:
    chat = await converse()
    await chat.choose_model("extractive")
    await chat.attach("ferry.md", FERRY)
    attachment = chat.page.get_by_test_id("attachment")
    await expect(attachment).to_contain_text("ferry.md")
    await expect(attachment).to_contain_text("Ready")
    await check_accessible(chat.page)
    await shoot(chat.page, "attachment")
    await chat.ask("When does the ferry leave Alder Quay?")
    await expect(chat.answer).to_have_attribute("data-status", "done")
    await expect(chat.answer).to_contain_text("07:40 and 16:10")
    await chat.answer.get_by_role("button", name=re.compile("[Ss]ource 1")).first.click()
    panel = chat.page.get_by_test_id("sources-panel")
    await expect(panel).to_contain_text("ferry.md")
    await expect(panel).to_contain_text("leaves Alder Quay at 07:40")
    await check_accessible(chat.page)
    await shoot(chat.page, "sources")
    await chat.page.keyboard.press("Escape")
    await expect(panel).to_have_count(0)


async def test_a_document_that_cannot_be_read_says_why(converse: Converse) -> None:
    chat = await converse()
    await chat.attach("archive.zip", "PK\x03\x04 not a text", "application/zip")
    attachment = chat.page.get_by_test_id("attachment")
    await expect(attachment).to_contain_text("Not read")
    await check_accessible(chat.page)
    await shoot(chat.page, "attachment-failed")
    await attachment.get_by_role("button", name="Remove archive.zip").click()
    await expect(attachment).to_have_count(0)


async def test_without_the_server_what_was_read_can_be_read(converse: Converse) -> None:
    chat = await converse()
    first = await chat.ask("What is kept of this?", tokens=14, seed=7)
    await chat.has(first.answer())
    await chat.page.get_by_test_id("new-thread").click()
    second = await chat.ask("And of this?", tokens=14, seed=8)
    await chat.has(second.answer())
    await expect(chat.item("And of this")).to_be_visible()

    async def away(route: Route) -> None:
        await route.abort("connectionrefused")

    chat.reader.expect(NETWORK)
    await chat.reader.context.route("**/v1/**", away)
    await chat.page.reload()
    await chat.has(second.answer())
    await expect(chat.banner).to_contain_text("cannot be reached")
    await chat.item("What is kept of this").get_by_role("link").click()
    await chat.has(first.answer())
    await check_accessible(chat.page)
    await shoot(chat.page, "offline")
    await chat.reader.context.unroute("**/v1/**", away)
    await chat.banner.get_by_role("button", name="Try now").click()
    await expect(chat.banner).to_have_count(0)


async def test_a_question_that_did_not_get_through_is_kept(converse: Converse, upstream: Upstream) -> None:
    chat = await converse()
    await chat.has((await chat.ask("Are you there?", tokens=5)).answer())

    async def away(route: Route) -> None:
        await route.abort("connectionrefused") if route.request.method == "POST" else await route.fallback()

    chat.reader.expect(NETWORK)
    await chat.reader.context.route("**/v1/threads/*/messages", away)
    chat.answers_to("Do not lose this.", tokens=6, seed=9)
    await chat.input.fill("Do not lose this.")
    await chat.send.click()
    await expect(chat.questions.last).to_contain_text("Do not lose this.")
    await shoot(chat.page, "sending")
    await chat.reader.context.unroute("**/v1/threads/*/messages", away)
    retry = chat.page.locator(".error-status").get_by_role("button", name="Try again")
    await expect(retry.or_(chat.page.locator("[data-last] .assistant-message"))).to_be_visible()
    if await retry.count():  # else the page's own further try has come first
        await retry.click()
    await chat.has(upstream.scripts["Do not lose this."].answer())
    assert upstream.attempts_for("Do not lose this.") == 1

"""The chat page as a reader uses it."""

from __future__ import annotations

from typing import Any

import msgspec
from playwright.async_api import FilePayload, Locator, Page, expect

from tests.upstream import Script, Upstream

from .browser import Reader


def words(text: str) -> str:
    """What is compared: Markdown makes one space of a line break, and the page's own spaces are its affair."""
    return " ".join(text.split())


class Chat:
    """One tab."""

    def __init__(self, page: Page, reader: Reader, upstream: Upstream) -> None:
        self.page = page
        self.reader = reader
        self.upstream = upstream
        self.input = page.get_by_test_id("chat-input")
        self.send = page.get_by_test_id("send-button")
        self.stop = page.get_by_test_id("cancel-button")
        self.questions = page.locator(".user-message")
        self.answers = page.locator(".assistant-message")
        self.answer = self.answers.last
        self.banner = page.get_by_test_id("connection-banner")
        self.threads = page.get_by_test_id("thread-item")
        self.log = page.get_by_role("log")

    async def ask(self, question: str, **script: Any) -> Script:
        """Send it. `script`: fields of what the upstream answers to it from now on; its `key` is the question."""
        answer = self.answers_to(question, **script)
        await self.input.fill(question)
        await self.send.click()
        await expect(self.input).to_have_value("")
        return answer

    def answers_to(self, question: str, **script: Any) -> Script:
        if script:
            self.upstream.scripts[question] = msgspec.convert({**script, "key": question}, Script)
        return self.upstream.scripts.get(question, self.upstream.default)

    async def text(self) -> str:
        """The newest answer's words as they are drawn; "" before the first."""
        drawn = self.answer.locator(".md")
        return words(await drawn.inner_text()) if await drawn.count() else ""

    async def shows(self, part: str) -> None:
        """At least so much of the newest answer is drawn."""
        await expect(self.answer.locator(".md")).to_contain_text(words(part))

    async def has(self, whole: str) -> None:
        """The newest answer is complete, and it is this."""
        await expect(self.answer).to_have_attribute("data-status", "done")
        await expect(self.answer.locator(".md")).to_have_text(words(whole))
        assert await self.text() == words(whole)

    async def attach(self, name: str, content: str, kind: str = "text/markdown") -> None:
        async with self.page.expect_file_chooser() as chosen:
            await self.page.get_by_test_id("attach-button").click()
        await (await chosen.value).set_files(FilePayload(name=name, mimeType=kind, buffer=content.encode()))

    async def choose_model(self, model: str) -> None:
        await self.page.get_by_test_id("model-selector").click()
        await self.page.get_by_test_id(f"model-option-{model}").click()

    async def tab(self) -> Chat:
        """Another tab of the same reader, at the same place."""
        page = await self.reader.context.new_page()
        await page.goto(self.page.url)
        return Chat(page, self.reader, self.upstream)

    def item(self, title: str) -> Locator:
        """A conversation in the list."""
        return self.threads.filter(has_text=title)

"""What Headwater is for: reloads, lost networks, killed servers and further tabs, and the answer is simply there."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import httpx
from playwright.async_api import expect

from tests.stack import Served
from tests.upstream import Upstream

from .browser import NETWORK, check_accessible, shoot
from .chat import Chat, words
from .conftest import FLAGS, Converse
from .line import Line
from .texts import TUNNEL

RELOADS = 10
CUT_S = 5.0
TABS = 7


async def stored(server: Served, chat: Chat) -> str:
    """The newest answer's text as the server keeps it."""
    thread = chat.page.url.partition("#/t/")[2]
    async with httpx.AsyncClient() as client:
        listed = await client.get(f"{server.url}/v1/threads/{thread}/messages")
    text: str = listed.json()["data"][-1]["content"]
    return text


async def test_reloading_in_mid_answer_loses_nothing(converse: Converse, upstream: Upstream, server: Served) -> None:
    chat = await converse()
    tokens = 240
    seed = random.randrange(10_000)
    points = sorted(random.sample(range(5, tokens - 5), RELOADS))
    script = await chat.ask(f"Reload me ({seed}).", tokens=tokens, seed=seed, delay_ms=1, gated=True)
    pieces, before = script.pieces(), 0
    for point in points:
        upstream.let(script.key, point - before)
        before = point
        # A write or two at the beginning hold no token.
        part = words("".join(pieces[: point - 3]))
        await chat.shows(part)
        await chat.page.reload()
        await chat.shows(part)
        await expect(chat.stop).to_be_visible()
        assert words(script.answer()).startswith(await chat.text()), points
    upstream.let(script.key)
    await chat.has(script.answer())
    assert await stored(server, chat) == script.answer()
    assert upstream.attempts_for(script.key) == 1


async def test_a_lost_network_is_told_and_mended(converse: Converse, upstream: Upstream, line: Line) -> None:
    chat = await converse(url=line.url)
    chat.reader.expect(NETWORK)
    script = await chat.ask("Tell me of a railway tunnel.", text=TUNNEL, delay_ms=1, gated=True)
    upstream.let(script.key, 30)
    await chat.shows("".join(script.pieces()[:25]))
    await line.cut()
    await expect(chat.banner).to_contain_text("Reconnecting")
    await check_accessible(chat.page)
    await shoot(chat.page, "reconnecting")
    upstream.let(script.key, 30)
    await asyncio.sleep(CUT_S)  # what is shown here: as long as a tunnel, or a change of networks
    assert words(script.answer()).startswith(await chat.text())
    await expect(chat.banner).to_be_visible()
    line.mend()
    await expect(chat.banner).to_contain_text("nothing was lost")
    await shoot(chat.page, "resumed")
    await chat.shows("".join(script.pieces()[:55]))
    upstream.let(script.key)
    await chat.has(script.answer())
    assert upstream.attempts_for(script.key) == 1


def going_on(directory: Path, upstream: Upstream) -> tuple[str, ...]:
    """A route whose answers go on after a crash."""
    config = directory / "headwater.toml"
    config.write_text(
        f"[providers.vllm]\nbase_url = {upstream.openai_url!r}\n"
        '[routes.kept]\ncontinue_answers = true\n[[routes.kept.targets]]\nprovider = "vllm"\nmodel = "fake-1"\n'
    )
    return (*FLAGS[:-1], "kept", "--config", str(config))


async def test_a_killed_server_comes_back_and_goes_on(converse: Converse, upstream: Upstream, tmp_path: Path) -> None:
    async with Served(tmp_path, flags=going_on(tmp_path, upstream)) as server:
        chat = await converse(url=server.url)
        chat.reader.expect(NETWORK)
        script = await chat.ask("Survive this.", tokens=120, delay_ms=1, gated=True)
        upstream.let(script.key, 30)
        await chat.shows("".join(script.pieces()[:25]))
        seen = await chat.text()
        await server.kill()
        await expect(chat.banner).to_be_visible()
        assert await chat.text() == seen
        await server.start()
        upstream.let(script.key)
        await chat.has(script.answer())
        assert await stored(server, chat) == script.answer()
        await expect(chat.banner).to_have_count(0)
        await shoot(chat.page, "restarted")


# Until the browser keeps a text that begins so (white space aside), and the files of what shows it.
_KEPT = """async (part) => {
  const database = await new Promise((resolve) => {
    indexedDB.open("headwater").onsuccess = (event) => resolve(event.target.result);
  });
  const isKept = async () => {
    const all = database.transaction("conversations").objectStore("conversations").getAll();
    const kept = await new Promise((resolve) => (all.onsuccess = () => resolve(all.result)));
    const texts = kept.flatMap(({ messages }) => messages.map(({ content }) => content.replace(/\\s/g, "")));
    const files = await (await caches.open("headwater-page-1")).keys();
    return files.some(({ url }) => url.includes("MessageList")) && texts.some((text) => text.startsWith(part));
  };
  while (!(await isKept())) await new Promise((resolve) => setTimeout(resolve, 100));
  database.close();
}"""


async def test_without_a_server_the_page_opens_and_goes_on_when_there_is_one(
    converse: Converse, upstream: Upstream, tmp_path: Path
) -> None:
    async with Served(tmp_path, flags=going_on(tmp_path, upstream)) as server:
        chat = await converse(url=server.url)
        chat.reader.expect(NETWORK)
        read = await chat.ask("What was read before?", text="That the ferry leaves at 07:40 and at 16:10.")
        await chat.has(read.answer())
        script = await chat.ask("And what is written now?", text=TUNNEL, delay_ms=1, gated=True)
        upstream.let(script.key, 30)
        part = "".join(script.pieces()[:25])
        await chat.shows(part)
        await chat.page.evaluate(_KEPT, "".join(part.split()))

        await server.stop()
        await expect(chat.banner).to_be_visible()
        await chat.page.reload()
        await expect(chat.banner).to_contain_text("cannot be reached")
        await expect(chat.answers.first.locator(".md")).to_have_text(words(read.answer()))
        await chat.shows(part)
        await expect(chat.answer.locator(".live-status")).to_contain_text("Waiting for the connection")
        await check_accessible(chat.page)
        await shoot(chat.page, "without-a-server")
        # Something else can be read meanwhile, and what is asked is kept.
        await chat.page.get_by_test_id("new-thread").click()
        await chat.item("What was read before").get_by_role("link").click()
        await chat.shows(part)

        await server.start()
        upstream.let(script.key)
        await chat.has(script.answer())
        await expect(chat.banner).to_have_count(0)
        assert await stored(server, chat) == script.answer()


async def test_an_answer_that_nobody_goes_on_with_keeps_its_part(
    converse: Converse, upstream: Upstream, tmp_path: Path
) -> None:
    async with Served(tmp_path, openai_url=upstream.openai_url, flags=FLAGS) as server:
        chat = await converse(url=server.url)
        chat.reader.expect(NETWORK)
        script = await chat.ask("Break in the middle.", tokens=60, delay_ms=1, gated=True)
        upstream.let(script.key, 30)
        await chat.shows("".join(script.pieces()[:25]))
        await server.restart()
        await expect(chat.answer.locator(".error-status")).to_contain_text("The answer broke off")
        part = await chat.text()
        assert words(script.answer()).startswith(part)
        assert part
        upstream.let(script.key)
        await chat.answer.get_by_role("button", name="Try again").last.click()
        await chat.has(script.answer())


async def test_two_tabs_show_one_answer(converse: Converse, upstream: Upstream) -> None:
    chat = await converse()
    script = await chat.ask("Be in two places.", tokens=80, delay_ms=1, gated=True)
    upstream.let(script.key, 30)
    await chat.shows("".join(script.pieces()[:25]))
    other = await chat.tab()
    await other.shows("".join(script.pieces()[:25]))
    await expect(other.stop).to_be_visible()
    upstream.let(script.key, 30)
    for tab in (chat, other):
        await tab.shows("".join(script.pieces()[:55]))
    # Whoever stops it, it stops for all.
    await other.stop.click()
    for tab in (chat, other):
        await expect(tab.answer.locator(".error-status")).to_contain_text("canceled")
    assert await chat.text() == await other.text()


async def test_a_question_of_one_tab_comes_to_the_other(converse: Converse, upstream: Upstream) -> None:
    chat = await converse()
    script = await chat.ask("The first of two.", tokens=10)
    await chat.has(script.answer())
    other = await chat.tab()
    await other.has(script.answer())
    second = await other.ask("The second of two.", tokens=40, seed=5, delay_ms=1, gated=True)
    upstream.let(second.key, 20)
    await chat.shows("".join(second.pieces()[:15]))
    upstream.let(second.key)
    for tab in (chat, other):
        await expect(tab.questions.last).to_contain_text("The second of two.")
        await tab.has(second.answer())


async def test_seven_tabs_do_not_starve(converse: Converse, upstream: Upstream) -> None:
    """A browser has six HTTP/1.1 connections to an origin: the seventh tab hung."""
    chat = await converse()
    script = await chat.ask("Be in seven places.", tokens=80, delay_ms=1, gated=True)
    upstream.let(script.key, 30)
    await chat.shows("".join(script.pieces()[:25]))
    tabs = [chat, *[await chat.tab() for _ in range(TABS - 1)]]
    for tab in tabs:
        await tab.shows("".join(script.pieces()[:25]))
    # The last one can still ask something of the server.
    await tabs[-1].page.evaluate("fetch('./v1/models').then((response) => response.json())")
    upstream.let(script.key)
    for tab in tabs:
        await tab.page.bring_to_front()
        await tab.has(script.answer())


async def test_another_chat_stops_nothing(converse: Converse, upstream: Upstream) -> None:
    """open-webui #452 (the stream ended), #8777 (no Stop after coming back)."""
    chat = await converse()
    script = await chat.ask("Stay while I am away.", tokens=80, delay_ms=1, gated=True)
    upstream.let(script.key, 30)
    await chat.shows("".join(script.pieces()[:25]))
    place = chat.page.url.rpartition("#")[2]
    await chat.page.get_by_test_id("new-thread").click()
    await expect(chat.answers).to_have_count(0)
    await expect(chat.send).to_be_visible()
    item = chat.threads.filter(has=chat.page.locator(f'a[href="#{place}"]'))
    await expect(item).to_contain_text("Answering")
    quick = await chat.ask("Meanwhile, something short.", tokens=5)
    await chat.has(quick.answer())
    upstream.let(script.key, 20)
    await item.get_by_role("link").click()
    await chat.shows("".join(script.pieces()[:45]))
    await expect(chat.stop).to_be_visible()
    assert upstream.active == 1
    upstream.let(script.key)
    await chat.has(script.answer())
    await expect(item).not_to_contain_text("Answering")

"""Clients as the documents of references 001 and 002 describe them, against the real server: cut anywhere, reloaded.

`AiStream` is the hook `useAIStream` (001): a fetch reader that takes whole lines, reads those that begin with `data: `,
and knows `content`, `done` and `error`. `NamedEvents` is an EventSource with a listener for each named event (002).
"""

from __future__ import annotations

import codecs
import json
import random
from typing import Any

import httpx
import pytest

from headwater.sse import Message, Parser
from tests.stack import Served, begin
from tests.upstream import prompt
from tests.upstream.script import Script

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

BUDGETS = (1, 40, 200, 900, 5_000, 100_000)
FIRST_BUDGET = 700  # ends in mid-answer, so that every run is cut at least once
EVERYTHING = 1 << 30


class AiStream:
    """The state and the reader of the hook. `last_id` is what a client adds to it that wants to resume."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.text = ""
        self.chunks: list[str] = []
        self.error: str | None = None
        self.completed: list[str] = []
        self.last_id = ""

    @property
    def is_streaming(self) -> bool:
        return self.error is None and not self.completed

    async def read(self, client: httpx.AsyncClient, budget: int = EVERYTHING) -> None:
        """One connection, cut after `budget` bytes."""
        decoder = codecs.getincrementaldecoder("utf-8")()
        buffer = event_id = ""
        headers = {"Last-Event-ID": self.last_id} if self.last_id else {}
        async with client.stream("GET", self.url, params={"dialect": "ai_chat"}, headers=headers) as response:
            assert response.status_code == 200, await response.aread()
            async for value in response.aiter_bytes():
                buffer += decoder.decode(value[:budget])
                budget -= len(value)
                *lines, buffer = buffer.split("\n")
                for line in lines:
                    if line.startswith("id: "):
                        event_id = line[4:]
                    if line.startswith("data: "):
                        # Only with its data: the reader takes this line though the blank one may never come.
                        self.last_id = event_id or self.last_id
                        self._take(json.loads(line[6:]))
                if budget <= 0 or not self.is_streaming:
                    return

    def _take(self, data: dict[str, Any]) -> None:
        if data.get("error"):
            self.error = data["error"]
            return
        if data.get("content"):
            self.text += data["content"]
            self.chunks.append(data["content"])
        if data["done"]:
            self.completed.append(self.text)


class NamedEvents:
    """An EventSource with a listener a name; it comes back with the last id until it is closed."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.parser = Parser()
        self.closed = False
        self.messages: list[Message] = []
        self.text = ""
        self.started: list[dict[str, Any]] = []
        self.sequences: list[int] = []
        self.ends: list[tuple[str, dict[str, Any]]] = []

    async def read(self, client: httpx.AsyncClient, budget: int = EVERYTHING) -> None:
        """One connection, cut after `budget` bytes."""
        last = self.parser.last_event_id
        headers = {"Last-Event-ID": last} if last else {}
        async with client.stream("GET", self.url, params={"dialect": "streaming"}, headers=headers) as response:
            if response.status_code == 204:
                self.closed = True
                return
            assert response.status_code == 200, await response.aread()
            async for chunk in response.aiter_bytes():
                for message in self.parser.feed(chunk[:budget]):
                    self._dispatch(message)
                budget -= len(chunk)
                if budget <= 0:
                    break
        self.parser.close()

    def _dispatch(self, message: Message) -> None:
        self.messages.append(message)
        data = json.loads(message.data)
        match message.event:
            case "start":
                self.started.append(data)
            case "chunk":
                assert data["content"] == data["delta"]
                assert data["size"] == len(data["content"].encode())
                self.sequences.append(data["sequence"])
                self.text += data["content"]
            case "complete" | "error":
                self.ends.append((message.event, data))
                self.closed = True
            case other:
                assert other in ("metadata", "heartbeat", "reconnect")


def events_url(served: Served, stream: str) -> str:
    return f"{served.url}/v1/streams/{stream}/events"


async def run_to_end(client: httpx.AsyncClient, source: NamedEvents, budgets: random.Random) -> int:
    """How many connections it took."""
    await source.read(client, FIRST_BUDGET)
    connections = 1
    while not source.closed:
        await source.read(client, budgets.choice(BUDGETS))
        connections += 1
    return connections


def script(seed: int, **fields: Any) -> dict[str, Any]:
    return {"tokens": 60, "seed": seed, "delay_ms": random.Random(seed).choice((0, 1, 4)), **fields}


@pytest.mark.parametrize("seed", range(4))
async def test_the_hook_has_the_whole_text_wherever_it_is_cut(
    served: Served, client: httpx.AsyncClient, seed: int
) -> None:
    """vercel/ai #14688, #18457 (resume repeats text). Status, reasoning and usage frames do the reader no harm."""
    rng = random.Random(seed)
    asked = script(seed, reasoning="first this then that")
    stream = await begin(client, served.url, prompt(**asked))
    hook = AiStream(events_url(served, stream))
    await hook.read(client, FIRST_BUDGET)
    assert hook.completed == []
    while hook.is_streaming:
        await hook.read(client, rng.choice(BUDGETS))
    assert hook.error is None
    assert hook.completed == [hook.text] == [Script(**asked).answer()]


async def test_a_reload_in_mid_answer_gives_the_hook_the_whole_text(served: Served, client: httpx.AsyncClient) -> None:
    """open-webui #29596 (a refresh loses the text before it)."""
    asked = script(7, delay_ms=4)
    stream = await begin(client, served.url, prompt(**asked))
    before = AiStream(events_url(served, stream))
    while not before.text:
        await before.read(client, 900)
    assert before.is_streaming
    reloaded = AiStream(before.url)
    await reloaded.read(client)
    assert reloaded.completed == [Script(**asked).answer()]
    assert "".join(reloaded.chunks).startswith(before.text)


@pytest.mark.parametrize("seed", range(4))
async def test_named_events_have_the_whole_text_wherever_they_are_cut(
    served: Served, client: httpx.AsyncClient, seed: int
) -> None:
    """Random ids could not resume (002). `sequence` only grows, and its end agrees with the totals."""
    asked = script(seed, reasoning="first this then that")
    stream = await begin(client, served.url, prompt(**asked))
    source = NamedEvents(events_url(served, stream))
    assert await run_to_end(client, source, random.Random(seed + 100)) > 1
    answer = Script(**asked).answer()
    [(end, totals)] = source.ends
    assert (end, totals["finishReason"]) == ("complete", "stop")
    assert source.text == answer
    assert [start["connectionId"] for start in source.started] == [stream]
    assert source.sequences == sorted(set(source.sequences))
    assert source.sequences[-1] + 1 == totals["totalChunks"]
    assert totals["totalBytes"] == len(answer.encode())


async def test_every_cursor_of_an_ended_stream_has_the_same_rest_after_a_restart(
    served: Served, client: httpx.AsyncClient
) -> None:
    """P2: an ended stream is opened by its record alone, and yet numbers its chunks as they were."""
    asked = script(3, delay_ms=1, reasoning="first this then that")
    stream = await begin(client, served.url, prompt(**asked))
    live = NamedEvents(events_url(served, stream))
    await live.read(client)
    assert live.closed
    await served.restart()
    for position in range(0, len(live.messages), 7):
        resumed = NamedEvents(live.url)
        resumed.parser.feed(b"id: %b\n\n" % live.messages[position].id.encode())
        await resumed.read(client)
        seen = [m for m in live.messages[: position + 1] if m.event == "chunk"]
        before = "".join(json.loads(m.data)["content"] for m in seen)
        assert before + resumed.text == Script(**asked).answer()
        assert resumed.sequences[-1:] == live.sequences[-1:] or not resumed.sequences
        assert resumed.ends == (live.ends if position < len(live.messages) - 1 else [])


async def test_a_failed_answer_does_not_end_as_a_whole_one(served: Served, client: httpx.AsyncClient) -> None:
    """002's `error` and `complete` never went out, as the status was changed before; portkey #1797, bifrost #5546."""
    asked = script(5, fault="error_event")
    stream = await begin(client, served.url, prompt(**asked))
    source = NamedEvents(events_url(served, stream))
    await source.read(client)
    hook = AiStream(source.url)
    await hook.read(client)
    [(end, data)] = source.ends
    assert end == "error"
    assert data["error"] == hook.error
    assert hook.completed == []
    assert hook.text == source.text
    assert source.text
    assert Script(**asked).answer().startswith(source.text)


async def test_a_cancelled_answer_says_so(served: Served, client: httpx.AsyncClient) -> None:
    stream = await begin(client, served.url, prompt(**script(6, tokens=2_000, delay_ms=4)))
    url = events_url(served, stream)
    source, hook = NamedEvents(url), AiStream(url)
    while not hook.text:
        await hook.read(client, 900)
    (await client.post(f"{served.url}/v1/streams/{stream}/cancel")).raise_for_status()
    await source.read(client)
    await hook.read(client)
    assert [(end, data["finishReason"]) for end, data in source.ends] == [("complete", "cancelled")]
    assert hook.completed == [source.text]

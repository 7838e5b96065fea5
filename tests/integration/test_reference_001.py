"""Reference 001 on a fresh single-user server: its routes, for clients as its document shows them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from headwater.errors import ProviderRejected
from headwater.events import Text
from headwater.request import ChatRequest
from headwater.streams import Writer

from .chat_kit import ChatModels, Chatting, chatting
from .reference_clients import ANSWER, HALF, PIECES, EventSource, Halves, answers, data_of, never, started

STREAM, SSE = "/api/ai-chat/stream", "/api/ai-chat/stream-sse"
# The document's own request.
REQUEST: dict[str, Any] = {
    "message": "Hello, AI!",
    "history": [
        {"role": "user", "content": "Previous message"},
        {"role": "assistant", "content": "Previous response"},
    ],
    "sessionId": "session-123",
    "workspaceId": "workspace-123",
    "projectId": "project-123",
    "currentOrganizationId": "org-123",
}


async def fails(writer: Writer, request: ChatRequest) -> None:
    writer.write([Text("half")])
    await asyncio.sleep(0)
    raise ProviderRejected("the model is gone", status=503, provider="scripted")


@pytest.fixture
def halves() -> Halves:
    return Halves()


@pytest.fixture
async def it(halves: Halves) -> AsyncIterator[Chatting]:
    async with chatting(ChatModels({"gpt-3.5-turbo": answers, "halves": halves, "fails": fails})) as running:
        yield running


def text_of(frames: list[dict[str, Any]]) -> str:
    return "".join(frame["content"] for frame in frames if "content" in frame)


async def test_the_documents_request_gets_the_documents_frames(it: Chatting) -> None:
    response = await it.client.post(STREAM, json=REQUEST)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    frames = data_of(response.text)
    assert text_of(frames) == ANSWER
    assert {frozenset(frame) for frame in frames if "content" in frame} == {frozenset({"content", "done"})}
    assert not any(frame["done"] for frame in frames[:-1])
    assert frames[-1] == {"done": True}
    # The history in the body is the prompt's.
    told = [message["content"] for message in it.models.asked[-1].messages[1:]]
    assert told == ["Previous message", "Previous response", "Hello, AI!"]


async def test_curl_sees_every_piece_as_it_is_made_and_gets_the_rest_later(it: Chatting, halves: Halves) -> None:
    body = json.dumps(REQUEST | {"model": "halves"})
    command = ("curl", "-s", "-i", "-X", "POST", f"{it.url}{STREAM}", "-H", "Content-Type: application/json")
    seen, stream, last_id = "", "", ""
    async with started(*command, "-d", body, "--no-buffer") as curl:
        while PIECES[HALF - 1] not in text_of(data_of(seen)):
            line = await curl.line()
            name, _, value = line.partition(": ")
            stream = value.strip() if name.lower() == "x-stream-id" else stream
            last_id = value.strip() if name == "id" else last_id
            seen += line
        curl.kill()
    halves.gate.set()
    again = f"{it.url}/v1/streams/{stream}/events?dialect=ai_chat"
    async with started("curl", "-s", "-N", "-H", f"Last-Event-ID: {last_id}", again) as curl:
        rest = await curl.rest()
    assert text_of(data_of(seen)) + text_of(data_of(rest)) == ANSWER
    assert data_of(rest)[-1] == {"done": True}


async def test_an_eventsource_that_is_cut_gets_exactly_the_rest(it: Chatting, halves: Halves) -> None:
    source = EventSource(it.client, f"{SSE}?message=Hello&sessionId=s&model=halves")
    await source.connect(lambda: len([frame for frame in source.data if "content" in frame]) == HALF)
    halves.gate.set()
    await source.connect(never)
    assert text_of(source.data) == ANSWER
    assert source.data[-1] == {"done": True}
    assert len(set(source.streams)) == 1
    # 204 is what ends an EventSource that comes back after the end.
    await source.connect(never)
    assert source.statuses == [200, 200, 204]
    assert len(it.models.asked) == 1


async def test_the_same_address_without_a_cursor_asks_again(it: Chatting) -> None:
    first, second = (EventSource(it.client, f"{SSE}?message=Hello&sessionId=s") for _ in range(2))
    await first.connect(never)
    await second.connect(never)
    assert first.streams != second.streams
    assert text_of(second.data) == ANSWER
    # The conversation is the thread's own.
    assert [message["role"] for message in it.models.asked[-1].messages] == ["system", "user", "assistant", "user"]


async def use_ai_stream(it: Chatting, halves: Halves, *, reload_after: int = 0, **argument: Any) -> dict[str, Any]:
    async with started("node", "ai_stream.mjs", it.url, json.dumps(argument), str(reload_after)) as hook:
        if reload_after:
            assert await hook.line() == "reloaded\n"
            halves.gate.set()
        told: dict[str, Any] = json.loads(await hook.line())
        return told


@pytest.mark.node
async def test_the_hook_accumulates_until_done(it: Chatting, halves: Halves) -> None:
    told = await use_ai_stream(it, halves, message="Hello, AI!", history=[], sessionId="session-123")
    assert told["text"] == ANSWER
    assert "".join(told["chunks"]) == ANSWER
    assert told["completed"] == [ANSWER]
    assert (told["isStreaming"], told["isComplete"], told["error"]) == (False, True, None)


@pytest.mark.node
async def test_the_hook_reloaded_in_mid_answer_ends_with_the_same_text(it: Chatting, halves: Halves) -> None:
    told = await use_ai_stream(it, halves, reload_after=HALF, message="Hello", model="halves")
    # A viewer that catches up gets several pieces as one.
    assert told["chunks"][:HALF] == PIECES[:HALF]
    assert "".join(told["chunks"]) == ANSWER
    assert told["completed"] == [ANSWER]


@pytest.mark.node
async def test_the_hook_is_told_of_errors_in_the_stream_and_before_it(it: Chatting, halves: Halves) -> None:
    told = await use_ai_stream(it, halves, message="Hello", model="fails")
    assert (told["status"], told["text"], told["isComplete"]) == (200, "half", False)
    assert told["errors"] == ["the model is gone"]
    told = await use_ai_stream(it, halves, message="")
    assert told["status"] == 400
    assert "length >= 1" in told["error"]


async def test_a_page_reloaded_with_its_session_finds_the_whole_conversation(it: Chatting, halves: Halves) -> None:
    """The thread keeps what the stream made, whoever watched it to the end."""
    source = EventSource(it.client, f"{SSE}?message=Hello&sessionId=s&model=halves")
    await source.connect(lambda: text_of(source.data).startswith(PIECES[0]))
    halves.gate.set()
    await it.ended(source.streams[0])
    await it.client.post(STREAM, json={"message": "And then?", "sessionId": "s"})
    told = [message["content"] for message in it.models.asked[-1].messages[1:]]
    assert told == ["Hello", ANSWER, "And then?"]

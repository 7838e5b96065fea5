"""Reference 003 on a fresh single-user server: its routes, for clients as its document shows them."""

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

FERRY = "The ferry to the island leaves at nine in the morning from the north quay. " * 8


async def fails(writer: Writer, request: ChatRequest) -> None:
    writer.write([Text("half")])
    await asyncio.sleep(0)
    raise ProviderRejected("the model is gone", status=503, provider="scripted")


@pytest.fixture
def halves() -> Halves:
    return Halves()


@pytest.fixture
async def it(halves: Halves) -> AsyncIterator[Chatting]:
    models = ChatModels({"mistral": answers, "halves": halves, "fails": fails}, local=("mistral",))
    async with chatting(models) as running:
        yield running


def text_of(messages: list[dict[str, Any]]) -> str:
    return "".join(message["content"] for message in messages if message["type"] == "chunk")


def chunks(messages: list[dict[str, Any]]) -> int:
    return len([message for message in messages if message["type"] == "chunk"])


async def test_the_documents_curl_works_on_a_fresh_server(it: Chatting) -> None:
    """`/chat/1/stream`: nobody has created session 1."""
    command = ("curl", "-s", "-X", "POST", f"{it.url}/chat/1/stream", "-H", "Content-Type: application/json")
    async with started(*command, "-d", '{"question": "Hello", "model": "mistral"}', "--no-buffer") as curl:
        messages = data_of(await curl.rest())
    assert messages[0] == {"type": "start", "session_id": 1, "model": "mistral"}
    assert messages[1] == {"type": "status", "content": "Searching documents..."}
    assert {"type": "status", "content": "Generating response..."} in messages
    assert text_of(messages) == ANSWER
    facts = messages[-2]["content"]
    assert messages[-2]["type"] == "metadata"
    told = {name: facts[name] for name in ("model", "confidence", "hallucination", "search_mode", "total_response")}
    assert told == {
        "model": "mistral",
        "confidence": None,
        "hallucination": None,
        "search_mode": "all",
        "total_response": ANSWER,
    }
    assert messages[-1] == {"type": "done"}
    assert (await it.client.get("/health")).status_code == 200


async def test_curl_cut_in_mid_answer_joins_by_the_streams_id(it: Chatting, halves: Halves) -> None:
    command = ("curl", "-s", "-i", "-X", "POST", f"{it.url}/chat/1/stream", "-H", "Content-Type: application/json")
    seen, stream, last_id = "", "", ""
    async with started(*command, "-d", '{"question": "Hello", "model": "halves"}', "--no-buffer") as curl:
        while chunks(data_of(seen)) < HALF:
            line = await curl.line()
            name, _, value = line.partition(": ")
            stream = value.strip() if name.lower() == "x-stream-id" else stream
            last_id = value.strip() if name == "id" else last_id
            seen += line
        curl.kill()
    [live] = [
        message
        for message in (await it.client.get("/chat/1/messages")).json()["items"]
        if message["status"] == "streaming"
    ]
    assert (live["stream_id"], live["content"]) == (stream, "".join(PIECES[:HALF]))
    halves.gate.set()
    again = f"{it.url}/v1/streams/{stream}/events?dialect=typed"
    async with started("curl", "-s", "-N", "-H", f"Last-Event-ID: {last_id}", again) as curl:
        rest = await curl.rest()
    assert text_of(data_of(seen)) + text_of(data_of(rest)) == ANSWER
    assert [message["type"] for message in data_of(rest)][-2:] == ["metadata", "done"]


async def test_an_eventsource_that_is_cut_gets_exactly_the_rest(it: Chatting, halves: Halves) -> None:
    source = EventSource(it.client, "/api/chat/1/stream?question=Hello&model=halves&search_mode=hybrid")
    await source.connect(lambda: chunks(source.data) == HALF)
    halves.gate.set()
    await source.connect(never)
    assert text_of(source.data) == ANSWER
    assert [message["type"] for message in source.data].count("start") == 1
    assert source.data[-1] == {"type": "done"}
    assert source.data[-2]["content"]["search_mode"] == "hybrid"
    await source.connect(never)
    assert source.statuses == [200, 200, 204]
    assert len(it.models.asked) == 1


async def test_the_documents_eventsource_without_a_question_is_told_so(it: Chatting) -> None:
    response = await it.client.get("/api/chat/1/stream")
    assert response.status_code == 400
    assert response.json() == {"detail": "question is needed in the address: ?question=…"}


async def typed_reader(it: Chatting, halves: Halves, body: dict[str, Any], *, reload_after: int = 0) -> Any:
    async with started("node", "typed_reader.mjs", it.url, "1", json.dumps(body), str(reload_after)) as reader:
        if reload_after:
            assert await reader.line() == "reloaded\n"
            halves.gate.set()
        return json.loads(await reader.line())


@pytest.mark.node
async def test_the_documents_fetch_reader(it: Chatting, halves: Halves) -> None:
    messages = await typed_reader(it, halves, {"question": "Hello", "model": "mistral"})
    assert text_of(messages) == ANSWER
    assert messages[-1] == {"type": "done"}


@pytest.mark.node
async def test_the_fetch_reader_reloaded_in_mid_answer(it: Chatting, halves: Halves) -> None:
    messages = await typed_reader(it, halves, {"question": "Hello", "model": "halves"}, reload_after=HALF)
    assert text_of(messages) == ANSWER
    assert [message["type"] for message in messages][-2:] == ["metadata", "done"]


async def test_errors_come_as_messages_and_the_session_keeps_what_there_was(it: Chatting) -> None:
    messages = data_of((await it.client.post("/chat/7/stream", json={"question": "Hello", "model": "fails"})).text)
    assert messages[-2:] == [{"type": "error", "content": "the model is gone"}, {"type": "done"}]
    [question, answer] = (await it.client.get("/chat/7/messages")).json()["items"]
    assert (question["role"], question["content"]) == ("user", "Hello")
    assert (answer["status"], answer["content"], answer["error"]) == ("failed", "half", "the model is gone")


async def test_an_uploaded_document_is_cited(it: Chatting) -> None:
    response = await it.client.post("/docs/upload_file", files={"file": ("ferry.txt", FERRY.encode())})
    assert response.status_code == 200
    document = response.json()
    assert (document["filename"], document["status"], document["id"]) == ("ferry.txt", "completed", 1)
    body = {"question": "When does the ferry leave?", "search_mode": "selected_only", "selected_document_ids": [1]}
    messages = data_of((await it.client.post("/chat/1/stream", json=body)).text)
    [sources] = [message for message in messages if message["type"] == "sources"]
    assert sources["chunks_used"] == len(sources["content"]) > 0
    assert "nine in the morning" in sources["content"][0]["text"]
    assert 0 < sources["content"][0]["score"] <= 1
    assert sources["content"][0]["metadata"]["document_id"] == 1
    assert messages[-2]["content"]["search_mode"] == "selected_only"
    [_, answer] = (await it.client.get("/api/chat/1/messages")).json()["items"]
    assert answer["sources"] == sources["content"]
    assert answer["hallucination"] == messages[-2]["content"]["hallucination"]


async def test_a_document_on_its_way_is_watched_like_an_answer(it: Chatting) -> None:
    response = await it.client.post("/api/docs/upload_file_async", files={"file": ("ferry.txt", FERRY.encode())})
    assert response.status_code == 202
    task = response.json()["task_id"]
    source = EventSource(it.client, f"/docs/processing/{task}/status")
    await source.connect(lambda: len(source.messages) >= 2)
    await source.connect(never)
    assert [message["type"] for message in source.data].count("start") == 1
    assert source.data[-1] == {"type": "done"}
    told = [message["content"] for message in source.data if message["type"] == "status"]
    assert told[0] == "Received ferry.txt"
    assert len(told) == len(set(told))
    status = (await it.client.get(f"/docs/processing/{task}/status")).json()
    assert (status["status"], status["progress"], status["document_id"]) == ("completed", 1.0, 1)
    assert set(status["stages"]) == {"upload", "extraction", "chunking", "vectorization"}

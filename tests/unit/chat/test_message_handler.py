from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from headwater.chat import handle_chat_message_stream
from headwater.chat.message_handler import MAX_SELECTED
from headwater.documents.records import Scope
from headwater.errors import ProviderRejected
from headwater.events import Done, Text, Usage
from headwater.request import ChatRequest
from headwater.streams import Writer
from tests.integration.chat_kit import EXTRACTIVE, ChatModels, Chatting, chatting

FERRY = "The ferry to the island leaves at nine in the morning. " * 5


class Scripts:
    def __init__(self) -> None:
        self.gate = asyncio.Event()

    async def answers(self, writer: Writer, request: ChatRequest) -> None:
        writer.write([Text("Hello")])
        await asyncio.sleep(0)
        writer.write([Text(" there!"), Usage(1, 2), Done("stop")])

    async def halves(self, writer: Writer, request: ChatRequest) -> None:
        writer.write([Text("Hello")])
        await self.gate.wait()
        writer.write([Text(" there!"), Usage(1, 2), Done("stop")])

    async def fails(self, writer: Writer, request: ChatRequest) -> None:
        writer.write([Text("half")])
        await asyncio.sleep(0)
        raise ProviderRejected("the model is gone", status=503, provider="scripted")


@pytest.fixture
def scripts() -> Scripts:
    return Scripts()


@pytest.fixture
async def it(scripts: Scripts) -> AsyncIterator[Chatting]:
    models = ChatModels({"mistral": scripts.answers, "halves": scripts.halves, "fails": scripts.fails})
    async with chatting(models) as running:
        yield running


async def told(it: Chatting, session: int = 1, question: str = "Hello", **more: Any) -> list[Any]:
    return [message async for message in handle_chat_message_stream(it.backend, session, question, **more)]


def joined(messages: list[Any]) -> list[Any]:
    """With chunks in a row as one."""
    told: list[Any] = []
    for message in messages:
        if told and message["type"] == told[-1]["type"] == "chunk":
            told[-1] = {"type": "chunk", "content": told[-1]["content"] + message["content"]}
        else:
            told.append(message)
    return told


def comparable(message: Any) -> Any:
    return message if message["type"] != "status" else message | {"content": message["content"].split(" in ")[0]}


async def test_messages_are_exactly_the_wires(it: Chatting) -> None:
    messages = await told(it, model="mistral")
    response = await it.client.post("/chat/1/stream", json={"question": "Hello", "model": "mistral"})
    wire = [json.loads(line[5:]) for line in response.text.split("\n") if line.startswith("data:")]
    # Where the text was parted, and how long the search took, differs.
    assert list(map(comparable, joined(messages))) == list(map(comparable, joined(wire)))
    assert messages[0] == {"type": "start", "session_id": 1, "model": "mistral"}
    assert {"type": "chunk", "content": "Hello there!"} in joined(messages)
    assert messages[-2]["content"]["total_response"] == "Hello there!"
    assert messages[-2]["content"]["search_mode"] == "all"
    assert messages[-1] == {"type": "done"}


async def test_question_and_answer_are_kept_in_the_tenants_session(it: Chatting) -> None:
    await told(it, session=5, tenant="user:ann")
    thread = await it.backend.conversations.threads.get("user:ann", 5)
    assert [message.content for message in await it.backend.messages(thread)] == ["Hello", "Hello there!"]
    assert await it.backend.conversations.threads.count("") == 0


async def test_sources_come_before_the_chunks(it: Chatting) -> None:
    document = await it.upload("ferry.txt", FERRY)
    await it.upload("other.txt", "The ferry costs nothing on Sundays. " * 5)
    messages = await told(
        it,
        question="When does the ferry leave?",
        model=EXTRACTIVE,
        search_mode="selected_only",
        selected_document_ids=(document.number,),
    )
    types = [message["type"] for message in messages]
    assert types.index("sources") < types.index("chunk")
    [sources] = [message for message in messages if message["type"] == "sources"]
    assert {source["metadata"]["document_id"] for source in sources["content"]} == {document.number}


async def test_a_failure_in_the_middle_is_an_error_and_done(it: Chatting) -> None:
    messages = await told(it, model="fails")
    assert messages[-3:] == [
        {"type": "chunk", "content": "half"},
        {"type": "error", "content": "the model is gone"},
        {"type": "done"},
    ]


async def test_so_is_whatever_cannot_be_asked(it: Chatting) -> None:
    elsewhere = await it.upload("ferry.txt", FERRY, workspace="elsewhere")
    workspace = await it.backend.conversations.workspaces.find_or_create("", "default")
    thread = await it.backend.conversations.threads.create("", workspace.id)
    scope = Scope("", workspace.id, thread.id)
    private = await it.backend.shelf.add(scope, name="a.txt", media_type="", content=b"x")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"question": " "}, "the question is empty"),
        ({"model": "nobody"}, "there is no model 'nobody'"),
        ({"session": 0}, "no such thread"),
        ({"selected_document_ids": (999,)}, "no such document"),
        ({"selected_document_ids": (elsewhere.id,)}, "no such document"),
        ({"session": 8, "selected_document_ids": (private.id,)}, "no such document"),
        ({"selected_document_ids": (1,) * (MAX_SELECTED + 1)}, "more than 100 documents are selected"),
    ]
    for arguments, message in cases:
        assert await told(it, **arguments) == [{"type": "error", "content": message}, {"type": "done"}]
    assert (await told(it, thread.number, selected_document_ids=(private.number,)))[-1] == {"type": "done"}


async def test_who_leaves_leaves_the_answer_to_the_session(it: Chatting, scripts: Scripts) -> None:
    async with aclosing(handle_chat_message_stream(it.backend, 1, "Hello", model="halves")) as messages:
        while (await anext(messages))["type"] != "chunk":
            pass
    thread = await it.backend.conversations.threads.get("", 1)
    [live] = await it.backend.live(thread)
    assert live.content == "Hello"
    scripts.gate.set()
    await it.ended(live.stream_id)
    assert (await it.backend.messages(thread))[-1].content == "Hello there!"


async def test_text_that_no_database_takes_is_mended(it: Chatting) -> None:
    await told(it, question="a\x00b\udc80")
    assert it.models.asked[-1].messages[-1]["content"] == "a\ufffdb\ufffd"

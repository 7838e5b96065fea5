from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pytest

from headwater.chat import AIService
from headwater.chat.ai_service import safe_message
from headwater.errors import HeadwaterError, InputError, LogUnavailable, ProviderRejected, StreamFailed, UnknownModel
from headwater.events import Done, Reasoning, StreamId, Text, Usage
from headwater.request import ChatRequest, decode_request
from headwater.streams import StreamInfo, Writer
from tests.integration.chat_kit import EXTRACTIVE, ChatModels, Chatting, chatting
from tests.integration.kit import eventually

HELLO = [{"role": "user", "content": "Hello, AI!"}]


async def answers(writer: Writer, request: ChatRequest) -> None:
    writer.write([Reasoning("hm"), Text("Hello"), Text("other", choice=1)])
    await asyncio.sleep(0)
    writer.write([Text(" world"), Usage(1, 2), Done("stop")])


async def endless(writer: Writer, request: ChatRequest) -> None:
    writer.write([Text("begun")])
    await asyncio.Event().wait()


async def fails(writer: Writer, request: ChatRequest) -> None:
    writer.write([Text("half")])
    await asyncio.sleep(0)
    raise ProviderRejected("the model is gone", status=503, provider="scripted")


@pytest.fixture
async def it() -> AsyncIterator[Chatting]:
    async with chatting(ChatModels({"m": answers, "endless": endless, "fails": fails})) as running:
        yield running


@pytest.fixture
def service(it: Chatting) -> AIService:
    return AIService(it.backend)


async def streams(it: Chatting, owner: str = "") -> list[StreamInfo]:
    return await it.hub.list(owner=owner, state="any", limit=10)


async def test_chunks_are_the_answers_text(it: Chatting, service: AIService) -> None:
    assert "".join([chunk async for chunk in service.stream_chat(HELLO, "ann")]) == "Hello world"
    assert it.models.asked[-1].messages[-1] == {"role": "user", "content": "Hello, AI!"}


async def test_with_metadata_they_are_the_references_objects(service: AIService) -> None:
    *pieces, end = [chunk async for chunk in service.stream_chat_with_metadata(HELLO, "ann")]
    assert "".join(piece["content"] for piece in pieces) == "Hello world"
    assert [piece["done"] for piece in pieces] == [False] * len(pieces)
    assert end == {"done": True}


async def test_an_answer_is_a_durable_stream_of_its_tenant_and_its_users_usage(it: Chatting) -> None:
    service = AIService(it.backend, tenant="org:acme")
    async for _ in service.stream_chat(HELLO, "ann"):
        pass
    [info] = await streams(it, "org:acme")
    assert (info.status, info.dialect, info.model) == ("done", "ai_chat", "m")
    record = await it.hub.log.get(StreamId(info.id))
    assert record is not None
    assert decode_request(record.request).meters == ["user:user:ann"]
    assert await streams(it) == []


async def test_the_callers_messages_are_the_prompt_all_of_them(it: Chatting, service: AIService) -> None:
    turns = [{"role": role, "content": f"{role} {number}"} for number in range(30) for role in ("user", "assistant")]
    system = [{"role": "system", "content": "Be brief."}, {"role": "developer", "content": "Be kind."}]
    question = {
        "role": "user",
        "content": [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {}}],
    }
    async for _ in service.stream_chat([*system, *turns, question], ""):
        pass
    asked = it.models.asked[-1]
    assert asked.messages == [{"role": "system", "content": "Be brief.\n\nBe kind."}, *turns, question]
    assert asked.meters == []


async def test_options_are_the_references(it: Chatting, service: AIService) -> None:
    async for _ in service.stream_chat(HELLO, "ann", {"model": "m", "temperature": 0.5, "maxTokens": 7}):
        pass
    assert it.models.asked[-1].params == {"temperature": 0.5, "max_tokens": 7}
    async for _ in service.stream_chat(HELLO, "ann", {"max_tokens": 8}):
        pass
    assert it.models.asked[-1].params == {"max_tokens": 8}


async def test_the_model_of_calls_that_name_none(it: Chatting) -> None:
    told = [chunk async for chunk in AIService(it.backend, model="fails").stream_chat_with_metadata(HELLO, "")]
    assert told == [{"content": "half", "done": False}, {"error": "the model is gone", "done": True}]


async def test_documents_of_a_workspace_are_cited_unless_there_are_to_be_none(it: Chatting) -> None:
    await it.upload("ferry.txt", "The ferry leaves at nine in the morning. " * 5, workspace="island")
    question = [{"role": "user", "content": "When does the ferry leave?"}]
    for passages, found in ((None, True), (0, False)):
        service = AIService(it.backend, model=EXTRACTIVE, workspace="island", passages=passages)
        text = "".join([chunk async for chunk in service.stream_chat(question, "")])
        assert ("nine" in text) is found


BAD: list[tuple[list[Any], dict[str, Any], str]] = [
    ([], {}, "messages"),
    ([{"role": "assistant", "content": "x"}], {}, "messages"),
    ([{"role": "tool", "content": "x"}, *HELLO], {}, "messages[0].role"),
    ([{"role": "user", "content": " "}], {}, "message"),
    (HELLO, {"temperature": 3}, "temperature"),
    (HELLO, {"max_tokens": 0}, "maxTokens"),
]


@pytest.mark.parametrize(("messages", "options", "param"), BAD)
async def test_what_cannot_be_asked(
    it: Chatting, service: AIService, messages: list[Any], options: dict[str, Any], param: str
) -> None:
    with pytest.raises(InputError) as caught:
        await anext(service.stream_chat(messages, "ann", options))
    assert caught.value.param == param
    [told] = [chunk async for chunk in service.stream_chat_with_metadata(messages, "ann", options)]
    assert told == {"error": caught.value.message, "done": True}
    assert await streams(it) == []


async def test_an_unknown_model_and_a_failure_in_the_middle_are_raised(service: AIService) -> None:
    with pytest.raises(UnknownModel):
        await anext(service.stream_chat(HELLO, "ann", {"model": "nobody"}))
    told = []
    with pytest.raises(StreamFailed, match="the model is gone") as caught:
        async for chunk in service.stream_chat(HELLO, "ann", {"model": "fails"}):
            told.append(chunk)  # noqa: PERF401 - what came before it raises counts
    assert told == ["half"]
    assert caught.value.reason == "provider_rejected"


async def leave(service: AIService) -> None:
    async with aclosing(service.stream_chat(HELLO, "ann", {"model": "endless"})) as chunks:
        assert await anext(chunks) == "begun"


async def leave_objects(service: AIService) -> None:
    async with aclosing(service.stream_chat_with_metadata(HELLO, "ann", {"model": "endless"})) as chunks:
        assert await anext(chunks) == {"content": "begun", "done": False}


async def be_cancelled(service: AIService) -> None:
    begun = asyncio.Event()

    async def read() -> None:
        async for _ in service.stream_chat(HELLO, "ann", {"model": "endless"}):
            begun.set()

    task = asyncio.create_task(read())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("how", [leave, leave_objects, be_cancelled])
async def test_who_leaves_cancels_the_answer(
    it: Chatting, service: AIService, how: Callable[[AIService], Awaitable[None]]
) -> None:
    await how(service)
    [info] = await streams(it)
    assert info.status == "cancelled"
    assert it.models.made[-1].cancelled


async def test_who_leaves_a_stream_that_is_gone_is_told_nothing(
    it: Chatting, service: AIService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cannot(*_: object, **__: object) -> None:
        raise LogUnavailable("no disk")

    with monkeypatch.context() as patched:
        patched.setattr(it.hub, "cancel", cannot)
        await leave(service)
    [info] = await streams(it)
    assert info.finish_reason is None


async def test_a_cancel_from_elsewhere_ends_the_iteration(it: Chatting, service: AIService) -> None:
    told: list[object] = []

    async def read() -> None:
        async for chunk in service.stream_chat_with_metadata(HELLO, "ann", {"model": "endless"}):
            told.append(chunk)  # noqa: PERF401 - it is looked at meanwhile

    task = asyncio.create_task(read())
    await eventually(lambda: bool(told))
    [info] = await streams(it)
    await it.hub.cancel(StreamId(info.id), owner="")
    await task
    assert told[-1] == {"done": True}


def test_a_logs_own_words_are_its_operators() -> None:
    assert safe_message(HeadwaterError("as it is")) == "as it is"
    assert "/secret" not in safe_message(LogUnavailable("/secret/log.sqlite3"))

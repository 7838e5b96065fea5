"""The scripted upstream speaks the true wire formats: the official SDKs understand every part of it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator

import httpx
import ollama
import openai
import pytest

from tests.upstream import Script, Upstream, prompt

CALL = [{"name": "weather", "arguments": {"city": "Zürich", "days": 2}}, {"name": "clock", "arguments": {}}]


@pytest.fixture
async def client(upstream: Upstream) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=upstream.openai_url, api_key="sk-test", max_retries=0) as client:
        yield client


def asks(**script: object) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt(**script)}]


async def test_openai_stream(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="fake-1", messages=asks(tokens=30, n=2), stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    for index in (0, 1):
        choices = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
        assert "".join(choice.delta.content or "" for choice in choices) == Script(tokens=30).answer()
        assert [choice.finish_reason for choice in choices if choice.finish_reason] == ["stop"]
    usage = chunks[-1].usage
    assert usage is not None
    assert (usage.completion_tokens, usage.total_tokens - usage.prompt_tokens) == (30, 30)
    assert all(chunk.object == "chat.completion.chunk" for chunk in chunks)


async def test_openai_stream_accumulates_tool_calls_reasoning_and_logprobs(client: openai.AsyncOpenAI) -> None:
    async with client.chat.completions.stream(
        model="fake-1", messages=asks(tool_calls=CALL, reasoning="let me see", logprobs=True, text="done")
    ) as stream:
        completion = await stream.get_final_completion()
    choice = completion.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    calls = [(call.function.name, json.loads(call.function.arguments)) for call in choice.message.tool_calls]
    assert calls == [(call["name"], call["arguments"]) for call in CALL]
    assert choice.message.content == "done"
    assert choice.message.model_extra["reasoning_content"] == "let me see"
    assert choice.logprobs is not None
    assert choice.logprobs.content[0].token == "done"


async def test_openai_whole_answer_and_models(client: openai.AsyncOpenAI) -> None:
    completion = await client.chat.completions.create(model="fake-1", messages=asks(tokens=5, refusal="I cannot"))
    assert completion.choices[0].message.refusal == "I cannot"
    assert completion.usage is not None
    assert [model.id async for model in client.models.list()] == ["fake-1", "fake-mini"]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("status:401", openai.AuthenticationError),
        ("status:404", openai.NotFoundError),
        ("status:429+retry_after:7", openai.RateLimitError),
        ("status:500", openai.InternalServerError),
        ("refuse", openai.APIConnectionError),
        ("cut_mid_frame", openai.APIConnectionError),
        ("rst_mid", openai.APIConnectionError),
        ("error_mid", openai.APIError),
        ("error_event", openai.APIError),
    ],
)
async def test_openai_errors(client: openai.AsyncOpenAI, fault: str, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        stream = await client.chat.completions.create(model="fake-1", messages=asks(fault=fault), stream=True)
        async for _ in stream:
            pass
    if isinstance(caught.value, openai.RateLimitError):
        assert caught.value.response.headers["retry-after"] == "7"
        assert caught.value.code == "rate_limit_exceeded"


@pytest.mark.parametrize(
    "fault",
    [
        "comments",
        "crlf",
        "bom",
        "chunk_bytes:5",
        "one_write",
        "early_hints",
        "content_length",
        "close_delimited",
        "gzip",
    ],
)
async def test_openai_sdk_is_not_disturbed_by_harmless_shapes(client: openai.AsyncOpenAI, fault: str) -> None:
    stream = await client.chat.completions.create(model="fake-1", messages=asks(fault=fault), stream=True)
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
    assert text == Script().answer()


async def test_the_key_is_checked() -> None:
    async with Upstream(api_key="right") as upstream:
        client = openai.AsyncOpenAI(base_url=upstream.openai_url, api_key="wrong", max_retries=0)
        async with client:
            with pytest.raises(openai.AuthenticationError):
                await client.models.list()
            assert (await client.with_options(api_key="right").models.list()).data


async def test_ollama_stream(upstream: Upstream) -> None:
    client = ollama.AsyncClient(host=upstream.url)
    parts = [part async for part in await client.chat("fake", asks(tokens=9, reasoning="hm so"), stream=True)]
    assert "".join(part.message.content or "" for part in parts) == Script(tokens=9).answer()
    assert "".join(part.message.thinking or "" for part in parts) == "hm so"
    assert (parts[-1].done, parts[-1].done_reason, parts[-1].eval_count) == (True, "stop", 11)
    await client._client.aclose()


async def test_ollama_whole_answer_tools_models_and_errors(upstream: Upstream) -> None:
    client = ollama.AsyncClient(host=upstream.url)
    answer = await client.chat("fake", asks(tool_calls=CALL))
    assert answer.message.tool_calls is not None
    assert [call.function.arguments for call in answer.message.tool_calls] == [CALL[0]["arguments"], {}]
    assert [model.model for model in (await client.list()).models] == ["fake-1", "fake-mini"]
    for fault, model in (("error_mid", "fake"), ("", "missing-model")):
        with pytest.raises(ollama.ResponseError):
            async for _ in await client.chat(model, asks(fault=fault), stream=True):
                pass
    await client._client.aclose()


async def test_counters_and_faults_by_key(upstream: Upstream, client: openai.AsyncOpenAI) -> None:
    messages = asks(fault="status:500", fault_times=2, key="k")
    for _ in range(2):
        with pytest.raises(openai.InternalServerError):
            await client.chat.completions.create(model="fake-1", messages=messages)
    await client.chat.completions.create(model="fake-1", messages=messages)
    assert (upstream.attempts, upstream.attempts_for("k"), upstream.attempts_for("")) == (3, 3, 0)
    assert [recorded.key for recorded in upstream.requests] == ["k", "k", "k"]


async def test_a_client_that_leaves_is_noticed_at_once(upstream: Upstream, client: openai.AsyncOpenAI) -> None:
    for fault in ("hang_before_headers", "hang_mid"):
        async with httpx.AsyncClient() as plain:
            with pytest.raises(httpx.ReadTimeout):
                await plain.post(
                    f"{upstream.openai_url}/chat/completions",
                    json={"model": "m", "messages": asks(fault=fault), "stream": True},
                    timeout=0.2,
                )
    await upstream.until(lambda: upstream.aborted == 2 and upstream.active == 0)


async def test_as_a_process_with_control() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.upstream", "--port", "0", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        url = (await process.stdout.readline()).decode().strip()
        async with httpx.AsyncClient(base_url=url) as client:
            await client.post("/_control", json={"default": {"tokens": 2}})
            whole = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
            answer = (await client.post("/v1/chat/completions", json=whole)).json()
            assert answer["choices"][0]["message"]["content"] == Script(tokens=2).answer()
            counters = (await client.get("/_control")).json()
            assert (counters["attempts"], counters["requests"][0]["body"]) == (1, whole)
            assert (await client.post("/_control", json={"reset": True})).json()["attempts"] == 0
            wrong = {"model": "m", "messages": [{"role": "user", "content": '{"script": {"nope": 1}}'}]}
            assert (await client.post("/v1/chat/completions", json=wrong)).status_code == 422
    finally:
        process.kill()
        await process.communicate()

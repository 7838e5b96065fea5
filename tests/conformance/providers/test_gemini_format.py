"""The scripted upstream speaks Gemini's true wire format: google-genai reads every part of it, and its own requests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest
from google import genai
from google.genai import errors, types

from headwater.providers.wire.gemini import Gemini
from headwater.request import ChatRequest
from tests.upstream import Script, Upstream, prompt
from tests.upstream.gemini_format import SIGNATURE

CALLS = [{"name": "weather", "arguments": {"city": "Zürich", "days": 2}, "id": "x1"}, {"name": "clock"}]


@asynccontextmanager
async def client_of(upstream: Upstream, key: str = "any") -> AsyncIterator[genai.client.AsyncClient]:
    """On httpx: with aiohttp the SDK makes a subclass that aiohttp warns of."""
    async with httpx.AsyncClient() as http:
        once = types.HttpRetryOptions(attempts=1)
        options = types.HttpOptions(
            base_url=upstream.url, api_version="v1beta", retry_options=once, httpx_async_client=http
        )
        yield genai.Client(api_key=key, http_options=options).aio


@pytest.fixture
async def client(upstream: Upstream) -> AsyncIterator[genai.client.AsyncClient]:
    async with client_of(upstream) as client:
        yield client


async def stream(client: genai.client.AsyncClient, **script: Any) -> list[types.GenerateContentResponse]:
    chunks = await client.models.generate_content_stream(model="gemini-3-flash", contents=prompt(**script))
    return [chunk async for chunk in chunks]


def parts_of(chunks: list[types.GenerateContentResponse], index: int = 0) -> list[types.Part]:
    return [
        part
        for chunk in chunks
        for candidate in chunk.candidates or ()
        if (candidate.index or 0) == index and candidate.content is not None
        for part in candidate.content.parts or ()
    ]


async def test_text_and_usage(client: genai.client.AsyncClient, upstream: Upstream) -> None:
    chunks = await stream(client, tokens=9)
    assert "".join(chunk.text or "" for chunk in chunks) == Script(tokens=9).answer()
    last = chunks[-1]
    assert (last.model_version, last.response_id) == ("gemini-3-flash-001", "aZ3KaP-vH5uxkdUP4Pu0gAo")
    assert last.candidates is not None
    assert last.candidates[0].finish_reason == types.FinishReason.STOP
    usage = last.usage_metadata
    assert usage is not None
    assert (usage.candidates_token_count, usage.cached_content_token_count) == (9, 2)
    assert upstream.requests[0].headers["x-goog-api-key"] == "any"


async def test_several_candidates_and_logprobs(client: genai.client.AsyncClient) -> None:
    chunks = await stream(client, tokens=3, n=2, logprobs=True)
    assert ["".join(part.text or "" for part in parts_of(chunks, index)) for index in (0, 1)] == [
        Script(tokens=3).answer()
    ] * 2
    assert chunks[0].candidates is not None
    told = chunks[0].candidates[0].logprobs_result
    assert told is not None
    assert told.chosen_candidates is not None
    assert told.chosen_candidates[0].log_probability == -0.25


async def test_thoughts_and_function_calls(client: genai.client.AsyncClient) -> None:
    chunks = await stream(client, reasoning="hm so", tool_calls=CALLS)
    parts = parts_of(chunks)
    assert "".join(part.text or "" for part in parts if part.thought) == "hm so"
    calls = [(part.function_call, part.thought_signature is not None) for part in parts if part.function_call]
    assert [(call.id, call.name, call.args, signed) for call, signed in calls] == [
        ("x1", "weather", {"city": "Zürich", "days": 2}, True),
        (None, "clock", {}, False),
    ]
    assert chunks[-1].usage_metadata is not None
    assert chunks[-1].usage_metadata.thoughts_token_count == 2


async def test_a_stop_for_safety_and_a_blocked_prompt(client: genai.client.AsyncClient) -> None:
    stopped = (await stream(client, tokens=2, finish_reason="content_filter"))[-1]
    assert stopped.candidates is not None
    assert stopped.candidates[0].finish_reason == types.FinishReason.SAFETY
    assert stopped.candidates[0].safety_ratings is not None
    assert stopped.candidates[0].safety_ratings[-1].blocked
    blocked = (await stream(client, refusal="no"))[-1]
    assert blocked.candidates is None
    assert blocked.prompt_feedback is not None
    assert blocked.prompt_feedback.block_reason == types.BlockedReason.PROHIBITED_CONTENT


async def test_the_answer_without_streaming(client: genai.client.AsyncClient) -> None:
    answer = await client.models.generate_content(model="gemini-3-flash", contents=prompt(tokens=5))
    assert answer.text == Script(tokens=5).answer()
    blocked = await client.models.generate_content(model="gemini-3-flash", contents=prompt(refusal="no"))
    assert blocked.prompt_feedback is not None


async def test_the_model_list(client: genai.client.AsyncClient) -> None:
    models = [model async for model in await client.models.list()]
    assert [model.name for model in models] == ["models/fake-1", "models/fake-mini", "models/embedding-1"]
    assert models[0].supported_actions == ["generateContent", "countTokens"]


@pytest.mark.parametrize(
    ("fault", "error", "code", "status"),
    [
        ("status:400", errors.ClientError, 400, "INVALID_ARGUMENT"),
        ("status:401", errors.ClientError, 400, "UNAUTHENTICATED"),
        ("status:403", errors.ClientError, 403, "PERMISSION_DENIED"),
        ("status:404", errors.ClientError, 404, "NOT_FOUND"),
        ("status:429", errors.ClientError, 429, "RESOURCE_EXHAUSTED"),
        ("status:500", errors.ServerError, 500, "INTERNAL"),
        ("error_mid", errors.ServerError, 503, "UNAVAILABLE"),
        ("error_event", errors.ServerError, 503, "UNAVAILABLE"),
    ],
)
async def test_errors(
    client: genai.client.AsyncClient, fault: str, error: type[errors.APIError], code: int, status: str
) -> None:
    """A wrong key is 400 at Google, with the status of any other wrong argument."""
    with pytest.raises(error) as caught:
        await stream(client, fault=fault)
    expected = "INVALID_ARGUMENT" if fault == "status:401" else status
    assert (caught.value.code, caught.value.status) == (code, expected)


async def test_a_wrong_key_and_a_missing_model(upstream: Upstream, client: genai.client.AsyncClient) -> None:
    with pytest.raises(errors.ClientError) as caught:
        await client.models.generate_content(model="missing-model", contents="hi")
    assert caught.value.code == 404
    async with Upstream(api_key="right") as guarded, client_of(guarded, "wrong") as stranger:
        with pytest.raises(errors.ClientError) as refused:
            await stranger.models.generate_content(model="gemini-3-flash", contents="hi")
        assert "API_KEY_INVALID" in str(refused.value)


@pytest.mark.parametrize("fault", ["crlf", "chunk_bytes:5", "one_write", "content_length", "close_delimited", "gzip"])
async def test_harmless_shapes(client: genai.client.AsyncClient, fault: str) -> None:
    chunks = await stream(client, fault=fault)
    assert "".join(chunk.text or "" for chunk in chunks) == Script().answer()


def test_our_request_is_one_of_theirs() -> None:
    """Every field that the builder writes is a field of google-genai's types, which refuse what they do not know."""
    tool = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": {"type": "object"}}}
    messages: list[dict[str, object]] = [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
        {
            "role": "assistant",
            "content": "so",
            "reasoning_signature": f"gemini:{SIGNATURE}",
            "tool_calls": [{"id": "x1", "function": {"name": "weather", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "x1", "content": "sunny"},
    ]
    params: dict[str, object] = {
        "temperature": 1, "top_p": 0.5, "top_k": 3, "seed": 1, "presence_penalty": 1, "frequency_penalty": 1,
        "n": 2, "logprobs": True, "top_logprobs": 2, "max_tokens": 9, "stop": "x", "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}},
        "tools": [tool], "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "safety_settings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}],
    }  # fmt: skip
    made = Gemini().chat(ChatRequest("m", messages, params), "gemini-3-flash")
    body = msgspec.json.decode(made.body)
    for content in [*body["contents"], body["systemInstruction"]]:
        types.Content.model_validate(content)
    types.GenerationConfig.model_validate(body["generationConfig"])
    [tools] = [types.Tool.model_validate(tool) for tool in body["tools"]]
    assert tools.function_declarations is not None
    assert tools.function_declarations[0].parameters_json_schema == {"type": "object"}
    types.ToolConfig.model_validate(body["toolConfig"])
    types.SafetySetting.model_validate(body["safetySettings"][0])
    known = {"contents", "systemInstruction", "generationConfig", "tools", "toolConfig", "safetySettings"}
    assert body.keys() == known

"""Anthropic's format is proved: the official SDK understands the scripted upstream, and the upstream our requests."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx
import pytest
from anthropic.types import MessageParam, message_create_params
from pydantic import TypeAdapter

from headwater.providers.ports import SupportsPrefix, UpstreamRequest
from headwater.providers.wire.anthropic import Anthropic
from headwater.request import ChatRequest
from tests.upstream import Script, Upstream, prompt
from tests.upstream.anthropic_format import SIGNATURE

CALLS = [{"name": "weather", "arguments": {"city": "Zürich", "days": 2}}, {"name": "clock", "arguments": {}}]
SCRIPTED = {"reasoning": "let me see", "text": "so it is", "tool_calls": CALLS}


@pytest.fixture
async def client(upstream: Upstream) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=upstream.url, api_key="k", max_retries=0) as client:
        yield client


def asks(**script: object) -> list[MessageParam]:
    return [{"role": "user", "content": prompt(**script)}]


def check(message: anthropic.types.Message) -> None:
    """What `SCRIPTED` must become, streamed or not."""
    thinking, text, weather, clock = message.content
    assert thinking.type == "thinking"
    assert (thinking.thinking, thinking.signature) == ("let me see", SIGNATURE)
    assert text.type == "text"
    assert text.text == "so it is"
    assert weather.type == clock.type == "tool_use"
    assert [(call.name, call.input) for call in (weather, clock)] == [(c["name"], c["arguments"]) for c in CALLS]
    assert weather.id != clock.id
    assert message.stop_reason == "tool_use"
    assert (message.usage.cache_read_input_tokens, message.usage.cache_creation_input_tokens) == (2, 3)


async def test_the_helper_builds_the_message(client: anthropic.AsyncAnthropic) -> None:
    async with client.messages.stream(model="fake-1", max_tokens=9, messages=asks(**SCRIPTED)) as stream:
        message = await stream.get_final_message()
    check(message)
    assert message.usage.output_tokens > 6


async def test_without_streaming(client: anthropic.AsyncAnthropic) -> None:
    check(await client.messages.create(model="fake-1", max_tokens=9, messages=asks(**SCRIPTED)))


async def test_the_raw_events(client: anthropic.AsyncAnthropic) -> None:
    stream = await client.messages.create(model="fake-1", max_tokens=9, messages=asks(tokens=5), stream=True)
    events = [event async for event in stream]
    assert [event.type for event in events] == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 5,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    for event in events:
        assert set(event.model_dump(exclude_unset=True)) <= set(type(event).model_fields)
    assert "".join(
        event.delta.text
        for event in events
        if event.type == "content_block_delta" and event.delta.type == "text_delta"
    ) == Script(tokens=5).answer()  # fmt: skip


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ({"finish_reason": "length"}, "max_tokens"),
        ({"refusal": "I will not"}, "refusal"),
        ({"finish_reason": "pause_turn"}, "pause_turn"),
        ({"tokens": 0}, "end_turn"),
    ],
)
async def test_stop_reasons(client: anthropic.AsyncAnthropic, script: dict[str, Any], reason: str) -> None:
    async with client.messages.stream(model="fake-1", max_tokens=9, messages=asks(**script)) as stream:
        assert (await stream.get_final_message()).stop_reason == reason


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(
    ("fault", "error", "kind"),
    [
        ("status:400", anthropic.BadRequestError, "invalid_request_error"),
        ("status:401", anthropic.AuthenticationError, "authentication_error"),
        ("status:404", anthropic.NotFoundError, "not_found_error"),
        ("status:429+retry_after:7", anthropic.RateLimitError, "rate_limit_error"),
        ("status:500", anthropic.InternalServerError, "api_error"),
        ("status:529", anthropic.OverloadedError, "overloaded_error"),
        ("refuse", anthropic.APIConnectionError, None),
    ],
)
async def test_errors_before_the_answer(
    client: anthropic.AsyncAnthropic, fault: str, error: type[Exception], kind: str | None, streamed: bool
) -> None:
    with pytest.raises(error) as caught:
        await client.messages.create(model="fake-1", max_tokens=9, messages=asks(fault=fault), stream=streamed)
    if isinstance(caught.value, anthropic.APIStatusError):
        assert caught.value.type == kind
        assert caught.value.request_id
        assert caught.value.response.headers.get("retry-after") == ("7" if "retry_after" in fault else None)


@pytest.mark.parametrize("fault", ["error_mid", "error_event"])
@pytest.mark.parametrize("after", [0, 3])
async def test_errors_in_the_answer(client: anthropic.AsyncAnthropic, fault: str, after: int) -> None:
    """Also as the first event after lifecycle events: bifrost #5395."""
    messages = asks(fault=fault, fault_after=after)
    texts = []
    with pytest.raises(anthropic.APIStatusError) as caught:
        async for event in await client.messages.create(model="f", max_tokens=9, messages=messages, stream=True):
            texts += [event] if event.type == "content_block_delta" else []
    assert len(texts) == after
    assert caught.value.type == "overloaded_error"


@pytest.mark.parametrize("fault", ["comments", "crlf", "chunk_bytes:5", "one_write", "content_length", "gzip"])
async def test_harmless_shapes(client: anthropic.AsyncAnthropic, fault: str) -> None:
    async with client.messages.stream(model="fake-1", max_tokens=9, messages=asks(fault=fault)) as stream:
        assert await stream.get_final_text() == Script().answer()


async def test_models_and_a_missing_one(client: anthropic.AsyncAnthropic, upstream: Upstream) -> None:
    assert [model.id async for model in await client.models.list(limit=1000)] == ["fake-1", "fake-mini"]
    with pytest.raises(anthropic.NotFoundError):
        await client.messages.create(model="missing-1", max_tokens=9, messages=asks())
    async with httpx.AsyncClient(base_url=upstream.url) as plain:
        assert (await plain.get("/v1/models")).json()["object"] == "list"  # OpenAI's, on the same path


async def test_the_key_is_checked() -> None:
    async with Upstream(api_key="right") as upstream:
        for key, headers in (("right", {}), ("wrong", {}), ("wrong", {"x-api-key": "right"})):
            async with anthropic.AsyncAnthropic(base_url=upstream.url, api_key=key, max_retries=0) as client:
                asked = client.messages.create(model="f", max_tokens=9, messages=asks(), extra_headers=headers)
                if "right" in (key, *headers.values()):
                    assert (await asked).stop_reason == "end_turn"
                else:
                    with pytest.raises(anthropic.AuthenticationError):
                        await asked


async def send(request: UpstreamRequest) -> httpx.Response:
    async with httpx.AsyncClient() as plain:
        return await plain.request(request.method, request.url, headers=request.headers, content=request.body)


async def test_our_requests_reach_it_and_our_decoder_reads_it() -> None:
    async with Upstream(api_key="right") as upstream:
        protocol = Anthropic(upstream.url, api_key="right")
        request = ChatRequest("p", [{"role": "user", "content": prompt(**SCRIPTED)}])
        answer = await send(protocol.chat(request, "claude-opus-4-5"))
        assert protocol.decoder().feed(answer.content)[-1].reason == "tool_calls"  # type: ignore[union-attr]
        refused = await send(Anthropic(upstream.url, api_key="wrong").chat(request, "m"))
        error = protocol.error(refused.status_code, refused.headers, refused.content)
        assert (error.http_status, getattr(error, "upstream_code", "")) == (401, "authentication_error")
    async with Upstream() as upstream:
        protocol = Anthropic(f"{upstream.url}/v1", api_key="any")
        assert protocol.parse_models((await send(protocol.list_models())).content) == ["fake-1", "fake-mini"]


TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"properties": {}}}}
PNG = "data:image/png;base64,iVBORw0KGgo="
EVERYTHING: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "Look:"},
            {"type": "image_url", "image_url": {"url": PNG}},
            {"type": "image_url", "image_url": "https://example.com/a.png"},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
            {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,aGk="}},
        ],
    },
    {
        "role": "assistant",
        "content": "So.",
        "reasoning_content": "hm",
        "reasoning_signature": "sig",
        "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": '{"a":1}'}}],
    },
    {"role": "tool", "tool_call_id": "c", "content": "1"},
    {"role": "user", "content": "And now?"},
]


@pytest.mark.parametrize("model", ["claude-opus-4-5", "claude-opus-5"])
@pytest.mark.parametrize(
    "params",
    [
        {"tools": [TOOL], "tool_choice": "auto", "parallel_tool_calls": False, "reasoning_effort": "high"},
        {"tools": [TOOL], "tool_choice": "required"},
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"tools": [TOOL], "tool_choice": "none", "stop": ["x"], "max_tokens": 5, "safety_identifier": "u"},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}},
        {"reasoning_effort": "none", "cache_control": {"type": "ephemeral"}},
    ],
)
def test_our_requests_are_of_the_sdks_types(params: dict[str, Any], model: str) -> None:
    """Strictly: no field that the SDK's `MessageCreateParams` does not know, none of another type."""
    body = json.loads(Anthropic().chat(ChatRequest("p", EVERYTHING, params), model).body)
    adapter = TypeAdapter(message_create_params.MessageCreateParamsStreaming)  # must live while it is read from
    assert drained(adapter.validate_python(body, strict=True)) == body


def drained(value: Any) -> Any:
    """Iterables are validated as they are read; fields that a type does not know are left out."""
    if isinstance(value, dict):
        return {name: drained(item) for name, item in value.items()}
    return value if value is None or isinstance(value, str | int | float) else [drained(item) for item in value]


def test_it_continues() -> None:
    assert isinstance(Anthropic(), SupportsPrefix)

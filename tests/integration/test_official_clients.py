"""The official `openai` clients, Python and Node, against the whole stack: unchanged, complete, typed errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
import pytest_asyncio

from tests.stack import Served
from tests.upstream import Upstream, prompt
from tests.upstream.script import Script

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

NODE = Path(__file__).parent.parent / "node"
CALLS = [{"name": "weather", "arguments": {"city": "Zürich", "days": 3}}, {"name": "clock", "arguments": {}}]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    flags = ("--first-token-timeout-s", "20")
    async with Served(tmp_path_factory.mktemp("served"), openai_url=upstream.openai_url, flags=flags) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(served: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="any", max_retries=0) as sdk:
        yield sdk


def _messages(**script: Any) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt(**script)}]


async def _stream(client: openai.AsyncOpenAI, messages: Any, **options: Any) -> list[Any]:
    answer = await client.chat.completions.create(model="scripted", messages=messages, stream=True, **options)
    return [chunk async for chunk in answer]


async def test_text_usage_and_finish_reach_the_python_client(client: openai.AsyncOpenAI) -> None:
    """litellm #11915, #17136 (usage missing or misplaced): one usage chunk, last, without choices."""
    chunks = await _stream(client, _messages(tokens=50, seed=1), stream_options={"include_usage": True})
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == Script(tokens=50, seed=1).answer()
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage.completion_tokens == 50
    assert not chunks[-1].choices
    assert all(c.usage is None for c in chunks[:-1])
    assert len({c.id for c in chunks}) == 1


async def test_without_include_usage_there_is_none(client: openai.AsyncOpenAI) -> None:
    chunks = await _stream(client, _messages(tokens=5))
    assert all(c.usage is None and c.choices for c in chunks)


async def test_tool_calls_add_up(client: openai.AsyncOpenAI) -> None:
    """litellm #25561 (tool arguments dropped)."""
    chunks = await _stream(client, _messages(tool_calls=CALLS))
    calls: dict[int, dict[str, str]] = {}
    for chunk in chunks:
        for piece in chunk.choices[0].delta.tool_calls or [] if chunk.choices else []:
            call = calls.setdefault(piece.index, {"name": "", "arguments": ""})
            call["name"] += piece.function.name or ""
            call["arguments"] += piece.function.arguments or ""
    assert [(c["name"], json.loads(c["arguments"])) for c in calls.values()] == [
        (c["name"], c["arguments"]) for c in CALLS
    ]
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


async def test_several_choices_and_reasoning(client: openai.AsyncOpenAI) -> None:
    """litellm #36327 (a chunk with reasoning and content loses text)."""
    script = _messages(tokens=10, seed=4, n=3, reasoning="let me think about it")
    chunks = await _stream(client, script, n=3)
    expected = Script(tokens=10, seed=4).answer()
    for index in range(3):
        pieces = [choice for c in chunks for choice in c.choices if choice.index == index]
        assert "".join(p.delta.content or "" for p in pieces) == expected
        assert pieces[-1].finish_reason == "stop"
        assert "".join(getattr(p.delta, "reasoning_content", None) or "" for p in pieces) == "let me think about it"


async def test_the_whole_answer_at_once(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model="scripted", messages=_messages(tokens=20, seed=2, tool_calls=[], logprobs=True), logprobs=True
    )
    assert answer.choices[0].message.content == Script(tokens=20, seed=2).answer()
    assert answer.choices[0].logprobs is not None
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 20
    assert answer.object == "chat.completion"


async def test_parameters_reach_the_upstream_unchanged(upstream: Upstream, client: openai.AsyncOpenAI) -> None:
    options: dict[str, Any] = {
        "temperature": 0.3,
        "top_p": 0.9,
        "seed": 7,
        "logit_bias": {"50256": -100},
        "metadata": {"team": "blue"},
        "extra_body": {"some_vendor_field": {"deep": [1, 2]}},
    }
    await _stream(client, _messages(tokens=2, key="parameters"), **options)
    seen = next(r for r in reversed(upstream.requests) if r.key == "parameters").body
    extra = options.pop("extra_body")
    assert {name: seen[name] for name in options} == options
    assert seen["some_vendor_field"] == extra["some_vendor_field"]
    assert seen["stream"] is True


@pytest.mark.parametrize(
    ("fault", "kind", "status"),
    [
        ("status:401", openai.AuthenticationError, 401),
        ("status:404", openai.NotFoundError, 404),
        ("status:429+retry_after:7", openai.RateLimitError, 429),
        ("status:500", openai.InternalServerError, 500),
        ("html", openai.InternalServerError, 502),
    ],
)
async def test_an_upstream_error_keeps_its_status(
    client: openai.AsyncOpenAI, fault: str, kind: type[openai.APIStatusError], status: int
) -> None:
    """bifrost #2917: the head waits for the provider, so that SDK retries see the true status."""
    for stream in (True, False):
        with pytest.raises(kind) as raised:
            await client.chat.completions.create(
                model="scripted",
                messages=_messages(fault=fault),  # type: ignore[arg-type]
                stream=stream,
            )
        assert raised.value.status_code == status
        assert "x-stream-id" in raised.value.response.headers
        if "retry_after" in fault:
            assert raised.value.response.headers["retry-after"] == "7"


async def test_an_error_in_mid_answer_raises_and_never_looks_whole(client: openai.AsyncOpenAI) -> None:
    """portkey #1797, bifrost #5546 (a cut upstream becomes a clean end)."""
    chunks = []
    with pytest.raises(openai.APIError) as raised:
        answer = await client.chat.completions.create(
            model="scripted",
            messages=_messages(tokens=40, fault="cut_mid_frame"),  # type: ignore[arg-type]
            stream=True,
        )
        async for chunk in answer:
            chunks.append(chunk)  # noqa: PERF401 - what came before the error counts
    assert raised.value.code == "provider_truncated"
    text = "".join(c.choices[0].delta.content or "" for c in chunks)
    assert text
    assert Script(tokens=40).answer().startswith(text)
    assert all(c.choices[0].finish_reason is None for c in chunks)


async def _node(served: Served, **request: Any) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *("node", "chat.mjs", f"{served.url}/v1", json.dumps({"model": "scripted", **request})),
        cwd=NODE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    told: dict[str, Any] = json.loads(out)
    return told


@pytest.mark.node
async def test_the_node_client_streams(served: Served) -> None:
    told = await _node(
        served, messages=_messages(tokens=30, seed=9), stream=True, stream_options={"include_usage": True}
    )
    assert told["error"] is None
    assert told["text"] == Script(tokens=30, seed=9).answer()
    assert told["finish"] == "stop"
    assert told["usage"]["completion_tokens"] == 30


@pytest.mark.node
async def test_the_node_client_gets_tool_calls_and_whole_answers(served: Served) -> None:
    told = await _node(served, messages=_messages(tool_calls=CALLS), stream=True)
    assert [(c["name"], json.loads(c["arguments"])) for c in told["tools"].values()] == [
        (c["name"], c["arguments"]) for c in CALLS
    ]
    assert (await _node(served, messages=_messages(tokens=4)))["text"] == Script(tokens=4).answer()


@pytest.mark.node
async def test_the_node_client_gets_typed_errors(served: Served) -> None:
    told = await _node(served, messages=_messages(fault="status:429+retry_after:1"), stream=True)
    assert (told["error"]["kind"], told["error"]["status"]) == ("RateLimitError", 429)
    told = await _node(served, messages=_messages(tokens=40, fault="error_mid"), stream=True)
    assert told["error"]["kind"] == "APIError"
    assert told["chunks"]

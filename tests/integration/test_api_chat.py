"""`/v1/chat/completions` and `/v1/models` as the official `openai` SDK and plain HTTP clients see them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from headwater.errors import ProviderRejected, ProviderTimeout
from headwater.events import Done, Reasoning, Status, Text, ToolCall, Usage
from headwater.request import ChatRequest
from headwater.server import ServerSettings
from headwater.streams import StreamSettings, Writer

from .kit import Running, connected, eventually, messages_of, running

MESSAGES = [{"role": "user", "content": "Hi"}]
BODY = {"model": "hello", "messages": MESSAGES}
PIECES = ["Hel", "lo", ", ", "wörld 😀", "!"]


async def hello(writer: Writer, request: ChatRequest) -> None:
    writer.write([Status("connecting")])
    for piece in PIECES:
        writer.write([Text(piece)])
        await asyncio.sleep(0)
    writer.write([Usage(3, 5, cached_tokens=1), Done("stop")])


async def tools(writer: Writer, request: ChatRequest) -> None:
    writer.write([Reasoning("I need the weather."), ToolCall(0, "call_1", "weather")])
    writer.write([ToolCall(0, arguments='{"city":'), ToolCall(0, arguments='"Ulm"}')])
    writer.write([Usage(1, 2), Done("tool_calls")])


async def choices(writer: Writer, request: ChatRequest) -> None:
    assert request.params["n"] == 2
    assert request.params["temperature"] == 0.5
    assert request.params["x_private"] == {"a": [1]}
    writer.write([Text("A"), Text("B", choice=1), Usage(1, 2), Done("stop", ["stop", "length"])])


async def breaks(writer: Writer, request: ChatRequest) -> None:
    writer.write([Text("half an ans")])
    await writer.drain()
    raise ProviderTimeout("the provider fell silent", provider="scripted")


def rejecting(status: int, retry_after_s: float | None = None):  # type: ignore[no-untyped-def]
    async def script(writer: Writer, request: ChatRequest) -> None:
        raise ProviderRejected(
            "no", status=status, provider="scripted", upstream_code="upstream_says_no", retry_after_s=retry_after_s
        )

    return script


async def hangs(writer: Writer, request: ChatRequest) -> None:
    await asyncio.Event().wait()


SCRIPTS = {
    "hello": hello,
    "tools": tools,
    "choices": choices,
    "breaks": breaks,
    "says-401": rejecting(401),
    "says-429": rejecting(429, 6.5),
    "says-503": rejecting(503),
    "hangs": hangs,
}


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running(SCRIPTS) as it:
        yield it


def sdk(server: Running, **options: object) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0, **options)  # type: ignore[arg-type]


async def test_sdk_streams_text_and_usage(server: Running) -> None:
    async with sdk(server) as client:
        stream = await client.chat.completions.create(
            model="hello",
            messages=MESSAGES,
            stream=True,
            stream_options={"include_usage": True},  # type: ignore[arg-type]
        )
        chunks: list[ChatCompletionChunk] = [chunk async for chunk in stream]
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "".join(PIECES)
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert len({c.id for c in chunks}) == 1
    usage = chunks[-1].usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (3, 5, 8)
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 1


async def test_sdk_gets_a_whole_answer(server: Running) -> None:
    async with sdk(server) as client:
        raw = await client.chat.completions.with_raw_response.create(model="hello", messages=MESSAGES)  # type: ignore[arg-type]
    answer = raw.parse()
    assert answer.choices[0].message.content == "".join(PIECES)
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 8
    assert answer.id == f"chatcmpl-{raw.headers['x-stream-id']}"


async def test_sdk_assembles_streamed_tool_calls_and_reasoning(server: Running) -> None:
    async with sdk(server) as client, client.chat.completions.stream(model="tools", messages=MESSAGES) as stream:  # type: ignore[arg-type]
        final = await stream.get_final_completion()
    message = final.choices[0].message
    assert message.tool_calls is not None
    assert message.tool_calls[0].function.arguments == '{"city":"Ulm"}'
    assert message.tool_calls[0].id == "call_1"
    assert final.choices[0].finish_reason == "tool_calls"
    assert message.reasoning_content == "I need the weather."  # type: ignore[attr-defined]


@pytest.mark.parametrize("streaming", [True, False])
async def test_choices_and_unknown_parameters_pass_through(server: Running, streaming: bool) -> None:
    body = {"model": "choices", "messages": MESSAGES, "n": 2, "temperature": 0.5, "x_private": {"a": [1]}}
    response = await server.client.post("/v1/chat/completions", json=body | {"stream": streaming})
    assert response.status_code == 200
    if streaming:
        chunks = [json.loads(m.data) for m in messages_of(response.content) if m.data != "[DONE]"]
        finish = {c["choices"][0]["index"]: c["choices"][0]["finish_reason"] for c in chunks}
        roles = [c["choices"][0]["index"] for c in chunks if "role" in c["choices"][0]["delta"]]
        assert roles == [0, 1]
    else:
        finish = {c["index"]: c["finish_reason"] for c in response.json()["choices"]}
    assert finish == {0: "stop", 1: "length"}


@pytest.mark.parametrize("streaming", [True, False])
async def test_the_upstreams_refusal_keeps_its_status(server: Running, streaming: bool) -> None:
    """SDKs decide about retries by it. A lifecycle event commits the stream: bifrost #5395, #2917."""
    async with sdk(server) as client:
        for model, kind in (
            ("says-401", openai.AuthenticationError),
            ("says-429", openai.RateLimitError),
            ("says-503", openai.InternalServerError),
            ("nowhere", openai.NotFoundError),
        ):
            with pytest.raises(kind) as caught:
                await client.chat.completions.create(model=model, messages=MESSAGES, stream=streaming)  # type: ignore[call-overload]
            if model == "says-429":
                assert caught.value.response.headers["retry-after"] == "7"
                assert caught.value.response.headers["x-stream-id"]
                assert caught.value.code == "upstream_says_no"
                assert caught.value.type == "rate_limit_error"
            if model == "nowhere":
                assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


async def test_an_error_after_content_is_in_band_and_never_looks_whole(server: Running) -> None:
    """A cut upstream becomes a clean 200: portkey #1797; a dead upstream becomes `[DONE]`: bifrost #5546."""
    got: list[str] = []

    async def read(client: openai.AsyncOpenAI) -> None:
        stream = await client.chat.completions.create(model="breaks", messages=MESSAGES, stream=True)  # type: ignore[arg-type]
        async for chunk in stream:
            got.extend(choice.delta.content or "" for choice in chunk.choices)

    async with sdk(server) as client:
        with pytest.raises(openai.APIError, match="fell silent"):
            await read(client)
    assert "".join(got) == "half an ans"
    raw = await server.client.post("/v1/chat/completions", json=BODY | {"model": "breaks", "stream": True})
    assert "[DONE]" not in raw.text
    whole = await server.client.post("/v1/chat/completions", json=BODY | {"model": "breaks"})
    assert (whole.status_code, whole.json()["error"]["code"]) == (504, "provider_timeout")


async def test_every_cut_resumes_to_the_same_answer(server: Running) -> None:
    """Promise P2, in the dialect that the stream was started in and over the other route."""
    whole = await server.client.post(
        "/v1/chat/completions", json=BODY | {"stream": True, "stream_options": {"include_usage": True}}
    )
    expected = messages_of(whole.content)
    events = f"/v1/streams/{whole.headers['x-stream-id']}/events?dialect=openai_chat&include_usage=true"
    cursors = [m.id for n, m in enumerate(expected[:-1]) if expected[n + 1].id != m.id]
    assert len(cursors) >= 2
    for cursor in cursors[:-1]:
        seen = [m for m in expected if m.id and int(m.id[2:]) <= int(cursor[2:])]
        rest = await server.client.get(events, headers={"Last-Event-ID": cursor})
        assert rest.status_code == 200
        assert text_of([m.data for m in seen]) + text_of([m.data for m in messages_of(rest.content)]) == "".join(PIECES)
        assert messages_of(rest.content)[-1].data == "[DONE]"


def text_of(payloads: list[str]) -> str:
    chunks = [json.loads(data) for data in payloads if data != "[DONE]"]
    return "".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"])


async def test_the_head_is_held_no_longer_than_head_wait() -> None:
    """No signal between acceptance and the first token: cloudflare/agents #1784."""
    go = asyncio.Event()

    async def late(writer: Writer, request: ChatRequest) -> None:
        await go.wait()
        raise ProviderRejected("too late for a status", status=429, provider="scripted")

    body = BODY | {"model": "late", "stream": True}
    async with (
        running({"late": late}, settings=ServerSettings(head_wait_s=0.05)) as server,
        server.client.stream("POST", "/v1/chat/completions", json=body) as response,
    ):
        assert response.status_code == 200
        go.set()
        text = (await response.aread()).decode()
    assert '"too late for a status"' in text
    assert "[DONE]" not in text


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_client_that_leaves_before_the_first_token_is_a_viewer_that_leaves(streaming: bool) -> None:
    """A disconnect before the first token goes unnoticed: litellm PR #31499, #30244."""
    async with running(SCRIPTS) as server:
        async with connected(server) as client:
            body = json.dumps(BODY | {"model": "hangs", "stream": streaming}).encode()
            client.send("POST", "/v1/chat/completions", body, x_linger_s="0")
            await eventually(lambda: bool(server.models.made))
        await asyncio.wait_for(server.models.made[0].ended.wait(), 5)
        assert server.models.made[0].cancelled
        info = (await server.client.get("/v1/streams")).json()["data"][0]
        assert (info["status"], info["finish_reason"], info["viewers"]) == ("cancelled", "cancelled", 0)
        await eventually(lambda: server.hub.live == 0)


async def test_a_viewer_that_leaves_mid_answer_does_not_end_it_within_its_linger() -> None:
    """Stop is not disconnect (P4)."""
    go = asyncio.Event()

    async def two_parts(writer: Writer, request: ChatRequest) -> None:
        writer.write([Text("one ")])
        await go.wait()
        writer.write([Text("two"), Done("stop")])

    async with running({"two": two_parts}) as server:
        async with connected(server) as client:
            client.send("POST", "/v1/chat/completions", json.dumps(BODY | {"model": "two", "stream": True}).encode())
            _, headers = await client.head()
            await client.chunk()
        await eventually(lambda: server.hub.viewers == 0)
        go.set()
        events = await server.client.get(f"/v1/streams/{headers['x-stream-id']}/events?dialect=openai_chat")
        assert text_of([m.data for m in messages_of(events.content)]) == "one two"


async def test_linger_zero_ends_a_stream_with_its_last_viewer() -> None:
    """Upstream left running after the client is gone: litellm #36123, production-stack #634."""

    async def endless(writer: Writer, request: ChatRequest) -> None:
        while True:
            writer.write([Text("x")])
            await asyncio.sleep(0.01)

    async with running({"endless": endless}) as server:
        async with connected(server) as client:
            body = json.dumps(BODY | {"model": "endless", "stream": True}).encode()
            client.send("POST", "/v1/chat/completions", body, x_linger_s="0")
            await client.head()
            await client.chunk()
        await asyncio.wait_for(server.models.made[0].ended.wait(), 5)
        assert server.models.made[0].cancelled


async def test_an_idempotency_key_generates_once(server: Running) -> None:
    """Promise P9: a repeated key never generates, or bills, twice, streamed or not."""
    key = {"Idempotency-Key": "order 1"}
    first, second = await asyncio.gather(
        server.client.post("/v1/chat/completions", json=BODY | {"stream": True}, headers=key),
        server.client.post("/v1/chat/completions", json=BODY, headers=key),
    )
    assert first.headers["x-stream-id"] == second.headers["x-stream-id"]
    assert second.json()["choices"][0]["message"]["content"] == "".join(PIECES)
    assert sum(producer.ended.is_set() for producer in server.models.made) == 1

    ids = [m.id for m in messages_of(first.content)]
    back = key | {"Last-Event-ID": ids[1]}
    rest = await server.client.post("/v1/chat/completions", json=BODY | {"stream": True}, headers=back)
    assert rest.status_code == 200
    assert "role" not in rest.text
    assert rest.text.endswith("data: [DONE]\n\n")
    end = key | {"Last-Event-ID": ids[-1]}
    assert (
        await server.client.post("/v1/chat/completions", json=BODY | {"stream": True}, headers=end)
    ).status_code == 204

    other = await server.client.post("/v1/chat/completions", json=BODY | {"temperature": 1}, headers=key)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")


async def test_models_are_listed_and_found(server: Running) -> None:
    async with sdk(server) as client:
        assert [model.id async for model in client.models.list()] == list(SCRIPTS)
        assert (await client.models.retrieve("hello")).owned_by == "scripted"
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("a/model/with/slashes")


async def test_a_request_that_names_no_model_gets_the_default() -> None:
    async with running(SCRIPTS, settings=ServerSettings(default_model="tools")) as server:
        answer = await server.client.post("/v1/chat/completions", json={"messages": MESSAGES})
        assert answer.json()["model"] == "tools"


async def test_a_queue_time_out_keeps_its_status() -> None:
    async with running(SCRIPTS, streams=StreamSettings(max_streams=1, queue_timeout_s=0.05, grace_s=0.1)) as server:
        started = await server.client.post("/v1/streams", json=BODY | {"model": "hangs"})
        assert started.status_code == 201
        answer = await server.client.post("/v1/chat/completions", json=BODY | {"stream": True})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "queue_timeout")


async def test_a_known_key_needs_no_provider_any_more() -> None:
    """P9: what is in the log is given out, also while the model is gone."""
    async with running(SCRIPTS) as server:
        headers = {"Idempotency-Key": "k-1"}
        first = await server.client.post("/v1/chat/completions", json=BODY, headers=headers)
        server.models.forget()
        again = await server.client.post("/v1/chat/completions", json=BODY, headers=headers)
        assert again.status_code == 200
        assert again.headers["x-stream-id"] == first.headers["x-stream-id"]
        assert again.json()["choices"] == first.json()["choices"]
        assert (await server.client.post("/v1/chat/completions", json=BODY)).status_code == 404


async def test_who_waits_for_a_whole_answer_is_told_of_the_shutdown() -> None:
    """Not a hang, and not a plain-text 500."""
    async with running({"slow": hangs}) as server:
        asking = asyncio.create_task(server.client.post("/v1/chat/completions", json=BODY | {"model": "slow"}))
        await eventually(lambda: server.hub.live == 1)
        await server.hub.shutdown(0)
        answer = await asking
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "shutting_down")
        assert answer.headers["retry-after"]

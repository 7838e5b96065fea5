"""Items of applications' iterators: the SDK objects here come from the SDKs themselves, fed by a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, ClassVar

import anthropic
import openai
import pytest
from anthropic.types import RawMessageStreamEvent
from openai.types.chat import ChatCompletionChunk
from pydantic import TypeAdapter

from headwater.errors import ProducerFailed, ProviderRejected, ProviderTruncated
from headwater.events import (
    Done,
    Error,
    Event,
    Metadata,
    Reasoning,
    Source,
    Sources,
    Start,
    Status,
    Text,
    ToolCall,
    Usage,
    text_of,
)
from headwater.providers import Adapter
from tests.unit.providers.kit import delta
from tests.upstream import Script, Upstream, prompt

ANTHROPIC: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


@asynccontextmanager
async def serving(body: bytes) -> AsyncIterator[str]:
    """A server whose every answer is this event stream."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n" + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    await server.wait_closed()


def adapted(*items: object) -> list[Event]:
    adapter = Adapter()
    return [*(event for item in items for event in adapter.events(item)), *adapter.close()]


def test_text() -> None:
    assert adapted("Hel", "", "lo") == [Text("Hel"), Text("lo")]


def test_our_own_events() -> None:
    events = [
        Status("searching"),
        Sources([Source("p")]),
        Reasoning("hm"),
        Text("a"),
        Usage(1, 2),
        Metadata({}),
        Done("stop"),
    ]
    assert adapted(*events) == events
    assert adapted(Error("mine", "no")) == [Error("mine", "no")]


@pytest.mark.parametrize(
    ("item", "name"),
    [
        (5, "builtins.int"),
        (b"bytes", "builtins.bytes"),
        (None, "builtins.NoneType"),
        (["a"], "builtins.list"),
        ({}, "a dict"),
        ({"type": "surprise"}, "'surprise'"),
        ({"type": 5}, "a dict"),
        (SimpleNamespace(type="surprise"), "types.SimpleNamespace"),
        (Start("s", "m", 0), "headwater.events.Start"),
    ],
)
def test_other_types_are_named(item: object, name: str) -> None:
    with pytest.raises(ProducerFailed, match=name):
        Adapter().events(item)


class TestChatCompletions:
    async def chunks(self, **script: Any) -> list[Any]:
        async with (
            Upstream() as upstream,
            openai.AsyncOpenAI(base_url=upstream.openai_url, api_key="k", max_retries=0) as client,
        ):
            stream = await client.chat.completions.create(
                model="fake-1",
                messages=[{"role": "user", "content": prompt(**script)}],
                stream=True,
                stream_options={"include_usage": True},
            )
            return [chunk async for chunk in stream]

    async def test_a_stream_of_the_sdk(self) -> None:
        chunks = await self.chunks(tokens=9, reasoning="hm so", logprobs=True, n=2)
        for form in (chunks, [chunk.model_dump() for chunk in chunks]):
            events = adapted(*form)
            assert isinstance(events[0], Metadata)
            for choice in (0, 1):
                assert text_of(events, choice=choice) == Script(tokens=9).answer()
            assert "".join(e.text for e in events if isinstance(e, Reasoning) and e.choice == 1) == "hm so"
            logprobs = next(event.logprobs for event in events if isinstance(event, Text))
            assert logprobs is not None
            assert isinstance(logprobs["content"], list)
            usage, done = events[-2:]
            assert done == Done("stop", ["stop", "stop"])
            assert isinstance(usage, Usage)
            assert (usage.completion_tokens, usage.reasoning_tokens, usage.cached_tokens) == (11, 2, 2)

    async def test_tool_calls(self) -> None:
        events = adapted(*await self.chunks(tool_calls=[{"name": "f", "arguments": {"a": 1}}]))
        calls = [event for event in events if isinstance(event, ToolCall)]
        assert calls[0] == ToolCall(0, "call_0", "f")
        assert "".join(call.arguments for call in calls) == '{"a":1}'
        assert events[-1] == Done("tool_calls")

    async def test_the_sdks_stream_helper(self) -> None:
        async with (
            Upstream() as upstream,
            openai.AsyncOpenAI(base_url=upstream.openai_url, api_key="k") as client,
            client.chat.completions.stream(
                model="fake-1", messages=[{"role": "user", "content": prompt(tokens=5)}]
            ) as stream,
        ):
            items = [item async for item in stream]
        events = adapted(*items)
        assert text_of(events) == Script(tokens=5).answer()
        assert events[-1] == Done("stop")

    async def test_a_body_that_ended_early_is_no_answer(self) -> None:
        """The SDK itself ends such a stream without a word (portkey #1797)."""
        with pytest.raises(ProviderTruncated):
            adapted(*await self.chunks(tokens=9, fault="cut_clean"))

    def test_half_characters(self) -> None:
        chunks = [delta(content="a\ud83d"), delta(content="\ude00"), delta(finish="stop")]
        assert adapted(*chunks) == [Text("a"), Text("😀"), Done("stop")]
        assert adapted(delta(content="\ud83d"), delta(finish="stop")) == [Text("\ufffd"), Done("stop")]

    def test_an_agents_loop(self) -> None:
        """One call of the model after another: usage adds up, tool calls stay apart, the last finish reason counts."""

        def call(id: str, *chunks: dict[str, Any]) -> list[dict[str, Any]]:
            usage = {"usage": {"prompt_tokens": 10, "completion_tokens": 5}}
            return [{**chunk, "id": id, "model": "m"} for chunk in [*chunks, {"choices": [], **usage}]]

        def tool(id: str) -> dict[str, Any]:
            return delta(tool_calls=[{"index": 0, "id": id, "function": {"name": "f", "arguments": "{}"}}])

        items = [
            *call("1", tool("c1"), delta(finish="tool_calls")),
            Status("tool", "looking"),
            *call("2", tool("c2"), delta(finish="tool_calls")),
            *call("3", delta(content="done"), delta(finish="stop")),
        ]
        events = adapted(*items)
        assert [event for event in events if isinstance(event, ToolCall)] == [
            ToolCall(0, "c1", "f", "{}"),
            ToolCall(1, "c2", "f", "{}"),
        ]
        assert events[-2:] == [Usage(30, 15), Done("stop")]
        assert sum(isinstance(event, Metadata) for event in events) == 3
        with pytest.raises(ProviderTruncated):
            adapted(*call("1", delta(content="cut")), *call("2", delta(content="x")))

    def test_errors_and_damage(self) -> None:
        with pytest.raises(ProviderRejected, match="overloaded"):
            adapted({"choices": [], "error": {"message": "overloaded", "code": 503}})
        with pytest.raises(ProviderRejected, match="overloaded"):
            adapted({"choices": [], "error": "overloaded"})
        with pytest.raises(ProducerFailed, match="damaged"):
            adapted({"choices": [{"delta": {"content": 5}}]})
        with pytest.raises(ProviderTruncated):
            adapted({"choices": []})

    def test_an_end_of_ones_own_is_the_end(self) -> None:
        assert adapted(delta(content="a"), Done("length")) == [Text("a"), Done("length")]

    def test_objects_of_any_class(self) -> None:
        chunk = ChatCompletionChunk.model_construct(id="c", choices=[], model=None, usage=None)
        assert Adapter().events(chunk) == [Metadata({"id": "c"})]


def anthropic_items(*events: dict[str, Any]) -> list[object]:
    """The same events as SDK objects."""
    return [ANTHROPIC.validate_python(event) for event in events]


MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": "claude", "stop_reason": None,
           "stop_sequence": None}  # fmt: skip


def message_start(**usage: Any) -> dict[str, Any]:
    return {"type": "message_start", "message": {**MESSAGE, "usage": {"input_tokens": 10, "output_tokens": 1, **usage}}}


def block(index: int, **content: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": content}


def piece(index: int, **content: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": content}


def message_delta(stop_reason: str | None, output_tokens: int = 7) -> dict[str, Any]:
    return {
        "type": "message_delta",
        "delta": {"stop_reason": stop_reason, "stop_sequence": None},
        "usage": {"output_tokens": output_tokens},
    }


class TestAnthropic:
    EVENTS = (
        message_start(cache_read_input_tokens=3, cache_creation_input_tokens=2),
        block(0, type="thinking", thinking="", signature=""),
        piece(0, type="thinking_delta", thinking="hm"),
        piece(0, type="signature_delta", signature="sig"),
        {"type": "content_block_stop", "index": 0},
        block(1, type="text", text=""),
        piece(1, type="text_delta", text="Hi"),
        block(2, type="tool_use", id="t1", name="f", input={}),
        piece(2, type="input_json_delta", partial_json='{"a"'),
        piece(2, type="input_json_delta", partial_json=":1}"),
        message_delta("tool_use"),
        {"type": "message_stop"},
    )

    def test_every_event(self) -> None:
        for items in (list(self.EVENTS), anthropic_items(*self.EVENTS)):
            events = adapted(*items)
            usage = events.pop(-2)
            assert events == [
                Metadata({"id": "msg_1", "model": "claude"}),
                Reasoning("hm"),
                Reasoning("", signature="sig"),
                Text("Hi"),
                ToolCall(0, "t1", "f"),
                ToolCall(0, arguments='{"a"'),
                ToolCall(0, arguments=":1}"),
                Done("tool_calls"),
            ]
            assert isinstance(usage, Usage)
            assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens) == (15, 7, 3)
            assert usage.details is not None
            assert usage.details["cache_creation_input_tokens"] == 2

    def test_blocks_that_begin_with_something(self) -> None:
        events = adapted(
            message_start(),
            block(0, type="thinking", thinking="hm"),
            block(1, type="text", text="Hi"),
            block(2, type="tool_use", id="t", name="f", input={"a": "ü"}),
            message_delta("end_turn"),
        )
        assert events[1:4] == [Reasoning("hm"), Text("Hi"), ToolCall(0, "t", "f", '{"a":"ü"}')]

    def test_what_the_provider_runs_itself_says_nothing(self) -> None:
        events = adapted(
            message_start(),
            block(0, type="server_tool_use", id="s", name="web_search", input={}),
            piece(0, type="input_json_delta", partial_json="{}"),
            piece(0, type="citations_delta", citation={}),
            block(1, type="tool_use", id="t", name="", input={}),
            piece(1, type="input_json_delta", partial_json=""),
            message_delta("end_turn"),
        )
        assert events[1:-2] == [ToolCall(0, "t")]

    @pytest.mark.parametrize(
        ("reason", "canonical"),
        [("end_turn", "stop"), ("stop_sequence", "stop"), ("pause_turn", "stop"), ("max_tokens", "length"),
         ("model_context_window_exceeded", "length"), ("refusal", "content_filter")],
    )  # fmt: skip
    def test_stop_reasons(self, reason: str, canonical: str) -> None:
        assert adapted(message_start(), message_delta(reason))[-1] == Done(canonical)

    def test_an_unknown_stop_reason_is_kept(self) -> None:
        events = adapted(message_start(), message_delta("eclipse"))
        assert Metadata({"finish_reason": "eclipse"}) in events
        assert events[-1] == Done("stop")

    def test_without_its_stop_reason_it_is_truncated(self) -> None:
        with pytest.raises(ProviderTruncated):
            adapted(message_start(), piece(0, type="text_delta", text="Hi"), message_delta(None))
        with pytest.raises(ProviderTruncated):
            adapted(message_start(), *self.EVENTS)

    def test_an_agents_loop(self) -> None:
        first, second = message_start(), message_start()
        events = adapted(first, message_delta("tool_use"), second, message_delta("end_turn"))
        assert events[-2:] == [Usage(20, 14), Done("stop")]

    def test_errors(self) -> None:
        with pytest.raises(ProviderRejected, match="Overloaded") as caught:
            adapted({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
        assert caught.value.http_status == 503

    def test_without_usage_none_is_told(self) -> None:
        assert adapted(message_delta("end_turn") | {"usage": None}) == [Done("stop")]

    async def test_the_sdks_own_decoder(self) -> None:
        """Bytes → `anthropic` SDK → events, also through its helper, which repeats every delta in its own words."""
        body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in self.EVENTS)
        ask: Any = {"model": "claude", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
        async with (
            serving(body.encode()) as url,
            anthropic.AsyncAnthropic(api_key="k", base_url=url, max_retries=0) as client,
        ):
            raw = adapted(*[event async for event in await client.messages.create(stream=True, **ask)])
            async with client.messages.stream(**ask) as helper:
                helped = adapted(*[event async for event in helper])
        assert raw == helped
        assert text_of(raw) == "Hi"


class TestResponses:
    RESPONSE: ClassVar[dict[str, Any]] = {"id": "resp_1", "model": "gpt-5", "object": "response", "output": []}
    USAGE: ClassVar[dict[str, Any]] = {
        "input_tokens": 9,
        "output_tokens": 8,
        "total_tokens": 17,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens_details": {"reasoning_tokens": 5},
    }

    def event(self, kind: str, **fields: Any) -> dict[str, Any]:
        return {"type": f"response.{kind}", "sequence_number": 0, "item_id": "i", "output_index": 0, **fields}

    def text(self, delta: str, **fields: Any) -> dict[str, Any]:
        return self.event("output_text.delta", delta=delta, content_index=0, **{"logprobs": [], **fields})

    def end(self, kind: str = "completed", **fields: Any) -> dict[str, Any]:
        return self.event(kind, response={**self.RESPONSE, "usage": self.USAGE, **fields})

    async def test_every_event(self) -> None:
        call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "", "id": "fc"}
        message = {"type": "message", "id": "m", "role": "assistant", "content": [], "status": "in_progress"}
        given = [
            self.event("created", response=self.RESPONSE),
            self.event("in_progress", response=self.RESPONSE),
            self.event("reasoning_summary_text.delta", delta="hm", summary_index=0),
            self.event("reasoning_text.delta", delta="so", content_index=0),
            self.event("output_item.added", item=message, output_index=1),
            self.text("Hi", logprobs=[{"token": "Hi", "logprob": -0.5, "top_logprobs": []}]),
            self.event("refusal.delta", delta="no", content_index=0),
            self.event("output_text.done", text="Hi", content_index=0, logprobs=[]),
            self.event("output_item.added", item=call, output_index=2),
            self.event("function_call_arguments.delta", delta='{"a":1}', output_index=2),
            self.event("function_call_arguments.delta", delta="{}", output_index=7),
            self.event("function_call_arguments.delta", delta="", output_index=2),
            self.end(),
        ]
        body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in given).encode()
        async with serving(body) as url, openai.AsyncOpenAI(base_url=url, api_key="k", max_retries=0) as client:
            objects = [event async for event in await client.responses.create(model="m", input="hi", stream=True)]
        assert type(objects[-1]).__name__ == "ResponseCompletedEvent"
        for items in (given, objects):
            events = adapted(*items)
            assert isinstance(events[3], Text)
            assert events[3].logprobs is not None
            usage = events.pop(-2)
            assert [*events[:3], events[3].text, *events[4:]] == [
                Metadata({"id": "resp_1", "model": "gpt-5"}),
                Reasoning("hm"),
                Reasoning("so"),
                "Hi",
                Text("no", refusal=True),
                ToolCall(0, "c1", "f"),
                ToolCall(0, arguments='{"a":1}'),
                Done("tool_calls"),
            ]
            assert isinstance(usage, Usage)
            assert (usage.prompt_tokens, usage.completion_tokens) == (9, 8)
            assert (usage.cached_tokens, usage.reasoning_tokens) == (4, 5)

    @pytest.mark.parametrize(
        ("reason", "canonical"), [("max_output_tokens", "length"), ("content_filter", "content_filter"), ("", "length")]
    )
    def test_incomplete(self, reason: str, canonical: str) -> None:
        end = self.end("incomplete", incomplete_details={"reason": reason}, usage=None)
        assert adapted(self.text("Hi"), end) == [Text("Hi"), Done(canonical)]

    def test_without_its_end_it_is_truncated(self) -> None:
        with pytest.raises(ProviderTruncated):
            adapted(self.event("created", response=self.RESPONSE), self.text("Hi"))

    def test_failures(self) -> None:
        failed = self.end("failed", error={"code": "rate_limit_exceeded", "message": "slow down"})
        error = {"type": "error", "sequence_number": 1, "code": "server_error", "message": "slow down", "param": None}
        for item, status in ((failed, 429), (error, 500), (SimpleNamespace(**error), 500)):
            with pytest.raises(ProviderRejected, match="slow down") as caught:
                adapted(item)
            assert caught.value.http_status == status

    def test_an_agents_loop_of_several_sdks(self) -> None:
        events = adapted(
            delta(content="a"), delta(finish="stop"), self.event("created", response={}), self.text("b"), self.end()
        )
        assert events[-2:] == [
            Usage(9, 8, reasoning_tokens=5, cached_tokens=4, details={**self.USAGE}),
            Done("stop"),
        ]


@pytest.mark.parametrize("item", [Text("a", choice="x"), Text(7), Usage("1", 2), Text("a", logprobs={"b": object()})])  # type: ignore[arg-type]
def test_an_event_that_could_not_be_read_back_is_refused(item: Event) -> None:
    """Constructors take anything, and the stored stream would be unreadable for everyone."""
    with pytest.raises(ProducerFailed, match="wrong fields"):
        Adapter().events(item)

"""The scripted upstream speaks the Responses API as the official SDK understands it, and Headwater reads it alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, get_args

import httpx
import openai
import pytest
from openai.types.responses import ResponseErrorEvent, ResponseStreamEvent

from headwater.errors import ProviderRejected
from headwater.events import Done, Event, JsonObject, Metadata, Reasoning, Text, ToolCall, Usage, text_of
from headwater.providers.adapt import Adapter
from headwater.providers.ports import Held, UpstreamRequest
from headwater.providers.wire.responses import Responses
from headwater.request import ChatRequest
from tests.upstream import Script, Upstream, prompt, responses_format

CALL = [{"name": "weather", "arguments": {"city": "Zürich", "days": 2}}, {"name": "clock", "arguments": {}}]
TWO_THOUGHTS = "first this\n\nthen that"


@pytest.fixture
async def client(upstream: Upstream) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=upstream.openai_url, api_key="sk-test", max_retries=0) as client:
        yield client


async def ask(client: openai.AsyncOpenAI, params: dict[str, Any] | None = None, **script: Any) -> list[Any]:
    stream = await client.responses.create(
        model="fake-1", input=[{"role": "user", "content": prompt(**script)}], stream=True, **(params or {})
    )
    return [event async for event in stream]


async def fetched(request: UpstreamRequest) -> bytes:
    async with httpx.AsyncClient() as plain:
        answer = await plain.request(request.method, request.url, headers=request.headers, content=request.body)
        assert answer.status_code == 200
        return answer.content


async def test_the_sdk_reads_the_stream(client: openai.AsyncOpenAI) -> None:
    events = await ask(client, tokens=20, logprobs=True)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    assert "".join(event.delta for event in deltas) == Script(tokens=20).answer()
    assert deltas[0].logprobs[0].token == deltas[0].delta
    final = events[-1].response
    assert (final.status, final.output_text) == ("completed", Script(tokens=20).answer())
    assert (final.usage.output_tokens, final.usage.total_tokens - final.usage.input_tokens) == (20, 20)


async def test_the_sdks_helper_accumulates_thinking_calls_and_text(client: openai.AsyncOpenAI) -> None:
    given = prompt(tool_calls=CALL, reasoning=TWO_THOUGHTS, text="and done")
    async with client.responses.stream(model="fake-1", input=given) as stream:
        final = await stream.get_final_response()
    thinking, weather, clock, message = final.output
    assert thinking.type == "reasoning"
    assert [part.text for part in thinking.summary] == TWO_THOUGHTS.split("\n\n")
    assert weather.type == clock.type == "function_call"
    assert (weather.name, clock.name) == ("weather", "clock")
    assert message.type == "message"
    assert final.output_text == "and done"


@pytest.mark.parametrize(
    "script",
    [
        {"tokens": 9},
        {"tool_calls": CALL, "reasoning": TWO_THOUGHTS, "text": "done", "logprobs": True},
        {"refusal": "I cannot do that"},
        {"finish_reason": "length"},
        {"finish_reason": "content_filter"},
    ],
)
async def test_the_sdks_objects_and_the_decoder_say_the_same(
    upstream: Upstream, client: openai.AsyncOpenAI, script: dict[str, Any]
) -> None:
    adapter = Adapter()
    adapted = [event for item in await ask(client, **script) for event in adapter.events(item)] + adapter.close()
    protocol = Responses(upstream.openai_url)
    request = ChatRequest("m", [{"role": "user", "content": prompt(**script)}])
    decoder = protocol.decoder()
    decoded = decoder.feed(await fetched(protocol.chat(request, "fake-1"))) + decoder.close()
    assert decoded == adapted
    whole = protocol.decoder()
    body = await fetched(protocol.chat(with_script(fault="json_answer", **script), "fake-1"))
    from_object = whole.feed(body) + whole.close()
    assert [event for event in from_object if isinstance(event, Usage | Done)] == decoded[-2:]
    assert text_of(from_object) == text_of(decoded)
    assert calls_of(from_object) == calls_of(decoded)


def with_script(**script: Any) -> ChatRequest:
    return ChatRequest("m", [{"role": "user", "content": prompt(**script)}])


def calls_of(events: list[Event]) -> list[tuple[str, str]]:
    calls: dict[int, tuple[str, str]] = {}
    for event in events:
        if isinstance(event, ToolCall):
            name, arguments = calls.get(event.index, ("", ""))
            calls[event.index] = name + event.name, arguments + event.arguments
    return list(calls.values())


async def test_a_request_of_ours_is_what_the_sdk_would_send(upstream: Upstream, client: openai.AsyncOpenAI) -> None:
    tool: dict[str, Any] = {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}}
    await client.responses.create(
        model="fake-1",
        input=[
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "be brief"}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        ],
        tools=[{"type": "function", "strict": False, **tool}],
        tool_choice={"type": "function", "name": "f"},
        reasoning={"effort": "low", "summary": "auto"},
        max_output_tokens=9,
        store=False,
        stream=True,
    )
    messages: list[JsonObject] = [{"role": "developer", "content": "be brief"}, {"role": "user", "content": "hi"}]
    choice = {"type": "function", "function": {"name": "f"}}
    params: JsonObject = {"tools": [{"type": "function", "function": tool}], "tool_choice": choice}
    params |= {"reasoning_effort": "low", "max_tokens": 9}
    await fetched(Responses(upstream.openai_url).chat(ChatRequest("m", messages, params), "fake-1"))
    theirs, ours = upstream.requests
    assert ours.body == theirs.body


async def test_the_whole_answer(client: openai.AsyncOpenAI) -> None:
    response = await client.responses.create(model="fake-1", input=prompt(text="hello there"))
    assert (response.status, response.output_text) == ("completed", "hello there")
    assert response.usage is not None


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
        ("error_event", openai.APIError),
    ],
)
async def test_the_sdk_raises_its_typed_errors(client: openai.AsyncOpenAI, fault: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        await ask(client, fault=fault)


async def test_the_sdk_yields_the_error_event(client: openai.AsyncOpenAI) -> None:
    last = (await ask(client, fault="error_mid"))[-1]
    assert isinstance(last, ResponseErrorEvent)
    assert last.code == "server_error"


TELLING = {
    "response.output_text.delta": Text,
    "response.output_text.done": Text,
    "response.refusal.delta": Text,
    "response.refusal.done": Text,
    "response.content_part.added": Text,
    "response.content_part.done": Text,
    "response.reasoning_summary_text.delta": Reasoning,
    "response.reasoning_summary_text.done": Reasoning,
    "response.reasoning_text.delta": Reasoning,
    "response.reasoning_text.done": Reasoning,
    "response.output_item.added": ToolCall,
    "response.output_item.done": ToolCall,
    "response.created": Metadata,
    "response.queued": Metadata,
    "response.in_progress": Metadata,
    "response.completed": Done,
    "response.incomplete": Done,
    "response.failed": ProviderRejected,
    "error": ProviderRejected,
    # Each adds to a call that another event has begun.
    "response.function_call_arguments.delta": None,
    "response.function_call_arguments.done": None,
}


def test_every_event_that_the_sdk_knows() -> None:
    """Those of the table are read, all others are passed over; none breaks a stream."""
    texts = dict.fromkeys(("delta", "text", "refusal", "arguments", "code", "input", "message"), "x")
    common: dict[str, Any] = {
        **dict.fromkeys(("sequence_number", "output_index", "content_index", "summary_index"), 0),
        **texts,
        "part": {"type": "output_text", "text": "x"},
        "item": {"type": "function_call", "call_id": "c", "name": "f", "arguments": ""},
        "response": {"id": "resp_1"},
    }
    kinds = [get_args(each.model_fields["type"].annotation)[0] for each in get_args(get_args(ResponseStreamEvent)[0])]
    assert set(TELLING) <= set(kinds)
    for kind in kinds:
        decoder = Responses().decoder()
        frame = responses_format.frame_of({**common, "type": kind})
        expected = TELLING.get(kind)
        if expected is ProviderRejected:
            with pytest.raises(ProviderRejected):
                decoder.feed(frame)
        else:
            assert [type(event) for event in decoder.feed(frame)] == ([expected] if expected else []), kind


class TestBackground:
    """Background resume broken by a proxy: litellm #26762."""

    ASKED: dict[str, Any] = {"background": True}  # noqa: RUF012

    async def test_the_sdk_resumes_and_cancels(self, upstream: Upstream, client: openai.AsyncOpenAI) -> None:
        events = await ask(client, self.ASKED, tokens=12)
        id = events[0].response.id
        assert [event.type for event in events[:3]] == [
            "response.created",
            "response.queued",
            "response.in_progress",
        ]
        for after in (0, 7, len(events) - 2):
            rest = await client.responses.retrieve(id, stream=True, starting_after=after)
            assert [event async for event in rest] == events[after + 1 :]
        async with client.responses.stream(response_id=id, starting_after=7) as stream:
            assert [event.sequence_number async for event in stream] == list(range(8, len(events)))
        assert (await client.responses.retrieve(id)).output_text == Script(tokens=12).answer()
        assert (await client.responses.cancel(id)).status == "cancelled"
        assert upstream.kept.cancelled == [id]
        assert (await client.responses.retrieve(id)).status == "cancelled"
        assert upstream.attempts == 1

    async def test_without_a_stream_it_is_queued(self, client: openai.AsyncOpenAI) -> None:
        response = await client.responses.create(model="fake-1", input=prompt(text="later"), background=True)
        assert response.status == "queued"
        assert (await client.responses.retrieve(response.id)).output_text == "later"

    async def test_an_unknown_one(self, client: openai.AsyncOpenAI) -> None:
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve("resp_nobody")
        with pytest.raises(openai.NotFoundError):
            await client.responses.cancel("resp_nobody")

    @pytest.mark.parametrize(
        "script",
        [
            {"tokens": 12, "logprobs": True},
            {"tokens": 3, "reasoning": TWO_THOUGHTS, "tool_calls": CALL, "text": "naïve 🌊 done"},
        ],
    )
    async def test_a_broken_answer_goes_on_at_any_event(self, upstream: Upstream, script: dict[str, Any]) -> None:
        """No character lost, none twice, wherever the connection breaks; also after a crash of ours."""
        protocol = Responses(upstream.openai_url, api_key="k")
        request = protocol.chat(ChatRequest("m", with_script(**script).messages, self.ASKED), "fake-1")
        frames = (await fetched(request)).split(b"\n\n")[:-1]
        whole = protocol.decoder()
        expected = merged(whole.feed(b"\n\n".join(frames) + b"\n\n"))
        for cut in range(1, len(frames)):
            decoder = protocol.decoder()
            before = decoder.feed(b"".join(frame + b"\n\n" for frame in frames[:cut]))
            resumable = all(isinstance(event, Text | Metadata) for event in before)
            facts: JsonObject = {}
            for event in before:
                facts |= event.data if isinstance(event, Metadata) else {}
            assert decoder.position == cut - 1
            for position in (cut - 1, None):
                found = protocol.reattach(Held(text_of(before), facts, position, resumable))
                if position is None and not resumable:
                    assert found is None
                    continue
                assert found is not None
                rest = found[1].feed(await fetched(found[0]))
                assert merged(before + rest) == expected
                assert isinstance(rest[-1], Done)
        queries = {recorded.query for recorded in upstream.requests[1:]}
        assert "stream=true&starting_after=1" in queries

    async def test_a_fault_counts_the_requests_for_it(self, upstream: Upstream) -> None:
        protocol = Responses(upstream.openai_url)
        asked = with_script(tokens=8, fault="hang_before_headers", fault_times=1, key="k")
        request = protocol.chat(ChatRequest("m", asked.messages, self.ASKED), "fake-1")
        with pytest.raises(httpx.ReadTimeout):
            async with httpx.AsyncClient(timeout=0.2) as plain:
                await plain.post(request.url, content=request.body)
        id = f"{responses_format.ID}0000"
        facts: JsonObject = {"id": id, "response_id": id, "background": True}
        found = protocol.reattach(Held("", facts))
        assert found is not None
        assert text_of(found[1].feed(await fetched(found[0]))) == Script(tokens=8).answer()

    async def test_stop_stops_the_model(self, upstream: Upstream) -> None:
        """Stop does not stop a local model: open-webui #1567."""
        protocol = Responses(upstream.openai_url)
        decoder = protocol.decoder()
        asked = ChatRequest("m", with_script(tokens=8).messages, self.ASKED)
        first = decoder.feed(await fetched(protocol.chat(asked, "fake-1")))[0]
        assert isinstance(first, Metadata)
        cancel = protocol.cancel_request(first.data)
        assert cancel is not None
        await fetched(cancel)
        assert upstream.kept.cancelled == [first.data["response_id"]]
        found = protocol.reattach(Held("", first.data))
        assert found is not None
        events = found[1].feed(await fetched(found[0]))
        assert events[-1] == Done("cancelled")
        assert Script(tokens=8).answer().startswith(text_of(events))


def merged(events: list[Event]) -> list[Event]:
    """Facts once, adjacent pieces as one."""
    out: list[Event] = []
    for event in events:
        last = out[-1] if out else None
        if isinstance(event, Text) and isinstance(last, Text):
            out[-1] = Text(last.text + event.text)
        else:
            out.append(Text(event.text) if isinstance(event, Text) else event)
    return out

"""OpenAI chat completions: bodies in, chunks and whole answers out."""

from __future__ import annotations

import json

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from headwater.dialects import DIALECTS, EncodeOptions
from headwater.dialects.openai_chat import error_type, usage_object
from headwater.errors import InputError
from headwater.events import Done, Event, JsonObject, Metadata, Reasoning, Status, Text, ToolCall, Usage
from headwater.streams.fold import fold
from tests.conformance.dialects.cells import START, STREAM, View, encode

DIALECT = DIALECTS["openai_chat"]
MESSAGES = [{"role": "user", "content": "Hi", "name": "ada"}]


def body(**fields: object) -> bytes:
    return json.dumps({"messages": MESSAGES} | fields).encode()


def assembled(events: list[Event], choices: int = 1) -> JsonObject:
    assert DIALECT.assemble is not None
    log = [START, *events]
    return DIALECT.assemble(View(fold(log)), log, choices)


def test_decode_keeps_every_parameter_it_does_not_own() -> None:
    fields = {"temperature": 0.5, "n": 2, "tools": [{"type": "function"}], "x_new": {"a": [1]}, "stop": ["a"]}
    decoded = DIALECT.decode(body(model="m", stream=True, stream_options={"include_usage": True}, **fields))
    assert decoded.request.model == "m"
    assert decoded.request.messages == MESSAGES
    assert decoded.request.params == fields
    assert decoded.stream
    assert decoded.options == EncodeOptions(include_usage=True, choices=2)
    assert decoded.dialect == "openai_chat"


@pytest.mark.parametrize(
    ("fallback", "expected"), [(True, True), ("on", True), (None, True), (False, False), ("off", False)]
)
def test_decode_keeps_its_own_fields_from_the_provider(fallback: object, expected: bool) -> None:
    request = DIALECT.decode(body(priority="high", fallback=fallback, service_tier="auto")).request
    assert (request.priority, request.fallback) == ("high", expected)
    assert request.params == {"service_tier": "auto"}


def test_decode_fills_in_what_is_left_out() -> None:
    decoded = DIALECT.decode(body(model=None, stream=None, stream_options=None, n=None, priority=None))
    assert decoded.request.model == ""
    assert (decoded.request.priority, decoded.request.fallback) == ("normal", True)
    assert not decoded.stream
    assert decoded.options == EncodeOptions()


@pytest.mark.parametrize(
    ("data", "param"),
    [
        (b"{}", "messages"),
        (body(messages=[]), "messages"),
        (body(messages="Hi"), "messages"),
        (body(messages=[{"content": "Hi"}]), "messages[0]"),
        (body(messages=[{"role": 1}]), "messages[0].role"),
        (body(messages=[{"role": "user", "content": 5}]), "messages[0].content"),
        (body(model=1), "model"),
        (body(stream="yes"), "stream"),
        (body(stream_options=[]), "stream_options"),
        (body(stream_options={"include_usage": "x"}), "stream_options.include_usage"),
        (body(n=0), "n"),
        (body(n=129), "n"),
        (body(n="2"), "n"),
        (body(temperature="hot"), "temperature"),
        (body(tools={}), "tools"),
        (body(priority="urgent"), "priority"),
        (body(priority=1), "priority"),
        (body(priority=""), "priority"),
        (body(fallback="no"), "fallback"),
        (body(fallback=0), "fallback"),
    ],
)
def test_decode_names_the_field_at_fault(data: bytes, param: str) -> None:
    with pytest.raises(InputError) as caught:
        DIALECT.decode(data)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (529, "overloaded_error"),
    ],
)
def test_error_types_follow_the_status(status: int, kind: str) -> None:
    assert error_type(status) == kind


def test_usage_keeps_the_providers_own_breakdown() -> None:
    """Usage missing, misplaced or zero: litellm #11915, #17136."""
    details = {"completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": 1}, "prompt_tokens": 0}
    assert usage_object(Usage(2, 5, reasoning_tokens=3, cached_tokens=1, details=details)) == {
        "prompt_tokens": 2,
        "completion_tokens": 5,
        "total_tokens": 7,
        "source": "exact",
        "prompt_tokens_details": {"cached_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": 1},
    }


def test_every_choice_begins_with_a_role() -> None:
    encoder = DIALECT.encoder(EncodeOptions(choices=2))(View(fold([START])))
    data = encoder.encode(0, START)
    assert data.count(b'"role":"assistant"') == 2
    assert data.count(b"id: 1.0\n") == 1
    assert data.index(b"id: 1.0\n") > data.index(b'"index":0')


@pytest.mark.parametrize(
    ("served", "cost"),
    [
        ({"cost": {"amount": 0.25, "currency": "EUR", "source": "exact"}}, 0.25),
        ({"cost": {"amount": 0, "currency": "EUR", "source": "exact"}}, 0),
        ({"cost": {"currency": "EUR"}}, None),
        ({"cost": 3}, None),
        ({}, None),
        (None, None),
    ],
)
def test_usage_tells_the_cost_where_the_metadata_does(served: JsonObject | None, cost: float | None) -> None:
    assert usage_object(Usage(2, 5), served).get("cost") == cost
    # What a provider like OpenRouter told stands as long as there is no price of ours.
    own = usage_object(Usage(2, 5, details={"cost": 0.5}), served)
    assert own["cost"] == (0.5 if cost is None else cost)


def test_the_cost_is_in_the_last_chunk_and_in_the_whole_answer() -> None:
    """As the official SDK reads them: unknown fields of usage are kept."""
    cost = Metadata({"cost": {"amount": 0.25, "currency": "USD", "source": "exact"}})
    events: list[Event] = [Text("Hi"), Usage(2, 5), cost, Done("stop")]
    frames = encode("openai_chat", events).decode().split("\n\n")
    chunk = ChatCompletionChunk.model_validate_json(frames[-3].partition("data: ")[2])
    whole = ChatCompletion.model_validate(assembled(events))
    for usage in (chunk.usage, whole.usage):
        assert usage is not None
        assert usage.total_tokens == 7
        assert usage.model_extra is not None
        assert usage.model_extra["cost"] == 0.25


def test_usage_comes_only_when_asked_for() -> None:
    log: list[Event] = [START, Usage(1, 2), Done("stop")]
    without = DIALECT.encoder(EncodeOptions())(View(fold(log))).encode(2, log[2])
    asked = DIALECT.encoder(EncodeOptions(include_usage=True))(View(fold(log))).encode(2, log[2])
    assert b'"usage"' not in without
    assert b'"total_tokens":3' in asked
    assert without.endswith(b"id: 1.2\ndata: [DONE]\n\n")


def test_a_cancel_names_itself_in_every_choice() -> None:
    data = DIALECT.encoder(EncodeOptions(choices=2))(View(fold([START]))).encode(1, Done("cancelled"))
    assert data.count(b'"finish_reason":"cancelled"') == 2


def test_assemble_a_plain_answer() -> None:
    answer = assembled([Status("connecting"), Text("Hel"), Text("lo"), Usage(1, 2), Done("length")])
    assert answer == {
        "id": f"chatcmpl-{STREAM}",
        "object": "chat.completion",
        "created": 1_750_000_000,
        "model": "small",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello"},
                "finish_reason": "length",
                "logprobs": None,
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "source": "exact"},
    }


def test_a_signature_is_told_beside_the_thinking_it_signs() -> None:
    """Anthropic and Gemini want it back with a tool's answer."""
    one = assembled([Reasoning("Hm"), Reasoning("", signature="sig"), Text("Yes"), Done("stop")])
    message = one["choices"][0]["message"]  # type: ignore[index]
    assert (message["reasoning_content"], message["reasoning_signature"]) == ("Hm", "sig")
    several = assembled([Reasoning("a", signature="s1"), Reasoning("b", signature="s2"), Done("stop")])
    assert "reasoning_signature" not in several["choices"][0]["message"]  # type: ignore[index]


def test_assemble_reasoning_and_text_of_one_answer() -> None:
    """A chunk with reasoning and content loses text: litellm #36327."""
    message = assembled([Reasoning("Hm"), Reasoning("m."), Text("Yes"), Done("stop")])["choices"][0]["message"]  # type: ignore[index]
    assert message == {"role": "assistant", "content": "Yes", "reasoning_content": "Hmm."}


def test_assemble_tool_calls() -> None:
    """Tool arguments dropped: litellm #25561."""
    answer = assembled(
        [
            ToolCall(1, "b", "two", "{"),
            ToolCall(0, "a", "one"),
            ToolCall(1, arguments="}"),
            ToolCall(0, arguments="{}"),
            Done("tool_calls"),
        ]
    )
    message = answer["choices"][0]["message"]  # type: ignore[index]
    assert message["content"] is None
    assert message["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"name": "one", "arguments": "{}"}},
        {"id": "b", "type": "function", "function": {"name": "two", "arguments": "{}"}},
    ]


def test_assemble_choices_refusal_logprobs_and_fingerprint() -> None:
    answer = assembled(
        [
            Metadata({"system_fingerprint": "fp"}),
            Text("A", logprobs={"content": [{"token": "A"}], "refusal": None}),
            Text("B", logprobs={"content": [{"token": "B"}]}),
            Text("No", choice=2, refusal=True),
            Done("stop", ["stop", "length"]),
        ],
        choices=2,
    )
    first, second, third = answer["choices"]  # type: ignore[misc]
    assert first["logprobs"] == {"content": [{"token": "A"}, {"token": "B"}]}
    assert (second["message"]["content"], second["finish_reason"]) == ("", "length")
    assert third["message"] == {"role": "assistant", "content": None, "refusal": "No"}
    assert third["finish_reason"] == "stop"
    assert answer["system_fingerprint"] == "fp"
    assert "usage" not in answer


def test_half_a_surrogate_pair_does_not_end_the_viewer() -> None:
    """Providers cut emojis in two, and what cannot be encoded would break off everything that follows."""
    encoder = DIALECT.encoder(EncodeOptions())(View(fold([START])))
    chunk = json.loads(encoder.encode(1, Text("a\ud83d")).decode().partition("data: ")[2])
    assert ChatCompletionChunk.model_validate(chunk).choices[0].delta.content == "a�"

from __future__ import annotations

import pytest

from headwater.errors import ProviderRejected
from headwater.events import Done, Metadata, Reasoning, Text, ToolCall
from headwater.providers.wire.openai_decoder import OpenAIDecoder
from tests.unit.providers.kit import DONE, STOP, delta, sse, whole


def events_of(*chunks: object) -> list[object]:
    """Events without the end."""
    return list(whole(OpenAIDecoder(), sse(*chunks, STOP, DONE))[:-1])


def test_reasoning_and_content_in_one_chunk_lose_nothing() -> None:
    """litellm #36327."""
    chunk = delta(reasoning_content="hm", content="Hi", refusal="no", tool_calls=[{"index": 0, "id": "c"}])
    expected = [Reasoning("hm"), Text("Hi"), Text("no", refusal=True), ToolCall(0, "c")]
    assert events_of(chunk) == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_content": "hm"},
        {"reasoning": "hm"},
        {"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
        {"reasoning_content": "hm", "reasoning": "hm"},
        {"reasoning_content": "", "reasoning": "hm"},
    ],
)
def test_reasoning_by_any_name_is_told_once(fields: dict[str, object]) -> None:
    assert events_of(delta(content=None, **fields)) == [Reasoning("hm")]


def test_reasoning_that_is_no_text_is_passed_over() -> None:
    assert events_of(delta(reasoning={"effort": "high"})) == []


def test_empty_deltas_say_nothing() -> None:
    assert events_of(delta(content=""), delta(role="assistant"), delta(content=None), {"choices": []}) == []
    assert events_of({"choices": [{"index": 0, "delta": None}]}) == []


def test_content_as_parts() -> None:
    """Mistral's magistral models."""
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}, {"type": "other"}]},
        {"type": "thinking", "thinking": "so"},
        {"type": "text", "text": "Hi"},
        {"type": "reference", "reference_ids": [1]},
        "stray",
    ]
    assert events_of(delta(content=parts)) == [Reasoning("hm"), Reasoning("so"), Text("Hi")]


def test_several_choices() -> None:
    both = {"choices": [*delta(content="a")["choices"], *delta(1, content="b")["choices"]]}
    events = whole(OpenAIDecoder(), sse(both, delta(1, finish="length"), STOP, DONE))
    assert events == [Text("a"), Text("b", 1), Done("stop", ["stop", "length"])]


def test_an_index_of_null_or_none_is_the_first_choice() -> None:
    chunk = {"choices": [{"index": None, "delta": {"content": "a"}}, {"delta": {"content": "b"}}]}
    assert events_of(chunk) == [Text("a"), Text("b")]


def test_log_probabilities_go_with_their_text() -> None:
    logprobs = {"content": [{"token": "a", "logprob": -0.1}]}
    assert events_of(delta(content="a", logprobs=logprobs)) == [Text("a", logprobs=logprobs)]
    assert events_of(delta(content="", logprobs=logprobs)) == [Text("", logprobs=logprobs)]
    assert events_of(delta(refusal="a", logprobs=logprobs)) == [Text("a", refusal=True, logprobs=logprobs)]
    assert events_of(delta(content="a", refusal="b", logprobs=logprobs))[1] == Text("b", refusal=True)


def test_log_probabilities_that_are_no_object_are_passed_over() -> None:
    assert events_of(delta(content="a", logprobs=[1])) == [Text("a")]


def test_tool_calls_in_pieces() -> None:
    pieces = [
        {"index": 0, "id": "c0", "type": "function", "function": {"name": "f", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"a"'}},
        {"index": 0, "function": {"arguments": ":1}"}},
        {"index": 1, "id": "c1", "function": {"name": "g", "arguments": "{}"}},
        {"index": 1},
    ]
    assert events_of(*(delta(tool_calls=[piece]) for piece in pieces)) == [
        ToolCall(0, "c0", "f"),
        ToolCall(0, arguments='{"a"'),
        ToolCall(0, arguments=":1}"),
        ToolCall(1, "c1", "g", "{}"),
    ]


def test_arguments_as_an_object() -> None:
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": {"a": [1, "ü"]}}}
    assert events_of(delta(tool_calls=[call])) == [ToolCall(0, "c", "f", '{"a":[1,"ü"]}')]


def test_the_old_function_call() -> None:
    chunks = [delta(function_call={"name": "f", "arguments": ""}), delta(function_call={"arguments": "{}"})]
    events = whole(OpenAIDecoder(), sse(*chunks, delta(finish="function_call"), DONE))
    assert events == [ToolCall(0, "call_0_0", "f"), ToolCall(0, arguments="{}"), Done("tool_calls")]


@pytest.mark.parametrize("reason", ["stop", "length", "tool_calls", "content_filter"])
def test_finish_reasons_by_their_own_name(reason: str) -> None:
    assert whole(OpenAIDecoder(), sse(delta(finish=reason), DONE)) == [Done(reason)]


@pytest.mark.parametrize(("reason", "canonical"), [("function_call", "tool_calls"), ("max_tokens", "length")])
def test_finish_reasons_by_another_name(reason: str, canonical: str) -> None:
    assert whole(OpenAIDecoder(), sse(delta(finish=reason), DONE)) == [Done(canonical)]


def test_an_unknown_finish_reason_is_an_end_and_is_kept() -> None:
    events = whole(OpenAIDecoder(), sse(delta(finish="sunset"), DONE))
    assert events == [Metadata({"finish_reason": "sunset"}), Done("stop")]


def test_the_finish_reason_error_is_an_error() -> None:
    decoder = OpenAIDecoder()
    with pytest.raises(ProviderRejected):
        decoder.feed(sse(delta(content="a", finish="error")))
    assert decoder.pending == [Text("a")]


def test_an_empty_finish_reason_is_none() -> None:
    events = whole(OpenAIDecoder(), sse(delta(content="a", finish=""), delta(content="b", finish="stop"), DONE))
    assert events == [Text("a"), Text("b"), Done("stop")]


def test_text_after_its_finish_reason_is_kept() -> None:
    assert events_of(delta(content="a", finish="stop"), delta(content="b")) == [Text("a"), Text("b")]


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ([{"type": "reasoning.text", "text": "hm"}], [Reasoning("hm")]),
        ([{"type": "reasoning.summary", "summary": "hm"}], [Reasoning("hm")]),
        ([{"type": "reasoning.text", "signature": "s"}], [Reasoning("", signature="openai_chat:s")]),
        ([{"type": "reasoning.encrypted", "data": "x"}, "what?"], []),
        ([], []),
        ("what?", []),
    ],
)
def test_reasoning_that_stands_in_its_details_only(details: object, expected: list[object]) -> None:
    """OpenRouter's form. A signature says whose it is: another provider must not be sent it as its own."""
    chunk = delta(content="Hi", reasoning=None, reasoning_details=details)
    assert events_of(chunk) == [*expected, Text("Hi")]


def test_reasoning_in_both_forms_is_told_once_and_its_signature_kept() -> None:
    details = [{"type": "reasoning.text", "text": "hm", "signature": "s"}]
    assert events_of(delta(reasoning="hm", reasoning_details=details)) == [
        Reasoning("hm"),
        Reasoning("", signature="openai_chat:s"),
    ]


def test_a_signature_of_a_thinking_part() -> None:
    part = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}], "signature": "s"}
    assert events_of(delta(content=[part])) == [Reasoning("hm"), Reasoning("", signature="openai_chat:s")]


@pytest.mark.parametrize(
    ("stop_reason", "facts"),
    [("###", [Metadata({"stop_sequence": "###"})]), (7, [Metadata({"stop_token": 7})]), (None, [])],
)
def test_what_ended_a_choice(stop_reason: object, facts: list[object]) -> None:
    """vLLM."""
    stop = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": stop_reason}]}
    events = whole(OpenAIDecoder(), sse(delta(content="a"), stop, DONE))
    assert events == [Text("a"), *facts, Done("stop")]


@pytest.mark.parametrize(("reason", "status"), [("error", 502), ("abort", 502), ("insufficient_system_resource", 503)])
def test_a_finish_reason_that_is_no_finish(reason: str, status: int) -> None:
    """An answer that was broken off must not look whole: portkey #1797, in another dress. Its text is kept."""
    decoder = OpenAIDecoder()
    with pytest.raises(ProviderRejected) as caught:
        decoder.feed(sse(delta(content="a"), delta(finish=reason, content="b"), DONE))
    assert decoder.pending == [Text("a"), Text("b")]
    assert (caught.value.http_status, caught.value.upstream_code) == (status, reason)
    assert caught.value.retryable


def test_log_probabilities_that_are_a_number_make_no_event() -> None:
    """Together."""
    assert events_of(delta(logprobs=-0.5, content=""), delta(logprobs=-0.5, content="a")) == [Text("a")]

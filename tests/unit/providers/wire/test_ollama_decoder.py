from __future__ import annotations

import json
from typing import Any

import pytest

from headwater.errors import ProviderProtocolError, ProviderRejected, ProviderTruncated
from headwater.events import Done, Metadata, Reasoning, Text, ToolCall, Usage
from headwater.providers.wire import ollama_decoder
from headwater.providers.wire.ollama_decoder import OllamaDecoder
from tests.unit.providers.kit import whole


def lines(*values: Any) -> bytes:
    return b"".join((v if isinstance(v, bytes) else json.dumps(v).encode()) + b"\n" for v in values)


def says(**message: Any) -> dict[str, Any]:
    return {"model": "m", "message": {"role": "assistant", "content": "", **message}, "done": False}


LAST = {"model": "m", "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}


def test_text_thinking_and_the_end() -> None:
    last = {
        **LAST,
        "total_duration": 9,
        "load_duration": 1,
        "prompt_eval_count": 3,
        "eval_count": 2,
        "eval_duration": 0,
    }
    assert whole(OllamaDecoder(), lines(says(thinking="hm"), says(content="Hi"), last)) == [
        Reasoning("hm"),
        Text("Hi"),
        Metadata({"total_duration_ns": 9, "load_duration_ns": 1, "eval_duration_ns": 0, "model": "m"}),
        Usage(3, 2),
        Done("stop"),
    ]


def test_the_answer_without_streaming_is_one_line_without_its_end() -> None:
    last = {**LAST, "message": {"content": "Hi"}}
    assert whole(OllamaDecoder(), lines(last)[:-1])[0] == Text("Hi")


@pytest.mark.parametrize(("told", "usage"), [({"eval_count": 4}, Usage(0, 4)), ({"prompt_eval_count": 4}, Usage(4, 0))])
def test_one_count_is_enough(told: dict[str, int], usage: Usage) -> None:
    assert usage in whole(OllamaDecoder(), lines({**LAST, **told}))


def test_without_counts_there_is_no_usage() -> None:
    assert whole(OllamaDecoder(), lines({"done": True})) == [Done("stop")]


@pytest.mark.parametrize(("reason", "canonical"), [("length", "length"), ("load", "stop")])
def test_done_reasons(reason: str, canonical: str) -> None:
    events = whole(OllamaDecoder(), lines({"done": True, "done_reason": reason}))
    assert events[-1] == Done(canonical)
    assert (Metadata({"finish_reason": reason}) in events) == (reason != canonical)


def test_tool_calls_are_whole_and_numbered() -> None:
    first = says(tool_calls=[{"function": {"name": "f", "arguments": {"a": 1}}}])
    second = says(tool_calls=[{"id": "own", "function": {"index": 0, "name": "g", "arguments": '{"b":2}'}}])
    third = says(tool_calls=[{"function": {"name": "h", "arguments": None}}])
    assert whole(OllamaDecoder(), lines(first, second, third, {"done": True})) == [
        ToolCall(0, "call_0_0", "f", '{"a":1}'),
        ToolCall(1, "own", "g", '{"b":2}'),
        ToolCall(2, "call_0_2", "h", "{}"),
        Done("tool_calls"),
    ]


def test_a_call_cut_by_the_length_is_no_call() -> None:
    call = says(tool_calls=[{"function": {"name": "f"}}])
    assert whole(OllamaDecoder(), lines(call, {"done": True, "done_reason": "length"}))[-1] == Done("length")


def test_log_probabilities() -> None:
    entry = {"token": "Hi", "logprob": -0.1}
    events = whole(OllamaDecoder(), lines({**says(content="Hi"), "logprobs": [entry]}, {"done": True}))
    assert events[0] == Text("Hi", logprobs={"content": [entry]})


def test_empty_lines_are_passed_over() -> None:
    assert whole(OllamaDecoder(), lines(b"", b"\r", says(content="a"), b" ", {"done": True})) == [
        Text("a"),
        Done("stop"),
    ]


def test_errors_in_the_body() -> None:
    decoder = OllamaDecoder(secret="hush")
    with pytest.raises(ProviderRejected) as caught:
        decoder.feed(lines(says(content="a"), {"error": "out of memory, hush"}))
    assert caught.value.message == "out of memory, ***"
    assert decoder.pending == [Text("a")]


@pytest.mark.parametrize(
    "value", [{"hello": 1}, b"{nope", 7, [], {"message": 5}, b"<html>", {"message": {"content": 5}}]
)
def test_what_is_no_line(value: object) -> None:
    with pytest.raises(ProviderProtocolError):
        OllamaDecoder().feed(lines(value))


def test_an_error_of_another_shape() -> None:
    with pytest.raises(ProviderRejected, match="no"):
        OllamaDecoder().feed(lines([{"error": {"message": "no"}}]))


def test_half_characters_are_replaced() -> None:
    line = rb'{"message":{"content":"a\ud83d"}}'
    last = rb'{"model":"\ud83d","done":true}'
    events = whole(OllamaDecoder(), lines(line, last))
    assert events == [Text("a\ufffd"), Metadata({"model": "\ufffd"}), Done("stop")]


def test_a_last_line_with_wrong_types() -> None:
    with pytest.raises(ProviderProtocolError, match="last line"):
        OllamaDecoder().feed(lines({"done": True, "eval_count": "many"}))


@pytest.mark.parametrize("body", [b"", b" ", lines(says(content="a")), lines(says(content="a"))[:-5]])
def test_without_its_last_line_it_is_truncated(body: bytes) -> None:
    """A cut upstream becomes a clean 200: portkey #1797."""
    with pytest.raises(ProviderTruncated):
        whole(OllamaDecoder(), body)


def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ollama_decoder, "_MAX_LINE_BYTES", 10)
    with pytest.raises(ProviderProtocolError, match="longer"):
        OllamaDecoder().feed(b"x" * 11)


def test_bytes_after_the_end_are_passed_over() -> None:
    decoder = OllamaDecoder()
    assert decoder.feed(lines({"done": True}, says(content="a"), b"garbage"))[-1] == Done("stop")
    assert decoder.feed(b"more") == []
    assert decoder.close() == []


def test_lines_arrive_in_any_pieces() -> None:
    body = lines(says(content="a🌊"), says(content="b"), {"done": True})
    decoder = OllamaDecoder()
    events = [event for byte in body for event in decoder.feed(bytes([byte]))]
    assert events == [Text("a🌊"), Text("b"), Done("stop")]

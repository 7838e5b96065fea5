"""Each telling of a text (pieces, part, item, response) is enough alone, and all of them together are not too much."""

from __future__ import annotations

from typing import Any

import pytest

from headwater.errors import ProviderRejected
from headwater.events import Event, JsonObject, Metadata, Reasoning, Text, ToolCall, Usage
from headwater.providers.wire.responses_answer import ResponseAnswer, usage_of

AT: JsonObject = {"item_id": "i", "output_index": 0, "content_index": 0}
LOGPROBS = [{"token": "Hi", "logprob": -0.5}]
PART: JsonObject = {"type": "output_text", "text": "Hi there", "annotations": []}
MESSAGE: JsonObject = {"type": "message", "id": "m", "role": "assistant", "content": [PART]}
THINKING: JsonObject = {
    "type": "reasoning",
    "id": "r",
    "summary": [{"type": "summary_text", "text": "first"}, {"type": "summary_text", "text": "then"}],
}
CALL: JsonObject = {"type": "function_call", "id": "fc", "call_id": "c1", "name": "f", "arguments": '{"a":1}'}
BEGUN: JsonObject = {**CALL, "arguments": ""}
START = ToolCall(0, "c1", "f")
ADDED = "response.output_item.added"
DONE = "response.output_item.done"


def item_of(item: JsonObject, output: int = 0) -> JsonObject:
    return {"output_index": output, "item": item}


def told(answer: ResponseAnswer) -> list[Event]:
    events, answer.events = answer.events, []
    return events


def completed(answer: ResponseAnswer, *output: JsonObject) -> list[Event]:
    answer.event("response.completed", {"response": {"output": list(output)}})
    return told(answer)


class TestText:
    TELLINGS: tuple[tuple[str, JsonObject], ...] = (
        ("response.output_text.done", {**AT, "text": "Hi there"}),
        ("response.content_part.added", {**AT, "part": PART}),
        ("response.content_part.done", {**AT, "part": PART}),
        (DONE, item_of(MESSAGE)),
        ("response.completed", {"response": {"output": [MESSAGE]}}),
    )

    @pytest.mark.parametrize("telling", TELLINGS, ids=lambda telling: str(telling[0]))
    def test_any_telling_alone(self, telling: tuple[str, JsonObject]) -> None:
        """Some servers send no deltas."""
        answer = ResponseAnswer()
        answer.event(*telling)
        assert told(answer) == [Text("Hi there")]

    @pytest.mark.parametrize("pieces", [[], ["Hi"], ["Hi", " there"]])
    def test_all_tellings(self, pieces: list[str]) -> None:
        answer = ResponseAnswer()
        answer.event("response.content_part.added", {**AT, "part": {**PART, "text": ""}})
        for piece in pieces:
            answer.delta(("text", 0, 0), piece)
        for kind, event in self.TELLINGS:
            answer.event(kind, event)
        events = told(answer)
        assert "".join(event.text for event in events if isinstance(event, Text)) == "Hi there"
        assert len(events) == len(pieces) + (pieces != ["Hi", " there"])
        assert answer.reason == "stop"

    def test_log_probabilities(self) -> None:
        answer = ResponseAnswer()
        answer.delta(("text", 0, 0), "Hi", LOGPROBS)
        answer.delta(("text", 0, 0), "!", [])
        answer.event("response.output_text.done", {**AT, "text": "Hi!?", "logprobs": LOGPROBS})
        answer.event("response.output_text.done", {**AT, "output_index": 1, "text": "Hi", "logprobs": LOGPROBS})
        known = {"content": LOGPROBS}
        assert told(answer) == [Text("Hi", logprobs=known), Text("!"), Text("?"), Text("Hi", logprobs=known)]

    def test_refusals(self) -> None:
        refusal = {"type": "refusal", "refusal": "I cannot"}
        answer = ResponseAnswer()
        answer.delta(("refusal", 0, 0), "I")
        answer.event("response.refusal.done", {**AT, "refusal": "I cannot"})
        answer.event(DONE, item_of({**MESSAGE, "content": [refusal]}))
        assert told(answer) == [Text("I", refusal=True), Text(" cannot", refusal=True)]


class TestThinking:
    @pytest.mark.parametrize("kind", [ADDED, DONE])
    def test_parts_are_paragraphs(self, kind: str) -> None:
        answer = ResponseAnswer()
        answer.event(kind, item_of(THINKING))
        assert told(answer) == [Reasoning("first"), Reasoning("\n\nthen")]

    def test_pieces(self) -> None:
        answer = ResponseAnswer()
        for place, piece in [(("summary", 0, 0), "a"), (("summary", 0, 0), "b"), (("summary", 0, 1), "c")]:
            answer.delta(place, piece)
        answer.event("response.reasoning_summary_text.done", {"output_index": 0, "summary_index": 1, "text": "cd"})
        answer.delta(("summary", 1, 0), "e")
        answer.delta(("thinking", 1, 0), "raw")
        answer.event("response.reasoning_text.done", {"output_index": 1, "content_index": 0, "text": "raw!"})
        assert [event.text for event in told(answer) if isinstance(event, Reasoning)] == [
            *("a", "b", "\n\nc", "d", "\n\ne", "raw", "!")
        ]

    def test_raw_thinking_of_an_item(self) -> None:
        answer = ResponseAnswer()
        answer.event(DONE, item_of({"type": "reasoning", "content": [{"type": "reasoning_text", "text": "raw"}]}))
        assert told(answer) == [Reasoning("raw")]


class TestToolCalls:
    """Tool arguments dropped: litellm #25561."""

    def test_in_pieces(self) -> None:
        answer = ResponseAnswer()
        answer.event(ADDED, item_of(BEGUN, 2))
        answer.delta(("arguments", 2, 0), '{"a"')
        answer.delta(("arguments", 2, 0), ":1}")
        answer.event("response.function_call_arguments.done", {"output_index": 2, "arguments": '{"a":1}'})
        answer.event(DONE, item_of(CALL, 2))
        assert told(answer) == [START, ToolCall(0, arguments='{"a"'), ToolCall(0, arguments=":1}")]
        assert completed(answer) == []
        assert answer.reason == "tool_calls"

    def test_the_sealed_thinking_behind_a_call(self) -> None:
        """What the item holds when it is whole; what it begins with may be incomplete."""
        thinking: JsonObject = {"type": "reasoning", "id": "rs", "summary": []}
        answer = ResponseAnswer()
        answer.event(ADDED, item_of({**thinking, "encrypted_content": "half"}))
        answer.event(DONE, item_of({**thinking, "encrypted_content": "whole"}))
        answer.event(ADDED, item_of(BEGUN, 1))
        assert told(answer) == [Reasoning("", signature="openai_responses:rs:whole"), START]
        assert completed(answer, {**thinking, "encrypted_content": "whole"}, CALL) == [ToolCall(0, arguments='{"a":1}')]

    def test_thinking_before_text_alone_is_not_sealed(self) -> None:
        """It would keep an answer of text from being gone on with."""
        answer = ResponseAnswer()
        answer.event(DONE, item_of({"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "x"}))
        assert completed(answer, MESSAGE) == [Text("Hi there")]

    def test_arguments_only_at_the_end_of_the_item(self) -> None:
        for kind, event in (
            ("response.function_call_arguments.done", {"output_index": 0, "arguments": '{"a":1}'}),
            (DONE, item_of(CALL)),
            ("response.completed", {"response": {"output": [CALL]}}),
        ):
            answer = ResponseAnswer()
            answer.event(ADDED, item_of(BEGUN))
            answer.event(kind, event)
            assert told(answer) == [START, ToolCall(0, arguments='{"a":1}')]

    def test_pieces_before_anybody_said_whose(self) -> None:
        answer = ResponseAnswer()
        answer.delta(("arguments", 0, 0), '{"a"')
        assert told(answer) == []
        answer.event(DONE, item_of(CALL))
        assert told(answer) == [START, ToolCall(0, arguments='{"a":1}')]

    def test_a_name_that_comes_late_and_an_id_of_the_item_only(self) -> None:
        answer = ResponseAnswer()
        answer.event(ADDED, item_of({"type": "function_call", "id": "fc"}))
        answer.event(DONE, item_of({"type": "function_call", "id": "fc", "name": "f", "arguments": "{}"}))
        assert told(answer) == [ToolCall(0, "fc"), ToolCall(0, name="f"), ToolCall(0, arguments="{}")]

    def test_several(self) -> None:
        answer = ResponseAnswer()
        events = completed(answer, CALL, MESSAGE, {**CALL, "call_id": "c2"})
        assert [event.index for event in events if isinstance(event, ToolCall)] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    "kind",
    [
        "response.web_search_call.searching",
        "response.file_search_call.completed",
        "response.code_interpreter_call_code.delta",
        "response.mcp_call.failed",
        "response.image_generation_call.partial_image",
        "response.custom_tool_call_input.delta",
        "response.output_text.annotation.added",
        "response.output_audio.delta",
        "response.of_another_year",
    ],
)
def test_other_events_say_nothing(kind: str) -> None:
    answer = ResponseAnswer()
    answer.event(kind, {"output_index": 0, "delta": "x", "text": "y"})
    for item in ({"type": "web_search_call"}, {"type": "custom_tool_call", "input": "x"}, {"type": "mcp_call"}):
        answer.event(DONE, item_of(item))
    answer.event(DONE, item_of({**MESSAGE, "content": [{"type": "of_another_year", "text": "x"}, None]}))
    answer.event(ADDED, {"item": None, "output_index": None})
    assert told(answer) == []


class TestFacts:
    def test_once_and_what_changes(self) -> None:
        answer = ResponseAnswer()
        response = {"id": "resp_1", "model": "m", "service_tier": "auto", "background": False}
        for kind in ("response.created", "response.queued", "response.in_progress"):
            answer.event(kind, {"response": response})
        assert told(answer) == [Metadata({"id": "resp_1", "model": "m", "service_tier": "auto"})]
        answer.event("response.completed", {"response": {**response, "service_tier": "default"}})
        assert told(answer) == [Metadata({"service_tier": "default"})]

    def test_what_finds_a_background_response_again(self) -> None:
        answer = ResponseAnswer()
        answer.event("response.created", {"response": {"id": "resp_1", "background": True}})
        assert told(answer) == [Metadata({"id": "resp_1", "response_id": "resp_1", "background": True})]
        answer.event("response.created", {"response": {"background": True}})
        assert told(answer) == []

    def test_another_response(self) -> None:
        answer = ResponseAnswer()
        for index in (0, 1):
            answer.begin()
            answer.event("response.created", {"response": {"id": "resp_1"}})
            call: JsonObject = {**CALL, "call_id": f"c{index}"}
            assert [*told(answer), *completed(answer, THINKING, call)] == [
                Metadata({"id": "resp_1"}),
                Reasoning("first"),
                Reasoning("\n\nthen"),
                ToolCall(index, f"c{index}", "f"),
                ToolCall(index, arguments='{"a":1}'),
            ]


class TestEnds:
    @pytest.mark.parametrize(
        ("kind", "response", "reason", "facts"),
        [
            ("completed", {}, "stop", []),
            ("cancelled", {}, "cancelled", []),
            ("incomplete", {"incomplete_details": {"reason": "max_output_tokens"}}, "length", []),
            ("incomplete", {"incomplete_details": {"reason": "content_filter"}}, "content_filter", []),
            ("incomplete", {"incomplete_details": None}, "length", []),
            (
                "incomplete",
                {"incomplete_details": {"reason": "steered"}},
                "length",
                [Metadata({"finish_reason": "steered"})],
            ),
        ],
    )
    def test_reasons(self, kind: str, response: JsonObject, reason: str, facts: list[Event]) -> None:
        answer = ResponseAnswer()
        answer.event(f"response.{kind}", {"response": response})
        assert (answer.reason, told(answer)) == (reason, facts)

    @pytest.mark.parametrize(
        ("kind", "error", "status", "retryable"),
        [
            ("response.failed", {"code": "server_error"}, 500, True),
            ("response.failed", {"code": "invalid_prompt"}, 400, False),
            ("response.failed", {"code": None}, 502, True),
            ("error", {"code": "rate_limit_exceeded", "type": "error"}, 429, True),
            ("error", {"error": {"code": "insufficient_quota"}, "type": "error"}, 429, False),
        ],
    )
    def test_failures(self, kind: str, error: JsonObject, status: int, retryable: bool) -> None:
        with pytest.raises(ProviderRejected) as caught:
            ResponseAnswer().event(kind, error if kind == "error" else {"response": {"error": error}})
        code = error.get("code") or ("insufficient_quota" if "error" in error else None)
        told = caught.value
        assert (told.http_status, told.upstream_code, told.retryable) == (status, code, retryable)

    def test_a_failure_without_words(self) -> None:
        with pytest.raises(ProviderRejected, match="without a message"):
            ResponseAnswer().event("response.failed", {"response": {"error": None}})

    def test_a_key_in_the_message(self) -> None:
        with pytest.raises(ProviderRejected) as caught:
            ResponseAnswer(secret="hush").event("error", {"message": "hush is no key"})
        assert "hush" not in caught.value.message

    def test_what_a_failed_response_held_is_told_first(self) -> None:
        answer = ResponseAnswer()
        with pytest.raises(ProviderRejected):
            answer.event("response.failed", {"response": {"output": [MESSAGE], "error": {"message": "m"}}})
        assert told(answer) == [Text("Hi there")]


class TestHalves:
    r"""A tokenizer cuts a character's surrogate pair in two, one half into each of two deltas."""

    def test_are_joined(self) -> None:
        answer = ResponseAnswer()
        answer.strict = False
        answer.delta(("text", 0, 0), "a\ud83d")
        answer.delta(("text", 0, 0), "\ude00")
        answer.event("response.output_text.done", {**AT, "text": "a\U0001f600"})
        assert told(answer) == [Text("a"), Text("\U0001f600")]

    def test_without_the_other_half(self) -> None:
        answer = ResponseAnswer()
        answer.strict = False
        answer.delta(("text", 0, 0), "\ud83d")
        assert told(answer) == []
        assert completed(answer) == [Text("\ufffd")]

    def test_the_whole_text_settles_it(self) -> None:
        answer = ResponseAnswer()
        answer.strict = False
        answer.delta(("text", 0, 0), "a\ud83d")
        answer.event("response.output_text.done", {**AT, "text": "a\ufffd"})
        assert [*told(answer), *completed(answer)] == [Text("a"), Text("\ufffd")]


class TestFromTheMiddle:
    """What `earlier` holds is not told again, whatever tells it."""

    def test_a_part_that_had_begun(self) -> None:
        answer = ResponseAnswer(earlier="Hi")
        answer.delta(("text", 0, 0), " there")
        for kind, event in TestText.TELLINGS:
            answer.event(kind, event)
        assert told(answer) == [Text(" there")]

    def test_a_part_that_had_ended(self) -> None:
        answer = ResponseAnswer(earlier="Hi there")
        for kind, event in TestText.TELLINGS[2:]:
            answer.event(kind, event)
        assert told(answer) == []

    def test_a_part_of_which_nothing_was_told(self) -> None:
        answer = ResponseAnswer(earlier="Once")
        answer.event(*TestText.TELLINGS[0])
        assert told(answer) == [Text("Hi there")]

    def test_items_and_parts_that_begin_now(self) -> None:
        answer = ResponseAnswer(earlier="Hi there")
        answer.event("response.content_part.added", {**AT, "content_index": 1, "part": {**PART, "text": ""}})
        answer.delta(("text", 0, 1), "Hi")
        answer.event("response.output_text.done", {**AT, "content_index": 1, "text": "Hi there"})
        answer.event(ADDED, item_of({**MESSAGE, "content": []}, 1))
        answer.delta(("text", 1, 0), "Hi")
        answer.event(DONE, item_of(MESSAGE, 1))
        answer.event(ADDED, item_of({**MESSAGE, "content": []}, 2))
        answer.event(DONE, item_of(MESSAGE, 2))
        assert [event.text for event in told(answer) if isinstance(event, Text)] == [
            *("Hi", " there", "Hi", " there", "Hi there")
        ]


class TestSkip:
    def test_exactly_what_the_stream_holds(self) -> None:
        answer = ResponseAnswer(skip=4)
        for piece in ("Hi", " there", "!"):
            answer.delta(("text", 0, 0), piece, LOGPROBS)
        events = told(answer)
        assert events == [Text("here"), Text("!", logprobs={"content": LOGPROBS})]
        assert answer.skip == 0
        assert completed(answer, {**MESSAGE, "content": [{**PART, "text": "Hi there!"}]}) == []

    def test_not_of_refusals_and_thinking(self) -> None:
        answer = ResponseAnswer(skip=4)
        answer.delta(("refusal", 0, 0), "no")
        answer.delta(("summary", 0, 0), "hm")
        assert told(answer) == [Text("no", refusal=True), Reasoning("hm")]


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, None),
        ({}, None),
        ({"input_tokens": None, "output_tokens": -1}, None),
        ({"output_tokens": 2}, Usage(0, 2, details={"output_tokens": 2})),
        ({"input_tokens": 3, "output_tokens_details": None}, Usage(3, 0, details={"input_tokens": 3})),
    ],
)
def test_usage(usage: Any, expected: Usage | None) -> None:
    assert usage_of(usage) == expected


def test_usage_in_full() -> None:
    told = {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens": 8,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 17,
    }
    assert usage_of(told) == Usage(9, 8, reasoning_tokens=5, cached_tokens=4, details=told)

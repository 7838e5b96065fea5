from __future__ import annotations

import json
from typing import Any

import pytest

from headwater.errors import ProviderProtocolError, ProviderRejected, ProviderTruncated
from headwater.events import Done, Metadata, Reasoning, Text, ToolCall, Usage
from headwater.providers.wire.anthropic_decoder import AnthropicDecoder
from tests.unit.providers.kit import sse, whole


def body(*events: Any) -> bytes:
    """Named SSE events, as the API sends them."""
    return b"".join(b"event: %b\n" % str(event.get("type")).encode() + sse(event) for event in events)


def start(**message: Any) -> dict[str, Any]:
    return {"type": "message_start", "message": {"type": "message", "role": "assistant", "content": [], **message}}


def block(index: int, /, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def piece(index: int, /, **delta: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def text(value: str, index: int = 0) -> dict[str, Any]:
    return piece(index, type="text_delta", text=value)


def json_piece(index: int, value: str) -> dict[str, Any]:
    return piece(index, type="input_json_delta", partial_json=value)


def end(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def stop(reason: str | None = "end_turn", /, usage: Any = None, **fields: Any) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason, **fields}, "usage": usage}


STOP = {"type": "message_stop"}
PING = {"type": "ping"}
TEXT_BLOCK = block(0, type="text", text="")


def test_a_whole_answer() -> None:
    usage = {"input_tokens": 10, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 3, "output_tokens": 1}
    events = whole(
        AnthropicDecoder(),
        body(
            start(id="msg_1", model="claude", usage=usage),
            PING,
            TEXT_BLOCK,
            text("Hel"),
            PING,
            text(""),
            text("lo"),
            end(0),
            stop("end_turn", {"output_tokens": 7, "output_tokens_details": {"thinking_tokens": 2}}),
            STOP,
        ),
    )
    details = {**usage, "output_tokens": 7, "output_tokens_details": {"thinking_tokens": 2}}
    assert events == [
        Metadata({"id": "msg_1", "model": "claude"}),
        Text("Hel"),
        Text("lo"),
        Usage(17, 7, reasoning_tokens=2, cached_tokens=4, details=details),
        Done("stop"),
    ]


def test_events_come_with_the_bytes_that_complete_them() -> None:
    decoder = AnthropicDecoder()
    frame = body(text("Hel"))
    assert decoder.feed(frame[:-1]) == []
    assert decoder.feed(frame[-1:]) == [Text("Hel")]
    assert decoder.feed(body(PING)) == []
    assert decoder.feed(body(stop(), STOP)) == [Done("stop")]


def test_thinking_and_its_signature() -> None:
    events = whole(
        AnthropicDecoder(),
        body(
            block(0, type="thinking", thinking="", signature=""),
            piece(0, type="thinking_delta", thinking="hm"),
            piece(0, type="thinking_delta", thinking=""),
            piece(0, type="signature_delta", signature="sig"),
            end(0),
            block(1, type="redacted_thinking", data="opaque"),
            end(1),
            block(2, type="text", text="A"),
            text("B", 2),
            stop(),
            STOP,
        ),
    )
    assert events[:-1] == [Reasoning("hm"), Reasoning("", signature="sig"), Text("A"), Text("B")]


def test_thinking_that_comes_with_the_start_of_its_block() -> None:
    starts = block(0, type="thinking", thinking="hm", signature="s"), block(1, type="thinking", signature="t")
    assert whole(AnthropicDecoder(), body(*starts, stop(), STOP))[:-1] == [
        Reasoning("hm", signature="s"),
        Reasoning("", signature="t"),
    ]


def test_thinking_inside_a_text_block() -> None:
    """litellm #32357: a delta is what its own type says, whatever its block was said to be."""
    deltas = piece(0, type="thinking_delta", thinking="hm"), text("so"), piece(0, type="signature_delta", signature="s")
    events = whole(AnthropicDecoder(), body(TEXT_BLOCK, *deltas, end(0), stop(), STOP))
    assert events[:-1] == [Reasoning("hm"), Text("so"), Reasoning("", signature="s")]


class TestToolCalls:
    def test_arguments_come_in_pieces(self) -> None:
        events = whole(
            AnthropicDecoder(),
            body(
                TEXT_BLOCK,
                text("I look."),
                end(0),
                block(1, type="tool_use", id="t1", name="f", input={}),
                json_piece(1, ""),
                json_piece(1, '{"a":'),
                json_piece(1, "1}"),
                end(1),
                block(2, type="tool_use", id="t2", name="g", input={}),
                json_piece(2, ""),
                end(2),
                stop("tool_use"),
                STOP,
            ),
        )
        assert events == [
            Text("I look."),
            ToolCall(0, "t1", "f"),
            ToolCall(0, arguments='{"a":'),
            ToolCall(0, arguments="1}"),
            ToolCall(1, "t2", "g"),
            ToolCall(1, arguments="{}"),
            Done("tool_calls"),
        ]

    @pytest.mark.parametrize("ends", [[end(0)], []])
    def test_without_a_piece_the_arguments_are_those_of_the_start(self, ends: list[dict[str, Any]]) -> None:
        """litellm #25561: arguments dropped. They are told once, also where the block never ends."""
        given = block(0, type="tool_use", id="t", name="f", input={"a": [1]})
        assert whole(AnthropicDecoder(), body(given, *ends, *ends, stop("tool_use"), STOP))[:-1] == [
            ToolCall(0, "t", "f"),
            ToolCall(0, arguments='{"a":[1]}'),
        ]

    def test_pieces_replace_the_arguments_of_the_start(self) -> None:
        given = block(0, type="tool_use", id="t", name="f", input={"a": 1})
        events = whole(AnthropicDecoder(), body(given, json_piece(0, '{"a":1}'), end(0), stop("tool_use"), STOP))
        assert events[1:-1] == [ToolCall(0, arguments='{"a":1}')]

    def test_pieces_under_another_number_belong_to_the_latest_call(self) -> None:
        """litellm #25561: a server that counts pieces otherwise than blocks loses no arguments."""
        given = block(1, type="tool_use", id="t", name="f", input=None)
        events = whole(AnthropicDecoder(), body(TEXT_BLOCK, given, json_piece(7, '{"a":1}'), stop("tool_use"), STOP))
        assert events[:-1] == [ToolCall(0, "t", "f"), ToolCall(0, arguments='{"a":1}')]

    def test_pieces_of_nothing_are_a_fault(self) -> None:
        with pytest.raises(ProviderProtocolError, match="never began"):
            AnthropicDecoder().feed(body(json_piece(0, "{}")))

    def test_without_id_name_and_input(self) -> None:
        events = whole(AnthropicDecoder(), body(block(0, type="tool_use"), end(0), stop("tool_use"), STOP))
        assert events[:-1] == [ToolCall(0, "call_0_0"), ToolCall(0, arguments="{}")]


def test_what_the_provider_runs_itself_is_passed_over_in_order() -> None:
    citation = {"type": "web_search_result_location", "url": "https://x", "cited_text": "x"}
    events = whole(
        AnthropicDecoder(),
        body(
            TEXT_BLOCK,
            text("I search."),
            end(0),
            block(1, type="server_tool_use", id="s", name="web_search", input={}),
            json_piece(1, '{"query":"x"}'),
            end(1),
            block(2, type="web_search_tool_result", tool_use_id="s", content=[{"type": "web_search_result"}]),
            end(2),
            block(3, type="text", text="", citations=[]),
            piece(3, type="citations_delta", citation=citation),
            text("Found.", 3),
            end(3),
            block(4, type="tool_use", id="t", name="f", input={}),
            end(4),
            stop("pause_turn"),
            STOP,
        ),
    )
    assert events == [
        Text("I search."),
        Text("Found."),
        ToolCall(0, "t", "f"),
        ToolCall(0, arguments="{}"),
        Metadata({"finish_reason": "pause_turn"}),
        Done("stop"),
    ]


def test_unknown_events_and_fields_are_passed_over() -> None:
    """The API's versioning policy: there may be more events and more fields at any time."""
    new = {"type": "weather_report", "message": "sunny", "code": 7}, piece(0, type="video_delta", video="x")
    events = whole(AnthropicDecoder(), body(start(future=1), *new, {**text("a"), "padding": "xx"}, stop(), STOP))
    assert events == [Text("a"), Done("stop")]


@pytest.mark.parametrize(
    ("reason", "canonical"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
    ],
)
def test_stop_reasons(reason: str, canonical: str) -> None:
    assert whole(AnthropicDecoder(), body(stop(reason), STOP)) == [Done(canonical)]  # type: ignore[arg-type]


def test_what_done_cannot_say_is_told_before_it() -> None:
    details = {"type": "refusal", "category": "cyber"}
    assert whole(AnthropicDecoder(), body(stop("refusal", stop_details=details), STOP))[0] == Metadata(
        {"stop_details": details}
    )
    assert whole(AnthropicDecoder(), body(stop("stop_sequence", stop_sequence="END"), STOP))[0] == Metadata(
        {"stop_sequence": "END"}
    )
    assert whole(AnthropicDecoder(), body(stop("eclipse"), STOP)) == [
        Metadata({"finish_reason": "eclipse"}),
        Done("stop"),
    ]


def test_the_reason_stands_when_a_later_event_names_none() -> None:
    assert whole(AnthropicDecoder(), body(stop("max_tokens"), stop(None), STOP)) == [Done("length")]


class TestUsage:
    def test_counts_are_cumulative_and_a_zero_takes_none_back(self) -> None:
        first = start(usage={"input_tokens": 10, "output_tokens": 1, "service_tier": None})
        events = whole(
            AnthropicDecoder(),
            body(
                first,
                stop(None, {"output_tokens": 5, "input_tokens": None}),
                stop("end_turn", {"output_tokens": 9, "input_tokens": 0}),
                STOP,
            ),
        )
        assert events == [Usage(10, 9, details={"input_tokens": 10, "output_tokens": 9}), Done("stop")]

    @pytest.mark.parametrize("usage", [None, {}, {"output_tokens": "many"}, {"server_tool_use": {}}])
    def test_without_counts_none_is_told(self, usage: Any) -> None:
        assert whole(AnthropicDecoder(), body(start(usage=None), stop("end_turn", usage), STOP)) == [Done("stop")]

    def test_one_count_is_enough(self) -> None:
        assert whole(AnthropicDecoder(), body(stop("end_turn", {"output_tokens": 3}), STOP))[0] == Usage(
            0, 3, details={"output_tokens": 3}
        )
        assert whole(AnthropicDecoder(), body(stop("end_turn", {"input_tokens": 3}), STOP))[0] == Usage(
            3, 0, details={"input_tokens": 3}
        )


OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req"}


class TestErrors:
    @pytest.mark.parametrize("before", [[], [start(id="m")], [start(id="m"), PING, TEXT_BLOCK]])
    def test_before_any_content(self, before: list[Any]) -> None:
        """A lifecycle event must not commit the stream: bifrost #5395."""
        decoder = AnthropicDecoder()
        with pytest.raises(ProviderRejected, match="Overloaded") as caught:
            decoder.feed(body(*before, OVERLOADED))
        assert (caught.value.http_status, caught.value.retryable) == (503, True)
        assert caught.value.upstream_code == "overloaded_error"
        assert decoder.pending == ([Metadata({"id": "m"})] if before else [])

    def test_after_content_keep_it(self) -> None:
        decoder = AnthropicDecoder()
        with pytest.raises(ProviderRejected):
            decoder.feed(body(text("kept"), OVERLOADED, text("never")))
        assert decoder.pending == [Text("kept")]

    @pytest.mark.parametrize(
        ("kind", "status", "retryable"),
        [
            ("invalid_request_error", 400, False),
            ("billing_error", 402, False),
            ("rate_limit_error", 429, True),
            ("api_error", 500, True),
            ("timeout_error", 504, True),
        ],
    )
    def test_have_the_status_of_their_type(self, kind: str, status: int, retryable: bool) -> None:
        with pytest.raises(ProviderRejected) as caught:
            AnthropicDecoder().feed(body({"type": "error", "error": {"type": kind, "message": "m"}}))
        assert (caught.value.http_status, caught.value.retryable) == (status, retryable)

    @pytest.mark.parametrize(
        "value",
        [
            {"error": {"message": "down"}},
            {"detail": "down"},
            [{"error": "down"}],
            {"type": "ServerError", "message": "down"},
        ],
    )
    def test_of_gateways_in_between(self, value: object) -> None:
        with pytest.raises(ProviderRejected, match="down"):
            AnthropicDecoder().feed(sse(value))

    def test_do_not_repeat_the_key(self) -> None:
        with pytest.raises(ProviderRejected) as caught:
            AnthropicDecoder(secret="hush-hush").feed(
                sse({"type": "error", "error": {"message": "hush-hush is wrong"}})
            )
        assert "hush" not in str(caught.value)


class TestNoSuccess:
    @pytest.mark.parametrize(
        "events",
        [[], [start(id="m")], [text("a")], [text("a"), end(0)], [text("a"), stop(None)], [text("a"), STOP], [STOP]],
    )
    def test_without_a_stop_reason_it_is_truncated(self, events: list[Any]) -> None:
        """A cut upstream becomes a clean 200: portkey #1797. A dead one says that all is well: bifrost #5546."""
        with pytest.raises(ProviderTruncated):
            whole(AnthropicDecoder(), body(*events))

    def test_after_the_stop_reason_the_end_mark_may_be_missing(self) -> None:
        assert whole(AnthropicDecoder(), body(text("a"), stop("max_tokens")))[-1] == Done("length")

    @pytest.mark.parametrize(
        "payload",
        [
            {"hello": 1}, {}, 7, [], "text", b"{", b"[" * 100_000, {"type": 5},
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": 5}},
            {"type": "content_block_delta"},
        ],
    )  # fmt: skip
    def test_what_is_no_event(self, payload: object) -> None:
        decoder = AnthropicDecoder()
        with pytest.raises(ProviderProtocolError):
            decoder.feed(body(text("kept")) + sse(payload))
        assert decoder.pending == [Text("kept")]

    def test_a_web_page(self) -> None:
        with pytest.raises(ProviderProtocolError, match="web page"):
            AnthropicDecoder().feed(b"<!DOCTYPE html>")

    def test_a_frame_without_end(self) -> None:
        with pytest.raises(ProviderProtocolError, match="too much"):
            AnthropicDecoder().feed(b"data: " + b"x" * (9 * 2**20))


def test_bytes_after_the_end_are_passed_over() -> None:
    decoder = AnthropicDecoder()
    assert decoder.feed(body(text("a"), stop(), STOP, text("b")))[-1] == Done("stop")
    assert decoder.feed(sse(b"garbage")) == []
    assert decoder.close() == []


def test_empty_payloads_are_passed_over() -> None:
    assert whole(AnthropicDecoder(), b"data:\n\ndata:  \n\n" + body(text("a"), stop(), STOP))[0] == Text("a")


def test_json_that_is_only_nearly_json_is_understood() -> None:
    lone = rb'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a\ud83d"}}'
    nan = b'{"type":"ping","load":NaN}'
    assert whole(AnthropicDecoder(), sse(lone, nan) + body(stop(), STOP)) == [Text("a\ufffd"), Done("stop")]


class TestWholeObject:
    """A server that answers with a `message` although a stream was asked for."""

    ANSWER = {  # noqa: RUF012 - never changed
        "id": "msg_1",
        "type": "message",
        "model": "claude",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "text", "text": "Hello"},
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": 1}},
            {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
        ],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 1, "output_tokens": 2},
    }

    def test_becomes_a_stream(self) -> None:
        raw = json.dumps(self.ANSWER, indent=1).encode()
        for chunks in ([raw], [b"\xef\xbb\xbf \n", raw, b"\n"], [raw[at : at + 1] for at in range(len(raw))]):
            decoder = AnthropicDecoder()
            assert [event for chunk in chunks for event in decoder.feed(chunk)] == []
            assert decoder.close() == [
                Metadata({"id": "msg_1", "model": "claude"}),
                Reasoning("hm", signature="s"),
                Text("Hello"),
                ToolCall(0, "t", "f"),
                ToolCall(0, arguments='{"a":1}'),
                Usage(1, 2, details={"input_tokens": 1, "output_tokens": 2}),
                Done("tool_calls"),
            ]

    def test_cut_is_truncated(self) -> None:
        raw = json.dumps(self.ANSWER).encode()
        for cut in range(1, len(raw)):
            with pytest.raises(ProviderTruncated):
                whole(AnthropicDecoder(), raw[:cut])

    def test_that_is_an_error(self) -> None:
        for value in (OVERLOADED, {"error": "Overloaded"}):
            with pytest.raises(ProviderRejected, match="Overloaded"):
                whole(AnthropicDecoder(), json.dumps(value).encode())

    @pytest.mark.parametrize("value", [{"hello": 1}, [1], {"type": "message", "content": 5}, {"type": "list"}, PING])
    def test_that_is_something_else(self, value: object) -> None:
        with pytest.raises(ProviderProtocolError):
            whole(AnthropicDecoder(), json.dumps(value).encode())

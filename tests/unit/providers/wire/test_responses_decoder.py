from __future__ import annotations

import json
from typing import Any

import pytest

from headwater.errors import ProviderProtocolError, ProviderRejected, ProviderTruncated
from headwater.events import Done, JsonObject, Metadata, Reasoning, Text, ToolCall, Usage
from headwater.providers.ports import Held, Positioned
from headwater.providers.wire.responses_decoder import ResponsesDecoder
from tests.unit.providers.kit import sse, whole

RESPONSE: JsonObject = {"id": "resp_1", "object": "response", "model": "m", "status": "in_progress", "output": []}
USAGE: JsonObject = {"input_tokens": 3, "output_tokens": 2}
MESSAGE = {"type": "message", "content": [{"type": "output_text", "text": "Hi there"}]}
COMPLETE: JsonObject = {**RESPONSE, "status": "completed", "output": [MESSAGE], "usage": USAGE}
FACTS: JsonObject = {"id": "resp_1", "model": "m"}
SETTLED = [Usage(3, 2, details={**USAGE}), Done("stop")]


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", "output_index": 0, "content_index": 0, "item_id": "i", **fields}


def numbered(*events: dict[str, Any]) -> bytes:
    frames = [{**each, "sequence_number": number} for number, each in enumerate(events)]
    return b"".join(b"event: %b\ndata: %b\n\n" % (f["type"].encode(), json.dumps(f).encode()) for f in frames)


def text(delta: Any, **fields: Any) -> dict[str, Any]:
    return event("output_text.delta", delta=delta, **{"logprobs": [], "obfuscation": "x1", **fields})


CREATED = event("created", response=RESPONSE)
COMPLETED = event("completed", response=COMPLETE)
ANSWER = [CREATED, event("in_progress", response=RESPONSE), text("Hi"), text(" there"), COMPLETED]


def test_a_stream() -> None:
    decoder = ResponsesDecoder()
    assert isinstance(decoder, Positioned)
    assert decoder.position is None
    assert whole(decoder, numbered(*ANSWER)) == [Metadata(FACTS), Text("Hi"), Text(" there"), *SETTLED]
    assert decoder.position == 4
    assert decoder.feed(numbered(*ANSWER)) == decoder.close() == decoder.pending == []


def test_usage_is_left_out_where_none_is_told() -> None:
    assert ResponsesDecoder().feed(sse(event("completed", response={}))) == [Done("stop")]


def test_pieces_of_every_kind() -> None:
    body = numbered(
        event("reasoning_summary_text.delta", delta="a", summary_index=0),
        event("reasoning_summary_text.delta", delta="b", summary_index=1),
        event("reasoning_text.delta", delta="c"),
        event("refusal.delta", delta="d"),
        event("output_item.added", item={"type": "function_call", "call_id": "c1", "name": "f"}, output_index=1),
        event("function_call_arguments.delta", delta="{}", output_index=1),
        text("e", logprobs=[{"token": "e"}]),
    )
    assert ResponsesDecoder().feed(body) == [
        *(Reasoning("a"), Reasoning("\n\nb"), Reasoning("c")),
        Text("d", refusal=True),
        *(ToolCall(0, "c1", "f"), ToolCall(0, arguments="{}")),
        Text("e", logprobs={"content": [{"token": "e"}]}),
    ]


@pytest.mark.parametrize(
    "stranger",
    [
        event("shell_call_output_content.delta", delta={"stdout": "x"}),
        event("output_text.delta", delta=None),
        event("of_another_year", response=7, item=7, output_index="x"),
        {"type": "keepalive", "sequence_number": 3},
        b"",
        b"  ",
    ],
)
def test_unknown_events_are_passed_over(stranger: Any) -> None:
    events = ResponsesDecoder().feed(sse(ANSWER[2], stranger, ANSWER[3], COMPLETED))
    assert events == [Text("Hi"), Text(" there"), *SETTLED]


def test_numbers_are_told_where_there_are_any() -> None:
    decoder = ResponsesDecoder()
    decoder.feed(sse({**text("a"), "sequence_number": 7}, text("b"), event("queued", sequence_number="x")))
    assert decoder.position == 7


@pytest.mark.parametrize("mark", [b"", b"data: [DONE]\n\n"])
def test_an_answer_without_its_end_is_truncated(mark: bytes) -> None:
    """A dead upstream becomes `[DONE]`: bifrost #5546."""
    decoder = ResponsesDecoder()
    with pytest.raises(ProviderTruncated):
        whole(decoder, numbered(*ANSWER[:3]) + mark)
    assert decoder.position == 2


def test_an_error_keeps_what_came_before() -> None:
    """An error event after a lifecycle event: bifrost #5395."""
    decoder = ResponsesDecoder(secret="hush")
    failed = event("failed", response={"error": {"code": "rate_limit_exceeded", "message": "hush"}})
    with pytest.raises(ProviderRejected) as caught:
        decoder.feed(numbered(*ANSWER[:3], failed))
    assert (caught.value.http_status, caught.value.message) == (429, "***")
    assert decoder.pending == [Metadata(FACTS), Text("Hi")]
    assert decoder.position == 2


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        ({"error": {"message": "m", "code": "server_error"}}, ProviderRejected),
        ({"type": "invalid_request_error", "message": "m"}, ProviderRejected),
        ({"hello": 1}, ProviderProtocolError),
        ([1], ProviderProtocolError),
        (b"7", ProviderProtocolError),
        (b"{cut", ProviderProtocolError),
        (b"x" * (8 * 2**20 + 1), ProviderProtocolError),
    ],
)
def test_what_is_no_event(payload: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        ResponsesDecoder().feed(sse(payload))


class TestAsServersReallySendIt:
    def test_not_a_number(self) -> None:
        body = b'data: {"type":"response.output_text.delta","delta":"a","logprobs":[{"logprob":-Infinity}]}\n\n'
        assert ResponsesDecoder().feed(body)[0] == Text("a", logprobs={"content": [{"logprob": float("-inf")}]})

    def test_half_characters(self) -> None:
        delta = b'data: {"type":"response.output_text.delta","output_index":%b,"delta":"%b"}\n\n'
        done = b'data: {"type":"response.output_text.done","output_index":1,"text":"\\ud83d\\ude00!"}\n\n'
        decoder = ResponsesDecoder()
        assert decoder.feed(delta % (b"1", b"\\ud83d")) == []
        assert decoder.feed(delta % (b"1", b"\\ude00")) == [Text("\U0001f600")]
        assert decoder.feed(delta % (b'"x"', b"?")) == [Text("?")]
        assert decoder.feed(done) == [Text("!")]

    @pytest.mark.parametrize("half", [b"\\ud83d", b"\xff"])
    def test_damage_in_a_field_that_only_the_whole_event_has(self, half: bytes) -> None:
        body = b'data: {"type":"response.output_text.done","text":"a%b"}\n\n' % half
        assert ResponsesDecoder().feed(body) == [Text("a\ufffd")]


class TestWhole:
    def test_a_response_object(self) -> None:
        body = json.dumps(COMPLETE).encode()
        decoder = ResponsesDecoder()
        fed, closed = decoder.feed(body), decoder.close()
        assert (fed, closed) == ([], [Metadata(FACTS), Text("Hi there"), *SETTLED])
        assert decoder.close() == []

    @pytest.mark.parametrize(
        ("body", "error"),
        [
            ({**RESPONSE, "status": "queued"}, ProviderTruncated),
            ({**RESPONSE, "status": "of_another_year"}, ProviderProtocolError),
            ({**RESPONSE, "status": None}, ProviderProtocolError),
            ({**RESPONSE, "status": "failed", "error": {"code": "server_error", "message": "m"}}, ProviderRejected),
            ({"error": {"message": "m"}}, ProviderRejected),
            ({"hello": 1}, ProviderProtocolError),
            ([1], ProviderProtocolError),
            (b'{"object": "resp', ProviderTruncated),
        ],
    )
    def test_others(self, body: Any, error: type[Exception]) -> None:
        decoder = ResponsesDecoder()
        assert decoder.feed(body if isinstance(body, bytes) else json.dumps(body).encode()) == []
        with pytest.raises(error):
            decoder.close()

    def test_facts_of_one_still_under_way(self) -> None:
        decoder = ResponsesDecoder()
        decoder.feed(json.dumps(RESPONSE).encode())
        with pytest.raises(ProviderTruncated):
            decoder.close()
        assert decoder.pending == [Metadata(FACTS)]


CALL: JsonObject = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
CALLED = [
    CREATED,
    event("output_item.added", item={**CALL, "arguments": ""}),
    event("function_call_arguments.delta", delta="{"),
    event("function_call_arguments.delta", delta="}"),
    event("output_item.done", item=CALL),
    event("output_item.added", item={**CALL, "call_id": "c2"}, output_index=1),
    event("completed", response={**COMPLETE, "output": [CALL, {**CALL, "call_id": "c2"}]}),
]


class TestReattached:
    """No text twice, none lost: litellm #26762; vercel/ai #14688."""

    def test_from_the_event_after_the_last(self) -> None:
        decoder = ResponsesDecoder(held=Held("Hi", FACTS, 2))
        assert decoder.position == 2
        rest = b"".join(frame + b"\n\n" for frame in numbered(*ANSWER).split(b"\n\n")[3:-1])
        assert decoder.feed(rest) == [Text(" there"), *SETTLED]
        assert decoder.position == 4

    def test_after_a_crash_without_the_text_that_the_stream_holds(self) -> None:
        decoder = ResponsesDecoder(held=Held("Hi th", FACTS))
        frames = [frame + b"\n\n" for frame in numbered(*ANSWER).split(b"\n\n")[:-1]]
        assert decoder.feed(b"".join(frames[:3])) == []
        assert decoder.position is None  # another break here must not be taken for one behind the text
        assert decoder.feed(frames[3]) == [Text("ere")]
        assert decoder.position == 3
        assert decoder.feed(frames[4]) == SETTLED

    def test_in_silence_up_to_the_position_where_parts_need_their_beginning(self) -> None:
        decoder = ResponsesDecoder(held=Held("", FACTS, 2, resumable=False))
        frames = [frame + b"\n\n" for frame in numbered(*CALLED).split(b"\n\n")[:-1]]
        assert decoder.feed(b"".join(frames[:2])) == []
        assert decoder.position == 2  # a break here is still one behind the second event
        assert decoder.feed(b"".join(frames[2:])) == [
            ToolCall(0, arguments="}"),
            ToolCall(1, "c2", "f"),
            ToolCall(1, arguments="{}"),
            SETTLED[0],
            Done("tool_calls"),
        ]

    def test_the_end_is_never_silent(self) -> None:
        decoder = ResponsesDecoder(held=Held("", FACTS, 99, resumable=False))
        assert decoder.feed(numbered(*CALLED)) == [SETTLED[0], Done("tool_calls")]

    @pytest.mark.parametrize("position", [None, 2])
    def test_a_whole_response(self, position: int | None) -> None:
        decoder = ResponsesDecoder(held=Held("Hi", FACTS, position))
        assert whole(decoder, json.dumps(COMPLETE).encode()) == [Text(" there"), *SETTLED]

    def test_a_whole_response_that_cannot_be_compared(self) -> None:
        decoder = ResponsesDecoder(held=Held("Hi", FACTS, 2, resumable=False))
        with pytest.raises(ProviderProtocolError, match="rest of a stream"):
            whole(decoder, json.dumps(COMPLETE).encode())

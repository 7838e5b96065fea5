"""Reference 001: bodies and queries in, `content`, `done` and `error` out, as the hook `useAIStream` reads them."""

from __future__ import annotations

import json

import pytest

from headwater.dialects import DIALECTS, EncodeOptions
from headwater.dialects.ai_chat import AiChatBody, AiChatMessage, decode_body, decode_query, understood
from headwater.errors import InputError
from headwater.events import Done, Error, Event, Metadata, Reasoning, Source, Sources, Status, Text, ToolCall, Usage
from tests.conformance.dialects.cells import CELLS, START, encode

DIALECT = DIALECTS["ai_chat"]
# The request that the reference documents.
DOCUMENTED = {
    "message": "Hello, AI!",
    "history": [
        {"role": "user", "content": "Previous message"},
        {"role": "assistant", "content": "Previous response"},
    ],
    "sessionId": "session-123",
    "workspaceId": "workspace-123",
    "projectId": "project-123",
    "currentOrganizationId": "org-123",
}


def body(**fields: object) -> bytes:
    return json.dumps({"message": "Hi"} | fields).encode()


def payloads(*events: Event) -> list[dict[str, object]]:
    frames = encode("ai_chat", events).decode().split("\n\n")[:-1]
    return [json.loads(frame.partition("data: ")[2]) for frame in frames]


def test_the_documented_body() -> None:
    asked = decode_body(json.dumps(DOCUMENTED).encode())
    assert asked == AiChatBody(
        message="Hello, AI!",
        history=[AiChatMessage("user", "Previous message"), AiChatMessage("assistant", "Previous response")],
        session_id="session-123",
        workspace_id="workspace-123",
        project_id="project-123",
        current_organization_id="org-123",
    )
    decoded = DIALECT.decode(json.dumps(DOCUMENTED).encode())
    assert decoded == understood(asked)
    assert decoded.request.messages == [*DOCUMENTED["history"], {"role": "user", "content": "Hello, AI!"}]  # type: ignore[misc]
    assert (decoded.request.model, decoded.request.params) == ("", {})
    assert (decoded.stream, decoded.dialect, decoded.options) == (True, "ai_chat", EncodeOptions())


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "m", "temperature": 0.5, "maxTokens": 9},
        {"options": {"model": "m", "temperature": 0.5, "maxTokens": 9}},
        {"model": "other", "temperature": 0.5, "options": {"model": "m", "temperature": None, "maxTokens": 9}},
    ],
    ids=["beside", "in options", "both"],
)
def test_options_lie_beside_the_message_or_in_an_object(fields: dict[str, object]) -> None:
    request = DIALECT.decode(body(**fields)).request
    assert (request.model, request.params) == ("m", {"temperature": 0.5, "max_tokens": 9})


def test_what_is_null_or_unknown_counts_as_not_sent() -> None:
    asked = decode_body(body(sessionId=None, model=None, options=None, sources=[], temperature=None))
    assert asked == AiChatBody(message="Hi")
    assert decode_body(body(options={"sessionId": "s", "x": 1})) == AiChatBody(message="Hi")


def test_fields_of_history_that_a_page_keeps_for_itself_are_left_out() -> None:
    decoded = DIALECT.decode(body(history=[{"id": 7, "role": "user", "content": "a", "timestamp": "now"}]))
    assert decoded.request.messages[0] == {"role": "user", "content": "a"}


@pytest.mark.parametrize(
    ("data", "param"),
    [
        (b"[]", None),
        (b"{}", "message"),
        (body(message=""), "message"),
        (body(message=None), "message"),
        (body(message=["Hi"]), "message"),
        (body(history={}), "history"),
        (body(history=[{"content": "x"}]), "history[0]"),
        (body(history=[{"role": "user", "content": None}]), "history[0].content"),
        (body(sessionId=5), "sessionId"),
        (body(workspaceId={}), "workspaceId"),
        (body(projectId=[]), "projectId"),
        (body(currentOrganizationId=1), "currentOrganizationId"),
        (body(model=3), "model"),
        (body(temperature="hot"), "temperature"),
        (body(temperature=2.5), "temperature"),
        (body(maxTokens=0), "maxTokens"),
        (body(options=[]), "options"),
        (body(options={"maxTokens": "9"}), "options.maxTokens"),
    ],
)
def test_a_wrong_body_is_told_with_its_field(data: bytes, param: str | None) -> None:
    with pytest.raises(InputError) as caught:
        DIALECT.decode(data)
    assert caught.value.param == param


def test_the_query_says_the_same_as_the_body() -> None:
    query = {name: value for name, value in DOCUMENTED.items() if isinstance(value, str)}
    query |= {"history": json.dumps(DOCUMENTED["history"]), "temperature": "0.5", "maxTokens": "9", "model": "m"}
    sent = json.dumps(DOCUMENTED | {"temperature": 0.5, "maxTokens": 9, "model": "m"}).encode()
    assert decode_query(query) == decode_body(sent)


def test_a_query_may_hold_more_and_less() -> None:
    """Tickets and cursors come in the query too; a form sends what was not filled in as empty."""
    query = {"message": "1", "sessionId": "", "history": "", "ticket": "t", "after": "1.4"}
    assert decode_query(query) == AiChatBody(message="1")


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({}, "message"),
        ({"message": ""}, "message"),
        ({"message": "Hi", "temperature": "hot"}, "temperature"),
        ({"message": "Hi", "temperature": "nan"}, "temperature"),
        ({"message": "Hi", "maxTokens": "1.5"}, "maxTokens"),
        ({"message": "Hi", "history": "[{]"}, "history"),
        ({"message": "Hi", "history": "{}"}, "history"),
        ({"message": "Hi", "history": '[{"role": 1}]'}, "history[0].role"),
        ({"message": "Hi", "history": "[" * 100_000}, "history"),
    ],
)
def test_a_wrong_query_is_told_with_its_field(query: dict[str, str], param: str) -> None:
    with pytest.raises(InputError) as caught:
        decode_query(query)
    assert caught.value.param == param


def test_the_three_documented_frames() -> None:
    assert payloads(Text("Hello"), Done("stop"), Error("x", "Error message")) == [
        {"content": "Hello", "done": False},
        {"done": True},
        {"error": "Error message", "done": True, "reason": "x", "retryable": False},
    ]


def test_what_the_reference_has_no_word_for_leaves_its_client_alone() -> None:
    """`if (data.content)`, `if (data.done)`, `if (data.error)`: none may be true."""
    events = [START, Status("queued"), Sources([Source("p")]), Reasoning("hm"), ToolCall(0, "c", "f"), Usage(1, 1)]
    for event, data in zip(events, payloads(*events, Metadata({"chat_id": 4}), Text("B", choice=1)), strict=False):
        assert set(data) == {"done", "event"}
        assert data["done"] is False
        told = data["event"]
        assert isinstance(told, dict)
        assert told["type"] == type(event).__struct_config__.tag  # type: ignore[union-attr]


def test_a_refusal_is_the_answer_and_says_what_it_is() -> None:
    logprobs = {"content": [{"token": "N"}]}
    assert payloads(Text("No.", refusal=True), Text("N", logprobs=logprobs)) == [
        {"content": "No.", "done": False, "refusal": True},
        {"content": "N", "done": False, "logprobs": logprobs},
    ]


def test_an_end_that_is_not_simply_whole_says_so() -> None:
    assert payloads(Done("cancelled"), Done("length"), Done("stop", ["stop", "length"])) == [
        {"done": True, "finishReason": "cancelled"},
        {"done": True, "finishReason": "length"},
        {"done": True, "finishReasons": ["stop", "length"]},
    ]


def test_an_error_is_never_followed_by_success() -> None:
    """A dead upstream becomes `[DONE]`: bifrost #5546."""
    for frame in payloads(*CELLS["error"]):
        assert frame["done"] is True
        assert frame["error"]


def test_a_lone_surrogate_does_not_end_the_viewer() -> None:
    assert payloads(Text("a\ud800"), Text("a\ud800", refusal=True))[0]["content"] == "a�"


def test_options_make_no_difference_so_all_viewers_share_one_copy() -> None:
    assert DIALECT.encoder(EncodeOptions(True, 4)) == DIALECT.encoder(EncodeOptions())

"""The typed-message dialect: bodies in, and what of its frames the golden files do not say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headwater.dialects import DIALECTS, EncodeOptions
from headwater.dialects.typed import TypedBody, decode_body
from headwater.errors import InputError
from headwater.events import Done, Error, Event, Metadata, Reasoning, Source, Sources, Status, Text, ToolCall
from headwater.sse import Parser
from headwater.streams.fold import fold
from tests.conformance.dialects.cells import START, View, encode

DIALECT = DIALECTS["typed"]


def body(**fields: object) -> bytes:
    return json.dumps({"question": "Hi"} | fields).encode()


def of_log(*events: Event, options: EncodeOptions | None = None) -> list[dict[str, Any]]:
    return [json.loads(message.data) for message in Parser().feed(encode("typed", events, options=options))]


def test_a_question_is_one_user_message() -> None:
    decoded = DIALECT.decode(body(model="mistral"))
    assert decoded.request.model == "mistral"
    assert decoded.request.messages == [{"role": "user", "content": "Hi"}]
    assert decoded.stream
    assert decoded.dialect == "typed"
    assert DIALECT.decode(body(model=None)).request.model == ""


def test_the_body_says_where_to_search() -> None:
    assert decode_body(body()) == TypedBody("Hi", None, "all", [])
    asked = decode_body(body(search_mode="hybrid", selected_document_ids=[1, "b"], other=1))
    assert asked == TypedBody("Hi", None, "hybrid", [1, "b"])


@pytest.mark.parametrize(
    ("data", "param"),
    [
        (b"{}", "question"),
        (body(question=""), "question"),
        (body(question=" \t"), "question"),
        (body(question=1), "question"),
        (body(model=1), "model"),
        (body(search_mode="some"), "search_mode"),
        (body(selected_document_ids=1), "selected_document_ids"),
        (body(selected_document_ids=[1, None]), "selected_document_ids[1]"),
    ],
)
def test_a_wrong_body_is_refused_by_field(data: bytes, param: str) -> None:
    with pytest.raises(InputError) as caught:
        DIALECT.decode(data)
    assert caught.value.param == param


def test_the_start_names_the_session_where_one_is_known() -> None:
    (start,) = of_log(START, options=EncodeOptions(session_id=7))
    assert list(start.items()) == [("type", "start"), ("session_id", 7), ("model", "small")]
    assert DIALECT.encoder(EncodeOptions(session_id=7)) != DIALECT.encoder(EncodeOptions())


def test_the_metadata_has_what_the_stream_was_told() -> None:
    facts = {"search_mode": "all", "total_response": "ab", "hallucination": 0.1, "hallucination_reason": "r", "x": 1}
    *_, metadata, done = of_log(Text("a"), Metadata(facts), Text("b"), Done("stop"))
    assert list(metadata["content"].items()) == [
        ("model", "small"),
        ("confidence", None),
        ("hallucination", 0.1),
        ("search_mode", "all"),
        ("total_response", "ab"),
        ("hallucination_reason", "r"),
    ]
    assert done == {"type": "done"}


def test_a_passages_own_metadata_wins() -> None:
    source = Source("p", id="1", metadata={"id": "mine"})
    (found,) = of_log(Sources([source, Source("q")]))
    assert found["chunks_used"] == 2
    assert found["content"] == [
        {"text": "p", "score": None, "metadata": {"id": "mine"}},
        {"text": "q", "score": None, "metadata": {}},
    ]


def test_an_error_is_followed_by_done_as_in_the_reference() -> None:
    assert of_log(Error("interrupted", "Stopped.")) == [{"type": "error", "content": "Stopped."}, {"type": "done"}]


def test_a_status_without_words_tells_its_stage() -> None:
    assert [o["content"] for o in of_log(Status("queued"), Status("queued", "Wait."))] == ["queued", "Wait."]


def test_other_choices_thinking_and_tool_calls_are_not_shown() -> None:
    assert of_log(Text("a", choice=1), Reasoning("b"), ToolCall(0, "c", "f"), Text("d")) == [
        {"type": "chunk", "content": "d"}
    ]


def test_a_reset_is_a_comment() -> None:
    encoder = DIALECT.encoder(EncodeOptions())(View(fold([])))
    assert Parser().feed(encoder.reset("a\n\ndata: x\ud800")) == []


def test_a_lone_surrogate_does_not_end_the_viewer() -> None:
    encoder = DIALECT.encoder(EncodeOptions())(View(fold([])))
    assert "�" in encoder.encode(1, Text("a\ud800")).decode()

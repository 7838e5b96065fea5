"""The workspace dialect: bodies in, and what of its frames the golden files do not say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headwater.dialects import DIALECTS, EncodeOptions
from headwater.dialects.workspace import WorkspaceAttachment, WorkspaceBody, decode_body, understood
from headwater.errors import InputError
from headwater.events import Done, Error, Event, Metadata, Reasoning, Source, Sources, Status, Text, ToolCall, Usage
from headwater.sse import Parser
from headwater.streams.fold import Fold, fold
from headwater.streams.ports import EncodesRuns, ReadsFold
from tests.conformance.dialects.cells import START, View, encode

DIALECT = DIALECTS["workspace"]
PNG = {"name": "a.png", "mime": "image/png", "contentString": "data:image/png;base64,AAAA"}
PDF = {"name": "b.pdf", "mime": "application/pdf", "contentString": "data:application/pdf;base64,BBBB"}


def body(**fields: object) -> bytes:
    return json.dumps({"message": "Hi"} | fields).encode()


def objects(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(message.data) for message in Parser().feed(data)]


def of_log(*events: Event) -> list[dict[str, Any]]:
    return objects(encode("workspace", [START, *events]))


def answer(*events: Event) -> str:
    return "".join(o["textResponse"] for o in of_log(*events) if o["type"] == "textResponseChunk")


def test_a_message_is_one_user_message_for_the_default_model() -> None:
    decoded = DIALECT.decode(body(attachments=[]))
    assert decoded.request.model == ""
    assert decoded.request.messages == [{"role": "user", "content": "Hi"}]
    assert decoded.stream
    assert decoded.dialect == "workspace"
    assert decoded.options == EncodeOptions()


def test_attachments_are_typed_parts() -> None:
    (message,) = DIALECT.decode(body(attachments=[PNG, PDF])).request.messages
    assert message["content"] == [
        {"type": "text", "text": "Hi"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "file", "file": {"filename": "b.pdf", "file_data": "data:application/pdf;base64,BBBB"}},
    ]


def test_the_developer_api_says_more() -> None:
    found = decode_body(body(attachments=[PNG], mode="query", sessionId="s", userId=3, reset=False, other=1))
    attachment = WorkspaceAttachment("a.png", "image/png", "data:image/png;base64,AAAA")
    assert found == WorkspaceBody("Hi", [attachment], "query", "s", 3, False)
    assert decode_body(body(attachments=None, mode=None, sessionId=None, userId=None, reset=None)) == WorkspaceBody(
        "Hi"
    )


@pytest.mark.parametrize(
    ("data", "param"),
    [
        (b"{}", "message"),
        (body(message=""), "message"),
        (body(message=" \n"), "message"),
        (body(message=None), "message"),
        (body(message=3), "message"),
        (body(mode="agent"), "mode"),
        (body(sessionId=3), "sessionId"),
        (body(userId=[]), "userId"),
        (body(reset="yes"), "reset"),
        (body(attachments="a"), "attachments"),
        (body(attachments=[{"name": "a", "mime": "b"}]), "attachments[0]"),
        (body(attachments=[PNG, PNG | {"mime": 1}]), "attachments[1].mime"),
        (body(attachments=[PNG | {"contentString": "https://example.org/a.png"}]), "attachments[0].contentString"),
        (body(attachments=[PNG | {"contentString": "data:image/png,x;base64,"}]), "attachments[0].contentString"),
    ],
)
def test_a_wrong_body_is_refused_by_field(data: bytes, param: str) -> None:
    with pytest.raises(InputError) as caught:
        DIALECT.decode(data)
    assert caught.value.param == param


def test_only_a_reset_needs_no_message() -> None:
    asked = decode_body(b'{"reset":true}')
    assert asked == WorkspaceBody(reset=True)
    with pytest.raises(InputError, match="empty"):
        understood(asked)


def test_thinking_is_between_tags_that_come_once_a_block() -> None:
    log = (
        Reasoning("a"),
        Status("s"),
        Reasoning("b"),
        ToolCall(0, "c", "f", "{}"),
        Text(""),
        Text("c"),
        Reasoning("d"),
    )
    assert answer(*log, Text("e"), Done("stop")) == "<think>ab</think>c<think>d</think>e"


def test_a_signature_alone_opens_nothing() -> None:
    assert answer(Reasoning("", signature="x"), Text("a"), Done("stop")) == "a"


def test_other_choices_are_not_shown_but_may_close_the_thinking() -> None:
    log = (Reasoning("x", choice=1), Text("y", choice=1), Reasoning("a"), Text("z", choice=1), Text("b"))
    assert answer(*log, Done("stop")) == "<think>a</think>b"


def test_an_error_closes_the_thinking_and_nothing_follows_the_abort() -> None:
    """No error looks like success (portkey #1797)."""
    found = of_log(Reasoning("a"), Error("interrupted", "Stopped."))
    assert [o["type"] for o in found] == ["textResponseChunk", "textResponseChunk", "abort"]
    assert found[1]["textResponse"] == "</think>"
    assert found[2]["error"] == "Stopped."


def test_an_error_that_is_not_in_the_log_has_the_last_cursor() -> None:
    """The log was lost after seq 2; the frame must not depend on what a producer had written since."""
    encoder = DIALECT.encoder(EncodeOptions())(View(fold([START, Reasoning("a"), Text("b"), Reasoning("c")])))
    assert [o["type"] for o in objects(encoder.encode(2, Error("log_unavailable", "Lost.")))] == ["abort"]


def test_merged_events_know_where_they_began() -> None:
    encoder = DIALECT.encoder(EncodeOptions())(
        View(fold([START, Reasoning("a"), Reasoning("b"), Text("c"), Text("d")]))
    )
    assert isinstance(encoder, EncodesRuns)
    assert isinstance(encoder, ReadsFold)

    def said(first_seq: int, seq: int, event: Event) -> object:
        return objects(encoder.encode_run(first_seq, seq, event))[0]["textResponse"]

    assert said(1, 2, Reasoning("ab")) == "<think>ab"
    assert said(2, 2, Reasoning("b")) == "b"
    assert said(3, 4, Text("cd")) == "</think>cd"
    assert said(4, 4, Text("d")) == "d"


def test_frames_follow_the_fold_that_the_view_has_now() -> None:
    """An ended stream's fold is read back after its encoder was made."""

    class Later:
        id, model, created_ms, epoch, fold = "s", "m", 0, 2, Fold()

    view = Later()
    encoder = DIALECT.encoder(EncodeOptions())(view)
    view.fold = fold([START, Reasoning("a"), Text("b")])
    assert b'"</think>b"' in encoder.encode(2, Text("b"))


def test_sources_of_all_searches_come_in_the_closing_chunk() -> None:
    found = of_log(
        Sources([Source("p", id="1")]),
        Text("a"),
        Sources([Source("q", metadata={"text": "old", "k": 1})]),
        Done("stop"),
    )
    assert [o["sources"] for o in found[:-1]] == [[], [{"id": "1", "text": "p"}, {"text": "q", "k": 1}]]


def test_a_refused_query_is_answered_at_once_and_has_no_closing_chunk() -> None:
    found = of_log(Metadata({"refused": True}), Text("Nothing there."), Done("stop"))
    assert [(o["type"], o["close"]) for o in found] == [("textResponse", True), ("finalizeResponseStream", True)]


def test_a_refusal_that_is_told_after_the_text_has_begun_changes_no_frame() -> None:
    """Who watched from the start and who came later must see the same (promise P2)."""
    found = of_log(Text("Hel"), Metadata({"refused": True}), Text("lo"), Done("stop"))
    assert [o["type"] for o in found] == ["textResponseChunk"] * 3 + ["finalizeResponseStream"]


@pytest.mark.parametrize("refused", [False, None])
def test_an_answer_that_was_not_refused_is_made_of_chunks(refused: object) -> None:
    found = of_log(Metadata({"refused": refused}), Text("a\ud800"), Done("stop"))
    assert [o["type"] for o in found] == ["textResponseChunk", "textResponseChunk", "finalizeResponseStream"]


def test_the_end_tells_the_chats_number_and_the_times_in_seconds() -> None:
    facts = Metadata({"chat_id": 42, "duration_ms": 2000.0, "first_token_ms": 125})
    final = of_log(Usage(3, 5), facts, Done("stop"))[-1]
    assert list(final) == ["uuid", "type", "close", "error", "chatId", "metrics"]
    assert final["chatId"] == 42
    times = {"outputTps": 2.5, "duration": 2.0, "timestamp": "2025-06-15T15:06:42.999Z", "timeToFirstToken": 0.125}
    assert times.items() <= final["metrics"].items()


def test_a_provider_that_nobody_named_is_left_out() -> None:
    final = objects(encode("workspace", [Done("stop")]))[-1]
    assert "provider" not in final["metrics"]
    assert final["metrics"]["total_tokens"] == 0


def test_a_status_without_words_tells_its_stage() -> None:
    assert [o["textResponse"] for o in of_log(Status("queued"), Status("queued", "Wait."))] == ["queued", "Wait."]


def test_a_reset_is_a_comment() -> None:
    encoder = DIALECT.encoder(EncodeOptions())(View(fold([])))
    assert encoder.reset("a\nb\ud800").startswith(b": reset a")
    assert Parser().feed(encoder.reset("a\n\ndata: x")) == []


@pytest.mark.parametrize("duration", ["long", None, -1, 1e300])
def test_metrics_leave_out_what_nobody_told(duration: object) -> None:
    facts = Metadata({"duration_ms": duration, "first_token_ms": None, "chat_id": "x", "provider": "p"})
    final = of_log(Usage(3, 4), facts, Done("stop"))[-1]
    assert "chatId" not in final
    assert final["metrics"] == {
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "total_tokens": 7,
        "model": "small",
        "provider": "local",
        "timestamp": "2025-06-15T15:06:40.999Z",
    }


def test_metrics_name_who_answered_after_a_fallback() -> None:
    attempts = [{"provider": "local", "outcome": "failed"}, {"provider": "spare", "outcome": "done"}]
    final = of_log(Usage(3, 4), Metadata({"attempts": attempts}), Done("stop"))[-1]
    assert final["metrics"]["provider"] == "spare"


def test_a_lone_surrogate_does_not_end_the_viewer() -> None:
    encoder = DIALECT.encoder(EncodeOptions())(View(fold([])))
    assert "�" in encoder.encode(1, Text("a\ud800")).decode()

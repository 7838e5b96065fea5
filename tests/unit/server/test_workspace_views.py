from __future__ import annotations

import base64
import json

import pytest

from headwater.chat.records import Message, Thread, Workspace
from headwater.chat.settings import ChatSettings
from headwater.events import Error, Event, JsonObject, Reasoning, Source, Sources, Text, Usage
from headwater.server.workspace_views import (
    Chat,
    StreamFacts,
    abort_card,
    answer_card,
    attachment_of,
    chats_of,
    date_text,
    file_part,
    frame,
    history_of,
    thread_card,
    workspace_card,
)
from headwater.streams.fold import fold

WORKSPACE = Workspace(id="w", tenant="", number=3, slug="books", name="Books", created_ms=0, updated_ms=1500)


def message(number: int, role: str, **fields: object) -> Message:
    base: dict[str, object] = {
        "id": f"m{number}",
        "tenant": "",
        "thread_id": "t",
        "parent_id": None,
        "created_ms": 5000,
    }
    return Message(number=number, role=role, **{**base, **fields})  # type: ignore[arg-type]


def test_a_workspace_shows_what_is_in_force() -> None:
    settings = ChatSettings(history_turns=20, passages=6, min_score=0.1, system_prompt="Be kind.")
    card = workspace_card(WORKSPACE, settings)
    assert (card.open_ai_history, card.top_n, card.similarity_threshold, card.open_ai_prompt) == (
        20,
        6,
        0.1,
        "Be kind.",
    )
    assert (card.chat_model, card.query_refusal_response, card.open_ai_temp) == (None, None, None)
    own = Workspace(
        id="w", tenant="", number=3, slug="s", name="n", created_ms=0, updated_ms=0, history_turns=0, passages=0,
        min_score=0.0, system_prompt="Mine.", model="m", refusal="No.", temperature=0.0, mode="query",
    )  # fmt: skip
    card = workspace_card(own, settings)
    assert (card.open_ai_history, card.top_n, card.similarity_threshold, card.open_ai_prompt) == (0, 0, 0.0, "Mine.")
    assert (card.chat_model, card.query_refusal_response, card.open_ai_temp) == ("m", "No.", 0.0)


def test_a_thread_without_title_is_called_thread() -> None:
    thread = Thread(id="t", tenant="", number=1, workspace_id="w", slug="s", created_ms=0, updated_ms=0)
    assert (thread_card(thread, WORKSPACE).name, thread_card(thread, WORKSPACE).workspace_id) == ("Thread", 3)


def test_a_path_is_counted_in_chats() -> None:
    q1, a1, q2, q3, a3, a4 = (
        message(n, role) for n, role in enumerate(("user", "assistant", "user", "user", "assistant", "assistant"), 1)
    )
    path = [message(9, "system"), q1, a1, q2, q3, a3, a4]
    assert chats_of(path) == [Chat(q1, a1), Chat(q2, None), Chat(q3, a3), Chat(None, a4)]


def test_both_sides_of_a_chat_have_the_answers_number() -> None:
    image: JsonObject = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    asked = message(1, "user", content="why?", parts=[image])
    answered = message(
        2, "assistant", content="so", reasoning="hm", sources=[Source(text="t", id="5")], usage=Usage(1, 2),
        metadata={"duration_ms": 500, "first_token_ms": 20}, model="m", provider="p", stream_id="s",
    )  # fmt: skip
    question, answer = history_of([Chat(asked, answered)], WORKSPACE)
    assert (question.chat_id, answer.chat_id, question.sent_at) == (2, 2, 5)
    assert question.attachments[0].name == "image-1.png"  # type: ignore[index]
    assert (answer.content, answer.stream_id, answer.type) == ("<think>hm</think>so", "s", "chat")
    assert answer.metrics["duration"] == 0.5 and answer.metrics["provider"] == "p"  # type: ignore[index]
    assert answer.sources == [{"id": "5", "text": "t"}]


def test_a_failed_answer_says_why_and_an_unanswered_question_stands_alone() -> None:
    failed = message(
        4, "assistant", status="failed", error=Error("provider_error", "quota"), metadata={"refused": True}
    )
    [answer] = history_of([Chat(None, failed)], WORKSPACE)
    assert (answer.error, answer.status, answer.metrics, answer.type) == ("quota", "failed", {}, "query")
    [question] = history_of([Chat(message(7, "user"), None)], WORKSPACE)
    assert (question.chat_id, question.attachments) == (7, [])


def test_an_answer_in_one_piece() -> None:
    events: list[Event] = [Sources([Source(text="t", title="T")]), Reasoning("hm"), Text("so"), Usage(1, 2)]
    view = StreamFacts("s", "m", 0, 1, fold(events))
    card = answer_card(view, events)
    assert (card.text_response, card.type, card.error, card.sources) == (
        "<think>hm</think>so", "textResponse", None, [{"title": "T", "text": "t"}],
    )  # fmt: skip
    assert json.loads(frame(card)[6:])["close"] is True and "chatId" not in json.loads(frame(card)[6:])


def test_an_abort_has_an_id_of_its_own() -> None:
    assert abort_card("no").id != abort_card("no").id
    assert abort_card("no", id="s").id == "s"


@pytest.mark.parametrize(
    ("part", "name", "mime"),
    [
        ({"type": "image_url", "image_url": {"url": "data:image/webp;base64,AA=="}}, "image-2.webp", "image/webp"),
        ({"type": "image_url", "image_url": {"url": "https://x/y"}}, "image-2.octet-stream",
         "application/octet-stream"),
        ({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}}, "a.pdf",
         "application/pdf"),
        ({"type": "text", "text": "no file"}, "part-2.json", "application/json"),
    ],
)  # fmt: skip
def test_stored_parts_are_shown_as_attachments(part: JsonObject, name: str, mime: str) -> None:
    shown = attachment_of(part, 2)
    assert (shown.name, shown.mime) == (name, mime)


def test_a_text_file_is_shown_again() -> None:
    part = file_part('a "b"\n.txt', "=== BEGIN FILE 0123456789ab ===\none\ntwo\n=== END FILE 0123456789ab ===")
    shown = attachment_of(part, 1)
    assert shown.name == "a 'b' .txt"
    assert base64.b64decode(shown.content_string.partition(",")[2]) == b"one\ntwo"


def test_dates() -> None:
    assert date_text(1_705_417_620_000) == "1/16/2024, 3:07:00 PM"
    assert date_text(0) == "1/1/1970, 12:00:00 AM"

from __future__ import annotations

from typing import Any

import pytest

from headwater.errors import InputError, UnsupportedField
from headwater.providers.wire.conversation import read_turns
from headwater.providers.wire.gemini_contents import Contents, gemini_contents

PNG = "data:image/png;base64,AAAA"
BASE = "https://generativelanguage.googleapis.com/v1beta"


def translated(*messages: dict[str, Any], third: bool = True) -> Contents:
    return gemini_contents(read_turns(messages), base_url=BASE, third=third)


def parts_of(*content: dict[str, Any]) -> Any:
    return translated({"role": "user", "content": list(content)}).contents[0]["parts"]


def calling(*calls: tuple[str, str, str], **fields: Any) -> dict[str, Any]:
    made = [{"id": id, "function": {"name": name, "arguments": arguments}} for id, name, arguments in calls]
    return {"role": "assistant", "content": None, "tool_calls": made, **fields}


def answering(id: str, content: Any, **fields: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": content, **fields}


def test_roles_and_system() -> None:
    assert translated(
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "hi"},
        {"role": "developer", "content": [{"type": "text", "text": "be brief"}]},
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": "yes"},
    ) == Contents(
        [{"text": "be kind"}, {"text": "be brief"}],
        [{"role": "user", "parts": [{"text": "hi"}]}, {"role": "model", "parts": [{"text": "yes"}]}],
    )


def test_a_system_turn_is_text() -> None:
    with pytest.raises(UnsupportedField) as caught:
        translated({"role": "system", "content": [{"type": "image_url", "image_url": {"url": PNG}}]})
    assert caught.value.param == "messages[0].content[0]"


def test_data_goes_inline() -> None:
    assert parts_of(
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": PNG, "detail": "high"}},
        {"type": "input_audio", "input_audio": {"format": "mp3", "data": "BBBB"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "CCCC"}},
    ) == [
        {"text": "look"},
        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
        {"inlineData": {"mimeType": "audio/mpeg", "data": "BBBB"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "CCCC"}},
    ]


@pytest.mark.parametrize(
    ("part", "data"),
    [
        (
            {"type": "image_url", "image_url": "https://h/a.JPG?x=1.png"},
            {"mimeType": "image/jpeg", "fileUri": "https://h/a.JPG?x=1.png"},
        ),
        ({"type": "image_url", "image_url": "https://h/a"}, {"fileUri": "https://h/a"}),
        ({"type": "image_url", "image_url": "https://[broken/a.png"}, {"fileUri": "https://[broken/a.png"}),
        ({"type": "file", "file": {"file_url": "https://youtu.be/x"}}, {"fileUri": "https://youtu.be/x"}),
        (
            {"type": "file", "file": {"file_id": "files/abc", "filename": "a.pdf"}},
            {"mimeType": "application/pdf", "fileUri": f"{BASE}/files/abc"},
        ),
        ({"type": "file", "file": {"file_id": "../x"}}, {"fileUri": f"{BASE}/files/..%2Fx"}),
        ({"type": "file", "file": {"file_id": f"{BASE}/files/abc"}}, {"fileUri": f"{BASE}/files/abc"}),
    ],
)
def test_urls_and_ids_are_file_data(part: dict[str, Any], data: dict[str, str]) -> None:
    assert parts_of(part) == [{"fileData": data}]


def test_calls_and_their_answers_in_one_content() -> None:
    """The API wants as many answers in the next content as there were calls."""
    assert translated(
        calling(("x1", "f", '{"a":1}'), ("call_0_1", "g", "")),
        answering("x1", '{"ok":true}'),
        answering("call_0_1", "sunny"),
        {"role": "user", "content": "and?"},
        calling(("x1", "h", "{}"), reasoning_signature="gemini:S"),
        answering("x1", "[1]"),
    ).contents == [
        {
            "role": "model",
            "parts": [
                {
                    "functionCall": {"id": "x1", "name": "f", "args": {"a": 1}},
                    "thoughtSignature": "skip_thought_signature_validator",
                },
                {"functionCall": {"name": "g", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "x1", "name": "f", "response": {"ok": True}}},
                {"functionResponse": {"name": "g", "response": {"output": "sunny"}}},
            ],
        },
        {"role": "user", "parts": [{"text": "and?"}]},
        {
            "role": "model",
            "parts": [{"functionCall": {"id": "x1", "name": "h", "args": {}}, "thoughtSignature": "S"}],
        },
        {"role": "user", "parts": [{"functionResponse": {"id": "x1", "name": "h", "response": {"output": "[1]"}}}]},
    ]


def test_before_gemini_3_there_are_neither_ids_nor_made_up_signatures() -> None:
    assert translated(calling(("x1", "f", "{}")), answering("x1", "1"), third=False).contents == [
        {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"output": "1"}}}]},
    ]


def test_a_signature_without_calls_goes_with_the_last_text() -> None:
    two = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    signed = translated({"role": "assistant", "content": two, "reasoning_signature": "gemini:S"}).contents[0]
    assert signed["parts"] == [{"text": "a"}, {"text": "b", "thoughtSignature": "S"}]
    assert translated({"role": "assistant", "content": "", "reasoning_signature": "gemini:S"}).contents == []


def test_anothers_signature_is_left_out() -> None:
    """A conversation goes on at Gemini after a fallback; Gemini refuses what it has not signed."""
    said = {"role": "assistant", "content": "a", "reasoning_content": "hm", "reasoning_signature": "EqQBCgIYAhIM"}
    assert translated(said).contents[0]["parts"] == [{"text": "a"}]
    [content] = translated(calling(("x1", "f", "{}"), reasoning_signature="EqQB"), third=False).contents
    assert content["parts"] == [{"functionCall": {"name": "f", "args": {}}}]


def test_an_answer_names_its_function() -> None:
    [content] = translated(answering("lost", "1", name="f")).contents
    assert content["parts"] == [{"functionResponse": {"id": "lost", "name": "f", "response": {"output": "1"}}}]
    with pytest.raises(InputError) as caught:
        translated(answering("lost", "1"))
    assert (caught.value.param, type(caught.value)) == ("messages[0].tool_call_id", InputError)


def test_arguments_that_are_no_object() -> None:
    with pytest.raises(InputError):
        translated(calling(("x1", "f", "[1]")))


def test_media_in_an_answer() -> None:
    image = {"type": "image_url", "image_url": {"url": PNG}}
    call = calling(("x1", "f", "{}"))
    [_, content] = translated(call, answering("x1", [{"type": "text", "text": "see"}, image])).contents
    assert content["parts"][0]["functionResponse"] == {
        "id": "x1",
        "name": "f",
        "response": {"output": "see"},
        "parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}],
    }
    audio = {"type": "input_audio", "input_audio": {"data": "AAAA"}}
    linked = {"type": "image_url", "image_url": {"url": "https://h/a.png"}}
    for part, third in ((image, False), (audio, True), (linked, True)):
        with pytest.raises(UnsupportedField) as caught:
            translated(call, answering("x1", [part]), third=third)
        assert caught.value.param == "messages[1].content[0]"

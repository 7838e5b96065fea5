from __future__ import annotations

import base64
from typing import Any

import pytest

from headwater.errors import InputError, UnsupportedField
from headwater.providers.wire.anthropic_messages import anthropic_messages
from headwater.providers.wire.conversation import read_turns

PNG = "data:image/png;base64,iVBORw0KGgo="


def made(*messages: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    return anthropic_messages(read_turns(messages))


def blocks(*parts: dict[str, Any], role: str = "user") -> Any:
    return made({"role": role, "content": list(parts)})[1][0]["content"]


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def call(id: str, name: str = "f", arguments: str = "{}") -> dict[str, Any]:
    return {"id": id, "function": {"name": name, "arguments": arguments}}


def asked(*calls: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls), **fields}


def told(id: str, content: Any = "1") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": content}


def file(data: str, kind: str = "", **fields: str) -> dict[str, Any]:
    url = f"data:{kind};base64,{data}" if kind else data
    return {"type": "file", "file": {"file_data": url, **fields}}


def test_system_turns_stand_apart() -> None:
    system, messages = made(
        {"role": "system", "content": "Be brief."},
        user("Hi"),
        {"role": "developer", "content": [text("Be kind."), text(" ")]},
    )
    assert system == "Be brief.\n\nBe kind."
    assert messages == [{"role": "user", "content": [text("Hi")]}]


def test_turns_of_one_role_are_merged() -> None:
    assert made(user("a"), user("b"), {"role": "assistant", "content": "c"}, user("d"))[1] == [
        {"role": "user", "content": [text("a"), text("b")]},
        {"role": "assistant", "content": [text("c")]},
        {"role": "user", "content": [text("d")]},
    ]


def test_what_says_nothing_is_left_out() -> None:
    """The API refuses empty turns, and text of nothing but white space."""
    assert made(user("a"), {"role": "assistant", "content": " \n"}, user([text(""), text("b")]), user(None))[1] == [
        {"role": "user", "content": [text("a"), text("b")]}
    ]
    assert made() == ("", [])


def test_a_begun_answer_has_no_white_space_at_its_end() -> None:
    assert made(user("a"), {"role": "assistant", "content": "It is \n"})[1][1]["content"] == [text("It is")]


def test_tools_and_their_answers() -> None:
    messages = made(
        user("Weather?"),
        {**asked(call("c1", "weather", '{"city":"Bern"}'), call("c2", "clock", "")), "content": "I look."},
        told("c1", "sunny"),
        told("c2", [text("noon"), {"type": "image_url", "image_url": PNG}]),
        user("And?"),
    )[1]
    assert messages[1]["content"] == [
        text("I look."),
        {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Bern"}},
        {"type": "tool_use", "id": "c2", "name": "clock", "input": {}},
    ]
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    assert messages[2] == {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "c1", "content": [text("sunny")]},
            {"type": "tool_result", "tool_use_id": "c2", "content": [text("noon"), image]},
            text("And?"),
        ],
    }


def test_answers_of_tools_come_first() -> None:
    content = made(asked(call("a"), call("b")), told("a"), user("wait"), told("b", ""))[1][1]["content"]
    assert [block["type"] for block in content] == ["tool_result", "tool_result", "text"]
    assert content[1] == {"type": "tool_result", "tool_use_id": "b"}


def test_ids_are_of_the_apis_alphabet_and_used_once() -> None:
    """A conversation begun with a provider whose calls have no ids of their own goes on here."""
    messages = made(
        asked(call("functions.f:0")), told("functions.f:0"),
        asked(call("call_0_0")), told("call_0_0"),
        asked(call("call_0_0")), told("call_0_0"),
        asked(call("call_0_0")), told("call_0_0"), told("un known"),
    )[1]  # fmt: skip
    ids = [block.get("id") or block["tool_use_id"] for message in messages for block in message["content"]]
    assert ids == [
        *("functions_f_0", "functions_f_0", "call_0_0", "call_0_0", "call_0_0_2", "call_0_0_2"),
        *("call_0_0_3", "call_0_0_3", "un_known"),
    ]


def test_thinking_goes_back_only_with_its_signature() -> None:
    thinking = {"reasoning_content": "hm", "reasoning_signature": "sig"}
    signed, unsigned, hidden = (
        made({"role": "assistant", "content": "so", **fields}, user("?"))[1][0]["content"]
        for fields in (thinking, {"reasoning_content": "hm"}, {"reasoning_signature": "sig"})
    )
    assert signed == [{"type": "thinking", "thinking": "hm", "signature": "sig"}, text("so")]
    assert unsigned == [text("so")]
    assert hidden == [{"type": "thinking", "thinking": "", "signature": "sig"}, text("so")]


def test_images_and_documents() -> None:
    encoded = base64.b64encode("\ufeffgrün".encode()).decode()
    assert blocks(
        {"type": "image_url", "image_url": {"url": "https://x/a.png", "detail": "high"}},
        file("JVBERi0=", "application/pdf", filename="a.pdf"),
        file(encoded, "text/plain"),
        file("e30=", "application/json"),
        file("iVBORw0KGgo=", "image/png"),
        {"type": "file", "file": {"file_url": "https://x/a.pdf"}},
        {"type": "file", "file": {"file_id": "file_1"}},
    ) == [
        {"type": "image", "source": {"type": "url", "url": "https://x/a.png"}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
            "title": "a.pdf",
        },
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "grün"}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "{}"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
        {"type": "document", "source": {"type": "url", "url": "https://x/a.pdf"}},
        {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
    ]


@pytest.mark.parametrize(
    ("role", "part"),
    [
        ("user", {"type": "input_audio", "input_audio": {"data": "AAAA"}}),
        ("user", {"type": "image_url", "image_url": "data:image/tiff;base64,AAAA"}),
        ("user", file("AAAA", "application/zip")),
        ("tool", {"type": "input_audio", "input_audio": {"data": "AAAA"}}),
        ("assistant", {"type": "image_url", "image_url": PNG}),
        ("system", {"type": "image_url", "image_url": PNG}),
    ],
)
def test_what_it_cannot_take_is_named(role: str, part: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedField) as caught:
        made({"role": role, "content": [text("x"), part], "tool_call_id": "c"})
    assert caught.value.param == "messages[0].content[1]"


@pytest.mark.parametrize("data", ["AAA", base64.b64encode(b"\xff\xfe").decode(), "A_A="])
def test_a_text_file_that_is_none(data: str) -> None:
    with pytest.raises(InputError) as caught:
        blocks(file(data, "text/plain"))
    assert caught.value.param == "messages[0].content[0]"


def test_an_answer_to_no_call() -> None:
    with pytest.raises(InputError) as caught:
        made(user("x"), {"role": "tool", "content": "x"})
    assert caught.value.param == "messages[1].tool_call_id"


def test_arguments_that_are_no_object() -> None:
    with pytest.raises(InputError):
        made(asked(call("c", "f", "[]")))

from __future__ import annotations

from typing import Any

import pytest

from headwater.errors import InputError
from headwater.providers.wire.ollama_messages import ollama_messages


def one(**message: Any) -> dict[str, Any]:
    return dict(ollama_messages([message])[0])


def image(url: object) -> dict[str, Any]:
    return {"type": "image_url", "image_url": url}


@pytest.mark.parametrize(("role", "theirs"), [("developer", "system"), ("system", "system"), ("user", "user")])
def test_roles(role: str, theirs: str) -> None:
    assert one(role=role, content="x") == {"role": theirs, "content": "x"}


def test_parts_become_text_and_images() -> None:
    url = "data:image/png;base64,iVBORw0KGgo="
    parts = [
        {"type": "text", "text": "a"},
        image({"url": url, "detail": "low"}),
        image(url),
        {"type": "text", "text": "b"},
    ]
    assert one(role="user", content=parts) == {"role": "user", "content": "a\nb", "images": ["iVBORw0KGgo="] * 2}


def test_an_assistant_with_tool_calls_and_their_answers() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bern"}'}}
    empty = {"id": "c2", "function": {"name": "clock", "arguments": ""}}
    typed = {"id": "c3", "function": {"name": "typed", "arguments": {"a": 1}}}
    messages = ollama_messages(
        [
            {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [call, empty, typed]},
            {"role": "tool", "content": "sunny", "tool_call_id": "c1"},
            {"role": "tool", "content": "noon", "tool_call_id": "c2", "name": "own"},
            {"role": "tool", "content": "?", "tool_call_id": "unknown"},
        ]
    )
    assert messages[0] == {
        "role": "assistant",
        "content": "",
        "thinking": "hm",
        "tool_calls": [
            {"function": {"name": "weather", "arguments": {"city": "Bern"}}},
            {"function": {"name": "clock", "arguments": {}}},
            {"function": {"name": "typed", "arguments": {"a": 1}}},
        ],
    }
    assert messages[1:] == [
        {"role": "tool", "content": "sunny", "tool_name": "weather"},
        {"role": "tool", "content": "noon", "tool_name": "own"},
        {"role": "tool", "content": "?"},
    ]


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"content": "x"}, "role"),
        ({"role": "function", "content": "x"}, "role"),
        ({"role": ["user"], "content": "x"}, "role"),
        ({"role": "user", "content": 5}, "content"),
        ({"role": "user", "content": ["x"]}, "content[0]"),
        ({"role": "user", "content": [{"type": "text", "text": 5}]}, "content[0]"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "content[0]"),
        ({"role": "user", "content": [image("https://example.com/a.png")]}, "content[0]"),
        ({"role": "user", "content": [image({"url": None})]}, "content[0]"),
        ({"role": "user", "content": [image("data:text/html;base64,AAAA")]}, "content[0]"),
        ({"role": "assistant", "tool_calls": "x"}, "tool_calls"),
        ({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}, "tool_calls"),
        ({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[]"}}]}, "tool_calls"),
    ],
)
def test_what_it_cannot_take_is_named(message: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as caught:
        ollama_messages([{"role": "user", "content": "fine"}, message])
    assert caught.value.param == f"messages[1].{field}"

from __future__ import annotations

from typing import Any

import pytest

from headwater.errors import InputError, UnsupportedField
from headwater.providers.wire.conversation import Fields, Tool
from headwater.providers.wire.responses_input import flat_tool, input_items, text_config, tools_apart
from headwater.request import ChatRequest

PNG = "data:image/png;base64,AAAA"


def says(role: str, content: Any, **fields: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **fields}


def item(role: str, *content: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": list(content)}


def test_texts_keep_their_roles() -> None:
    roles = ["system", "developer", "user", "assistant"]
    assert input_items([says(role, "hi") for role in roles]) == [
        *(item(role, {"type": "input_text", "text": "hi"}) for role in roles[:3]),
        item("assistant", {"type": "output_text", "text": "hi"}),
    ]
    assert input_items([says("user", None), says("assistant", "")]) == [
        {"type": "message", "role": "user", "content": ""}
    ]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            {"type": "image_url", "image_url": {"url": "https://h/a.png", "detail": "low"}},
            {"type": "input_image", "image_url": "https://h/a.png", "detail": "low"},
        ),
        (
            {"type": "image_url", "image_url": {"url": PNG}},
            {"type": "input_image", "image_url": PNG, "detail": "auto"},
        ),
        (
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "AAAA"}},
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"},
        ),
        (
            {"type": "file", "file": {"file_data": "data:text/csv;base64,AAAA"}},
            {"type": "input_file", "filename": "file", "file_data": "data:text/csv;base64,AAAA"},
        ),
        ({"type": "file", "file": {"file_id": "file-1"}}, {"type": "input_file", "file_id": "file-1"}),
        ({"type": "file", "file": {"file_url": "https://h/a"}}, {"type": "input_file", "file_url": "https://h/a"}),
    ],
)
def test_parts(part: Any, expected: Any) -> None:
    assert input_items([says("user", [{"type": "text", "text": "see"}, part])]) == [
        item("user", {"type": "input_text", "text": "see"}, expected)
    ]


def test_tool_calls_and_their_answers() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    image = {"type": "image_url", "image_url": {"url": PNG}}
    assert input_items(
        [
            says("assistant", "let me see", tool_calls=[call]),
            says("tool", "sunny", tool_call_id="c1", name="f"),
            says("tool", [{"type": "text", "text": "a"}, image], tool_call_id="c2"),
        ]
    ) == [
        item("assistant", {"type": "output_text", "text": "let me see"}),
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a":1}'},
        {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
        {
            "type": "function_call_output",
            "call_id": "c2",
            "output": [
                {"type": "input_text", "text": "a"},
                {"type": "input_image", "image_url": PNG, "detail": "auto"},
            ],
        },
    ]


def test_sealed_thinking_stands_before_its_calls() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    called = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    assert input_items(
        [says("assistant", None, tool_calls=[call], reasoning_signature="openai_responses:rs_1:enc")]
    ) == [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "enc"},
        called,
    ]
    for signature in ("gemini:rs_1:enc", "rs_1:enc", "openai_responses:rs_1", ""):
        foreign = says("assistant", None, tool_calls=[call], reasoning_signature=signature)
        assert input_items([foreign]) == [called]
    done = says("assistant", "x", reasoning_signature="openai_responses:rs_1:enc")
    assert input_items([done]) == [item("assistant", {"type": "output_text", "text": "x"})]


@pytest.mark.parametrize(
    ("message", "param"),
    [
        (says("user", [{"type": "input_audio", "input_audio": {"data": "AA"}}]), "messages[0].content[0]"),
        (says("assistant", [{"type": "image_url", "image_url": {"url": PNG}}]), "messages[0].content[0]"),
        (says("user", "hi", name="ann"), "messages[0].name"),
    ],
)
def test_what_other_apis_can_take(message: Any, param: str) -> None:
    with pytest.raises(UnsupportedField) as caught:
        input_items([message])
    assert caught.value.param == param


def test_a_tools_answer_to_nothing() -> None:
    with pytest.raises(InputError) as caught:
        input_items([says("tool", "x")])
    assert (caught.value.param, type(caught.value)) == ("messages[0].tool_call_id", InputError)


def test_a_function_is_only_strict_where_it_says_so() -> None:
    """Here strict is the default, in chat completions it is not: the schema would be refused or changed."""
    assert flat_tool(Tool("f")) == {
        "type": "function",
        "name": "f",
        "strict": False,
        "parameters": {"type": "object", "properties": {}},
    }
    assert flat_tool(Tool("f", "d", {"type": "object"}, True)) == {
        "type": "function",
        "name": "f",
        "description": "d",
        "strict": True,
        "parameters": {"type": "object"},
    }


def test_the_apis_own_tools_are_set_apart() -> None:
    function, search = {"type": "function", "function": {"name": "f"}}, {"type": "web_search"}
    request, own = tools_apart(ChatRequest("m", [], {"tools": [search, function, {"type": "custom"}], "seed": 1}))
    assert own == [search]
    assert request.params == {"tools": [function, {"type": "custom"}], "seed": 1}
    for params in ({}, {"tools": "x"}, {"tools": [function]}):
        same = ChatRequest("m", [], dict(params))
        assert tools_apart(same) == (same, [])


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, {}),
        ({"verbosity": "low"}, {"verbosity": "low"}),
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": {"type": "json_object"}}, {"format": {"type": "json_object"}}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {}, "description": "d"}}},
            {"format": {"type": "json_schema", "name": "answer", "schema": {}, "description": "d"}},
        ),
    ],
)
def test_the_answers_form(params: dict[str, Any], expected: dict[str, Any]) -> None:
    request = ChatRequest("m", [], params)
    assert text_config(Fields(request, "x"), request) == expected

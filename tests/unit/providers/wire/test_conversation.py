from __future__ import annotations

from typing import Any

import pytest

from headwater.errors import InputError, UnsupportedField
from headwater.providers.wire.conversation import (
    AudioPart,
    Call,
    Fields,
    FilePart,
    Format,
    ImagePart,
    Part,
    TextPart,
    Tool,
    ToolChoice,
    Turn,
    read_turns,
)
from headwater.request import ChatRequest

PDF = "JVBERi0xLjc="
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def turn(**message: Any) -> Turn:
    return read_turns([message])[0]


def part(value: object) -> Part:
    return turn(role="user", content=[value]).parts[0]


def image(url: object) -> dict[str, Any]:
    return {"type": "image_url", "image_url": url}


def file(**fields: str) -> dict[str, Any]:
    return {"type": "file", "file": fields}


def fields(**params: Any) -> Fields:
    return Fields(ChatRequest("m", [], params), "Acme")


def calls(*values: Any) -> list[Call]:
    return turn(role="assistant", tool_calls=list(values)).calls


class TestTurns:
    @pytest.mark.parametrize(
        ("role", "read"),
        [("system", "system"), ("developer", "system"), ("user", "user"), ("assistant", "assistant"), ("tool", "tool")],
    )
    def test_roles(self, role: str, read: str) -> None:
        assert turn(role=role, content="x") == Turn(read, "messages[0]", [TextPart("x")])  # type: ignore[arg-type]

    def test_everything_of_a_message(self) -> None:
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
        message = {
            "role": "assistant",
            "content": "so",
            "name": "bot",
            "tool_calls": [call],
            "reasoning_content": "hm",
            "reasoning_signature": "sig",
        }
        tool = {"role": "tool", "content": "1", "tool_call_id": "c"}
        assert read_turns([message, tool]) == [
            Turn("assistant", "messages[0]", [TextPart("so")], [Call("c", "f", '{"a":1}')], "", "bot", "hm", "sig"),
            Turn("tool", "messages[1]", [TextPart("1")], call_id="c"),
        ]

    @pytest.mark.parametrize("content", [None, "", []])
    def test_without_content_there_are_no_parts(self, content: object) -> None:
        assert turn(role="assistant", content=content).parts == []

    def test_what_is_no_text_is_left_out(self) -> None:
        read = turn(role="tool", content="x", tool_call_id=5, name=[], reasoning_content={}, reasoning_signature=1)
        assert (read.call_id, read.name, read.reasoning, read.signature) == ("", "", "", "")

    def test_the_text_of_a_turn(self) -> None:
        read = turn(
            role="user", content=[{"type": "text", "text": "a"}, image("https://x/y"), {"type": "text", "text": "b"}]
        )
        assert read.text == "a\nb"

    @pytest.mark.parametrize(
        ("message", "path"),
        [
            ({"content": "x"}, "role"),
            ({"role": "function", "content": "x"}, "role"),
            ({"role": ["user"], "content": "x"}, "role"),
            ({"role": None}, "role"),
            ({"role": "user", "content": 5}, "content"),
            ({"role": "user", "content": {"type": "text"}}, "content"),
            ({"role": "user", "content": ["x"]}, "content[0]"),
            ({"role": "user", "content": [{"text": "x"}]}, "content[0]"),
            ({"role": "user", "content": [{"type": ["text"], "text": "x"}]}, "content[0]"),
            ({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": 5}]}, "content[1]"),
            ({"role": "user", "content": [{"type": "video"}]}, "content[0]"),
            ({"role": "user", "content": [image(None)]}, "content[0]"),
            ({"role": "user", "content": [image({"url": ""})]}, "content[0]"),
            ({"role": "user", "content": [image("data:image/png,AAAA")]}, "content[0]"),
            ({"role": "user", "content": [image("data:image/png;base64,")]}, "content[0]"),
            ({"role": "user", "content": [image("data:image/png;base64,A A")]}, "content[0]"),
            ({"role": "user", "content": [{"type": "input_audio", "input_audio": {"format": "wav"}}]}, "content[0]"),
            ({"role": "user", "content": [{"type": "input_audio"}]}, "content[0]"),
            ({"role": "user", "content": [{"type": "file", "file": "x"}]}, "content[0]"),
            ({"role": "user", "content": [file(filename="a.pdf")]}, "content[0]"),
            ({"role": "user", "content": [file(file_data="data:,x")]}, "content[0]"),
            ({"role": "assistant", "tool_calls": "x"}, "tool_calls"),
            ({"role": "assistant", "tool_calls": [{"id": "c"}]}, "tool_calls"),
            ({"role": "assistant", "tool_calls": [{"function": {"name": 5}}]}, "tool_calls"),
        ],
    )
    def test_what_is_wrong_for_everybody_is_named(self, message: dict[str, Any], path: str) -> None:
        with pytest.raises(InputError) as caught:
            read_turns([{"role": "user", "content": "fine"}, message])
        assert caught.value.param == f"messages[1].{path}"
        assert not isinstance(caught.value, UnsupportedField)


class TestParts:
    def test_texts(self) -> None:
        assert part({"type": "text", "text": "x"}) == TextPart("x")
        assert part({"type": "refusal", "refusal": "no"}) == TextPart("no")

    @pytest.mark.parametrize(
        ("value", "read"),
        [
            (image("https://x/y.png"), ImagePart(url="https://x/y.png")),
            (image({"url": "https://x/y", "detail": "low"}), ImagePart(url="https://x/y", detail="low")),
            (image({"url": "data:image/png;base64,iVBO"}), ImagePart("image/png", "iVBO")),
            (image("data:image/svg+xml;charset=utf-8;base64,PHN2Zz4="), ImagePart("image/svg+xml", "PHN2Zz4=")),
        ],
    )
    def test_images(self, value: object, read: Part) -> None:
        assert part(value) == read

    @pytest.mark.parametrize(
        ("given", "format", "media_type"),
        [("mp3", "mp3", "audio/mpeg"), ("opus", "opus", "audio/opus"), (None, "wav", "audio/wav")],
    )
    def test_audio(self, given: str | None, format: str, media_type: str) -> None:
        read = part({"type": "input_audio", "input_audio": {"data": "AAAA", "format": given}})
        assert read == AudioPart(format, "AAAA")
        assert isinstance(read, AudioPart)
        assert read.media_type == media_type

    @pytest.mark.parametrize(
        ("value", "read"),
        [
            (file(filename="a", file_data=f"data:application/pdf;base64,{PDF}"), FilePart("a", "application/pdf", PDF)),
            (file(filename="A.PDF", file_data="AAAA"), FilePart("A.PDF", "application/pdf", "AAAA")),
            (file(file_data=PDF), FilePart("", "application/pdf", PDF)),
            (file(filename="a.csv", file_data="AAAA"), FilePart("a.csv", "text/csv", "AAAA")),
            (file(filename="a.docx", file_data="AAAA"), FilePart("a.docx", "application/octet-stream", "AAAA")),
            (file(file_data="AAAA"), FilePart("", "application/octet-stream", "AAAA")),
            (file(file_url="https://x/a.pdf"), FilePart(url="https://x/a.pdf")),
            (file(filename="a", file_id="file-1"), FilePart("a", file_id="file-1")),
        ],
    )
    def test_files(self, value: object, read: Part) -> None:
        assert part(value) == read

    @pytest.mark.parametrize(
        ("value", "kind"),
        [
            ({"type": "text", "text": "x"}, "text"),
            (image("https://x/y"), "this image"),
            ({"type": "input_audio", "input_audio": {"data": "AAAA"}}, "audio"),
            (file(file_id="1"), "this file"),
        ],
    )
    def test_a_refusal_names_the_part(self, value: object, kind: str) -> None:
        read = turn(role="user", content=[{"type": "text", "text": "first"}, value])
        error = read.refuse(read.parts[1], "Acme")
        assert error.param == "messages[0].content[1]"
        assert error.message == f"messages[0].content[1]: Acme cannot take {kind} here"


class TestCalls:
    def test_ids_and_arguments(self) -> None:
        read = calls(
            {"id": "c", "function": {"name": "f", "arguments": '{"a":1}'}},
            {"id": None, "function": {"name": "g"}},
            {"function": {"name": "h", "arguments": {"b": [2]}}},
        )
        assert read == [Call("c", "f", '{"a":1}'), Call("call_0_1", "g", "{}"), Call("call_0_2", "h", '{"b":[2]}')]
        assert [call.parsed() for call in read] == [{"a": 1}, {}, {"b": [2]}]

    def test_an_empty_text_is_no_arguments(self) -> None:
        assert Call("c", "f", "").parsed() == {}

    @pytest.mark.parametrize("arguments", ["{", "[]", "5", '{"a":"\ud83d"}', '{"a":' + "[" * 100_000])
    def test_arguments_that_are_no_object(self, arguments: str) -> None:
        with pytest.raises(InputError, match="'c'") as caught:
            Call("c", "f", arguments).parsed()
        assert caught.value.param == "messages"


class TestFields:
    def test_null_bookkeeping_and_neutral_values_are_not_there(self) -> None:
        fields(
            temperature=None, stream=True, user="u", metadata={}, store=True, n=1, logprobs=False, logit_bias={},
            parallel_tool_calls=True, modalities=["text"], presence_penalty=0.0, frequency_penalty=0,
        ).finish()  # fmt: skip

    @pytest.mark.parametrize(("name", "value"), [("n", 2), ("seed", 7), ("logprobs", True), ("unheard_of", 0)])
    def test_what_nobody_took_is_refused(self, name: str, value: object) -> None:
        with pytest.raises(UnsupportedField, match=f"Acme cannot take {name}") as caught:
            fields(**{name: value}).finish()
        assert caught.value.param == name

    def test_what_was_taken_is_not(self) -> None:
        given = fields(seed=7)
        assert (given.take("seed"), given.take("seed")) == (7, None)
        given.finish()

    def test_plain_values(self) -> None:
        given = fields(a=1.5, b=3, c=True)
        assert (given.number("a"), given.number("b"), given.number("x")) == (1.5, 3, None)
        assert (fields(b=3).integer("b"), given.integer("x")) == (3, None)
        assert (given.flag("c"), given.flag("x")) == (True, None)

    @pytest.mark.parametrize(
        ("kind", "value"),
        [("number", "1"), ("number", True), ("integer", 1.5), ("integer", [1]), ("flag", 1), ("flag", "yes")],
    )
    def test_values_of_another_type(self, kind: str, value: object) -> None:
        with pytest.raises(InputError) as caught:
            getattr(fields(x=value), kind)("x")
        assert caught.value.param == "x"

    @pytest.mark.parametrize(
        ("params", "tokens"),
        [
            ({}, None),
            ({"max_tokens": 5}, 5),
            ({"max_completion_tokens": 6}, 6),
            ({"max_tokens": 5, "max_completion_tokens": 0}, 0),
        ],
    )
    def test_max_tokens(self, params: dict[str, int], tokens: int | None) -> None:
        given = fields(**params)
        assert given.max_tokens() == tokens
        given.finish()

    @pytest.mark.parametrize(("value", "read"), [(None, []), ("x", ["x"]), (["x", "y"], ["x", "y"]), ([], [])])
    def test_stop(self, value: object, read: list[str]) -> None:
        assert fields(stop=value).stop() == read

    @pytest.mark.parametrize("value", [5, 0, False, [5], {"x": 1}])
    def test_stop_of_another_type(self, value: object) -> None:
        with pytest.raises(InputError) as caught:
            fields(stop=value).stop()
        assert caught.value.param == "stop"

    def test_effort(self) -> None:
        assert (fields().effort(), fields(reasoning_effort="xhigh").effort()) == (None, "xhigh")
        for value in ("enormous", ["low"], 3):
            with pytest.raises(InputError) as caught:
                fields(reasoning_effort=value).effort()
            assert caught.value.param == "reasoning_effort"


class TestTools:
    def test_are_read(self) -> None:
        spare = {"function": {"name": "g", "description": None, "parameters": None, "strict": None}}
        full = {
            "type": "function",
            "function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True},
        }
        assert fields(tools=[full, spare]).tools() == [Tool("f", "d", {"type": "object"}, True), Tool("g")]
        assert fields(tools=[]).tools() == fields().tools() == []

    @pytest.mark.parametrize(
        ("tools", "param"),
        [
            ("x", "tools"),
            ({"f": 1}, "tools"),
            (["f"], "tools[0]"),
            ([TOOL, {"type": "function"}], "tools[1]"),
            ([{"type": "function", "function": {"name": 5}}], "tools[0]"),
            ([{"function": {"parameters": {}}}], "tools[0]"),
        ],
    )
    def test_that_are_none(self, tools: object, param: str) -> None:
        with pytest.raises(InputError) as caught:
            fields(tools=tools).tools()
        assert (caught.value.param, isinstance(caught.value, UnsupportedField)) == (param, False)

    def test_of_another_type_are_right_for_others(self) -> None:
        with pytest.raises(UnsupportedField, match="web_search") as caught:
            fields(tools=[TOOL, {"type": "web_search"}]).tools()
        assert caught.value.param == "tools[1]"

    @pytest.mark.parametrize(
        ("value", "read"),
        [
            (None, None),
            ("auto", ToolChoice("auto")),
            ("none", ToolChoice("none")),
            ("required", ToolChoice("required")),
            ({"type": "function", "function": {"name": "f"}}, ToolChoice("tool", "f")),
            ({"function": {"name": "f"}}, ToolChoice("tool", "f")),
        ],
    )
    def test_choice(self, value: object, read: ToolChoice | None) -> None:
        assert fields(tool_choice=value).tool_choice() == read

    @pytest.mark.parametrize("value", ["always", 5, {}, {"type": "function"}, {"type": "function", "function": {}}])
    def test_choice_that_is_none(self, value: object) -> None:
        with pytest.raises(InputError) as caught:
            fields(tool_choice=value).tool_choice()
        assert (caught.value.param, isinstance(caught.value, UnsupportedField)) == ("tool_choice", False)

    def test_choice_of_another_type_is_right_for_others(self) -> None:
        with pytest.raises(UnsupportedField, match="allowed_tools") as caught:
            fields(tool_choice={"type": "allowed_tools", "allowed_tools": {}}).tool_choice()
        assert caught.value.param == "tool_choice"


class TestFormat:
    SCHEMA = {"type": "object"}  # noqa: RUF012 - never changed

    @pytest.mark.parametrize(
        ("value", "read"),
        [
            (None, None),
            ({"type": "text"}, None),
            ({"type": "json_object"}, Format("json_object")),
            (
                {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}},
                Format("json_schema", "n", SCHEMA, True),
            ),
            ({"type": "json_schema", "json_schema": {"schema": SCHEMA}}, Format("json_schema", "answer", SCHEMA)),
        ],
    )
    def test_is_read(self, value: object, read: Format | None) -> None:
        assert fields(response_format=value).format() == read

    @pytest.mark.parametrize(
        "value",
        [
            "json",
            {"type": "grammar"},
            {"type": "json_schema"},
            {"type": "json_schema", "json_schema": {}},
            {"type": "json_schema", "json_schema": {"schema": SCHEMA, "strict": "yes"}},
        ],
    )
    def test_that_is_none(self, value: object) -> None:
        with pytest.raises(InputError) as caught:
            fields(response_format=value).format()
        assert caught.value.param == "response_format"

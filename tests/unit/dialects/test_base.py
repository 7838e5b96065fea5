"""JSON in and out of every dialect."""

from __future__ import annotations

import json

import msgspec
import pytest

from headwater.dialects import DIALECTS, dialect_named
from headwater.dialects.base import check, decode_object, json_line
from headwater.errors import InputError
from headwater.events import Metadata, Text


class Part(msgspec.Struct):
    name: str


class Shape(msgspec.Struct):
    parts: list[Part]
    count: int | None = None


def test_json_is_one_line() -> None:
    data = json_line({"text": "a\r\nb\0c"})
    assert b"\n" not in data
    assert json.loads(data) == {"text": "a\r\nb\0c"}


def test_half_a_surrogate_pair_is_replaced_and_a_whole_one_is_joined() -> None:
    assert json.loads(json_line({"k\ud800": ["a\ud83d\ude00b\udc00", 1]})) == {"k�": ["a😀b�", 1]}
    assert json.loads(json_line(Text("\ud800"))) == {"type": "text", "text": "�"}
    assert json.loads(json_line(Metadata({"x": {"y": "\udfff"}}))) == {"type": "metadata", "data": {"x": {"y": "�"}}}


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"x"', b"null", b'{"a":1}}', b"\xff", b'{"a":"\xff"}', b'{"a":NaN}', b"{'a':1}"]
)
def test_what_is_not_a_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(InputError) as caught:
        decode_object(body)
    assert caught.value.http_status == 400


def test_nesting_that_would_exhaust_the_stack_is_refused() -> None:
    with pytest.raises(InputError, match="deeply"):
        decode_object(b'{"a":' + b"[" * 100_000)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"parts": "x"}, "parts"),
        ({"parts": [{"name": 1}]}, "parts[0].name"),
        ({"parts": [{}]}, "parts[0]"),
        ({}, "parts"),
        ({"parts": [], "count": "1"}, "count"),
        ({"parts": [], "count": True}, "count"),
    ],
)
def test_a_wrong_type_names_its_field(fields: dict[str, object], param: str) -> None:
    with pytest.raises(InputError) as caught:
        check(fields, Shape)
    assert caught.value.param == param


def test_an_unknown_dialect_is_named_with_those_there_are() -> None:
    with pytest.raises(InputError, match=r"'morse'; there are: .*events, .*openai_chat") as caught:
        dialect_named("morse")
    assert caught.value.param == "dialect"
    assert dialect_named("events") is DIALECTS["events"]

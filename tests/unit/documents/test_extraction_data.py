"""CSV and JSON."""

from __future__ import annotations

import pytest

from headwater.documents.extraction import ReadLimits
from headwater.errors import DocumentRefused

from .files import read


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("name,city\nAnn,Paris\nBob,\n", "name: Ann; city: Paris\nname: Bob"),
        ("name;city\r\nAnn;'x,y'\r\n", "name: Ann; city: 'x,y'"),
        ("name|city\nAnn|Rome|extra\n\n", "name: Ann; city: Rome; extra"),
        ('name,text\nAnn,"two\nlines, and ""quotes"""', 'name: Ann; text: two lines, and "quotes"'),
        ("1,2\n3,4", "1 | 2\n3 | 4"),
        ("a,a\n3,4", "a | a\n3 | 4"),
        ("one\ntwo", "one\ntwo"),
        ("name,city", "name | city"),
        ('a,"never closed\nb,c', "a | never closed b,c"),
    ],
)
def test_rows(content: str, text: str) -> None:
    assert read(content, "a.csv").text == text


def test_tabs() -> None:
    assert read("a\tb, c\n1\t2", "a.tsv").text == "a: 1; b, c: 2"


def test_many_rows_and_giant_fields() -> None:
    made = read("n,text\n" + "".join(f"{n},{'x' * 50}\n" for n in range(5_000)), "a.csv")
    assert made.text.count("\n") == 4_999
    assert made.text.endswith(f"n: 4999; text: {'x' * 50}")
    assert read(f'a,b\n1,"{"y" * 1_000_000}"', "a.csv").text.endswith("y" * 1_000_000)


def test_a_header_cannot_multiply_the_text_beyond_the_limit() -> None:
    with pytest.raises(DocumentRefused) as caught:
        read(f"{'n' * 10_000},b\n" + "1,2\n" * 10_000, "a.csv", limits=ReadLimits(max_characters=1_000_000))
    assert caught.value.reason == "too_large"


def test_json_keeps_numbers_and_order_and_shows_characters() -> None:
    made = read(
        '{"b": 1.10, "a": "\\u00e9\\ud83d\\ude00 \\"q\\" \\\\u0041 a\\/b\\nnext", '
        '"\\u00e9": [12345678901234567890123, []]}',
        "a.json",
    )
    assert made.text == (
        '{\n  "b": 1.10,\n  "a": "é😀 \\"q\\" \\\\u0041 a/b\nnext",\n'
        '  "é": [\n    12345678901234567890123,\n    []\n  ]\n}'
    )
    assert [(made.text[start:].lstrip()[:3], path) for start, path in made.sections] == [
        ('"b"', "b"),
        ('"a"', "a"),
        ('"é"', "é"),
    ]


def test_json_of_many_lines() -> None:
    made = read("[" + ",".join(str(n) for n in range(5_000)) + "]", "a.json")
    assert made.text.count("\n") == 5_001
    assert made.sections == []


def test_json_in_lines() -> None:
    assert read('{"a": 1}\n\n{"a": 2}\n', "a.jsonl").text == '{\n  "a": 1\n}\n\n{\n  "a": 2\n}'
    assert read('{"a": 1}\nno json\n', "a.jsonl").text == '{"a": 1}\nno json'


def test_a_lone_surrogate_is_no_json() -> None:
    made = read('["\\ud800"]', "a.json")
    assert (made.text, made.media_type) == ('["\\ud800"]', "text/plain")


def test_json_in_another_encoding() -> None:
    assert read('{"a": "é"}'.encode("utf-16"), "a.json").text == '{\n  "a": "é"\n}'


def test_json_that_is_nested_too_deeply_ends_and_does_not_crash() -> None:
    with pytest.raises(RecursionError):
        read("[" * 1_000_000, "a.json")
    with pytest.raises(RecursionError):
        read("[" * 1_000_000 + "]" * 1_000_000, "a.jsonl")

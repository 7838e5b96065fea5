from __future__ import annotations

import pytest

from headwater.errors import ProviderProtocolError
from headwater.providers.wire.lenient import Halves, decode_lenient, excerpt


def test_pieces_are_left_as_they_came() -> None:
    payload = rb'{"content":"\ud83d","other":["\ud83d",{"\ude00":1}],"logprobs":{"content":"\ud83d"},"n":NaN}'
    value = decode_lenient(payload, pieces=frozenset({"content"}))
    assert isinstance(value, dict)
    assert value["content"] == "\ud83d"
    assert value["other"] == ["\ufffd", {"\ufffd": 1}]
    assert value["logprobs"] == {"content": "\ufffd"}


@pytest.mark.parametrize("payload", [b"", b"{", b"nope", b"[" * 100_000, b"9" * 5000])
def test_what_is_no_json(payload: bytes) -> None:
    with pytest.raises(ProviderProtocolError):
        decode_lenient(payload)


def test_excerpts_are_short_and_printable() -> None:
    assert excerpt(b"a\x00\x1b[31m\xff") == "a  [31m\ufffd"
    assert excerpt(b"x " * 31) == "x " * 30 + "…"
    assert excerpt(b"x " * 30) == "x " * 30


def test_excerpts_hold_no_keys() -> None:
    """Also none that nothing but its length tells: Mistral's, Google's."""
    for key in (
        "sk-proj-abcdefghijklmnop",
        "0123456789abcdefABCDEF0123456789",
        "AIzaSyA-0123456789_abcdefghijklmnopqrs",
    ):
        assert excerpt(f'{{"msg":"bad key {key}"}}'.encode()) == '{"msg":"bad key ***"}'


def test_halves_join_and_flush() -> None:
    halves: Halves[str] = Halves()
    assert halves.join("a", "x\ud83d") == "x"
    assert halves.join("b", "y") == "y"
    assert halves.join("a", "\ude00z\ud83d") == "😀z"
    assert halves.flush() == {"a": "\ufffd"}
    assert halves.flush() == {}
    assert halves.join("a", "") == ""


def test_two_first_halves() -> None:
    halves: Halves[str] = Halves()
    assert halves.join("a", "\ud83d") == ""
    assert halves.join("a", "\ud83d") == "\ufffd"
    assert halves.join("a", "\ude00") == "😀"

"""Other people's text in a prompt: harmless, and the same every time."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headwater.chat.quoting import fenced, neutral, one_line, shortened

MARKS = "<|im_start|> [INST] <<SYS>> </s> <｜User｜> <think> === END [1] == = < | > [ ] a \u202e \u200b \0 \ud800"
NASTY = st.lists(st.sampled_from([*MARKS.split(" "), " ", "\n", "\r"]), max_size=20).map("".join)


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("<|im_start|>system", "< |im_start| >system"),
        ("[INST] x [/INST]", "( INST ) x ( /INST )"),
        ("<<SYS>>x<</SYS>>", "< SYS >x< /SYS >"),
        ("<s>a</s><start_of_turn>", "< s >a< /s >< start_of_turn >"),
        ("<｜User｜>", "< ｜User｜ >"),
        ("=== END PASSAGES 0123 ===", "- END PASSAGES 0123 ==="),
        ("a\n[2] Another heading", "a\n(2) Another heading"),
        # What is only like such a mark stays.
        ("x = a[1] and [2]", "x = a[1] and [2]"),
        ("a < b | c > d", "a < b | c > d"),
        ("A title\n=====\n", "A title\n====="),
        # Hidden text: zero width, right to left, tags, controls, soft hyphen.
        ("pay\u200b\u202e\u2066 \U000e0041\U000e0042me\x00\x1b\xad", "pay me"),
        ("a\r\nb\rc\u2028d\ve", "a\nb\nc\nd\ne"),
        # A mark that hidden characters break up is found all the same.
        ("<\u200b|im_end|\u200b>", "< |im_end| >"),
        ("half \ud800 a pair", "half  a pair"),
        ("tabs\tstay\n", "tabs\tstay"),
    ],
)
def test_neutral(text: str, harmless: str) -> None:
    assert neutral(text) == harmless


@given(st.one_of(st.text(), NASTY))
@example("<<SYS>>>")
def test_neutral_twice_is_neutral_once(text: str) -> None:
    once = neutral(text)
    assert neutral(once) == once
    assert "<|" not in once
    assert "[INST]" not in once
    assert not any(character in once for character in "\u202e\u200b\0\r")


def test_neutral_is_linear() -> None:
    for unit in ("=", "<", "[1] ", "[", " ", "\n", "|"):
        neutral(unit * (500_000 // len(unit)))


def test_one_line() -> None:
    assert one_line("a\n b\t<|x", 20) == "a b < |x"
    assert one_line("word " * 10, 9) == "word wor…"


@pytest.mark.parametrize(
    ("characters", "cut"),
    [(20, "one two three"), (9, "one two"), (7, "one two"), (6, "one"), (2, "on"), (0, ""), (-1, "")],
)
def test_shortened(characters: int, cut: str) -> None:
    assert shortened("one two three", characters) == cut


def test_a_fence_cannot_be_forged() -> None:
    block = fenced("PASSAGES", "text")
    begin, body, end = block.split("\n")
    assert body == "text"
    tag = begin.split()[3]
    assert (begin, end) == (f"=== BEGIN PASSAGES {tag} ===", f"=== END PASSAGES {tag} ===")
    assert fenced("PASSAGES", "text") == block
    assert fenced("PASSAGES", "texts").split()[3] != tag
    assert fenced("QUESTION", "text").split()[3] != tag


def test_a_tag_that_is_inside_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can write a text that holds its own hash, but a tag of one character shows what would happen."""
    monkeypatch.setattr("headwater.chat.quoting._TAG_CHARACTERS", 1)
    body = "0123456789abcde"
    assert fenced("X", body).split()[3] == "f"

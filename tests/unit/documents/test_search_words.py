from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.documents.search.words import MAX_WORD_CHARACTERS, MAX_WORDS, STOP_WORDS, words_of


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("What is the height of the car deck?", ["height", "car", "deck"]),
        ("Wo darf ich an Bord rauchen und wo nicht?", ["darf", "bord", "rauchen"]),
        ("Quand commence l'embarquement des piétons ?", ["commence", "embarquement", "piétons"]),
        # The stop words of one language are words of another.
        ("Can I take my car?", ["take", "car"]),
        ("car deck", ["car", "deck"]),
        ("die Fähre", ["die", "fähre"]),
        ("Ticket TICKET ticket", ["ticket"]),
        ("who are you", ["who", "are", "you"]),
        ("alarm-47 snake_case __", ["alarm", "47", "snake_case"]),
        ('" OR 1=1; NEAR(a b) -- *', ["1", "near", "b"]),
        ("", []),
        ("?!… 🙂", []),
        ("x" * (MAX_WORD_CHARACTERS + 1), []),
    ],
)
def test_words_worth_looking_for(question: str, words: list[str]) -> None:
    assert words_of(question) == words


def test_of_a_pasted_text_both_ends_are_asked() -> None:
    words = words_of(" ".join(f"word{number}" for number in range(100_000)))
    assert len(words) == MAX_WORDS
    assert (words[0], words[-1]) == ("word0", "word99999")


@given(st.text(max_size=300))
def test_no_word_is_syntax(question: str) -> None:
    for word in words_of(question):
        assert word.replace("_", "").isalnum() or all(
            char == "_" or char.isalnum() or char.isnumeric() for char in word
        )


def test_stop_words_are_lists_of_their_own() -> None:
    assert all(len(words) > 100 for words in STOP_WORDS.values())

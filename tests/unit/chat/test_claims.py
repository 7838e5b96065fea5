from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.chat.claims import find_claims, numbers_cited
from headwater.providers.extractive import NOTHING_FOUND


def bare(answer: str) -> list[str]:
    return [claim.bare for claim in find_claims(answer, passages=5)[0]]


def test_claims_and_what_they_cite() -> None:
    claims, said_nothing = find_claims(
        "## Leave\n\nIt is 14 weeks [1][3]. [2] Paid in full【4†file】.\n\n- Ask HR [9].\n```\nx = 1\n```", passages=5
    )
    assert not said_nothing
    assert [(claim.bare, sorted(claim.cited)) for claim in claims] == [
        ("It is 14 weeks .", [1, 2, 3]),
        ("Paid in full .", [4]),
        ("Ask HR .", []),
    ]
    assert claims[0].text == "It is 14 weeks [1][3]. [2]"


@pytest.mark.parametrize(
    "text",
    [
        "", "[1]", "[1, 2] [3].", "Hello!", "Hi there,", "Sure!", "Of course.", "Guten Tag!", "Bonjour !", "¡Hola!",
        "What do you mean?", "Would you like to know more?", "“Really?”", "Here is what the documents say:",
        "I hope this helps!", "Let me know if you need more details.", "If you have other questions, ask.",
        "Yes.", "# A heading of some words", "```\na block of code\n```", "---", "That is it.",
    ],
)  # fmt: skip
def test_no_claims(text: str) -> None:
    assert find_claims(text, passages=3) == ([], False)


@pytest.mark.parametrize(
    "text",
    [
        NOTHING_FOUND,
        "I could not find any information about this in the provided documents.",
        "I couldn’t find that in the passages.",
        "The passages do not mention the capital of France.",
        "The provided context doesn't contain the answer.",
        "There is no information about this in the documents.",
        "The answer is not mentioned in the text.",
        "I don't know the answer.",
        "In den Dokumenten habe ich dazu nichts gefunden.",
        "Die Dokumente enthalten keine Angaben zu dieser Frage.",
        "Je n'ai pas trouvé cette information dans les documents.",
        "Les documents ne mentionnent pas ce sujet.",
        "No encontré información sobre esto en los documentos.",
        "Non ho trovato informazioni nei documenti.",
    ],
)
def test_sentences_that_say_that_nothing_was_found(text: str) -> None:
    assert find_claims(text, passages=3) == ([], True)


@pytest.mark.parametrize(
    "text",
    [
        "The warranty does not cover water damage.",
        "Sure, the moon is made of cheese.",
        "Hello, the limit is 500.",
        "I could not find it in the documents, but it is 42.",
        "Der Tarif ist nicht enthalten.",
        "| Plan | 10 EUR |",
    ],
)
def test_claims(text: str) -> None:
    claims, said_nothing = find_claims(text, passages=3)
    assert (len(claims), said_nothing) == (1, False)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("[1]", {1}),
        ("[1][2] [3]", {1, 2, 3}),
        ("[1, 3; 4]", {1, 3, 4}),
        ("[2-4]", {2, 3, 4}),
        ("[2\u20134]", {2, 3, 4}),
        ("[^2] 【3†x】", {2, 3}),
        ("[0] [6] [999] [4-999]", {4, 5}),
        ("[3-1]", set()),
        ("1 (2)", set()),
    ],
)
def test_numbers_cited(text: str, numbers: set[int]) -> None:
    assert numbers_cited(text, passages=5) == numbers


def test_an_answer_of_several() -> None:
    assert bare("Hello! It is 14 weeks. I hope this helps.") == ["It is 14 weeks."]


@given(st.text(), st.integers(0, 9))
def test_any_text_can_be_read(text: str, passages: int) -> None:
    claims, _ = find_claims(text, passages=passages)
    for claim in claims:
        assert claim.text in text
        assert claim.cited <= set(range(1, passages + 1))

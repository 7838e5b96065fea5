"""The words that carry meaning, in a form that can be compared."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.words import content_words, fold_text, has_negation, numbers, stem


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("How many weeks of leave do I get?", ["week", "leav"]),
        ("Wie viele Tage Urlaub habe ich?", ["tag", "urlaub"]),
        ("Combien de jours de congés ?", ["jour", "cong"]),
        ("¿Cuántos días de vacaciones hay?", ["dia", "vacacion"]),
        ("Quanti giorni di ferie?", ["giorn", "feri"]),
        ("l'employé isn't", ["employ", "isn"]),
        ("The ISO-27001 costs 1,000.50 or 3.5 in A4", ["iso", "27001", "cost", "1,000.50", "3.5", "a4"]),
        ("東京都は大", ["東京", "京都", "都は", "は大"]),
        ("山 x", ["山"]),
        ("", []),
    ],
)
def test_content_words(text: str, words: list[str]) -> None:
    assert content_words(text) == words


@pytest.mark.parametrize(
    "forms",
    [
        "employee employees employed employer employing",
        "policy policies",
        "exceed exceeded exceeds exceeding",
        "class classes",
        "Vertrag Verträge Verträgen Vertrags",
        "Tag Tage Tagen Tages",
        "Kind Kinder Kindern",
        "congé congés",
        "stratégie stratégies strategy",
        "empleado empleada empleados",
        "contratto contratti",
        "weiß weiss WEISS",
        "ﬁnal final",
    ],
)
def test_forms_of_a_word_are_one(forms: str) -> None:
    assert len(set(content_words(forms))) == 1


@pytest.mark.parametrize("pair", ["policy police", "string str", "bring br", "bonus bone", "2023 2024", "1,000 1.000"])
def test_different_words_stay_different(pair: str) -> None:
    assert len({*map(stem, pair.split())}) == 2


@given(st.text())
def test_any_text_has_words(text: str) -> None:
    for word in content_words(text):
        assert word
        assert word == fold_text(word)
    has_negation(text)
    assert all(number in text for number in numbers(text))


@given(st.text(st.characters(categories=["Ll"])))
def test_the_stem_of_a_stem_is_itself(word: str) -> None:
    assert stem(stem(word)) == stem(word)


def test_numbers() -> None:
    assert numbers("In 2024, 1.234,56 € or 5km (§3a), v2.1.") == ["2024", "1.234,56", "5", "3", "2.1"]


@pytest.mark.parametrize(
    "text",
    ["It does not", "it doesn't", "it doesn’t", "Er verfällt nicht", "ce n'est pas", "¡Nunca!", "senza", "NO", "keine"],
)
def test_negation(text: str) -> None:
    assert has_negation(text)


@pytest.mark.parametrize("text", ["It does", "nothing" * 2, "a knot", "notable", ""])
def test_no_negation(text: str) -> None:
    assert not has_negation(text)


def test_the_work_is_linear() -> None:
    for unit in ("n't ", "1,", "a" * 1000, "\u0301", "\ufdfa"):
        content_words(unit * (200_000 // len(unit)))

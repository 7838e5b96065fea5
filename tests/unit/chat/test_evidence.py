from __future__ import annotations

import pytest

from headwater.chat.claims import Claim
from headwater.chat.evidence import Evidence

LEAVE = (
    "Every employee gets 14 weeks of paid parental leave. The leave can be taken in two parts. It costs 1,234.50 EUR."
)
WARRANTY = "The warranty lasts three years. The warranty does not cover water damage. Call 0800 12."
EVIDENCE = Evidence([LEAVE, WARRANTY], most_characters=10_000)


def supports(text: str, *cited: int, evidence: Evidence = EVIDENCE) -> bool:
    return evidence.supports(Claim(text, text, frozenset(cited)))


@pytest.mark.parametrize(
    "text",
    [
        "Employees get fourteen weeks of parental leave.",
        "You have 14 weeks of leave.",
        "The leave can be taken in two parts.",
        "The warranty lasts 3 years.",
        "The warranty does not cover damage by water.",
        "Water damage isn't covered by the warranty.",
        "It costs 1.234,50 EUR.",
        "It costs 1234.5 EUR.",
        "14",
    ],
)
def test_supported(text: str) -> None:
    assert supports(text)


@pytest.mark.parametrize(
    "text",
    [
        # A number that no passage has.
        "Employees get 16 weeks of paid parental leave.",
        "It costs 1,234.60 EUR.",
        # Too few of the words.
        "The moon is made of green cheese.",
        # The opposite.
        "The warranty covers water damage.",
        "The leave cannot be taken in two parts.",
    ],
)
def test_unsupported(text: str) -> None:
    assert not supports(text)


def test_what_is_cited_is_what_counts() -> None:
    assert supports("You get 14 weeks of leave.", 1)
    assert not supports("You get 14 weeks of leave.", 2)
    assert supports("You get 14 weeks of leave.", 1, 2)
    # A sentence much like it stands in another passage only.
    assert not supports("The warranty covers water damage.", 2)
    other = Evidence([WARRANTY, "The warranty covers water damage in boats."], most_characters=1000)
    assert supports("The warranty covers water damage.", 2, evidence=other)
    assert not supports("The warranty covers water damage.", 1, evidence=other)
    # Both are said somewhere.
    assert supports("The warranty covers water damage.", evidence=other)


@pytest.mark.parametrize(
    ("claimed", "written"),
    [
        ("1,000", "1000"), ("1.000", "1,000"), ("1000", "1.000"), ("3,5", "3.50"), ("3.0", "3"), ("007", "7"),
        ("1,234,567", "1234567"), ("1.234.567,8", "1234567.80"), ("0,5", "0.5"), ("00", "0"), ("3", "drei"),
        ("4", "quatre"), ("10", "diez"), ("8", "otto"), ("2024.01.05", "2024.1.5"),
    ],
)  # fmt: skip
def test_ways_to_write_a_number(claimed: str, written: str) -> None:
    if claimed.startswith("2024"):
        assert not supports(claimed, evidence=Evidence([written], most_characters=100))
        assert supports(claimed, evidence=Evidence([claimed], most_characters=100))
        return
    assert supports(claimed, evidence=Evidence([f"It is {written}."], most_characters=100))
    assert not supports(f"{claimed} and 99", evidence=Evidence([f"It is {written}."], most_characters=100))


def test_evidence_is_read_up_to_a_bound() -> None:
    evidence = Evidence(["a" * 90, "Leave is 14 weeks. Late words."], most_characters=108)
    assert supports("Leave is 14 weeks.", evidence=evidence)
    assert not supports("Late words.", evidence=evidence)


def test_no_evidence() -> None:
    evidence = Evidence([], most_characters=10)
    assert not supports("Leave is long.", evidence=evidence)


def test_words_that_are_everywhere_cost_no_more() -> None:
    evidence = Evidence(["The warranty does not cover water damage. " * 2000], most_characters=100_000)
    for _ in range(500):
        assert not supports("The warranty covers water damage.", evidence=evidence)

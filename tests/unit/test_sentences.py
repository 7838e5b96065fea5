"""Sentences have exact places, and where it is not sure that one ends, it goes on."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headwater.sentences import CITATION, split_sentences

ALPHABET = st.sampled_from(
    list("aB1 .!?…。\n\t-*#>`|[](),\"'»“=Dr_äß，") + ["```\n", "\n\n", ". ", "z. B. ", "[1]", "1. ", "\r\n"]
)


def texts(text: str) -> list[str]:
    return [sentence.text for sentence in split_sentences(text)]


@pytest.mark.parametrize(
    "text",
    [
        # English
        "It ends. | It begins.",
        "Dr. Smith and Mrs. Jones met J. R. Tolkien at St. Mary's. | They left.",
        "It costs $3.50, i.e. less than 1,000.5 units. | Cheap!",
        "The U.S. Senate met. | Why? | Nobody knows...",
        "See Fig. 3 and no. 5. | The answer was no. | Then they left.",
        "“Really?” he asked. | “Yes.” | Then silence.",
        "He left (see p. 5.) and came back. | (It was late.) | End",
        "Wait... what? | Well… | Yes.",
        "He was born on Jan. 5. | She was not.",
        # German
        "Vgl. Abs. 2 und z. B. Nr. 7. | Die 2. Auflage erschien am 3. Oktober.",
        "Das kostet 5. | Der Rest ist frei.",
        "Äpfel, Birnen usw. | Ende gut. | Übrigens u. a. Der Rest.",
        "„Ja.“ | Er ging ca. 3,5 km.",
        # French, Spanish, Italian
        "M. Dupont a signé (cf. art. 5). | « Oui. » | Il est parti.",
        "El Sr. García tiene 3,5 años. | ¿Qué hace? | ¡Nada!",
        "Il sig. Rossi è qui. | È tardi.",
        # Chinese and Japanese
        "他来了。 | 我走了！ | 「好。」 | 真的？",
        # Citations belong to what they follow.
        "One thing. [1] | Another [2]. | A third.[3][4] | A fourth [1, 2].",
        "As was said.【1†A. B. pdf】 | So it is.",
        # What is lower-case goes on.
        "Use numpy. it is fast",
        "**Bold.** | Next.",
    ],
)
def test_sentences(text: str) -> None:
    expected = text.split(" | ")
    assert texts(" ".join(expected)) == expected
    assert texts("".join(expected) if "。" in text else "\n".join(expected)) == expected


def test_blocks_of_markdown() -> None:
    text = (
        "# A title. With two\n"
        "First line\nof a paragraph. End.\n"
        "- an item\n"
        "- another. With two\n"
        "  goes on.\n"
        "1. first\n"
        "2) second\n"
        "> quoted. And\n> longer\n"
        "\n---\n"
        "| a. B | c |\n|---|---|\n| 1 | 2 |\n"
        "```python\nx = 1. Y\n\nz\n```\n"
        "Under\n=====\n"
        "after"
    )
    assert [(sentence.kind, sentence.text) for sentence in split_sentences(text)] == [
        ("heading", "A title. With two"),
        ("prose", "First line\nof a paragraph."),
        ("prose", "End."),
        ("prose", "an item"),
        ("prose", "another."),
        ("prose", "With two\n  goes on."),
        ("prose", "first"),
        ("prose", "second"),
        ("prose", "quoted."),
        ("prose", "And\n> longer"),
        ("row", "| a. B | c |"),
        ("row", "| 1 | 2 |"),
        ("code", "```python\nx = 1. Y\n\nz\n```"),
        ("heading", "Under"),
        ("prose", "after"),
    ]


def test_a_fence_ends_at_its_like() -> None:
    assert texts("````\n```\na. B\n````\nafter") == ["````\n```\na. B\n````", "after"]
    assert texts("~~~\nnever. Closed") == ["~~~\nnever. Closed"]
    assert texts("```inline``` is none. Next") == ["```inline``` is none.", "Next"]


def test_a_title_on_a_line_of_its_own() -> None:
    text = "Parental leave\nEvery employee of the company gets fourteen weeks\nof leave. It is paid."
    assert [sentence.kind for sentence in split_sentences(text)] == ["heading", "prose", "prose"]
    # Lines of one length are wrapped prose, also where a noun begins one.
    assert len(texts("Der Vertrag gilt für die\nKunden und alle weiteren")) == 1
    # A short line in the middle of a paragraph.
    text = "This is a long enough line of text\nShort title\nAnd this is another long line of text"
    assert texts(text) == ["This is a long enough line of text\nShort title", "And this is another long line of text"]


@given(st.one_of(st.text(), st.lists(ALPHABET, max_size=40).map("".join)))
@example("")
@example(" \n")
@example("1. ")
def test_places_are_exact_and_nothing_is_lost(text: str) -> None:
    at = 0
    for sentence in split_sentences(text):
        assert sentence.text == text[sentence.start : sentence.end]
        assert sentence.text == sentence.text.strip() != ""
        assert at <= sentence.start < sentence.end
        assert not any(each.isalpha() for each in text[at : sentence.start] if each not in "aD")  # "a)" is a mark
        at = sentence.end
    assert not any(each.isalpha() for each in text[at:])


@given(st.lists(ALPHABET, max_size=30).map("".join), st.lists(ALPHABET, max_size=30).map("".join))
def test_paragraphs_do_not_depend_on_each_other(first: str, second: str) -> None:
    if "```" in first + second:
        return
    assert texts(f"{first}\n\n{second}") == texts(first) + texts(second)


@pytest.mark.parametrize(
    "unit", ["a. ", "[1] ", ". [1", "> ", "\t|", "' ", "A.", "[1,1", ". (", ".\n", "```\n", "=", "\n"]
)
def test_the_work_is_linear(unit: str) -> None:
    """What takes a quadratic splitter minutes."""
    split_sentences(unit * (400_000 // len(unit)))


@pytest.mark.parametrize("text", ["[1]", "[12, 3]", "[1-3]", "[1\u20133]", "[^2]", "【4†source】", "【4】"])
def test_citations(text: str) -> None:
    assert CITATION.fullmatch(text)


@pytest.mark.parametrize("text", ["[1234]", "[a]", "[]", "[1", "1]", "[1,]"])
def test_no_citations(text: str) -> None:
    assert not CITATION.fullmatch(text)

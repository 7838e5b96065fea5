from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.documents.extraction.draft import clean
from headwater.documents.extraction.records import Extracted, Progress
from headwater.documents.splitting import Cut, Splitting, split
from headwater.errors import ConfigError

texts = (
    st.lists(st.text("ab.# \n\té漢😀👨‍👩‍👧\u0301-`>", max_size=30) | st.text(max_size=10), max_size=40)
    .map("".join)
    .map(clean)
)


def cuts_of(text: str, splitting: Splitting, markup: str = "plain") -> list[Cut]:
    extracted = Extracted(text, "text/plain", "markdown" if markup == "markdown" else "plain", [], [])
    return split(extracted, splitting, lambda _: None)


@given(texts, st.integers(16, 60), st.integers(0, 8), st.sampled_from(["plain", "markdown"]))
def test_offsets_are_exact_and_nothing_is_lost(text: str, characters: int, overlap: int, markup: str) -> None:
    cuts = cuts_of(text, Splitting(characters, overlap), markup)
    covered = 0
    for cut in cuts:
        assert 0 < cut.end - cut.start <= characters
        assert not text[covered : cut.start].strip()
        assert text[cut.start : cut.end].strip()
        covered = max(covered, cut.end)
    assert not text[covered:].strip()
    assert [cut.start for cut in cuts] == sorted({cut.start for cut in cuts})


@given(st.lists(st.text("abcdefgh ", min_size=1, max_size=40), min_size=1, max_size=30))
def test_pieces_are_those_that_the_splitter_says(words: list[str]) -> None:
    """Windows leave no trace in texts that fit in one."""
    from semantic_text_splitter import TextSplitter

    text = clean("\n".join(words))
    expected = [(start, start + len(piece)) for start, piece in TextSplitter(50, overlap=10).chunk_indices(text)]
    assert [(cut.start, cut.end) for cut in cuts_of(text, Splitting(50, 10))] == expected


def test_passages_overlap_across_windows() -> None:
    text = " ".join(f"word{n}" for n in range(2_000))
    cuts = cuts_of(text, Splitting(60, 20))
    assert len(cuts) > 200
    assert all(after.start < before.end for before, after in pairwise(cuts))


@pytest.mark.parametrize("text", ["word " * 2_000, "x" * 5_000, "a\n\nb c\n" * 1_000])
def test_windows_lose_nothing_and_say_nothing_twice(text: str) -> None:
    pieces = [text[cut.start : cut.end] for cut in cuts_of(text, Splitting(20, 0))]
    assert "".join("".join(pieces).split()) == "".join(text.split())


def test_pages_and_sections_are_those_of_the_first_character() -> None:
    text = "intro words here\n\nfirst page words\n\nsecond page words"
    extracted = Extracted(text, "application/pdf", "plain", [0, 18, 18, 36], [(18, "One"), (36, "One > Two")])
    cuts = split(extracted, Splitting(20, 0), lambda _: None)
    assert [(cut.page, cut.section) for cut in cuts] == [(1, ""), (3, "One"), (4, "One > Two")]


def test_progress_ends_with_all() -> None:
    told: list[Progress] = []
    text = "some words here. " * 3_000
    cuts = split(Extracted(text, "text/plain", "plain", [], []), Splitting(100, 10), told.append)
    assert len(told) > 5
    assert all(p.stage == "chunking" and p.unit == "passage" and p.done <= p.total for p in told)
    assert all(p.done < p.total for p in told[:-1])
    assert told[-1].done == told[-1].total == len(cuts)
    assert abs(told[3].total - len(cuts)) < len(cuts) * 0.1


def test_blank_windows_are_passed() -> None:
    assert cuts_of(" " * 2_000 + "words" + " " * 2_000, Splitting(16, 0)) == [Cut(2_000, 2_005)]
    assert cuts_of("", Splitting()) == []


@pytest.mark.parametrize(("passage", "overlap"), [(15, 0), (100_001, 0), (100, 51), (100, -1)])
def test_what_cannot_be_asked(passage: int, overlap: int) -> None:
    with pytest.raises(ConfigError):
        Splitting(passage, overlap)

"""A document's text to passages that overlap, each with its exact place.

Invariant: `text[cut.start : cut.end]` is the passage, and no passage is longer than asked.

The splitter's time grows faster than its input where there are no paragraphs, so it gets the text in windows. The
last passage of a window is thrown away, and the next window begins where it began: the overlap crosses windows, and
no passage is cut short by one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from ..errors import ConfigError
from .extraction.records import Extracted, Progress, Report

if TYPE_CHECKING:
    from semantic_text_splitter import MarkdownSplitter, TextSplitter

# Each window costs its last passage twice.
_PASSAGES_PER_WINDOW = 32
_MIN_PASSAGE_CHARACTERS, _MAX_PASSAGE_CHARACTERS = 16, 100_000


class Splitting(msgspec.Struct, frozen=True):
    """`passage_characters`: the most, of 16 to 100,000. `overlap_characters`: the most, up to half a passage."""

    passage_characters: int = 1_200
    overlap_characters: int = 150

    def __post_init__(self) -> None:
        if not _MIN_PASSAGE_CHARACTERS <= self.passage_characters <= _MAX_PASSAGE_CHARACTERS:
            raise ConfigError("passages have from 16 to 100,000 characters")
        if not 0 <= self.overlap_characters <= self.passage_characters // 2:
            raise ConfigError("passages overlap by at most half of their characters")


class Cut(msgspec.Struct, frozen=True, array_like=True):
    """A passage's place. `page` (from 1; None in formats without) and `section` are those of its first character."""

    start: int
    end: int
    page: int | None = None
    section: str = ""


def split(extracted: Extracted, splitting: Splitting, report: Report) -> list[Cut]:
    """In order of `start`. Reports a progress per window."""
    section_starts = [start for start, _ in extracted.sections]
    cuts: list[Cut] = []
    for found in _windows(extracted, splitting):
        for start, end in found:
            section = bisect_right(section_starts, start) - 1
            page = bisect_right(extracted.pages, start) if extracted.pages else None
            cuts.append(Cut(start, end, page, extracted.sections[section][1] if section >= 0 else ""))
        share = cuts[-1].end / len(extracted.text) if cuts else 0.0
        report(Progress("chunking", len(cuts), max(len(cuts) + 1, round(len(cuts) / max(share, 1e-9))), "passage"))
    report(Progress("chunking", len(cuts), len(cuts), "passage"))
    return cuts


def _windows(extracted: Extracted, splitting: Splitting) -> Iterator[list[tuple[int, int]]]:
    """The (start, end) of the passages that each window adds."""
    text, splitter = extracted.text, _splitter(extracted.markup, splitting)
    size = splitting.passage_characters * _PASSAGES_PER_WINDOW
    position = 0
    while position < len(text):
        found = [
            (position + start, position + start + len(passage))
            for start, passage in splitter.chunk_indices(text[position : position + size])
        ]
        is_last = position + size >= len(text)
        if is_last or len(found) < 2:
            # Fewer than two: nearly all of the window is blank.
            position += size
        else:
            position = found.pop()[0]
        yield found


def _splitter(markup: str, splitting: Splitting) -> TextSplitter | MarkdownSplitter:
    from semantic_text_splitter import MarkdownSplitter, TextSplitter

    kind = MarkdownSplitter if markup == "markdown" else TextSplitter
    return kind(splitting.passage_characters, overlap=splitting.overlap_characters)

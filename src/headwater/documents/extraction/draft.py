"""The text while it is put together: cleaned, counted, with the starts of its pages and sections.

Invariant: what was added never changes again, so every start stays true. The text holds no control characters but
tab and newline, no lone surrogates (databases and UTF-8 refuse both), and at most two blank lines in a row.
"""

from __future__ import annotations

import re
from typing import Literal

from ...errors import DocumentRefused
from .records import Extracted

_HEADING_CHARACTERS = 200
_BREAKS = dict.fromkeys(map(ord, "\x0b\x0c\x85\u2028\u2029"), "\n")
_SPACES = dict.fromkeys(map(ord, "\xa0\u2007\u202f"), " ")
_NOTHING = dict.fromkeys([*range(9), *range(0x0E, 0x20), *range(0x7F, 0x85), *range(0x86, 0xA0), 0x200B, 0xFEFF])
_CLEAN = {**_BREAKS, **_SPACES, **_NOTHING}
_SURROGATES = re.compile("[\ud800-\udfff]")
_TALL_GAPS = re.compile(r"\n{4,}")


def clean(text: str) -> str:
    """Newlines as line feeds, no trailing blanks, no characters that mean nothing in a text."""
    if text.isascii() and text.isprintable():
        return text.rstrip()
    text = _SURROGATES.sub("\ufffd", text).replace("\r\n", "\n").replace("\r", "\n").translate(_CLEAN)
    # Line by line, as a pattern for "blanks before a newline" is quadratic in a long run of blanks.
    text = "\n".join(line.rstrip() for line in text.split("\n"))
    # More blank lines say no more, and the Markdown splitter is worse than quadratic in them.
    return _TALL_GAPS.sub("\n\n\n", text).strip("\n")


class Draft:
    """`media_type` and `markup` may be set by the extractor, which knows best. Raises where the text grows too long."""

    def __init__(self, max_characters: int, media_type: str = "text/plain") -> None:
        self.media_type = media_type
        self.markup: Literal["plain", "markdown"] = "plain"
        self.length = 0
        self._max_characters = max_characters
        self._parts: list[str] = []
        self._pages: list[int] = []
        self._sections: list[tuple[int, str]] = []
        self._headings: list[tuple[int, str]] = []
        self._unplaced_pages = 0

    def add(self, block: str, *, gap: str = "\n\n", cleaned: bool = False) -> int:
        """Where the block begins. An empty one adds nothing. Raises `DocumentRefused`."""
        block = block if cleaned else clean(block)
        if not block:
            return self.length
        gap = gap if self._parts else ""
        start = self.length + len(gap)
        self.length = start + len(block)
        if self.length > self._max_characters:
            raise DocumentRefused(f"it holds more than {self._max_characters} characters of text", reason="too_large")
        self._parts += (gap, block)
        self._place_pages(start)
        return start

    def add_heading(self, level: int, title: str) -> None:
        """A block of its own that begins a section. Two blank lines before it are a stronger border than one."""
        title = clean(title)
        if title:
            self.begin_section(self.add(title, gap="\n\n\n", cleaned=True), level, title)

    def begin_section(self, start: int, level: int, title: str) -> None:
        """From `start`, not before the last section's, the text belongs to this heading, below those of less level."""
        title = " ".join(title.split())[:_HEADING_CHARACTERS]
        while self._headings and self._headings[-1][0] >= level:
            self._headings.pop()
        self._headings.append((level, title))
        self._sections.append((start, " > ".join(title for _, title in self._headings)))

    def begin_page(self) -> None:
        """What is added next is on the next page."""
        self._unplaced_pages += 1

    def finish(self) -> Extracted:
        self._place_pages(self.length)
        return Extracted("".join(self._parts), self.media_type, self.markup, self._pages, self._sections)

    def _place_pages(self, start: int) -> None:
        self._pages += [start] * self._unplaced_pages
        self._unplaced_pages = 0

"""PDF: the text of each page, and its outline as sections."""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pypdf import PdfReader
from pypdf.errors import LimitReachedError, PyPdfError
from pypdf.generic import Destination

from ...errors import DocumentRefused
from .draft import Draft, clean
from .records import Given, Progress, Report

_LIGATURES = {ord(char): unicodedata.normalize("NFKC", char) for char in "\ufb00\ufb01\ufb02\ufb03\ufb04\ufb05\ufb06"}
_SOFT_HYPHEN = re.compile("\xad[ \t]*(\n[ \t]*)?")
# A word of letters that is broken at the end of a line and goes on in lower case.
# The look-behinds keep these linear in a long run of letters.
_BROKEN_WORD = re.compile(r"(?<![^\W\d_])([^\W\d_]{2,})[-\u2010]\n([^\W\d_]+)")
_HYPHENATED = re.compile(r"(?<![^\W\d_])[^\W\d_]{2,}-[^\W\d_]+")
_MAX_OUTLINE_ENTRIES = 5_000


class _Entry(NamedTuple):
    page: int
    level: int
    title: str


def extract(given: Given, draft: Draft, report: Report) -> None:
    """Raises `DocumentRefused`, and whatever pypdf raises for damaged files."""
    try:
        reader = _open(given.content)
        count = len(reader.pages)
        if count > given.limits.max_pages:
            raise DocumentRefused(
                f"it has {count} pages; at most {given.limits.max_pages} are read", reason="too_many_pages"
            )
        entries = _outline(reader)
        report(Progress("extraction", 0, count, "page"))
        for number in range(count):
            _add_page(_page_text(reader, number), draft, [entry for entry in entries if entry.page == number])
            report(Progress("extraction", number + 1, count, "page"))
    except LimitReachedError as exc:
        raise DocumentRefused("it expands to more than is allowed", reason="expands_too_much") from exc


def _open(content: bytes) -> PdfReader:
    reader = PdfReader(io.BytesIO(content), strict=False)
    # Many are encrypted with an empty user password, which every viewer tries: they restrict printing, not reading.
    if reader.is_encrypted and not reader.decrypt(""):
        raise DocumentRefused("it is encrypted; save it without a password", reason="encrypted")
    return reader


def _page_text(reader: PdfReader, number: int) -> str:
    """A page that is missing would be missed by nobody until it matters, so one that is damaged refuses the whole."""
    try:
        return tidy(reader.pages[number].extract_text())
    except (LimitReachedError, MemoryError, DocumentRefused):
        raise
    except Exception as exc:
        raise DocumentRefused(f"its page {number + 1} is damaged", reason="damaged") from exc


def tidy(text: str) -> str:
    """Ligatures as letters, accents as one character with their letter, words whole that a line's end broke."""
    text = unicodedata.normalize("NFC", clean(_SOFT_HYPHEN.sub("", text.translate(_LIGATURES))))
    # "well-known" keeps its hyphen where the page has it elsewhere.
    hyphenated = frozenset(_HYPHENATED.findall(text))
    return _BROKEN_WORD.sub(lambda found: _joined(found, hyphenated), text)


def _joined(broken: re.Match[str], hyphenated: frozenset[str]) -> str:
    first, second = broken[1], broken[2]
    if not second[0].islower():
        return broken[0]
    return f"{first}-{second}" if f"{first}-{second}" in hyphenated else first + second


def _add_page(text: str, draft: Draft, entries: list[_Entry]) -> None:
    draft.begin_page()
    start = draft.add(text, cleaned=True)
    position = 0
    for entry in entries:
        # Where the page has the title, from there; else from where the last one begins.
        position = max(text.find(entry.title, position), position)
        draft.begin_section(start + position, entry.level, entry.title)


def _outline(reader: PdfReader) -> list[_Entry]:
    """In the order of the pages. An outline that is damaged is none: the text is what matters."""
    try:
        entries: list[_Entry] = []
        for level, item in _flat(reader.outline, 1):
            page = reader.get_destination_page_number(item)
            if page is not None and page >= 0 and item.title and len(entries) < _MAX_OUTLINE_ENTRIES:
                entries.append(_Entry(page, level, " ".join(clean(str(item.title)).split())))
        return sorted((entry for entry in entries if entry.title), key=lambda entry: entry.page)
    except (PyPdfError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return []


def _flat(outline: Iterable[object], level: int) -> Iterator[tuple[int, Destination]]:
    for item in outline:
        if isinstance(item, list):
            yield from _flat(item, level + 1)
        elif isinstance(item, Destination):
            yield level, item

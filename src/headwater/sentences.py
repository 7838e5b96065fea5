"""A text's sentences, with their exact places in it. Pure, and linear in the text's length.

Rules for prose in European languages, with Markdown around it, and for the full stops of Chinese and Japanese. Where
it is not sure that a sentence ends, it does not: half a sentence is worse to quote than two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, NamedTuple, TypeAlias

Kind: TypeAlias = Literal["prose", "heading", "row", "code"]


class Sentence(NamedTuple):
    """`text` is the whole text's `[start:end]`. A citation right after a sentence (`[2]`) belongs to it.

    A block of code is one, fences included, and so is a row of a table; bullets are in none.
    """

    text: str
    start: int
    end: int
    kind: Kind = "prose"


class _Block(NamedTuple):
    start: int
    end: int
    kind: Kind


CITATION = re.compile(
    r"\[\^?(\d{1,3}(?: ?[,;\u2013-] ?\d{1,3})*)\]|\u3010(\d{1,3})(?:\u2020[^\u3010\u3011\n]{0,40})?\u3011"
)
"""`[1]`, `[1, 3]`, `[1-3]`, `[^1]`, and `【1†source】`, as one model family writes it."""

_FENCE = re.compile(r"[ \t]*(`{3,}(?=[^`]*\Z)|~{3,})")
_HEADING = re.compile(r"[ \t]{0,3}#{1,6}[ \t]+(?=\S)")
_RULE = re.compile(r"[\s|:=*_+-]*")
_UNDERLINE = re.compile(r" {0,3}(?:=+|-{2,})\s*")
_QUOTE = re.compile(r"[ \t]*(?:>[ \t]?)+")
_MARKER = re.compile(r"[ \t]*(?:>[ \t]?)*[ \t]*(?:(?:[-*+\u2022\u2023\u25aa\u25e6\u2013]|\d{1,3}[.)]|[a-z]\))[ \t]+)?")
_TABLE_ROW = re.compile(r"[ \t]*\|")

_CLOSERS = "\"'\u2019\u201d\u201c\u00bb\u203a)\\]}*_\u300d\u300f\uff09"
_END = re.compile(rf"(?:[.!?\u2026]+|(?P<cjk>[\u3002\uff01\uff1f\uff61]+))[{_CLOSERS}]*(?:[ \u00a0\u202f]\u00bb)?")
_CITATIONS = re.compile(rf"(?:[ \t]?(?:{CITATION.pattern}))+")
_ENDED = re.compile(rf"[.!?:;\u2026\u3002\uff01\uff1f][{_CLOSERS}]*$")
# What stands before a next sentence's first letter.
_OPENERS = re.compile("[\\s\"'\u2018\u201c\u201e\u00ab\u2039(\\[*_\u00bf\u00a1\u300c\u300e\uff08-]*")
_WORD_BEFORE = re.compile(r"[^\s(\"\u201c\u201e\u00ab\[*_\u2013\u2014/]*$")
_LONGEST_WORD = 24

_ABBREVIATION_LIST = """
    mr mrs ms dr prof st sr jr rev gen col capt lt sgt hon vs cf viz approx dept est al ed eds fig figs
    eq ch chap pp vol jan feb apr aug sept oct nov dec bzw ca evtl ggf hr hrsg inkl exkl mind nr str
    tel vgl zzgl abs abt allg bspw einschl geb gem insb jh jhd kap mio mrd s sog stk u ua usf z zt
    m mme mlle mgr env p ex tél tel av bd janv févr juill sept déc
    sra srta dña ud uds pág págs núm aprox gral
    sig sigg dott dott.ssa avv ing pag
"""
_ABBREVIATIONS = frozenset(_ABBREVIATION_LIST.split())
# Only before a number: "no. 5", "Art. 6"; as words they end sentences.
_BEFORE_NUMBERS = frozenset({"no", "nos", "art", "par", "pos", "ref", "op", "bl", "tab", "ziff", "n"})
_ACRONYM = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]?")
# "z. B.", "u. a."
_SPACED_ACRONYM = re.compile(r"(?<![^\W_])[^\W\d_]\.[ \u00a0\u202f][^\W\d_]$")
_ORDINAL = re.compile(r"\d{1,2}")
_MONTHS = re.compile(
    r"(?:januar|jänner|februar|märz|april|mai|juni|juli|august|september|oktober|november|dezember)\b", re.IGNORECASE
)
# "am 3. Oktober", "die 2. Auflage": in German a number with a full stop is an ordinal.
_ORDINAL_AFTER = re.compile(
    r"\b(?:am|der|die|das|dem|den|des|vom|zum|zur|im|bis|ab|seit|jede[rsnm]?)\s+\d{1,2}$", re.IGNORECASE
)
# A line that is this short beside the paragraph's longest, without a full stop, is a title above it.
_TITLE_CHARACTERS = 60


def split_sentences(text: str) -> list[Sentence]:
    """In order, without overlap; outside of them are only white space, list and heading marks, and rules."""
    found: list[Sentence] = []
    for block in _blocks(text):
        if block.kind == "prose":
            spans: Iterator[tuple[int, int]] = _split(text, block.start, block.end)
        else:
            spans = iter(((block.start, block.end),))
        for start, end in spans:
            while start < end and text[start].isspace():
                start += 1
            while end > start and text[end - 1].isspace():
                end -= 1
            if start < end:
                found.append(Sentence(text[start:end], start, end, block.kind))
    return found


# ---------------------------------------------------------------------- blocks


def _blocks(text: str) -> Iterator[_Block]:
    """Paragraphs, list items, table rows, headings and fenced code, in order."""
    paragraph: list[tuple[int, int]] = []
    quoted = False
    fence = ""
    fence_start = at = 0
    for line in text.splitlines(keepends=True):
        start, at = at, at + len(line)
        if fence:
            if line.strip().startswith(fence) and not line.strip(" \t\r\n`~"):
                yield _Block(fence_start, at, "code")
                fence = ""
            continue
        special, marker = _special(line), _marker_end(line)
        goes_on = marker == 0 or (quoted and _QUOTE.fullmatch(line[:marker]) is not None)
        if special or not goes_on:
            yield from _paragraph(text, paragraph, titled=_UNDERLINE.fullmatch(line) is not None)
            paragraph = []
        if not special:
            quoted = _QUOTE.match(line) is not None
            paragraph.append((start + marker, at))
        elif opened := _FENCE.match(line):
            fence, fence_start = opened[1], start
        elif special != "rule":
            marks = " \t#" if special == "heading" else " \t"
            yield _Block(at - len(line.lstrip(marks)), at, special)
    yield from _paragraph(text, paragraph)
    if fence:
        yield _Block(fence_start, at, "code")


def _special(line: str) -> Literal["code", "heading", "row", "rule", ""]:
    """What a line is that belongs to no paragraph. An empty one is a rule, too."""
    if _FENCE.match(line):
        return "code"
    if _RULE.fullmatch(line):
        return "rule"
    if _TABLE_ROW.match(line):
        return "row"
    return "heading" if _HEADING.match(line) else ""


def _marker_end(line: str) -> int:
    """How many characters of bullet, number or quote mark begin the line; 0 where none does."""
    found = _MARKER.match(line)
    end = found.end() if found else 0
    return end if line[:end].strip() and line[end:].strip() else 0


def _paragraph(text: str, lines: list[tuple[int, int]], *, titled: bool = False) -> Iterator[_Block]:
    """One block; but a title that stands on a line right above its text is one of its own.

    `titled`: the line after it underlines it.
    """
    if not lines:
        return
    if titled and len(lines) == 1:
        yield _Block(*lines[0], "heading")
        return
    longest = max(end - start for start, end in lines)
    begin = lines[0][0]
    for (start, end), (following, _) in pairwise(lines):
        line = text[start:end].rstrip()
        short = len(line) <= _TITLE_CHARACTERS and 3 * len(line) <= 2 * longest
        if short and not _ENDED.search(line[-8:]) and not line.endswith(",") and text[following].isupper():
            yield _Block(begin, end, "heading" if begin == start else "prose")
            begin = following
    yield _Block(begin, lines[-1][1], "prose")


# ---------------------------------------------------------------------- sentences of a block


def _split(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    begin = start
    for match in _END.finditer(text, start, end):
        if match.start() < begin:
            continue
        stop = match.end()
        cited = _CITATIONS.match(text, stop, end)
        if cited:
            stop = cited.end()
        if stop >= end or ((match["cjk"] or text[stop].isspace()) and _ends(text, match, begin, (stop, end))):
            yield begin, stop
            begin = stop
    if begin < end:
        yield begin, end


def _ends(text: str, match: re.Match[str], begin: int, rest: tuple[int, int]) -> bool:
    """Whether the mark at `match` ends the sentence that began at `begin`; `rest` is what of the block is after it."""
    if match["cjk"]:
        return True
    opened = _OPENERS.match(text, *rest)
    at = opened.end() if opened else rest[0]
    following = text[at : min(at + _LONGEST_WORD, rest[1])]
    next_character = following[:1]
    if next_character.islower():
        return False
    if match[0] != ".":
        return True
    before = text[max(begin, match.start() - _LONGEST_WORD) : match.start()]
    found = _WORD_BEFORE.search(before)
    word = found[0].lstrip("'") if found else ""
    return not _goes_on(word, before, following)


def _goes_on(word: str, before: str, following: str) -> bool:
    """Whether the full stop after `word` is part of an abbreviation, an initial or an ordinal."""
    folded = word.casefold()
    next_character = following[:1]
    if folded in _ABBREVIATIONS or _ACRONYM.fullmatch(word):
        return True
    if len(word) == 1 and word.isalpha():
        return word.isupper() or next_character.isdigit() or bool(_SPACED_ACRONYM.search(before))
    if folded in _BEFORE_NUMBERS:
        return next_character.isdigit()
    if _ORDINAL.fullmatch(word):
        return bool(_MONTHS.match(following) or _ORDINAL_AFTER.search(before))
    return False

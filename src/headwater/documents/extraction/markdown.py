"""Markdown: its source is its text, and its headings are its sections."""

from __future__ import annotations

from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token

from .decoding import decode
from .draft import Draft, clean
from .records import Given, Report


def extract(given: Given, draft: Draft, _report: Report) -> None:
    text = clean(decode(given.content, given.charset))
    draft.markup = "markdown"
    draft.add(text, cleaned=True)
    starts = _line_starts(text)
    first_line = _front_matter_lines(text)
    parser = MarkdownIt("commonmark")
    # Only blocks: what is inside of paragraphs is most of the work, and asked of headings only.
    blocks = MarkdownIt("commonmark")
    blocks.core.ruler.enableOnly(["normalize", "block"])
    tokens = blocks.parse(text)
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open" and opening.map and opening.map[0] >= first_line:
            draft.begin_section(starts[opening.map[0]], int(opening.tag[1:]), _words(parser, inline.content))


def _words(parser: MarkdownIt, source: str) -> str:
    """A heading without its markup."""
    tokens: list[Token] = [child for token in parser.parseInline(source) for child in token.children or ()]
    return "".join(" " if token.type.endswith("break") else token.content for token in tokens)


def _line_starts(text: str) -> list[int]:
    starts, position = [0], text.find("\n")
    while position >= 0:
        starts.append(position + 1)
        position = text.find("\n", position + 1)
    return starts


def _front_matter_lines(text: str) -> int:
    """YAML at the start, between lines of `---`, the second of which would make its last line a heading."""
    end = text.find("\n---\n", 3) if text.startswith("---\n") else -1
    return text.count("\n", 0, end) + 2 if end >= 0 else 0

"""HTML to text: a blank line between blocks, a line for each row and list item, headings as sections.

Left out is what a reader does not see or does not read: scripts, styles, navigation, hidden elements.
The tree is walked without recursion, as its depth is the document's to choose.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError

from ...errors import DocumentRefused
from .decoding import decode
from .draft import Draft
from .records import Given, Report

_HIDDEN = frozenset((
    "script", "style", "nav", "template", "noscript", "iframe", "object", "embed", "svg", "canvas", "audio", "video",
    "select", "datalist", "button", "head", "dialog",
))  # fmt: skip
_BLOCKS = frozenset((
    "html", "body", "p", "div", "section", "article", "main", "aside", "header", "footer", "address", "blockquote",
    "figure", "figcaption", "details", "summary", "form", "fieldset", "legend", "table", "caption", "thead", "tbody",
    "tfoot", "tr", "ul", "ol", "li", "dl", "dt", "dd", "pre", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "center",
))  # fmt: skip
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
# They follow each other without a blank line.
_LINES = frozenset(("tr", "li", "dt", "dd"))
_CELLS = frozenset(("td", "th"))
_HIDING_STYLE = re.compile(r"(^|;)\s*(display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)
_BLANKS_RUN = re.compile(" {2,}")
_BLANKS = re.compile(r"[ \t\n\r\f]+")
# The parser is quadratic in the depth of these, which only their own end tags close; other elements cost it little.
_DEEP_TAG = re.compile(
    r"<(/?)(?:div|section|article|main|aside|header|footer|address|blockquote|figure|details|fieldset|center|ul|ol|dl)"
    r"[\s/>]",
    re.IGNORECASE,
)
_MAX_DEPTH = 5_000


def extract(given: Given, draft: Draft, _report: Report) -> None:
    found = _META_CHARSET.search(given.content, 0, 4096)
    extract_text(decode(given.content, given.charset or (found[1].decode("ascii", "replace") if found else "")), draft)


def extract_text(html: str, draft: Draft) -> None:
    """Raises `DocumentRefused`."""
    _check_depth(html)
    try:
        tree = LexborHTMLParser(html)
    except SelectolaxError as exc:
        # There is no HTML that it cannot parse; it says so where memory ends.
        raise MemoryError from exc
    title = tree.css_first("head > title")
    _Writer(draft, " ".join(title.text().split()) if title else "").write(tree.body)


def _check_depth(html: str) -> None:
    depth = 0
    for tag in _DEEP_TAG.finditer(html):
        depth = max(depth - 1, 0) if tag[1] else depth + 1
        if depth > _MAX_DEPTH:
            raise DocumentRefused("its elements are nested too deeply", reason="damaged")


class _Writer:
    """What is between two borders of blocks is gathered in `_inline`, and added to the draft at the second."""

    def __init__(self, draft: Draft, title: str) -> None:
        self._draft = draft
        self._title = title
        self._inline: list[str] = []
        self._prefix = ""
        self._last_kind = ""
        self._preformatted = 0
        self._rows = 0

    def write(self, body: LexborNode | None) -> None:
        for node, is_start in _steps(body):
            if node.tag == "-text":
                if is_start:
                    self._add_text(node.text_content or "")
            elif is_start:
                self._open(node.tag or "")
            else:
                self._close(node.tag or "")
        self._flush("")

    def _add_text(self, text: str) -> None:
        self._inline.append(text if self._preformatted else _BLANKS.sub(" ", text))

    def _open(self, tag: str) -> None:
        if tag == "br":
            self._inline.append("\n")
        elif tag in _CELLS:
            if any(part.strip() for part in self._inline):
                self._inline.append(" | ")
        elif tag == "p" and self._rows:
            self._inline.append(" ")
        elif tag in _BLOCKS:
            self._flush("")
            self._prefix = "- " if tag == "li" else self._prefix
            self._preformatted += tag == "pre"
            self._rows += tag == "tr"

    def _close(self, tag: str) -> None:
        if tag == "p" and self._rows:
            self._inline.append(" ")
        elif tag in _BLOCKS:
            self._flush(tag)
            self._preformatted -= tag == "pre"
            self._rows -= tag == "tr"
            self._prefix = "" if tag == "li" else self._prefix

    def _flush(self, kind: str) -> None:
        text = "".join(self._inline)
        self._inline.clear()
        if not self._preformatted:
            # Newlines are those of `br`; the document's own became blanks.
            text = "\n".join(line.strip() for line in _BLANKS_RUN.sub(" ", text).split("\n")).strip()
        if not text.strip():
            return
        self._add_title(kind, text)
        if kind in _HEADINGS:
            self._draft.add_heading(_HEADINGS[kind], text)
        else:
            follows = kind in _LINES and kind == self._last_kind
            self._draft.add(self._prefix + text, gap="\n" if follows else "\n\n")
        self._prefix, self._last_kind = "", kind

    def _add_title(self, kind: str, first_text: str) -> None:
        """The document's title, before its first block, unless that says it already."""
        title, self._title = self._title, ""
        if title and not (kind in _HEADINGS and " ".join(first_text.split()) == title):
            self._draft.add(title)


def _steps(root: LexborNode | None) -> Iterator[tuple[LexborNode, bool]]:
    """Every visible node below `root`, at its start and at its end."""
    node = root.child if root is not None else None
    depth = 1
    while node is not None:
        is_visible = not _is_hidden(node)
        if is_visible:
            yield node, True
            if (child := node.child) is not None:
                node, depth = child, depth + 1
                continue
            yield node, False
        while (following := node.next) is None:
            node, depth = node.parent, depth - 1
            if node is None or depth == 0:
                return
            yield node, False
        node = following


def _is_hidden(node: LexborNode) -> bool:
    if not node.is_element_node:
        return not node.is_text_node
    if node.tag in _HIDDEN:
        return True
    attributes = node.attributes
    if not attributes:
        return False
    return (
        "hidden" in attributes
        or (attributes.get("aria-hidden") or "").lower() == "true"
        or bool(_HIDING_STYLE.search(attributes.get("style") or ""))
    )

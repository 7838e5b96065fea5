"""JSON, and JSON in lines: indented, with its numbers and order as they are, and with characters instead of escapes.

What does not parse is plain text: a file of settings with comments, or one that was cut.
"""

from __future__ import annotations

import re

import msgspec

from .decoding import decode
from .draft import Draft
from .records import Given, Report

_KEY = re.compile(r'  "((?:[^"\\]|\\.)*)": ')
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))")
_SHORT = {"/": "/", "n": "\n", "t": "\t", "r": ""}
_BATCH_LINES = 2_000


def extract(given: Given, draft: Draft, _report: Report) -> None:
    """Raises `RecursionError` where it is nested too deeply."""
    text = decode(given.content, given.charset)
    try:
        formatted = [msgspec.json.format(text.encode(errors="replace"), indent=2).decode()]
    except msgspec.DecodeError:
        formatted = _format_lines(text)
    if not formatted:
        draft.media_type = "text/plain"
        draft.add(text)
    for value in formatted:
        _add(value, draft, with_sections=len(formatted) == 1)


def _format_lines(text: str) -> list[str]:
    """Each line a value; [] where one is none."""
    try:
        return [
            msgspec.json.format(line.encode(errors="replace"), indent=2).decode()
            for line in text.split("\n")
            if line.strip()
        ]
    except msgspec.DecodeError:
        return []


def _add(formatted: str, draft: Draft, *, with_sections: bool) -> None:
    """The keys of the outermost object are the sections."""
    lines: list[str] = []
    gap = "\n\n"
    key = ""
    for line in formatted.split("\n"):
        found = _KEY.match(line) if with_sections else None
        if found or len(lines) >= _BATCH_LINES:
            gap = _add_lines(lines, draft, gap=gap, key=key)
            lines, key = [], _unescape(found[1]) if found else ""
        lines.append(_unescape(line))
    _add_lines(lines, draft, gap=gap, key=key)


def _add_lines(lines: list[str], draft: Draft, *, gap: str, key: str) -> str:
    start = draft.add("\n".join(lines), gap=gap)
    if key:
        draft.begin_section(start, 1, key)
    return "\n"


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    # Pairs of surrogates are one character; lone ones msgspec does not let pass.
    return _ESCAPE.sub(_character, text).encode("utf-16", "surrogatepass").decode("utf-16")


def _character(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else _SHORT.get(escape[2], escape[0])

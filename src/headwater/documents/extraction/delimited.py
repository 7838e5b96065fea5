"""CSV and the like: each row a line that names its columns, so that a passage of rows is understood alone."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from .decoding import decode
from .draft import Draft
from .records import Given, Report

_DELIMITERS = ",;\t|"
_HEAD_LINES = 20
# Rows that reach the draft at once.
_BATCH_CHARACTERS = 65_536


def extract(given: Given, draft: Draft, _report: Report) -> None:
    text = decode(given.content, given.charset)
    # A field may be as long as the text may be, not longer than 131,072 as by default.
    csv.field_size_limit(max(given.limits.max_characters, 1))
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    lines: list[str] = []
    size = 0
    for line in _lines(rows):
        lines.append(line)
        size += len(line)
        if size > _BATCH_CHARACTERS:
            draft.add("\n".join(lines), gap="\n")
            lines, size = [], 0
    draft.add("\n".join(lines), gap="\n")


def _delimiter(text: str) -> str:
    """The one that the first lines have most; the comma in doubt."""
    head = "".join(io.StringIO(text[:_BATCH_CHARACTERS]).readlines()[:_HEAD_LINES])
    return max(_DELIMITERS, key=head.count)


def _lines(rows: Iterator[list[str]]) -> Iterator[str]:
    """Below a header "name: Ann; city: Paris"; else "Ann | Paris", for the first row as well."""
    first = [_flat(field) for field in next(rows, [])]
    if not _is_header(first):
        yield " | ".join(first)
        for row in rows:
            yield " | ".join(map(_flat, row))
        return
    empty = True
    for row in rows:
        empty = False
        fields = [_flat(field) for field in row]
        named = [f"{name}: {field}" for name, field in zip(first, fields, strict=False) if field]
        yield "; ".join(named + [field for field in fields[len(first) :] if field])
    if empty:
        yield " | ".join(first)


def _is_header(row: list[str]) -> bool:
    is_named = len(row) > 1 and all(row) and len(set(row)) == len(row)
    return is_named and not any(field.lstrip("+-").replace(".", "", 1).replace(",", "").isdigit() for field in row)


def _flat(field: str) -> str:
    return " ".join(field.split())

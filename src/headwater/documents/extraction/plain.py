"""Plain text and source code: as they are."""

from __future__ import annotations

from .decoding import decode
from .draft import Draft
from .records import Given, Report


def extract(given: Given, draft: Draft, _report: Report) -> None:
    draft.add(decode(given.content, given.charset))

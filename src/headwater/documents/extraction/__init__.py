"""From a document's bytes to its text, with pages and sections. It may meet anything: use it in the worker process."""

from __future__ import annotations

from importlib import import_module

from ...errors import DocumentRefused
from .draft import Draft
from .formats import identify
from .records import Extracted, Given, Progress, ReadLimits, Report

__all__ = ["Extracted", "Progress", "ReadLimits", "Report", "extract"]


def extract(content: bytes, *, name: str, media_type: str, limits: ReadLimits, report: Report) -> Extracted:
    """Raises `DocumentRefused`, and whatever the libraries raise for documents that are damaged."""
    form, charset = identify(content, name=name, media_type=media_type)
    draft = Draft(limits.max_characters, form.media_type)
    import_module(f".{form.module}", __name__).extract(Given(content, charset, limits), draft, report)
    extracted = draft.finish()
    if not extracted.text.strip():
        raise DocumentRefused(_without_text(len(extracted.pages)), reason="no_text")
    if not extracted.pages:
        report(Progress("extraction", 1, 1, "document"))
    return extracted


def _without_text(pages: int) -> str:
    if pages:
        return f"it has no text on its {pages} pages: it seems to be scanned, and pictures of text are not read"
    return "it holds no text"

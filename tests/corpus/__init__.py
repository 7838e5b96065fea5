"""Documents of a small ferry company that does not exist, and questions about them: what search is measured with.

`documents/` holds one Markdown file a subject; a passage is what stands under one heading. `questions.json` names for
each question the document and a phrase of the one passage that answers it. `kind`: whether the question uses the
passage's own words, or other ones (`paraphrase`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from headwater.documents.reading import Piece, Reading

HERE = Path(__file__).parent


class Question(msgspec.Struct, frozen=True):
    question: str
    document: str
    phrase: str
    kind: Literal["words", "paraphrase"]


def questions() -> list[Question]:
    return msgspec.json.decode((HERE / "questions.json").read_bytes(), type=list[Question])


def readings() -> dict[str, Reading]:
    """Name of the file → its passages, split at the headings: extraction is not what is measured here."""
    files = sorted((HERE / "documents").glob("*.md"))
    return {file.name: _read(file.read_text(encoding="utf-8")) for file in files}


def _read(text: str) -> Reading:
    title = text[2 : text.index("\n")]
    pieces = []
    at = text.index("\n## ") + 1
    while at >= 0:
        following = text.find("\n## ", at)
        heading_end = text.index("\n", at)
        start, end = heading_end + 1, len(text) if following < 0 else following
        piece = text[start:end].rstrip()
        section = f"{title} > {text[at + 3 : heading_end]}"
        pieces.append(Piece(text=piece, start=start, end=start + len(piece), section=section))
        at = following + 1 if following >= 0 else -1
    return Reading(text=text, media_type="text/markdown", pages=0, pieces=pieces)

"""Workspaces, documents and embedders that the tests of the shelf and of search share."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

from sqlalchemy import insert

from headwater.documents.reading import Piece, Reading
from headwater.documents.records import Document, Scope
from headwater.documents.shelf import Shelf
from headwater.store import Store
from headwater.store.tables import threads, workspaces

ANN, BOB = "user:ann", "user:bob"


class Clock:
    """Unix milliseconds that stand still until they are set."""

    def __init__(self) -> None:
        self.ms = 1_700_000_000_000

    def __call__(self) -> int:
        return self.ms


async def make_workspace(store: Store, tenant: str, number: int = 1) -> Scope:
    id_ = f"{tenant[-3:]}00000-0000-7000-8000-{number:012d}"
    row = {"id": id_, "tenant": tenant, "number": number, "slug": str(number), "name": "Desk", "metadata": {}}
    async with store.write() as connection:
        await connection.execute(insert(workspaces).values(**row, created_ms=0, updated_ms=0))
    return Scope(tenant, id_)


async def make_thread(store: Store, scope: Scope, number: int = 1) -> Scope:
    id_ = f"{scope.tenant[-3:]}00000-0000-7000-9000-{number:012d}"
    row = {"id": id_, "tenant": scope.tenant, "number": number, "slug": str(number), "metadata": {}}
    async with store.write() as connection:
        await connection.execute(
            insert(threads).values(**row, workspace_id=scope.workspace_id, created_ms=0, updated_ms=0)
        )
    return Scope(scope.tenant, scope.workspace_id, id_)


def reading(*texts: str, section: str = "", overlap: int = 0) -> Reading:
    """One passage a text. `overlap`: characters of the former passage that each next one begins with."""
    pieces: list[Piece] = []
    whole = ""
    for at, text in enumerate(texts, start=1):
        start = max(0, len(whole) - overlap)
        whole += text if overlap else text + "\n"
        end = len(whole) - (0 if overlap else 1)
        pieces.append(Piece(text=whole[start:end], start=start, end=end, page=at, section=section))
    return Reading(text=whole, media_type="text/plain", pages=len(texts), pieces=pieces)


async def place(
    shelf: Shelf,
    scope: Scope,
    *texts: str,
    name: str = "notes.txt",
    section: str = "",
    pinned: bool = False,
    confidential: bool = False,
) -> Document:
    """A document with one passage a text, in force."""
    document = await shelf.add(
        scope,
        name=name,
        media_type="text/plain",
        content="\n".join(texts).encode(),
        pinned=pinned,
        confidential=confidential,
    )
    assert await shelf.finish(document.id, 1, reading(*texts, section=section))
    return await shelf.get(scope.tenant, document.id)


class Subjects:
    """An embedder that knows a few subjects: each is a direction, and has words for it."""

    words = (("dog", "hound", "puppy"), ("ship", "vessel", "boat"), ("money", "cash", "coins"))

    def __init__(self, *, name: str = "subjects", local: bool = True) -> None:
        self.name = name
        self.local = local
        self.asked: list[str] = []
        self.failure: Exception | None = None
        self.closed = False

    async def embed(self, texts: Sequence[str]) -> list[bytes]:
        self.asked += texts
        if self.failure is not None:
            raise self.failure
        return [self._vector(text.lower()) for text in texts]

    async def close(self) -> None:
        self.closed = True

    def _vector(self, text: str) -> bytes:
        numbers = [float(sum(text.count(word) for word in words)) for words in self.words]
        length = math.hypot(*numbers) or 1.0
        return array("f", [number / length for number in numbers]).tobytes()

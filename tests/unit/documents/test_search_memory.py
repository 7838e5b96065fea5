"""Words of encrypted passages: found as by the index on disk, by an index that is nowhere but in memory."""

from __future__ import annotations

import logging
from array import array
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from headwater.chat.conversations import Conversations
from headwater.documents.reading import Piece, Reading
from headwater.documents.records import Query, Scope
from headwater.documents.search import Searcher
from headwater.documents.search.filters import Filter
from headwater.documents.search.lexical import weigh, words_in
from headwater.documents.search.memory import MemoryWords
from headwater.documents.search.vectors import VectorIndex
from headwater.documents.settings import DocumentSettings
from headwater.documents.shelf import Shelf
from headwater.encryption import Key, KeyRing, Sealer
from headwater.store import Store, open_store
from headwater.store.database import database_url

from .shelving import Subjects

TENANT = "t"
TEXTS = (
    "The heron's weir opens at four.", "Weirs are opened by wardens.", "Nothing of the kind.",
    "A weir, a weir, a weir.",
    "Überlauf und Wehr: opening hours of the weir.",
)  # fmt: skip


class Shelved:
    def __init__(self, store: Store, scope: Scope) -> None:
        self.store = store
        self.scope = scope
        self.shelf = Shelf(store)

    async def add(self, *texts: str, thread: str | None = None, confidential: bool = False) -> str:
        scope = Scope(TENANT, self.scope.workspace_id, thread)
        document = await self.shelf.add(
            scope, name="a.txt", media_type="text/plain", content=repr(texts).encode(), confidential=confidential
        )
        await self.read(document.id, 1, *texts)
        return document.id

    async def read(self, document_id: str, version: int, *texts: str) -> None:
        pieces = [
            Piece(text, at * 100, at * 100 + len(text), None, "Hours" if at else "") for at, text in enumerate(texts)
        ]
        assert await self.shelf.finish(document_id, version, Reading(" ".join(texts), "text/plain", 0, pieces))

    async def rank(self, words: MemoryWords, *asked: str, limit: int = 10) -> list[int]:
        async with self.store.read() as connection:
            return await words.rank(connection, asked, Filter(self.scope), limit)


async def shelved(store: Store) -> Shelved:
    workspace = await Conversations(store).workspaces.create(TENANT, name="W")
    return Shelved(store, Scope(TENANT, workspace.id))


@pytest.fixture
async def sealed(tmp_path: Path) -> AsyncIterator[Shelved]:
    store = await open_store(database_url(None, tmp_path), Sealer(KeyRing([Key(bytes(32))])))
    yield await shelved(store)
    await store.close()


async def test_it_finds_and_weighs_as_the_index_on_disk(sealed: Shelved, tmp_path: Path) -> None:
    store = await open_store(database_url(None, tmp_path / "plain"))
    plain = await shelved(store)
    for one in (plain, sealed):
        await one.add(*TEXTS[:3])
        await one.add(*TEXTS[3:])
    asked = ["weir", "opening", "uberlauf"]
    found = []
    for one, words in ((plain, words_in(is_sqlite=True)), (sealed, MemoryWords(max_bytes=2**30))):
        async with one.store.read() as connection:
            ranked = await words.rank(connection, asked, Filter(one.scope), 10)
            found.append((ranked, await weigh(words, connection, asked, one.scope, ranked)))
    assert found[0] == found[1]
    assert len(found[0][0]) == 4
    results = await Searcher(sealed.store).search(Query(sealed.scope, "When does the weir open?"))
    assert results.found[0].text in TEXTS
    assert results.found[0].document_name == "a.txt"
    await store.close()


async def test_it_follows_the_documents(sealed: Shelved) -> None:
    words = MemoryWords(max_bytes=2**30)
    document = await sealed.add("One heron.", "Two herons.")
    assert await sealed.rank(words, "heron") == await sealed.rank(words, "heron") != []
    await sealed.shelf.add_version(TENANT, document, b"anew")
    await sealed.read(document, 2, "A stork.")
    assert await sealed.rank(words, "heron") == []
    assert len(await sealed.rank(words, "stork")) == 1
    other = await sealed.add("Storks.")
    assert len(await sealed.rank(words, "stork", limit=1)) == 1
    assert len(await sealed.rank(words, "stork")) == 2
    await sealed.shelf.delete(TENANT, other)
    assert len(await sealed.rank(words, "stork")) == 1


async def test_it_keeps_what_was_searched_last_as_far_as_it_may(sealed: Shelved) -> None:
    other = await shelved(sealed.store)
    for one in (sealed, other):
        await one.add(*(f"word{number} and weir" for number in range(300)))
    words = MemoryWords(max_bytes=2**30)
    assert len(await sealed.rank(words, "weir", limit=500)) == len(await other.rank(words, "weir", limit=500)) == 300
    both = words.kept_bytes
    assert both > 20_000
    for most, kept in ((both - 1, 1), (0, 0)):
        words = MemoryWords(max_bytes=most)
        for one in (sealed, other, sealed):
            assert len(await one.rank(words, "weir", limit=500)) == 300
        assert len(words._kept) == kept


async def test_the_searcher_obeys_its_bound(sealed: Shelved) -> None:
    await sealed.add(*TEXTS)
    searcher = Searcher(sealed.store, settings=DocumentSettings(lexical_cache_bytes=0))
    for _ in range(2):
        assert (await searcher.search(Query(sealed.scope, "weir"))).found
    assert isinstance(searcher._words, MemoryWords)
    assert searcher._words.kept_bytes == 0


@pytest.mark.parametrize("value", ["text || 'AAAA'", "CAST(CAST(substr(text, 1, 9) AS BLOB) || x'c1' AS TEXT)"])
async def test_a_passage_that_does_not_open_is_not_found_and_the_others_are(
    sealed: Shelved, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    await sealed.add(*TEXTS)
    async with sealed.store.write() as connection:
        await connection.execute(text(f"UPDATE passages SET text = {value} WHERE ordinal = 0"))  # noqa: S608
        await connection.execute(text("UPDATE passages SET section = section || 'AAAA' WHERE ordinal = 1"))
        await connection.execute(text("UPDATE documents SET name = name || 'AAAA'"))
    with caplog.at_level(logging.ERROR):
        for _ in range(2):
            results = await Searcher(sealed.store).search(Query(sealed.scope, "When does the weir open?"))
            assert {found.text for found in results.found} == {TEXTS[1], TEXTS[3], TEXTS[4]}
            assert {found.document_name for found in results.found} == {""}
        assert [document.name for document in await sealed.shelf.list(sealed.scope)] == [""]
    assert len([record for record in caplog.records if "passages.text of" in record.getMessage()]) == 1
    assert len(await sealed.rank(MemoryWords(max_bytes=2**30), "weir")) == 3


async def test_a_vector_that_does_not_open_is_not_near(sealed: Shelved) -> None:
    document = await sealed.add("dog", "dog and ship", "ship")
    await Searcher(sealed.store, Subjects()).embed_document(document, 1, lambda *_: None)
    async with sealed.store.write() as connection:
        await connection.execute(
            text("UPDATE embeddings SET vector = vector || x'00' WHERE passage_id = (SELECT min(id) FROM passages)")
        )
    question = array("f", [1.0, 0.0, 0.0]).tobytes()
    for max_bytes in (2**30, 0):
        index = VectorIndex("subjects", max_bytes=max_bytes)
        async with sealed.store.read() as connection:
            (hits,) = await index.rank(connection, question, [Filter(sealed.scope)], 10)
        assert [round(hit.cosine, 3) for hit in hits] == [0.707, 0.0]

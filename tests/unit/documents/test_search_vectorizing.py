from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import select

from headwater.documents.records import Scope
from headwater.documents.search import Searcher
from headwater.documents.settings import DocumentSettings
from headwater.documents.shelf import Shelf
from headwater.errors import ProviderUnreachable
from headwater.store import Store
from headwater.store.tables import embeddings

from .shelving import ANN, Subjects, place, reading

TWO_AT_ONCE = DocumentSettings(embedding_batch=2, embedding_concurrency=1)


async def vectors(store: Store) -> int:
    async with store.read() as connection:
        return len((await connection.execute(select(embeddings.c.passage_id))).all())


async def test_passages_are_embedded_in_batches_with_progress(store: Store, shelf: Shelf, desk: Scope) -> None:
    document = await place(shelf, desk, *(f"dog {n}" for n in range(5)), section="Animals")
    embedder, told = Subjects(), list[tuple[int, int]]()
    searcher = Searcher(store, embedder, TWO_AT_ONCE)
    assert await searcher.embed_document(document.id, 1, lambda *progress: told.append(progress)) == 5
    assert told == [(0, 5), (2, 5), (4, 5), (5, 5)]
    assert embedder.asked[0] == "Animals\ndog 0"
    assert await vectors(store) == 5
    assert (await shelf.statistics(ANN)).embedded == 5
    assert (await shelf.get(ANN, document.id)).updated_ms > document.updated_ms


async def test_a_prefix_goes_before_passages_and_questions(store: Store, shelf: Shelf, desk: Scope) -> None:
    from headwater.documents.records import Query

    document = await place(shelf, desk, "dog")
    embedder = Subjects()
    prefixes = DocumentSettings(embedding_passage_prefix="passage: ", embedding_query_prefix="query: ")
    searcher = Searcher(store, embedder, prefixes)
    await searcher.embed_document(document.id, 1, lambda *_: None)
    await searcher.search(Query(desk, "dog"))
    assert embedder.asked == ["passage: dog", "query: dog"]


async def test_it_goes_on_where_it_stopped(store: Store, shelf: Shelf, desk: Scope) -> None:
    document = await place(shelf, desk, *(f"dog {n}" for n in range(5)))
    embedder, told = Subjects(), list[tuple[int, int]]()

    def fail_after_two(done: int, _total: int) -> None:
        if done == 2:
            embedder.failure = ProviderUnreachable("gone")

    searcher = Searcher(store, embedder, TWO_AT_ONCE)
    with pytest.raises(ProviderUnreachable):
        await searcher.embed_document(document.id, 1, fail_after_two)
    assert await vectors(store) == 2
    embedder.failure, embedder.asked = None, []
    assert await searcher.embed_document(document.id, 1, lambda *progress: told.append(progress)) == 3
    assert (told[0], told[-1]) == ((2, 5), (5, 5))
    assert embedder.asked == ["dog 2", "dog 3", "dog 4"]
    assert await searcher.embed_document(document.id, 1, lambda *progress: told.append(progress)) == 0


async def test_another_model_makes_vectors_of_its_own(store: Store, shelf: Shelf, desk: Scope) -> None:
    document = await place(shelf, desk, "dog")
    for name in ("one", "two"):
        assert await Searcher(store, Subjects(name=name)).embed_document(document.id, 1, lambda *_: None) == 1
    assert await vectors(store) == 2
    assert (await shelf.statistics(ANN)).embedded == 1


async def test_nothing_is_embedded_where_it_may_or_can_not_be(store: Store, shelf: Shelf, desk: Scope) -> None:
    secret = await place(shelf, desk, "secret dog", confidential=True)
    empty = await place(shelf, desk)
    remote, told = Subjects(local=False), list[tuple[int, int]]()
    for searcher in (Searcher(store), Searcher(store, remote)):
        assert await searcher.embed_document(secret.id, 1, lambda *progress: told.append(progress)) == 0
    assert await Searcher(store, remote).embed_document(empty.id, 1, lambda *progress: told.append(progress)) == 0
    assert await Searcher(store, remote).embed_document(empty.id, 7, lambda *progress: told.append(progress)) == 0
    assert await Searcher(store, remote).embed_document("nothing", 1, lambda *progress: told.append(progress)) == 0
    assert remote.asked == []
    assert told == []
    assert await Searcher(store, Subjects(local=True)).embed_document(secret.id, 1, lambda *_: None) == 1


class Meanwhile(Subjects):
    """Something happens to the document while its passages are being embedded."""

    def __init__(self, shelf: Shelf, what: str, *, local: bool = False) -> None:
        super().__init__(local=local)
        self.shelf = shelf
        self.what = what
        self.document_id = ""

    async def embed(self, texts: Sequence[str]) -> list[bytes]:
        match self.what:
            case "deleted":
                await self.shelf.delete(ANN, self.document_id)
            case "confidential":
                await self.shelf.update(ANN, self.document_id, confidential=True)
            case "replaced":
                await self.shelf.add_version(ANN, self.document_id, b"new")
                await self.shelf.finish(self.document_id, 2, reading("new"))
        return await super().embed(texts)


@pytest.mark.parametrize(("what", "made"), [("deleted", 0), ("replaced", 0), ("confidential", 2)])
async def test_what_happens_to_the_document_meanwhile_ends_it(
    store: Store, shelf: Shelf, desk: Scope, what: str, made: int
) -> None:
    await place(shelf, desk, "keeps the last id from being used again")
    document = await place(shelf, desk, *(f"dog {n}" for n in range(5)))
    await place(shelf, desk, "behind it")
    embedder = Meanwhile(shelf, what)
    embedder.document_id = document.id
    searcher = Searcher(store, embedder, TWO_AT_ONCE)
    assert await searcher.embed_document(document.id, 1, lambda *_: None) == made
    assert await vectors(store) == made
    assert len(embedder.asked) == 2

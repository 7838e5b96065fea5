from __future__ import annotations

from array import array

import pytest
from sqlalchemy import event

from headwater.documents.records import Scope
from headwater.documents.search import Searcher
from headwater.documents.search import vectors as module
from headwater.documents.search.filters import Filter
from headwater.documents.search.vectors import VectorIndex
from headwater.documents.shelf import Shelf
from headwater.store import Store

from .shelving import ANN, Subjects, make_thread, make_workspace, place, reading

DOG = array("f", [1.0, 0.0, 0.0]).tobytes()
PLENTY = 2**30


class Reads:
    """Counts the vectors' blocks that are read from the database."""

    def __init__(self, store: Store) -> None:
        self.number = 0
        event.listen(store._engine.sync_engine, "before_cursor_execute", self._count)

    def _count(self, _c: object, _cursor: object, statement: str, *_more: object) -> None:
        self.number += "embeddings.vector" in statement


async def ranked(store: Store, index: VectorIndex, *passes: Filter, limit: int = 10) -> list[list[float]]:
    async with store.read() as connection:
        return [[round(hit.cosine, 3) for hit in hits] for hits in await index.rank(connection, DOG, passes, limit)]


async def embed(store: Store, *ids: str, version: int = 1) -> None:
    for id_ in ids:
        await Searcher(store, Subjects()).embed_document(id_, version, lambda *_: None)


async def test_the_nearest_come_first(store: Store, shelf: Shelf, desk: Scope) -> None:
    document = await place(shelf, desk, "ship", "dog and ship", "dog", "dog dog ship")
    await embed(store, document.id)
    index = VectorIndex("subjects", max_bytes=PLENTY)
    assert await ranked(store, index, Filter(desk)) == [[1.0, 0.894, 0.707, 0.0]]
    assert await ranked(store, index, Filter(desk), limit=2) == [[1.0, 0.894]]


async def test_an_empty_workspace_has_no_nearest(store: Store, desk: Scope) -> None:
    assert await ranked(store, VectorIndex("subjects", max_bytes=PLENTY), Filter(desk)) == [[]]


async def test_each_pass_looks_into_its_own_documents(store: Store, shelf: Shelf, desk: Scope) -> None:
    one = await place(shelf, desk, "dog")
    two = await place(shelf, desk, "ship", confidential=True)
    await embed(store, one.id, two.id)
    passes = (
        Filter(desk),
        Filter(desk, chosen=frozenset([two.id])),
        Filter(desk, excluded=frozenset([two.id])),
        Filter(desk, confidential=False),
        Filter(desk, confidential=False, chosen=frozenset([two.id])),
    )
    for max_bytes in (PLENTY, 0):
        index = VectorIndex("subjects", max_bytes=max_bytes)
        assert await ranked(store, index, *passes) == [[1.0, 0.0], [0.0], [1.0], [1.0], []]


async def test_what_did_not_change_is_not_read_again(store: Store, shelf: Shelf, desk: Scope) -> None:
    documents = [await place(shelf, desk, "dog", "ship") for _ in range(3)]
    await embed(store, *(document.id for document in documents))
    index, reads = VectorIndex("subjects", max_bytes=PLENTY), Reads(store)
    assert await ranked(store, index, Filter(desk)) == [[1.0] * 3 + [0.0] * 3]
    assert reads.number == 1
    await ranked(store, index, Filter(desk))
    assert reads.number == 1
    await shelf.delete(ANN, documents[0].id)
    assert await ranked(store, index, Filter(desk)) == [[1.0] * 2 + [0.0] * 2]
    assert reads.number == 1


async def test_what_changed_is_read_again_whoever_changed_it(store: Store, shelf: Shelf, desk: Scope) -> None:
    one, two = await place(shelf, desk, "dog"), await place(shelf, desk, "ship")
    index = VectorIndex("subjects", max_bytes=PLENTY)
    assert await ranked(store, index, Filter(desk)) == [[]]
    await embed(store, one.id)
    assert await ranked(store, index, Filter(desk)) == [[1.0]]
    await embed(store, two.id)
    assert await ranked(store, index, Filter(desk)) == [[1.0, 0.0]]
    await shelf.add_version(ANN, one.id, b"new")
    await shelf.finish(one.id, 2, reading("dog and ship", "dog"))
    await embed(store, one.id, version=2)
    assert await ranked(store, index, Filter(desk)) == [[1.0, 0.707, 0.0]]
    await shelf.update(ANN, one.id, confidential=True)
    assert await ranked(store, index, Filter(desk, confidential=False)) == [[0.0]]


async def test_other_threads_rows_stay_for_when_they_are_asked_for(store: Store, shelf: Shelf, desk: Scope) -> None:
    thread = await make_thread(store, desk)
    shared, own = await place(shelf, desk, "ship"), await place(shelf, thread, "dog")
    await embed(store, shared.id, own.id)
    index, reads = VectorIndex("subjects", max_bytes=PLENTY), Reads(store)
    assert await ranked(store, index, Filter(thread)) == [[1.0, 0.0]]
    assert await ranked(store, index, Filter(desk)) == [[0.0]]
    assert await ranked(store, index, Filter(thread)) == [[1.0, 0.0]]
    assert reads.number == 1
    await shelf.delete(ANN, own.id)
    assert await ranked(store, index, Filter(desk)) == [[0.0]]
    assert await ranked(store, index, Filter(thread)) == [[0.0]]


async def test_the_cache_is_bounded_and_keeps_what_was_asked_last(store: Store, shelf: Shelf, desk: Scope) -> None:
    elsewhere = await make_workspace(store, ANN, 2)
    for scope in (desk, elsewhere):
        await embed(store, (await place(shelf, scope, *(["dog"] * 10))).id)
    # A row is 12 bytes of vector, and 16 of what it belongs to.
    index, reads = VectorIndex("subjects", max_bytes=300), Reads(store)
    for scope in (desk, elsewhere, elsewhere, desk, desk):
        await ranked(store, index, Filter(scope))
        assert index.kept_bytes == 280
    assert reads.number == 3


async def test_a_workspace_beyond_the_cache_is_read_block_by_block(
    store: Store, shelf: Shelf, desk: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK_ROWS", 4)
    monkeypatch.setattr(module, "_BLOCK_DOCUMENTS", 2)
    texts = ["dog", "dog ship", "dog dog ship", "ship"]
    documents = [await place(shelf, desk, *texts) for _ in range(3)]
    await embed(store, *(document.id for document in documents))
    large, small = VectorIndex("subjects", max_bytes=10), VectorIndex("subjects", max_bytes=PLENTY)
    for limit in (1, 5, 20):
        assert await ranked(store, large, Filter(desk), limit=limit) == await ranked(
            store, small, Filter(desk), limit=limit
        )
    assert large.kept_bytes == 0


async def test_many_numbers_are_compared_in_a_thread(
    store: Store, shelf: Shelf, desk: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_INLINE_NUMBERS", 2)
    await embed(store, (await place(shelf, desk, "dog", "ship")).id)
    assert await ranked(store, VectorIndex("subjects", max_bytes=PLENTY), Filter(desk)) == [[1.0, 0.0]]


async def test_vectors_of_another_length_are_not_compared(store: Store, shelf: Shelf, desk: Scope) -> None:
    await embed(store, (await place(shelf, desk, "dog")).id)
    index = VectorIndex("subjects", max_bytes=PLENTY)
    async with store.read() as connection:
        assert await index.rank(connection, DOG + DOG, [Filter(desk)], 5) == [[]]
    assert await ranked(store, index, Filter(desk)) == [[1.0]]


async def test_documents_of_two_tenants_with_one_number_are_kept_apart(
    store: Store, shelf: Shelf, desk: Scope, other: Scope
) -> None:
    hers, his = await place(shelf, desk, "ship"), await place(shelf, other, "dog")
    assert hers.number == his.number
    await embed(store, hers.id, his.id)
    for max_bytes in (PLENTY, 0):
        index = VectorIndex("subjects", max_bytes=max_bytes)
        assert await ranked(store, index, Filter(desk)) == [[0.0]]
        assert await ranked(store, index, Filter(other)) == [[1.0]]

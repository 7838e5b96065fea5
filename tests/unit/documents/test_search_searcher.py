from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest

from headwater.documents.reading import Piece, Reading
from headwater.documents.records import Found, Query, Results, Scope
from headwater.documents.search import Searcher
from headwater.documents.settings import DocumentSettings
from headwater.documents.shelf import Shelf
from headwater.errors import InputError, ProviderUnreachable, UnknownItem
from headwater.store import Store

from .shelving import ANN, BOB, Subjects, make_thread, make_workspace, place, reading

NO_ID = "01900000-0000-7000-8000-00000000dead"
ANIMALS = ("A hound sleeps.", "A puppy eats.", "The vessel sails.", "Coins and cash.")


def texts(results: Results) -> list[str]:
    return [found.text for found in results.found]


async def embedded(store: Store, embedder: Subjects, *ids: str, **settings: object) -> Searcher:
    searcher = Searcher(store, embedder, DocumentSettings(**settings))  # type: ignore[arg-type]
    for id_ in ids:
        await searcher.embed_document(id_, 1, lambda _done, _total: None)
    return searcher


async def test_what_is_found_says_where_it_stands(store: Store, shelf: Shelf, desk: Scope) -> None:
    document = await place(shelf, desk, "one ferry", "two ships", name="n.txt", section="Fleet", pinned=True)
    results = await Searcher(store).search(Query(desk, "ships"))
    (found,) = results.found
    assert found == Found(
        passage_id=found.passage_id,
        document_id=document.id,
        document_number=1,
        document_name="n.txt",
        text="two ships",
        page=2,
        section="Fleet",
        start=10,
        end=19,
        score=pytest.approx(1.0),
        confidential=False,
        pinned=True,
        version=1,
    )
    assert (results.ways, results.withheld, results.problem) == (("lexical",), 0, "")
    assert (await shelf.text(ANN, document.id))[found.start : found.end] == found.text


async def test_vectors_find_what_has_other_words(store: Store, shelf: Shelf, desk: Scope) -> None:
    document = await place(shelf, desk, *ANIMALS)
    searcher = await embedded(store, Subjects(), document.id)
    results = await searcher.search(Query(desk, "dog", limit=2))
    assert set(texts(results)) == {"A hound sleeps.", "A puppy eats."}
    assert results.ways == ("lexical", "vector")
    assert [found.score for found in results.found] == pytest.approx([1.0, 1.0])
    assert texts(await Searcher(store).search(Query(desk, "dog"))) == []


async def test_only_passages_of_the_configured_model_are_compared(store: Store, shelf: Shelf, desk: Scope) -> None:
    document = await place(shelf, desk, *ANIMALS)
    await embedded(store, Subjects(name="old"), document.id)
    searcher = await embedded(store, Subjects(name="new"))
    assert texts(await searcher.search(Query(desk, "dog"))) == []


async def test_a_question_without_a_direction_finds_by_words(store: Store, shelf: Shelf, desk: Scope) -> None:
    document = await place(shelf, desk, *ANIMALS)
    searcher = await embedded(store, Subjects(), document.id)
    results = await searcher.search(Query(desk, "sleeps", limit=1))
    assert texts(results) == ["A hound sleeps."]


@pytest.mark.parametrize(
    ("failure", "problem"),
    [
        (ProviderUnreachable("the embedding service cannot be reached"), "the embedding service cannot be reached"),
        (TimeoutError(), "the question's vector took longer than 5 s"),
        (ValueError("secret"), "the embedder failed"),
    ],
)
async def test_without_the_questions_vector_words_are_used_and_the_reason_told(
    store: Store,
    shelf: Shelf,
    desk: Scope,
    failure: Exception,
    problem: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    document = await place(shelf, desk, *ANIMALS)
    embedder, now_s = Subjects(), 100.0
    searcher = Searcher(store, embedder, monotonic_s=lambda: now_s)
    await searcher.embed_document(document.id, 1, lambda _done, _total: None)
    embedder.failure = failure
    with caplog.at_level(logging.CRITICAL):
        results = await searcher.search(Query(desk, "vessel dog"))
    assert (texts(results), results.ways, results.problem) == (["The vessel sails."], ("lexical",), problem)
    # For a while the embedder is left alone.
    embedder.failure, asked = None, len(embedder.asked)
    assert (await searcher.search(Query(desk, "vessel"))).problem == problem
    assert len(embedder.asked) == asked
    now_s = 110.0
    assert (await searcher.search(Query(desk, "vessel"))).ways == ("lexical", "vector")


async def test_an_embedder_that_hangs_is_waited_for_so_long(store: Store, shelf: Shelf, desk: Scope) -> None:
    class Hanging(Subjects):
        async def embed(self, texts: Sequence[str]) -> list[bytes]:
            await asyncio.Event().wait()
            raise AssertionError("never set")

    await place(shelf, desk, *ANIMALS)
    searcher = await embedded(store, Hanging(), query_timeout_s=0.01)
    results = await searcher.search(Query(desk, "vessel"))
    assert texts(results) == ["The vessel sails."]
    assert results.problem == "the question's vector took longer than 0.01 s"


async def test_an_empty_question_finds_nothing_and_asks_nobody(store: Store, shelf: Shelf, desk: Scope) -> None:
    await place(shelf, desk, *ANIMALS)
    embedder = Subjects()
    searcher = await embedded(store, embedder)
    assert await searcher.search(Query(desk, " \n")) == Results([])
    assert embedder.asked == []


async def test_another_tenants_passages_are_never_found(store: Store, shelf: Shelf, desk: Scope, other: Scope) -> None:
    hers = await place(shelf, desk, "The secret hound.", pinned=True)
    searcher = await embedded(store, Subjects(), hers.id)
    for scope in (other, Scope(BOB, desk.workspace_id), Scope(ANN, other.workspace_id)):
        assert (await searcher.search(Query(scope, "secret dog"))).found == []
        assert (await searcher.pinned(scope, confidential=True, limit_characters=1000)).found == []
    for ref in (hers.id, hers.number):
        with pytest.raises(UnknownItem, match="no such document"):
            await searcher.search(Query(other, "secret", mode="hybrid", selected=(ref,)))
    assert len((await searcher.search(Query(desk, "secret dog"))).found) == 1


async def test_another_workspaces_and_another_threads_passages_are_not_found(
    store: Store, shelf: Shelf, desk: Scope
) -> None:
    elsewhere = await make_workspace(store, ANN, 2)
    one, two = await make_thread(store, desk, 1), await make_thread(store, desk, 2)
    documents = [
        await place(shelf, scope, f"A hound of the {name}.")
        for scope, name in ((desk, "desk"), (elsewhere, "other desk"), (one, "first thread"), (two, "second thread"))
    ]
    searcher = await embedded(store, Subjects(), *(document.id for document in documents))
    for question in ("hound", "dog"):
        found = {
            scope: sorted(texts(await searcher.search(Query(scope, question)))) for scope in (desk, elsewhere, one, two)
        }
        assert found == {
            desk: ["A hound of the desk."],
            elsewhere: ["A hound of the other desk."],
            one: ["A hound of the desk.", "A hound of the first thread."],
            two: ["A hound of the desk.", "A hound of the second thread."],
        }
    with pytest.raises(UnknownItem):
        await searcher.search(Query(desk, "hound", selected=(documents[2].id,)))


async def test_the_old_version_is_found_until_the_new_one_is_in_force(store: Store, shelf: Shelf, desk: Scope) -> None:
    document = await place(shelf, desk, "The old hound.")
    searcher = await embedded(store, Subjects(), document.id)
    await shelf.add_version(ANN, document.id, b"x")
    assert texts(await searcher.search(Query(desk, "dog"))) == ["The old hound."]
    await shelf.finish(document.id, 2, reading("The new hound.", "A ship."))
    assert texts(await searcher.search(Query(desk, "dog"))) == []
    assert texts(await searcher.search(Query(desk, "hound"))) == ["The new hound."]
    await searcher.embed_document(document.id, 2, lambda _done, _total: None)
    assert texts(await searcher.search(Query(desk, "dog")))[0] == "The new hound."
    await shelf.delete(ANN, document.id)
    assert texts(await searcher.search(Query(desk, "dog hound"))) == []


async def test_selected_documents_alone_or_first(store: Store, shelf: Shelf, desk: Scope) -> None:
    placed = [await place(shelf, desk, *(f"hound {name} {number}" for number in range(6)), name=name) for name in "abc"]
    searcher = await embedded(store, Subjects(), *(document.id for document in placed))

    async def names(mode: str, selected: tuple[str | int, ...], limit: int = 5) -> list[str]:
        query = Query(desk, "hound", mode=mode, selected=selected, limit=limit)  # type: ignore[arg-type]
        return sorted(found.document_name for found in (await searcher.search(query)).found)

    assert await names("selected_only", (placed[1].id,)) == ["b"] * 5
    assert await names("selected_only", (placed[1].number, str(placed[2].number)), limit=12) == ["b"] * 6 + ["c"] * 6
    assert (await names("hybrid", (2,))).count("b") == 3
    assert (await names("hybrid", (placed[0].id, 2, 3))) == ["a", "a", "a", "b", "b"]
    assert await names("selected_only", ()) == []
    assert await names("hybrid", ()) == await names("all", ())
    assert len(await names("all", (2,), limit=18)) == 18
    with pytest.raises(UnknownItem):
        await names("selected_only", (NO_ID,))
    with pytest.raises(UnknownItem):
        await names("all", (99,))


async def test_confidential_passages_are_withheld_and_counted(store: Store, shelf: Shelf, desk: Scope) -> None:
    secret = [await place(shelf, desk, f"secret hound {n}", confidential=True) for n in range(3)]
    public = [await place(shelf, desk, f"a hound and more words {n}") for n in range(3)]
    searcher = await embedded(store, Subjects(), *(document.id for document in secret + public))
    with_all = await searcher.search(Query(desk, "secret dog", limit=4))
    assert sum(found.confidential for found in with_all.found) == 3
    assert with_all.withheld == 0
    without = await searcher.search(Query(desk, "secret dog", limit=4, confidential=False))
    assert {found.document_id for found in without.found} == {document.id for document in public}
    assert without.withheld == 3
    nothing_secret = await searcher.search(
        Query(desk, "more", limit=4, confidential=False, mode="selected_only", selected=(public[0].id,))
    )
    assert (len(nothing_secret.found), nothing_secret.withheld) == (1, 0)


async def test_a_weak_confidential_passage_is_not_counted(store: Store, shelf: Shelf, desk: Scope) -> None:
    await place(shelf, desk, "green apples", name="public")
    await place(shelf, desk, "apples and a lot of other words", confidential=True)
    searcher = Searcher(store)
    assert (await searcher.search(Query(desk, "green apples", limit=1, confidential=False))).withheld == 0
    assert (await searcher.search(Query(desk, "green apples", limit=2, confidential=False))).withheld == 1
    cut = await searcher.search(Query(desk, "green apples", min_score=0.6, confidential=False))
    assert (texts(cut), cut.withheld) == (["green apples"], 0)


async def test_what_scores_less_is_left_out(store: Store, shelf: Shelf, desk: Scope) -> None:
    await place(shelf, desk, "green apples", "apples", "sour apples")
    results = await Searcher(store).search(Query(desk, "green apples", min_score=0.9))
    assert texts(results) == ["green apples"]
    assert (await Searcher(store).search(Query(desk, "green bananas", min_score=0.9))).found == []


async def test_a_search_is_bounded(store: Store, desk: Scope) -> None:
    searcher = Searcher(store)
    for limit in (0, -1, 101):
        with pytest.raises(InputError):
            await searcher.search(Query(desk, "x", limit=limit))
    with pytest.raises(InputError):
        await searcher.search(Query(desk, "x", selected=tuple(range(1001))))


async def test_pinned_documents_come_whole_in_their_order(store: Store, shelf: Shelf, desk: Scope) -> None:
    await place(shelf, desk, "not pinned")
    first = await place(shelf, desk, "aaa", "bbb", pinned=True)
    await place(shelf, desk, "ccc", pinned=True, confidential=True)
    last = await place(shelf, desk, "ddddd", pinned=True)
    searcher = Searcher(store)
    results = await searcher.pinned(desk, confidential=True, limit_characters=100)
    assert texts(results) == ["aaa", "bbb", "ccc", "ddddd"]
    assert [found.document_id for found in results.found if not found.confidential] == [first.id, first.id, last.id]
    assert (results.withheld, results.ways, {found.score for found in results.found}) == (0, (), {1.0})
    cut = await searcher.pinned(desk, confidential=True, limit_characters=7)
    assert texts(cut) == ["aaa", "bbb", "c"]
    public = await searcher.pinned(desk, confidential=False, limit_characters=8)
    assert (texts(public), public.withheld) == (["aaa", "bbb", "dd"], 1)
    assert (public.found[-1].start, public.found[-1].end) == (0, 2)
    none = await searcher.pinned(desk, confidential=False, limit_characters=6)
    assert (texts(none), none.withheld) == (["aaa", "bbb"], 0)
    assert (await searcher.pinned(desk, confidential=True, limit_characters=0)).found == []
    assert (await searcher.pinned(desk, confidential=True, limit_characters=-5)).found == []


async def test_pinned_text_is_not_repeated_where_passages_overlap(store: Store, shelf: Shelf, desk: Scope) -> None:
    document = await shelf.add(desk, name="a", media_type="", content=b"x", pinned=True)
    whole = reading("0123456789", "abcdefghij", "klm", overlap=4)
    await shelf.finish(document.id, 1, whole)
    results = await Searcher(store).pinned(desk, confidential=True, limit_characters=1000)
    assert "".join(texts(results)) == whole.text
    for found in results.found:
        assert whole.text[found.start : found.end] == found.text


async def test_a_passage_that_lies_within_the_one_before_is_not_said_again(
    store: Store, shelf: Shelf, desk: Scope
) -> None:
    """It would fill the prompt with what the model has read already, and be a source without a text."""
    text = "one two three four five"
    document = await shelf.add(desk, name="a.txt", media_type="", content=text.encode(), pinned=True)
    cuts = [(0, 13), (4, 13), (8, 23)]
    pieces = [Piece(text=text[start:end], start=start, end=end, page=None, section="") for start, end in cuts]
    assert await shelf.finish(document.id, 1, Reading(text=text, media_type="text/plain", pages=0, pieces=pieces))
    found = (await Searcher(store).pinned(desk, confidential=True, limit_characters=100)).found
    assert [(each.text, each.start, each.end) for each in found] == [("one two three", 0, 13), (" four five", 13, 23)]


@pytest.mark.parametrize("local", [True, False])
async def test_what_has_no_vectors_is_told_where_it_may_get_some(
    local: bool, store: Store, shelf: Shelf, desk: Scope, other: Scope
) -> None:
    """Of all tenants: the upkeep goes by it."""
    done = await place(shelf, desk, *ANIMALS)
    public = await place(shelf, other, "A dog.")
    secret = await place(shelf, desk, "A ship.", confidential=True)
    await shelf.add(desk, name="unread.txt", media_type="", content=b"money")
    searcher = await embedded(store, Subjects(local=local), done.id)
    waiting = {(public.id, 1), (secret.id, 1)} if local else {(public.id, 1)}
    assert set(await searcher.unembedded()) == waiting
    assert len(await searcher.unembedded(1)) == 1
    for id_, version in waiting:
        await searcher.embed_document(id_, version, lambda _done, _total: None)
    assert await searcher.unembedded() == []
    assert await Searcher(store).unembedded() == []

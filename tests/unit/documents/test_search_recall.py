"""What search finds in the corpus, against floors a little below what it found when they were set."""

from __future__ import annotations

import pytest

from benchmarks.recall import LOCAL, answers, embed_all, measure, place_corpus, searching
from headwater.documents.embedding import make_embedder
from headwater.documents.search import Searcher
from headwater.documents.shelf import Shelf
from headwater.store import Store
from tests.corpus import questions, readings


@pytest.fixture
async def corpus(store: Store) -> Shelf:
    return await place_corpus(store)


def test_the_corpus_answers_each_question_once() -> None:
    assert len(readings()) >= 12
    assert 60 <= sum(len(reading.pieces) for reading in readings().values()) <= 100
    for question in questions():
        holders = [piece for piece in readings()[question.document].pieces if question.phrase in piece.text]
        assert len(holders) == 1, question
    for reading in readings().values():
        assert all(reading.text[piece.start : piece.end] == piece.text for piece in reading.pieces)


async def test_words_find_what_is_asked_with_its_words(store: Store, corpus: Shelf) -> None:
    figures = {
        kind: await measure(
            searching(Searcher(store)), await answers(store, [one for one in questions() if one.kind == kind])
        )
        for kind in ("words", "paraphrase")
    }
    assert figures["words"].recall >= 0.97
    assert figures["paraphrase"].recall >= 0.55


async def test_both_ways_together_find_more(store: Store, corpus: Shelf) -> None:
    embedder = make_embedder(LOCAL)
    assert embedder is not None
    searcher = Searcher(store, embedder, LOCAL)
    await embed_all(corpus, searcher)
    right = await answers(store, questions())
    both, words = await measure(searching(searcher), right), await measure(searching(Searcher(store)), right)
    assert both.recall >= 0.91
    assert both.mrr > words.mrr

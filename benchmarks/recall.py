"""How well search finds, over the corpus of tests/corpus: `python -m benchmarks.recall [--large]`.

Prints recall@5 (the share of questions whose passage is among the first five) and MRR (the mean of 1 / its place, 0
where it is not among the first ten), by words, by vectors of the local model, and by both. `--large` times searches
among 10,000 passages, too.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from statistics import mean, median
from typing import NamedTuple, TypeAlias

from rich.console import Console
from rich.table import Table
from sqlalchemy import insert, select

from headwater.documents.embedding import make_embedder
from headwater.documents.embedding.ports import Embedder
from headwater.documents.reading import Piece, Reading
from headwater.documents.records import Query, Scope
from headwater.documents.search import Searcher
from headwater.documents.search.filters import Filter
from headwater.documents.search.vectors import VectorIndex
from headwater.documents.settings import DocumentSettings
from headwater.documents.shelf import Shelf
from headwater.store import Store, open_store
from headwater.store.database import database_url
from headwater.store.tables import documents, passages, workspaces
from tests.corpus import Question, questions, readings

SCOPE = Scope("", "01900000-0000-7000-8000-000000000001")
FIRST = 10
LOCAL = DocumentSettings(embedding="local")
LARGE_DOCUMENTS, LARGE_PASSAGES, SEARCHES = 20, 500, 30

Search: TypeAlias = Callable[[str], Awaitable[Sequence[int]]]


class Figures(NamedTuple):
    recall: float
    mrr: float


async def make_workspace(store: Store) -> Shelf:
    row = {"id": SCOPE.workspace_id, "tenant": SCOPE.tenant, "number": 1, "slug": "corpus", "name": "Corpus"}
    async with store.write() as connection:
        await connection.execute(insert(workspaces).values(**row, metadata={}, created_ms=0, updated_ms=0))
    return Shelf(store)


async def place(shelf: Shelf, name: str, reading: Reading) -> None:
    document = await shelf.add(SCOPE, name=name, media_type="text/markdown", content=reading.text.encode())
    await shelf.finish(document.id, 1, reading)


async def place_corpus(store: Store) -> Shelf:
    shelf = await make_workspace(store)
    for name, reading in readings().items():
        await place(shelf, name, reading)
    return shelf


async def embed_all(shelf: Shelf, searcher: Searcher) -> None:
    for document in await shelf.list(SCOPE):
        await searcher.embed_document(document.id, document.version, lambda _done, _total: None)


def searching(searcher: Searcher) -> Search:
    async def search(question: str) -> list[int]:
        return [found.passage_id for found in (await searcher.search(Query(SCOPE, question, limit=FIRST))).found]

    return search


def comparing(store: Store, embedder: Embedder) -> Search:
    """By vectors alone, which a searcher never does."""
    index = VectorIndex(embedder.name, max_bytes=LOCAL.vector_cache_bytes)

    async def search(question: str) -> list[int]:
        (vector,) = await embedder.embed([question])
        async with store.read() as connection:
            (hits,) = await index.rank(connection, vector, [Filter(SCOPE)], FIRST)
        return [hit.passage_id for hit in hits]

    return search


async def answers(store: Store, asked: Sequence[Question]) -> dict[str, int]:
    """Question → the passage that answers it."""
    every = select(passages.c.id, documents.c.name, passages.c.text).join(documents)
    async with store.read() as connection:
        rows = (await connection.execute(every)).all()
    return {
        question.question: next(
            id_ for id_, name, text in rows if name == question.document and question.phrase in text
        )
        for question in asked
    }


async def measure(search: Search, right: dict[str, int]) -> Figures:
    places = []
    for question, passage_id in right.items():
        found = list(await search(question))
        places.append(found.index(passage_id) + 1 if passage_id in found else 0)
    return Figures(mean(0 < at <= 5 for at in places), mean(1 / at if at else 0.0 for at in places))


async def print_recall(console: Console, store: Store, embedder: Embedder) -> None:
    shelf = await place_corpus(store)
    both = Searcher(store, embedder, LOCAL)
    await embed_all(shelf, both)
    ways = {"words": searching(Searcher(store)), "vectors": comparing(store, embedder), "both": searching(both)}
    table = Table("questions", *(f"{way}: {figure}" for way in ways for figure in ("recall@5", "MRR")))
    every = questions()
    for kind in ("words", "paraphrase", "all"):
        asked = [question for question in every if kind in (question.kind, "all")]
        right = await answers(store, asked)
        figures = [await measure(search, right) for search in ways.values()]
        cells = [f"{figure:.3f}" for pair in figures for figure in pair]
        table.add_row(f"{kind} ({len(asked)})", *cells)
    console.print(table)


def made_up(seed: int) -> Reading:
    """Passages of 150 words, as common as words are (Zipf)."""
    numbers = random.Random(seed)
    words = [word for reading in readings().values() for word in reading.text.split()]
    vocabulary = sorted(set(words)) + [f"word{number}" for number in range(20_000)]
    weights = [1 / rank for rank in range(1, len(vocabulary) + 1)]
    texts = [" ".join(numbers.choices(vocabulary, weights, k=150)) for _ in range(LARGE_PASSAGES)]
    pieces, at = [], 0
    for text in texts:
        pieces.append(Piece(text=text, start=at, end=at + len(text)))
        at += len(text) + 1
    return Reading(text=" ".join(texts), media_type="text/plain", pages=0, pieces=pieces)


async def print_times(console: Console, store: Store, embedder: Embedder) -> None:
    shelf = await make_workspace(store)
    for number in range(LARGE_DOCUMENTS):
        await place(shelf, f"{number}.txt", made_up(number))
    both = Searcher(store, embedder, LOCAL)
    began = time.perf_counter()
    await embed_all(shelf, both)
    console.print(f"{LARGE_DOCUMENTS * LARGE_PASSAGES} passages embedded in {time.perf_counter() - began:.1f} s")
    ways = {"words": searching(Searcher(store)), "vectors": comparing(store, embedder), "both": searching(both)}
    table = Table("a search", "first, ms", "median, ms", "slowest, ms")
    for way, search in ways.items():
        times = []
        for question in questions()[:SEARCHES]:
            began = time.perf_counter()
            await search(question.question)
            times.append(1000 * (time.perf_counter() - began))
        table.add_row(way, *(f"{figure:.1f}" for figure in (times[0], median(times[1:]), max(times[1:]))))
    console.print(table)


async def main(*, large: bool) -> None:
    console = Console()
    embedder = make_embedder(LOCAL)
    if embedder is None:
        raise AssertionError("there is a local model")
    for report in (print_recall, print_times) if large else (print_recall,):
        with tempfile.TemporaryDirectory() as directory:
            store = await open_store(database_url(None, Path(directory)))
            try:
                await report(console, store, embedder)
            finally:
                await store.close()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Measure how well search finds.")
    arguments.add_argument("--large", action="store_true", help="time searches among 10,000 passages, too")
    asyncio.run(main(large=arguments.parse_args().large))

"""Search in a workspace: by words always, by vectors where an embedder is configured, merged by rank.

What fails about vectors never fails a search: it goes on with words, and says why.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ...errors import InputError, ProviderError, UnknownItem
from ...store import Store
from ...store.sealing import opened, readable
from ...store.tables import documents, passages
from ..embedding.ports import Embedder
from ..records import Found, Query, Results, Scope, Way
from ..rows import is_in_force, is_referred, is_visible
from ..settings import DocumentSettings
from . import fusion
from .filters import Filter
from .lexical import Words, weigh, words_in
from .vectorizing import Vectorizing
from .words import words_of

if TYPE_CHECKING:
    from .vectors import Hit, VectorIndex

_log = logging.getLogger(__name__)

MAX_RESULTS = 100
MAX_SELECTED = 1000
# What an embedding model reads of a question.
_MAX_QUESTION_CHARACTERS = 8000


class _Question(NamedTuple):
    """`vector` None: by words alone, and `problem` says why where it should have been otherwise."""

    words: list[str]
    vector: bytes | None
    problem: str


class Searcher:
    """`embedder` None: by words alone. `monotonic_s`: a clock that never goes back."""

    def __init__(
        self,
        store: Store,
        embedder: Embedder | None = None,
        settings: DocumentSettings | None = None,
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._embedder = embedder
        self._settings = settings or DocumentSettings()
        self._monotonic_s = monotonic_s
        self._words = _words_in(store, self._settings)
        self._index: VectorIndex | None = None
        self._resting_until_s = float("-inf")
        self._resting_problem = ""

    async def search(self, query: Query) -> Results:
        """The best passages for a question. Raises `InputError`, `UnknownItem`, `StoreUnavailable`.

        `UnknownItem`: a selected document that is not there, another's, or of another thread.
        Without words to look for (an empty question) nothing is found.
        """
        _check(query)
        async with self._store.read() as connection:
            chosen = await _resolve(connection, query)
        question = await self._ask(query.text)
        async with self._store.read() as connection:
            everything = await self._searched(connection, query, question, _passes(query, chosen))
            found = self._pick(query, everything)
            if query.confidential or not await _has_confidential(connection, query.scope):
                return self._results(question, found)
            # Others may stand behind those that are withheld, so they are searched for by themselves.
            public = [one._replace(confidential=False) for one in _passes(query, chosen)]
            shown = self._pick(query, await self._searched(connection, query, question, public))
            return self._results(question, shown, withheld=sum(one.confidential for one in found))

    async def pinned(self, scope: Scope, *, confidential: bool, limit_characters: int) -> Results:
        """The text of pinned documents, the oldest first, as its passages in order, as far as `limit_characters` go.

        The first passage that does not fit is cut, and is the last. What passages repeat of the one before is left
        out. `confidential` False leaves confidential ones out, and counts in `withheld` those that would have fitted.
        """
        rows = (
            _select_found()
            .where(is_visible(scope), documents.c.pinned)
            .order_by(documents.c.number, passages.c.ordinal)
            # Each has a character of its own at least.
            .limit(max(0, limit_characters))
        )
        async with self._store.read() as connection:
            every = _within(await _all(connection, rows), limit_characters)
            if confidential or not any(one.confidential for one in every):
                return Results(every, ways=())
            public = rows.where(documents.c.confidential.is_(False))
            shown = await _all(connection, public)
            return Results(_within(shown, limit_characters), sum(one.confidential for one in every), ways=())

    async def embed_document(self, document_id: str, version: int, on_progress: Callable[[int, int], None]) -> int:
        """Vectors for the passages of a version in force that have none of this model; how many were made.

        `on_progress(done, total)` counts passages, those with a vector included. 0 where there is no embedder, the
        document is confidential and the embedder not local, or the version is not in force. What was made before an
        error stays. Raises `ProviderError`.
        """
        if self._embedder is None:
            return 0
        return await Vectorizing(self._store, self._embedder, self._settings).run(document_id, version, on_progress)

    async def unembedded(self, limit: int = 100) -> list[tuple[str, int]]:
        """Ready documents with passages that `embed_document` would make vectors of, of all tenants."""
        if self._embedder is None:
            return []
        return await Vectorizing(self._store, self._embedder, self._settings).unfinished(limit)

    async def _ask(self, text: str) -> _Question:
        words = words_of(text)
        if self._embedder is None or not text.strip():
            return _Question(words, None, "")
        if self._monotonic_s() < self._resting_until_s:
            return _Question(words, None, self._resting_problem)
        asked = self._settings.embedding_query_prefix + text[:_MAX_QUESTION_CHARACTERS]
        try:
            async with asyncio.timeout(self._settings.query_timeout_s):
                (vector,) = await self._embedder.embed([asked])
        except TimeoutError:
            problem = f"the question's vector took longer than {self._settings.query_timeout_s:g} s"
        except ProviderError as exc:
            problem = exc.message
        except Exception:  # noqa: BLE001 - an application's own embedder may raise anything, and no search fails by it
            _log.exception("the embedder %s failed", self._embedder.name)
            problem = "the embedder failed"
        else:
            return _Question(words, vector, "")
        self._resting_until_s = self._monotonic_s() + self._settings.embedding_rest_s
        self._resting_problem = problem
        return _Question(words, None, problem)

    async def _searched(
        self, connection: AsyncConnection, query: Query, question: _Question, passes: Sequence[Filter]
    ) -> list[list[Found]]:
        """For each pass its passages by fused rank, those below `min_score` left out."""
        limit = max(self._settings.search_candidates, 4 * query.limit)
        by_words: list[list[int]] = [
            await self._words.rank(connection, question.words, one, limit) if question.words else [] for one in passes
        ]
        by_vectors: list[list[Hit]] = [[] for _ in passes]
        if question.vector is not None:
            by_vectors = await self._vectors().rank(connection, question.vector, passes, limit)
        cosines = {hit.passage_id: hit.cosine for one in by_vectors for hit in one}
        ids = list({id_ for one in by_words for id_ in one} | cosines.keys())
        shares = await weigh(self._words, connection, question.words, scope=query.scope, ids=ids)
        floor = self._settings.similarity_floor
        scores = {id_: fusion.score(shares[id_], cosines.get(id_), floor) for id_ in ids}
        good = [id_ for id_ in ids if scores[id_] >= query.min_score]
        rows = await _load(connection, query.scope, good, scores)
        ranked = [
            fusion.fuse(([(id_, shares[id_]) for id_ in words], _weighed(hits)))
            for words, hits in zip(by_words, by_vectors, strict=True)
        ]
        return [[rows[id_] for id_ in one if id_ in rows] for one in ranked]

    def _vectors(self) -> VectorIndex:
        if self._index is None:
            from .vectors import VectorIndex

            assert self._embedder is not None  # noqa: S101 - it made the question's vector
            self._index = VectorIndex(self._embedder.name, max_bytes=self._settings.vector_cache_bytes)
        return self._index

    def _pick(self, query: Query, ranked: Sequence[Sequence[Found]]) -> list[Found]:
        if len(ranked) == 1:
            return fusion.pick(ranked[0], query.limit)
        return fusion.pick_hybrid(ranked[0], ranked[1], query.limit)

    def _results(self, question: _Question, found: list[Found], withheld: int = 0) -> Results:
        ways: tuple[Way, ...] = ("lexical",) if question.vector is None else ("lexical", "vector")
        return Results(found, withheld, ways, question.problem)


def _words_in(store: Store, settings: DocumentSettings) -> Words:
    if not store.encrypted:
        return words_in(is_sqlite=store.is_sqlite)
    from .memory import MemoryWords

    return MemoryWords(max_bytes=settings.lexical_cache_bytes)


def _check(query: Query) -> None:
    """Raises `InputError`."""
    if not 1 <= query.limit <= MAX_RESULTS:
        raise InputError(f"a search gives 1 to {MAX_RESULTS} passages", param="limit")
    if len(query.selected) > MAX_SELECTED:
        raise InputError(f"a search takes at most {MAX_SELECTED} selected documents", param="selected")


def _passes(query: Query, chosen: frozenset[str]) -> list[Filter]:
    """One pass, or in `hybrid` two: the selected documents, and the others."""
    if query.mode == "all" or (query.mode == "hybrid" and not chosen):
        return [Filter(query.scope)]
    selected = Filter(query.scope, chosen=chosen)
    return [selected] if query.mode == "selected_only" else [selected, Filter(query.scope, excluded=chosen)]


async def _resolve(connection: AsyncConnection, query: Query) -> frozenset[str]:
    """Ids of the selected documents. Raises `UnknownItem` for one that cannot be seen from the scope."""
    chosen = set()
    for ref in query.selected:
        found = select(documents.c.id).where(is_referred(query.scope.tenant, ref), is_visible(query.scope))
        id_ = (await connection.execute(found)).scalar()
        if id_ is None:
            raise UnknownItem("document")
        chosen.add(id_)
    return frozenset(chosen)


async def _has_confidential(connection: AsyncConnection, scope: Scope) -> bool:
    found = select(documents.c.id).where(is_visible(scope), documents.c.confidential).limit(1)
    return (await connection.execute(found)).first() is not None


def _select_found() -> Any:
    return select(
        passages.c.id.label("passage_id"),
        passages.c.document_id,
        documents.c.number.label("document_number"),
        documents.c.name.label("document_name"),
        passages.c.text,
        passages.c.page,
        passages.c.section,
        passages.c.start,
        passages.c.end,
        documents.c.confidential,
        documents.c.pinned,
        passages.c.version,
        passages.c.ordinal,
    ).join_from(passages, documents, is_in_force)


def _found(connection: AsyncConnection, row: RowMapping, score: float) -> Found:
    plain = opened(connection, passages, row, instead={"section": ""})
    del plain["ordinal"]
    named = opened(connection, documents, {"name": row["document_name"]}, (row["document_id"],), instead={"name": ""})
    return Found(**plain | {"document_name": named["name"]}, score=score)


async def _all(connection: AsyncConnection, rows: Any) -> list[Found]:
    return readable(connection, (await connection.execute(rows)).mappings(), lambda its, row: _found(its, row, 1.0))


def _weighed(hits: Sequence[Hit]) -> list[tuple[int, float]]:
    """Weights between 0 and 1; none where even the best points elsewhere."""
    best = hits[0].cosine if hits else 0.0
    return [(hit.passage_id, max(0.0, hit.cosine / best) if best > 0 else 0.0) for hit in hits]


async def _load(
    connection: AsyncConnection, scope: Scope, ids: Sequence[int], scores: Mapping[int, float]
) -> dict[int, Found]:
    rows = await connection.execute(_select_found().where(passages.c.id.in_(ids), is_visible(scope)))
    found = readable(connection, rows.mappings(), lambda its, row: _found(its, row, scores[row["passage_id"]]))
    return {each.passage_id: each for each in found}


def _within(ordered: Sequence[Found], limit_characters: int) -> list[Found]:
    kept: list[Found] = []
    left = limit_characters
    for found in ordered:
        if left <= 0:
            break
        last = kept[-1] if kept else None
        repeated = 0
        if last is not None and last.document_id == found.document_id:
            repeated = max(0, min(last.end, found.end) - found.start)
        text = found.text[repeated : repeated + left]
        if text:
            start = found.start + repeated
            kept.append(_part(found, text, start))
            left -= len(text)
    return kept


def _part(found: Found, text: str, start: int) -> Found:
    import msgspec

    return msgspec.structs.replace(found, text=text, start=start, end=start + len(text))

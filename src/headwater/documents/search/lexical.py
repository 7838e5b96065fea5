"""Search by words: FTS5 in SQLite, `tsvector` in PostgreSQL. Both stem as in English, whatever the language.

`rank` gives passages that hold any of the words, best first. `weigh` says how much of the question each passage holds:

    score = sum of idf(word) over the question's words that the passage holds / sum over all its words
    idf(word) = ln(1 + (N - n + 0.5) / (n + 0.5))

for N passages in the workspace, n of them with the word (the idf of BM25; Robertson and Zaragoza 2009). The database
says which passage holds which word, by the same stemming that found it. The score needs no knowledge of other
candidates, and is a share: so it can be compared between questions. A word that the workspace has nowhere counts
fully against all passages, which is what tells a question about something else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, Protocol

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Select,
    any_,
    bindparam,
    case,
    column,
    func,
    literal,
    literal_column,
    select,
    table,
    text,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from ...store.tables import documents, passages
from ..records import Scope
from ..rows import is_in_force
from .filters import Filter


class Words(Protocol):
    """What the two databases do differently. `words`: of `words_of`, at least one."""

    async def rank(self, connection: AsyncConnection, words: Sequence[str], within: Filter, limit: int) -> list[int]:
        """Ids of passages, best first."""
        ...

    async def holders(
        self, connection: AsyncConnection, words: Sequence[str], scope: Scope, ids: Sequence[int]
    ) -> list[tuple[int, frozenset[int]]]:
        """For each word: how many passages of the workspace hold it, and which of `ids` do."""
        ...


async def weigh(
    words_in: Words, connection: AsyncConnection, words: Sequence[str], scope: Scope, ids: Sequence[int]
) -> dict[int, float]:
    """The score of each of `ids`, from 0 to 1."""
    if not words or not ids:
        return dict.fromkeys(ids, 0.0)
    counted = select(func.count()).where(
        passages.c.tenant == scope.tenant, passages.c.workspace_id == scope.workspace_id
    )
    total = (await connection.execute(counted)).scalar_one()
    return shares(await words_in.holders(connection, words, scope, ids), total, ids)


def shares(holders: Sequence[tuple[int, frozenset[int]]], total: int, ids: Sequence[int]) -> dict[int, float]:
    """`holders` as `Words.holders` gives them; `total`: passages of the workspace."""
    weights = [math.log(1 + (max(total, held) - held + 0.5) / (held + 0.5)) for held, _ in holders]
    whole = sum(weights)
    return {
        id_: sum(weight for weight, (_, held) in zip(weights, holders, strict=True) if id_ in held) / whole
        for id_ in ids
    }


def words_in(*, is_sqlite: bool) -> Words:
    return _Sqlite() if is_sqlite else _Postgres()


class _Sqlite:
    """The table `passages_fts(scope, text, section)`: `scope` is the workspace, a word that each match must hold."""

    _hits = table("passages_fts", column("rowid"), column("passages_fts"))

    async def rank(self, connection: AsyncConnection, words: Sequence[str], within: Filter, limit: int) -> list[int]:
        matched = _match(within.scope, words)
        relevance = func.bm25(literal_column("passages_fts"), 0.0, 1.0, 0.5)
        # Materialized: the planner must not look the index up once for each passage.
        hits = self._matching(matched, relevance.label("relevance")).cte("hits").prefix_with("MATERIALIZED")
        found = (
            select(passages.c.id)
            .join_from(hits, passages, passages.c.id == hits.c.id)
            .join(documents, is_in_force)
            .where(within.condition())
            # The smaller, the better.
            .order_by(hits.c.relevance, passages.c.id)
            .limit(limit)
        )
        return list((await connection.execute(found)).scalars())

    async def holders(
        self, connection: AsyncConnection, words: Sequence[str], scope: Scope, ids: Sequence[int]
    ) -> list[tuple[int, frozenset[int]]]:
        # One parameter for all words: SQLite takes 32,766.
        asked = func.json_each(bindparam("ids", json.dumps(list(ids)))).table_valued("value")
        parts = []
        for at, word in enumerate(words):
            hits = self._matching(_match(scope, [word])).subquery()
            held_by = func.group_concat(case((hits.c.id.in_(select(asked.c.value)), hits.c.id)))
            parts.append(select(literal(at), func.count(), held_by).select_from(hits))
        rows = await connection.execute(union_all(*parts))
        held = {
            at: (count, frozenset(map(int, found.split(","))) if found else frozenset()) for at, count, found in rows
        }
        return [held[at] for at in range(len(words))]

    def _matching(self, match: str, *columns: ColumnElement[Any]) -> Select[Any]:
        hits = self._hits.c
        return select(hits.rowid.label("id"), *columns).where(hits.passages_fts.op("MATCH")(match))


def _match(scope: Scope, words: Sequence[str]) -> str:
    """An FTS5 query. Words are strings in it: they hold no quote, and would be harmless with one doubled."""
    any_of = " OR ".join(f'"{word}"' for word in words)
    return f'scope : "{_word_of(scope.workspace_id)}" AND {{text section}} : ({any_of})'


def _word_of(workspace_id: str) -> str:
    """As the trigger writes it. What is no id of ours (a caller's invention) matches nothing."""
    word = workspace_id.replace("-", "")
    return word if word.isascii() and word.isalnum() else "none"


class _Postgres:
    """The column `passages.words`: headings weigh B, the text A."""

    _words: ColumnElement[Any] = literal_column("passages.words")

    async def rank(self, connection: AsyncConnection, words: Sequence[str], within: Filter, limit: int) -> list[int]:
        query = func.to_tsquery("english", " | ".join(f"'{word}'" for word in words))
        relevance = func.ts_rank_cd(text("'{0, 0, 0.5, 1}'::float4[]"), self._words, query, 1)
        found = (
            select(passages.c.id)
            .join(documents, is_in_force)
            .where(
                passages.c.tenant == within.scope.tenant,
                passages.c.workspace_id == within.scope.workspace_id,
                within.condition(),
                self._words.op("@@")(query),
            )
            .order_by(relevance.desc(), passages.c.id)
            .limit(limit)
        )
        return list((await connection.execute(found)).scalars())

    async def holders(
        self, connection: AsyncConnection, words: Sequence[str], scope: Scope, ids: Sequence[int]
    ) -> list[tuple[int, frozenset[int]]]:
        asked = bindparam("ids", list(ids), ARRAY(BigInteger))
        parts = []
        for at, word in enumerate(words):
            query = func.to_tsquery("english", f"'{word}'")
            candidates = func.array_agg(passages.c.id).filter(passages.c.id == any_(asked))
            parts.append(
                select(literal(at), func.count(), candidates).where(
                    passages.c.tenant == scope.tenant,
                    passages.c.workspace_id == scope.workspace_id,
                    self._words.op("@@")(query),
                )
            )
        rows = {row[0]: (row[1], row[2]) for row in await connection.execute(union_all(*parts))}
        return [(rows[at][0], frozenset(rows[at][1] or ())) for at in range(len(words))]

"""Finding words in messages and titles, without regard to case and accents, alike in both databases.

The database looks through all of a tenant's messages (of the workspace): see `store.texts.fold`. Where they are
encrypted this process does, which costs some 10 µs a message. The place of what was found is computed here, for the
few rows that are shown.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncIterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ...errors import InputError
from ...store import Store, tables
from ...store.sealing import opened, readable
from ...store.texts import contains_folded, fold, storable
from ..records import Hit, Message, Snippet, Thread
from .rows import check_workspace, listed_threads, readable_messages, select_threads

_threads, _messages = tables.threads, tables.messages

MAX_TEXT_CHARACTERS = 200
MAX_WORDS = 16
MAX_HITS = 100
# On each side of what was found.
AROUND_CHARACTERS = 80
# Decrypted in one go: a millisecond or two of the loop's time.
_ROWS_AT_ONCE = 200


async def find(store: Store, tenant: str, text: str, *, workspace_id: str | None, limit: int) -> list[Hit]:
    """See `Conversations.search`."""
    words = _words(text)
    if not 1 <= limit <= MAX_HITS:
        raise InputError(f"limit must be from 1 to {MAX_HITS}", param="limit")
    titles = select_threads().where(_threads.c.tenant == tenant)
    titles = titles.order_by(_threads.c.updated_ms.desc(), _threads.c.id.desc())
    messages = select(_messages).where(_messages.c.tenant == tenant)
    messages = messages.order_by(_messages.c.created_ms.desc(), _messages.c.number.desc())
    async with store.read() as connection:
        if workspace_id is not None:
            await check_workspace(connection, tenant, workspace_id)
            titles, messages = _within(titles, workspace_id), _within(messages, workspace_id)
        looking = _Encrypted(words, limit) if store.encrypted else _InDatabase(words, limit, is_sqlite=store.is_sqlite)
        in_titles = await looking.titles(connection, titles)
        found = await looking.messages(connection, messages)
        rows = await connection.execute(select_threads().where(_threads.c.id.in_({m.thread_id for m in found})))
        threads = {thread.id: thread for thread in listed_threads(connection, rows.all())}
    hits = [_hit(words, thread, None) for thread in in_titles]
    hits += [_hit(words, threads[message.thread_id], message) for message in found if message.thread_id in threads]
    hits.sort(key=lambda hit: hit.message.created_ms if hit.message else hit.thread.updated_ms, reverse=True)
    return hits[:limit]


def _words(text: str) -> list[str]:
    if len(text) > MAX_TEXT_CHARACTERS:
        raise InputError(f"a search is at most {MAX_TEXT_CHARACTERS} characters", param="query")
    words = list(dict.fromkeys(fold(storable(text)).split()))
    if not words:
        raise InputError("there is nothing to search for", param="query")
    if len(words) > MAX_WORDS:
        raise InputError(f"a search is at most {MAX_WORDS} words", param="query")
    return words


class _InDatabase:
    """The database looks; only what it finds leaves it."""

    def __init__(self, words: Sequence[str], limit: int, *, is_sqlite: bool) -> None:
        self._words = words
        self._limit = limit
        self._is_sqlite = is_sqlite

    async def titles(self, connection: AsyncConnection, statement: Select[Any]) -> list[Thread]:
        found = statement.where(self._all_in(_threads.c.title)).limit(self._limit)
        threads = listed_threads(connection, (await connection.execute(found)).all())
        # Found by a title that does not open.
        return [thread for thread in threads if thread.title]

    async def messages(self, connection: AsyncConnection, statement: Select[Any]) -> list[Message]:
        found = statement.where(self._all_in(_messages.c.content)).limit(self._limit)
        return await readable_messages(connection, found)

    def _all_in(self, column: ColumnElement[str]) -> ColumnElement[bool]:
        return and_(*(contains_folded(column, word, is_sqlite=self._is_sqlite) for word in self._words))


class _Encrypted:
    """The database cannot: rows are decrypted in parts, between which the loop serves others, until enough is found."""

    def __init__(self, words: Sequence[str], limit: int) -> None:
        self._words = words
        self._limit = limit

    async def titles(self, connection: AsyncConnection, statement: Select[Any]) -> list[Thread]:
        found: list[Thread] = []
        async for rows in _parts(connection, statement):
            found += [thread for thread in listed_threads(connection, rows) if self._all_in(thread.title)]
            if len(found) >= self._limit:
                break
        return found[: self._limit]

    async def messages(self, connection: AsyncConnection, statement: Select[Any]) -> list[Message]:
        found: list[Message] = []
        # The texts alone, before whole messages are looked at.
        texts = statement.with_only_columns(_messages.c.id, _messages.c.content)
        async for rows in _parts(connection, texts):
            plain = readable(connection, rows, _content)
            ids = [id_ for id_, content in plain if self._all_in(content)]
            if ids:
                found += await readable_messages(connection, statement.where(_messages.c.id.in_(ids)))
            if len(found) >= self._limit:
                break
        return found[: self._limit]

    def _all_in(self, text: str) -> bool:
        folded = fold(text)
        return all(word in folded for word in self._words)


def _content(connection: AsyncConnection, row: Row[Any]) -> tuple[str, str]:
    """A message's id and text. Raises `StoreCorrupt`."""
    plain = opened(connection, _messages, row._mapping)
    return plain["id"], plain["content"]


async def _parts(connection: AsyncConnection, statement: Select[Any]) -> AsyncIterator[Sequence[Row[Any]]]:
    offset = 0
    while rows := (await connection.execute(statement.offset(offset).limit(_ROWS_AT_ONCE))).all():
        yield rows
        offset += len(rows)
        if len(rows) < _ROWS_AT_ONCE:
            return


def _within(statement: Select[Any], workspace_id: str) -> Select[Any]:
    its = select(_threads.c.id).where(_threads.c.workspace_id == workspace_id)
    if statement.get_final_froms()[0] is _messages:
        return statement.where(_messages.c.thread_id.in_(its))
    return statement.where(_threads.c.workspace_id == workspace_id)


def _hit(words: Sequence[str], thread: Thread, message: Message | None) -> Hit:
    return Hit(thread, message, snippet_of(thread.title if message is None else message.content, words))


def snippet_of(text: str, words: Sequence[str]) -> Snippet:
    """Around the first place where one of the folded `words` stands in `text`, on one line."""
    folded = fold(text)
    places = ((folded.find(word), -len(word)) for word in words)
    # Of two at one place the longer.
    at, minus_length = min((place for place in places if place[0] >= 0), default=(0, 0))
    start, end = _unfolded(text, at), _unfolded(text, at - minus_length)
    first, last = max(start - AROUND_CHARACTERS, 0), min(end + AROUND_CHARACTERS, len(text))
    head, tail = "…" if first else "", "…" if last < len(text) else ""
    # Character by character, so that the offsets hold.
    line = "".join(" " if character.isspace() else character for character in text[first:last])
    return Snippet(head + line + tail, start - first + len(head), end - first + len(head))


def _unfolded(text: str, offset: int) -> int:
    """The place in `text` of a place in its folded form: the largest whose prefix folds to at most `offset` characters.

    By halving: folding a prefix is fast, going through a long text character by character is not.
    """
    if text.isascii():
        return offset
    return bisect_right(range(len(text) + 1), offset, key=lambda end: len(fold(text[:end]))) - 1

"""Finding words in messages and titles, without regard to case and accents, alike in both databases.

The database looks through all of a tenant's messages (of the workspace): see `store.texts.fold`. The place of what was
found is computed here, for the few rows that are shown.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, select

from ...errors import InputError
from ...store import Store, tables
from ...store.texts import contains_folded, fold, storable
from ..records import Hit, Message, Snippet, Thread
from .rows import check_workspace, messages_of, select_threads, thread_of

_threads, _messages = tables.threads, tables.messages

MAX_TEXT_CHARACTERS = 200
MAX_WORDS = 16
MAX_HITS = 100
# On each side of what was found.
AROUND_CHARACTERS = 80


async def find(store: Store, tenant: str, text: str, *, workspace_id: str | None, limit: int) -> list[Hit]:
    """See `Conversations.search`."""
    words = _words(text)
    if not 1 <= limit <= MAX_HITS:
        raise InputError(f"limit must be from 1 to {MAX_HITS}", param="limit")
    in_titles = select_threads().where(_threads.c.tenant == tenant, _all_of(_threads.c.title, words, store))
    in_messages = select(_messages).where(_messages.c.tenant == tenant, _all_of(_messages.c.content, words, store))
    async with store.read() as connection:
        if workspace_id is not None:
            await check_workspace(connection, tenant, workspace_id)
            in_titles, in_messages = (_within(statement, workspace_id) for statement in (in_titles, in_messages))
        newest_first = (_threads.c.updated_ms.desc(), _threads.c.id.desc())
        titles = [thread_of(row) for row in await connection.execute(in_titles.order_by(*newest_first).limit(limit))]
        newest_first = (_messages.c.created_ms.desc(), _messages.c.number.desc())
        found = await messages_of(connection, in_messages.order_by(*newest_first).limit(limit))
        rows = await connection.execute(select_threads().where(_threads.c.id.in_({m.thread_id for m in found})))
        threads = {thread.id: thread for thread in map(thread_of, rows)}
    hits = [_hit(words, thread, None) for thread in titles]
    hits += [_hit(words, threads[message.thread_id], message) for message in found]
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


def _all_of(column: ColumnElement[str], words: Sequence[str], store: Store) -> ColumnElement[bool]:
    return and_(*(contains_folded(column, word, is_sqlite=store.is_sqlite) for word in words))


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

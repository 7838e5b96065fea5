"""Threads in the database. Another tenant's look as if they were not there."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import ColumnElement, case, delete, func, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ...errors import InputError, NameTaken, UnknownItem
from ...events import JsonObject
from ...ids import new_stream_id
from ...store import Store, tables
from ...store.numbers import MAX_NUMBER, hold_numbers, reserve_number, take_numbers
from ...store.sealing import sealed
from ..records import Thread, TitleSource
from .checks import check_limit, check_metadata, check_name, is_possible
from .rows import check_workspace, listed_threads, running_streams, select_threads, the_thread, thread_of
from .slugs import check_slug, free_slug, slug_of

_table, _messages = tables.threads, tables.messages

# From the lowest rank to the highest.
TITLE_SOURCES: tuple[TitleSource, ...] = ("", "words", "model", "user")
# Threads of one transaction of `expire`, so that no writer waits for long.
EXPIRE_AT_ONCE = 200


class Threads:
    """Every method raises `StoreUnavailable` where the database cannot do it now."""

    def __init__(self, store: Store, clock_ms: Callable[[], int]) -> None:
        self._store = store
        self._clock_ms = clock_ms

    async def create(
        self,
        tenant: str,
        workspace_id: str,
        *,
        title: str = "",
        title_source: TitleSource = "user",
        slug: str | None = None,
        number: int | None = None,
        model: str = "",
        metadata: JsonObject | None = None,
    ) -> Thread:
        """`slug` None: made from the title, or the id where there is none. `number` None: the next.

        A chosen number is from 1 to 2^53-1, and the next ones count on from the largest. Raises `InputError`,
        `NameTaken` (slug or number), `UnknownItem` (workspace).
        """
        values = titled(title, title_source) | {
            "model": check_name(model, param="model"),
            "metadata": check_metadata(metadata or {}),
        }
        if slug is not None:
            check_slug(slug)
        async with self._store.write() as connection:
            await check_workspace(connection, tenant, workspace_id)
            number = await self._number(connection, tenant, number)
            if slug is not None and await _is_taken(connection, workspace_id, slug):
                raise NameTaken(f"the slug {slug} is in use", param="slug")
            return await self.insert(connection, tenant, workspace_id, values | {"slug": slug or "", "number": number})

    async def get(self, tenant: str, ref: str | int, *, workspace_id: str | None = None) -> Thread:
        """By id, by number where `ref` is an integer, and with `workspace_id` also by slug. Raises `UnknownItem`.

        With `workspace_id`, threads of other workspaces are unknown.
        """
        statement = select_threads().where(_table.c.tenant == tenant)
        if workspace_id is not None:
            statement = statement.where(_table.c.workspace_id == workspace_id)
        if isinstance(ref, int):
            statement = statement.where(_table.c.number == ref)
        elif workspace_id is None:
            statement = statement.where(_table.c.id == ref)
        else:
            # A slug may look like another thread's id; the id comes first.
            statement = statement.where(or_(_table.c.id == ref, _table.c.slug == ref)).order_by(_table.c.id != ref)
        if is_possible(ref) and is_possible(workspace_id or ""):
            async with self._store.read() as connection:
                row = (await connection.execute(statement.limit(1))).first()
                if row is not None:
                    return thread_of(connection, row)
        raise UnknownItem("thread")

    async def find_or_create(self, tenant: str, workspace_id: str, slug: str) -> Thread:
        """The workspace's thread with this slug; two who ask at once get the same.

        Raises `InputError`, `UnknownItem`.
        """
        check_slug(slug)
        wanted = _table.c.slug == slug
        if is_possible(workspace_id):
            wanted &= _table.c.workspace_id == workspace_id
        return await self._find_or_create(tenant, workspace_id, wanted, slug=slug)

    async def find_or_create_number(self, tenant: str, workspace_id: str, number: int) -> Thread:
        """The tenant's thread with this number, in whichever workspace; a new one is made in `workspace_id`.

        Two who ask at once get the same. Raises `InputError`, `UnknownItem`.
        """
        if not 1 <= number <= MAX_NUMBER:
            raise InputError(f"number must be from 1 to {MAX_NUMBER}", param="number")
        return await self._find_or_create(tenant, workspace_id, _table.c.number == number, number=number)

    async def list(
        self, tenant: str, *, workspace_id: str | None = None, limit: int = 100, before: str | None = None
    ) -> builtins.list[Thread]:
        """The last active first. `before`: the id of the last one that the caller has.

        Raises `InputError`, `UnknownItem`.
        """
        check_limit(limit)
        found: list[Thread] = []
        order = tuple_(_table.c.updated_ms, _table.c.id)
        statement = select_threads().where(_table.c.tenant == tenant)
        async with self._store.read() as connection:
            if workspace_id is not None:
                await check_workspace(connection, tenant, workspace_id)
                statement = statement.where(_table.c.workspace_id == workspace_id)
            if before is not None:
                cursor = await _place_of(connection, tenant, before)
                statement = statement.where(order < (cursor.updated_ms, cursor.id))
            statement = statement.order_by(_table.c.updated_ms.desc(), _table.c.id.desc())
            while missing := limit - len(found):
                rows = (await connection.execute(statement.limit(missing))).all()
                found += listed_threads(connection, rows)
                if len(rows) < missing:
                    break
                statement = statement.where(order < (rows[-1].updated_ms, rows[-1].id))
        return found

    async def count(self, tenant: str) -> int:
        statement = select(func.count()).select_from(_table).where(_table.c.tenant == tenant)
        async with self._store.read() as connection:
            return int((await connection.execute(statement)).scalar_one())

    async def update(
        self,
        tenant: str,
        thread_id: str,
        *,
        title: str | None = None,
        title_source: TitleSource = "user",
        slug: str | None = None,
        model: str | None = None,
        metadata: JsonObject | None = None,
    ) -> Thread:
        """Change what is not None. A title never replaces one whose source ranks higher: user, model, words.

        A title of "" is none, whoever gave it. Raises `InputError`, `NameTaken`, `UnknownItem`.
        """
        values: JsonObject = {}
        named = {} if title is None else titled(title, title_source)
        if model is not None:
            values["model"] = check_name(model, param="model")
        if metadata is not None:
            values["metadata"] = check_metadata(metadata)
        if slug is not None:
            values["slug"] = check_slug(slug)
        async with self._store.write() as connection:
            if slug is not None:
                await hold_numbers(connection, tenant, "threads")
            thread = await _place_of(connection, tenant, thread_id, lock=True)
            if slug is not None and await _is_taken(connection, thread.workspace_id, slug, but=thread_id):
                raise NameTaken(f"the slug {slug} is in use", param="slug")
            values["updated_ms"] = max(self._clock_ms(), thread.updated_ms)
            values = sealed(connection, _table, (thread_id,), values)
            values |= _if_not_outranked(sealed(connection, _table, (thread_id,), named), title_source)
            await connection.execute(update(_table).where(_table.c.id == thread_id).values(**values))
            return await the_thread(connection, tenant, thread_id)

    async def delete(self, tenant: str, thread_id: str) -> builtins.list[str]:
        """With its messages and documents; the streams that were still at work in it. Raises `UnknownItem`."""
        async with self._store.write() as connection:
            await _place_of(connection, tenant, thread_id, lock=True)
            streams = await running_streams(
                connection, _messages.c.thread_id == thread_id, tables.documents.c.thread_id == thread_id
            )
            await connection.execute(delete(_table).where(_table.c.id == thread_id))
        return streams

    async def expire(self, older_than_ms: int) -> int:
        """Delete all tenants' threads whose last activity was before `older_than_ms` (Unix time); how many.

        One with an answer that is being made stays.
        """
        busy = select(_messages.c.id).where(_messages.c.thread_id == _table.c.id, _messages.c.status == "streaming")
        old = (_table.c.updated_ms < older_than_ms) & ~busy.correlate(_table).exists()
        total = 0
        while True:
            async with self._store.write() as connection:
                # Looked at and deleted in one transaction, locked: a turn that begins now waits, and finds no thread.
                some = select(_table.c.id).where(old).limit(EXPIRE_AT_ONCE).with_for_update(skip_locked=True)
                ids = list((await connection.execute(some)).scalars())
                if ids:
                    result = await connection.execute(delete(_table).where(_table.c.id.in_(ids), old))
                    total += result.rowcount
            if len(ids) < EXPIRE_AT_ONCE:
                return total

    async def insert(self, connection: AsyncConnection, tenant: str, workspace_id: str, values: JsonObject) -> Thread:
        """A row with `values` and a fresh id. A `slug` of "" is made; its number must have been taken already."""
        now_ms = self._clock_ms()
        thread_id = new_stream_id(now_ms)
        if not values["slug"]:
            # What a title says must not stand in a slug either, where titles are encrypted.
            title = "" if self._store.encrypted else str(values["title"])
            base = slug_of(title, otherwise=thread_id)
            values = values | {"slug": await free_slug(base, lambda made: _is_taken(connection, workspace_id, made))}
        times = {"created_ms": now_ms, "updated_ms": now_ms}
        row = times | values | {"id": thread_id, "tenant": tenant, "workspace_id": workspace_id}
        await connection.execute(_table.insert().values(**sealed(connection, _table, (thread_id,), row)))
        return await the_thread(connection, tenant, thread_id)

    async def _find_or_create(
        self,
        tenant: str,
        workspace_id: str,
        wanted: ColumnElement[bool],
        *,
        slug: str = "",
        number: int | None = None,
    ) -> Thread:
        statement = select_threads().where(_table.c.tenant == tenant, wanted)
        async with self._store.read() as connection:
            row = (await connection.execute(statement)).one_or_none()
            if row is not None:
                return thread_of(connection, row)
        async with self._store.write() as connection:
            await check_workspace(connection, tenant, workspace_id)
            await hold_numbers(connection, tenant, "threads")
            if row := (await connection.execute(statement)).one_or_none():
                return thread_of(connection, row)
            taken = await self._number(connection, tenant, number)
            values = titled("", "") | {"slug": slug, "number": taken, "metadata": {}}
            return await self.insert(connection, tenant, workspace_id, values)

    async def _number(self, connection: AsyncConnection, tenant: str, number: int | None) -> int:
        if number is None:
            return await take_numbers(connection, tenant, "threads")
        await reserve_number(connection, tenant, "threads", number)
        statement = select(_table.c.id).where(_table.c.tenant == tenant, _table.c.number == number)
        if (await connection.execute(statement)).one_or_none():
            raise NameTaken(f"the thread {number} is there already", param="number")
        return number


class _Place(NamedTuple):
    id: str
    workspace_id: str
    updated_ms: int


async def _place_of(connection: AsyncConnection, tenant: str, thread_id: str, *, lock: bool = False) -> _Place:
    """As `the_thread`, of one whose title need not open: it can be passed in a list, renamed and deleted."""
    if is_possible(thread_id):
        columns = (_table.c.id, _table.c.workspace_id, _table.c.updated_ms)
        statement = select(*columns).where(_table.c.tenant == tenant, _table.c.id == thread_id)
        if lock:
            statement = statement.with_for_update(of=_table)
        if row := (await connection.execute(statement)).one_or_none():
            return _Place(*row)
    raise UnknownItem("thread")


def titled(title: str, source: TitleSource) -> JsonObject:
    """The columns of a title. Raises `InputError`."""
    if source not in TITLE_SOURCES:
        raise InputError(f"title_source must be one of {', '.join(TITLE_SOURCES[1:])}", param="title_source")
    title = check_name(title, param="title")
    return {"title": title, "title_source": source if title else ""}


def _if_not_outranked(values: JsonObject, source: TitleSource) -> JsonObject:
    outranked = _table.c.title_source.in_(TITLE_SOURCES[TITLE_SOURCES.index(source) + 1 :])
    return {name: case((outranked, _table.c[name]), else_=value) for name, value in values.items()}


async def _is_taken(connection: AsyncConnection, workspace_id: str, slug: str, *, but: str = "") -> bool:
    statement = select(_table.c.id).where(_table.c.workspace_id == workspace_id, _table.c.slug == slug)
    return (await connection.execute(statement)).scalar() not in (None, but)

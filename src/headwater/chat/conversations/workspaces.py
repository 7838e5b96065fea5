"""Workspaces in the database. Another tenant's look as if they were not there."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Unpack

from sqlalchemy import ColumnElement, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ...errors import NameTaken, UnknownItem
from ...ids import new_stream_id
from ...store import Store, tables
from ...store.numbers import hold_numbers, take_numbers
from ...store.sealing import sealed
from ..records import Workspace, WorkspaceChanges, WorkspaceFields
from .checks import MAX_PAGE, check_fields, check_limit, check_name, is_possible
from .rows import listed_workspaces, running_streams, workspace_of
from .slugs import check_slug, free_slug, slug_of

_table = tables.workspaces


class Workspaces:
    """Every method raises `StoreUnavailable` where the database cannot do it now."""

    def __init__(self, store: Store, clock_ms: Callable[[], int]) -> None:
        self._store = store
        self._clock_ms = clock_ms

    async def create(
        self, tenant: str, *, name: str, slug: str | None = None, **fields: Unpack[WorkspaceFields]
    ) -> Workspace:
        """`slug` None: made from the name. Raises `InputError`, `NameTaken`."""
        name = check_name(name, param="name", empty=False)
        values = check_fields(fields, WorkspaceFields)
        if slug is not None:
            check_slug(slug)
        async with self._store.write() as connection:
            number = await take_numbers(connection, tenant, "workspaces")
            if slug is None:
                # What a name says must not stand in a slug either, where names are encrypted.
                base = slug_of("" if self._store.encrypted else name, otherwise="workspace")
                slug = await free_slug(base, lambda made: _is_taken(connection, tenant, made))
            elif await _is_taken(connection, tenant, slug):
                raise NameTaken(f"the slug {slug} is in use", param="slug")
            return await self._insert(connection, tenant, number, {"name": name, "slug": slug, **values})

    async def get(self, tenant: str, ref: str | int) -> Workspace:
        """By id or slug, or by number where `ref` is an integer. Raises `UnknownItem`."""
        if not is_possible(ref):
            raise UnknownItem("workspace")
        async with self._store.read() as connection:
            if found := await _find(connection, tenant, ref):
                return found
        raise UnknownItem("workspace")

    async def find_or_create(self, tenant: str, slug: str, name: str | None = None) -> Workspace:
        """The one with this slug; two who ask at once get the same. Raises `InputError`."""
        check_slug(slug)
        name = check_name(name or slug, param="name", empty=False)
        async with self._store.read() as connection:
            found = await _find_slug(connection, tenant, slug)
        if found is not None:
            return found
        async with self._store.write() as connection:
            await hold_numbers(connection, tenant, "workspaces")
            if found := await _find_slug(connection, tenant, slug):
                return found
            number = await take_numbers(connection, tenant, "workspaces")
            return await self._insert(connection, tenant, number, {"name": name, "slug": slug})

    async def list(self, tenant: str, *, limit: int = MAX_PAGE, after: int = 0) -> builtins.list[Workspace]:
        """Oldest first, those with a number above `after`. Raises `InputError`."""
        check_limit(limit)
        statement = select(_table).where(_table.c.tenant == tenant, _table.c.number > after)
        async with self._store.read() as connection:
            rows = (await connection.execute(statement.order_by(_table.c.number).limit(limit))).all()
            return listed_workspaces(connection, rows)

    async def newest(self, tenant: str, *, limit: int, before: str | None = None) -> builtins.list[Workspace]:
        """Newest first. `before`: the id or slug of the last one that the caller has.

        Raises `InputError`, `UnknownItem`.
        """
        check_limit(limit)
        statement = select(_table).where(_table.c.tenant == tenant)
        if before is not None:
            statement = statement.where(_table.c.number < (await self.get(tenant, before)).number)
        async with self._store.read() as connection:
            rows = (await connection.execute(statement.order_by(_table.c.number.desc()).limit(limit))).all()
            return listed_workspaces(connection, rows)

    async def count(self, tenant: str) -> int:
        statement = select(func.count()).select_from(_table).where(_table.c.tenant == tenant)
        async with self._store.read() as connection:
            return int((await connection.execute(statement)).scalar_one())

    async def update(self, tenant: str, workspace_id: str, **fields: Unpack[WorkspaceChanges]) -> Workspace:
        """Change what is named. Raises `InputError`, `NameTaken`, `UnknownItem`."""
        values = check_fields(fields, WorkspaceChanges)
        if "name" in fields:
            values["name"] = check_name(fields["name"], param="name", empty=False)
        slug = check_slug(fields["slug"]) if "slug" in fields else None
        async with self._store.write() as connection:
            if slug is not None:
                await hold_numbers(connection, tenant, "workspaces")
                if await _is_taken(connection, tenant, slug, but=workspace_id):
                    raise NameTaken(f"the slug {slug} is in use", param="slug")
            values = sealed(connection, _table, (workspace_id,), values)
            statement = update(_table).where(_its(tenant, workspace_id)).values(**values, updated_ms=self._clock_ms())
            row = (await connection.execute(statement.returning(_table))).one_or_none()
            if row is None:
                raise UnknownItem("workspace")
            return workspace_of(connection, row)

    async def delete(self, tenant: str, workspace_id: str) -> builtins.list[str]:
        """With its threads, messages and documents; the streams that were still at work in it. Raises `UnknownItem`."""
        threads, messages, documents = tables.threads, tables.messages, tables.documents
        within = select(threads.c.id).where(threads.c.workspace_id == workspace_id)
        async with self._store.write() as connection:
            statement = select(_table.c.id).where(_its(tenant, workspace_id)).with_for_update()
            if (await connection.execute(statement)).one_or_none() is None:
                raise UnknownItem("workspace")
            streams = await running_streams(
                connection, messages.c.thread_id.in_(within), documents.c.workspace_id == workspace_id
            )
            await connection.execute(delete(_table).where(_its(tenant, workspace_id)))
        return streams

    async def _insert(
        self, connection: AsyncConnection, tenant: str, number: int, values: dict[str, object]
    ) -> Workspace:
        now_ms = self._clock_ms()
        workspace_id = new_stream_id(now_ms)
        values = {"metadata": {}, **values, "id": workspace_id, "tenant": tenant, "number": number}
        values = sealed(connection, _table, (workspace_id,), values)
        statement = _table.insert().values(**values, created_ms=now_ms, updated_ms=now_ms).returning(_table)
        return workspace_of(connection, (await connection.execute(statement)).one())


def _its(tenant: str, workspace_id: str) -> ColumnElement[bool]:
    # An id that no row can have is asked for as one that no row has.
    return (_table.c.tenant == tenant) & (_table.c.id == (workspace_id if is_possible(workspace_id) else ""))


async def _is_taken(connection: AsyncConnection, tenant: str, slug: str, *, but: str = "") -> bool:
    statement = select(_table.c.id).where(_table.c.tenant == tenant, _table.c.slug == slug)
    return (await connection.execute(statement)).scalar() not in (None, but)


async def _find_slug(connection: AsyncConnection, tenant: str, slug: str) -> Workspace | None:
    row = (await connection.execute(select(_table).where(_table.c.tenant == tenant, _table.c.slug == slug))).first()
    return None if row is None else workspace_of(connection, row)


async def _find(connection: AsyncConnection, tenant: str, ref: str | int) -> Workspace | None:
    statement = select(_table).where(_table.c.tenant == tenant)
    if isinstance(ref, int):
        statement = statement.where(_table.c.number == ref)
    else:
        # A slug may look like another workspace's id; the id comes first.
        statement = statement.where(or_(_table.c.id == ref, _table.c.slug == ref)).order_by(_table.c.id != ref)
    row = (await connection.execute(statement.limit(1))).first()
    return None if row is None else workspace_of(connection, row)

"""An imported thread into the database, in one transaction."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from ...events import JsonObject
from ...ids import new_stream_id
from ...store import Store, tables
from ...store.numbers import take_numbers
from ...store.sealing import sealed
from ..records import Imported, Thread
from .checks import check_metadata, check_name
from .rows import check_workspace, columns_of
from .threads import Threads, titled

# Rows of one statement: their values stay below the databases' bounds on parameters.
ROWS_AT_ONCE = 500


async def insert_imported(
    store: Store, threads: Threads, tenant: str, workspace_id: str, imported: Imported, *, now_ms: int
) -> Thread:
    """Its activity begins now, whatever the file says of its age. Raises `InputError`, `UnknownItem`."""
    # One id for each, so that parents are known before they are stored.
    ids: list[str] = [new_stream_id(now_ms) for _ in imported.messages]
    values = titled(imported.title, imported.title_source or "user") | {
        "slug": "",
        "model": check_name(imported.model, param="model"),
        "metadata": check_metadata(imported.metadata),
        "leaf_id": None if imported.leaf is None else ids[imported.leaf],
    }
    if imported.created_ms is not None:
        values["created_ms"] = min(imported.created_ms, now_ms)
    async with store.write() as connection:
        await check_workspace(connection, tenant, workspace_id)
        values["number"] = await take_numbers(connection, tenant, "threads")
        thread = await threads.insert(connection, tenant, workspace_id, values)
        if ids:
            first = await take_numbers(connection, tenant, "messages", count=len(ids))
            own: JsonObject = {"tenant": tenant, "thread_id": thread.id, "stream_id": ""}
            rows = _rows(imported, ids, first=first, now_ms=now_ms)
            for start in range(0, len(rows), ROWS_AT_ONCE):
                some = [own | row for row in rows[start : start + ROWS_AT_ONCE]]
                await connection.execute(tables.messages.insert(), [_sealed(connection, row) for row in some])
    return await threads.get(tenant, thread.id)


def _sealed(connection: AsyncConnection, row: JsonObject) -> JsonObject:
    return sealed(connection, tables.messages, (row["id"],), row)


def _rows(imported: Imported, ids: list[str], *, first: int, now_ms: int) -> list[JsonObject]:
    rows = []
    for index, message in enumerate(imported.messages):
        row = columns_of(message)
        parent = message.parent
        del row["parent"]
        created_ms = now_ms if message.created_ms is None else min(message.created_ms, now_ms)
        finished_ms = created_ms if message.finished_ms is None else min(message.finished_ms, now_ms)
        row |= {"id": ids[index], "number": first + index, "parent_id": None if parent is None else ids[parent]}
        rows.append(row | {"created_ms": created_ms, "finished_ms": finished_ms})
    return rows

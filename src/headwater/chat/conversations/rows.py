"""Between rows and records, in both directions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import msgspec
from sqlalchemy import ColumnElement, Row, Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ...errors import StoreCorrupt, UnknownItem
from ...events import Error, JsonObject, Source, Usage
from ...store import tables
from ...store.sealing import opened, readable, sealed
from ...store.texts import storable, storable_json
from ..records import ImportedMessage, Message, Settled, Thread, Workspace
from .checks import is_possible

_threads, _messages = tables.threads, tables.messages

_COUNT = (
    select(func.count())
    .select_from(_messages)
    .where(_messages.c.thread_id == _threads.c.id)
    .correlate(_threads)
    .scalar_subquery()
)


def select_threads() -> Select[Any]:
    """Threads with the number of their messages, as `thread_of` reads them."""
    return select(_threads, _COUNT.label("messages"))


def workspace_of(connection: AsyncConnection, row: Row[Any], *, instead: JsonObject | None = None) -> Workspace:
    return Workspace(**opened(connection, tables.workspaces, row._mapping, instead=instead))


def listed_workspaces(connection: AsyncConnection, rows: Sequence[Row[Any]]) -> list[Workspace]:
    """With an empty name, and so on, where the stored one does not open."""
    instead: JsonObject = {"name": "", "system_prompt": "", "refusal": "", "metadata": {}}
    return readable(connection, rows, partial(workspace_of, instead=instead))


def thread_of(connection: AsyncConnection, row: Row[Any], *, instead: JsonObject | None = None) -> Thread:
    return Thread(**opened(connection, _threads, row._mapping, instead=instead))


def listed_threads(connection: AsyncConnection, rows: Sequence[Row[Any]]) -> list[Thread]:
    """With an empty title where the stored one does not open; a thread of which more is damaged is left out."""
    return readable(connection, rows, partial(thread_of, instead={"title": "", "metadata": {}}))


def message_of(connection: AsyncConnection, row: Row[Any]) -> Message:
    values = opened(connection, _messages, row._mapping)
    for name, kind in (("error", Error), ("usage", Usage), ("sources", list[Source])):
        if values[name]:
            try:
                values[name] = msgspec.convert(values[name], kind)
            except msgspec.ValidationError as exc:
                raise StoreCorrupt(f"messages.{name} of {values['id']} is not what was stored there") from exc
    return Message(**values)


def columns_of(record: Message | Settled | ImportedMessage) -> JsonObject:
    """The record's fields as columns, with texts and JSON as both databases take them."""
    return {name: _stored(getattr(record, name)) for name in record.__struct_fields__}


def sealed_message(connection: AsyncConnection, message: Message) -> JsonObject:
    """The message's row."""
    return sealed(connection, _messages, (message.id,), columns_of(message))


def _stored(value: object) -> object:
    if isinstance(value, str):
        return storable(value)
    return storable_json(msgspec.to_builtins(value)) if isinstance(value, msgspec.Struct | list | dict) else value


async def the_thread(connection: AsyncConnection, tenant: str, thread_id: str, *, lock: bool = False) -> Thread:
    """Raises `UnknownItem`. `lock`: nobody else changes its messages until the transaction ends."""
    if is_possible(thread_id):
        statement = select_threads().where(_threads.c.tenant == tenant, _threads.c.id == thread_id)
        if lock:
            statement = statement.with_for_update(of=_threads)
        if row := (await connection.execute(statement)).one_or_none():
            return thread_of(connection, row)
    raise UnknownItem("thread")


async def check_workspace(connection: AsyncConnection, tenant: str, workspace_id: str) -> None:
    """Raises `UnknownItem`. The workspace cannot go before the transaction ends."""
    table = tables.workspaces
    if is_possible(workspace_id):
        statement = select(table.c.id).where(table.c.tenant == tenant, table.c.id == workspace_id)
        if (await connection.execute(statement.with_for_update(read=True, key_share=True))).one_or_none():
            return
    raise UnknownItem("workspace")


async def running_streams(
    connection: AsyncConnection, messages: ColumnElement[bool], documents: ColumnElement[bool] | None = None
) -> list[str]:
    """The streams that still make one of these messages, or read one of these documents."""
    statement = select(_messages.c.stream_id).where(messages, _messages.c.status == "streaming")
    found = list((await connection.execute(statement)).scalars())
    if documents is not None:
        table = tables.documents
        reading = select(table.c.stream_id).where(documents, table.c.status == "processing")
        found += (await connection.execute(reading)).scalars()
    return [stream_id for stream_id in found if stream_id]


async def messages_of(connection: AsyncConnection, statement: Select[Any]) -> list[Message]:
    rows = cast(Sequence[Row[Any]], (await connection.execute(statement)).all())
    return [message_of(connection, row) for row in rows]


async def readable_messages(connection: AsyncConnection, statement: Select[Any]) -> list[Message]:
    """Without those that do not open."""
    return readable(connection, cast(Sequence[Row[Any]], (await connection.execute(statement)).all()), message_of)

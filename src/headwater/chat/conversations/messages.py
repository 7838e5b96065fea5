"""Messages in the database: a tree in each thread, whose `leaf_id` says where the conversation goes on.

To ask anew (edit) is a question with the same parent as the old one, to regenerate an answer with the same parent;
nothing is overwritten. Another tenant's messages look as if they were not there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_args

from msgspec.structs import replace
from sqlalchemy import ColumnElement, Select, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ...errors import InputError, UnknownItem
from ...events import JsonObject
from ...ids import new_stream_id
from ...store import Store, tables
from ...store.numbers import take_numbers
from ...store.sealing import sealed
from ..records import Message, Role, Settled, Siblings, Thread, Turn
from .branches import above, below, newest, siblings_of
from .checks import check_metadata, check_name, is_possible
from .rows import columns_of, message_of, messages_of, running_streams, sealed_message, the_thread

_table, _threads = tables.messages, tables.threads


class Messages:
    """Every method raises `StoreUnavailable` where the database cannot do it now."""

    def __init__(self, store: Store, clock_ms: Callable[[], int]) -> None:
        self._store = store
        self._clock_ms = clock_ms

    async def add_turn(
        self,
        tenant: str,
        thread_id: str,
        *,
        parent_id: str | None,
        content: str,
        stream_id: str,
        parts: Sequence[JsonObject] = (),
        model: str = "",
        regenerate: bool = False,
    ) -> Turn:
        """A question below `parent_id` (None: it begins the thread), and its answer, which `stream_id` is to make.

        With `regenerate`, `parent_id` is the question that gets one more answer. The thread goes on after the answer.
        Raises `InputError`, `UnknownItem`.
        """
        model = check_name(model, param="model")
        async with self._store.write() as connection:
            thread = await the_thread(connection, tenant, thread_id, lock=True)
            parent = await _parent(connection, thread, parent_id)
            now_ms = self._clock_ms()
            question = None
            number = await take_numbers(connection, tenant, "messages", count=1 if regenerate else 2)
            if regenerate:
                if parent is None or parent.role != "user":
                    raise InputError("only a question can be answered anew", param="parent_id")
            else:
                blank = _new(thread, now_ms, number, parent_id, "user")
                question = replace(blank, content=content, parts=list(parts))
                parent_id, number = question.id, number + 1
            blank = _new(thread, now_ms, number, parent_id, "assistant")
            answer = replace(blank, status="streaming", stream_id=stream_id, model=model, finished_ms=None)
            made = [message for message in (question, answer) if message is not None]
            await connection.execute(_table.insert(), [sealed_message(connection, message) for message in made])
            await _go_on(connection, thread, answer.id, now_ms)
        return Turn(_as_stored(question) if question else None, answer, thread.leaf_id)

    async def take_back(self, turn: Turn) -> None:
        """The stream was refused: the turn's messages go, and the thread goes on where it did before.

        What others put below them meanwhile goes with the answer, and keeps the question. Twice is as good as once.
        """
        answer, question = turn.answer, turn.question
        async with self._store.write() as connection:
            try:
                thread = await the_thread(connection, answer.tenant, answer.thread_id, lock=True)
            except UnknownItem:
                return
            await connection.execute(delete(_table).where(below(answer.id)))
            if question is not None:
                left = select(_table.c.id).where(_table.c.parent_id == question.id).limit(1)
                if (await connection.execute(left)).first() is None:
                    await connection.execute(delete(_table).where(_table.c.id == question.id))
            await _mend_leaf(connection, thread, [turn.leaf_before, answer.parent_id])

    async def add(
        self,
        tenant: str,
        thread_id: str,
        *,
        parent_id: str | None,
        role: Role,
        content: str,
        parts: Sequence[JsonObject] = (),
        model: str = "",
        metadata: JsonObject | None = None,
    ) -> Message:
        """A message that is whole; the thread goes on after it. Raises `InputError`, `UnknownItem`."""
        if role not in get_args(Role):
            raise InputError(f"role must be one of {', '.join(get_args(Role))}", param="role")
        kept = check_metadata(metadata or {})
        model = check_name(model, param="model")
        async with self._store.write() as connection:
            thread = await the_thread(connection, tenant, thread_id, lock=True)
            await _parent(connection, thread, parent_id)
            now_ms = self._clock_ms()
            number = await take_numbers(connection, tenant, "messages")
            blank = _new(thread, now_ms, number, parent_id, role)
            message = replace(blank, content=content, parts=list(parts), model=model, metadata=kept)
            await connection.execute(_table.insert().values(**sealed_message(connection, message)))
            await _go_on(connection, thread, message.id, now_ms)
        return _as_stored(message)

    async def get(self, tenant: str, ref: str | int) -> Message:
        """By id, or by number where `ref` is an integer. Raises `UnknownItem`."""
        async with self._store.read() as connection:
            return await _the_message(connection, tenant, ref)

    async def by_stream(self, stream_id: str) -> Message | None:
        """Whose answer a stream makes or made, of all tenants."""
        if not stream_id or not is_possible(stream_id):
            return None
        statement = select(_table).where(_table.c.stream_id == stream_id).order_by(_table.c.number.desc()).limit(1)
        async with self._store.read() as connection:
            found = await messages_of(connection, statement)
        return found[0] if found else None

    async def path(
        self, tenant: str, thread_id: str, leaf_id: str | None = None, *, limit: int | None = None
    ) -> list[Message]:
        """From the root to `leaf_id` (None: where the thread goes on), of these the last `limit`.

        Raises `UnknownItem`.
        """
        async with self._store.read() as connection:
            thread = await the_thread(connection, tenant, thread_id)
            leaf_id = thread.leaf_id if leaf_id is None else leaf_id
            if leaf_id is None:
                return []
            await _the_message(connection, tenant, leaf_id, thread_id=thread_id)
            statement = select(_table).where(above(leaf_id)).order_by(_table.c.number.desc()).limit(limit)
            return (await messages_of(connection, statement))[::-1]

    async def all(
        self, tenant: str, thread_id: str, *, limit: int | None = None, before: int | None = None
    ) -> list[Message]:
        """Of all branches, oldest first: every message comes after its parent. Raises `UnknownItem`.

        Of these the last `limit` with a number below `before`.
        """
        statement = select(_table).where(_table.c.thread_id == thread_id)
        if before is not None:
            statement = statement.where(_table.c.number < before)
        async with self._store.read() as connection:
            await the_thread(connection, tenant, thread_id)
            return (await messages_of(connection, statement.order_by(_table.c.number.desc()).limit(limit)))[::-1]

    async def siblings(self, tenant: str, message_id: str) -> Siblings:
        """The message's place among its branches. Raises `UnknownItem`."""
        async with self._store.read() as connection:
            message = await _the_message(connection, tenant, message_id)
            same_parent = _table.c.parent_id.is_not_distinct_from(message.parent_id)
            statement = _of_thread(select(_table.c.id), message.thread_id).where(same_parent)
            ids = list((await connection.execute(statement)).scalars())
        return Siblings(ids.index(message_id), ids)

    async def branches(self, tenant: str, thread_id: str) -> dict[str, Siblings]:
        """Every message's place among its branches, in one query. Raises `UnknownItem`."""
        async with self._store.read() as connection:
            await the_thread(connection, tenant, thread_id)
            statement = _of_thread(select(_table.c.id, _table.c.parent_id), thread_id)
            return siblings_of([(row[0], row[1]) for row in await connection.execute(statement)])

    async def set_leaf(self, tenant: str, thread_id: str, message_id: str) -> Thread:
        """Go on after the newest message below `message_id`. Raises `UnknownItem`. No activity of the thread."""
        async with self._store.write() as connection:
            thread = await the_thread(connection, tenant, thread_id, lock=True)
            await _the_message(connection, tenant, message_id, thread_id=thread_id)
            leaf_id = (await connection.execute(newest(below(message_id)))).scalar_one()
            await _go_on(connection, thread, leaf_id, thread.updated_ms)
        return replace(thread, leaf_id=leaf_id)

    async def settle(self, stream_id: str, settled: Settled) -> Message | None:
        """How the answer that `stream_id` made has ended; the message, or None where none was being made by it.

        Of several callers one gets the message; for the others, and later, nothing changes.
        """
        if not stream_id or not is_possible(stream_id):
            return None
        async with self._store.write() as connection:
            # The thread first, as everybody locks them: else two could wait for each other.
            within = select(_table.c.thread_id).where(_table.c.stream_id == stream_id)
            lock = select(_threads.c.id).where(_threads.c.id.in_(within)).with_for_update()
            if (await connection.execute(lock)).first() is None:
                return None
            its = (_table.c.stream_id == stream_id) & (_table.c.status == "streaming")
            message_id = (await connection.execute(select(_table.c.id).where(its))).scalar()
            if message_id is None:
                return None
            values = sealed(connection, _table, (message_id,), _settled(settled))
            changed = update(_table).where(_table.c.id == message_id).values(**values).returning(_table)
            message = message_of(connection, (await connection.execute(changed)).one())
            active = update(_threads).where(
                _threads.c.id == message.thread_id, _threads.c.updated_ms < settled.finished_ms
            )
            await connection.execute(active.values(updated_ms=settled.finished_ms))
        return message

    async def streaming(self, limit: int = 1000, *, tenant: str | None = None) -> list[Message]:
        """Answers that are being made, or that a dead process left, oldest first. `tenant` None: of all."""
        statement = select(_table).where(_table.c.status == "streaming")
        if tenant is not None:
            statement = statement.where(_table.c.tenant == tenant)
        async with self._store.read() as connection:
            return await messages_of(connection, statement.order_by(_table.c.created_ms, _table.c.id).limit(limit))

    async def streaming_in(self, tenant: str, thread_id: str) -> list[Message]:
        """The answers of one thread that are being made, oldest first. Raises `UnknownItem`."""
        statement = _of_thread(select(_table), thread_id).where(_table.c.status == "streaming")
        async with self._store.read() as connection:
            await the_thread(connection, tenant, thread_id)
            return await messages_of(connection, statement)

    async def delete(self, tenant: str, message_id: str) -> list[str]:
        """With all that is below it; the streams that were still at work in it. Raises `UnknownItem`.

        A thread that went on there goes on after the newest message that is left on that branch.
        """
        async with self._store.write() as connection:
            message = await _the_message(connection, tenant, message_id)
            thread = await the_thread(connection, tenant, message.thread_id, lock=True)
            # Once more under the lock: somebody may have been faster.
            await _the_message(connection, tenant, message_id)
            streams = await running_streams(connection, below(message_id))
            await connection.execute(delete(_table).where(below(message_id)))
            await _mend_leaf(connection, thread, [message.parent_id])
        return streams

    async def clear(self, tenant: str, thread_id: str) -> list[str]:
        """All messages of a thread; the streams that were still at work in it. Raises `UnknownItem`."""
        its = _table.c.thread_id == thread_id
        async with self._store.write() as connection:
            thread = await the_thread(connection, tenant, thread_id, lock=True)
            streams = await running_streams(connection, its)
            await connection.execute(delete(_table).where(its))
            await _go_on(connection, thread, None, self._clock_ms())
        return streams


def _new(thread: Thread, now_ms: int, number: int, parent_id: str | None, role: Role) -> Message:
    """A message that is whole, and empty."""
    return Message(
        id=new_stream_id(now_ms),
        tenant=thread.tenant,
        number=number,
        thread_id=thread.id,
        parent_id=parent_id,
        role=role,
        created_ms=now_ms,
        finished_ms=now_ms,
    )


def _as_stored(message: Message) -> Message:
    stored = columns_of(message)
    return replace(message, content=stored["content"], parts=stored["parts"])


def _settled(settled: Settled) -> JsonObject:
    """Columns. What a provider calls things is cut rather than refused: an answer must be able to end."""
    values = columns_of(settled)
    for name, length in (("model", 500), ("provider", 500), ("finish_reason", 32)):
        values[name] = str(values[name])[:length]
    if not values["model"]:
        # What was asked for says more than nothing.
        del values["model"]
    return values


def _of_thread(statement: Select[Any], thread_id: str) -> Select[Any]:
    return statement.where(_table.c.thread_id == thread_id).order_by(_table.c.number)


async def _the_message(
    connection: AsyncConnection, tenant: str, ref: str | int, *, thread_id: str | None = None
) -> Message:
    column: ColumnElement[Any] = _table.c.number if isinstance(ref, int) else _table.c.id
    statement = select(_table).where(_table.c.tenant == tenant, column == ref)
    if thread_id is not None:
        statement = statement.where(_table.c.thread_id == thread_id)
    if is_possible(ref) and (found := await messages_of(connection, statement)):
        return found[0]
    raise UnknownItem("message")


async def _parent(connection: AsyncConnection, thread: Thread, parent_id: str | None) -> Message | None:
    if parent_id is None:
        return None
    try:
        return await _the_message(connection, thread.tenant, parent_id, thread_id=thread.id)
    except UnknownItem as exc:
        raise InputError("the parent is no message of this thread", param="parent_id") from exc


async def _go_on(connection: AsyncConnection, thread: Thread, leaf_id: str | None, updated_ms: int) -> None:
    statement = update(_threads).where(_threads.c.id == thread.id)
    await connection.execute(statement.values(leaf_id=leaf_id, updated_ms=max(updated_ms, thread.updated_ms)))


async def _mend_leaf(connection: AsyncConnection, thread: Thread, wanted: Sequence[str | None]) -> None:
    """Where the leaf is gone: the first of `wanted` that is there, or the newest below it, or the thread's newest."""
    if thread.leaf_id is not None:
        there = select(_table.c.id).where(_table.c.id == thread.leaf_id)
        if (await connection.execute(there)).first() is not None:
            return
    leaf_id: str | None = None
    for message_id in filter(None, wanted):
        leaf_id = leaf_id or (await connection.execute(newest(below(message_id)))).scalar()
    if leaf_id is None:
        leaf_id = (await connection.execute(newest(_table.c.thread_id == thread.id))).scalar()
    await _go_on(connection, thread, leaf_id, thread.updated_ms)

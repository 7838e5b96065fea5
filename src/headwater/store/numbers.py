"""Numbers for clients whose ids are numbers: 1, 2, 3 … of a tenant and kind, never given twice.

They are taken in the caller's own transaction, so that what is rolled back leaves no gap. On PostgreSQL the counter's
row stays locked until that transaction ends: whoever took or holds a tenant's numbers of a kind is the only one who
makes rows of that kind for that tenant.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from sqlalchemy import case
from sqlalchemy.ext.asyncio import AsyncConnection

from ..errors import InputError
from .tables import counters
from .upsert import insert_into

Kind: TypeAlias = Literal["workspaces", "threads", "messages", "documents"]

# The largest integer that a JSON number holds exactly in JavaScript.
MAX_NUMBER = 2**53 - 1


async def take_numbers(connection: AsyncConnection, tenant: str, kind: Kind, *, count: int = 1) -> int:
    """The first of `count` fresh numbers in a row. Raises `InputError` where there are none left."""
    statement = (
        insert_into(connection, counters)
        .values(tenant=tenant, kind=kind, value=count)
        .on_conflict_do_update(index_elements=["tenant", "kind"], set_={"value": counters.c.value + count})
        .returning(counters.c.value)
    )
    last = int((await connection.execute(statement)).scalar_one())
    if last > MAX_NUMBER:
        raise InputError(f"all numbers for {kind} are used up", param="number")
    return last - count + 1


async def reserve_number(connection: AsyncConnection, tenant: str, kind: Kind, number: int) -> None:
    """No later `take_numbers` gives `number`, or one below it. Raises `InputError` outside of 1 … 2^53-1."""
    if not 1 <= number <= MAX_NUMBER:
        raise InputError(f"number must be from 1 to {MAX_NUMBER}", param="number")
    larger = case((counters.c.value < number, number), else_=counters.c.value)
    statement = (
        insert_into(connection, counters)
        .values(tenant=tenant, kind=kind, value=number)
        .on_conflict_do_update(index_elements=["tenant", "kind"], set_={"value": larger})
    )
    await connection.execute(statement)


async def hold_numbers(connection: AsyncConnection, tenant: str, kind: Kind) -> None:
    """Be the only one who makes rows of this kind for this tenant, until the transaction ends. Takes no number."""
    statement = (
        insert_into(connection, counters)
        .values(tenant=tenant, kind=kind, value=0)
        .on_conflict_do_update(index_elements=["tenant", "kind"], set_={"value": counters.c.value})
    )
    await connection.execute(statement)

"""What streams have used, in the database: one row a stream and meter, so that none counts twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ..store import Store


class Usage(NamedTuple):
    """Of one stream that has ended. `meters`: the names of those that it counts for."""

    stream_id: str
    meters: tuple[str, ...]
    tokens: int
    cost: float
    at_ms: int


class Spent(NamedTuple):
    tokens: int
    cost: float

    def plus(self, usage: Usage) -> Spent:
        return Spent(self.tokens + usage.tokens, self.cost + usage.cost)

    def minus(self, other: Spent) -> Spent:
        return Spent(self.tokens - other.tokens, self.cost - other.cost)


async def insert_usage(store: Store, entries: Sequence[Usage]) -> list[tuple[str, str]]:
    """Stream and meter of the rows that are new. Raises `StoreUnavailable`."""
    # Imported when it is used: a server that only streams has no need of it.
    from ..store.tables import usage_entries as table
    from ..store.upsert import insert_into

    rows = [
        {"stream_id": entry.stream_id, "meter": meter, "tokens": entry.tokens, "cost": entry.cost, "at_ms": entry.at_ms}
        for entry in entries
        for meter in entry.meters
    ]
    if not rows:
        return []
    async with store.write() as connection:
        statement = (
            insert_into(connection, table)
            .values(rows)
            .on_conflict_do_nothing()
            .returning(table.c.stream_id, table.c.meter)
        )
        return [(row.stream_id, row.meter) for row in await connection.execute(statement)]


async def sum_usage(store: Store, meters: Sequence[str], start_ms: int) -> dict[str, Spent]:
    """By meter, since `start_ms`; meters without usage are left out. Raises `StoreUnavailable`."""
    from sqlalchemy import func, select

    from ..store.tables import usage_entries as table

    query = (
        select(table.c.meter, func.sum(table.c.tokens), func.sum(table.c.cost))
        .where(table.c.meter.in_(meters), table.c.at_ms >= start_ms)
        .group_by(table.c.meter)
    )
    async with store.read() as connection:
        return {meter: Spent(int(tokens), float(cost)) for meter, tokens, cost in await connection.execute(query)}

"""The databases that tests of the chat backend run against: SQLite, and PostgreSQL where its programs are there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from headwater.store import Store, open_store
from headwater.store.database import database_url
from headwater.store.tables import metadata

KINDS = ("sqlite", pytest.param("postgres", marks=pytest.mark.postgres))


@asynccontextmanager
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty database of the kind that `request` is for, up to date."""
    shared = request.getfixturevalue("shared_postgres_url") if request.param == "postgres" else None
    store = await open_store(database_url(shared, tmp_path))
    try:
        if shared is not None:
            async with store.write() as connection:
                names = ", ".join(f'"{table.name}"' for table in metadata.sorted_tables)
                await connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
        yield store
    finally:
        await store.close()

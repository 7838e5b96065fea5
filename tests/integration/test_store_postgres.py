"""The store on a real PostgreSQL: what only a server can do to it. What both databases do is in tests/unit/store."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.engine import Connection

from headwater.errors import ConfigError, HeadwaterError, StoreUnavailable
from headwater.store import Store, open_store
from headwater.store.database import database_url
from headwater.store.numbers import take_numbers
from headwater.store.tables import metadata
from tests.postgres import SUPERUSER, Cluster

pytestmark = pytest.mark.postgres

PASSWORD = "corr:ct h@rse"
# Everything in the database that a migration could have made anew.
MADE = "SELECT oid, relname, xmin FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY oid"


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[Store]:
    store = await open_store(database_url(postgres_url, Path()))
    yield store
    await store.close()


@pytest.fixture
def database(postgres_url: str) -> str:
    """Its name."""
    return postgres_url.partition("@/")[2].partition("?")[0]


@pytest.fixture
def locked(postgres: Cluster, postgres_url: str, database: str) -> Iterator[str]:
    """A role with a password, which owns nothing."""
    postgres.sql(f"CREATE ROLE locked LOGIN PASSWORD '{PASSWORD}'")
    yield "locked"
    postgres.sql("DROP OWNED BY locked", database=database)
    postgres.sql("DROP ROLE locked")


async def number_of(store: Store) -> int:
    async with store.write() as connection:
        return await take_numbers(connection, "t", "threads")


async def refusal_of(address: str) -> HeadwaterError:
    """What opening it raises. Neither that nor what it was raised from holds a password."""
    with pytest.raises(HeadwaterError) as refused:
        await open_store(database_url(address, Path()))
    assert "s3cret" not in "".join(traceback.format_exception(refused.value)).replace(address, "")
    return refused.value


def differences(connection: Connection) -> list[Any]:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    def is_compared(_item: object, name: str | None, kind: str, *_: object) -> bool:
        return (kind, name) not in {("column", "words"), ("index", "ix_passages_words")}

    options = {"compare_type": True, "compare_server_default": True, "include_object": is_compared}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


async def test_the_migrations_make_what_the_tables_say_and_the_index_of_words(store: Store) -> None:
    async with store.read() as connection:
        assert await connection.run_sync(differences) == []
        kinds = (
            await connection.execute(
                text(
                    "SELECT format_type(atttypid, NULL), attgenerated::text, amname FROM pg_attribute a"
                    " JOIN pg_index i ON i.indrelid = a.attrelid JOIN pg_class c ON c.oid = i.indexrelid"
                    " JOIN pg_am m ON m.oid = c.relam"
                    " WHERE attrelid = 'passages'::regclass AND attname = 'words' AND c.relname = 'ix_passages_words'"
                )
            )
        ).one()
        assert tuple(kinds) == ("tsvector", "s", "gin")


async def test_opening_again_makes_nothing_anew(store: Store, postgres: Cluster, postgres_url: str) -> None:
    async with store.read() as connection:
        before = (await connection.execute(text(MADE))).all()
    again = await open_store(database_url(postgres_url, Path()))
    async with again.read() as connection:
        assert (await connection.execute(text(MADE))).all() == before
    await again.close()
    assert len(before) > len(metadata.tables)


async def test_several_new_databases_are_made_at_once(postgres: Cluster, postgres_url: str) -> None:
    with postgres.database() as another:
        urls = [database_url(address, Path()) for address in (postgres_url, another, postgres_url, another)]
        stores = await asyncio.gather(*map(open_store, urls))
        assert [await number_of(store) for store in stores] == [1, 1, 2, 2]
        for store in stores:
            await store.close()


async def test_an_upgrade_waits_for_the_one_of_another_process(
    postgres: Cluster, postgres_url: str, database: str
) -> None:
    import asyncpg

    from headwater.store.database import _UPGRADE_LOCK

    other = await asyncpg.connect(user=SUPERUSER, host=str(postgres.directory), database=database)
    await other.execute("SELECT pg_advisory_lock($1)", _UPGRADE_LOCK)
    opening = asyncio.create_task(open_store(database_url(postgres_url, Path())))
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    while not await other.fetchval(waiting):
        assert not opening.done()
        await asyncio.sleep(0)
    await other.close()
    store = await opening
    assert await number_of(store) == 1
    await store.close()


async def test_an_upgrade_that_breaks_leaves_the_database_as_it_was(
    postgres: Cluster, postgres_url: str, database: str
) -> None:
    # The last table that the migration makes is in the way.
    postgres.sql("CREATE TABLE embeddings (mine text)", database=database)
    with pytest.raises(StoreUnavailable):
        await open_store(database_url(postgres_url, Path()))
    tables = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    assert postgres.sql(tables, database=database) == "embeddings"
    postgres.sql("DROP TABLE embeddings", database=database)
    store = await open_store(database_url(postgres_url, Path()))
    assert await number_of(store) == 1
    await store.close()


async def test_a_connection_that_is_cut_takes_its_transaction_with_it(
    store: Store, postgres: Cluster, database: str
) -> None:
    with pytest.raises(StoreUnavailable) as refused:
        async with store.write() as connection:
            await take_numbers(connection, "t", "threads")
            cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname"
            assert set(postgres.sql(f"{cut} = current_database()", database=database).split()) == {"t"}
            await take_numbers(connection, "t", "threads")
    assert refused.value.retryable
    assert await number_of(store) == 1


async def test_a_server_that_goes_is_told_and_one_that_comes_back_is_used(store: Store, postgres: Cluster) -> None:
    assert await number_of(store) == 1
    try:
        with pytest.raises(StoreUnavailable):
            async with store.write() as connection:
                await take_numbers(connection, "t", "threads")
                postgres.stop()
        for block in (store.read, store.write):
            with pytest.raises(StoreUnavailable) as refused:
                async with block():
                    pytest.fail("there is no server")
            assert refused.value.retryable
    finally:
        postgres.start()
    # Several at once: every connection of the pool was lost.
    assert sorted(await asyncio.gather(*(number_of(store) for _ in range(8)))) == list(range(2, 10))


async def test_a_password_is_checked_and_never_told(postgres: Cluster, locked: str, database: str) -> None:
    at = f"/{database}?host={postgres.directory}"
    for address in (f"postgresql://{locked}:s3cret@{at}", f"postgresql://stranger:s3cret@{at}"):
        assert isinstance(await refusal_of(address), ConfigError)
    # Let in, but not to make tables; then to make them.
    good = f"postgresql://{locked}:corr%3Act%20h%40rse@{at}"
    assert "may not make tables" in (await refusal_of(good)).message
    postgres.sql(f"GRANT ALL ON SCHEMA public TO {locked}", database=database)
    store = await open_store(database_url(good, Path()))
    assert await number_of(store) == 1
    await store.close()


@pytest.mark.parametrize(
    ("address", "error", "told"),
    [
        ("postgresql://{user}:s3cret@/nowhere?host={directory}", ConfigError, "no database of this name"),
        ("postgresql://{user}:s3cret@/postgres?host={directory}/none", StoreUnavailable, ""),
        ("postgresql://{user}:s3cret@127.0.0.1:1/postgres", StoreUnavailable, ""),
        ("postgresql://{user}:s3cret@host.invalid/postgres", StoreUnavailable, ""),
        ("postgresql://{user}:s3cret@/postgres?host={directory}&s3cret=1", ConfigError, "sslmode"),
        ("postgresql://{user}:s3cret@/postgres?host={directory}&port=s3cret", ConfigError, "host and port"),
        ("postgresql://{user}:s3cret@1.2.3.4:s3cret/postgres", ConfigError, "not an address"),
    ],
)
async def test_an_address_that_leads_nowhere(
    postgres: Cluster, address: str, error: type[HeadwaterError], told: str
) -> None:
    refusal = await refusal_of(address.format(user=SUPERUSER, directory=postgres.directory))
    assert type(refusal) is error and told in refusal.message


async def test_the_ways_to_write_an_address(postgres_url: str) -> None:
    for address in (
        postgres_url.replace("postgresql:", "postgres:"),
        postgres_url.replace("postgresql:", "postgresql+psycopg:"),
        f"{postgres_url}&sslmode=prefer",
        f"{postgres_url}&ssl=disable&target_session_attrs=read-write&port=5432",
    ):
        store = await open_store(database_url(address, Path()))
        await store.close()

"""The database itself: its schema and migrations, transactions, several writers and processes, errors, addresses."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import IntegrityError

from headwater.errors import ConfigError, InputError, StoreUnavailable
from headwater.store import Store, open_store
from headwater.store.database import FILE_NAME, database_url
from headwater.store.migrations import HEAD
from headwater.store.numbers import take_numbers
from headwater.store.tables import counters, metadata, threads, workspaces

from .databases import KINDS


@pytest.fixture(params=KINDS)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    """Of a database without tables."""
    return database_url(request.getfixturevalue("postgres_url") if request.param == "postgres" else None, tmp_path)


def differences(connection: Connection) -> list[Any]:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    def is_ours(thing: Any, name: str | None, kind: str, *_: object) -> bool:
        # The index over passages, which the two databases make differently, and SQLite's checksums.
        return not (kind == "table" and str(name).startswith("passages_fts")) and name not in (
            "words",
            "ix_passages_words",
            "row_sums",
        )

    # SQLite shows defaults in other words than they were written in.
    options = {"compare_type": True, "compare_server_default": connection.dialect.name != "sqlite"}
    return list(
        compare_metadata(MigrationContext.configure(connection, opts={**options, "include_object": is_ours}), metadata)
    )


async def number_of(store: Store) -> int:
    async with store.write() as connection:
        return await take_numbers(connection, "t", "threads")


async def test_the_migrations_make_what_the_tables_say(store: Store) -> None:
    async with store.read() as connection:
        assert await connection.run_sync(differences) == []
        assert (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar_one() == HEAD


def test_the_head_is_the_last_migration() -> None:
    from alembic.script import ScriptDirectory

    import headwater.store.migrations

    assert ScriptDirectory(str(Path(headwater.store.migrations.__file__).parent)).get_heads() == [HEAD]


async def test_opening_again_changes_nothing(address: URL) -> None:
    for number in range(1, 4):
        store = await open_store(address)
        assert await number_of(store) == number
        await store.close()


async def test_an_empty_database_of_alembic_is_brought_up_to_date(address: URL) -> None:
    store = await open_store(address)
    async with store.write() as connection:
        if address.get_backend_name() == "sqlite":
            await connection.execute(text("DROP TABLE passages_fts"))
            await connection.execute(text("DROP TABLE row_sums"))
        for table in reversed(metadata.sorted_tables):
            await connection.run_sync(table.drop)
        await connection.execute(text("DELETE FROM alembic_version"))
    await store.close()
    store = await open_store(address)
    async with store.read() as connection:
        assert await connection.run_sync(differences) == []
    await store.close()


async def test_a_schema_of_a_newer_release_is_refused(address: URL) -> None:
    store = await open_store(address)
    async with store.write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await store.close()
    with pytest.raises(ConfigError, match="newer release"):
        await open_store(address)


async def test_two_who_open_a_new_database_at_once_make_it_once(address: URL) -> None:
    stores = await asyncio.gather(*(open_store(address) for _ in range(3)))
    assert [await number_of(store) for store in stores] == [1, 2, 3]
    for store in stores:
        await store.close()


async def test_several_new_databases_are_made_at_once(tmp_path: Path) -> None:
    urls = [database_url(None, tmp_path / str(number)) for number in range(4)]
    for store in await asyncio.gather(*map(open_store, urls)):
        assert await number_of(store) == 1
        await store.close()


async def test_a_write_is_whole_or_not_at_all(store: Store) -> None:
    class Mistake(Exception):
        pass

    with pytest.raises(Mistake):
        async with store.write() as connection:
            await take_numbers(connection, "t", "threads")
            raise Mistake
    assert await number_of(store) == 1


async def test_a_writer_that_is_cancelled_leaves_nothing_and_lets_the_next_in(store: Store) -> None:
    inside = asyncio.Event()

    async def write() -> None:
        async with store.write() as connection:
            await take_numbers(connection, "t", "threads")
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await number_of(store) == 1


async def test_many_writers_take_turns(store: Store) -> None:
    numbers = await asyncio.gather(*(number_of(store) for _ in range(20)))
    assert sorted(numbers) == list(range(1, 21))


async def test_a_reader_sees_what_was_committed_while_another_writes(store: Store) -> None:
    await number_of(store)
    async with store.write() as writer:
        await take_numbers(writer, "t", "threads")
        async with store.read() as reader:
            assert (await reader.execute(select(counters.c.value))).scalar_one() == 1
    async with store.read() as reader:
        assert (await reader.execute(select(counters.c.value))).scalar_one() == 2


async def test_in_memory_readers_and_writers_take_turns(tmp_path: Path) -> None:
    store = await open_store(database_url(None, tmp_path, in_memory=True))

    async def read() -> int:
        async with store.read() as connection:
            first = (await connection.execute(select(func.coalesce(func.sum(counters.c.value), 0)))).scalar_one()
            await asyncio.sleep(0)
            assert (
                await connection.execute(select(func.coalesce(func.sum(counters.c.value), 0)))
            ).scalar_one() == first
            return int(first)

    async def fail() -> None:
        with pytest.raises(InputError):
            async with store.write() as connection:
                await take_numbers(connection, "t", "threads")
                await asyncio.sleep(0)
                raise InputError("rolled back")

    await asyncio.gather(*(each() for _ in range(10) for each in (read, fail, lambda: number_of(store))))
    assert await read() == 10
    assert not any(tmp_path.iterdir())
    await store.close()


async def test_a_broken_rule_is_the_callers_to_explain(store: Store) -> None:
    row = {"tenant": "t", "number": 1, "name": "n", "metadata": {}, "created_ms": 1, "updated_ms": 1}
    with pytest.raises(IntegrityError):
        async with store.write() as connection:
            for n in range(2):
                await connection.execute(workspaces.insert().values(id=str(n), slug="same", **row))
    with pytest.raises(IntegrityError):
        async with store.write() as connection:
            # Foreign keys are on.
            orphan = {"id": "x", "workspace_id": "none", "slug": "s"} | row
            await connection.execute(threads.insert().values({k: v for k, v in orphan.items() if k != "name"}))


async def test_our_own_errors_pass_and_the_drivers_do_not(store: Store) -> None:
    with pytest.raises(InputError):
        async with store.read():
            raise InputError("ours")
    for block in (store.read, store.write):
        with pytest.raises(StoreUnavailable) as refused:
            async with block() as connection:
                await connection.execute(text("SELECT secret FROM nowhere"))
        assert "secret" not in refused.value.message and refused.value.retryable


async def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"this is no database, and long enough to tell" * 100)
    with pytest.raises(StoreUnavailable):
        await open_store(database_url(None, tmp_path))
    with pytest.raises(StoreUnavailable):
        await open_store(database_url("postgresql://nobody:secret@127.0.0.1:1/none", tmp_path))


async def test_a_folder_is_made_where_it_is_missing(tmp_path: Path) -> None:
    store = await open_store(database_url(None, tmp_path / "new" / "folder"))
    await store.close()
    assert (tmp_path / "new" / "folder" / FILE_NAME).is_file()


@pytest.mark.parametrize(
    ("configured", "in_memory", "expected"),
    [
        (None, False, f"sqlite+aiosqlite:////data/{FILE_NAME}"),
        (None, True, "sqlite+aiosqlite:///%3Amemory%3A"),
        ("sqlite:////other/file.db", False, "sqlite+aiosqlite:////other/file.db"),
        ("sqlite+pysqlite:////other/file.db", False, "sqlite+aiosqlite:////other/file.db"),
        ("sqlite://", False, "sqlite+aiosqlite://"),
        (
            "postgres://u:p%40ss@host:5433/name?ssl=require",
            False,
            "postgresql+asyncpg://u:p%40ss@host:5433/name?ssl=require",
        ),
        ("postgresql://host/name", True, "postgresql+asyncpg://host/name"),
        ("postgresql+psycopg2://host/name", False, "postgresql+asyncpg://host/name"),
    ],
)
def test_an_address_gets_the_driver_that_is_used(configured: str | None, in_memory: bool, expected: str) -> None:
    url = database_url(configured, Path("/data"), in_memory=in_memory)
    assert url.render_as_string(hide_password=False) == expected


@pytest.mark.parametrize(
    "configured", ["mysql://u:secret@host/name", "secret", "", "oracle://secret@h", "http://x:secret@y:z"]
)
def test_another_address_is_refused_without_its_password(configured: str) -> None:
    with pytest.raises(ConfigError) as refused:
        database_url(configured, Path("/data"))
    assert "database_url" in refused.value.message and "secret" not in refused.value.message


COUNTING = """
import asyncio, sys
from pathlib import Path
from headwater.store import open_store
from headwater.store.database import database_url
from headwater.store.numbers import take_numbers

async def main():
    store = await open_store(database_url(sys.argv[1], Path()))
    for _ in range(30):
        async with store.write() as connection:
            print(await take_numbers(connection, "t", "threads"))
    await store.close()

asyncio.run(main())
"""


async def test_two_processes_share_a_database(address: URL) -> None:
    url = address.render_as_string(hide_password=False)
    command = [sys.executable, "-c", COUNTING, url]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    numbers = [list(map(int, process.communicate(timeout=60)[0].split())) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert all(each == sorted(each) for each in numbers)
    assert sorted(numbers[0] + numbers[1]) == list(range(1, 61))


async def test_a_missing_driver_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(ConfigError, match=r"install headwater\[postgres\]") as refused:
        await open_store(database_url("postgresql://u:secret@127.0.0.1:1/x", Path()))
    assert "secret" not in refused.value.message

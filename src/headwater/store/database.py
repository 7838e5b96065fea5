"""Connections to the chat backend's database, and the way to its newest schema.

SQLite by default, in a file of its own beside the stream log; `database_url` names a PostgreSQL instead. Every read
and every write is one transaction. SQLite has one writer at a time: writes of this process wait for each other here,
those of other processes (`headwater keys …`) in the database.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import event, func, make_url, select, text
from sqlalchemy.engine import URL, Connection
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import StaticPool

from ..encryption import Sealer, refuse_missing_keys
from ..errors import ConfigError, HeadwaterError, StoreUnavailable
from ..integrity import decode_text
from .cancelling import put_off_cancellations
from .migrations import HEAD, upgrade
from .sealing import OPTION, Seals, loads
from .sums import SUM_FUNCTION, row_sum
from .tables import sealing
from .texts import FOLD_FUNCTION, fold_stored
from .upsert import insert_into

FILE_NAME = "chat.sqlite3"
BUSY_TIMEOUT_S = 10
# Readers beside the one writer; each is a thread.
POOL_SIZE = 4
# "headwater" in PostgreSQL's advisory locks; any number will do that others do not use.
_UPGRADE_LOCK = int.from_bytes(b"headwate")
# Alembic keeps what it works on in globals of its modules: one upgrade a process, also of different databases.
_UPGRADING = threading.Lock()
_UPGRADE_POLL_S = 0.01
# Options of an address that the driver knows, all of them texts. `sslmode` is libpq's name for `ssl`.
_OPTIONS = ("host", "port", "ssl", "sslmode", "target_session_attrs")
# What PostgreSQL says of an address that no waiting makes right: https://www.postgresql.org/docs/current/errcodes-appendix.html
_REFUSALS = {
    "28000": "PostgreSQL does not let this user in",
    "28P01": "PostgreSQL does not take this password",
    "3D000": "there is no database of this name",
    "42501": "this user may not make tables in the database",
}


class Store:
    """An open database. `read` and `write` give a connection inside a transaction; leaving with an error rolls back."""

    def __init__(self, engine: AsyncEngine, seals: Seals | None = None) -> None:
        self._engine = engine
        self.seals = seals or Seals()
        self._writing = asyncio.Lock() if self.is_sqlite else None
        # In memory there is one connection, and so one transaction at a time.
        self._reading = self._writing if isinstance(engine.pool, StaticPool) else None

    @property
    def encrypted(self) -> bool:
        """Whether what is written is sealed, so that the database cannot look into it."""
        return self.seals.sealer is not None

    @property
    def is_sqlite(self) -> bool:
        return self._engine.dialect.name == "sqlite"

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """One snapshot. Raises `StoreUnavailable`. Inside a block nobody may ask for another one."""
        with _mapped():
            async with self._reading or nullcontext(), self._engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Committed when the block ends, as a whole. Raises `StoreUnavailable`."""
        with _mapped():
            if self._writing is None:
                async with self._engine.begin() as connection:
                    yield connection
                return
            async with self._writing, self._engine.connect() as plain:
                connection = await plain.execution_options(headwater_writes=True)
                async with connection.begin():
                    yield connection

    async def note_key(self, name: str) -> None:
        """Rows may be sealed with this key from now on; before the sealer adopts it."""
        async with self.write() as connection:
            await connection.execute(insert_into(connection, sealing).values(key=name).on_conflict_do_nothing())

    async def close(self) -> None:
        await self._engine.dispose()


class _mapped:  # noqa: N801 - reads as the `with` statement that it is
    """The one table from the drivers' errors to ours."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, HeadwaterError) or error is None:
            return
        if isinstance(error, DBAPIError) and error.__class__.__name__ in ("IntegrityError", "DataError"):
            return  # the caller's, who knows which rule was broken
        if isinstance(error, SQLAlchemyError | PoolTimeout | OSError):
            raise StoreUnavailable("the database of the chat backend cannot do this now") from error


def database_url(configured: str | None, data_dir: Path, *, in_memory: bool = False) -> URL:
    """The address with the driver that is used for it. Raises `ConfigError`, which never quotes a password."""
    if configured is None:
        return URL.create("sqlite+aiosqlite", database=":memory:" if in_memory else str(data_dir / FILE_NAME))
    try:
        url = make_url(configured)
    except (SQLAlchemyError, ValueError):
        # Not told from what: it may quote a part of the address.
        raise ConfigError("database_url is not an address such as postgresql://user:password@host/name") from None
    kind = url.drivername.partition("+")[0]
    if kind in ("postgres", "postgresql"):
        return _with_known_options(url.set(drivername="postgresql+asyncpg"))
    if kind == "sqlite":
        return url.set(drivername="sqlite+aiosqlite")
    raise ConfigError(f"database_url: {kind} is not supported; there are postgresql and sqlite")


def _with_known_options(url: URL) -> URL:
    if not url.query.keys() <= set(_OPTIONS):
        # Not told which: of an address that is wrongly escaped it may be a part of the password.
        raise ConfigError(f"database_url has an option that is not known; there are {', '.join(_OPTIONS)}")
    return url.set(query={"ssl" if name == "sslmode" else name: value for name, value in url.query.items()})


async def open_store(url: URL, sealer: Sealer | None = None) -> Store:
    """Open, and bring the schema up to date. Raises `ConfigError`, `StoreUnavailable`.

    `ConfigError` also where rows need a key that `sealer` does not have.
    """
    seals = Seals(sealer)
    engine = _engine(url, seals)
    if sealer is not None and engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _overwrite_all)
    try:
        await _prepare(engine)
        await _check_keys(engine, sealer)
    except StoreUnavailable as exc:
        await engine.dispose()
        state = getattr(getattr(exc.__cause__, "orig", None), "sqlstate", None)
        if state in _REFUSALS:
            raise ConfigError(f"database_url: {_REFUSALS[state]}") from exc.__cause__
        raise
    except BaseException:
        await engine.dispose()
        raise
    return Store(engine, seals)


def _engine(url: URL, seals: Seals) -> AsyncEngine:
    options = {OPTION: seals}
    if url.get_backend_name() != "sqlite":
        try:
            return create_async_engine(
                url,
                pool_size=POOL_SIZE,
                pool_pre_ping=True,
                pool_timeout=BUSY_TIMEOUT_S,
                connect_args={"timeout": BUSY_TIMEOUT_S},
                execution_options=options,
            )
        except ModuleNotFoundError as exc:
            raise ConfigError("database_url names PostgreSQL: install headwater[postgres]") from exc
        except ArgumentError:
            # Not told from what: it quotes them.
            raise ConfigError("database_url: host and port are not what they should be") from None
    shared: dict[str, Any] = {"execution_options": options, "json_deserializer": loads}
    in_memory = url.database in (None, "", ":memory:")
    if in_memory:
        # One connection, shared: each would else have a database of its own.
        engine = create_async_engine(url, poolclass=StaticPool, **shared)
    else:
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
        engine = create_async_engine(url, pool_size=POOL_SIZE, pool_timeout=BUSY_TIMEOUT_S, **shared)
    event.listen(engine.sync_engine, "connect", _set_up_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: DBAPIConnection, _record: object) -> None:
    put_off_cancellations(connection.driver_connection)
    # A text with a flipped bit fails its own row, and must not fail the driver and with it every other row.
    connection.driver_connection.text_factory = decode_text
    # Transactions begin where `_begin_sqlite` says, not where the driver guesses.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout = {BUSY_TIMEOUT_S * 1000}",
        "journal_mode = WAL",
        "synchronous = NORMAL",
        "foreign_keys = ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
    connection.create_function(FOLD_FUNCTION, 1, fold_stored, deterministic=True)
    connection.create_function(SUM_FUNCTION, -1, row_sum, deterministic=True)


def _overwrite_all(connection: DBAPIConnection, _record: object) -> None:
    """What is deleted is overwritten with zeros; results that do not fit in memory stay there all the same."""
    cursor = connection.cursor()
    for pragma in ("secure_delete = ON", "temp_store = MEMORY"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A reader that turned into a writer half-way would fail at once, whatever the busy time-out says.
    writes = connection.get_execution_options().get("headwater_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


async def _prepare(engine: AsyncEngine) -> None:
    with _mapped():
        async with engine.connect() as connection:
            found = await connection.run_sync(_version)
        if found == HEAD:
            return
        async with _the_only_upgrade(), engine.connect() as plain:
            connection = await plain.execution_options(headwater_writes=True)
            async with connection.begin():
                if engine.dialect.name == "postgresql":
                    # As BEGIN IMMEDIATE does in SQLite: of several that start at once, one makes the tables.
                    await connection.execute(select(func.pg_advisory_xact_lock(_UPGRADE_LOCK)))
                await connection.run_sync(upgrade)


async def _check_keys(engine: AsyncEngine, sealer: Sealer | None) -> None:
    """Refuse, or note the key that rows are sealed with from now on."""
    with _mapped():
        async with engine.connect() as connection:
            names = sorted((await connection.execute(select(sealing.c.key))).scalars())
        refuse_missing_keys("the chat backend's database", names, sealer)
        if sealer is not None and sealer.ring.active.name not in names:
            await Store(engine).note_key(sealer.ring.active.name)


@asynccontextmanager
async def _the_only_upgrade() -> AsyncIterator[None]:
    # Loops of several threads wait here too, which no lock of asyncio is for; and an upgrade is rare.
    while not _UPGRADING.acquire(blocking=False):  # noqa: ASYNC110 - see above
        await asyncio.sleep(_UPGRADE_POLL_S)
    try:
        yield
    finally:
        _UPGRADING.release()


def _version(connection: Connection) -> str | None:
    """The schema's version, read without Alembic, whose import a start would otherwise pay for each time."""
    if not engine_has_versions(connection):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def engine_has_versions(connection: Connection) -> bool:
    from sqlalchemy import inspect

    return bool(inspect(connection).has_table("alembic_version"))

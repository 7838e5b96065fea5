"""The logs under test. A new log is one entry in `SUBJECTS`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

from headwater.encryption import Key, KeyRing, Sealer
from headwater.logs import MemoryLog, SqliteLog
from headwater.logs.sqlite import Limits
from headwater.streams.log import Log, SupportsDelete, SupportsEpoch, SupportsMaintenance, SupportsTrim, SupportsWatch

# Everything that upkeep does happens after a few events already.
SMALL = Limits(
    fold_rows=4, fold_streams=2, fold_bytes=300, journal_rows=20, reclaim_rows=3, wal_bytes=20_000, vacuum_pages=2,
    spare_pages=2,
)  # fmt: skip


SEALER = Sealer(KeyRing([Key(bytes(32))]))


class FullLog(Log, SupportsWatch, SupportsTrim, SupportsEpoch, SupportsDelete, SupportsMaintenance, Protocol):
    """A log with every extra ability, as the suite wants it."""


Reopen: TypeAlias = Callable[[], Awaitable[FullLog]]


class Subject(NamedTuple):
    """`open` opens the log that belongs to a directory; a `durable` one is still there when it is opened again."""

    open: Callable[[Path], Awaitable[FullLog]]
    durable: bool


async def _memory(_data_dir: Path) -> FullLog:
    return MemoryLog()


SUBJECTS: dict[str, Subject] = {
    "memory": Subject(_memory, durable=False),
    "sqlite-commit": Subject(lambda data_dir: SqliteLog.open(data_dir, durability="commit"), durable=True),
    "sqlite-fsync": Subject(lambda data_dir: SqliteLog.open(data_dir, durability="fsync"), durable=True),
    "sqlite-encrypted": Subject(lambda data_dir: SqliteLog.open(data_dir, limits=SMALL, sealer=SEALER), durable=True),
    "sqlite-small": Subject(lambda data_dir: SqliteLog.open(data_dir, limits=SMALL), durable=True),
}

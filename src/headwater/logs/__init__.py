"""Logs: where events are kept. Each implements `headwater.streams.log` and passes `tests/conformance/logs`.

This layer knows how events are stored. It must not know who writes them, who reads them or in which wire format.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

from ..encryption import Sealer
from ..errors import ConfigError
from ..streams.log import Durability, Log
from .memory import MemoryLog
from .segments import COMPRESSION_LEVEL
from .sqlite import SqliteLog
from .sqlite.upkeep import Limits

__all__ = ["LOGS", "Keeping", "MemoryLog", "OpenLog", "SqliteLog", "open_log"]


class Keeping(NamedTuple):
    """How what is on a disk is kept. `sealer`: it is sealed with that; `compression_level`: of zlib, 0 to 9."""

    sealer: Sealer | None = None
    compression_level: int = COMPRESSION_LEVEL


OpenLog: TypeAlias = Callable[[Path, Durability, Keeping], Awaitable[Log]]


async def _open_memory(_data_dir: Path, _durability: Durability, _keeping: Keeping) -> Log:
    return MemoryLog()


async def _open_sqlite(data_dir: Path, durability: Durability, keeping: Keeping) -> Log:
    # "memory" durability asks for nothing to survive; a file that nobody may rely on would only cost.
    if durability == "memory":
        return MemoryLog()
    limits = Limits(compression_level=keeping.compression_level)
    return await SqliteLog.open(data_dir, durability=durability, limits=limits, sealer=keeping.sealer)


_PLAINLY = Keeping()
LOGS: dict[str, OpenLog] = {"memory": _open_memory, "sqlite": _open_sqlite}


async def open_log(kind: str, data_dir: Path, durability: Durability, keeping: Keeping = _PLAINLY) -> Log:
    """Open the log named `kind`. With durability `memory` it is a `MemoryLog`, whatever the kind.

    Raises `ConfigError` for a kind that this release does not have, and what the log's own `open` raises.
    """
    opener = LOGS.get(kind)
    if opener is None:
        raise ConfigError(f"there is no log {kind!r}: this release has {' and '.join(LOGS)}")
    return await opener(data_dir, durability, keeping)

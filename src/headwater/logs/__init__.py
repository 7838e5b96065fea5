"""Logs: where events are kept. Each implements `headwater.streams.log` and passes `tests/conformance/logs`.

This layer knows how events are stored. It must not know who writes them, who reads them or in which wire format.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

from ..encryption import Sealer
from ..errors import ConfigError
from ..streams.log import Durability, Log
from .memory import MemoryLog
from .sqlite import SqliteLog

__all__ = ["LOGS", "MemoryLog", "OpenLog", "SqliteLog", "open_log"]

OpenLog: TypeAlias = Callable[[Path, Durability, Sealer | None], Awaitable[Log]]


async def _open_memory(_data_dir: Path, _durability: Durability, _sealer: Sealer | None) -> Log:
    return MemoryLog()


async def _open_sqlite(data_dir: Path, durability: Durability, sealer: Sealer | None) -> Log:
    # "memory" durability asks for nothing to survive; a file that nobody may rely on would only cost.
    return (
        MemoryLog() if durability == "memory" else await SqliteLog.open(data_dir, durability=durability, sealer=sealer)
    )


LOGS: dict[str, OpenLog] = {"memory": _open_memory, "sqlite": _open_sqlite}


async def open_log(kind: str, data_dir: Path, durability: Durability, sealer: Sealer | None = None) -> Log:
    """Open the log named `kind`. With durability `memory` it is a `MemoryLog`, whatever the kind.

    `sealer`: what is kept on a disk is sealed with it. Raises `ConfigError` for a kind that this release does not have,
    and what the log's own `open` raises.
    """
    opener = LOGS.get(kind)
    if opener is None:
        raise ConfigError(f"there is no log {kind!r}: this release has {' and '.join(LOGS)}")
    return await opener(data_dir, durability, sealer)

"""The embedded log: one SQLite file in `data_dir`, owned by one process (decision 0003)."""

from __future__ import annotations

from .log import LogStats, SqliteLog
from .upkeep import Limits

__all__ = ["Limits", "LogStats", "SqliteLog"]

"""Which keys the records of a log's file may be sealed with, so that a start can refuse before anything is served."""

from __future__ import annotations

import sqlite3

from ...encryption import Sealer, refuse_missing_keys

_NOTE = "INSERT OR IGNORE INTO sealing VALUES (?)"


def key_names(db: sqlite3.Connection) -> list[str]:
    return [name for (name,) in db.execute("SELECT key FROM sealing ORDER BY key")]


def check_keys(db: sqlite3.Connection, sealer: Sealer | None) -> None:
    """Raises `ConfigError` for a key that records need and `sealer` does not have."""
    refuse_missing_keys("streams.db", key_names(db), sealer)


def note_key(db: sqlite3.Connection, name: str) -> None:
    db.execute(_NOTE, (name,))


class UseKey:
    """A change (see `turns`)."""

    def __init__(self, name: str) -> None:
        self._name = name

    def begin(self) -> None:
        """Nothing to plan."""

    def work(self, db: sqlite3.Connection) -> None:
        note_key(db, self._name)

    def settle(self) -> None:
        """Nothing to bring up to date."""

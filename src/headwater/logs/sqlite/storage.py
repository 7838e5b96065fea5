"""What an open log holds of the system: the directory's lock, three threads and their connections."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ...streams.log import Durability
from ..sealing import PLAIN, Seals
from .database import open_reader, open_writer, overwrite_all
from .index import Index, load_index
from .keys import check_keys, note_key
from .ownership import Ownership
from .rescue import has_lost_commits
from .worker import Worker

FILE_NAME = "streams.db"


class Storage:
    """`writer` owns the only connection that writes. `reader` serves reads, `keeper` upkeep, so that neither a slow
    read nor a checkpoint delays a commit.
    """

    writing: sqlite3.Connection
    reading: sqlite3.Connection
    keeping: sqlite3.Connection
    index: Index

    def __init__(self, seals: Seals = PLAIN) -> None:
        self.seals = seals
        self.writer = Worker("headwater-log-writer")
        self.reader = Worker("headwater-log-reader")
        self.keeper = Worker("headwater-log-keeper")
        self._ownership: Ownership | None = None
        self._connections: list[tuple[Worker, sqlite3.Connection]] = []

    async def open(self, data_dir: Path, durability: Durability) -> None:
        """Raises `LogInUse`, `LogUnavailable`, `LogCorrupt` or `ConfigError`; then nothing is left open."""
        try:
            await self.writer.run(lambda: self._open(data_dir, durability))
        except BaseException:
            self._abandon()
            raise

    async def close(self) -> None:
        """The last connection to close copies the WAL into the file and removes it."""
        for worker, connection in reversed(self._connections):
            await worker.run(connection.close)
        self._abandon()

    def _open(self, data_dir: Path, durability: Durability) -> None:
        self._ownership = Ownership(data_dir)
        path = data_dir / FILE_NAME
        lost = has_lost_commits(path)
        self.writing = self._keep(self.writer, open_writer(path, durability))
        check_keys(self.writing, self.seals.sealer)
        if self.seals.sealer is not None:
            overwrite_all(self.writing)
            note_key(self.writing, self.seals.sealer.ring.active.name)
        self.index = load_index(self.writing)
        self.index.lost = self.index.lost or lost
        self.reading = self._keep(self.reader, open_reader(path, durability))
        self.keeping = self._keep(self.keeper, open_reader(path, durability))

    def _keep(self, worker: Worker, connection: sqlite3.Connection) -> sqlite3.Connection:
        self._connections.append((worker, connection))
        return connection

    def _abandon(self) -> None:
        """Let go of everything, waiting for the threads: what they were given comes first."""
        for worker in (self.reader, self.keeper, self.writer):
            worker.stop()
        for _worker, connection in reversed(self._connections):
            connection.close()
        if self._ownership is not None:
            self._ownership.release()

"""`reencrypt` of a log's file: killed at any point, and with damage in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headwater.encryption import Key, KeyRing, Sealer
from headwater.logs import SqliteLog
from headwater.logs.sqlite import resealing
from headwater.logs.sqlite.resealing import reseal_log
from tests.conformance.logs.stories import Story, committed, finished

SEALER, OLDER = (Sealer(KeyRing([Key(bytes([number]) * 32)])) for number in (1, 2))
BOTH = Sealer(OLDER.ring.with_key(SEALER.ring.active))
NAME, OLD_NAME = SEALER.ring.active.name, OLDER.ring.active.name


class Killed(Exception):
    """In place of a signal."""


class _Mortal(sqlite3.Connection):
    """Ends the run before the first statement that begins with `last_word`."""

    last_word = "VACUUM"

    def execute(self, statement: str, *values: object) -> sqlite3.Cursor:  # type: ignore[override]
        if statement.startswith(self.last_word):
            raise Killed
        return super().execute(statement, *values)  # type: ignore[arg-type]


@contextmanager
def killed_before(word: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    connect = sqlite3.connect
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(_Mortal, "last_word", word)
        patch.setattr(sqlite3, "connect", lambda *args, **options: connect(*args, **options, factory=_Mortal))
        yield


def texts_in(data_dir: Path) -> bool:
    return any(b"ostrabruck" in file.read_bytes() for file in data_dir.iterdir())


async def test_free_pages_are_emptied_by_the_run_after_one_that_was_killed_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await SqliteLog.open(tmp_path)
    gone = Story("s1", request=b"ostrabruck" * 20_000)
    await committed(log, gone.create())
    await finished(log, "s2", texts=3)
    await log.delete([gone.id])
    await log.close()
    assert texts_in(tmp_path)
    with killed_before("VACUUM", monkeypatch):
        reseal_log(tmp_path, SEALER)
    assert texts_in(tmp_path)
    assert reseal_log(tmp_path, SEALER) == 0
    assert not texts_in(tmp_path)

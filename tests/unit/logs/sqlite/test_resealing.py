"""`reencrypt` of a log's file: killed at any point, and with damage in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from headwater.encryption import Key, KeyRing, Sealer
from headwater.errors import LogCorrupt, LogUnavailable
from headwater.events import Seq
from headwater.integrity.findings import Report
from headwater.logs import SqliteLog
from headwater.logs.sqlite import Limits, resealing
from headwater.logs.sqlite.checking import check_log
from headwater.logs.sqlite.keys import key_names
from headwater.logs.sqlite.rescue import kept_wals
from headwater.logs.sqlite.resealing import count_keys, reseal_log
from tests.conformance.logs.stories import Story, assert_intact, begun, committed, finished

from .damage import killed_with_a_hole, tamper

SEALER, OLDER = (Sealer(KeyRing([Key(bytes([number]) * 32)])) for number in (1, 2))
BOTH = Sealer(OLDER.ring.with_key(SEALER.ring.active))
NAME, OLD_NAME = SEALER.ring.active.name, OLDER.ring.active.name


class Killed(Exception):
    """In place of a signal."""


class _Mortal(sqlite3.Connection):
    """Ends the run before a `VACUUM`, or after so many commits."""

    commits = 0

    def execute(self, statement: str, *values: object) -> sqlite3.Cursor:
        if statement == "VACUUM":
            raise Killed
        done = super().execute(statement, *values)  # type: ignore[arg-type]
        if statement == "COMMIT":
            _Mortal.commits -= 1
            if _Mortal.commits == 0:
                raise Killed
        return done


@contextmanager
def killed(monkeypatch: pytest.MonkeyPatch, *, after_commits: int = 0) -> Iterator[None]:
    connect = sqlite3.connect
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(_Mortal, "commits", after_commits)
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
    with killed(monkeypatch):
        reseal_log(tmp_path, SEALER, Report())
    assert texts_in(tmp_path)
    assert reseal_log(tmp_path, SEALER, Report()) == 0
    assert not texts_in(tmp_path)


def resealed(data_dir: Path, sealer: Sealer) -> list[str]:
    """What is told."""
    report = Report()
    reseal_log(data_dir, sealer, report)
    return [finding.item for finding in report.findings]


def damage(data_dir: Path, sealer: Sealer) -> list[str]:
    report = Report()
    check_log(data_dir, report, sealer)
    return [finding.item for finding in report.findings]


def keys(data_dir: Path) -> list[str]:
    with closing(sqlite3.connect(data_dir / "streams.db")) as db:
        return key_names(db)


# Each row is a transaction: eleven of the journal, and two of records.
@pytest.mark.parametrize("commits", range(1, 14))
async def test_what_was_kept_without_checksums_is_read_wherever_a_run_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commits: int
) -> None:
    log = await SqliteLog.open(tmp_path)
    old, going = (Story(name, request=b"{}") for name in ("s1", "s2"))
    for story in (old, going):
        await committed(log, story.create())
        for number in range(4):
            await committed(log, story.text(str(number)))
    await committed(log, old.end())
    await log.close()
    tamper(tmp_path, "UPDATE stream SET sum = NULL, end_sum = NULL, state_sum = NULL", "UPDATE journal SET sum = NULL")
    monkeypatch.setattr(resealing, "ROWS_AT_ONCE", 1)
    with killed(monkeypatch, after_commits=commits):
        reseal_log(tmp_path, SEALER, Report())
    log = await SqliteLog.open(tmp_path, sealer=SEALER)
    for story in (old, going):
        await assert_intact(log, story)
    await log.close()
    assert resealed(tmp_path, SEALER) == damage(tmp_path, SEALER) == []


async def test_bytes_are_those_of_rows_that_are_needed(tmp_path: Path) -> None:
    """Rows of the journal that were folded, or trimmed, stay there until they are reclaimed, and count no more."""
    log = await SqliteLog.open(tmp_path, limits=Limits(fold_rows=10_000, fold_streams=100))
    going = await begun(log, "s0", texts=2)
    story = await finished(log, "s1", texts=6)
    await log.trim(story.id, Seq(4))
    await log.close()
    assert resealed(tmp_path, SEALER) == []
    with closing(sqlite3.connect(tmp_path / "streams.db")) as db:
        needed = "SELECT sum(length(data)) FROM journal WHERE stream = num AND first_seq >= 4"
        size = f"SELECT bytes - length(request) - ({needed}) FROM stream WHERE id = 's1'"  # noqa: S608
        assert db.execute(size).fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM journal WHERE stream = 2 AND first_seq < 4").fetchone() != (0,)
    log = await SqliteLog.open(tmp_path, sealer=SEALER)
    await assert_intact(log, going)
    await assert_intact(log, story, first_seq=4)
    await log.compact()
    await assert_intact(log, story, first_seq=4)
    await log.close()
    assert damage(tmp_path, SEALER) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE journal SET data = CAST(data || ' ' AS BLOB) WHERE stream = 1 AND first_seq = 1", "journal row 2"),
        ("UPDATE archive SET data = CAST(data || ' ' AS BLOB) WHERE stream = 2", "archive row 1"),
        ("UPDATE stream SET model = 'other' WHERE id = 's1'", "stream s1"),
        ("UPDATE stream SET epoch = 7 WHERE id = 's1'", "stream s1"),
        ("UPDATE stream SET finished_ms = 7 WHERE id = 's2'", "stream s2"),
    ],
)
@pytest.mark.parametrize("sealer", [None, OLDER])
async def test_damage_is_told_and_left_and_does_not_look_sound_afterwards(
    tmp_path: Path, change: str, told: str, sealer: Sealer | None
) -> None:
    log = await SqliteLog.open(tmp_path, sealer=sealer)
    await begun(log, "s1", texts=3)
    await finished(log, "s2", texts=3)
    await log.compact()
    sound = await finished(log, "s3", texts=3)
    await log.close()
    tamper(tmp_path, change)
    before = damage(tmp_path, BOTH)
    assert resealed(tmp_path, BOTH) == resealed(tmp_path, BOTH) == [told]
    assert damage(tmp_path, BOTH) == before
    # What is left may need the older key; all others are of the newest.
    assert keys(tmp_path) == sorted([NAME, *([OLD_NAME] if sealer else [])])
    old = count_keys(tmp_path)[OLD_NAME if sealer else ""]
    assert 0 < old <= (1 if " row " in told else 7)
    log = await SqliteLog.open(tmp_path, sealer=BOTH)
    await assert_intact(log, sound)
    await log.close()


async def test_one_record_that_does_not_open_stops_nothing(tmp_path: Path) -> None:
    log = await SqliteLog.open(tmp_path, sealer=OLDER)
    await begun(log, "s1", texts=3)
    sound = await finished(log, "s2", texts=3)
    await log.close()
    # Of another place, with no checksum that tells.
    tamper(tmp_path, "UPDATE journal SET sum = NULL, data = (SELECT data FROM journal WHERE id = 3) WHERE id = 2")
    assert resealed(tmp_path, BOTH) == ["journal row 2"]
    assert count_keys(tmp_path)[OLD_NAME] == 1
    assert keys(tmp_path) == sorted([NAME, OLD_NAME])
    log = await SqliteLog.open(tmp_path, sealer=BOTH)
    await assert_intact(log, sound)
    await log.delete([Story("s1").id])
    await log.close()
    tamper(tmp_path, "DELETE FROM journal WHERE id = 2")
    assert resealed(tmp_path, BOTH) == []
    assert keys(tmp_path) == [NAME]


async def test_a_journal_that_was_saved_from_damage_leaves_nothing_plain(tmp_path: Path) -> None:
    log = await SqliteLog.open(tmp_path, limits=Limits(fold_rows=10_000, fold_streams=100))
    story = await begun(log, "s1")
    for number in range(100):
        await committed(log, story.text(f"{number} of ostrabruck " * 10))
    await log.close()
    spoil_page(tmp_path / "streams.db", b"of ostrabruck", 2)
    # Nobody has saved it yet: told, and not a traceback.
    assert resealed(tmp_path, SEALER) == ["journal", ""]
    await (await SqliteLog.open(tmp_path, sealer=SEALER)).close()
    with closing(sqlite3.connect(tmp_path / "streams.db")) as db:
        assert db.execute("SELECT name FROM sqlite_schema WHERE name GLOB 'journal_damaged_*'").fetchall()
    assert count_keys(tmp_path)[""] > 100
    assert resealed(tmp_path, SEALER) == []
    assert not texts_in(tmp_path)
    assert count_keys(tmp_path).keys() == {NAME}
    with closing(sqlite3.connect(tmp_path / "streams.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("SELECT count(*) FROM sqlite_schema WHERE name GLOB 'journal_damaged_*'").fetchone() == (0,)
    log = await SqliteLog.open(tmp_path, sealer=SEALER)
    assert await log.get(story.id) is not None
    await committed(log, (new := Story("new")).create())
    await assert_intact(log, new)
    await log.close()


def spoil_page(path: Path, text: bytes, which: int) -> None:
    """Of the leaf pages with this text in them, in their order."""
    content = path.read_bytes()
    starts = [at for at in range(4096, len(content), 4096) if content[at] == 13 and text in content[at : at + 4096]]
    with path.open("r+b") as file:
        file.seek(starts[which])
        file.write(b"\xff" * 200)


async def test_a_file_that_cannot_be_read_is_an_error_of_the_log(tmp_path: Path) -> None:
    (tmp_path / "streams.db").write_bytes(b"no database at all" * 1000)
    with pytest.raises(LogCorrupt, match="damaged"):
        reseal_log(tmp_path, SEALER, Report())
    with pytest.raises(LogCorrupt, match="damaged"):
        count_keys(tmp_path)
    (tmp_path / "streams.db-wal").mkdir()
    with pytest.raises(LogUnavailable, match="cannot read"):
        count_keys(tmp_path)


async def test_commits_that_were_lost_are_left_for_a_start_to_tell(tmp_path: Path) -> None:
    died, data, _ = await killed_with_a_hole(tmp_path)
    wal = died / "streams.db-wal"
    for look in (lambda: reseal_log(died, SEALER, Report()), lambda: count_keys(died)):
        with pytest.raises(LogCorrupt, match="start the server once"):
            look()
    assert wal.read_bytes() == data
    await (await SqliteLog.open(died)).close()
    assert [file.name for file in kept_wals(died)] == ["streams.db-wal.damaged"]
    assert resealed(died, SEALER) == []

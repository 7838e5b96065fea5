"""What is not as it was written is told for its stream; the file goes on for all others."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from headwater.encryption import Key, KeyRing, Sealer
from headwater.errors import ConfigError, LogCorrupt, SeqConflict
from headwater.events import Seq, StreamId
from headwater.integrity.findings import Report
from headwater.logs import SqliteLog
from headwater.logs.sqlite import Limits
from headwater.logs.sqlite.checking import check_log
from headwater.logs.sqlite.resealing import count_keys, reseal_log
from headwater.streams.log import FROM_START, Query
from tests.conformance.logs.stories import EVERYTHING, Story, assert_intact, begun, committed, finished

from .damage import killed_with_a_hole, tamper

SEALER, OTHER = (Sealer(KeyRing([Key(bytes([number]) * 32)])) for number in (1, 2))
PAGE_BYTES = 4096


def findings(data_dir: Path, sealer: Sealer | None = None) -> list[str]:
    report = Report()
    check_log(data_dir, report, sealer)
    return [f"{finding.item}: {finding.problem}" for finding in report.findings]


@pytest.mark.parametrize(
    "change",
    [
        "owner = 'b'", "model = 'm2'", "request = x'00'", "created_ms = 7", "linger_s = 2.75", "fingerprint = 'f'",
        "epoch = 2", "first_seq = 1", "archived_seq = 1", "bytes = bytes + 1", "bytes = 'many'",
        "next_seq = 3", "finished_ms = 2001", "finished_ms = NULL", "ended = NULL", "end_sum = NULL",
        "state_sum = NULL",
    ],
)  # fmt: skip
async def test_a_record_that_is_not_as_it_was_is_damage_of_that_stream_only(tmp_path: Path, change: str) -> None:
    log = await SqliteLog.open(tmp_path)
    story, other = await finished(log, "s1", texts=3), await finished(log, "s2", texts=3)
    await log.compact()
    tamper(tmp_path, f"UPDATE stream SET {change} WHERE id = 's1'")  # noqa: S608
    for refused in (log.get(story.id), log.read(story.id, FROM_START, max_bytes=EVERYTHING)):
        with pytest.raises(LogCorrupt, match="stream s1: its record does not match"):
            await refused
    # A list leaves it out, also where the page is full without it.
    assert [record.id for record in await log.find(Query(limit=1))] == ["s2"]
    assert [record.id for record in await log.find(Query(limit=1, before=StreamId("s2")))] == []
    await assert_intact(log, other)
    await log.close()
    assert any("stream s1" in told for told in findings(tmp_path))


@pytest.mark.parametrize(("table", "folded"), [("journal", False), ("archive", True)])
@pytest.mark.parametrize("change", ["data = data || ' '", "count = count + 1", "sum = sum + 1", "sum = 'none'"])
async def test_a_segment_that_is_not_as_it_was(tmp_path: Path, table: str, folded: bool, change: str) -> None:
    log = await SqliteLog.open(tmp_path)
    story, other = await finished(log, "s1", texts=3), await finished(log, "s2", texts=3)
    if folded:
        await log.compact()
    tamper(tmp_path, f"UPDATE {table} SET {change} WHERE stream = 1 AND first_seq = 0")  # noqa: S608
    with pytest.raises(LogCorrupt, match="stream s1: "):
        await log.read(story.id, FROM_START, max_bytes=EVERYTHING)
    await assert_intact(log, other)
    await log.close()
    assert len(findings(tmp_path)) >= 1
    log = await SqliteLog.open(tmp_path)
    await assert_intact(log, other)
    await log.close()


async def test_a_row_whose_stream_is_another_is_nobodys(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A flipped number must not make a sound stream's events unreadable."""
    log = await SqliteLog.open(tmp_path)
    story, other = await begun(log, "s1", texts=3), await begun(log, "s2", texts=3)
    await log.close()
    tamper(tmp_path, "UPDATE journal SET stream = 2 WHERE stream = 1 AND first_seq = 2")
    with caplog.at_level(logging.ERROR):
        log = await SqliteLog.open(tmp_path)
    assert "they get a new epoch: s1, s2" in caplog.text
    await assert_intact(log, other, epoch=2)
    with pytest.raises(LogCorrupt, match="stream s1"):
        await log.read(story.id, FROM_START, max_bytes=EVERYTHING)
    await log.close()


async def test_events_that_are_gone_at_the_end_are_told(tmp_path: Path) -> None:
    log = await SqliteLog.open(tmp_path)
    story = await finished(log, "s1", texts=3)
    await log.close()
    tamper(tmp_path, "DELETE FROM journal WHERE stream = 1 AND first_seq > 1")
    log = await SqliteLog.open(tmp_path)
    part = await log.read(story.id, FROM_START, max_bytes=EVERYTHING)
    assert part is not None
    with pytest.raises(LogCorrupt, match="from seq 2 on are missing"):
        await log.read(story.id, part.first_seq + len(part.events) - 1, max_bytes=EVERYTHING)  # type: ignore[arg-type]
    await log.close()
    assert findings(tmp_path) == ["stream s1: the events from seq 2 on are missing"]


async def test_a_file_of_a_release_without_checksums_goes_on(tmp_path: Path) -> None:
    log = await SqliteLog.open(tmp_path)
    old, going = await finished(log, "s1", texts=2), await begun(log, "s2", texts=2)
    await log.close()
    tamper(tmp_path, "UPDATE stream SET sum = NULL, end_sum = NULL, state_sum = NULL", "UPDATE journal SET sum = NULL")
    log = await SqliteLog.open(tmp_path)
    await committed(log, going.text("more"), (new := Story("s3")).create())
    await committed(log, going.end())
    await log.compact()
    for story in (old, going, new):
        await assert_intact(log, story)
    await log.close()
    assert findings(tmp_path) == []


async def journal_of(tmp_path: Path) -> list[Story]:
    """Many pages of it: three streams without an end, two that wait to be folded."""
    log = await SqliteLog.open(tmp_path, limits=Limits(fold_rows=10_000, fold_streams=100))
    stories = [Story(f"s{number}") for number in range(5)]
    await committed(log, *(story.create() for story in stories))
    for number in range(60):
        await committed(log, *(story.text(f"{number} {story.id} " * 10) for story in stories))
    await committed(log, *(story.end() for story in stories[:2]))
    await log.close()
    return stories


def leaf_pages(path: Path) -> list[int]:
    """Pages of the journal's rows, in their order."""
    content = path.read_bytes()
    pages = range(1, len(content) // PAGE_BYTES)
    return [
        page for page in pages if content[page * PAGE_BYTES] == 13 and b" s3 " in content[page * PAGE_BYTES :][:4096]
    ]


# Not the first one: SQLite has to move that page to make room for a new table, and opening fails as it always did.
@pytest.mark.parametrize("which", [1, 3, -1])
async def test_a_page_of_the_journal_that_cannot_be_read(
    tmp_path: Path, which: int, caplog: pytest.LogCaptureFixture
) -> None:
    stories = await journal_of(tmp_path)
    path = tmp_path / "streams.db"
    page = leaf_pages(path)[which]
    with path.open("r+b") as file:
        file.seek(page * PAGE_BYTES)
        file.write(b"\xff" * 200)
    with caplog.at_level(logging.ERROR):
        log = await SqliteLog.open(tmp_path)
    assert "the journal is damaged" in caplog.text
    assert "they get a new epoch: s2, s3, s4" in caplog.text
    for story in stories:
        record = await log.get(story.id)
        assert record is not None
        given: list[Any] = []
        # Where a hole is told the rest is not read; it never gives others' events.
        with suppress(LogCorrupt):
            part = await log.read(story.id, FROM_START, max_bytes=EVERYTHING)
            given = part.events if part else []
        assert given == story.events[: len(given)]
    # It goes on, for new streams and for those without an end, at the end that they have now.
    await committed(log, (new := Story("new")).create())
    await committed(log, new.end())
    await log.compact()
    await assert_intact(log, new)
    await log.close()
    assert findings(tmp_path)
    await (await SqliteLog.open(tmp_path)).close()


async def test_a_hole_in_the_write_ahead_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    killed, data, story = await killed_with_a_hole(tmp_path)
    wal = killed / "streams.db-wal"
    assert findings(killed)[0] == ": the write-ahead log is damaged: the newest commits are lost"
    assert wal.read_bytes() == data
    with caplog.at_level(logging.ERROR):
        log = await SqliteLog.open(killed)
    assert "the newest commits are lost" in caplog.text
    assert (killed / "streams.db-wal.damaged").read_bytes() == data
    record = await log.get(story.id)
    assert record is not None
    assert record.epoch == 2
    assert 0 < record.next_seq < len(story.events)
    await log.close()


async def test_records_of_other_streams_and_places_do_not_open(tmp_path: Path) -> None:
    log = await SqliteLog.open(tmp_path, sealer=SEALER)
    one, two = await begun(log, "s1", texts=3), await begun(log, "s2", texts=3)
    swap = "UPDATE journal SET sum = NULL, data = (SELECT data FROM journal AS other WHERE other.stream = {} AND {})"
    tamper(
        tmp_path,
        swap.format(2, "other.first_seq = 1") + " WHERE stream = 1 AND first_seq = 1",
        swap.format(2, "other.first_seq = 3") + " WHERE stream = 2 AND first_seq = 2",
    )
    for story, seq in ((one, 1), (two, 2)):
        with pytest.raises(LogCorrupt, match=f"the journal at seq {seq} cannot be decrypted"):
            await log.read(story.id, FROM_START, max_bytes=EVERYTHING)
    await log.close()
    told = findings(tmp_path, SEALER)
    assert len([each for each in told if "cannot be decrypted" in each]) == 2


async def test_a_log_asks_for_its_keys_and_is_sealed_anew(tmp_path: Path) -> None:
    log = await SqliteLog.open(tmp_path)
    stories = [await finished(log, "s1", texts=3), await begun(log, "s2", texts=3)]
    await log.compact()
    stories.append(await finished(log, "s3", texts=2))
    await log.close()
    assert count_keys(tmp_path)[""] >= 8
    both = Sealer(OTHER.ring.with_key(SEALER.ring.active))
    log = await SqliteLog.open(tmp_path, sealer=OTHER)
    await committed(log, stories[1].text("more"))
    await log.use_key(SEALER.ring.active.name)
    await log.close()
    for sealer in (None, OTHER, SEALER):
        with pytest.raises(ConfigError):
            await SqliteLog.open(tmp_path, sealer=sealer)
    counted: list[int] = []
    assert reseal_log(tmp_path, both, Report(), on_progress=counted.append) == counted[-1] >= 9
    assert count_keys(tmp_path).keys() == {SEALER.ring.active.name}
    assert reseal_log(tmp_path, both, Report()) == 0
    assert findings(tmp_path) == findings(tmp_path, SEALER) == []
    assert reseal_log(tmp_path / "nothing", both, Report()) == 0
    assert count_keys(tmp_path / "nothing") == {}
    log = await SqliteLog.open(tmp_path, sealer=SEALER)
    for story in stories:
        await assert_intact(log, story)
    # What it takes is told by its length as it is now.
    with closing(sqlite3.connect(tmp_path / "streams.db")) as db:
        size = "SELECT bytes - length(request) - (SELECT sum(length(data)) FROM archive WHERE stream = num) FROM stream"
        assert db.execute(f"{size} WHERE id = 's1'").fetchone() == (0,)
    await log.close()


ROT = ["first_seq = 1", "first_seq = x''", "archived_seq = x''", "archived_seq = 1", "epoch = 2", "bytes = ''",
       "state_sum = NULL", "state_sum = 'none'"]  # fmt: skip


def journal_rows(data_dir: Path) -> int:
    """How many the stream number 1 has."""
    with closing(sqlite3.connect(data_dir / "streams.db")) as db:
        (count,) = db.execute("SELECT count(*) FROM journal WHERE stream = 1").fetchone()
    return int(count)


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("change", ROT)
async def test_a_damaged_row_costs_a_start_its_stream_only(
    tmp_path: Path, change: str, ended: bool, caplog: pytest.LogCaptureFixture
) -> None:
    log = await SqliteLog.open(tmp_path)
    story = await (finished if ended else begun)(log, "s1", texts=3)
    other, going = await finished(log, "s2", texts=3), await begun(log, "s3", texts=3)
    await log.close()
    held = journal_rows(tmp_path)
    tamper(tmp_path, f"UPDATE stream SET {change} WHERE id = 's1'")  # noqa: S608
    with caplog.at_level(logging.ERROR):
        log = await SqliteLog.open(tmp_path)
    assert caplog.text.count("stream s1 is damaged") == 1
    await committed(log, going.text("more"), (new := Story("s4")).create())
    # No fold makes it look sound, and none takes away what it has in the journal.
    await log.compact()
    for refused in (log.get(story.id), log.read(story.id, FROM_START, max_bytes=EVERYTHING)):
        with pytest.raises(LogCorrupt, match="stream s1: its record does not match"):
            await refused
    for refusing in (log.trim(story.id, Seq(2)), log.advance_epoch(story.id)):
        with pytest.raises(LogCorrupt, match="stream s1: its record does not match"):
            await refusing
    (refusal,) = await log.commit([story.text("more")])
    assert isinstance(refusal, SeqConflict)
    for sound in (other, going, new):
        await assert_intact(log, sound)
    assert journal_rows(tmp_path) == held
    assert await log.delete([story.id]) == 1
    await committed(log, going.end())
    await log.compact()
    await log.close()
    assert journal_rows(tmp_path) == 0
    assert findings(tmp_path) == []


@pytest.mark.parametrize("change", ["next_seq = x''", "id = x'73'"])
async def test_an_end_or_a_name_that_is_none_costs_a_start_its_stream_only(tmp_path: Path, change: str) -> None:
    log = await SqliteLog.open(tmp_path)
    story, other = await finished(log, "s1", texts=3), await begun(log, "s2", texts=3)
    await log.close()
    tamper(tmp_path, f"UPDATE stream SET {change} WHERE num = 1")  # noqa: S608
    log = await SqliteLog.open(tmp_path)
    (refusal,) = await log.commit([story.text("more")])
    assert isinstance(refusal, SeqConflict)
    await log.compact()
    await assert_intact(log, other)
    await log.close()
    assert findings(tmp_path) != []


async def test_a_segment_that_is_none_any_more_does_not_stop_a_start(tmp_path: Path) -> None:
    log = await SqliteLog.open(tmp_path)
    await finished(log, "s1", texts=3)
    other = await finished(log, "s2", texts=3)
    await log.close()
    with closing(sqlite3.connect(tmp_path / "streams.db")) as db, db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_schema SET sql = replace(sql, 'BLOB    NOT NULL', 'BLOB') WHERE name = 'journal'")
    tamper(tmp_path, "UPDATE journal SET data = NULL WHERE stream = 1 AND first_seq = 1")
    log = await SqliteLog.open(tmp_path)
    await assert_intact(log, other)
    await log.close()


async def test_a_trim_gives_no_new_checksum_to_a_row_that_rots_while_it_is_hot(tmp_path: Path) -> None:
    log = await SqliteLog.open(tmp_path)
    story = await begun(log, "s1", texts=5)
    tamper(tmp_path, "UPDATE stream SET epoch = 3 WHERE num = 1")
    with pytest.raises(LogCorrupt, match="stream s1"):
        await log.trim(story.id, Seq(2))
    with pytest.raises(LogCorrupt, match="stream s1"):
        await log.read(story.id, FROM_START, max_bytes=EVERYTHING)
    await log.close()

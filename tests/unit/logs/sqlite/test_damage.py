"""Pages of the file are overwritten: the streams on them are told to be damaged, the others stay whole."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from headwater.errors import LogCorrupt
from headwater.events import Seq, Text
from headwater.logs import SqliteLog
from headwater.logs.sqlite import Limits
from headwater.streams.log import FROM_START, Append
from tests.conformance.logs.stories import EVERYTHING, Story, assert_intact, committed

PAGE_BYTES = 4096


def noise(seed: int, characters: int = 60_000) -> str:
    """Text that does not compress below several pages."""
    return random.Random(seed).randbytes(characters // 2).hex()


def wipe_page_with(path: Path, needle: bytes) -> None:
    """Overwrite the page that holds these bytes."""
    content = path.read_bytes()
    assert content.count(needle) == 1
    page = content.index(needle) // PAGE_BYTES
    with path.open("r+b") as file:
        file.seek(page * PAGE_BYTES)
        file.write(b"\xff" * PAGE_BYTES)


async def write(data_dir: Path, *, compact: bool) -> list[Story]:
    log = await SqliteLog.open(data_dir)
    stories = [Story(f"s{number}") for number in range(4)]
    for number, story in enumerate(stories):
        await committed(log, story.create())
        await committed(log, story.text(noise(number)))
        await committed(log, story.end())
    if compact:
        await log.compact()
    await log.close()
    return stories


async def test_a_wiped_archive_page(tmp_path: Path) -> None:
    stories = await write(tmp_path, compact=True)
    with closing(sqlite3.connect(tmp_path / "streams.db")) as db:
        (data,) = db.execute("SELECT data FROM archive WHERE stream = 2 ORDER BY first_seq DESC").fetchone()
    wipe_page_with(tmp_path / "streams.db", data[20_000:20_032])
    log = await SqliteLog.open(tmp_path)
    with pytest.raises(LogCorrupt):
        await log.read(stories[1].id, FROM_START, max_bytes=EVERYTHING)
    for story in (stories[0], *stories[2:]):
        await assert_intact(log, story)
    await committed(log, Story("new").create())
    await log.close()


async def test_a_wiped_journal_page(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stories = await write(tmp_path, compact=False)
    wipe_page_with(tmp_path / "streams.db", noise(1)[30_000:30_032].encode())
    log = await SqliteLog.open(tmp_path)
    with pytest.raises(LogCorrupt):
        await log.read(stories[1].id, FROM_START, max_bytes=EVERYTHING)
    # Compaction goes round it: what is readable of the stream stays, and the others are folded.
    assert await log.compact() == 3
    assert await log.compact() == 0
    assert [record.getMessage() for record in caplog.records] == [
        "stream s1 is damaged: it stays in the journal as it is"
    ]
    for story in (stories[0], *stories[2:]):
        await assert_intact(log, story)
    part = await log.read(stories[1].id, FROM_START, max_bytes=1)
    assert part is not None
    assert part.events == stories[1].events[:1]
    await log.close()


async def test_a_damaged_stream_does_not_keep_upkeep_busy(tmp_path: Path) -> None:
    log = await SqliteLog.open(tmp_path, limits=Limits(journal_rows=40, fold_streams=1))
    damaged = Story("damaged")
    await committed(log, damaged.create())
    await committed(log, Append(damaged.id, 1, 1, b"9[no such version]"))
    damaged.events.append(Text("?"))
    await committed(log, damaged.end())
    busy = Story("busy")
    await committed(log, busy.create())
    rounds = 0
    for number in range(300):
        await committed(log, busy.text(f"{number} "))
        if (task := log._upkeep._task) is not None:
            await asyncio.wait((task,))
            rounds += 1
    assert rounds < 300 / 10
    await assert_intact(log, busy)
    # Once it is deleted, the journal it held is let go.
    assert await log.delete([damaged.id]) == 1
    await log.compact()
    assert log.stats().journal_rows < 60
    await log.close()


async def test_damage_in_a_long_answer_that_goes_on(tmp_path: Path) -> None:
    log = await SqliteLog.open(tmp_path, limits=Limits(fold_rows=3))
    story, sound = Story("damaged"), Story("sound")
    await committed(log, story.create(), sound.create())
    await committed(log, Append(story.id, 1, 1, b"9[no such version]"))
    story.events.append(Text("?"))
    for part in range(5):
        await committed(log, story.text(f"{part} "), sound.text(f"{part} "))
        assert await log.compact() == 0
    await committed(log, story.end(), sound.end())
    assert await log.compact() == 1
    part = await log.read(story.id, Seq(1), max_bytes=EVERYTHING)
    assert part is not None
    assert part.events == story.events[2:]
    await assert_intact(log, sound)
    await log.close()

"""SIGKILL at any moment: what was acknowledged is there, and nothing is torn."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from headwater.events import Event, decode_segment
from headwater.logs import SqliteLog
from headwater.streams.log import Query
from tests.conformance.logs.stories import begun, committed, read_all

from . import writer_child


def run_until_killed(data_dir: Path, durability: str, lines: int) -> dict[str, int]:
    """Start a writer, kill it after so many acknowledgements; returns the last acknowledged `next_seq` by stream."""
    child = subprocess.Popen(
        [sys.executable, writer_child.__file__, str(data_dir), durability], stdout=subprocess.PIPE, text=True
    )
    with child:
        assert child.stdout is not None
        seen = [child.stdout.readline() for _ in range(lines)]
        child.kill()
        seen += child.stdout.readlines()  # what it still got out before it died was acknowledged as well
    whole = [line.split() for line in seen if line.endswith("\n")]
    return {stream: int(next_seq) for stream, next_seq in whole}


def expected_events(stream: str, count: int) -> list[Event]:
    events: list[Event] = []
    for seq in range(count):
        events += decode_segment(writer_child.append_of(stream, seq).segment)
    return events


@pytest.mark.chaos
@pytest.mark.parametrize("durability", ["commit", "fsync"])
@pytest.mark.parametrize("lines", [1, 40, 300, 1_500, "random"])
async def test_what_was_acknowledged_survives(tmp_path: Path, durability: str, lines: int | str) -> None:
    """A crash leaves "streaming" for ever (LibreChat PR #15532): the log still knows what was unfinished."""
    count = lines if isinstance(lines, int) else random.randrange(100, 4_000)
    acknowledged = run_until_killed(tmp_path, durability, count)
    assert acknowledged
    log = await SqliteLog.open(tmp_path)
    for stream, next_seq in acknowledged.items():
        record = await log.get(stream)  # type: ignore[arg-type]
        assert record is not None, f"{stream} was acknowledged and is gone (killed after {count} lines)"
        assert next_seq <= record.next_seq <= next_seq + 1
        assert await read_all(log, record.id) == expected_events(stream, record.next_seq)
        assert (record.ended is not None) == (record.next_seq > writer_child.LENGTH)
    await committed(log, *(writer_child.append_of(r.id, r.next_seq) for r in await log.find(Query(state="unfinished"))))
    await log.compact()
    for record in await log.find(Query(limit=10_000)):
        assert await read_all(log, record.id) == expected_events(record.id, record.next_seq)
    await begun(log, "zz-new", texts=2)
    await log.close()

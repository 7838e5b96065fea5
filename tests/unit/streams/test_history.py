"""Reading a stream back, all of it."""

from __future__ import annotations

import pytest

from headwater.errors import LogCorrupt, UnknownStream
from headwater.events import Start, StreamId, Text
from headwater.logs.memory import MemoryLog
from headwater.streams import history
from headwater.streams.history import read_events

from .kit import fill


async def test_all_of_it_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "READ_BYTES", 1)
    log = MemoryLog()
    words = [Text(str(number)) for number in range(20)]
    record = await fill(log, "s", words)
    events = await read_events(log, record.id, 21)
    assert isinstance(events[0], Start)
    assert events[1:] == words


@pytest.mark.parametrize("until", [0, 1, 2, 3])
async def test_up_to_a_place(until: int) -> None:
    log = MemoryLog()
    record = await fill(log, "s", [Text("a"), Text("b")])
    assert len(await read_events(log, record.id, until)) == until


async def test_a_stream_that_is_gone() -> None:
    with pytest.raises(UnknownStream):
        await read_events(MemoryLog(), StreamId("s"), 3)


async def test_events_that_are_missing() -> None:
    log = MemoryLog()
    record = await fill(log, "s", [Text("a")])
    with pytest.raises(LogCorrupt, match="after seq 1"):
        await read_events(log, record.id, 5)

"""Reading a stream back, all of it."""

from __future__ import annotations

import msgspec
import pytest

from headwater.errors import LogCorrupt, UnknownStream
from headwater.events import Seq, Start, Status, StreamId, Text, encode_segment
from headwater.logs.memory import MemoryLog
from headwater.streams import Append, history
from headwater.streams.history import read_events, read_fold

from .kit import FaultyLog, fill


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


async def test_a_long_stream_is_folded_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "READ_BYTES", 10)
    log = FaultyLog()
    record = await fill(log, "s", [])
    for seq in range(1, 6):
        await log.commit([Append(record.id, seq, 1, encode_segment([Text("abc")]))])
    held = await log.get(record.id)
    assert held is not None
    state = await read_fold(log, held)
    assert (state.content_events, state.content_characters) == (5, 15)
    assert log.reads >= 3
    assert (await read_fold(log, msgspec.structs.replace(held, id=StreamId("gone")))).content_events == 0
    await log.trim(record.id, Seq(6))
    assert (await read_fold(log, held)).content_events == 0


async def test_the_fold_of_a_trimmed_stream_knows_where_it_begins() -> None:
    log = FaultyLog()
    record = await fill(log, "s", [])
    for seq, event in enumerate([Text("a"), Text("b"), Status("recovering"), Text("c")], 1):
        await log.commit([Append(record.id, seq, 1, encode_segment([event]))])
    await log.trim(record.id, Seq(2))
    held = await log.get(record.id)
    assert held is not None
    state = await read_fold(log, held)
    assert [state.text_number(seq) for seq in (2, 4)] == [0, 1]

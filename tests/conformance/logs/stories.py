"""Streams to write into a log: what is written stays known here, to be compared with what is read."""

from __future__ import annotations

from collections.abc import Sequence

from headwater.events import Done, Event, Seq, Start, StreamId, Text, Usage, encode_segment
from headwater.streams.log import FROM_START, Append, Ended, Log, StreamRecord

EVERYTHING = 2**40


class Story:
    """One stream as its writer sees it. Each method gives the next `Append` and counts it as stored."""

    def __init__(self, name: str, *, owner: str = "", key: str = "", request: bytes = b"") -> None:
        self.id = StreamId(name)
        self.events: list[Event] = []
        self.record = StreamRecord(
            id=self.id,
            created_ms=1_000,
            model="m",
            provider="p",
            owner=owner,
            linger_s=2.5,
            request=request,
            idempotency_key=key,
            fingerprint=f"print-{name}" if key else "",
            boot="boot",
        )
        self.ended: Ended | None = None

    def create(self) -> Append:
        return self._append([Start(stream=self.id, model="m", created_ms=1_000, provider="p")], create=self.record)

    def text(self, *pieces: str) -> Append:
        return self._append([Text(piece) for piece in pieces])

    def end(self, *, finished_ms: int = 2_000) -> Append:
        usage = Usage(prompt_tokens=3, completion_tokens=len(self.events))
        self.ended = Ended(status="done", finished_ms=finished_ms, usage=usage, finish_reason="stop")
        return self._append([usage, Done("stop")], ended=self.ended)

    def _append(
        self, events: Sequence[Event], *, create: StreamRecord | None = None, ended: Ended | None = None
    ) -> Append:
        expected = len(self.events)
        self.events += events
        return Append(self.id, expected, len(events), encode_segment(events), create, ended)


async def committed(log: Log, *appends: Append) -> None:
    """Commit as one group, all of which must be taken."""
    assert list(await log.commit(appends)) == [None] * len(appends)


async def begun(log: Log, name: str, *, texts: int = 0, owner: str = "", key: str = "") -> Story:
    """A stream with its start and so many appends of one text event."""
    story = Story(name, owner=owner, key=key)
    await committed(log, story.create())
    for number in range(texts):
        await committed(log, story.text(f"{number} "))
    return story


async def finished(log: Log, name: str, *, texts: int = 0, finished_ms: int = 2_000, owner: str = "") -> Story:
    story = await begun(log, name, texts=texts, owner=owner)
    await committed(log, story.end(finished_ms=finished_ms))
    return story


async def read_all(log: Log, stream: StreamId, *, after: int = FROM_START, max_bytes: int = EVERYTHING) -> list[Event]:
    """Page through the stream to its end, as a viewer does."""
    events: list[Event] = []
    while True:
        part = await log.read(stream, Seq(after), max_bytes=max_bytes)
        assert part is not None
        if max(after + 1, part.record.first_seq) >= part.record.next_seq:
            assert part.events == []
            return events
        assert part.first_seq == max(after + 1, part.record.first_seq)
        assert part.events, "there is more, so a read must bring at least one event"
        events += part.events
        after = part.first_seq + len(part.events) - 1


async def assert_intact(log: Log, story: Story, *, first_seq: int = 0, epoch: int = 1) -> None:
    """Every read agrees with what was written."""
    record = await log.get(story.id)
    assert record is not None
    assert (record.first_seq, record.next_seq, record.epoch) == (first_seq, len(story.events), epoch)
    assert record.ended == story.ended
    assert await read_all(log, story.id) == story.events[first_seq:]

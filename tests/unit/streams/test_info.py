"""What is told about a stream, from its record and from its live channel."""

from __future__ import annotations

import msgspec
import pytest

from headwater.events import Done, Error, Start, StreamId, Text, Usage
from headwater.streams import Ended, StreamRecord
from headwater.streams.info import describe

from .kit import channel_of, publish

RECORD = StreamRecord(
    StreamId("s"), 1_700_000_000_123, model="m", provider="p", dialect="events", first_seq=2, next_seq=5, epoch=3
)


def test_a_record_alone() -> None:
    info = describe(RECORD)
    assert (info.id, info.model, info.provider, info.dialect) == ("s", "m", "p", "events")
    assert info.created_at == "2023-11-14T22:13:20.123Z"
    assert (info.events, info.cursor, info.viewers) == (3, "3.4", 0)
    assert (info.status, info.finished_at, info.finish_reason, info.error, info.usage) == ("recovering", *[None] * 4)


def test_nothing_committed_has_no_cursor() -> None:
    assert describe(StreamRecord(StreamId("s"), 0)).cursor is None


@pytest.mark.parametrize(
    ("ended", "status", "finish_reason", "error"),
    [
        (Ended("done", 1_700_000_001_000, Usage(1, 2), "length"), "done", "length", None),
        (Ended("cancelled", 1_700_000_001_000, Usage(1, 2), "cancelled"), "cancelled", "cancelled", None),
        (Ended("failed", 1_700_000_001_000, Usage(1, 2), error=Error("x", "y")), "failed", None, Error("x", "y")),
    ],
)
def test_an_ended_stream(ended: Ended, status: str, finish_reason: str | None, error: Error | None) -> None:
    info = describe(msgspec.structs.replace(RECORD, ended=ended))
    assert (info.status, info.finish_reason, info.error, info.usage) == (status, finish_reason, error, Usage(1, 2))
    assert info.finished_at == "2023-11-14T22:13:21.000Z"


@pytest.mark.parametrize(
    ("attempts", "provider"),
    [
        ([{"provider": "p", "outcome": "failed"}, {"provider": "spare", "outcome": "done"}], "spare"),
        ([{"provider": "fast", "outcome": "done"}, {"provider": "slow", "outcome": "lost"}], "fast"),
        ([{"provider": "spare", "outcome": "failed"}], "p"),
        (["nonsense"], "p"),
        ("nonsense", "p"),
    ],
)
def test_the_provider_is_who_gave_the_answer(attempts: object, provider: str) -> None:
    ended = Ended("done", 1_700_000_001_000, Usage(1, 2), "stop", metadata={"attempts": attempts})
    assert describe(msgspec.structs.replace(RECORD, ended=ended)).provider == provider


def test_the_live_channel_knows_better() -> None:
    channel = channel_of(Start("s", "m", 0), Text("a"), Text("b"))
    channel.holds = 2
    record = msgspec.structs.replace(channel.record, next_seq=1)
    info = describe(record, channel)
    assert (info.status, info.events, info.cursor, info.viewers, info.usage) == ("streaming", 3, "1.2", 2, None)
    channel.fold.apply(Usage(1, 2))
    assert describe(record, channel).usage == Usage(1, 2)


def test_an_end_that_is_stored_is_the_end() -> None:
    channel = channel_of(Start("s", "m", 0))
    record = msgspec.structs.replace(channel.record, next_seq=3, ended=Ended("done", 5, Usage(1, 2), "stop"))
    publish(channel, Usage(9, 9), Done("stop"))
    assert (describe(record, channel).status, describe(record, channel).usage) == ("done", Usage(1, 2))


def test_it_can_be_written_as_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(describe(RECORD)))["created_at"].endswith("Z")

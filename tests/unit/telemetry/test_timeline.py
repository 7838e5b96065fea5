"""One stream over time, bounded however long it lasts."""

from __future__ import annotations

import pytest

from headwater.telemetry.timeline import (
    FIRST_MARKS,
    FIRST_WIDTH_MS,
    LAST_MARKS,
    MAX_BUCKETS,
    MAX_REMEMBERED,
    Mark,
    Timeline,
    Timelines,
)


def test_chunks_are_in_the_bucket_of_their_time() -> None:
    timeline = Timeline(100.0)
    timeline.add(100.1, 3)
    timeline.add(100.2, 1)
    timeline.add(100.8, 5)
    assert (timeline.width_ms, timeline.counts) == (FIRST_WIDTH_MS, [4, 0, 0, 5])


@pytest.mark.parametrize("seconds", [1, 59, 60, 61, 500, 86_400])
def test_a_long_stream_has_wider_buckets_and_loses_nothing(seconds: int) -> None:
    timeline = Timeline(0.0)
    for second in range(seconds):
        timeline.add(second + 0.5, 2)
    assert sum(timeline.counts) == 2 * seconds
    assert len(timeline.counts) <= MAX_BUCKETS
    assert (
        (len(timeline.counts) - 1) * timeline.width_ms
        <= (seconds - 0.5) * 1000
        < len(timeline.counts) * timeline.width_ms
    )


def test_a_widened_bucket_holds_what_its_two_did() -> None:
    timeline = Timeline(0.0)
    for place in range(MAX_BUCKETS):
        timeline.add(place * FIRST_WIDTH_MS / 1000, place)
    timeline.add(MAX_BUCKETS * FIRST_WIDTH_MS / 1000, 1)
    assert timeline.width_ms == 2 * FIRST_WIDTH_MS
    assert timeline.counts[:3] == [0 + 1, 2 + 3, 4 + 5]
    assert timeline.counts[-1] == 1


def test_the_first_and_the_newest_marks_stay() -> None:
    timeline = Timeline(0.0)
    for number in range(1000):
        timeline.mark(float(number), "attached", str(number))
    marks = list(timeline.marks)
    assert [mark.detail for mark in marks] == [
        *map(str, range(FIRST_MARKS)),
        *map(str, range(1000 - LAST_MARKS, 1000)),
    ]
    assert marks[-1] == Mark(999_000, "attached", "999")


def test_the_oldest_ended_streams_are_forgotten() -> None:
    kept = Timelines()
    for number in range(MAX_REMEMBERED + 10):
        kept.keep(str(number), Timeline(0.0))
    assert len(kept) == MAX_REMEMBERED
    assert "9" not in kept
    assert "10" in kept

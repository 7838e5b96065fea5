"""Seconds that become minutes, and steps that are cut from either."""

from __future__ import annotations

import pytest

from headwater.telemetry.bucket import Bucket, encode_bucket
from headwater.telemetry.windows import (
    MINUTE_MS,
    MINUTES_HELD,
    SECONDS_HELD,
    Piece,
    Row,
    Windows,
    merged,
    pieces_of,
    stepped,
)

NOON_MS = 1_800_000_000_000 // MINUTE_MS * MINUTE_MS


def bucket_of(chunks: int) -> Bucket:
    bucket = Bucket(covered_s=1.0)
    bucket.counts.chunks = chunks
    return bucket


def filled(seconds: int, *, begin_ms: int = NOON_MS) -> tuple[Windows, list[Row]]:
    """A second a push, its number as its chunks."""
    windows = Windows()
    closed = [windows.push(begin_ms + 1000 * second, bucket_of(second)) for second in range(seconds)]
    return windows, [row for row in closed if row is not None]


def test_a_minute_is_the_sum_of_its_seconds() -> None:
    _, closed = filled(125)
    assert [row.minute_ms for row in closed] == [NOON_MS, NOON_MS + MINUTE_MS]
    first, second = pieces_of(closed)
    assert (first.bucket.counts.chunks, second.bucket.counts.chunks) == (sum(range(60)), sum(range(60, 120)))
    assert first.bucket.covered_s == pytest.approx(60)


def test_rows_hold_the_minute_under_way() -> None:
    windows, _ = filled(125)
    rows = windows.rows(NOON_MS + MINUTE_MS)
    assert [row.minute_ms for row in rows] == [NOON_MS + MINUTE_MS, NOON_MS + 2 * MINUTE_MS]
    assert merged(pieces_of(rows)).counts.chunks == sum(range(60, 125))


def test_seconds_and_minutes_are_bounded() -> None:
    windows, _ = filled(SECONDS_HELD + 100)
    assert len(windows.seconds(0)) == SECONDS_HELD
    assert [piece.bucket.counts.chunks for piece in windows.seconds(NOON_MS + 398_000)] == [398, 399]
    for minute in range(MINUTES_HELD + 50):
        windows.push(NOON_MS + minute * MINUTE_MS, bucket_of(1))
    assert len(windows.rows(0)) == MINUTES_HELD + 1


def test_the_minute_of_an_earlier_process_goes_on() -> None:
    windows = Windows()
    rows = [Row(NOON_MS - MINUTE_MS, encode_bucket(bucket_of(5))), Row(NOON_MS, encode_bucket(bucket_of(7)))]
    windows.begin_with(rows, NOON_MS + 30_000)
    windows.push(NOON_MS + 31_000, bucket_of(2))
    assert [piece.bucket.counts.chunks for piece in pieces_of(windows.rows(0))] == [5, 9]


def test_a_clock_that_is_set_back_loses_nothing() -> None:
    windows, _ = filled(61)
    assert windows.push(NOON_MS - 10 * MINUTE_MS, bucket_of(100)) is None
    assert merged(pieces_of(windows.rows(0))).counts.chunks == sum(range(61)) + 100


def test_a_damaged_row_is_left_out() -> None:
    rows = [Row(NOON_MS, b"\xff"), Row(NOON_MS + MINUTE_MS, encode_bucket(bucket_of(3)))]
    assert [piece.start_ms for piece in pieces_of(rows)] == [NOON_MS + MINUTE_MS]


def test_a_damaged_minute_under_way_begins_anew() -> None:
    """It would else keep the server from starting."""
    windows = Windows()
    windows.begin_with([Row(NOON_MS, b"\xff")], NOON_MS + 30_000)
    windows.push(NOON_MS + 31_000, bucket_of(2))
    assert [piece.bucket.counts.chunks for piece in pieces_of(windows.rows(0))] == [2]


def test_steps_hold_what_began_in_them() -> None:
    pieces = [Piece(NOON_MS + 1000 * second, bucket_of(1)) for second in (-1, 0, 4, 5, 14, 15)]
    steps = stepped(pieces, start_ms=NOON_MS, step_ms=5000, count=3)
    assert [step.counts.chunks for step in steps] == [2, 1, 1]
    assert [step.covered_s for step in steps] == [2.0, 1.0, 1.0]

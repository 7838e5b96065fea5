"""One stream in slots: what a period is told, how many slots there are, and what is kept on disk."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.telemetry.track import (
    FIRST_WIDTH_S,
    MAX_SLOTS,
    Recorded,
    Slot,
    Track,
    decode_recorded,
    encode_recorded,
)

BEGAN_MS = 1_000_000.0


def track_of(gaps_at: list[float]) -> Track:
    """With a gap and a text at each of these seconds, of the second's own length."""
    track = Track(0.0, BEGAN_MS, whole=True)
    for at_s in gaps_at:
        track.roll(at_s)
        track.gaps.append(at_s)
        track.open.texts += 1
        track.open.text_bytes += 3
    return track


def test_a_period_is_told_the_slots_that_it_touches() -> None:
    recorded = track_of([1.0, 2.0, 6.0, 17.0]).recorded(18.0, "done")
    whole = recorded.between(0, 10 * BEGAN_MS)
    assert (whole.slot.texts, whole.slot.text_bytes, whole.slot.gaps.count) == (4, 12, 4)
    assert (whole.start_ms, whole.end_ms) == (BEGAN_MS, BEGAN_MS + 18_000)
    first = recorded.between(BEGAN_MS + 100, BEGAN_MS + 200)
    assert (first.slot.texts, first.start_ms, first.end_ms) == (2, BEGAN_MS, BEGAN_MS + 5_000)
    assert (first.slot.gaps.smallest, first.slot.gaps.largest) == (1.0, 2.0)
    # A slot in which nothing happened belongs to the time all the same.
    middle = recorded.between(BEGAN_MS + 7_000, BEGAN_MS + 12_000)
    assert (middle.slot.texts, middle.start_ms, middle.end_ms) == (1, BEGAN_MS + 5_000, BEGAN_MS + 15_000)
    last = recorded.between(BEGAN_MS + 16_000, BEGAN_MS + 16_000)
    assert (last.slot.texts, last.end_ms) == (1, BEGAN_MS + 18_000)


@pytest.mark.parametrize("period", [(0.0, BEGAN_MS - 1), (BEGAN_MS + 18_001, BEGAN_MS + 20_000)])
def test_a_period_beside_it_is_told_nothing(period: tuple[float, float]) -> None:
    cut = track_of([1.0]).recorded(18.0).between(*period)
    assert (cut.slot, cut.start_ms) == (Slot(), cut.end_ms)


@given(st.lists(st.floats(0.001, 3000), max_size=60).map(sorted))
def test_slots_are_bounded_and_lose_nothing(times: list[float]) -> None:
    track = track_of(times)
    end_s = (times[-1] if times else 0.0) + 1.0
    track.roll(end_s)
    recorded = track.recorded(end_s, "failed")
    assert len(recorded.slots) <= MAX_SLOTS
    assert recorded.width_ms >= FIRST_WIDTH_S * 1000
    assert len(recorded.slots) * recorded.width_ms >= end_s * 1000
    whole = recorded.between(0, 2 * BEGAN_MS + end_s * 1000).slot
    assert (whole.texts, whole.gaps.count) == (len(times), len(times))
    assert whole.gaps.total == pytest.approx(sum(times))
    assert decode_recorded(encode_recorded(recorded)) == recorded


def test_what_is_stored_is_small() -> None:
    quiet = encode_recorded(track_of([float(at) for at in range(1, 4)]).recorded(4.0, "done"))
    busy = track_of([at / 20 for at in range(1, 12_000)])
    assert len(quiet) < 250
    assert len(encode_recorded(busy.recorded(600.0, "done"))) < 8_000


@pytest.mark.parametrize("row", [b"", b"nonsense", encode_recorded(Recorded(0.0, 9.0, 5.0, True, None, [b"broken"]))])
def test_what_does_not_decode_is_none(row: bytes) -> None:
    assert decode_recorded(row) is None


def test_an_older_slot_has_less_in_it() -> None:
    old = Recorded(0.0, 9.0, 5.0, True, None, [b"\x92\x02\x06"])  # [2, 6]
    assert (old.between(0, 9).slot.texts, old.between(0, 9).slot.gaps.count) == (2, 0)

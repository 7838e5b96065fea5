"""Stream ids are version-7 UUIDs: sortable by time, never the same twice."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from headwater.ids import new_stream_id


@given(st.integers(0, 2**48 - 1))
def test_an_id_is_a_uuid_of_version_7_that_holds_its_time(unix_ms: int) -> None:
    text = new_stream_id(unix_ms)
    parsed = uuid.UUID(text)
    assert str(parsed) == text
    assert parsed.version == 7
    assert parsed.variant == uuid.RFC_4122
    assert parsed.int >> 80 == unix_ms


@given(st.integers(0, 2**48 - 2))
def test_a_later_millisecond_sorts_later(unix_ms: int) -> None:
    assert new_stream_id(unix_ms) < new_stream_id(unix_ms + 1)


def test_ids_of_one_millisecond_differ() -> None:
    """A reused stream id makes every event look old (LibreChat PR #13117); a clock that stepped back must not do it."""
    assert len({new_stream_id(1_700_000_000_000) for _ in range(10_000)}) == 10_000


def test_a_time_beyond_48_bits_does_not_reach_into_the_version() -> None:
    assert uuid.UUID(new_stream_id(2**48 + 5)).version == 7

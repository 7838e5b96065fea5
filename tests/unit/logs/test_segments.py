from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import LogCorrupt
from headwater.events import Text, encode_segment
from headwater.logs.segments import CHUNK_BYTES, Piece, events_from, pack, unpack


def pieces_of(*groups: list[str], first_seq: int = 0) -> list[Piece]:
    pieces = []
    for group in groups:
        pieces.append(Piece(first_seq, len(group), encode_segment([Text(text) for text in group])))
        first_seq += len(group)
    return pieces


def texts(pieces: list[Piece], position: int) -> list[str]:
    return [event.text for event in events_from(pieces, position) if isinstance(event, Text)]


@given(st.lists(st.lists(st.text(max_size=30), min_size=1, max_size=5), min_size=1, max_size=20), st.data())
def test_packing_keeps_every_seq(groups: list[list[str]], data: st.DataObject) -> None:
    pieces = pieces_of(*groups, first_seq=7)
    flat = [text for group in groups for text in group]
    chunks = list(pack(pieces))
    assert sum(chunk.events for chunk in chunks) == len(flat)
    cut = data.draw(st.integers(0, chunks[0].events - 1))
    assert texts([unpack(chunk) for chunk in chunks], 7 + cut) == flat[cut:]


def test_chunks_are_bounded_and_adjacent() -> None:
    pieces = pieces_of(*[["x" * 20_000]] * 10, ["y" * 2 * CHUNK_BYTES], ["z"])
    chunks = list(pack(pieces))
    assert len(chunks) == 6
    position = 0
    for chunk in chunks:
        assert chunk.first_seq == position
        assert chunk.events == 1 or len(unpack(chunk).data) <= CHUNK_BYTES
        position += chunk.events
    assert position == 12


def test_nothing_packs_to_nothing() -> None:
    assert list(pack([])) == []
    assert events_from([], 5) == []


def test_a_hole_is_damage() -> None:
    one, _two, three = pieces_of(["a"], ["b", "c"], ["d"])
    with pytest.raises(LogCorrupt, match="seq 1"):
        list(pack([one, three]))
    with pytest.raises(LogCorrupt, match="seq 1"):
        events_from([one, three], 0)
    with pytest.raises(LogCorrupt, match="seq 0"):
        events_from([three], 0)
    with pytest.raises(LogCorrupt, match="seq 1"):
        events_from([one], 1)


def test_bytes_that_do_not_decompress_are_damage() -> None:
    (chunk,) = pack(pieces_of(["a"]))
    with pytest.raises(LogCorrupt, match="chunk at seq 0"):
        unpack(chunk._replace(data=chunk.data[:-3]))


def test_segments_of_an_unknown_version_are_not_joined() -> None:
    with pytest.raises(LogCorrupt):
        list(pack([Piece(0, 1, b"2[{}]")]))

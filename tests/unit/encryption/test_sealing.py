from __future__ import annotations

import pytest

from headwater.encryption import (
    OVERHEAD_BYTES,
    Key,
    KeyRing,
    Sealer,
    Unsealable,
    is_sealed,
    key_of,
    refuse_missing_keys,
)
from headwater.errors import ConfigError

ONE, TWO = Key(bytes(32)), Key(bytes(31) + b"\1")


@pytest.fixture
def sealer() -> Sealer:
    return Sealer(KeyRing([ONE]))


def test_what_is_sealed_opens_at_its_own_place_only(sealer: Sealer) -> None:
    record = sealer.seal(b"stream a", b"0", b"a word")
    assert is_sealed(record)
    assert key_of(record) == sealer.active == ONE.id
    assert len(record) == len(b"a word") + OVERHEAD_BYTES
    assert b"word" not in record
    assert sealer.open(b"stream a", b"0", record) == b"a word"
    for purpose, context in ((b"stream b", b"0"), (b"stream a", b"1"), (b"stream ", b"a0")):
        with pytest.raises(Unsealable, match="another record's"):
            sealer.open(purpose, context, record)


def test_the_same_text_never_looks_the_same(sealer: Sealer) -> None:
    assert len({sealer.seal(b"p", b"c", b"text") for _ in range(100)}) == 100


def test_every_flipped_bit_keeps_it_shut(sealer: Sealer) -> None:
    record = sealer.seal(b"p", b"c", b"text")
    for at in range(2, len(record)):
        damaged = bytearray(record)
        damaged[at] ^= 1
        with pytest.raises(Unsealable):
            sealer.open(b"p", b"c", bytes(damaged))
    for length in (2, 10, OVERHEAD_BYTES - 1):
        with pytest.raises(Unsealable, match="cut off"):
            sealer.open(b"p", b"c", record[:length])


def test_another_key_does_not_open_and_a_ring_of_both_does(sealer: Sealer) -> None:
    record = sealer.seal(b"p", b"c", b"text")
    other = Sealer(KeyRing([TWO]))
    with pytest.raises(Unsealable, match=f"needs the key {ONE.name}"):
        other.open(b"p", b"c", record)
    other.adopt(KeyRing([TWO, ONE]))
    assert other.open(b"p", b"c", record) == b"text"
    assert key_of(other.seal(b"p", b"c", b"text")) == TWO.id


def test_what_records_need_is_refused_where_it_is_missing(sealer: Sealer) -> None:
    refuse_missing_keys("the file", [], None)
    refuse_missing_keys("the file", [], sealer)
    refuse_missing_keys("the file", [ONE.name], sealer)
    with pytest.raises(ConfigError, match=f"the file is encrypted with the key {ONE.name}: set"):
        refuse_missing_keys("the file", [ONE.name], None)
    with pytest.raises(ConfigError, match=f"needs the keys .*{TWO.name}, and the key ring holds the key {ONE.name}"):
        refuse_missing_keys("the file", ["00000000", TWO.name], sealer)

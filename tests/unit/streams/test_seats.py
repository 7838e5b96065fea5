"""Seats: one more for all, for a key, for an address; and nobody is remembered who is gone."""

from __future__ import annotations

import pytest

from headwater.errors import ConnectionLimit, TooManyConnections
from headwater.streams import NOBODY, Caller, NewStream, StreamSettings
from headwater.streams.seats import Seats

from .kit import MemorySink, PlainEncoder, Script, started


def seats(*, key: int = 0, address: int = 0, all_: int = 100) -> Seats:
    return Seats(StreamSettings(max_connections=all_, max_connections_per_key=key, max_connections_per_address=address))


def test_there_is_a_bound_for_all() -> None:
    it = seats(all_=2)
    it.check(1)
    with pytest.raises(TooManyConnections) as refused:
        it.check(2)
    assert (refused.value.http_status, refused.value.code) == (503, "too_many_connections")
    assert refused.value.retry_after_s


@pytest.mark.parametrize("kind", ["key", "address"])
def test_a_key_and_an_address_have_bounds_of_their_own(kind: str) -> None:
    it = seats(**{kind: 2})  # type: ignore[arg-type]
    mine, other = Caller(**{kind: "mine"}), Caller(**{kind: "other"})
    for holder in (1, 2):
        it.check(0, mine)
        it.take(holder, mine)
    with pytest.raises(ConnectionLimit, match=f"max_connections_per_{kind}") as refused:
        it.check(0, mine)
    assert (refused.value.http_status, refused.value.code) == (429, "connection_limit")
    it.check(0, other)
    # Who is nobody's, as alone on the server, is not counted together with others of whom nothing is known.
    for holder in (3, 4, 5):
        it.check(0, NOBODY)
        it.take(holder, NOBODY)
    it.give_back(1)
    it.check(0, mine)
    it.give_back(1)  # only once
    it.give_back(2)
    for holder in (3, 4, 5):
        it.give_back(holder)
    assert (it._keys, it._addresses, it._holders) == ({}, {}, {})


def test_without_bounds_nobody_is_remembered() -> None:
    it = seats()
    it.take(1, Caller("key", "10.0.0.1"))
    assert it._holders == {}


async def test_a_hub_counts_its_viewers_and_lets_go_of_each() -> None:
    hub = await started(settings=StreamSettings(max_connections_per_key=1))
    channel, _ = await hub.create(NewStream(), Script())
    viewer = hub.attach(channel, PlainEncoder, MemorySink(), caller=Caller("k"))
    with pytest.raises(ConnectionLimit):
        hub.attach(channel, PlainEncoder, MemorySink(), caller=Caller("k"))
    assert hub.viewers == 1
    viewer.close()
    hub.attach(channel, PlainEncoder, MemorySink(), caller=Caller("k"))
    await hub.shutdown(0)

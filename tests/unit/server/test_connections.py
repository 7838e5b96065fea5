"""Connections of reference 002 without sockets: what is kept, bounds, time, starts, lists."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from headwater.dialects.streaming import StreamOptions, StreamRequestBody
from headwater.errors import (
    InputError,
    TooManyConnections,
    UnknownItem,
    UnknownModel,
)
from headwater.events import Done, Start, StreamId, Usage
from headwater.ids import new_stream_id
from headwater.instants import rfc3339
from headwater.request import ChatRequest, decode_request
from headwater.server import connections
from headwater.server.connection_facts import Bounds, facts_from, facts_of, keep
from headwater.server.connection_shapes import StreamConnection
from headwater.server.connection_views import STATUSES
from headwater.server.connections import ConnectionSettings
from headwater.streams import Ended, Pace, StreamRecord
from headwater.streams.lifecycle import TRANSITIONS
from tests.unit.streams.kit import Script, eventually, store

from .connection_world import BODY, FACTS, NOW_MS, World, opened


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with opened() as world:
        yield world


# ---------------------------------------------------------------------- facts


def test_every_state_of_a_stream_is_a_status() -> None:
    states = {state for state, _ in TRANSITIONS} | set(TRANSITIONS.values())
    assert set(STATUSES) == states


def test_facts_lie_in_the_request_that_all_others_read_as_ever() -> None:
    request = ChatRequest("m", [{"role": "user", "content": '"connection":'}], {"n": 2}, priority="high")
    record = StreamRecord(StreamId("s"), 0, request=keep(request, FACTS))
    assert facts_of(record) == FACTS
    assert decode_request(record.request) == request


@pytest.mark.parametrize("request_bytes", [b"", b'{"messages":[{"a":"\\"connection\\":"}]}', b'{"connection":', b"{}"])
def test_a_stream_without_facts_is_no_connection(request_bytes: bytes) -> None:
    assert facts_of(StreamRecord(StreamId("s"), 0, request=request_bytes)) is None
    assert facts_of(StreamRecord(StreamId("s"), 0, request=b'{"x":{"connection":7}}')) is None


def test_an_id_is_made_for_a_request_that_has_none() -> None:
    ids = {facts_from(BODY, Bounds()).request_id for _ in range(3)}
    assert len(ids) == 3
    assert all(len(id) == 36 for id in ids)


def test_names_are_bounded() -> None:
    with pytest.raises(InputError) as refused:
        facts_from(msgspec.structs.replace(BODY, model="x" * 257), Bounds())
    assert refused.value.param == "model"


def asking(**options: object) -> StreamRequestBody:
    return msgspec.structs.replace(BODY, options=StreamOptions(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "pace"),
    [
        ({}, None),
        ({"buffer_size": 512}, Pace(512, 0.1)),
        ({"flush_interval": 40.0}, Pace(8192, 0.04)),
        ({"flush_interval": 1.0}, Pace(8192, 0.005)),  # not shorter than a commit under load
        ({"buffer_size": 9000, "flush_interval": 300.0}, Pace(9000, 0.3)),
    ],
)
def test_who_asks_for_a_bound_is_paced_by_both(options: dict[str, object], pace: Pace | None) -> None:
    bounds = Bounds(9000, 300.0, 5.0) if len(options) == 2 else Bounds()
    facts = facts_from(asking(**options), bounds)
    assert facts.pace == pace
    record = StreamRecord(StreamId("s"), 0, request=keep(ChatRequest("m", []), facts))
    assert facts_of(record) == facts


@pytest.mark.parametrize(("option", "value"), [("buffer_size", 101), ("flush_interval", 50.5)])
def test_more_than_the_settings_allow_is_refused(option: str, value: float) -> None:
    with pytest.raises(InputError, match="at most"):
        facts_from(asking(**{option: value}), Bounds(100, 50.0, 5.0))


# ---------------------------------------------------------------------- before the start


async def test_pending_requests_are_bounded_in_number_and_bytes(world: World) -> None:
    few = world.of(world.hub, ConnectionSettings(max_connections=2)).connections
    for _ in range(2):
        few.create("", BODY, FACTS)
    with pytest.raises(TooManyConnections, match="Maximum connections reached"):
        few.create("other", BODY, FACTS)
    size = len(msgspec.json.encode(BODY))
    small = world.of(world.hub, ConnectionSettings(max_pending_bytes=2 * size + 1)).connections
    first = small.create("", BODY, FACTS)
    small.create("", BODY, FACTS)
    with pytest.raises(TooManyConnections):
        small.create("", BODY, FACTS)
    await small.disconnect(first.id, "")
    small.create("", BODY, FACTS)
    for each in (few, small):
        await each.close()
        assert len(each) == 0


async def test_what_nobody_starts_is_forgotten_in_time(world: World) -> None:
    closed: list[StreamConnection] = []
    world.connections.hooks.on("connection_closed", closed.append)
    old = world.connections.create("", BODY, FACTS)
    world.clock.advance(200)
    young = world.connections.create("", BODY, FACTS)
    world.clock.advance(100)
    with pytest.raises(UnknownItem):
        await world.connections.connection(old.id, "")
    assert [(one.id, one.status, one.updated_at) for one in closed] == [
        (old.id, "disconnected", rfc3339(world.clock.now_ms))
    ]
    assert (await world.connections.connection(young.id, "")).status == "connecting"
    world.clock.advance(200)
    world.connections.sweep()
    assert [one.id for one in closed] == [old.id, young.id]


async def test_without_a_time_out_nothing_is_forgotten(world: World) -> None:
    patient = world.of(world.hub, ConnectionSettings(pending_timeout_s=0)).connections
    connection = patient.create("", BODY, FACTS)
    world.clock.advance(10_000_000)
    patient.sweep()
    assert (await patient.connection(connection.id, "")).status == "connecting"
    await patient.close()


async def test_what_is_being_started_is_not_forgotten(world: World) -> None:
    gate = asyncio.Event()
    connection = world.connections.create("", BODY, FACTS)
    starting = asyncio.create_task(world.connections.start(connection.id, "", world.begin(Script(), before=gate.wait)))
    await asyncio.sleep(0)
    world.clock.advance(301)
    world.connections.sweep()
    assert len(world.connections) == 1
    gate.set()
    assert (await starting).created


async def test_the_sweep_runs_by_itself_while_there_is_anything(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connections, "SWEEP_S", 0.001)
    world.connections.create("", BODY, FACTS)
    world.clock.advance(301)
    await eventually(lambda: len(world.connections) == 0)
    await eventually(lambda: world.connections._sweeper is None)
    swept: list[int] = []

    def broken() -> None:
        swept.append(1)
        raise RuntimeError("a bug")

    monkeypatch.setattr(world.connections, "sweep", broken)
    world.connections.create("", BODY, FACTS)
    await eventually(lambda: len(swept) > 1)  # one bad sweep is not the last
    assert "a sweep of the connections failed" in caplog.text


# ---------------------------------------------------------------------- the start


async def test_a_start_goes_on_when_its_caller_leaves(world: World) -> None:
    gate, entered = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        entered.set()
        await gate.wait()

    connection = world.connections.create("", BODY, FACTS)
    first = asyncio.create_task(world.connections.start(connection.id, "", world.begin(Script(), before=wait)))
    await entered.wait()
    second = asyncio.create_task(world.connections.start(connection.id, "", world.begin(Script())))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait((first,))
    gate.set()
    accepted = await second
    assert (accepted.channel.id, accepted.created) == (connection.id, False)
    assert world.hub.live == 1


async def test_a_refused_start_that_nobody_waits_for_is_no_stray_error(world: World) -> None:
    gate = asyncio.Event()

    async def refuse() -> None:
        await gate.wait()
        raise UnknownModel("there is no model")

    connection = world.connections.create("", BODY, FACTS)
    first = asyncio.create_task(world.connections.start(connection.id, "", world.begin(Script(), before=refuse)))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait((first,))
    gate.set()
    # Closing waits for the start and finds that there was none.
    assert (await world.connections.disconnect(connection.id, "")).status == "disconnected"


async def test_closing_while_it_starts_cancels_the_stream(world: World) -> None:
    gate = asyncio.Event()
    connection = world.connections.create("", BODY, FACTS)
    starting = asyncio.create_task(world.connections.start(connection.id, "", world.begin(Script(), before=gate.wait)))
    await asyncio.sleep(0)
    closing = asyncio.create_task(world.connections.disconnect(connection.id, ""))
    await asyncio.sleep(0)
    gate.set()
    assert (await starting).created
    assert (await closing).status == "disconnected"
    assert world.hub.live == 0


async def test_abandon_leaves_alone_what_starts_or_is_not_there(world: World) -> None:
    gate = asyncio.Event()
    connection = world.connections.create("", BODY, FACTS)
    starting = asyncio.create_task(world.connections.start(connection.id, "", world.begin(Script(), before=gate.wait)))
    await asyncio.sleep(0)
    world.connections.abandon(connection.id)
    world.connections.abandon("nothing")
    gate.set()
    assert (await starting).created


async def test_close_ends_a_start_under_way(world: World) -> None:
    connection = world.connections.create("", BODY, FACTS)
    begin = world.begin(Script(), before=asyncio.Event().wait)
    starting = asyncio.create_task(world.connections.start(connection.id, "", begin))
    await asyncio.sleep(0)
    await world.connections.close()
    with pytest.raises(asyncio.CancelledError):
        await starting


async def test_the_same_idempotency_key_gives_the_earlier_stream(world: World) -> None:
    closed: list[StreamConnection] = []
    world.connections.hooks.on("connection_closed", closed.append)
    first = world.connections.create("", BODY, FACTS)
    second = world.connections.create("", BODY, FACTS)
    for connection in (first, second):
        begin = world.begin(Script(), idempotency_key="k")
        accepted = await world.connections.start(connection.id, "", begin)
        assert accepted.channel.id == first.id
    assert [one.id for one in closed] == [second.id]
    assert len(world.connections) == 1


# ---------------------------------------------------------------------- the list
async def test_the_list_looks_at_so_many_records_and_no_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PAGE", 2)
    monkeypatch.setattr(connections, "MAX_PAGES", 2)
    ended = Ended("done", NOW_MS, Usage(1, 1), "stop")
    ids = []
    for number in range(10):
        id = new_stream_id(NOW_MS + number)
        request = keep(ChatRequest("m", []), FACTS) if number in (0, 9) else b""
        record = StreamRecord(id, NOW_MS + number, model="m", request=request)
        await store(world.log, record, [Start(id, "m", record.created_ms), Usage(1, 1), Done("stop")], ended=ended)
        ids.append(id)
    found, before, calls = [], None, 0
    while True:
        listed = await world.connections.listed("", status="completed", limit=5, before=before)
        found += [one.id for one in listed.connections]
        before, calls = listed.before, calls + 1
        if before is None:
            break
    assert found == [ids[9], ids[0]]
    assert calls == 3


async def test_pending_ones_wait_for_their_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is older than the last record that was looked at comes after it."""
    monkeypatch.setattr(connections, "PAGE", 1)
    monkeypatch.setattr(connections, "MAX_PAGES", 1)
    old = world.connections.create("", BODY, FACTS)
    world.clock.advance(1)
    running = await world.run(Script())
    world.clock.advance(1)
    new = world.connections.create("", BODY, FACTS)
    first = await world.connections.listed("")
    assert [one.id for one in first.connections] == [new.id, running]
    assert first.before == running
    rest = await world.connections.listed("", before=first.before)
    assert ([one.id for one in rest.connections], rest.before) == ([old.id], None)

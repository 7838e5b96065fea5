"""Connections whose streams run or have ended: what is seen of them, and who is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from headwater.errors import (
    LogCorrupt,
    LogUnavailable,
    UnknownItem,
)
from headwater.events import Done, Metadata, StreamId, Text, Usage
from headwater.instants import rfc3339
from headwater.server import connection_streams
from headwater.server.connection_hooks import ConnectionHooks
from headwater.streams import Hub, NewStream, StreamRecord
from tests.unit.streams.kit import FAST, MemorySink, PlainEncoder, Script, eventually, started

from .connection_world import FACTS, NOW_MS, World, opened


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with opened() as world:
        yield world


# ---------------------------------------------------------------------- hooks


def test_a_hook_is_added_and_removed() -> None:
    hooks, told = ConnectionHooks(), list[object]()
    undo = hooks.on("connection_closed", told.append)
    assert hooks.listens("connection_closed")
    assert not hooks.listens("connection_created")
    undo()
    undo()
    assert not hooks.listens("connection_closed")
    with pytest.raises(ValueError, match="there is no hook 'stream_ended'"):
        hooks.on("stream_ended", told.append)  # type: ignore[call-overload]


# ---------------------------------------------------------------------- while it runs


async def test_what_is_told_of_a_running_stream_is_what_was_seen(world: World) -> None:
    script = Script()
    id = await world.run(script)
    before = await world.connections.connection(id, "")
    assert (before.status, before.metadata.chunks_received) == ("connected", 0)
    assert before.metadata.average_latency is UNSET
    assert (await world.connections.response(id, "", limit=1)).status == "pending"
    await script.started.wait()
    world.clock.advance(2)
    live = await world.hub.open(StreamId(id), owner="")
    script.say("Hel")
    await live.wait_head(10)
    await asyncio.sleep(0)  # the one who waits for the head notes when it came
    world.clock.advance(3)
    script.say("lo")
    await eventually(lambda: live.fold.texts == 2)
    world.connections.sweep()
    world.clock.advance(1)
    seen = await world.connections.connection(id, "")
    assert seen.status == "streaming"
    assert (seen.metadata.bytes_received, seen.metadata.chunks_received) == (5, 2)
    assert seen.metadata.average_latency == (3 + 1) * 1000 / 2
    assert seen.metadata.last_activity == rfc3339(NOW_MS + 5000)
    assert (await world.connections.response(id, "", limit=0)).metadata.latency == 2000
    metrics = await world.connections.metrics(id, "", start_ms=0, end_ms=2 * NOW_MS)
    assert metrics.performance.chunks_per_second == 2 / 6
    assert metrics.performance.bytes_per_second == 5 / 6
    assert metrics.quality.average_stream_duration is UNSET
    assert metrics.period.end == rfc3339(world.clock.now_ms)


async def test_a_restart_in_mid_answer_is_taken_up_and_its_end_told(world: World) -> None:
    script, again = Script(), Script()
    id = await world.run(script)
    script.say("Hel")
    live = await world.hub.open(StreamId(id), owner="")
    await live.wait_head(10)
    await world.hub.shutdown(0)
    await eventually(lambda: len(world.connections) == 0)  # the end is not this process's to tell
    hub = await started(world.log, recover=lambda record, fold: again, clock_ms=world.clock)
    later = world.of(hub)
    told: list[tuple[str, Any]] = []
    later.connections.hooks.on("stream_event", lambda one: told.append(("event", one.event)))
    later.connections.hooks.on("stream_completed", lambda one: told.append(("completed", one.connection.id)))
    await hub.create(NewStream(), Script())  # no connection
    for _ in range(2):
        await later.connections.open()
        assert len(later.connections) == 1
    again.say("lo")
    again.finish()
    await eventually(lambda: told and told[-1] == ("completed", id))
    # Only what is new: the rest was told before.
    assert [event.text for _, event in told[:-1] if isinstance(event, Text)] == ["lo"]
    answer = await later.connections.response(id, "", limit=1000)
    assert (answer.content, answer.status) == ("Hello", "completed")
    assert (await later.connections.connection(id, "")).metadata.average_latency is UNSET  # nobody measured it
    await later.connections.close()
    await hub.shutdown(0)


async def test_a_look_at_a_taken_up_stream_accompanies_it(world: World) -> None:
    script, again = Script(), Script()
    id = await world.run(script)
    await world.hub.shutdown(0)
    hub = await started(world.log, recover=lambda record, fold: again, clock_ms=world.clock)
    for look in ("one", "list"):
        later = world.of(hub)
        if look == "one":
            assert (await later.connections.connection(id, "")).status == "connected"
        else:
            assert [one.id for one in (await later.connections.listed("")).connections] == [id]
        assert len(later.connections) == 1
        await later.connections.close()
    await hub.shutdown(0)


async def test_a_hook_does_not_keep_alive_what_nobody_watches(world: World) -> None:
    told: list[object] = []
    world.connections.hooks.on("stream_event", told.append)
    script = Script()
    id = await world.run(script, linger_s=30.0)
    await script.started.wait()
    channel = await world.hub.open(StreamId(id), owner="")
    await eventually(lambda: len(channel.viewers) == 1)
    viewer = world.hub.attach(channel, PlainEncoder, MemorySink())
    for _ in range(3):
        world.connections.sweep()
        world.clock.advance(100)
    assert not channel.ended
    viewer.close()
    world.connections.sweep()
    world.clock.advance(29)
    world.connections.sweep()
    assert not channel.ended
    world.clock.advance(1)
    world.connections.sweep()
    await channel.wait_end()
    assert channel.status == "cancelled"


async def test_a_stream_that_cannot_be_given_up_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.connections.hooks.on("stream_event", lambda told: None)
    script = Script()
    id = await world.run(script, linger_s=0.0)
    channel = await world.hub.open(StreamId(id), owner="")
    await eventually(lambda: len(channel.viewers) == 1)
    world.connections.sweep()
    world.clock.advance(3)

    async def away(stream: StreamId, *, owner: str) -> None:
        raise LogUnavailable("the log is away")

    cancel = world.hub.cancel
    world.hub.cancel = away  # type: ignore[method-assign, assignment]
    world.connections.sweep()
    await eventually(lambda: "could not be cancelled" in caplog.text)
    world.hub.cancel = cancel  # type: ignore[method-assign]


async def test_without_room_for_its_viewer_a_hook_is_told_the_end_alone() -> None:
    async with opened(msgspec.structs.replace(FAST, max_connections=0)) as world:
        told: list[object] = []
        world.connections.hooks.on("stream_event", lambda one: told.append("event"))
        world.connections.hooks.on("connection_closed", lambda one: told.append(one.status))
        await world.run_to_end("Hi")
        assert told == ["completed"]


async def test_faults_at_the_end_are_logged_and_let_go(world: World, caplog: pytest.LogCaptureFixture) -> None:
    told: list[object] = []
    world.connections.hooks.on("connection_closed", told.append)
    get = world.log.get
    for error, words in ((LogUnavailable("away"), "is not told here"), (RuntimeError("a bug"), "accompanying")):

        async def broken(stream: StreamId, error: Exception = error) -> None:
            raise error

        script = Script()
        caplog.set_level("INFO")
        await world.run(script)
        world.log.get = broken  # type: ignore[method-assign, assignment]
        script.finish()
        await eventually(lambda: len(world.connections) == 0)
        assert words in caplog.text
        world.log.get = get  # type: ignore[method-assign]

    async def deleted(stream: StreamId) -> None:
        return None

    script = Script()
    await world.run(script)
    world.log.get = deleted  # type: ignore[method-assign, assignment]
    script.finish()
    await eventually(lambda: len(world.connections) == 0)
    assert told == []


async def test_a_bug_in_the_following_is_logged(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(hub: Hub, channel: object, after: object) -> AsyncIterator[Text]:
        yield Text("x")
        raise RuntimeError("a bug")

    monkeypatch.setattr(connection_streams, "follow_channel", broken)
    world.connections.hooks.on("stream_event", lambda told: None)
    await world.run_to_end("Hi")
    assert "following connection" in caplog.text


# ---------------------------------------------------------------------- after the end


async def test_figures_of_an_ended_stream_are_added_up_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [await world.run_to_end("a", "bc") for _ in range(3)]
    later = world.of(world.hub)
    monkeypatch.setattr(connection_streams, "REMEMBERED", 2)
    reads: list[int] = []
    for id in (*ids, ids[2], ids[0]):
        before = world.log.reads
        metadata = (await later.connections.connection(id, "")).metadata
        assert (metadata.chunks_received, metadata.bytes_received) == (2, 3)
        reads.append(world.log.reads - before)
    assert reads == [1, 1, 1, 0, 1]
    await later.connections.close()


async def test_a_damaged_stream_spoils_no_list(world: World) -> None:
    await world.run_to_end("a")
    later = world.of(world.hub)
    world.log.read_error = LogCorrupt("a segment does not decode")
    [one] = (await later.connections.listed("", status="completed")).connections
    assert one.metadata.chunks_received is UNSET
    assert one.metadata.average_latency is UNSET
    with pytest.raises(LogCorrupt):
        await later.connections.response(one.id, "", limit=1)
    metrics = await later.connections.metrics(one.id, "", start_ms=0, end_ms=2 * NOW_MS)
    assert metrics.performance.total_chunks == 0
    await later.connections.close()


async def test_odd_facts_of_an_application_are_no_latency(world: World) -> None:
    script = Script()
    id = await world.run(script)
    script.say("x")
    script.put(Metadata({"first_token_ms": "soon", "duration_ms": -1}), Usage(1, 1), Done("stop"))
    script.leave()
    await eventually(lambda: len(world.connections) == 0)
    later = world.of(world.hub)
    assert (await later.connections.connection(id, "")).metadata.average_latency is UNSET
    assert (await later.connections.response(id, "", limit=1)).metadata.latency is UNSET
    # This process saw it; the log's own clock, which stamps the end, is not the test's.
    assert (await world.connections.connection(id, "")).metadata.average_latency is not UNSET
    assert (await world.connections.response(id, "", limit=1)).metadata.latency == 0


async def test_a_look_at_one_that_has_just_ended_elsewhere_tells_no_end_again(world: World) -> None:
    """The record was read while it ran; when the stream is opened, it has ended."""
    id = await world.run(script := Script())
    running = await world.log.get(StreamId(id))
    assert running is not None
    script.say("a")
    script.finish()
    await eventually(lambda: len(world.connections) == 0)
    later = world.of(world.hub)
    told: list[object] = []
    later.connections.hooks.on("connection_closed", told.append)
    seen = await later.connections._streams.seen(running, FACTS)
    assert (seen.status, seen.figures is not None and seen.figures.chunks) == ("completed", 1)
    assert (len(later.connections), told) == (0, [])


async def test_deleted_between_two_looks(world: World) -> None:
    id = await world.run_to_end("a")
    get, looks = world.log.get, list[StreamId]()

    async def once(stream: StreamId) -> StreamRecord | None:
        looks.append(stream)
        return await get(stream) if len(looks) == 1 else None

    world.log.get = once  # type: ignore[method-assign]
    with pytest.raises(UnknownItem):
        await world.connections.connection(id, "")


async def test_gone_while_it_is_listed(world: World) -> None:
    """A record that was read as unfinished, of a stream that is not there any more."""
    await world.run(Script())
    await world.hub.shutdown(0)
    hub = Hub(world.log, FAST, clock_ms=world.clock)  # not started: nothing is taken up
    later = world.of(hub)

    async def gone(stream: StreamId) -> None:
        return None

    world.log.get = gone  # type: ignore[method-assign, assignment]
    assert (await later.connections.listed("")).connections == []
    await later.connections.close()


async def test_an_end_between_the_record_and_the_look_is_told_whole(world: World) -> None:
    script = Script()
    id = await world.run(script)
    record = await world.log.get(StreamId(id))
    assert record is not None
    gate = asyncio.Event()
    get = world.log.get

    async def slow(stream: StreamId) -> StreamRecord | None:
        await gate.wait()
        return await get(stream)

    world.log.get = slow  # type: ignore[method-assign]
    channel = await world.hub.open(StreamId(id), owner="")
    script.say("x")
    script.finish()
    await channel.wait_end()
    looking = asyncio.create_task(world.connections._streams.seen(record, FACTS))
    gate.set()
    seen = await looking
    assert (seen.ended, seen.status, seen.figures is not None and seen.figures.chunks) == (True, "completed", 1)

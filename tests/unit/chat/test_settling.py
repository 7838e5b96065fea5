"""Answers become messages, and usage is counted, once and in the end always: whoever notices, whatever dies between."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from headwater.chat import settling
from headwater.chat.records import Message
from headwater.chat.turn import has_confidential_history
from headwater.errors import LogCorrupt, LogUnavailable, StoreUnavailable, UnknownItem
from headwater.events import Done, Reasoning, Source, Sources, StreamId, Text, Usage
from headwater.request import ChatRequest, encode_request
from headwater.store import open_store
from headwater.store.database import database_url
from headwater.streams import Channel, NewStream, StreamRecord, Writer
from tests.integration.chat_kit import ChatModels
from tests.integration.kit import eventually

from .backing import Gate, World, backed, says


class Meter:
    """`counts`: what was told of it. Fails while `away`."""

    def __init__(self) -> None:
        self.counts: list[tuple[str, list[str]]] = []
        self.away = False
        self.asked = asyncio.Event()

    async def __call__(self, record: StreamRecord, meters: list[str]) -> None:
        self.asked.set()
        if self.away:
            raise StoreUnavailable("away")
        self.counts.append((record.id, meters))


async def test_what_an_answer_was_is_kept_with_it() -> None:
    async def thinks(writer: Writer, request: ChatRequest) -> None:
        writer.write([Sources([Source("x", id="1")]), Reasoning("Hm."), Text("At nine."), Usage(3, 2), Done("length")])

    async with backed(ChatModels({"m": thinks})) as world:
        asked = await world.backend.ask(world.ask(), NewStream())
        message = await world.settled(asked.channel.id)
        assert (message.content, message.reasoning, message.status) == ("At nine.", "Hm.", "done")
        assert (message.finish_reason, message.model, message.provider) == ("length", "m", "scripted")
        assert (message.usage, [source.text for source in message.sources]) == (Usage(3, 2), ["x"])
        assert "chat_id" not in message.metadata
        assert message.metadata.keys() >= {"confidence", "hallucination"}


async def test_a_reader_may_be_the_first_to_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    async with backed(ChatModels({"m": says})) as world:
        monkeypatch.setattr(world.backend.settler, "ended", lambda channel: None)
        world.hub._generations._on_end = None  # as where this process did not produce it
        asked = await world.backend.ask(world.ask(), NewStream())
        await asked.channel.wait_end()
        assert [message.status for message in await world.messages()] == ["done", "streaming"]
        for _ in range(2):
            assert [message.content for message in await world.backend.messages(await world.again())][1] == "At nine."
        assert [message.status for message in await world.messages()] == ["done", "done"]


async def test_an_answer_under_way_is_read_as_it_is() -> None:
    gate = Gate()
    async with backed(ChatModels({"m": gate})) as world:
        asked = await world.backend.ask(world.ask(), NewStream())
        await gate.reached.wait()
        await world.hub.read_all(asked.channel)
        await eventually(lambda: asked.channel.fold.has_content and asked.channel.next_seq > 2)
        [_, answer] = await world.backend.messages(await world.again())
        assert (answer.content, answer.status) == ("At ", "streaming")
        assert [message.id for message in await world.backend.live(world.thread)] == [answer.id]
        gate.open.set()
        await world.settled(asked.channel.id)
        assert await world.backend.live(world.thread) == []


async def test_a_message_whose_stream_is_gone_says_so() -> None:
    async with backed(ChatModels({"m": says})) as world:
        messages = world.backend.conversations.messages
        await messages.add_turn("", world.thread.id, parent_id=None, content="Hi", stream_id="gone")
        [_, answer] = await world.backend.messages(await world.again())
        assert answer.status == "failed"
        assert answer.error is not None
        assert answer.error.reason == "interrupted"


async def test_a_stream_that_cannot_be_read_ends_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    async def corrupt(*args: object) -> None:
        raise LogCorrupt("damaged")

    async with backed(ChatModels({"m": says})) as world:
        monkeypatch.setattr(settling, "read_events", corrupt)
        asked = await world.backend.ask(world.ask(), NewStream())
        message = await world.settled(asked.channel.id)
        assert (message.content, message.status) == ("", "done")


# --------------------------------------------------------------------------------------------------- what fails


async def test_the_database_is_away_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "RETRY_S", 0.0)
    meter = Meter()
    meter.away = True
    async with backed(ChatModels({"m": says}), meter=meter) as world:
        asked = await world.backend.ask(world.ask(meters=["key:k"]), NewStream())
        await meter.asked.wait()
        meter.away = False
        await world.settled(asked.channel.id)
        assert meter.counts == [(asked.channel.id, ["key:k"])]


@pytest.mark.parametrize("moment", ["settling", "waiting"])
async def test_what_is_being_settled_when_the_server_stops_is_not_forgotten(
    moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the one that is under way, nor the one that waits to be tried again."""
    meter = Meter()
    meter.away = moment == "waiting"
    go_on = asyncio.Event()

    async def slow(record: StreamRecord, meters: list[str]) -> None:
        meter.asked.set()
        if moment == "settling" and not go_on.is_set():
            await go_on.wait()
        await meter(record, meters)

    async with backed(ChatModels({"m": says}), meter=slow) as world:
        asked = await world.backend.ask(world.ask(meters=["key:k"]), NewStream())
        await meter.asked.wait()
        await asyncio.sleep(0)
        meter.away = False
        closing = asyncio.create_task(world.backend.settler.close())
        await asyncio.sleep(0)
        go_on.set()
        await closing
        assert meter.counts == [(asked.channel.id, ["key:k"])]
        assert [message.status for message in await world.messages()] == ["done", "done"]


async def test_a_bug_in_one_answer_costs_no_other_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    async with backed(ChatModels({"m": says})) as world:
        settle, first = world.backend.settler.settle, True

        async def broken(stream: StreamId) -> Message | None:
            nonlocal first
            if first:
                first = False
                raise RuntimeError("a bug")
            return await settle(stream)

        monkeypatch.setattr(world.backend.settler, "settle", broken)
        one = await world.backend.ask(world.ask(), NewStream())
        await eventually(lambda: not first)
        await world.again()
        other = await world.backend.ask(world.ask(), NewStream())
        await world.settled(other.channel.id)
        assert one.channel.id != other.channel.id


@pytest.mark.parametrize("error", [UnknownItem("thread"), StoreUnavailable("away")])
async def test_what_follows_an_answer_costs_no_reader_the_answer(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*args: object) -> None:
        raise error

    async with backed(ChatModels({"m": says})) as world:
        monkeypatch.setattr(world.backend._naming, "answered", fails)
        world.hub._generations._on_end = None
        asked = await world.backend.ask(world.ask(), NewStream())
        await asked.channel.wait_end()
        [_, answer] = await world.backend.messages(await world.again())
        assert answer.content == "At nine."


# -------------------------------------------------------------------------------------------------- the next start


async def test_a_killed_process_leaves_nothing_streaming(tmp_path: Path) -> None:
    """One answer was under way, one had ended, one never had a stream; and there are more than one look takes."""
    store = await open_store(database_url(None, tmp_path))
    gate = Gate()
    models = ChatModels({"m": says, "slow": gate})
    async with backed(models, store=store) as world:
        log, settler = world.log, world.backend.settler
        assert settler._task is not None
        settler._task.cancel()
        await asyncio.wait((settler._task,))
        settler._task = None  # nobody settles any more, as where the process is killed
        ended = await world.backend.ask(world.ask(), NewStream())
        await ended.channel.wait_end()
        await world.backend.ask(world.ask("Slow?", model="slow"), NewStream())
        await gate.reached.wait()
        for number in range(4):
            await world.backend.conversations.messages.add_turn(
                "", world.thread.id, parent_id=None, content="Hi", stream_id=f"gone-{number}"
            )
    async with backed(models, store=store, log=log) as world:
        everything = await world.backend.conversations.messages.all("", world.thread.id)
        assert "At nine." in [message.content for message in everything]
        await eventually(lambda: not world.hub.live)
        while any(message.status == "streaming" for message in everything):
            await asyncio.sleep(0.005)
            everything = await world.backend.conversations.messages.all("", world.thread.id)
    await store.close()


async def test_a_start_looks_for_more_than_one_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "PAGE", 2)
    gate = Gate()
    async with backed(ChatModels({"slow": gate})) as world:
        messages = world.backend.conversations.messages
        for _ in range(2):
            await world.backend.ask(world.ask(model="slow"), NewStream())
        for number in range(5):
            await messages.add_turn("", world.thread.id, parent_id=None, content="Hi", stream_id=f"gone-{number}")
        await world.backend.settler.reconcile()
        assert len(await messages.streaming()) == 2
        gate.open.set()


async def test_a_start_tries_again_what_it_cannot_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    async with backed(ChatModels({"m": says})) as world:
        messages, settler = world.backend.conversations.messages, world.backend.settler
        turn = await messages.add_turn("", world.thread.id, parent_id=None, content="Hi", stream_id="gone")
        get, away = world.log.get, True

        async def failing(stream: StreamId) -> object:
            if away:
                raise LogUnavailable("away")
            return await get(stream)

        monkeypatch.setattr(settling, "RETRY_S", 0.0)
        world.log.get = failing  # type: ignore[method-assign, assignment]
        await settler.reconcile()
        away = False
        assert settler._task is not None
        await settler.close()
        assert (await messages.get("", turn.answer.id)).status == "failed"


async def test_usage_of_a_stream_that_ended_as_its_process_died_is_counted_by_the_next(tmp_path: Path) -> None:
    """Between the commit of its end and the settler; a plain stream, of which no message tells."""
    store = await open_store(database_url(None, tmp_path))
    models = ChatModels({"m": says})

    async def ask(world: World, meters: list[str]) -> str:
        request = ChatRequest("m", [{"role": "user", "content": "Hi"}], meters=meters)
        resolved = await models.resolve("m")
        new = NewStream(request=encode_request(request))
        channel, _ = await world.hub.create(new, resolved.producer_factory(request))
        await channel.wait_end()
        return channel.id

    async with backed(models, store=store) as world:
        world.hub._generations._on_end = None  # killed before it was told
        log = world.log
        metered = await ask(world, ["key:k"])
        await ask(world, [])
    meter = Meter()
    async with backed(models, store=store, log=log, meter=meter) as world:
        await eventually(lambda: bool(meter.counts))
        assert meter.counts == [(metered, ["key:k"])]
    await store.close()


async def test_a_start_looks_back_at_so_many_streams_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "LOOK_BACK", 4)
    monkeypatch.setattr(settling, "_LOOK_BACK_PAGE", 2)
    async with backed(ChatModels({"m": says})) as world:
        world.hub._generations._on_end = None
        for _ in range(5):
            asked = await world.backend.ask(world.ask(thread=None, meters=["key:k"]), NewStream())
            await asked.channel.wait_end()
        log = world.log
    meter = Meter()
    async with backed(ChatModels({}), log=log, meter=meter) as world:
        await world.backend.settler.close()
        assert len(meter.counts) <= 4
    meter = Meter()
    async with backed(ChatModels({}), log=log, meter=meter) as world:
        await eventually(lambda: len(meter.counts) == 4)


async def test_a_log_that_cannot_be_looked_at_keeps_nobody_from_settling() -> None:
    async with backed(ChatModels({"m": says})) as world:
        log = world.log
    find = log.find

    async def away(query: object) -> object:
        if getattr(query, "state", "") == "finished":
            raise LogUnavailable("away")
        return await find(query)  # type: ignore[arg-type]

    log.find = away  # type: ignore[method-assign, assignment]
    async with backed(ChatModels({"m": says}), log=log) as world:
        asked = await world.backend.ask(world.ask(), NewStream())
        await world.settled(asked.channel.id)


async def test_a_stream_whose_stored_end_was_not_heard_of_is_settled() -> None:
    """The log answered its last commit with a failure, but had stored it (a lost answer): nobody tells of its end."""
    async with backed(ChatModels({"m": Gate("")})) as world:
        told: list[Channel] = []
        world.hub._generations._on_end = told.append
        asked = await world.backend.ask(world.ask(thread=None), NewStream())
        record = asked.channel.record
        generation = world.hub._generations.get(record.id)
        assert generation is not None
        commit = world.log.commit

        async def loses_the_answer(appends: object) -> object:
            outcomes = await commit(appends)  # type: ignore[arg-type]
            return [LogCorrupt("the answer was lost") for _ in outcomes]

        world.log.commit = loses_the_answer  # type: ignore[method-assign, assignment]
        generation.cancel()
        await eventually(lambda: record.id in world.hub._generations.unsettled)
        assert told == []
        await world.hub._recovery.settle()
        assert [channel.id for channel in told] == [record.id]


def test_a_request_that_cannot_be_read_counts_as_confidential() -> None:
    assert has_confidential_history(b'{"confidential":true')
    assert not has_confidential_history(b"{}")

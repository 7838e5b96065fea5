"""The stream of figures: one for all who watch, none where nobody does, and out of everybody's way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from headwater.errors import ShuttingDown
from headwater.events import Metadata, Start
from headwater.logs.memory import MemoryLog
from headwater.server.figures_feed import EVERY_S, HELD_EVENTS, LASTS_S, LINGER_S, LOOK_S, FiguresFeed
from headwater.streams import Channel, Hub, Query, StreamSettings
from tests.unit.streams.kit import MemorySink, PlainEncoder, eventually
from tests.unit.streams.virtual_time import run_virtual


class World:
    def __init__(self) -> None:
        self.main = Hub(MemoryLog(), StreamSettings())
        self.feed = FiguresFeed(self.main, self._read)
        self.reads = 0

    async def _read(self) -> dict[str, object]:
        self.reads += 1
        return {"number": self.reads}

    async def watch(self) -> tuple[Channel, MemorySink]:
        channel = await self.feed.channel()
        sink = MemorySink()
        self.feed.hub.attach(channel, PlainEncoder, sink, self.feed.newest(channel))
        return channel, sink


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    made = World()
    await made.main.start()
    await made.feed.open()
    yield made
    await made.feed.close()
    await made.main.shutdown(0)


def numbers(sink: MemorySink) -> list[object]:
    return [event.data["number"] for event in sink.events if isinstance(event, Metadata)]


def test_all_who_watch_share_one_and_begin_with_the_newest() -> None:
    async def work() -> None:
        async with world() as it:
            first, one = await it.watch()
            await asyncio.sleep(2.5 * EVERY_S)
            second, two = await it.watch()
            assert first is second
            assert numbers(two) == [3]
            await asyncio.sleep(EVERY_S)
            assert (numbers(one), numbers(two)) == ([1, 2, 3, 4], [3, 4])
            assert it.reads == 4

    run_virtual(work())


def test_nobody_watching_ends_it_and_the_next_begins_a_new_one() -> None:
    async def work() -> None:
        async with world() as it:
            channel, _ = await it.watch()
            await asyncio.sleep(EVERY_S)
            [viewer] = it.feed.hub.audience()
            viewer.close()
            await asyncio.sleep(LINGER_S + 1)
            assert channel.status == "cancelled"
            reads = it.reads
            await asyncio.sleep(60)
            assert it.reads == reads
            again, sink = await it.watch()
            assert again is not channel
            await asyncio.sleep(0.1)
            assert numbers(sink) == [reads + 1]

    run_virtual(work())


def test_it_ends_after_an_hour_and_holds_no_more_than_its_newest_events() -> None:
    async def work() -> None:
        async with world() as it:
            channel, sink = await it.watch()
            held = []
            for _ in range(12):
                await asyncio.sleep(LASTS_S / 12 - 1)
                record = await it.feed._log.get(channel.record.id)
                assert record is not None
                held.append(record.next_seq - record.first_seq)
            await asyncio.sleep(60)
            assert channel.status == "done"
            assert sink.finished
            assert len(numbers(sink)) == LASTS_S / EVERY_S
            assert max(held) <= HELD_EVENTS + 1

    run_virtual(work())


def test_it_is_in_nobodys_list_and_takes_nobodys_place() -> None:
    async def work() -> None:
        async with world() as it:
            await it.watch()
            assert (it.main.live, it.main.viewers) == (0, 0)
            assert await it.main.log.find(Query()) == []

    run_virtual(work())


def test_a_shutdown_sends_its_viewers_away_at_once() -> None:
    async def work() -> None:
        async with world() as it:
            channel, sink = await it.watch()
            await asyncio.sleep(EVERY_S / 2)
            await it.main.shutdown(0)
            await asyncio.sleep(2 * LOOK_S)
            assert sink.finished
            assert any(word.startswith("retry:") for word in sink.words)
            await asyncio.sleep(0.1)
            assert channel.ended
            with pytest.raises(ShuttingDown):
                await it.feed.channel()

    run_virtual(work())


async def test_two_who_come_at_once_begin_one() -> None:
    async with world() as it:
        first, second = await asyncio.gather(it.feed.channel(), it.feed.channel())
        assert first is second
        assert isinstance((await it.feed.hub.read_all(first))[0], Start)
        await eventually(lambda: it.reads == 1)

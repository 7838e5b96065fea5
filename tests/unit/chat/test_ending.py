from __future__ import annotations

import asyncio

import pytest

from headwater.chat.ending import HeldEnd
from headwater.errors import ProviderError
from headwater.events import Done, Error, Event, JsonObject, Metadata, Terminal, Text, Usage
from headwater.logs import MemoryLog
from headwater.streams import Hub, NewStream, Producer, StreamSettings, Writer


class Ledger:
    """A settlement such as the router's."""

    def __init__(self) -> None:
        self.asked: list[Terminal] = []

    def usage(self, estimated: Usage) -> Usage:
        return Usage(estimated.prompt_tokens + 1, estimated.completion_tokens + 1, source="estimated")

    def facts(self, usage: Usage, terminal: Terminal) -> JsonObject:
        self.asked.append(terminal)
        return {"told": usage.total_tokens}


class Judged:
    """Runs `produce` behind a held end, then tells a fact of its own."""

    def __init__(self, produce: object, *, hold: asyncio.Event | None = None) -> None:
        self.produce = produce
        self.hold = hold
        self.holding = asyncio.Event()
        self.end: HeldEnd | None = None

    async def run(self, writer: Writer) -> None:
        self.end = HeldEnd(writer, prompt_characters=40)
        await self.produce(self.end)  # type: ignore[operator]
        self.holding.set()
        if self.hold is not None:
            await self.hold.wait()
        writer.write([Metadata({"judged": True}), self.end.done or Done("stop")])


async def events_of(producer: Producer) -> list[Event]:
    hub = Hub(MemoryLog(), StreamSettings(grace_s=0.1))
    await hub.start()
    try:
        channel, _ = await hub.create(NewStream(prompt_characters=999), producer)
        await channel.wait_end()
        return (await hub.read_all(channel))[1:]
    finally:
        await hub.shutdown()


async def test_what_is_found_out_stands_between_usage_and_the_end() -> None:
    async def produce(writer: Writer) -> None:
        writer.write([Text("Hel")])
        writer.write([Text("lo"), Usage(3, 2), Done("length")])

    assert await events_of(Judged(produce)) == [
        Text("Hel"), Text("lo"), Usage(3, 2), Metadata({"judged": True}), Done("length"),
    ]  # fmt: skip


async def test_the_settlement_is_asked_once_and_in_the_usual_order() -> None:
    ledger = Ledger()

    async def produce(writer: Writer) -> None:
        writer.control.settle(ledger)
        writer.write([Text("Hello"), Usage(3, 2), Done("stop")])

    events = await events_of(Judged(produce))
    assert events[1:] == [Usage(3, 2), Metadata({"told": 5}), Metadata({"judged": True}), Done("stop")]
    assert ledger.asked == [Done("stop")]


async def test_usage_that_nobody_told_is_settled_by_who_knows_the_attempts() -> None:
    ledger = Ledger()

    async def produce(writer: Writer) -> None:
        writer.control.settle(ledger)
        writer.write([Text("12345678"), Done("stop")])

    events = await events_of(Judged(produce))
    assert events[1:3] == [Usage(11, 3, source="estimated"), Metadata({"told": 14})]


async def test_usage_is_estimated_from_the_prompt_that_was_sent() -> None:
    async def produce(writer: Writer) -> None:
        writer.write([Text("12345678"), Done("stop")])

    assert Usage(10, 2, source="estimated") in await events_of(Judged(produce))


async def test_a_return_without_an_end_is_an_end() -> None:
    async def produce(writer: Writer) -> None:
        writer.write([Text("Hi")])

    assert (await events_of(Judged(produce)))[-1] == Done("stop")


async def test_an_answer_that_breaks_off_is_not_held_back() -> None:
    async def produce(writer: Writer) -> None:
        writer.write([Text("Hi")])
        raise ProviderError("it broke")

    events = await events_of(Judged(produce))
    assert isinstance(events[-1], Error)
    assert not any(isinstance(event, Metadata) for event in events)


async def test_a_cancel_while_the_end_is_held_keeps_the_answer_and_its_facts() -> None:
    ledger = Ledger()

    async def produce(writer: Writer) -> None:
        writer.control.settle(ledger)
        writer.write([Text("Hello"), Usage(3, 2), Done("stop")])

    hub = Hub(MemoryLog(), StreamSettings(grace_s=0.1))
    await hub.start()
    judged = Judged(produce, hold=asyncio.Event())
    channel, _ = await hub.create(NewStream(), judged)
    await judged.holding.wait()
    assert judged.end is not None
    assert judged.end.fold.terminal == Done("stop")
    await hub.cancel(channel.record.id, owner="")
    events = (await hub.read_all(channel))[1:]
    assert events == [Text("Hello"), Usage(3, 2), Metadata({"told": 5}), Done("cancelled")]
    assert ledger.asked == [Done("stop")]
    await hub.shutdown()


@pytest.mark.parametrize("batch", [[], [Text("a")], [Usage(1, 1)]])
async def test_other_batches_pass_as_they_are(batch: list[Event]) -> None:
    async def produce(writer: Writer) -> None:
        assert writer.write(batch)
        writer.touch()
        writer.connected()
        await writer.drain()
        writer.control.watch(None)
        writer.control.lend_slot(False)
        assert writer.control.first_content_s is None or batch
        assert (await writer.control.history())[1:] == batch

    events = await events_of(Judged(produce))
    assert events[: len(batch)] == batch


async def test_how_an_answer_ended_is_told_before_its_end_where_that_is_held() -> None:
    """Whoever takes the stream up meanwhile must not make a whole answer of one that reached its limit."""

    async def produce(writer: Writer) -> None:
        writer.control.settle(Ledger())
        writer.write([Text("Hello"), Usage(3, 2), Done("length")])

    events = await events_of(Judged(produce))
    assert events[-3:] == [
        Metadata({"told": 5, "finish_reason": "length"}),
        Metadata({"judged": True}),
        Done("length"),
    ]

"""Nothing leaks (P10): after any mix of finishes, cuts, cancels and faults everything is back at the baseline."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import weakref
from collections.abc import Awaitable, Callable, Iterator

import pytest

from headwater.errors import ProviderTruncated
from headwater.events import StreamId, Text
from headwater.streams import Channel, Hub, NewStream, StreamSettings, Viewer, Writer

from .kit import FaultyLog, MemorySink, PlainEncoder, Script, Words, eventually, started

STREAMS = 1000
SETTINGS = StreamSettings(
    max_streams=50, max_queued=STREAMS, log_retry_s=0.05, flush_ms=1.0, heartbeat_s=0.2, send_timeout_s=0.1
)


class Fails:
    def __init__(self, *, typed: bool) -> None:
        self._typed = typed

    async def run(self, writer: Writer) -> None:
        writer.write([Text("part")])
        raise ProviderTruncated("cut") if self._typed else ValueError("a bug")


class Mix:
    """Lives that streams can have. Each returns when nothing more of its stream is to come."""

    def __init__(self, hub: Hub, seed: int) -> None:
        self.hub = hub
        self.random = random.Random(seed)
        self.seen: list[weakref.ref[object]] = []

    async def create(self, producer: object, **new: object) -> Channel:
        channel, _ = await self.hub.create(NewStream(**new), producer)  # type: ignore[arg-type]
        self.seen += [weakref.ref(producer)]
        return channel

    def watch(
        self, channel: Channel, *, budget: int | None = None, cursor: str | None = None
    ) -> tuple[MemorySink, Viewer]:
        sink = MemorySink(budget)
        viewer = self.hub.attach(channel, PlainEncoder, sink, cursor)
        self.seen += [weakref.ref(sink)]
        return sink, viewer

    async def finish(self) -> None:
        channel = await self.create(Words(["a", "b", "c"]))
        self.watch(channel)
        await channel.wait_end()

    async def fail(self) -> None:
        channel = await self.create(Fails(typed=self.random.random() < 0.5))
        self.watch(channel)
        await channel.wait_end()

    async def cancel(self) -> None:
        script = Script()
        channel = await self.create(script)
        self.watch(channel)
        script.say("part")
        for _ in range(self.random.randrange(4)):
            await asyncio.sleep(0)
        await self.hub.cancel(StreamId(channel.id), owner="")

    async def cut(self) -> None:
        script = Script()
        channel = await self.create(script, linger_s=0.0)
        viewers = [self.watch(channel)[1] for _ in range(2)]
        script.say("part")
        for viewer in viewers:
            await asyncio.sleep(0)
            viewer.close()
        await channel.wait_end()

    async def abandon(self) -> None:
        channel = await self.create(Script(), linger_s=0.05)
        await channel.wait_end()

    async def stall(self) -> None:
        channel = await self.create(Words(["a"] * 20))
        self.watch(channel, budget=30)
        await channel.wait_end()

    async def come_back(self) -> None:
        script = Script()
        channel = await self.create(script)
        first, viewer = self.watch(channel)
        script.say("a", "b")
        await eventually(lambda: first.text == "ab", timeout_s=60)
        viewer.close()
        second, _ = self.watch(channel, cursor=first.frames[-1].cursor)
        script.say("c")
        script.finish()
        await channel.wait_end()
        await eventually(lambda: second.finished, timeout_s=60)
        assert second.text == "c"

    async def repeat_a_key(self) -> None:
        new = {"idempotency_key": str(self.random.random()), "fingerprint": "f"}
        channels = await asyncio.gather(*[self.create(Words(["a"]), **new) for _ in range(3)])
        await channels[0].wait_end()

    async def give_up_creating(self) -> None:
        creating = asyncio.create_task(self.create(Script()))
        await asyncio.sleep(0)
        creating.cancel()
        await asyncio.wait((creating,))

    @property
    def lives(self) -> list[Callable[[], Awaitable[None]]]:
        return [
            *(self.finish, self.fail, self.cancel, self.cut, self.abandon),
            *(self.stall, self.come_back, self.repeat_a_key, self.give_up_creating),
        ]


class Weak(Channel):
    """A channel that can be watched for leaks; the real one has no room for a weak reference."""

    __slots__ = ("__weakref__",)


@pytest.fixture
def channels(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref[Channel]]:
    made: list[weakref.ref[Channel]] = []

    def channel(*arguments: object, **options: object) -> Channel:
        new = Weak(*arguments, **options)  # type: ignore[arg-type]
        made.append(weakref.ref(new))
        return new

    monkeypatch.setattr("headwater.streams.generations.Channel", channel)
    return made


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
async def test_an_ended_stream_is_freed_without_the_collector(
    channels: list[weakref.ref[Channel]], caplog: pytest.LogCaptureFixture
) -> None:
    """A cycle would keep each stream's tail until the collector happens to run."""
    caplog.set_level(logging.CRITICAL, "headwater")
    hub = await started()
    mix = Mix(hub, seed=1)
    await mix.finish()
    await mix.cancel()
    await mix.come_back()
    await mix.fail()
    await eventually(lambda: not hub.live and not hub.viewers)
    await eventually(lambda: not any(ref() for ref in channels))
    assert len(channels) == 4
    await hub.shutdown(0)


async def test_a_thousand_mixed_streams_leave_nothing(
    channels: list[weakref.ref[Channel]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Memory grows with unread or failed streams (ai-resumable-stream #7; litellm #12685, #6404, #38193), slots never
    come back from cancelled ones (litellm #27955, #20256; bifrost PR #6802).
    """
    caplog.set_level(logging.CRITICAL, "headwater")  # a kept traceback would keep all that it passed through
    monkeypatch.setattr("headwater.streams.generation.FIRST_VIEWER_S", 0.05)
    before = asyncio.all_tasks()
    log = FaultyLog()
    hub = await started(log, SETTINGS)
    running = asyncio.all_tasks()
    mix = Mix(hub, seed=7)
    lives = [mix.random.choice(mix.lives) for _ in range(STREAMS)]
    for start in range(0, STREAMS, 200):
        await asyncio.gather(*[life() for life in lives[start : start + 200]])
    await eventually(lambda: hub.live == 0 and hub.viewers == 0, timeout_s=60)
    await eventually(lambda: asyncio.all_tasks() == running, timeout_s=60)
    gate = hub._generations._admission
    assert (gate.running, gate.queued) == (0, 0)
    assert hub._generations.unsettled == {}
    assert hub._creating == {}
    assert hub._followers == {}
    assert len(log._watchers) == 0
    assert hub._generations._winding_up == set()
    unfinished = [r for r in await hub.list(owner="", limit=2 * STREAMS) if r.finished_at is None]
    assert unfinished == []
    gc.collect()
    assert len(channels) >= STREAMS
    assert [ref for ref in channels if ref() is not None] == []
    assert [ref for ref in mix.seen if ref() is not None] == []
    await hub.shutdown(0)
    assert asyncio.all_tasks() == before

"""Pacing: what comes is held for a time, or up to a size, and then is one frame. First and last wait for nothing."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import pytest

from headwater.events import Done, Start, Text
from headwater.streams import Channel, Pace
from headwater.streams.viewer import Viewer

from .kit import FaultyLog, MemorySink, PlainEncoder, channel_of, publish
from .virtual_time import pending_timers, run_virtual

SLOW = Pace(buffer_bytes=1000, interval_s=0.1)


class Watched(NamedTuple):
    channel: Channel
    viewer: Viewer
    sink: MemorySink

    def say(self, *words: str) -> None:
        for word in words:
            publish(self.channel, Text(word), now=asyncio.get_running_loop().time())

    @property
    def texts(self) -> list[str]:
        return [event.text for event in self.sink.events if isinstance(event, Text)]


def watched(pace: Pace | None, *, budget: int | None = None) -> Watched:
    channel, sink = channel_of(Start("s", "m", 0)), MemorySink(budget)
    viewer = Viewer(
        channel,
        channel.encoder(PlainEncoder),
        sink,
        log=FaultyLog(),
        next_seq=1,
        now=0.0,
        on_closed=channel.viewers.remove,
        pace=pace,
    )
    channel.viewers.append(viewer)
    viewer.start(None)
    return Watched(channel, viewer, sink)


def test_what_comes_in_an_interval_is_one_frame_and_the_first_waits_for_nothing() -> None:
    async def work() -> list[str]:
        it = watched(SLOW)
        for number in range(25):
            it.say(f"{number} ")
            await asyncio.sleep(0.02)
        it.say("x")
        publish(it.channel, Done("stop"))
        assert it.sink.finished
        assert pending_timers() == 0
        return it.texts

    texts = run_virtual(work())
    assert texts[0] == "0 "
    assert "".join(texts) == "".join(f"{number} " for number in range(25)) + "x"
    # Half a second in tenths, and the rest with the end.
    assert len(texts) <= 7


@pytest.mark.parametrize(("interval_s", "frames"), [(0.02, 25), (0.05, 10), (0.1, 5)])
def test_the_interval_decides_how_many_frames_there_are(interval_s: float, frames: int) -> None:
    async def work() -> int:
        it = watched(Pace(1000, interval_s))
        for _ in range(50):
            it.say("a")
            await asyncio.sleep(0.01)
        return len(it.texts)

    assert abs(run_virtual(work()) - frames) <= 2


@pytest.mark.parametrize(("buffer_bytes", "longest"), [(10, 10), (30, 30), (1000, 80)])
def test_the_buffer_decides_how_large_they_are(buffer_bytes: int, longest: int) -> None:
    async def work() -> list[str]:
        it = watched(Pace(buffer_bytes, 0.1))
        for _ in range(60):
            it.say("0123456789"[:5] + "é")  # seven bytes
            await asyncio.sleep(0.01)
        it.viewer.close()
        return it.texts

    texts = run_virtual(work())
    assert max(len(text.encode()) for text in texts) <= longest
    # It is used, too: two pieces do not fit into ten bytes, and more come in an interval than thirty hold.
    assert max(len(text.encode()) for text in texts) > longest - 14


def test_a_piece_that_is_too_large_alone_goes_as_it_is() -> None:
    async def work() -> list[str]:
        it = watched(Pace(10, 0.1))
        it.say("a", "b" * 50, "c")
        await asyncio.sleep(1)
        it.viewer.close()
        return it.texts

    assert run_virtual(work()) == ["a", "b" * 50, "c"]


def test_without_an_interval_nothing_is_held() -> None:
    async def work() -> list[str]:
        it = watched(Pace(10, 0.0))
        it.say("a", "b")
        assert pending_timers() == 0
        return it.texts

    assert run_virtual(work()) == ["a", "b"]


def test_a_peer_that_does_not_read_is_no_pace() -> None:
    """Its room decides then, and what is held for it is bounded by nothing but the log."""

    async def work() -> None:
        it = watched(SLOW, budget=1)
        it.say("a")
        await asyncio.sleep(0.2)
        it.say("b", "c" * 2000)
        await asyncio.sleep(0.2)
        assert it.texts == ["a"]
        it.sink.open_up()
        assert it.texts == ["a", "b", "c" * 2000]
        it.say("d")
        it.sink.open_up()  # room alone does not end what is held
        assert it.texts[-1] != "d"
        await asyncio.sleep(0.2)
        assert it.texts[-1] == "d"
        it.viewer.close()

    run_virtual(work())


@pytest.mark.parametrize("leave", ["close", "abort", "dismiss"])
def test_who_leaves_leaves_no_timer_that_does_anything(leave: str) -> None:
    async def work() -> None:
        it = watched(SLOW)
        it.say("a", "b")
        getattr(it.viewer, leave)(*([5] if leave == "dismiss" else []))
        written = len(it.sink.chunks)
        await asyncio.sleep(1)
        assert len(it.sink.chunks) == written
        assert pending_timers() == 0

    run_virtual(work())


@pytest.mark.parametrize("pace", [None, SLOW])
def test_a_viewer_goes_on_through_another_sink(pace: Pace | None) -> None:
    async def work() -> str:
        it = watched(pace, budget=1)
        it.say("a")
        await asyncio.sleep(0.2)
        it.say("b")
        other = MemorySink()
        it.viewer.carry(other)
        it.say("c")
        await asyncio.sleep(0.2)
        it.viewer.close()
        third = MemorySink()
        it.viewer.carry(third)
        assert third.chunks == []
        return it.sink.text + "|" + other.text

    assert run_virtual(work()) == "a|bc"


def test_a_paced_sink_knows_its_connection_where_the_one_in_it_does() -> None:
    async def work() -> None:
        plain: Any = watched(SLOW).viewer.sink
        assert plain.network() is None
        knows: Any = watched(SLOW).viewer.sink
        knows._inner.network = lambda: "known"
        assert knows.network() == "known"

    run_virtual(work())

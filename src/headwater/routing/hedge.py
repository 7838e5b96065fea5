"""A hedged start: a second request when the first has given no content for a while; the first content wins.

Until then each attempt writes into a lane of its own, so that only the winner's events reach the stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from ..errors import HeadwaterError, ProviderTimeout, StreamEnded
from ..events import CONTENT_TYPES, Done, Event, Status
from ..streams.fold import Fold
from ..streams.ports import Control, Settlement, Watch, Writer
from .retry import deserves_fallback

Attempting: TypeAlias = Callable[[Writer], Awaitable[HeadwaterError | None]]


# A plug-in's attempt that ignores its cancellation must not hold up what comes after the race.
_LET_GO_S = 1.0


class Race:
    """`run` gives the result of whoever won; where all failed, the failure that says most about what to do now.

    `on_won` gets the winner's lane.
    """

    def __init__(self, writer: Writer, on_won: Callable[[Writer], None]) -> None:
        self.writer = writer
        self.winner: Lane | None = None
        self.lanes: list[Lane] = []
        self._on_won = on_won
        self._decided = asyncio.get_running_loop().create_future()

    def won(self, lane: Lane) -> None:
        self.winner = lane
        self._on_won(lane)
        self._decided.set_result(None)

    def lend_slot(self) -> None:
        """The stream's slot is free for others only while each attempt waits for an upstream's."""
        self.writer.control.lend_slot(bool(self.lanes) and all(lane.waits for lane in self.lanes))

    async def run(
        self, first: Attempting, second: Attempting, *, after_s: float, on_hedge: Callable[[], None]
    ) -> HeadwaterError | None:
        """Start `second` when `first` has neither won nor failed after `after_s`; `on_hedge` is called before that."""
        runners = [self._start(first)]
        try:
            await self._wait(runners, after_s)
            if self.winner is None and not runners[0][1].done():
                on_hedge()
                runners.append(self._start(second))
            while self.winner is None and not all(task.done() for _, task in runners):
                await self._wait([runner for runner in runners if not runner[1].done()], None)
            for lane, task in runners:
                if lane is not self.winner and self.winner is not None:
                    task.cancel()
            if self.winner is not None:
                return await next(task for lane, task in runners if lane is self.winner)
            return _worst([await task for _, task in runners])
        finally:
            await _end([task for _, task in runners])

    def _start(self, attempting: Attempting) -> tuple[Lane, asyncio.Task[HeadwaterError | None]]:
        lane = Lane(self)
        self.lanes.append(lane)
        self.lend_slot()
        return lane, asyncio.ensure_future(_run(attempting, lane))

    async def _wait(
        self, runners: Sequence[tuple[Lane, asyncio.Task[HeadwaterError | None]]], timeout_s: float | None
    ) -> None:
        tasks = [task for _, task in runners]
        await asyncio.wait([*tasks, self._decided], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)


async def _run(attempting: Attempting, lane: Lane) -> HeadwaterError | None:
    try:
        failure = await attempting(lane)
        if failure is None:
            lane.whole()
        return failure
    finally:
        lane.leave()


def _worst(failures: Sequence[HeadwaterError | None]) -> HeadwaterError | None:
    """The first that forbids to ask anybody else, or the last."""
    return next((each for each in failures if each is not None and not deserves_fallback(each)), failures[-1])


async def _end(tasks: Sequence[asyncio.Task[HeadwaterError | None]]) -> None:
    running = [task for task in tasks if not task.done()]
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running, timeout=_LET_GO_S)
    for task in tasks:
        task.add_done_callback(_forget)


def _forget(task: asyncio.Task[HeadwaterError | None]) -> None:
    """The loser's exception is nobody's business."""
    if not task.cancelled():
        task.exception()


class Lane:
    """The `Writer` (and `Control`) of one attempt in a race: keeps what it gets until the attempt has won."""

    def __init__(self, race: Race) -> None:
        self.waits = False
        self._race = race
        self._kept: list[Event] = []
        self._watch: Watch | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def fold(self) -> Fold:
        return self._race.writer.fold

    @property
    def control(self) -> Control:
        return self

    def write(self, events: Sequence[Event]) -> bool:
        race = self._race
        if race.winner is self:
            return race.writer.write(events)
        if race.winner is not None:
            raise StreamEnded("another attempt was faster")
        for event in events:
            if type(event) is Status:  # where one waits is true of either
                race.writer.write([event])
            else:
                self._kept.append(event)
        if not any(type(event) in CONTENT_TYPES or type(event) is Done for event in events):
            return True
        return self._win()

    def whole(self) -> None:
        """The attempt returned: an answer without any content is one, too."""
        if self._race.winner is None:
            self._win()

    def _win(self) -> bool:
        race = self._race
        race.won(self)
        self._stop_timer()
        race.writer.control.watch(self._watch)
        kept, self._kept = self._kept, []
        return race.writer.write(kept)

    def touch(self) -> None:
        if self._race.winner is self:
            self._race.writer.touch()

    def connected(self) -> None:
        if self._race.winner in (None, self):
            self._race.writer.connected()

    async def drain(self) -> None:
        await self._race.writer.drain()

    def leave(self) -> None:
        """The attempt is over."""
        self._stop_timer()
        self._watch = None
        self._race.lanes.remove(self)
        self._race.lend_slot()

    # `Control`: each attempt is watched by a timer of its own until one has won.

    @property
    def first_content_s(self) -> float | None:
        return self._race.writer.control.first_content_s

    def watch(self, watch: Watch | None) -> None:
        self._stop_timer()
        self._watch = watch
        if self._race.winner is self:
            self._race.writer.control.watch(watch)
        elif watch is not None:
            error = ProviderTimeout(f"no first token within {watch.first_token_timeout_s:g} s")
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(watch.first_token_timeout_s, watch.fire, error)

    def settle(self, settlement: Settlement) -> None:
        self._race.writer.control.settle(settlement)

    def lend_slot(self, lent: bool) -> None:
        self.waits = lent
        self._race.lend_slot()

    async def history(self) -> list[Event]:
        return await self._race.writer.control.history()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

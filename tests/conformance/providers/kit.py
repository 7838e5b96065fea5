"""What the provider tests share: a writer that keeps what it gets, and requests that carry a script."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from headwater.errors import StreamEnded
from headwater.events import Done, Event, encode_segment
from headwater.request import ChatRequest
from headwater.streams.fold import Fold
from headwater.streams.ports import Control, Settlement, Watch
from tests.upstream import prompt


class KeepingWriter:
    """A `Writer` without a log. `capacity` events fit before `write` says to drain; `release` makes room."""

    def __init__(self, *, capacity: int = 1_000_000, held: Sequence[Event] = ()) -> None:
        self.fold = Fold()
        self.events: list[Event] = []
        self.batches: list[list[Event]] = []
        self.touches = 0
        self.connections = 0
        self.drains = 0
        self.ended = False
        self._capacity = capacity
        self.watches: list[Watch | None] = []
        self.lent: list[bool] = []
        self.settlement: Settlement | None = None
        self._held = list(held)
        self._room = asyncio.Event()
        self._changed = asyncio.Event()
        for event in held:
            self.fold.apply(event)

    def write(self, events: Sequence[Event]) -> bool:
        if self.ended:
            raise StreamEnded("the stream has ended")
        assert not any(type(event) is Done for event in self.events), "an event after Done"
        encode_segment(events)  # whatever a provider writes can be stored
        for event in events:
            self.fold.apply(event)
        self.events += events
        self.batches.append(list(events))
        self._changed.set()
        return len(self.events) < self._capacity

    def touch(self) -> None:
        self.touches += 1

    def connected(self) -> None:
        self.connections += 1

    async def drain(self) -> None:
        self.drains += 1
        self._changed.set()
        await self._room.wait()

    # `Control`: what it is told is kept too.

    @property
    def control(self) -> Control:
        return self

    @property
    def first_content_s(self) -> float | None:
        return None

    def watch(self, watch: Watch | None) -> None:
        self.watches.append(watch)

    def settle(self, settlement: Settlement) -> None:
        self.settlement = settlement

    def lend_slot(self, lent: bool) -> None:
        self.lent.append(lent)

    async def history(self) -> list[Event]:
        return [*self._held, *self.events]

    async def until(self, condition: Callable[[KeepingWriter], object]) -> None:
        async with asyncio.timeout(10):
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()

    def release(self) -> None:
        self._capacity = 1_000_000
        self._room.set()

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if type(event) is kind]


def chat(model: str = "fake-1", /, params: dict[str, Any] | None = None, **script: Any) -> ChatRequest:
    return ChatRequest(model, [{"role": "user", "content": prompt(**script)}], params or {})

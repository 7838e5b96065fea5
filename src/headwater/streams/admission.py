"""Admission: how many streams may generate at once, and who waits.

First come, first served, with a bounded queue. A slot always comes back: a `Ticket` is released exactly once
however its stream ends, also while it still waits.
"""

from __future__ import annotations

import asyncio
from collections import deque

from ..errors import QueueFull


class Ticket:
    """The right to generate, now or once `granted` is done."""

    __slots__ = ("_gate", "_released", "granted")

    def __init__(self, gate: Admission) -> None:
        self._gate = gate
        self._released = False
        self.granted: asyncio.Future[None] | None = None

    @property
    def waiting(self) -> bool:
        return self.granted is not None and not self.granted.done()

    @property
    def position(self) -> int:
        """1 for the next in the queue; 0 when granted."""
        return self._gate.position(self) if self.waiting else 0

    def release(self) -> None:
        if not self._released:
            self._released = True
            self._gate.leave(self)


class Admission:
    """At most `max_running` tickets are granted and `max_queued` wait."""

    def __init__(self, max_running: int, max_queued: int) -> None:
        self._max_running = max_running
        self._max_queued = max_queued
        self._queue: deque[Ticket] = deque()
        self.running = 0

    @property
    def queued(self) -> int:
        return len(self._queue)

    def enter(self) -> Ticket:
        """Take a slot or a place in the queue. Raises `QueueFull`."""
        ticket = Ticket(self)
        if self.running < self._max_running and not self._queue:
            self.running += 1
            return ticket
        if len(self._queue) >= self._max_queued:
            raise QueueFull(f"{self.running} streams are running and {len(self._queue)} wait already")
        ticket.granted = asyncio.get_running_loop().create_future()
        self._queue.append(ticket)
        return ticket

    def position(self, ticket: Ticket) -> int:
        return self._queue.index(ticket) + 1

    def leave(self, ticket: Ticket) -> None:
        if ticket.granted is not None and not ticket.granted.done():
            self._queue.remove(ticket)
            ticket.granted.cancel()
            return
        self.running -= 1
        while self._queue and self.running < self._max_running:
            following = self._queue.popleft()
            if following.granted is not None and not following.granted.done():
                self.running += 1
                following.granted.set_result(None)

"""Admission: how many may run at once, how fast they may start, and in which order the others wait.

A slot always comes back: a `Ticket` is released exactly once however its stream ends, also while it still waits
(litellm #27955, #20256; bifrost PR #6802 lost slots of cancelled streams).

The order is a sorted list by a key that never changes: the time of entry, less `ageing_s` for each step of priority.
So a waiting request is overtaken only by what comes within `ageing_s` after it for each step between them: nobody
starves, and nothing has to be sorted again while time passes.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from bisect import bisect_left
from collections.abc import Callable
from operator import attrgetter
from typing import Literal, TypeAlias

from ..errors import QueueFull
from ..request import Priority
from .bucket import Bucket

RANKS: dict[Priority, int] = {"low": 0, "normal": 1, "high": 2}

# Providers measure requests over shorter times than the minute that they name: Azure OpenAI over 1 or 10 seconds,
# OpenAI and Anthropic "may" over one. So requests burst by ten seconds' worth. Tokens are kept for a whole minute, as
# Anthropic's own token bucket does, for one prompt may need most of it.
REQUESTS_BURST_S = 10.0
# Weight of the newest hold time in the smoothed one, and what stands for it until the first slot has come back.
HOLD_WEIGHT = 0.1
UNKNOWN_HOLD_S = 10.0
SHORTEST_RETRY_S, LONGEST_RETRY_S = 1.0, 60.0
# A timer of the loop may be as coarse as this, and ring as much too early.
TIMER_RESOLUTION_S = 0.001

_State: TypeAlias = Literal["waiting", "running", "lent", "left"]
_Order: TypeAlias = tuple[float, int]


class Ticket:
    """The right to run: at once where `granted` is None, else as soon as that is done.

    Release it exactly once, whatever happens; a second release does nothing. Do not await `granted` itself in a task
    that may be cancelled: `queueing.wait_for_slot` is the way to wait.
    """

    __slots__ = ("_gate", "granted", "granted_at", "order", "state", "tokens")

    def __init__(self, gate: Gate, order: _Order, tokens: int) -> None:
        self._gate = gate
        self.order = order
        self.tokens = tokens
        self.state: _State = "waiting"
        self.granted: asyncio.Future[None] | None = None
        self.granted_at = 0.0

    @property
    def waiting(self) -> bool:
        return self.state == "waiting"

    @property
    def position(self) -> int:
        """1 for the next in the queue; 0 for who does not wait (any more). Costs O(log n)."""
        return self._gate.position(self) if self.waiting else 0

    @property
    def queue(self) -> str:
        """Whose slot this is, as `Gate.name`."""
        return self._gate.name

    @property
    def retry_after_s(self) -> float:
        """When one who gives up now should come back, as in `QueueFull`."""
        return self._gate.retry_after_s()

    def lend(self, lent: bool) -> None:
        """While `lent`, the slot is another's; it is taken back without waiting, though all may be taken then.

        Waiting for it would be for what those hold who wait for what this one has meanwhile got.
        """
        if lent and self.state == "running":
            self.state = "lent"
            self._gate.lend()
        elif not lent and self.state == "lent":
            self.state = "running"
            self._gate.running += 1

    def release(self, tokens: int | None = None) -> None:
        """Give the slot, or the place in the queue, back. `tokens`: what was really used; None: as was reserved."""
        state, self.state = self.state, "left"
        if state == "running":
            self._gate.give_back(self, tokens)
        elif state == "waiting" and self.granted is not None:
            self._gate.leave(self)
            self.granted.cancel()


class Gate:
    """At most `max_running` tickets run (0: no bound) and `max_queued` wait; use it in one event loop.

    `name` is whose slots they are, for messages: a provider or a target; empty: the whole server's.
    `requests_per_minute` and `tokens_per_minute` bound how fast tickets are granted (0: no bound). `ageing_s`: how
    much longer than the next higher priority a request may wait for its turn. `longest_retry_s`: how long one may wait
    in the queue, beyond which no caller is told to stay away (60 at most, whatever is given). `clock` gives seconds,
    never backwards.
    """

    def __init__(
        self,
        max_running: int,
        max_queued: int,
        *,
        name: str = "",
        requests_per_minute: int = 0,
        tokens_per_minute: int = 0,
        ageing_s: float = 10.0,
        longest_retry_s: float = LONGEST_RETRY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.running = 0
        self.longest_retry_s = longest_retry_s
        self._max_running = max_running
        self._max_queued = max_queued
        self._ageing_s = ageing_s
        self._clock = clock
        burst = max(requests_per_minute * REQUESTS_BURST_S / 60, 1.0)
        self._requests = Bucket(requests_per_minute, burst=burst, now=clock()) if requests_per_minute else None
        self._tokens = Bucket(tokens_per_minute, burst=tokens_per_minute, now=clock()) if tokens_per_minute else None
        self._queue: list[Ticket] = []
        self._numbers = itertools.count()
        self._hold_s: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def queued(self) -> int:
        return len(self._queue)

    def enter(self, priority: Priority = "normal", tokens: int = 0) -> Ticket:
        """Take a slot, or a place in the queue. `tokens`: an estimate of what it will use, reserved when it is granted.

        Raises `QueueFull`.
        """
        now = self._clock()
        ticket = Ticket(self, (now - RANKS[priority] * self._ageing_s, next(self._numbers)), tokens)
        is_next = not self._queue or ticket.order < self._queue[0].order
        if is_next and not self._wait_s(ticket, now):
            self._admit(ticket, now)
            return ticket
        if len(self._queue) >= self._max_queued:
            raise QueueFull(self._full(), retry_after_s=self.retry_after_s(ticket))
        ticket.granted = asyncio.get_running_loop().create_future()
        self._queue.insert(self._index(ticket), ticket)
        if is_next:
            self._grant()
        return ticket

    def retry_after_s(self, newcomer: Ticket | None = None) -> float:
        """When all who wait (and `newcomer`) could have started, guessed from hold times and rates.

        Between 1 and 60, and not above `longest_retry_s`: a place may be free before the whole queue has gone.
        """
        now = self._clock()
        line = self._queue if newcomer is None else [*self._queue, newcomer]
        wait_s = 0.0
        if self._max_running:
            hold_s = UNKNOWN_HOLD_S if self._hold_s is None else self._hold_s
            wait_s = len(line) * hold_s / self._max_running
        if self._requests is not None:
            wait_s = max(wait_s, self._requests.flow_s(len(line), now))
        if self._tokens is not None:
            wait_s = max(wait_s, self._tokens.flow_s(sum(ticket.tokens for ticket in line), now))
        return max(min(wait_s, self.longest_retry_s, LONGEST_RETRY_S), SHORTEST_RETRY_S)

    # What tickets call.

    def position(self, ticket: Ticket) -> int:
        return self._index(ticket) + 1

    def leave(self, ticket: Ticket) -> None:
        """Out of the queue."""
        index = self._index(ticket)
        del self._queue[index]
        if index == 0:
            self._grant()

    def lend(self) -> None:
        """A slot is free for a while."""
        self.running -= 1
        self._grant()

    def give_back(self, ticket: Ticket, tokens: int | None) -> None:
        """A slot comes back."""
        now = self._clock()
        self.running -= 1
        held_s = now - ticket.granted_at
        self._hold_s = held_s if self._hold_s is None else self._hold_s + HOLD_WEIGHT * (held_s - self._hold_s)
        if self._tokens is not None and tokens is not None:
            self._tokens.take(tokens - ticket.tokens, now)
        self._grant()

    def _full(self) -> str:
        waiting = len(self._queue)
        runs = f"{self.running} request{' is' if self.running == 1 else 's are'} running"
        waits = f"{waiting} wait{'s' if waiting == 1 else ''} already" if waiting else "none may wait"
        return f"the queue of {self.name or 'this server'} is full: {runs} and {waits}"

    def _index(self, ticket: Ticket) -> int:
        return bisect_left(self._queue, ticket.order, key=attrgetter("order"))

    def _wait_s(self, ticket: Ticket, now: float) -> float:
        """0: it may run now; infinite: not before a slot comes back."""
        if self._max_running and self.running >= self._max_running:
            return math.inf
        requests_s = self._requests.wait_s(1, now) if self._requests is not None else 0.0
        tokens_s = self._tokens.wait_s(ticket.tokens, now) if self._tokens is not None else 0.0
        return max(requests_s, tokens_s)

    def _admit(self, ticket: Ticket, now: float) -> None:
        self.running += 1
        ticket.state = "running"
        ticket.granted_at = now
        if self._requests is not None:
            self._requests.take(1, now)
        if self._tokens is not None:
            self._tokens.take(ticket.tokens, now)

    def _grant(self) -> None:
        """Let in who may run now, in order; where the next one waits for a bucket only, come back when it may."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._clock()
        while self._queue:
            head = self._queue[0]
            wait_s = self._wait_s(head, now)
            if wait_s:
                if wait_s < math.inf:
                    delay_s = max(wait_s, TIMER_RESOLUTION_S)
                    self._timer = asyncio.get_running_loop().call_later(delay_s, self._grant)
                return
            del self._queue[0]
            self._hand_to(head, now)

    def _hand_to(self, ticket: Ticket, now: float) -> None:
        if ticket.granted is None or ticket.granted.done():
            # Whoever awaited it was cancelled, and the future with it: the slot is for somebody else.
            ticket.state = "left"
            return
        self._admit(ticket, now)
        ticket.granted.set_result(None)

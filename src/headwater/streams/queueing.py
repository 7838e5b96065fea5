"""Waiting for a slot, in sight of the stream's viewers."""

from __future__ import annotations

import asyncio

from ..errors import QueueTimeout
from ..events import JsonObject, Status
from .admission import Ticket
from .ports import Writer

# How often a waiting stream looks whether its place has changed. Each change is an event that is stored.
LOOK_INTERVAL_S = 1.0


async def wait_for_slot(ticket: Ticket, writer: Writer, *, timeout_s: float, target: JsonObject | None = None) -> None:
    """Return when the ticket is granted. Meanwhile `status` events `queued` tell its `position` (1: the next).

    The place is told at once and again when it has changed, about once a second at most; it grows where a higher
    priority overtakes. `target` is the data of these events: the `provider` and `model` that are to be called, where
    that is decided. Whose slot is waited for, a provider's or only one target's, is in the message.

    Raises `QueueTimeout` after `timeout_s`. Whatever it raises, also when it is cancelled, the caller still holds the
    ticket and releases it.
    """
    granted = ticket.granted
    if granted is None:
        return
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    told = 0
    while not granted.done():
        position = ticket.position
        if position != told:
            writer.write([_queued(ticket, position, target)])
            told = position
        left_s = deadline - loop.time()
        if left_s <= 0:
            raise QueueTimeout(
                f"no slot of {ticket.queue or 'this server'} within {timeout_s:g} s", retry_after_s=ticket.retry_after_s
            )
        await asyncio.wait((granted,), timeout=min(left_s, LOOK_INTERVAL_S))
    # Raises where the ticket was released while this waited.
    granted.result()


def _queued(ticket: Ticket, position: int, target: JsonObject | None) -> Status:
    message = f"waiting for {ticket.queue}" if ticket.queue else ""
    return Status("queued", message, position=position, data=target)

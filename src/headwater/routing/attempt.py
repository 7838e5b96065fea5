"""One attempt at one target: its slots, its watchdogs, its breaker, its entry in the ledger."""

from __future__ import annotations

import asyncio

import msgspec

from ..errors import HeadwaterError, Overloaded, ProviderError, ProviderRejected, ProviderTimeout, ProviderUnreachable
from ..events import JsonObject
from ..request import ChatRequest, Priority, prompt_characters
from ..streams.admission import Ticket
from ..streams.fold import CHARACTERS_PER_TOKEN
from ..streams.ports import Producer, Watch, Writer
from ..streams.queueing import wait_for_slot
from .ledger import Attempt, Ledger
from .retry import blames_target
from .target import Target


class Demand(msgspec.Struct, frozen=True):
    """What a request takes of a gate. `tokens`: of its prompt, and of the longest answer where it names one."""

    priority: Priority
    prompt_tokens: int
    tokens: int


def demand_of(request: ChatRequest) -> Demand:
    prompt_tokens = -(-prompt_characters(request) // CHARACTERS_PER_TOKEN)
    limits = [request.params.get(name) for name in ("max_completion_tokens", "max_tokens")]
    longest = next((limit for limit in limits if isinstance(limit, int)), 0)
    return Demand(request.priority, prompt_tokens, prompt_tokens + max(0, longest))


async def attempt(
    target: Target, producer: Producer, writer: Writer, *, ledger: Ledger, demand: Demand, rejoins: bool = False
) -> HeadwaterError | None:
    """None: the answer is whole. Otherwise the failure, about which the route decides; anything else is raised.

    `rejoins`: the producer goes on with the generation of the attempt before.
    """
    tickets: list[Ticket] = []
    used: int | None = 0
    try:
        try:
            await _enter(target, tickets, writer, demand)
        except Overloaded as error:
            ledger.close(ledger.open(target, writer), "failed", error)
            return error
        entry = ledger.open(target, writer, rejoins=rejoins)
        try:
            return await _call(target, producer, writer, ledger, entry)
        finally:
            used = _used(entry)
    finally:
        for ticket in tickets:
            ticket.release(used)


async def _enter(target: Target, tickets: list[Ticket], writer: Writer, demand: Demand) -> None:
    """Take a slot of each gate. Raises `Overloaded`; whatever it raises, `tickets` has what is to be released."""
    for gate in target.gates:
        ticket = gate.enter(demand.priority, demand.tokens)
        tickets.append(ticket)
        if ticket.granted is None:
            continue
        # One slow upstream's queue must not take all slots of the server from streams of the others.
        writer.control.lend_slot(True)
        try:
            asked: JsonObject = {"provider": target.provider.name, "model": target.model}
            await wait_for_slot(ticket, writer, timeout_s=target.queue_timeout_s, target=asked)
        finally:
            writer.control.lend_slot(False)


def _used(entry: Attempt) -> int | None:
    """Tokens that the target will have counted; None where nobody can tell."""
    if entry.usage is not None:
        return entry.usage.total_tokens
    return 0 if isinstance(entry.error, ProviderRejected | ProviderUnreachable) else None


async def _call(
    target: Target, producer: Producer, writer: Writer, ledger: Ledger, entry: Attempt
) -> HeadwaterError | None:
    breaker = target.breaker
    probe = breaker.begin()
    try:
        await _watched(target, producer, writer)
    except (ProviderError, Overloaded) as error:
        if blames_target(error):
            breaker.fail(probe=probe, retry_after_s=error.retry_after_s)
        else:
            breaker.let_go(probe=probe)
        ledger.close(entry, "failed", error)
        return error
    except asyncio.CancelledError:
        breaker.let_go(probe=probe)
        ledger.close(entry, "cancelled")
        raise
    except BaseException as exc:
        breaker.let_go(probe=probe)
        ledger.close(entry, "failed", exc if isinstance(exc, HeadwaterError) else None)
        raise
    breaker.succeed()
    ledger.close(entry, "done")
    return None


async def _watched(target: Target, producer: Producer, writer: Writer) -> None:
    """Run the producer under the target's own watchdogs. Raises `ProviderTimeout` where one of them fires."""
    fired: list[ProviderTimeout] = []

    def fire(error: ProviderTimeout) -> None:
        error.provider = target.provider.name
        fired.append(error)
        scope.reschedule(0)

    scope = asyncio.timeout(None)
    try:
        async with scope:
            writer.control.watch(Watch(target.first_token_timeout_s, target.idle_timeout_s, fire))
            try:
                await producer.run(writer)
            finally:
                writer.control.watch(None)
    except TimeoutError as exc:
        if not (fired and scope.expired()):
            raise
        # The answer may have become whole between the watchdog's look and the loop's next turn.
        if writer.fold.terminal is None:
            raise fired[0] from exc

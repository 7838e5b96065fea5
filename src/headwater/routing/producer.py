"""One answer from one of several targets: attempts until content comes, and what happens when it breaks off after that.

The first *content* commits the route; lifecycle events before it do not (bifrost #5395, #2917). Before it a failure is
tried again at the same target, then at the next one; after it the answer goes on from where it broke off, or ends with
its typed error. Attempts and spend are bounded (bifrost #7035).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ..errors import HeadwaterError, InputError, Interrupted, StreamEnded
from ..events import JsonObject, Status
from ..providers.ports import Continuation, Held, Provider, SupportsAbandon
from ..request import ChatRequest
from ..streams.fold import Fold
from ..streams.ports import Producer, Writer
from .attempt import attempt, demand_of
from .continuation import EXACT, SEAM_STAGE, continuation_at, held_of, seams_in
from .hedge import Race
from .ledger import Ledger
from .retry import deserves_fallback
from .seam import Seam, SeamWriter
from .target import Target

if TYPE_CHECKING:
    from .route import Policy


_log = logging.getLogger(__name__)


class RoutedProducer:
    """See `streams.ports.Producer`. `targets` in the order in which they are tried; `first` is made for the first."""

    def __init__(self, request: ChatRequest, targets: Sequence[Target], policy: Policy, first: Producer) -> None:
        self._request = request
        self._targets = targets
        self._policy = policy
        self._first = first

    async def run(self, writer: Writer) -> None:
        await _Journey(self._request, self._targets, self._policy, self._first, writer).run()


class _Next(NamedTuple):
    """Where an answer goes on, after `delay_s`."""

    target: Target
    found: Continuation
    delay_s: float


class _Journey:
    """The state of one run. `_serving` is the target that was asked last, or has won."""

    def __init__(
        self, request: ChatRequest, targets: Sequence[Target], policy: Policy, first: Producer, writer: Writer
    ) -> None:
        self._request = request
        self._policy = policy
        self._writer = writer
        self._candidates = _Candidates(request, targets, first)
        self._targets = list(targets)
        self._serving: Target | None = None
        self._asked: Producer | None = None
        self._seams = 0
        demand = demand_of(request)
        self._ledger = Ledger(
            writer.fold, demand.prompt_tokens, asyncio.get_running_loop().time, control=writer.control
        )
        self._attempt = partial(attempt, ledger=self._ledger, demand=demand)
        writer.control.settle(self._ledger)
        writer.control.watch(None)

    async def run(self) -> None:
        fold = self._writer.fold
        try:
            if fold.has_content:
                error: HeadwaterError | None = Interrupted("The server stopped while this answer was being generated.")
            else:
                error = await self._reattach() if fold.served else await self._begin()
            while error is not None:
                if not fold.has_content:
                    raise error
                error = await self._go_on(error)
        except BaseException as exc:
            if not handed_over(exc, fold):
                self._abandon()
            raise

    # ------------------------------------------------------------------ before the first content

    async def _reattach(self) -> HeadwaterError | None:
        """A stream that was taken up may have a generation under way that can be asked for again; else it begins."""
        held = held_of(await self._writer.control.history(), position=None, interrupted=True)
        error: HeadwaterError | None = None
        for target in self._targets:
            found = continuation_at(target, self._request, held, opted_in=False)
            if found is None:
                continue
            self._ask(target, found.producer)
            error = await self._attempt(target, found.producer, self._writer, rejoins=True)
            if error is None or self._writer.fold.has_content:
                return error
        return await self._begin(error)

    async def _begin(self, last: HeadwaterError | None = None) -> HeadwaterError | None:
        """None: the answer is whole. Otherwise the last failure, also of an answer that broke off after content.

        `last`: why the generation of an earlier process is given up.
        """
        for target, producer in self._candidates:
            if last is not None:
                self._abandon()
                self._tell("fallback", target, last)
            last = await self._try(target, producer)
            if last is None or self._writer.fold.has_content:
                break
            if not deserves_fallback(last) or self._exhausted:
                break
        return last

    async def _try(self, target: Target, producer: Producer) -> HeadwaterError | None:
        """Up to `policy.attempts` calls of one target; just one of a target that is ill."""
        number = 1
        while True:
            error = await self._once(target, producer)
            if error is None or self._writer.fold.has_content:
                return error
            delay_s = self._policy.retry.delay_s(number, error)
            if delay_s is None or number >= self._policy.attempts or self._exhausted or target.breaker.refuses:
                return error
            self._abandon()
            self._tell("retrying", target, error)
            await self._policy.retry.sleep(delay_s)
            producer = target.provider.producer(self._request, target.model)
            number += 1

    async def _once(self, target: Target, producer: Producer) -> HeadwaterError | None:
        self._ask(target, producer)
        hedge_after_s = self._policy.hedge_after_s
        rival = self._rival()
        if hedge_after_s is None or rival is None:
            return await self._attempt(target, producer, self._writer)
        return await Race(self._writer, self._won).run(
            partial(self._attempt, target, producer),
            partial(self._attempt, *rival),
            after_s=hedge_after_s,
            on_hedge=partial(self._hedge, rival[0]),
        )

    def _rival(self) -> tuple[Target, Producer] | None:
        """Who is asked as well where the first target takes its time: once, and only who is well.

        Never for an answer of the background, whose loser would go on.
        """
        if self._ledger.count or self._policy.max_attempts < 2 or self._request.params.get("background"):
            return None
        other = self._candidates.peek() if self._policy.hedge_after_s is not None else None
        return None if other is None or other[0].breaker.refuses else other

    def _hedge(self, target: Target) -> None:
        next(self._candidates)
        self._writer.write([Status("hedging", f"also asking {target.name}", data=_place(target))])

    def _won(self, lane: Writer) -> None:
        self._serving = self._ledger.won(lane)

    # ------------------------------------------------------------------ after it

    async def _go_on(self, error: HeadwaterError) -> HeadwaterError | None:
        """One continuation. Its failure is returned; where it gave nothing, still the one that broke the answer off.

        Raises `error` where none can or may be made.
        """
        if not (isinstance(error, Interrupted) or deserves_fallback(error)):
            raise error
        history = await self._writer.control.history()
        self._seams = max(self._seams, seams_in(history))
        if self._seams >= self._policy.max_continuations or self._exhausted:
            raise error
        position: int | None = getattr(self._asked, "position", None)  # see `providers.ports.Positioned`
        held = held_of(history, position=position, interrupted=isinstance(error, Interrupted))
        coming = self._next(error, held)
        if coming is None:
            raise error
        self._seams += 1
        if coming.delay_s:
            await self._policy.retry.sleep(coming.delay_s)
        seam: JsonObject = {"after_characters": len(held.text)}
        if coming.found.exact:
            seam[EXACT] = True
        self._tell(SEAM_STAGE, coming.target, error, seam)
        before = self._writer.fold.content_events
        failure = await self._continue(coming.target, coming.found, held)
        if failure is None or self._writer.fold.content_events != before:
            return failure
        # The others first, next time; one that cannot do it at all, not again.
        self._targets = [other for other in self._targets if other is not coming.target]
        if deserves_fallback(failure):
            self._targets.append(coming.target)
        return error

    def _next(self, error: HeadwaterError, held: Held) -> _Next | None:
        """The target that broke off is only asked again after a while, and if its error allows it."""
        for target in sorted(self._targets, key=lambda target: target.breaker.refuses):
            delay_s: float | None = 0.0
            if target is self._serving and not isinstance(error, Interrupted):
                delay_s = self._policy.retry.delay_s(self._seams + 1, error)
            if delay_s is None:
                continue
            found = continuation_at(target, self._request, held, opted_in=self._policy.continue_answers)
            if found is not None:
                return _Next(target, found, delay_s)
        return None

    async def _continue(self, target: Target, found: Continuation, held: Held) -> HeadwaterError | None:
        self._ask(target, found.producer)
        if found.exact:
            return await self._attempt(target, found.producer, self._writer, rejoins=True)
        writer = SeamWriter(self._writer, Seam(held.text, echoes=found.echoes), self._ledger.carried)
        failure = await self._attempt(target, found.producer, writer)
        if failure is None:
            writer.finish()
        return failure

    # ------------------------------------------------------------------ both

    @property
    def _exhausted(self) -> bool:
        policy, ledger = self._policy, self._ledger
        return ledger.count >= policy.max_attempts or (policy.max_cost is not None and ledger.spent >= policy.max_cost)

    def _ask(self, target: Target, producer: Producer) -> None:
        self._serving = target
        self._asked = producer

    def _abandon(self) -> None:
        """Nobody will ask again for what the last target may still be generating (open-webui #1567)."""
        if self._serving is not None:
            abandon([self._serving.provider], self._writer.fold)

    def _tell(self, stage: str, target: Target, error: HeadwaterError, more: JsonObject | None = None) -> None:
        """Why and where the next attempt is made: for viewers, and for the operator."""
        _log.info("%s: %s at %s: %s: %s", self._request.model, stage, target.name, error.code, error.message)
        data = {**_place(target), "reason": error.code, **(more or {})}
        self._writer.write([Status(stage, error.message, attempt=self._ledger.count + 1, data=data)])


def handed_over(exc: BaseException, fold: Fold) -> bool:
    """A stream that another process takes up has no end: its generation goes on upstream, to be asked for again."""
    return isinstance(exc, asyncio.CancelledError | StreamEnded) and fold.terminal is None


def abandon(providers: Iterable[Provider], fold: Fold) -> None:
    """What the stream's generation may still be doing at one of `providers` is not wanted any more."""
    for provider in providers:
        if fold.served and isinstance(provider, SupportsAbandon):
            provider.abandon(fold.served)


def _place(target: Target) -> dict[str, object]:
    return {"provider": target.provider.name, "model": target.model}


class _Candidates:
    """Targets with their producers, made when their turn comes; those that cannot take the request are passed over."""

    def __init__(self, request: ChatRequest, targets: Sequence[Target], first: Producer) -> None:
        self._request = request
        self._rest = iter(targets[1:])
        self._next: tuple[Target, Producer] | None = (targets[0], first)

    def __iter__(self) -> Iterator[tuple[Target, Producer]]:
        return self

    def __next__(self) -> tuple[Target, Producer]:
        found = self.peek()
        if found is None:
            raise StopIteration
        self._next = None
        return found

    def peek(self) -> tuple[Target, Producer] | None:
        while self._next is None:
            target = next(self._rest, None)
            if target is None:
                return None
            try:
                self._next = target, target.provider.producer(self._request, target.model)
            except InputError:
                # Another target could take it, so what is wrong is between this one and the request.
                continue
        return self._next

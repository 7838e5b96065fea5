"""What the attempts at one answer were, what they used and what they cost: the stream's last metadata event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import msgspec

from ..errors import HeadwaterError, ProviderError
from ..events import Done, Error, JsonObject, Terminal, Usage
from ..streams.fold import Fold
from ..streams.ports import Control, Writer
from ..tables import Price
from .seam import sum_usage
from .target import Target

Outcome: TypeAlias = Literal["done", "failed", "cancelled", "lost"]

_PER_MILLION = 1_000_000
NOTHING = Usage(0, 0)


def cost_of(usage: Usage, price: Price) -> float:
    """In the price's currency. Reasoning tokens are part of the completion, cached ones of the prompt."""
    cached = min(usage.cached_tokens, usage.prompt_tokens)
    cached_price = price.input if price.cached_input is None else price.cached_input
    tokens = (
        (usage.prompt_tokens - cached) * price.input + cached * cached_price + usage.completion_tokens * price.output
    )
    return tokens / _PER_MILLION + price.request


class Attempt:
    """One call of one target. Times are seconds of the loop's clock; `usage` is its own part of the stream's."""

    __slots__ = ("began_s", "ended_s", "ending", "error", "held", "outcome", "target", "usage", "writer")

    def __init__(self, target: Target, writer: Writer, began_s: float, held: tuple[int, int]) -> None:
        self.target = target
        self.writer = writer
        self.began_s = began_s
        self.held = held
        self.ended_s: float | None = None
        self.outcome: Outcome | None = None
        self.error: HeadwaterError | None = None
        # The stream's own end, where that is what ended it.
        self.ending: Error | None = None
        self.usage: Usage | None = None


class Ledger:
    """The `Settlement` of a routed stream."""

    def __init__(self, fold: Fold, prompt_tokens: int, now: Callable[[], float], *, control: Control) -> None:
        self._fold = fold
        self._prompt_tokens = prompt_tokens
        self._now = now
        self._began_s = now()
        self._control = control
        # A stream that an earlier process began: what it used is in no ledger, and nobody knows at what price.
        self._settled = False
        told = self._take_told()
        self._inherited = (told or self._part(prompt_tokens, (0, 0))) if fold.has_content else None
        self._attempts: list[Attempt] = []

    @property
    def count(self) -> int:
        """Attempts so far, by this process."""
        return len(self._attempts)

    @property
    def carried(self) -> Usage:
        """What attempts that gave a part of the answer used, before the one under way."""
        total = NOTHING if self._inherited is None else self._inherited
        for attempt in self._attempts:
            if attempt.usage is not None:
                total = sum_usage(total, attempt.usage)
        return total

    @property
    def spent(self) -> float:
        return sum(self._cost(attempt) or 0.0 for attempt in self._attempts)

    def open(self, target: Target, writer: Writer, *, rejoins: bool = False) -> Attempt:
        """`writer` tells attempts of a race apart. `rejoins`: it goes on with the generation before, which is one."""
        attempt = Attempt(target, writer, self._now(), self._given)
        if rejoins:
            attempt.held = self._take_back()
        self._attempts.append(attempt)
        return attempt

    def _take_back(self) -> tuple[int, int]:
        """What was held when the newest generation began: its usage will be told, or estimated, as one."""
        for earlier in reversed(self._attempts):
            if earlier.usage is not None:
                earlier.usage = None
                return earlier.held
        if self._inherited is None:
            return self._given
        self._inherited = None
        return (0, 0)

    def close(self, attempt: Attempt, outcome: Outcome, error: HeadwaterError | None = None) -> None:
        """An attempt that failed in the answer's middle has used what it gave, as far as that can be told."""
        if attempt.outcome is not None:
            return
        attempt.outcome, attempt.error, attempt.ended_s = outcome, error, self._now()
        if outcome == "done":
            return
        told = self._take_told()
        if self._has_given(attempt):
            attempt.usage = self._estimate(attempt) if told is None else _without(told, self.carried)

    def won(self, writer: Writer) -> Target:
        """A race is decided: the others have lost, before they gave anything. The winner's target."""
        winner = next(attempt for attempt in self._attempts if attempt.writer is writer)
        for attempt in self._attempts:
            if attempt is not winner:
                self.close(attempt, "lost")
        return winner.target

    def _take_told(self) -> Usage | None:
        """Usage that came before its answer broke off. It is not the whole stream's, which is still to be told."""
        fold = self._fold
        if self._settled or fold.terminal is not None:
            return None
        told, fold.usage = fold.usage, None
        return told

    @property
    def _given(self) -> tuple[int, int]:
        """Characters of the answer and of thinking, so far."""
        return self._fold.content_characters, self._fold.reasoning_characters

    def _has_given(self, attempt: Attempt) -> bool:
        return attempt.held != self._given

    def _estimate(self, attempt: Attempt) -> Usage:
        # The text that it went on from was part of its prompt.
        held = Fold()
        held.content_characters = attempt.held[0]
        return self._part(self._prompt_tokens + held.estimated_usage(0).completion_tokens, attempt.held)

    def _part(self, prompt_tokens: int, held: tuple[int, int]) -> Usage:
        """Estimated usage of a generation that began with so much of the answer there."""
        part = Fold()
        part.content_characters, part.reasoning_characters = (
            now - before for now, before in zip(self._given, held, strict=True)
        )
        return msgspec.structs.replace(part.estimated_usage(0), prompt_tokens=prompt_tokens)

    # ------------------------------------------------------------------ Settlement

    def usage(self, estimated: Usage) -> Usage:
        for attempt in self._attempts:
            if attempt.outcome is None:
                attempt.usage = self._estimate(attempt)
        carried = self.carried
        return carried if carried is not NOTHING else estimated

    def facts(self, usage: Usage, terminal: Terminal) -> JsonObject:
        # What is told from now on is the whole stream's, also while the attempt under way is closed.
        self._settled = True
        self._settle_last(usage, terminal)
        facts: JsonObject = {"attempts": [self._fact(attempt) for attempt in self._attempts]}
        first_content_s = self._control.first_content_s
        if first_content_s is not None:
            facts["first_token_ms"] = _milliseconds(first_content_s - self._began_s)
        facts["duration_ms"] = _milliseconds(self._now() - self._began_s)
        cost = self._cost_fact()
        if cost is not None:
            facts["cost"] = cost
        return facts

    def _settle_last(self, usage: Usage, terminal: Terminal) -> None:
        """The attempt under way ends with the stream; its part is what the others have not used."""
        done = isinstance(terminal, Done) and terminal.reason != "cancelled"
        for attempt in self._attempts:
            if attempt.outcome is None:
                if attempt.usage is None:
                    attempt.usage = _without(usage, self.carried)
                attempt.ending = terminal if isinstance(terminal, Error) else None
                self.close(attempt, "done" if done else "cancelled" if isinstance(terminal, Done) else "failed")

    def _fact(self, attempt: Attempt) -> JsonObject:
        target = attempt.target
        ended_s = self._now() if attempt.ended_s is None else attempt.ended_s
        fact: JsonObject = {
            "provider": target.provider.name,
            "model": target.model,
            "outcome": attempt.outcome,
            "began_ms": _milliseconds(attempt.began_s - self._began_s),
            "duration_ms": _milliseconds(ended_s - attempt.began_s),
        }
        if attempt.error is not None:
            fact["reason"] = attempt.error.code
            fact["message"] = attempt.error.message
            if isinstance(attempt.error, ProviderError):
                fact["status"] = attempt.error.http_status
        elif attempt.ending is not None:
            fact["reason"], fact["message"] = attempt.ending.reason, attempt.ending.message
        if attempt.usage is not None:
            fact["prompt_tokens"] = attempt.usage.prompt_tokens
            fact["completion_tokens"] = attempt.usage.completion_tokens
            cost = self._cost(attempt)
            if cost is not None:
                fact["cost"] = _rounded(cost)
        return fact

    def _cost(self, attempt: Attempt) -> float | None:
        price = attempt.target.price
        if price is None:
            return None
        return 0.0 if attempt.usage is None else cost_of(attempt.usage, price)

    def _cost_fact(self) -> JsonObject | None:
        """None where a part of the answer came from a target without a price, or in several currencies."""
        used = [attempt for attempt in self._attempts if attempt.usage is not None]
        prices = [attempt.target.price for attempt in used]
        currencies = {price.currency for price in prices if price is not None}
        if None in prices or len(currencies) != 1 or self._inherited is not None:
            return None
        exact = all(attempt.usage.source == "exact" for attempt in used if attempt.usage is not None)
        return {
            "amount": _rounded(self.spent),
            "currency": currencies.pop(),
            "source": "exact" if exact else "estimated",
        }


def _without(total: Usage, part: Usage) -> Usage:
    if part is NOTHING:
        return total
    return msgspec.structs.replace(
        total,
        prompt_tokens=max(0, total.prompt_tokens - part.prompt_tokens),
        completion_tokens=max(0, total.completion_tokens - part.completion_tokens),
        reasoning_tokens=max(0, total.reasoning_tokens - part.reasoning_tokens),
        cached_tokens=max(0, total.cached_tokens - part.cached_tokens),
    )


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _rounded(amount: float) -> float:
    return round(amount, 10)

"""A target at run time: a provider and a model, with the gates, the breaker, the watchdogs and the price that apply."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias

import msgspec

from ..providers.ports import Provider
from ..streams.admission import Gate
from ..tables import Limits, Price
from .breaker import Breaker, State

# Names of models come from callers where a provider takes any: what they leave behind must be bounded.
_MAX_BREAKERS = 1000

_Bounds: TypeAlias = tuple[int, int, int, int]
_WORST_FIRST: tuple[State, ...] = ("open", "half_open", "closed")


class TargetSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Defaults for what a target's own table leaves open. Seconds."""

    first_token_timeout_s: float = 120.0
    idle_timeout_s: float = 60.0
    queue_timeout_s: float = 30.0
    breaker_failures: int = 5
    breaker_open_s: float = 10.0
    priority_ageing_s: float = 10.0


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """`model`: the provider's own name. Slots of all `gates` are taken, in their order.

    The target's own comes before its provider's: who waits for one target must not hold a slot that others could use.
    """

    provider: Provider
    model: str
    breaker: Breaker
    gates: tuple[Gate, ...] = ()
    weight: float = 0.0
    price: Price | None = None
    first_token_timeout_s: float = 120.0
    idle_timeout_s: float = 60.0
    queue_timeout_s: float = 30.0

    @property
    def name(self) -> str:
        """As people read it."""
        return _named(self.provider.name, self.model)


class Health(NamedTuple):
    """`circuit`: the worst of its models'; `running`, `queued`: its calls under way, and those that wait for it."""

    provider: str
    circuit: State
    running: int
    queued: int


class Upstreams:
    """The state that outlives requests and routes: one gate a provider, one gate a target, one breaker a model."""

    def __init__(self, settings: TargetSettings, *, now: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self._now = now
        self._breakers: dict[tuple[str, str], Breaker] = {}
        self._gates: dict[tuple[str, ...], tuple[_Bounds, Gate]] = {}

    @property
    def breakers(self) -> dict[tuple[str, str], Breaker]:
        """By provider and model."""
        return self._breakers

    @property
    def running(self) -> int:
        """Slots taken now, over all gates."""
        return sum(gate.running for _, gate in self._gates.values())

    def health(self, provider: str) -> Health:
        """How a provider is, by the calls that were made of it."""
        states = {breaker.state for (name, _), breaker in self._breakers.items() if name == provider}
        worst: State = next((state for state in _WORST_FIRST if state in states), "closed")
        _, gate = self._gates.get((provider,), (None, None))
        return Health(provider, worst, gate.running if gate is not None else 0, gate.queued if gate is not None else 0)

    def target(
        self,
        provider: Provider,
        model: str,
        *,
        provider_limits: Limits,
        own: Limits | None = None,
        route: str = "",
        weight: float = 0.0,
        price: Price | None = None,
    ) -> Target:
        """`own`: the limits of this target in `route`; what they leave open is the provider's, then the settings'."""
        settings = self.settings
        given = [limits for limits in (own, provider_limits) if limits is not None]
        queue_timeout_s = _first([x.queue_timeout_s for x in given], settings.queue_timeout_s)
        shared_s = _first([provider_limits.queue_timeout_s], settings.queue_timeout_s)
        gates = [self._gate((provider.name,), provider_limits, shared_s)]
        if own is not None:
            gates.insert(0, self._gate((provider.name, model, route), own, queue_timeout_s))
        return Target(
            provider=provider,
            model=model,
            breaker=self._breaker(provider.name, model),
            gates=tuple(gates),
            weight=weight,
            price=price,
            first_token_timeout_s=_first([x.first_token_timeout_s for x in given], settings.first_token_timeout_s),
            idle_timeout_s=_first([x.idle_timeout_s for x in given], settings.idle_timeout_s),
            queue_timeout_s=queue_timeout_s,
        )

    def _breaker(self, provider: str, model: str) -> Breaker:
        breaker = self._breakers.get((provider, model))
        if breaker is None:
            if len(self._breakers) >= _MAX_BREAKERS:
                self._forget_breakers()
            settings = self.settings
            breaker = Breaker(
                failures=settings.breaker_failures,
                open_s=settings.breaker_open_s,
                now=self._now,
                name=f"{provider}/{model}",
            )
            self._breakers[provider, model] = breaker
        return breaker

    def _forget_breakers(self) -> None:
        """Those that do nothing; where there are none, the oldest half."""
        kept = {key: known for key, known in self._breakers.items() if known.state != "closed"}
        if len(kept) >= _MAX_BREAKERS:
            kept = dict(list(kept.items())[_MAX_BREAKERS // 2 :])
        self._breakers = kept

    def forget(self, route: str, *, but: Iterable[Target] = ()) -> None:
        """The route's targets are gone, `but` these, and with them their gates; who runs there gives back unseen."""
        kept = {(target.provider.name, target.model) for target in but}
        self._gates = {
            key: known for key, known in self._gates.items() if len(key) == 1 or key[2] != route or key[:2] in kept
        }

    def _gate(self, key: tuple[str, ...], limits: Limits, queue_timeout_s: float) -> Gate:
        """One that limits nothing still counts. Changed limits get a new gate; who runs gives back to the old."""
        bounds = _bounds(limits)
        known = self._gates.get(key)
        if known is not None and known[0] == bounds:
            known[1].longest_retry_s = queue_timeout_s
            return known[1]
        gate = Gate(
            limits.max_concurrent,
            limits.max_queued,
            name=_named(*key[:2]),
            requests_per_minute=limits.requests_per_minute,
            tokens_per_minute=limits.tokens_per_minute,
            ageing_s=self.settings.priority_ageing_s,
            longest_retry_s=queue_timeout_s,
        )
        self._gates[key] = bounds, gate
        return gate


def _named(provider: str, model: str = "") -> str:
    """`openai/gpt-4o`, though the provider's own name of the model may begin with its own, or only `openai`."""
    return f"{provider}/{model.removeprefix(f'{provider}/')}" if model else provider


def _bounds(limits: Limits) -> _Bounds:
    """What a gate is made from: a new weight or price must not forget who runs, nor fill the buckets again."""
    return limits.max_concurrent, limits.max_queued, limits.requests_per_minute, limits.tokens_per_minute


def _first(values: list[float | None], default: float) -> float:
    return next((value for value in values if value is not None), default)

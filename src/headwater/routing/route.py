"""A public model name and the targets behind it, with the rules for failures. `producer` is the way in."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import msgspec

from ..errors import UnsupportedField
from ..request import ChatRequest
from ..streams.ports import Producer
from .producer import RoutedProducer
from .retry import RetryPolicy
from .target import Target


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """See `tables.RouteTable`, whose fields these are. `attempts`: of one target."""

    fallback: bool = True
    attempts: int = 3
    max_attempts: int = 6
    max_cost: float | None = None
    hedge_after_s: float | None = None
    continue_answers: bool = False
    max_continuations: int = 2
    retry: RetryPolicy = RetryPolicy()


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """`model` is the public name."""

    model: str
    targets: Sequence[Target]
    policy: Policy = Policy()
    draw: Callable[[], float] = random.random

    @property
    def provider_name(self) -> str:
        """Of the target that is meant to answer; the stream's metadata tells which one did."""
        return self.targets[0].provider.name

    def producer(self, request: ChatRequest) -> Producer:
        """Raises the `InputError` of a request that none of the targets in question can take."""
        targets = self.plan(fallback=request.fallback and self.policy.fallback)
        refusal: UnsupportedField | None = None
        for at, target in enumerate(targets):
            try:
                first = target.provider.producer(request, target.model)
            except UnsupportedField as exc:
                refusal = refusal or exc
                continue
            return RoutedProducer(request, targets[at:], self.policy, first)
        assert refusal is not None  # noqa: S101 - a route has at least one target
        raise refusal

    def plan(self, *, fallback: bool) -> list[Target]:
        """The targets in the order in which they are tried: a weighted draw, then as listed, the ill ones last.

        Without `fallback` one of those that are meant to answer, though it may be ill.
        """
        ill = [target for target in self.targets if target.breaker.refuses]
        well = [target for target in self.targets if not _has(ill, target)]
        meant = [target for target in self.targets if target.weight > 0] or self.targets[:1]
        meant_and_well = [target for target in meant if not _has(ill, target)]
        if not fallback:
            return [self._drawn(meant_and_well or meant)]
        first = self._drawn(meant_and_well or well or meant)
        return [first] + [target for target in well + ill if target is not first]

    def _drawn(self, targets: Sequence[Target]) -> Target:
        total = sum(target.weight for target in targets)
        left = self.draw() * total
        for target in targets:
            left -= target.weight
            if left < 0:
                return target
        return targets[0]


def _has(targets: Sequence[Target], target: Target) -> bool:
    return any(each is target for each in targets)

"""The plan: who is asked first, and who next."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import UnknownModel, UnsupportedField
from headwater.request import ChatRequest
from headwater.routing import Policy, Route, Target, TargetSettings
from headwater.routing.target import Upstreams
from headwater.streams.ports import Producer

from .kit import Acting, Clock, hang, target

REQUEST = ChatRequest("best", [])


def targets(*weights: float, ill: str = "", clock: Clock | None = None) -> list[Target]:
    """Named a, b, c …; those of `ill` have an open breaker."""
    upstreams = Upstreams(TargetSettings(breaker_failures=1), now=clock or Clock())
    made = [target(Acting("abcdef"[at], hang), "m", upstreams, weight=weight) for at, weight in enumerate(weights)]
    for each in made:
        if each.provider.name in ill:
            each.breaker.fail(probe=each.breaker.begin())
    return made


def names(route: Route, *, fallback: bool = True) -> str:
    return "".join(target.provider.name for target in route.plan(fallback=fallback))


def route(made: list[Target], draw: float = 0.0) -> Route:
    return Route(model="best", targets=made, draw=lambda: draw)


@pytest.mark.parametrize(
    ("weights", "ill", "draw", "plan", "alone"),
    [
        ((1, 0, 0), "", 0.9, "abc", "a"),
        ((1, 0, 0), "a", 0.0, "bca", "a"),  # ill: the others first; but alone it is what was asked for
        ((1, 1, 0), "a", 0.0, "bca", "b"),
        ((1, 1, 0), "ab", 0.0, "cab", "a"),
        ((1, 3, 0), "", 0.24, "abc", "a"),
        ((1, 3, 0), "", 0.26, "bac", "b"),
        ((1, 1, 1), "abc", 0.5, "bac", "b"),
        ((1, 1, 1), "b", 0.0, "acb", "a"),
        ((0, 0), "", 0.5, "ab", "a"),
    ],
)
def test_plans(weights: tuple[float, ...], ill: str, draw: float, plan: str, alone: str) -> None:
    made = route(targets(*weights, ill=ill), draw)
    assert names(made) == plan
    assert names(made, fallback=False) == alone


@given(st.lists(st.floats(0, 100), min_size=1, max_size=6).filter(any), st.floats(0, 1, exclude_max=True))
def test_every_target_has_one_place_and_only_weights_come_first(weights: list[float], draw: float) -> None:
    plan = route(targets(*weights), draw).plan(fallback=True)
    assert sorted(target.provider.name for target in plan) == list("abcdef"[: len(weights)])
    assert plan[0].weight > 0


def test_weights_are_shares() -> None:
    made = targets(1, 3)
    first = Counter(names(route(made, number / 100))[0] for number in range(100))
    assert first == {"a": 25, "b": 75}


def test_a_breaker_whose_time_comes_meanwhile_loses_nobody() -> None:
    clock = Clock()
    made = targets(1, 0, ill="a", clock=clock)

    class Ticking(Clock):
        def __call__(self) -> float:
            clock.now += 4
            return clock.now

    made[0].breaker._now = Ticking()
    for _ in range(10):
        assert sorted(names(route(made))) == ["a", "b"]


class Refusing(Acting):
    def producer(self, request: ChatRequest, model: str) -> Producer:
        raise UnsupportedField(f"{self.name} cannot take n", param="n")


def test_one_that_cannot_take_the_request_is_passed_over() -> None:
    able = Acting("c", hang)
    made = [target(Refusing("a", hang), weight=1.0), target(Refusing("b", hang)), target(able)]
    route(made).producer(REQUEST)
    assert able.models_asked == ["m"]


@pytest.mark.parametrize("request_fallback", [True, False])
def test_without_fallback_its_refusal_is_the_answer(request_fallback: bool) -> None:
    """`disable_fallbacks` ignored: litellm #19077."""
    able = Acting("b", hang)
    made = Route(
        model="best",
        targets=[target(Refusing("a", hang), weight=1.0), target(able)],
        policy=Policy(fallback=not request_fallback),
    )
    with pytest.raises(UnsupportedField, match="a cannot"):
        made.producer(ChatRequest("best", [], fallback=request_fallback))
    assert able.models_asked == []


def test_what_is_wrong_everywhere_ends_at_once() -> None:
    class Wrong(Acting):
        def producer(self, request: ChatRequest, model: str) -> Producer:
            raise UnknownModel("no such recording")

    with pytest.raises(UnknownModel):
        route([target(Wrong("a", hang), weight=1.0), target(Acting("b", hang))]).producer(REQUEST)


def test_the_provider_is_that_of_the_first_target() -> None:
    assert route(targets(0, 1)).provider_name == "a"

"""What a target is made of, and what of it outlives the request."""

from __future__ import annotations

import pytest

from headwater.routing import TargetSettings
from headwater.routing import target as module
from headwater.routing.target import Upstreams
from headwater.tables import Limits
from headwater.tables import Target as TargetTable

from .kit import Acting, Clock, hang, target

A = Acting("a", hang)


def test_limits_come_from_the_target_then_its_provider_then_the_settings() -> None:
    upstreams = Upstreams(TargetSettings(first_token_timeout_s=1, idle_timeout_s=2, queue_timeout_s=3))
    own = TargetTable(provider="a", first_token_timeout_s=10)
    made = target(A, "m", upstreams, limits=Limits(first_token_timeout_s=20, idle_timeout_s=30), own=own, route="r")
    assert (made.first_token_timeout_s, made.idle_timeout_s, made.queue_timeout_s) == (10, 30, 3)
    assert len(made.gates) == 2


def test_gates_are_shared_and_the_targets_own_comes_first() -> None:
    """Who waits for one target must not hold a slot of its provider, which others could use."""
    upstreams = Upstreams(TargetSettings())
    limits = Limits(max_concurrent=5)
    own = TargetTable(provider="a", max_concurrent=1)
    first = target(A, "m", upstreams, limits=limits, own=own, route="r")
    again = target(A, "m", upstreams, limits=limits, own=own, route="r")
    other = target(A, "n", upstreams, limits=limits)
    assert len(first.gates) == 2
    assert again.gates == first.gates
    assert other.gates == first.gates[1:]
    first.gates[0].enter()
    assert upstreams.running == 1


def test_gates_are_named_and_know_how_long_one_may_wait() -> None:
    upstreams = Upstreams(TargetSettings(queue_timeout_s=3))
    own = TargetTable(provider="a", max_concurrent=1, queue_timeout_s=12)
    gates = target(A, "m", upstreams, own=own, route="r").gates
    assert [(gate.name, gate.longest_retry_s) for gate in gates] == [("a/m", 12), ("a", 3)]
    patient = TargetTable(provider="a", max_concurrent=1)
    assert target(A, "m", upstreams, limits=Limits(queue_timeout_s=9), own=patient, route="r").gates == gates
    assert [gate.longest_retry_s for gate in gates] == [9, 9]


def test_a_gate_without_limits_counts() -> None:
    """What an operator looks at first is how much runs where."""
    upstreams = Upstreams(TargetSettings())
    (gate,) = target(A, "m", upstreams).gates
    assert [gate.enter().waiting for _ in range(100)] == [False] * 100
    assert (gate.running, upstreams.running) == (100, 100)


def test_a_changed_table_gets_a_new_gate() -> None:
    upstreams = Upstreams(TargetSettings())
    before = target(A, "m", upstreams, own=TargetTable(provider="a", max_concurrent=1), route="r")
    after = target(A, "m", upstreams, own=TargetTable(provider="a", max_concurrent=2), route="r")
    assert before.gates != after.gates


def test_a_route_that_is_gone_leaves_no_gate() -> None:
    upstreams = Upstreams(TargetSettings())
    limits, own = Limits(max_concurrent=5), TargetTable(provider="a", max_concurrent=1)
    for route in ("r", "kept"):
        for gate in target(A, "m", upstreams, limits=limits, own=own, route=route).gates:
            gate.enter()
    upstreams.forget("r")
    assert upstreams.running == 2 + 1


def test_the_name() -> None:
    assert target(A, "m").name == "a/m"
    assert target(A, "a/m").name == "a/m"


def test_one_breaker_a_model() -> None:
    upstreams = Upstreams(TargetSettings(breaker_failures=1))
    assert target(A, "m", upstreams).breaker is target(A, "m", upstreams).breaker
    assert target(A, "n", upstreams).breaker is not target(A, "m", upstreams).breaker
    assert set(upstreams.breakers) == {("a", "m"), ("a", "n")}


def test_names_that_callers_make_up_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_BREAKERS", 4)
    upstreams = Upstreams(TargetSettings(breaker_failures=1), now=Clock())
    ill = target(A, "ill", upstreams).breaker
    ill.fail(probe=ill.begin())
    for number in range(20):
        target(A, f"m{number}", upstreams)
        assert len(upstreams.breakers) <= 4
    assert target(A, "ill", upstreams).breaker is ill


def test_also_where_all_of_them_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_BREAKERS", 4)
    upstreams = Upstreams(TargetSettings(breaker_failures=1), now=Clock())
    for number in range(20):
        breaker = target(A, f"m{number}", upstreams).breaker
        breaker.fail(probe=breaker.begin())
        assert len(upstreams.breakers) <= 4


def test_a_new_weight_keeps_the_gate() -> None:
    """Whoever shifts traffic from one target to another must not double what they are asked for."""
    upstreams = Upstreams(TargetSettings())
    before, after = (
        target(A, "m", upstreams, own=TargetTable(provider="a", max_concurrent=1, weight=weight), route="r")
        for weight in (1, 2)
    )
    assert before.gates == after.gates


def test_targets_that_a_route_has_no_more_leave_no_gate() -> None:
    upstreams = Upstreams(TargetSettings())
    own = TargetTable(provider="a", max_concurrent=1)
    kept = target(A, "m", upstreams, own=own, route="r")
    for each in (kept, target(A, "n", upstreams, own=own, route="r")):
        each.gates[0].enter()
    upstreams.forget("r", but=[kept])
    assert upstreams.running == 1

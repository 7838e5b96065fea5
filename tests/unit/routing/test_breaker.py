"""The circuit breaker: its table, its probe, and that it never gets stuck."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headwater.routing.breaker import Breaker

from .kit import Clock


def breaker(clock: Clock, failures: int = 3) -> Breaker:
    return Breaker(failures=failures, open_s=10.0, now=clock)


def broken(clock: Clock) -> Breaker:
    made = breaker(clock)
    for _ in range(3):
        made.fail(probe=made.begin())
    return made


def test_it_opens_after_failures_in_a_row() -> None:
    made = breaker(Clock())
    for _ in range(2):
        made.fail(probe=made.begin())
    made.begin()
    made.succeed()
    for _ in range(2):
        made.fail(probe=made.begin())
    assert (made.state, made.refuses) == ("closed", False)
    made.fail(probe=made.begin())
    assert (made.state, made.refuses) == ("open", True)


def test_one_probe_closes_it() -> None:
    clock = Clock()
    made = broken(clock)
    assert not made.begin()
    clock.now += 10
    assert (made.state, made.refuses) == ("half_open", False)
    assert made.begin()
    assert made.refuses
    assert not made.begin()
    made.succeed()
    assert (made.state, made.refuses) == ("closed", False)


def test_each_failed_probe_doubles_the_pause_up_to_a_bound() -> None:
    clock = Clock()
    made = broken(clock)
    pauses = []
    for _ in range(7):
        began = clock.now
        while made.state == "open":
            clock.now += 10
        pauses.append(clock.now - began)
        made.fail(probe=made.begin())
    assert pauses == [10, 20, 40, 80, 160, 300, 300]


def test_requests_that_were_under_way_do_not_lengthen_the_pause() -> None:
    """Twenty that fail together are one failure, not twenty in a row."""
    clock = Clock()
    made = breaker(clock)
    probes = [made.begin() for _ in range(20)]
    for probe in probes:
        made.fail(probe=probe)
    clock.now += 10
    assert made.state == "half_open"


def test_a_cancelled_probe_makes_room_for_another() -> None:
    clock = Clock()
    made = broken(clock)
    clock.now += 10
    probe = made.begin()
    made.let_go(probe=False)  # a request from before, which ends now
    assert made.refuses
    made.let_go(probe=probe)
    assert not made.refuses
    assert made.begin()


def test_a_probe_of_many_minutes_does_not_keep_the_target_closed() -> None:
    clock = Clock()
    made = broken(clock)
    clock.now += 10
    assert made.begin()
    clock.now += 10
    assert not made.refuses
    assert made.begin()


def test_the_targets_own_pause_counts_up_to_a_bound() -> None:
    clock = Clock()
    made = breaker(clock, failures=1)
    made.fail(probe=made.begin(), retry_after_s=25)
    clock.now += 24
    assert made.state == "open"
    clock.now += 1
    made.fail(probe=made.begin(), retry_after_s=1e9)
    clock.now += 300
    assert made.state == "half_open"


def test_zero_switches_it_off() -> None:
    made = breaker(Clock(), failures=0)
    for _ in range(100):
        made.fail(probe=made.begin())
    assert made.state == "closed"


def test_a_probe_that_fails_after_another_success_is_an_ordinary_failure() -> None:
    clock = Clock()
    made = broken(clock)
    clock.now += 10
    probe = made.begin()
    made.succeed()
    made.fail(probe=probe)
    assert made.state == "closed"


class Machine(RuleBasedStateMachine):
    """Against a plain model: which states can follow which, and that requests can always get through again."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.breaker = breaker(self.clock)
        self.under_way: list[bool] = []

    @rule()
    def begin(self) -> None:
        refused = self.breaker.refuses
        state = self.breaker.state
        probe = self.breaker.begin()
        assert probe == (state == "half_open" and not refused)
        self.under_way.append(probe)

    @precondition(lambda self: self.under_way)
    @rule(at=st.integers(0, 99), how=st.sampled_from(["succeed", "fail", "let_go"]))
    def end(self, at: int, how: str) -> None:
        probe = self.under_way.pop(at % len(self.under_way))
        before = self.breaker.state
        if how == "succeed":
            self.breaker.succeed()
            assert self.breaker.state == "closed"
        elif how == "fail":
            self.breaker.fail(probe=probe)
            assert before == "closed" or probe or self.breaker.state == before
        else:
            self.breaker.let_go(probe=probe)
            assert self.breaker.state == before

    @rule(seconds=st.floats(0, 400))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def lets_one_through_after_the_longest_pause(self) -> None:
        now = self.clock.now
        self.clock.now += 300
        assert not self.breaker.refuses
        self.clock.now = now


TestMachine = Machine.TestCase


@given(st.integers(1, 6))
def test_it_opens_at_its_number(failures: int) -> None:
    made = breaker(Clock(), failures)
    states = []
    for _ in range(failures):
        states.append(made.state)
        made.fail(probe=made.begin())
    assert states == ["closed"] * failures
    assert made.state == "open"


def test_the_operator_is_told_when_it_opens_and_when_it_closes(caplog: pytest.LogCaptureFixture) -> None:
    breaker = Breaker(failures=2, open_s=10, now=lambda: 0.0, name="openai/m")
    for _ in range(5):
        breaker.fail(probe=False)
    breaker.succeed()
    breaker.succeed()
    assert [record.getMessage() for record in caplog.records] == [
        "openai/m failed 2 times in a row: others are preferred for 10 s",
        "openai/m answers again",
    ]

"""The watchdog of one attempt, on a clock of the test's."""

from __future__ import annotations

import pytest

from headwater.errors import ProviderTimeout
from headwater.streams.ports import Watch
from headwater.streams.watchdog import Watchdog


class Stream:
    """A watched stream."""

    def __init__(self, content_events: int = 0) -> None:
        self.alive = False
        self.congested = False
        self.content_events = content_events
        self.fired: list[ProviderTimeout] = []

    def dog(self) -> Watchdog:
        return Watchdog(Watch(10.0, 3.0, self.fired.append), self, 100.0)

    def say(self) -> None:
        self.alive = True
        self.content_events += 1


def test_a_first_token_that_never_comes() -> None:
    stream = Stream()
    dog = stream.dog()
    for now in range(100, 110):
        stream.alive = True  # comments are life, but no content
        dog.sweep(now)
    assert stream.fired == []
    dog.sweep(110)
    assert [error.message for error in stream.fired] == ["no first token within 10 s"]


def test_it_fires_once() -> None:
    stream = Stream()
    dog = stream.dog()
    dog.sweep(200)
    dog.sweep(300)
    assert len(stream.fired) == 1


def test_silence_counts_from_the_last_sign_of_life() -> None:
    """No inter-token time-out: tensorzero #6328. Comments reset it: mattermost-plugin-agents #985."""
    stream = Stream()
    dog = stream.dog()
    stream.say()
    dog.sweep(101)
    dog.sweep(103.9)
    stream.alive = True
    dog.sweep(104)
    dog.sweep(106.9)
    assert stream.fired == []
    dog.sweep(107)
    assert [error.message for error in stream.fired] == ["the provider was silent for 3 s"]


def test_thinking_silence_before_the_first_content_is_no_silence() -> None:
    """60 s of it kill thinking models: litellm #34374."""
    stream = Stream()
    dog = stream.dog()
    dog.sweep(109.9)
    assert stream.fired == []


def test_an_attempt_that_goes_on_awaits_content_of_its_own() -> None:
    stream = Stream(content_events=50)
    dog = stream.dog()
    dog.sweep(109)
    assert stream.fired == []
    stream.say()
    dog.sweep(109.5)
    dog.sweep(112)
    assert stream.fired == []
    dog.sweep(112.5)
    assert len(stream.fired) == 1


@pytest.mark.parametrize("congested", [True, False])
def test_while_the_log_is_slow_the_silence_is_ours(congested: bool) -> None:
    stream = Stream()
    dog = stream.dog()
    stream.say()
    dog.sweep(101)
    stream.congested = congested
    dog.sweep(200)
    assert bool(stream.fired) != congested
    stream.congested = False
    dog.sweep(202.9)
    assert bool(stream.fired) != congested

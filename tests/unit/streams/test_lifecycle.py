"""The transition table: every life ends, nothing follows an end."""

from __future__ import annotations

from typing import get_args

import pytest

from headwater.streams.lifecycle import ENDED, INITIAL, TRANSITIONS, InvalidTransition, Signal, Status, step

ALL: frozenset[Status] = frozenset(get_args(Status))


def _reachable(start: Status) -> set[Status]:
    found: set[Status] = set()
    todo = [start]
    while todo:
        status = todo.pop()
        found.add(status)
        todo += [to for (source, _), to in TRANSITIONS.items() if source == status and to not in found]
    return found


def test_every_status_is_reached_and_named() -> None:
    assert _reachable(INITIAL) == ALL
    assert {status for status, _ in TRANSITIONS} | set(TRANSITIONS.values()) == ALL


@pytest.mark.parametrize("status", sorted(ALL - ENDED))
def test_a_live_stream_can_always_fail_be_cancelled_and_be_taken_up(status: Status) -> None:
    """A crash must not leave `streaming` for ever (LibreChat PR #15532; cloudflare/agents #1485)."""
    assert step(status, Signal.FAIL) == "failed"
    assert step(status, Signal.CANCEL) == "cancelled"
    assert step(status, Signal.CRASH) == "recovering"


@pytest.mark.parametrize("status", sorted(ENDED))
@pytest.mark.parametrize("signal", Signal)
def test_nothing_follows_an_end(status: Status, signal: Signal) -> None:
    with pytest.raises(InvalidTransition, match=f"{signal.name} in {status}"):
        step(status, signal)


@pytest.mark.parametrize("status", sorted(ALL - {"connecting", "streaming"}))
def test_an_answer_is_only_whole_where_one_was_asked_for(status: Status) -> None:
    with pytest.raises(InvalidTransition):
        step(status, Signal.FINISH)

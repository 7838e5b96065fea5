"""Calls by provider and model: the conventions' buckets, whose gaps they are, and how many names there may be."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from headwater.telemetry.bucket import OTHER
from headwater.telemetry.calls import MAX_ERRORS, SECONDS, TOKENS, Calls, Gaps, Histogram, Place, count_call, place_of
from headwater.telemetry.sketch import Sketch


def sketch_of(values: Sequence[float]) -> Sketch:
    sketch = Sketch()
    sketch.add_all(values)
    return sketch


HERE, THERE = Place("a", "m"), Place("b", "n")


def test_buckets_are_those_that_the_conventions_recommend() -> None:
    assert pytest.approx([0.01 * 2**power for power in range(14)]) == SECONDS
    assert [4**power for power in range(14)] == list(TOKENS)


def test_a_value_at_a_bound_is_in_its_bucket() -> None:
    histogram = Histogram(SECONDS)
    values = [0.0, 0.01, 0.0100001, 81.92, 82.0]
    for value in values:
        histogram.add(value)
    assert (histogram.counts[:2], histogram.counts[-2:], histogram.count) == ([2, 1], [1, 1], 5)
    assert histogram.total == pytest.approx(sum(values))


def test_a_sketch_is_spread_over_the_buckets() -> None:
    values = [0.0, 0.005, 0.015, 0.03, 0.03, 5.0, 80.0, 90.0, 1000.0]
    ours, theirs = Histogram(SECONDS), Histogram(SECONDS)
    for value in values * 2:
        ours.add(value)
    theirs.add_sketch(sketch_of(values))
    theirs.add_sketch(Sketch())
    theirs.add_sketch(sketch_of(values))
    assert theirs.counts == ours.counts
    assert theirs.total == pytest.approx(ours.total)


def test_names_are_bounded() -> None:
    calls = Calls(2)
    for number in range(5):
        calls.of(Place("a", f"m{number}")).first_chunk.add(1.0)
    calls.of(Place("a", "m0")).first_chunk.add(1.0)
    told = {place: figures.first_chunk.count for place, figures in calls.by_place.items()}
    assert told == {Place("a", "m0"): 2, Place("a", "m1"): 1, Place(OTHER, OTHER): 3}
    figures = calls.of(Place("a", "m0"))
    for number in range(MAX_ERRORS + 5):
        figures.duration(f"e{number}").add(1.0)
    assert (len(figures.durations), figures.duration("unheard").count) == (MAX_ERRORS + 1, 5)


def test_gaps_are_the_speakers_until_another_call_goes_on() -> None:
    calls, gaps = Calls(10), Gaps()
    gaps.end_call(sketch_of([0.1, 0.1]), then=THERE)
    gaps.end_call(sketch_of([0.2]))
    gaps.end_call(sketch_of([0.4]))
    gaps.settle(calls, HERE)
    assert calls.of(HERE).output_chunk.total == pytest.approx(0.6)
    assert calls.of(THERE).output_chunk.total == pytest.approx(0.2)
    gaps.settle(calls, HERE)
    assert calls.of(HERE).output_chunk.count == 3


def fact(**more: object) -> dict[str, object]:
    return {"provider": "a", "model": "m", "outcome": "done", "duration_ms": 1500.0, **more}


def test_a_call_is_counted_by_how_it_ended() -> None:
    calls = Calls(10)
    count_call(calls, fact(prompt_tokens=7, completion_tokens=11), exact=True)
    count_call(calls, fact(outcome="failed", reason="provider_timeout", prompt_tokens=5), exact=False)
    count_call(calls, fact(outcome="cancelled"), exact=True)
    figures = calls.of(HERE)
    assert {error: one.total for error, one in figures.durations.items()} == {
        "": 1.5, "provider_timeout": 1.5, "cancelled": 1.5,
    }  # fmt: skip
    # Estimated tokens are not reported: the conventions forbid it.
    assert (figures.prompt_tokens.total, figures.completion_tokens.total) == (7, 11)


def test_what_an_application_writes_there_is_left_out() -> None:
    calls = Calls(10)
    for odd in (fact(provider=7), fact(provider=""), fact(model=None), fact(outcome=None)):
        count_call(calls, odd, exact=True)
    assert not calls.by_place
    count_call(calls, fact(duration_ms="long", prompt_tokens="many"), exact=True)
    assert (calls.of(HERE).durations, calls.of(HERE).prompt_tokens.count) == ({}, 0)
    assert place_of({}) is None

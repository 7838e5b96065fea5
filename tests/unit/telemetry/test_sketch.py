"""Quantiles within the stated error, whatever way the values came in."""

from __future__ import annotations

import math
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.telemetry.sketch import _MAPPING, ACCURACY, SHORTEST_S, Sketch, keys_of

durations = st.lists(st.floats(min_value=SHORTEST_S, max_value=86_400), min_size=1, max_size=200)


def sketch_of(values: list[float]) -> Sketch:
    sketch = Sketch()
    sketch.add_all(values)
    return sketch


def true_quantile(values: list[float], quantile: float) -> float:
    """The lower one of two, as the sketch has it."""
    return sorted(values)[math.floor(quantile * (len(values) - 1))]


@given(durations, st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]))
def test_a_quantile_is_within_one_percent(values: list[float], quantile: float) -> None:
    [found] = sketch_of(values).quantiles(quantile)
    assert found == pytest.approx(true_quantile(values, quantile), rel=ACCURACY * 1.001)


@given(durations, durations)
def test_a_merged_sketch_is_that_of_all_values(left: list[float], right: list[float]) -> None:
    merged = sketch_of(left)
    merged.merge(sketch_of(right))
    whole = sketch_of(left + right)
    assert merged.bins == whole.bins
    assert (merged.count, merged.smallest, merged.largest) == (whole.count, whole.smallest, whole.largest)
    assert merged.total == pytest.approx(whole.total)


@given(durations)
def test_a_stored_sketch_is_the_same(values: list[float]) -> None:
    sketch = sketch_of(values)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(sketch), type=Sketch) == sketch


def test_nothing_has_no_quantile_and_no_mean() -> None:
    assert Sketch().quantiles(0.5, 0.99) == [None, None]
    assert (Sketch().mean, Sketch().count) == (None, 0)


def test_what_is_too_short_to_measure_counts_and_is_never_negative() -> None:
    sketch = sketch_of([0.0, 0.0, 0.2])
    assert sketch.count == 3
    assert sketch.quantiles(0.5) == [pytest.approx(SHORTEST_S, rel=0.02)]
    assert sketch.mean == pytest.approx(0.2 / 3)
    assert sketch_of([0.0]).quantiles(0.99) == [0.0]


def test_ten_thousand_values_take_a_few_hundred_keys() -> None:
    rng = random.Random(1)
    sketch = sketch_of([rng.lognormvariate(-3, 0.5) for _ in range(10_000)])
    assert len(sketch.bins) < 300


def test_values_up_to_a_bound_are_within_two_percent_of_it() -> None:
    sketch = Sketch()
    sketch.add_all([0.004, 0.049, 0.0525, 0.2, 7.0])
    assert sketch.count_up_to([0.005, 0.05, 0.5, 1.0]) == [1, 2, 4, 4]
    assert Sketch().count_up_to([0.1]) == [0]


@given(durations)
def test_keys_are_those_of_the_library(values: list[float]) -> None:
    """But for a value at the very bound of two, which either may have."""
    for value, key in zip(values, keys_of(values), strict=True):
        assert key in {_MAPPING.key(value * (1 - 1e-12)), _MAPPING.key(value * (1 + 1e-12))}

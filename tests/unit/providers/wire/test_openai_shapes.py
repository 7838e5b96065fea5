from __future__ import annotations

import pytest

from headwater.events import Usage
from headwater.providers.wire.openai_shapes import failure_of, finish_of, usage_of


def test_details_are_kept_and_counts_taken_from_them() -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 20,
        "total_tokens": 30,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 5},
        "cost": None,
    }
    details = {name: usage[name] for name in ("prompt_tokens_details", "completion_tokens_details")}
    assert usage_of(usage) == Usage(10, 20, reasoning_tokens=5, cached_tokens=4, details=details)


def test_cached_tokens_beside_the_details() -> None:
    usage = usage_of({"prompt_tokens": 10, "completion_tokens": 1, "prompt_cache_hit_tokens": 8})
    assert usage is not None
    assert usage.cached_tokens == 8


@pytest.mark.parametrize("usage", [{}, {"prompt_tokens": None}, {"prompt_tokens": "7"}, {"completion_tokens": -1}])
def test_no_counts_are_no_usage(usage: dict[str, object]) -> None:
    assert usage_of(usage) is None


def test_one_count_is_enough() -> None:
    assert usage_of({"completion_tokens": 3}) == Usage(0, 3)
    assert usage_of({"prompt_tokens": 3, "prompt_tokens_details": None}) == Usage(3, 0)


def test_finish_reasons() -> None:
    """Together's `eos` is a regular stop; a word that nobody knows is one too, and is told."""
    assert [finish_of(word) for word in ("stop", "eos", "model_length")] == [
        ("stop", True),
        ("stop", True),
        ("length", True),
    ]
    assert finish_of("repetition") == ("stop", False)
    assert failure_of("stop") is None
    failure = failure_of("insufficient_system_resource")
    assert failure is not None
    assert (failure.http_status, failure.retryable) == (503, True)

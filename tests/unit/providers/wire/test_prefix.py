from __future__ import annotations

import pytest

from headwater.providers.wire.prefix import beginning, shortened
from headwater.request import ChatRequest


@pytest.mark.parametrize(
    ("begun", "text", "whole"),
    [
        ("", "so far", "so far"),
        ("Once, ", "so far", "Once, so far"),
        ("Once, ", " so far", "Once, so far"),
        ("Once, ", "Once, so far", "Once, so far"),
        ("Once, ", "Once,", "Once,"),
    ],
)
def test_beginnings(begun: str, text: str, whole: str) -> None:
    assert beginning(begun, text) == whole


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, {}),
        ({"max_tokens": 100, "seed": 1}, {"max_tokens": 90, "seed": 1}),
        ({"max_completion_tokens": 100}, {"max_completion_tokens": 90}),
        ({"max_tokens": 5}, {"max_tokens": 1}),
        ({"max_tokens": None}, {"max_tokens": None}),
        ({"max_tokens": "9"}, {"max_tokens": "9"}),
        ({"max_tokens": 0}, {"max_tokens": 0}),
    ],
)
def test_what_was_used_is_taken_off_the_limit(params: dict[str, object], expected: dict[str, object]) -> None:
    assert shortened(ChatRequest("m", [], params), "x" * 40).params == expected

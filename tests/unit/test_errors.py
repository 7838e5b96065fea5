"""Every error carries what a caller needs: a stable code, a status, whether to try again."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from headwater import errors
from headwater.errors import HeadwaterError


def _tree(root: type[HeadwaterError], depth: int = 0) -> Iterator[tuple[int, type[HeadwaterError]]]:
    yield depth, root
    for child in root.__subclasses__():
        yield from _tree(child, depth + 1)


OURS = [cls for _, cls in _tree(HeadwaterError) if cls.__module__ == errors.__name__]


def test_codes_are_unique_and_stable_words() -> None:
    codes = [cls.code for cls in OURS]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z][a-z_]+", code) for code in codes)


def test_the_docstring_draws_the_tree_as_it_is() -> None:
    """The page that people read first must not lie about a class or its status."""
    assert errors.__doc__ is not None
    drawn = {}
    for line in errors.__doc__.splitlines():
        if match := re.match(r"    ([│├└─ ]*)(\w+)( +(\d{3}|4xx/5xx|—))?", line):
            drawn[match[2]] = (len(match[1]) // 4, match[4])
    actual = {cls.__name__: depth for depth, cls in _tree(HeadwaterError) if cls in OURS}
    assert {name: depth for name, (depth, _) in drawn.items()} == actual
    for name, (_, status) in drawn.items():
        if status is not None and status.isdecimal():
            assert getattr(errors, name).http_status == int(status), name


def test_the_message_is_the_text() -> None:
    error = errors.LogUnavailable("disk full")
    assert (str(error), error.message) == ("disk full", "disk full")
    assert error.retryable


def test_an_input_error_names_its_field() -> None:
    error = errors.UnknownModel("no such model", param="model")
    assert (error.param, error.http_status, error.retryable) == ("model", 404, False)


def test_overload_hints_when_to_come_back() -> None:
    assert errors.QueueFull("full").retry_after_s == 1.0
    assert errors.ShuttingDown("bye", retry_after_s=20).retry_after_s == 20


def test_a_provider_error_keeps_its_provider() -> None:
    error = errors.ProviderTimeout("slow", provider="local", retry_after_s=3)
    assert (error.provider, error.retry_after_s, error.http_status, error.retryable) == ("local", 3, 504, True)


@pytest.mark.parametrize(
    ("status", "kept", "retryable"),
    [
        *((400, 400, False), (401, 401, False), (408, 408, True), (409, 409, True), (425, 425, True), (429, 429, True)),
        *((500, 500, True), (503, 503, True), (599, 599, True), (200, 502, True), (302, 502, True), (600, 502, True)),
    ],
)
def test_a_rejection_keeps_the_upstreams_status(status: int, kept: int, retryable: bool) -> None:
    error = errors.ProviderRejected("no", status=status, provider="p", upstream_code="quota", param="model")
    assert (error.http_status, error.retryable) == (kept, retryable)
    assert (error.upstream_code, error.param, error.provider) == ("quota", "model", "p")


def test_a_conflict_says_both_positions_or_why() -> None:
    error = errors.SeqConflict(4, 7)
    assert (error.expected, error.actual) == (4, 7)
    assert "4" in error.message
    assert "7" in error.message
    assert errors.SeqConflict(4, 7, "the stream has ended").message == "the stream has ended"


def test_client_side_errors_carry_the_servers_reason() -> None:
    assert errors.StreamReset("epoch_changed").reason == "epoch_changed"
    assert errors.StreamFailed("it broke", reason="provider_timeout").reason == "provider_timeout"


@pytest.mark.parametrize(
    ("status", "kept", "retryable"),
    [(404, 404, False), (429, 429, True), (503, 503, True), (200, 500, False), (500, 500, False)],
)
def test_an_answer_that_is_not_ours(status: int, kept: int, retryable: bool) -> None:
    error = errors.UnexpectedAnswer("HTML", status=status)
    assert (error.http_status, error.retryable) == (kept, retryable)

"""Error answers become the leaves that the server raised."""

from __future__ import annotations

import json

import pytest

from headwater.client.refusals import refusal
from headwater.errors import (
    AccessError,
    AdminRequired,
    BodyTooLarge,
    HeadwaterError,
    IdempotencyMismatch,
    InputError,
    LogUnavailable,
    OriginRefused,
    Overloaded,
    ProviderRejected,
    ProviderTimeout,
    QueueFull,
    RouteFixed,
    RouteNotKept,
    ShuttingDown,
    StreamStillRunning,
    UnexpectedAnswer,
    UnknownModel,
    UnknownRoute,
    UnknownStream,
    UnsupportedField,
)


def body(code: str | int | None, message: str = "because", param: str | None = None) -> bytes:
    return json.dumps({"error": {"message": message, "type": "x", "code": code, "param": param}}).encode()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InputError),
        (401, AccessError),
        (400, UnsupportedField),
        (403, OriginRefused),
        (403, AdminRequired),
        (404, UnknownModel),
        (404, UnknownRoute),
        (409, RouteFixed),
        (503, RouteNotKept),
        (404, UnknownStream),
        (409, StreamStillRunning),
        (413, BodyTooLarge),
        (422, IdempotencyMismatch),
        (429, QueueFull),
        (503, ShuttingDown),
        (503, LogUnavailable),
        (504, ProviderTimeout),
    ],
)
def test_the_code_decides(status: int, kind: type[HeadwaterError]) -> None:
    error = refusal(status, {}, body(kind.code))
    assert type(error) is kind
    assert (error.message, error.http_status) == ("because", status)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InputError),
        (401, AccessError),
        (403, AccessError),
        (404, UnexpectedAnswer),
        (413, BodyTooLarge),
        (422, InputError),
        (429, Overloaded),
        (500, UnexpectedAnswer),
        (502, UnexpectedAnswer),
        (503, Overloaded),
        (302, UnexpectedAnswer),
    ],
)
@pytest.mark.parametrize("said", [b"<html>Bad gateway", b"", b'{"error": "text"}', b"\xff", b'{"error":{}}', body(7)])
def test_without_a_code_of_ours_the_status_decides(status: int, kind: type[HeadwaterError], said: bytes) -> None:
    """What a proxy in front answers is typed too."""
    error = refusal(status, {}, said)
    assert type(error) is kind
    assert error.http_status == status


def test_a_bare_answer_names_its_status() -> None:
    assert refusal(502, {}, b"").message == "the server answered with HTTP status 502"


def test_the_field_at_fault_is_kept() -> None:
    assert refusal(400, {}, body("invalid_request", param="messages")).param == "messages"


def test_a_provider_s_refusal_keeps_its_status() -> None:
    error = refusal(418, {}, body("provider_rejected", param="n"))
    assert isinstance(error, ProviderRejected)
    assert (error.http_status, error.param, error.retryable) == (418, "n", False)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("0", 0.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 1.0), ("-1", 1.0), ("9" * 400, 1.0)],
)
def test_retry_after_in_seconds(header: str, seconds: float) -> None:
    """Anything else leaves the error's own default."""
    assert refusal(503, {"retry-after": header}, body("shutting_down")).retry_after_s == seconds

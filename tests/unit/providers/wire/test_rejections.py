from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headwater.errors import ProviderRejected
from headwater.providers.wire.rejections import is_error_object, rejection, rejection_in_band, retry_after_s

OPENAI = {"error": {"message": "Too long.", "type": "invalid_request_error", "param": "messages", "code": "long"}}


def refused(
    status: int = 400, body: Any = b"", headers: dict[str, str] | None = None, secret: str = ""
) -> ProviderRejected:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return rejection(status, headers or {}, raw, secret=secret, now_s=1_000_000_000.0)


@pytest.mark.parametrize(
    ("body", "message", "code", "param"),
    [
        (OPENAI, "Too long.", "long", "messages"),
        ([OPENAI], "Too long.", "long", "messages"),
        ({"error": {"message": "x", "type": "server_error", "code": None, "param": 7}}, "x", "server_error", None),
        ({"error": "plain"}, "plain", None, None),
        ({"error": {"code": 503, "message": "m", "status": "UNAVAILABLE"}}, "m", "UNAVAILABLE", None),
        (
            {"object": "error", "message": "vllm", "type": "BadRequestError", "code": 400},
            "vllm",
            "BadRequestError",
            None,
        ),
        ({"detail": "Not Found"}, "Not Found", None, None),
        ({"detail": {"message": "inner"}}, "inner", None, None),
        (
            {"detail": [{"loc": ["body", "n"], "msg": "too big"}, {"msg": "bad"}, "?"]},
            "body.n: too big; bad",
            None,
            None,
        ),
        (
            {
                "object": "error",
                "message": {"detail": [{"loc": ["body", "n"], "msg": "bad"}]},
                "type": "t",
                "code": None,
            },
            "body.n: bad",
            "t",
            None,
        ),
        ({"error_type": "context_length_exceeded", "error_message": "m"}, "m", "context_length_exceeded", None),
        (
            {
                "error": {
                    "code": 502,
                    "message": "m",
                    "metadata": {"error_type": "provider_unavailable", "raw": "Busy."},
                }
            },
            "m: Busy.",
            "provider_unavailable",
            None,
        ),
        ({"error": {"message": "m", "metadata": {"raw": '{"error":{"message":"Busy."}}'}}}, "m: Busy.", None, None),
        ({"error": {"message": "m", "metadata": {"raw": 7}}}, "m", None, None),
        ({"error": {"message": "m", "metadata": "?"}}, "m", None, None),
        ("just text", "just text", None, None),
        (b"upstream connect error", "upstream connect error", None, None),
    ],
)
def test_shapes(body: Any, message: str, code: str | None, param: str | None) -> None:
    error = refused(422, body)
    assert (error.message, error.upstream_code, error.param, error.http_status) == (message, code, param, 422)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"5",
        b'{"error":{}}',
        b'{"error":{"message":5}}',
        b'{"detail":5}',
        b"\x1f\x8b\x08\0\xff",
        b"[" * 99_999,
    ],
)
def test_without_a_message_the_status_speaks(body: bytes) -> None:
    message = refused(503, body).message
    assert message == "the provider answered with HTTP status 503" or body.startswith(b"[[")


def test_html_is_reduced_to_its_title_or_text() -> None:
    page = b"<html><head><title>502 Bad&amp;Gateway</title></head><body>cloud</body></html>"
    assert refused(502, page, {"content-type": "text/html"}).message == "502 Bad&Gateway"
    page = b"\n <!DOCTYPE html><!-- x --><script>alert(1)</script><style>p{}</style><p>Please\n <b>wait</b></p>"
    assert refused(502, page).message == "Please wait"


def test_messages_are_one_short_line() -> None:
    message = refused(500, b"a\nb\t" + b"c" * 1000).message
    assert message.startswith("a b ccc")
    assert len(message) == 500
    assert message.endswith("…")


@pytest.mark.parametrize(
    "echo",
    [
        "Incorrect API key provided: sk-live-abcdefgh.",
        "Incorrect API key provided: sk-li**************efgh.",
        "Invalid header: Authorization: Bearer sk-live-abcdefgh",
        "hf_live_abcdefgh is not allowed, nor is sk-live-abcdefgh",
        "bad key ab****gh",
    ],
)
@pytest.mark.parametrize("status", [400, 401, 403, 500])
def test_our_key_does_not_leak(status: int, echo: str) -> None:
    """Providers echo the key, whole or half masked; a stream's error is shown to any caller."""
    error = refused(status, {"error": {"message": echo}}, secret="sk-live-abcdefgh")
    assert "abcdefgh" not in error.message.replace("hf_live_abcdefgh", "")
    assert "efgh" not in error.message.replace("hf_live_abcdefgh", "")
    assert "****" not in error.message
    in_band = rejection_in_band({"message": echo}, secret="sk-live-abcdefgh")
    assert "sk-live" not in in_band.message


def test_a_key_without_the_look_of_one_does_not_leak_either() -> None:
    secret = "correct horse battery staple"
    error = refused(403, {"detail": f"project {secret} may not"}, secret=secret)
    assert error.message == "project *** may not"
    assert rejection_in_band(f"{secret} !", secret=secret).message == "*** !"


def test_a_401_without_a_key_of_ours_says_what_it_said() -> None:
    assert refused(401, {"error": "log in first"}).message == "log in first"
    assert refused(401, {"error": "log in first"}, secret="k").message == "the provider refused the configured API key"


@pytest.mark.parametrize(
    ("status", "headers", "body", "retryable"),
    [
        (400, {}, OPENAI, False),
        (404, {}, OPENAI, False),
        (408, {}, OPENAI, True),
        (409, {}, OPENAI, True),
        (429, {}, OPENAI, True),
        (429, {}, {"error": {"message": "m", "code": "insufficient_quota"}}, False),
        (500, {}, OPENAI, True),
        (503, {"x-should-retry": "false"}, OPENAI, False),
        (400, {"x-should-retry": "true"}, OPENAI, True),
        (302, {}, b"Found", False),
    ],
)
def test_what_may_be_retried(status: int, headers: dict[str, str], body: Any, retryable: bool) -> None:
    assert refused(status, body, headers).retryable is retryable


def test_a_redirect_is_no_answer() -> None:
    error = refused(301, b"<a href='https://elsewhere'>Moved</a>")
    assert error.http_status == 502
    assert "base URL" in error.message


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "7", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "7", "retry-after-ms": "x"}, 7.0),
        ({"retry-after": "Sun, 09 Sep 2001 01:46:50 GMT"}, 10.0),
        ({"retry-after": "Sun, 09 Sep 2001 01:46:30 GMT"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, now_s=1_000_000_000.0) == seconds
    assert refused(429, OPENAI, headers).retry_after_s == seconds


@pytest.mark.parametrize(
    ("value", "status", "retryable"),
    [
        ({"message": "m", "code": 429}, 429, True),
        ({"message": "m", "code": "rate_limit_exceeded"}, 429, True),
        ({"message": "m", "type": "invalid_request_error"}, 400, False),
        ({"message": "m", "code": "insufficient_quota"}, 429, False),
        ({"message": "m", "code": "model_not_found", "type": "invalid_request_error"}, 404, False),
        ({"message": "m", "code": "tool_use_failed", "status_code": 400}, 400, False),
        ({"message": "m", "code": "tool_use_failed", "type": "invalid_request_error"}, 400, False),
        ({"error_message": "m", "error_type": "overloaded_error"}, 503, True),
        ({"message": "m", "code": 42}, 502, True),
        ("m", 502, True),
    ],
)
def test_errors_inside_a_200_get_the_status_they_mean(value: object, status: int, retryable: bool) -> None:
    error = rejection_in_band(value, secret="")
    assert (error.message, error.http_status, error.retryable) == ("m", status, retryable)


def test_an_error_inside_a_200_without_a_message() -> None:
    assert "without a message" in rejection_in_band({"oops": 1}, secret="").message


@pytest.mark.parametrize(
    "value",
    [
        OPENAI,
        [OPENAI],
        {"error": "x"},
        {"detail": "x"},
        {"object": "error"},
        {"message": "x", "code": 1},
        {"error_message": "x"},
    ],
)
def test_error_objects(value: object) -> None:
    assert is_error_object(value)


@pytest.mark.parametrize(
    "value", [None, [], [1], "error", {}, {"error": None}, {"message": "x"}, {"message": 1, "code": 1}]
)
def test_other_objects(value: object) -> None:
    assert not is_error_object(value)

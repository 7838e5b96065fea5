"""What Google's error model adds to an error: when to come back, and that a 400 was about the key.

`{"error": {"code", "message", "status", "details": [{"@type": "type.googleapis.com/google.rpc.…"}]}}`, alone or in an
array, as an HTTP error or in the stream (https://google.aip.dev/193, google/rpc/error_details.proto). Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus

import msgspec

from ...errors import ProviderRejected
from ...events import JsonObject
from .rejections import rejection, rejection_in_band

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s", re.ASCII)
_BAD_KEY = "API_KEY_INVALID"


def gemini_rejection(
    status: int, headers: Mapping[str, str], body: bytes, *, secret: str, now_s: float
) -> ProviderRejected:
    """The error of an HTTP status. Google answers a wrong key with 400; here it is the 401 that it means."""
    details = _details(_decoded(body))
    bad_key = status == HTTPStatus.BAD_REQUEST and _is_bad_key(details)
    error = rejection(HTTPStatus.UNAUTHORIZED if bad_key else status, headers, body, secret=secret, now_s=now_s)
    return _completed(error, details)


def gemini_rejection_in_band(value: object, *, secret: str) -> ProviderRejected:
    """The error of an error object inside a 200."""
    details = _details(value)
    error = rejection_in_band(value, secret=secret)
    if error.http_status == HTTPStatus.BAD_REQUEST and _is_bad_key(details):
        error = ProviderRejected("the provider refused the configured API key", status=HTTPStatus.UNAUTHORIZED)
    return _completed(error, details)


def _completed(error: ProviderRejected, details: list[JsonObject]) -> ProviderRejected:
    if error.http_status == HTTPStatus.UNAUTHORIZED and _is_bad_key(details):
        error.upstream_code = _BAD_KEY
    for detail in details:
        delay = detail.get("retryDelay")
        match = _DURATION.fullmatch(delay) if isinstance(delay, str) else None
        if match is not None and error.retry_after_s is None:
            error.retry_after_s = float(match[1])
        if _is_daily(detail):
            error.retryable = False
    return error


def _is_bad_key(details: list[JsonObject]) -> bool:
    return any(detail.get("reason") == _BAD_KEY for detail in details)


def _is_daily(detail: JsonObject) -> bool:
    """A quota of a day: `GenerateRequestsPerDayPerProjectPerModel`. No wait that a stream can afford cures it."""
    violations = detail.get("violations")
    return isinstance(violations, list) and any(
        isinstance(item, dict) and "PerDay" in str(item.get("quotaId")) for item in violations
    )


def _details(value: object) -> list[JsonObject]:
    if isinstance(value, list) and value:
        value = value[0]
    inner = value.get("error", value) if isinstance(value, dict) else None
    details = inner.get("details") if isinstance(inner, dict) else None
    return [detail for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []


def _decoded(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None

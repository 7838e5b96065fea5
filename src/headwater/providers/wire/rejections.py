"""What providers say when they refuse, in every shape that is found in the field, as one typed error.

Shapes: OpenAI's `{"error": {"message", "type", "param", "code"}}`, a plain `{"error": "…"}` (Ollama), FastAPI's
`{"detail": "…" | [{"loc", "msg"}]}` (which Mistral puts under `message`), vLLM's `{"object": "error", "message",
"code"}`, a gateway's `{"error_type", "error_message"}`, plain text, and the HTML page of a gateway in between. Pure;
the caller's key never gets into a message.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TypeGuard

import msgspec

from ...errors import ProviderRejected

_MESSAGE_CHARACTERS = 500
_PAGE_CHARACTERS = 8_000
_HIDDEN = "***"
# Keys as providers echo them, also half masked ("sk-ab***yz"), and bearer headers.
_KEY_LIKE = re.compile(r"(?i)\b(?:sk|pk|rk|gsk|key|api[-_]key)[-_][\w*.\-]{4,}|\bbearer\s+[\w*.\-+/=]{4,}|\S*\*{3,}\S*")
_INVISIBLE = re.compile(r"(?is)<(script|style|head)\b.*?</\1\s*>|<!--.*?-->|<[^>]*>")
_TITLE = re.compile(r"(?is)<title[^>]*>(.*?)</title\s*>")
# Errors inside a 200 have no status of their own; these are the ones that a plain HTTP answer would have had.
_STATUS_OF_CODE = {
    "api_error": 500,
    "authentication_error": 401,
    "billing_error": 402,
    "insufficient_quota": 429,
    "invalid_api_key": 401,
    "invalid_request_error": 400,
    "context_length_exceeded": 400,
    "model_not_found": 404,
    "not_found_error": 404,
    "overloaded_error": 503,
    "permission_error": 403,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "request_too_large": 413,
    "server_error": 500,
    "vector_store_timeout": 504,
    # A prompt or an image of a response that no repetition makes right (`openai.types.responses.ResponseError`).
    **dict.fromkeys(
        (
            *("invalid_prompt", "data_residency_mismatch", "bio_policy", "misalignment_policy_violation"),
            *("invalid_image", "invalid_image_format", "invalid_base64_image", "invalid_image_url"),
            *("invalid_image_mode", "image_too_large", "image_too_small", "image_parse_error"),
            *("image_content_policy_violation", "image_file_too_large", "unsupported_image_media_type"),
            *("empty_image_file", "failed_to_download_image", "image_file_not_found"),
        ),
        400,
    ),
    "timeout_error": 504,
}
# A 429 that waiting does not cure.
_FINAL_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached"})


class _Facts(msgspec.Struct):
    message: str
    code: str | None = None
    param: str | None = None
    status: int | None = None


def rejection(
    status: int, headers: Mapping[str, str], body: bytes, *, secret: str | None, now_s: float
) -> ProviderRejected:
    """The error of an HTTP status. `now_s` (Unix seconds) is used for a Retry-After date without a Date header."""
    facts = _facts_of_body(body, headers.get("content-type", ""))
    if status == HTTPStatus.UNAUTHORIZED and secret:
        message = "the provider refused the configured API key"
    elif status < 400:
        message = f"the provider answered with HTTP status {status}, which is no answer; is its base URL right?"
    else:
        message = _clean(facts.message, secret) or f"the provider answered with HTTP status {status}"
    error = ProviderRejected(
        message,
        status=status,
        upstream_code=facts.code,
        param=facts.param,
        retry_after_s=retry_after_s(headers, now_s=now_s),
    )
    advice = headers.get("x-should-retry")
    if advice in ("true", "false"):
        error.retryable = advice == "true"
    elif facts.code in _FINAL_CODES or status < 400:
        error.retryable = False
    return error


def rejection_in_band(value: object, *, secret: str | None) -> ProviderRejected:
    """The error of an error object inside a 200. `value` is what stood under `error`, or the whole object."""
    facts = _facts(value)
    message = _clean(facts.message, secret) or "the provider reported an error without a message"
    status = facts.status or 502
    error = ProviderRejected(message, status=status, upstream_code=facts.code, param=facts.param)
    if facts.code in _FINAL_CODES:
        error.retryable = False
    return error


def is_error_object(value: object) -> bool:
    """Whether a JSON object that is no part of an answer is one of the error shapes."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, dict):
        return False
    if value.get("error") or value.get("detail") or value.get("object") == "error" or value.get("error_message"):
        return True
    return isinstance(value.get("message"), str) and not value.keys().isdisjoint({"code", "type", "status"})


def retry_after_s(headers: Mapping[str, str], *, now_s: float) -> float | None:
    """Seconds to wait, from `retry-after-ms`, or `retry-after` as seconds or as an HTTP date (RFC 9110, 10.2.3)."""
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after", "").strip()
    seconds = _number(text)
    if seconds is not None or not text:
        return seconds
    try:
        then_s = parsedate_to_datetime(text).timestamp()
    except ValueError:
        return None
    with suppress(ValueError):
        # The sender's own clock, where it told it: ours may differ.
        now_s = parsedate_to_datetime(headers.get("date", "")).timestamp()
    return max(0.0, then_s - now_s)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return max(0.0, value) if math.isfinite(value) else None


def _facts_of_body(body: bytes, content_type: str) -> _Facts:
    try:
        return _facts(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    text = body.decode("utf-8", "replace")
    if "html" in content_type or text.lstrip()[:1] == "<":
        return _Facts(_visible(text))
    # A body that is not text (a compressed one, for instance) says nothing to a reader.
    return _Facts("" if "\ufffd" in text[:200] or "\0" in text else text)


def _visible(page: str) -> str:
    """What a reader would see of an HTML page, its title first."""
    page = page[:_PAGE_CHARACTERS]
    title = _TITLE.search(page)
    return html.unescape(title.group(1) if title else _INVISIBLE.sub(" ", page))


def _facts(value: object) -> _Facts:
    """Facts of an error object, of what stands in its `error`, or of a bare string."""
    if isinstance(value, list) and value:
        value = value[0]  # Google's compatible endpoint wraps the object in an array
    if isinstance(value, str):
        return _Facts(value)
    if not isinstance(value, dict):
        return _Facts("")
    inner = value.get("error")
    if isinstance(inner, (dict, str)) and inner:
        return _facts(inner)
    detail = value.get("detail")
    if detail:
        return _Facts(_detail(detail))
    inner, more = _behind(value.get("metadata"))
    words = value.get("code"), value.get("type") or value.get("error_type") or inner, value.get("status")
    numbers = [each for each in (*words, value.get("status_code")) if _is_status(each)]
    numbers += [_STATUS_OF_CODE[each] for each in words if isinstance(each, str) and each in _STATUS_OF_CODE]
    text_code = next((text for text in words if isinstance(text, str) and text), None)
    message, param = value.get("message") or value.get("error_message"), value.get("param")
    return _Facts(
        message=(message if isinstance(message, str) else _detail(message)) + more,
        code=text_code,
        param=param if isinstance(param, str) else None,
        status=numbers[0] if numbers else None,
    )


def _behind(metadata: object) -> tuple[object, str]:
    """The kind of an error, and what the provider behind OpenRouter said, which its own message leaves out."""
    if not isinstance(metadata, dict):
        return None, ""
    raw = metadata.get("raw")
    said = _facts_of_body(raw.encode("utf-8", "replace"), "").message if isinstance(raw, str) else ""
    return metadata.get("error_type"), f": {said}" if said else ""


def _is_status(value: object) -> TypeGuard[int]:
    return type(value) is int and 400 <= value <= 599


def _detail(detail: object) -> str:
    """FastAPI's `detail`: a text, or a list of validation errors."""
    if isinstance(detail, str):
        return detail
    if isinstance(detail, dict):
        return _detail(detail["detail"]) if "detail" in detail else _facts(detail).message
    if not isinstance(detail, list):
        return ""
    parts = []
    for item in detail:
        if isinstance(item, dict) and isinstance(item.get("msg"), str):
            where = ".".join(str(part) for part in item.get("loc") or ())
            parts.append(f"{where}: {item['msg']}" if where else item["msg"])
    return "; ".join(parts)


def _clean(message: str, secret: str | None) -> str:
    """One short line without keys."""
    if secret:
        message = message.replace(secret, _HIDDEN)
    # Shortened before the pattern is tried: on a long text without blanks it takes quadratic time (CWE-1333).
    message = " ".join(message.split())[: 2 * _MESSAGE_CHARACTERS]
    message = _KEY_LIKE.sub(_HIDDEN, message)
    return message if len(message) <= _MESSAGE_CHARACTERS else f"{message[: _MESSAGE_CHARACTERS - 1]}…"

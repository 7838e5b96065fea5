"""HTTP error answers in OpenAI's form → the same leaves of `HeadwaterError` that the server raised.

The body's `code` decides, then the status. Pure: status, headers and body in, an exception out.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ..errors import (
    AccessError,
    AdminRequired,
    BodyTooLarge,
    ConnectionLimit,
    HeadwaterError,
    IdempotencyMismatch,
    InputError,
    LogCorrupt,
    LogError,
    LogInUse,
    LogUnavailable,
    MethodNotAllowed,
    OriginRefused,
    Overloaded,
    ProviderError,
    ProviderProtocolError,
    ProviderRejected,
    ProviderTimeout,
    ProviderTruncated,
    ProviderUnreachable,
    QueueFull,
    QueueTimeout,
    RouteFixed,
    RouteNotKept,
    ShuttingDown,
    StreamEnded,
    StreamLimit,
    StreamStillRunning,
    TooManyConnections,
    UnexpectedAnswer,
    UnknownModel,
    UnknownRoute,
    UnknownStream,
    UnsupportedField,
)

_INPUT = (
    InputError, UnsupportedField, UnknownModel, UnknownRoute, UnknownStream, MethodNotAllowed, StreamStillRunning,
    RouteFixed, BodyTooLarge,
)  # fmt: skip
_PROVIDER = (ProviderError, ProviderUnreachable, ProviderTimeout, ProviderProtocolError, ProviderTruncated)
_PLAIN = (
    AccessError, OriginRefused, AdminRequired, LogError, LogUnavailable, LogInUse, LogCorrupt, RouteNotKept,
    StreamEnded, StreamLimit,
)  # fmt: skip

_INPUT_BY_CODE: dict[str, type[InputError]] = {leaf.code: leaf for leaf in (*_INPUT, IdempotencyMismatch)}
_OVERLOADED_BY_CODE: dict[str, type[Overloaded]] = {
    leaf.code: leaf for leaf in (Overloaded, QueueFull, QueueTimeout, TooManyConnections, ConnectionLimit, ShuttingDown)
}
_PROVIDER_BY_CODE: dict[str, type[ProviderError]] = {leaf.code: leaf for leaf in _PROVIDER}
_PLAIN_BY_CODE: dict[str, type[HeadwaterError]] = {leaf.code: leaf for leaf in _PLAIN}

# What a proxy or another server in front says without a code of ours. A bare 404 names neither model nor stream.
_CODE_OF_STATUS = {
    400: InputError.code,
    401: AccessError.code,
    403: AccessError.code,
    405: MethodNotAllowed.code,
    413: BodyTooLarge.code,
    422: InputError.code,
    429: Overloaded.code,
    503: Overloaded.code,
}


class _Refusal(msgspec.Struct):
    message: str = ""
    code: str | int | None = None
    param: str | None = None


class _Body(msgspec.Struct):
    error: _Refusal


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> HeadwaterError:
    """The error that an answer with status ≥ 400 (or one that was not asked for) stands for, ready to be raised.

    Its `http_status` is the answer's, its `retry_after_s` that of `Retry-After` in seconds (dates are not read).
    `body` may be cut, HTML or empty.
    """
    said = _said(body)
    message = said.message or f"the server answered with HTTP status {status}"
    retry_after_s = _seconds(headers.get("retry-after", ""))
    for code in (str(said.code), _CODE_OF_STATUS.get(status, "")):
        if (error := _leaf(code, message, said.param, status)) is not None:
            break
    else:
        error = UnexpectedAnswer(message, status=status)
    error.http_status = status
    if retry_after_s is not None:
        error.retry_after_s = retry_after_s
    return error


def _leaf(code: str, message: str, param: str | None, status: int) -> HeadwaterError | None:
    if code in _INPUT_BY_CODE:
        return _INPUT_BY_CODE[code](message, param=param)
    if code in _OVERLOADED_BY_CODE:
        return _OVERLOADED_BY_CODE[code](message)
    if code in _PROVIDER_BY_CODE:
        return _PROVIDER_BY_CODE[code](message)
    if code == ProviderRejected.code:
        return ProviderRejected(message, status=status, param=param)
    if code in _PLAIN_BY_CODE:
        return _PLAIN_BY_CODE[code](message)
    return None


def _said(body: bytes) -> _Refusal:
    try:
        return msgspec.json.decode(body, type=_Body).error
    except (msgspec.DecodeError, UnicodeError):
        return _Refusal()


def _seconds(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else None

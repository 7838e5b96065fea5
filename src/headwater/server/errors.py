"""Errors as HTTP answers: one table from exception to status and OpenAI-form body.

`{"error": {"message", "type", "code", "param"}}` with `Retry-After` where the error knows one. What is not in the
tree of `headwater.errors` is a bug of ours: 500 without details, logged once with the request's id (`envelope`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route, Router

from ..dialects.base import json_line
from ..dialects.openai_chat import error_object
from ..errors import HeadwaterError, InputError, LogError, MethodNotAllowed
from ..events import Error

# nginx's "client closed request": nobody is there to read it, but access logs of proxies are.
CLIENT_CLOSED_REQUEST = 499


def error_response(
    message: str,
    *,
    status: int,
    code: str,
    param: str | None = None,
    retry_after_s: float | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    all_headers = dict(headers or {})
    if retry_after_s is not None:
        all_headers["Retry-After"] = str(math.ceil(max(retry_after_s, 0.0)))
    body = json_line(error_object(message, status=status, code=code, param=param))
    return Response(body, status, all_headers, "application/json")


def exception_response(error: HeadwaterError, headers: Mapping[str, str] | None = None) -> Response:
    """The answer for an error of ours; a provider's own code is kept, so that SDKs see what they know."""
    return error_response(
        # A log's own words name files and processes of this machine; they are for its operator.
        "the stream log cannot do this now" if isinstance(error, LogError) else error.message,
        status=error.http_status,
        code=getattr(error, "upstream_code", None) or error.code,
        param=error.param,
        retry_after_s=error.retry_after_s,
        headers=headers,
    )


def event_response(event: Error, headers: Mapping[str, str] | None = None) -> Response:
    """The answer for a stream that failed before anything of it was visible."""
    return error_response(
        event.message,
        status=event.status,
        code=event.code or event.reason,
        param=event.param,
        retry_after_s=event.retry_after_s,
        headers=headers,
    )


def unexpected_response() -> Response:
    return error_response("internal server error", status=500, code="internal_error")


async def _on_headwater_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HeadwaterError)  # noqa: S101 - registered for this type only
    return exception_response(exc)


async def _on_http_exception(request: Request, exc: Exception) -> Response:
    """Unknown routes and methods, which the router answers."""
    assert isinstance(exc, HTTPException)  # noqa: S101 - registered for this type only
    place = f"{request.method} {request.url.path}"
    match exc.status_code:
        case 404:
            message, code = f"there is no {place}", "not_found"
        case 405:
            message, code = f"{place} is not allowed", MethodNotAllowed.code
        case _:
            message, code = str(exc.detail), HTTPStatus(exc.status_code).phrase.lower().replace(" ", "_")
    headers = dict(exc.headers or {})
    if exc.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_methods_at(request))
    return error_response(message, status=exc.status_code, code=code, headers=headers)


def _methods_at(request: Request) -> list[str]:
    """All that this path takes; the router names those of the first route that fits (RFC 9110 section 15.5.6)."""
    methods: set[str] = set()
    for route in _flat(request.app.routes):
        if isinstance(route, Route) and route.methods and route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods
    return sorted(methods)


def _flat(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    """Older FastAPI copies the routes of an included router, newer FastAPI holds the router."""
    for route in routes:
        included = getattr(route, "original_router", None)
        if isinstance(included, Router):
            yield from _flat(included.routes)
        else:
            yield route


async def _on_validation_error(request: Request, exc: Exception) -> Response:
    """Parameters of the wrong type: 400, as OpenAI answers, where FastAPI would say 422."""
    assert isinstance(exc, RequestValidationError)  # noqa: S101 - registered for this type only
    first = exc.errors()[0]
    name = str(first["loc"][-1])
    return exception_response(InputError(f"{name}: {first['msg']}", param=name))


async def _on_client_disconnect(request: Request, exc: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED_REQUEST)


def install(app: FastAPI) -> None:
    app.add_exception_handler(HeadwaterError, _on_headwater_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(ClientDisconnect, _on_client_disconnect)

"""Errors in the form of a reference: the routes of one router answer all of theirs so.

What is refused before a route is reached (keys, sizes, unknown addresses) keeps the form of `errors`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeAlias

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..dialects.base import json_line
from ..errors import HeadwaterError, InputError, LogError, TooManyConnections
from ..events import JsonObject
from .responses import EventStreamResponse

Form: TypeAlias = Callable[[str, str, int], JsonObject]
"""From an error's message (safe to show), code and HTTP status to a body."""


def route_class(form: Form) -> type[APIRoute]:
    """For `APIRouter(route_class=…)`."""

    class OwnErrors(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            answer = super().get_route_handler()

            async def handler(request: Request) -> Response:
                try:
                    response = await answer(request)
                except HeadwaterError as exc:
                    return own_response(exc, form)
                except RequestValidationError as exc:
                    return own_response(input_error(exc), form)
                return _Watched(response, form) if isinstance(response, EventStreamResponse) else response

            return handler

    return OwnErrors


def own_response(error: HeadwaterError, form: Form, headers: Mapping[str, str] | None = None) -> Response:
    """The answer for an error of ours, with `Retry-After` where it knows one."""
    told = dict(headers or {})
    if error.retry_after_s is not None:
        told["Retry-After"] = str(math.ceil(max(error.retry_after_s, 0.0)))
    body = form(safe_message(error), error.code, error.http_status)
    return Response(json_line(body), error.http_status, told, "application/json")


def safe_message(error: HeadwaterError) -> str:
    """A log's own words name files and processes of this machine; they are for its operator."""
    return "the stream log cannot do this now" if isinstance(error, LogError) else error.message


def input_error(error: RequestValidationError) -> InputError:
    """Parameters of the wrong type: 400, where FastAPI would say 422."""
    first = error.errors()[0]
    name = str(first["loc"][-1])
    return InputError(f"{name}: {first['msg']}", param=name)


class _Watched(Response):
    """A viewer's response, which may still be refused when it is sent."""

    def __init__(self, response: EventStreamResponse, form: Form) -> None:
        self._response = response
        self._form = form
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._response(scope, receive, send)
        except TooManyConnections as exc:
            # Raised before anything was sent, and only then.
            await own_response(exc, self._form)(scope, receive, send)

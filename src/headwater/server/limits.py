"""Bounds on what a request may carry, for any ASGI server. Security limits.

The head is bounded a second time, before it is parsed, by `handoff.HeadwaterHttpProtocol`.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import BodyTooLarge
from .errors import error_response, exception_response


class RequestLimits:
    """413 for a body and 431 for a head above its bound; a body without a declared length is counted as it comes."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int, max_header_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._max_header_bytes = max_header_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        head_bytes = len(scope.get("raw_path") or b"") + len(scope["query_string"])
        declared: int | None = None
        for name, value in scope["headers"]:
            head_bytes += len(name) + len(value) + 4
            if name == b"content-length" and value.isdigit() and len(value) <= 19:
                declared = int(value)
        if head_bytes > self._max_header_bytes:
            response = error_response("the request's head is too large", status=431, code="header_too_large")
            await response(scope, receive, send)
        elif declared is not None and declared > self._max_body_bytes:
            await exception_response(self._too_large())(scope, receive, send)
        else:
            # The server holds a body to its declared length, so only an undeclared one has to be counted.
            await self._app(scope, receive if declared is not None else self._counted(receive), send)

    def _counted(self, receive: Receive) -> Receive:
        total = 0

        async def counted() -> Message:
            nonlocal total
            message = await receive()
            total += len(message.get("body", b""))
            if total > self._max_body_bytes:
                raise self._too_large()
            return message

        return counted

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"the body is larger than {self._max_body_bytes} bytes")

"""Bounds on what a request may carry, for any ASGI server. Security limits.

The head is bounded a second time, before it is parsed, by `handoff.HeadwaterHttpProtocol`.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import BodyTooLarge
from .errors import error_response, exception_response
from .uploads import takes_document


class RequestLimits:
    """413 for a body and 431 for a head above its bound; a body without a declared length is counted as it comes.

    `max_upload_bytes`: of bodies where documents are taken; None: there is no such place.
    """

    def __init__(
        self, app: ASGIApp, *, max_body_bytes: int, max_header_bytes: int, max_upload_bytes: int | None = None
    ) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._max_header_bytes = max_header_bytes
        self._max_upload_bytes = max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        max_bytes = self._max_bytes(scope)
        head_bytes = len(scope.get("raw_path") or b"") + len(scope["query_string"])
        declared: int | None = None
        for name, value in scope["headers"]:
            head_bytes += len(name) + len(value) + 4
            if name == b"content-length" and value.isdigit() and len(value) <= 19:
                declared = int(value)
        if head_bytes > self._max_header_bytes:
            response = error_response("the request's head is too large", status=431, code="header_too_large")
            await response(scope, receive, send)
        elif declared is not None and declared > max_bytes:
            await exception_response(_too_large(max_bytes))(scope, receive, send)
        else:
            # The server holds a body to its declared length, so only an undeclared one has to be counted.
            await self._app(scope, receive if declared is not None else _counted(receive, max_bytes), send)

    def _max_bytes(self, scope: Scope) -> int:
        """Documents may be larger than questions, where documents are taken."""
        if self._max_upload_bytes is None or scope["method"] != "POST":
            return self._max_body_bytes
        path = str(scope["path"]).removeprefix(scope.get("root_path", ""))
        return self._max_upload_bytes if takes_document(path) else self._max_body_bytes


def _counted(receive: Receive, max_bytes: int) -> Receive:
    total = 0

    async def counted() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > max_bytes:
            raise _too_large(max_bytes)
        return message

    return counted


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body is larger than {max_bytes} bytes")

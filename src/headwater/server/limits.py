"""Bounds on what a request may carry, for any ASGI server. Security limits.

The head is bounded a second time, before it is parsed, by `handoff.HeadwaterHttpProtocol`.
"""

from __future__ import annotations

from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import BodyTooLarge
from .errors import error_response, exception_response
from .uploads import takes_document


class _Bound(NamedTuple):
    """`setting`: where an operator changes it."""

    max_bytes: int
    setting: str

    def exceeded(self) -> BodyTooLarge:
        return BodyTooLarge(f"the body is larger than {self.max_bytes} bytes ({self.setting})")


class RequestLimits:
    """413 for a body and 431 for a head above its bound; a body without a declared length is counted as it comes.

    `max_upload_bytes`: of bodies where documents are taken; None: there is no such place.
    """

    def __init__(
        self, app: ASGIApp, *, max_body_bytes: int, max_header_bytes: int, max_upload_bytes: int | None = None
    ) -> None:
        self._app = app
        self._max_header_bytes = max_header_bytes
        self._bodies = _Bound(max_body_bytes, "max_body_bytes")
        self._uploads = None if max_upload_bytes is None else _Bound(max_upload_bytes, "max_document_bytes")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        bound = self._bound(scope)
        head_bytes = len(scope.get("raw_path") or b"") + len(scope["query_string"])
        declared: int | None = None
        for name, value in scope["headers"]:
            head_bytes += len(name) + len(value) + 4
            if name == b"content-length" and value.isdigit() and len(value) <= 19:
                declared = int(value)
        if head_bytes > self._max_header_bytes:
            response = error_response("the request's head is too large", status=431, code="header_too_large")
            await response(scope, receive, send)
        elif declared is not None and declared > bound.max_bytes:
            await exception_response(bound.exceeded())(scope, receive, send)
        else:
            # The server holds a body to its declared length, so only an undeclared one has to be counted.
            await self._app(scope, receive if declared is not None else _counted(receive, bound), send)

    def _bound(self, scope: Scope) -> _Bound:
        """Documents may be larger than questions, where documents are taken."""
        if self._uploads is None or scope["method"] != "POST":
            return self._bodies
        path = str(scope["path"]).removeprefix(scope.get("root_path", ""))
        return self._uploads if takes_document(path) else self._bodies


def _counted(receive: Receive, bound: _Bound) -> Receive:
    total = 0

    async def counted() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > bound.max_bytes:
            raise bound.exceeded()
        return message

    return counted

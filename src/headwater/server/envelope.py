"""The outermost layer: every answer has an `X-Request-Id`, and no exception leaves without a word.

Plain ASGI: `BaseHTTPMiddleware` would put a task and a queue between a viewer and its socket.
"""

from __future__ import annotations

import logging
import re
import secrets
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..log_context import REQUEST_ID, TRACE_PARENT
from .errors import unexpected_response

_log = logging.getLogger(__name__)
_access = logging.getLogger("headwater.access")

# Of a path in the log.
MAX_PATH_CHARACTERS = 500
# Visible ASCII and short: the id is echoed in a header and written to logs (header and log injection).
_SANE_ID = re.compile(rb"[\x21-\x7e]{1,128}")


class Envelope:
    """`scope["headwater.request_id"]` holds the id: the caller's where it is sane, else a fresh one.

    `tells`: whether every request gets a line in the log. That of a stream is written when its head is out: what became
    of the stream is told by a line of its own. `traces`: whether the caller's `traceparent` is kept for the stream.
    """

    def __init__(self, app: ASGIApp, *, tells: bool = False, traces: bool = False) -> None:
        self._app = app
        self._tells = tells
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope["headwater.request_id"] = request_id.decode()
        REQUEST_ID.set(request_id.decode())
        if self._traces:
            TRACE_PARENT.set(_trace_parent(scope))
        began_s = time.perf_counter()
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if self._tells:
                    _tell(scope, message, time.perf_counter() - began_s)
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id)]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception as exc:
            if started:
                exc.add_note(f"request {request_id.decode()}")
                raise  # the server logs it and cuts the connection: an answer half sent must not look whole
            _log.exception("request %s failed: %s %s", request_id.decode(), scope["method"], scope["path"])
            await unexpected_response()(scope, receive, send_with_id)


def _tell(scope: Scope, start: Message, took_s: float) -> None:
    """The path as it came, escapes and all, and without the query, which may hold what is private."""
    client = scope.get("client")
    path = scope.get("raw_path") or str(scope["path"]).encode("utf-8", "replace")
    told = {
        "request_id": scope["headwater.request_id"],
        "method": scope["method"],
        "path": path.decode("latin-1").partition("?")[0][:MAX_PATH_CHARACTERS],
        "status": start["status"],
        "duration_ms": round(took_s * 1000, 1),
        "client": str(client[0]) if client else "",
    }
    for name, value in start.get("headers", ()):
        if name.lower() == b"x-stream-id":
            told["stream_id"] = value.decode("latin-1")
    _access.info("request", extra=told)


def _trace_parent(scope: Scope) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"traceparent"), "")


def _request_id(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _SANE_ID.fullmatch(value):
            return bytes(value)
    return secrets.token_hex(16).encode()

"""The outermost layer: every answer has an `X-Request-Id`, and no exception leaves without a word.

Plain ASGI: `BaseHTTPMiddleware` would put a task and a queue between a viewer and its socket.
"""

from __future__ import annotations

import logging
import re
import secrets

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import unexpected_response

_log = logging.getLogger(__name__)

# Visible ASCII and short: the id is echoed in a header and written to logs (header and log injection).
_SANE_ID = re.compile(rb"[\x21-\x7e]{1,128}")


class Envelope:
    """`scope["headwater.request_id"]` holds the id: the caller's where it is sane, else a fresh one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope["headwater.request_id"] = request_id.decode()
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
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


def _request_id(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _SANE_ID.fullmatch(value):
            return bytes(value)
    return secrets.token_hex(16).encode()

"""The outermost layer: errors below a reference's paths in its own form, whoever makes them.

So also those of the layers that check keys, origins and sizes, and of the router. Status and headers stay. What a route
of the reference has put into its own form already passes as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..dialects.base import json_line
from ..events import JsonObject


class Refused(NamedTuple):
    """What all other routes of the API answer as `{"error": {…}}`."""

    message: str
    code: str
    status: int
    param: str | None


FormOf: TypeAlias = Callable[[Refused], JsonObject]


class Place(NamedTuple):
    """Paths that begin so, below where the API is mounted, and the form of errors there."""

    prefix: str
    form: FormOf


class OwnForms:
    """`places`: the first that fits counts."""

    def __init__(self, app: ASGIApp, *, places: Sequence[Place]) -> None:
        self._app = app
        self._places = tuple(places)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = str(scope["path"]).removeprefix(scope.get("root_path", ""))
            form = next((place.form for place in self._places if path.startswith(place.prefix)), None)
            if form is not None:
                send = _InForm(send, form)
        await self._app(scope, receive, send)


class _InForm:
    """Holds an error's head until its body is there."""

    def __init__(self, send: Send, form: FormOf) -> None:
        self._send = send
        self._form = form
        self._head: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_error(message):
            self._head = message
            return
        if self._head is None:
            await self._send(message)
            return
        self._body += message.get("body", b"")
        if not message.get("more_body", False):
            body = self._in_form(self._body, int(self._head["status"]))
            headers = [pair for pair in self._head["headers"] if pair[0].lower() != b"content-length"]
            head = {**self._head, "headers": [*headers, (b"content-length", b"%d" % len(body))]}
            self._head = None
            await self._send(head)
            await self._send({"type": "http.response.body", "body": body})

    def _in_form(self, body: bytes, status: int) -> bytes:
        try:
            told = _decode(body).error
        except msgspec.DecodeError:
            return body
        return json_line(self._form(Refused(told.message, told.code, status, told.param)))


def _is_error(head: Message) -> bool:
    json = any(name.lower() == b"content-type" and value == b"application/json" for name, value in head["headers"])
    return json and int(head["status"]) >= 400


class _Told(msgspec.Struct):
    message: str
    code: str
    param: str | None = None


class _Refusal(msgspec.Struct):
    error: _Told


_decode = msgspec.json.Decoder(_Refusal).decode

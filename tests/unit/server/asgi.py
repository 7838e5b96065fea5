"""A server without sockets: calls an ASGI application and records what it sends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Scope


def http_scope(
    path: str = "/",
    *,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    version: str = "1.1",
    query: str = "",
) -> Scope:
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "http_version": version,
        "headers": raw,
        "root_path": "",
    }


class Exchange:
    """One request. `hang_up` is the client's leaving."""

    def __init__(self, scope: Scope, body: Iterable[bytes] = (b"",)) -> None:
        self.scope = scope
        self.sent: list[Message] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self._gone = asyncio.Event()
        pieces = list(body)
        self._body = [
            {"type": "http.request", "body": piece, "more_body": number < len(pieces) - 1}
            for number, piece in enumerate(pieces)
        ]

    def hang_up(self) -> None:
        self._gone.set()

    async def receive(self) -> Message:
        if self._body:
            return self._body.pop(0)
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await self.gate.wait()
        self.sent.append(message)

    async def run(self, app: ASGIApp) -> None:
        await app(self.scope, self.receive, self.send)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode("latin-1") for name, value in self.sent[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    @property
    def complete(self) -> bool:
        return len(self.sent) > 1 and not self.sent[-1].get("more_body", False)


async def ok(scope: Scope, receive: object, send: object) -> None:
    """An application that answers 200 and reads its body first."""
    more = True
    while more:
        more = (await receive()).get("more_body", False)  # type: ignore[operator]
    await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
    await send({"type": "http.response.body", "body": b"ok"})  # type: ignore[operator]

"""A server for the plug-in template's made-up line protocol."""

from __future__ import annotations

import asyncio
from typing import Any, Self

import msgspec


class LineServer:
    """Answers every POST with `answer`; keeps what it was sent."""

    def __init__(self, answer: bytes) -> None:
        self.bodies: list[Any] = []
        self.keys: list[str] = []
        self._answer = answer
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        headers = {name.lower(): value for name, value in lines.items()}
        self.keys.append(headers.get("authorization", ""))
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        if body:
            self.bodies.append(msgspec.json.decode(body))
        answer = self._answer if body else b"small\nlarge\n"
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))
        await writer.drain()
        writer.close()

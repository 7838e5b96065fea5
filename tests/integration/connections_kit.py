"""The routes of reference 002 on the test kit's server, and models for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from zlib import crc32

import httpx
import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from headwater.errors import ProviderRejected
from headwater.events import Done, Metadata, Text, Usage
from headwater.request import ChatRequest
from headwater.server import ServerSettings
from headwater.server.connections import Connections, ConnectionSettings
from headwater.server.own_forms import OwnForms, Place
from headwater.server.ports import Services
from headwater.server.routes_connections import PREFIX, connection_form, routes
from headwater.sse import Message, Parser
from headwater.streams import Log, StreamSettings, Writer

from .kit import Running, Script, running

MESSAGES = [{"role": "user", "content": "Hello"}]
PIECES = ["Hello", " wörld", "!\n", "😀"]
ANSWER = "".join(PIECES)
LONG = [f"word{number} " for number in range(200)]

# The StreamRequest of the reference's own test.
REQUEST: dict[str, Any] = {
    "id": "test-request",
    "clientId": "test-client",
    "provider": "openai",
    "model": "gpt-3.5-turbo",
    "messages": MESSAGES,
    "options": {"stream": True},
    "metadata": {"purpose": "chat", "priority": "normal"},
}
MODEL = "openai/gpt-3.5-turbo"
PENDING_S = 300.0


async def answers(writer: Writer, request: ChatRequest) -> None:
    for piece in PIECES:
        writer.write([Text(piece)])
        await asyncio.sleep(0)
    writer.write([Metadata({"first_token_ms": 10.0, "duration_ms": 50.0}), Usage(1, 4), Done("stop")])


async def answers_long(writer: Writer, request: ChatRequest) -> None:
    for piece in LONG:
        writer.write([Text(piece)])
        await asyncio.sleep(0)
    writer.write([Usage(1, 200), Done("stop")])


async def fails(writer: Writer, request: ChatRequest) -> None:
    writer.write([Text("half")])
    await asyncio.sleep(0)
    raise ProviderRejected("the model is gone", status=503, provider="scripted")


async def endless(writer: Writer, request: ChatRequest) -> None:
    while True:
        writer.write([Text("x")])
        await asyncio.sleep(0.005)


async def hangs(writer: Writer, request: ChatRequest) -> None:
    writer.write([Text("begun")])
    await asyncio.Event().wait()


async def silent(writer: Writer, request: ChatRequest) -> None:
    await asyncio.Event().wait()


SCRIPTS: dict[str, Script] = {
    MODEL: answers,
    "long": answers_long,
    "fails": fails,
    "endless": endless,
    "hangs": hangs,
    "silent": silent,
}


class Signed:
    """The application's own login: a header names the user."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            names = [value.decode() for name, value in scope["headers"] if name == b"x-user"]
            scope["headwater.owner"] = names[0] if names else ""
        await self._app(scope, receive, send)


class Served(msgspec.Struct):
    running: Running
    connections: Connections

    @property
    def client(self) -> httpx.AsyncClient:
        return self.running.client

    async def create(self, **fields: Any) -> dict[str, Any]:
        response = await self.client.post("/streaming/connections", json=REQUEST | fields)
        assert response.status_code == 201, response.text
        data: dict[str, Any] = response.json()["data"]
        return data

    async def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        response = await self.client.get(f"/streaming/connections{path}", params=parameters)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        assert answer["success"] is True
        return answer


@asynccontextmanager
async def serving(
    *,
    log: Log | None = None,
    streams: StreamSettings | None = None,
    settings: ServerSettings | None = None,
    limits: ConnectionSettings = ConnectionSettings(),  # noqa: B008 - frozen
    scripts: dict[str, Script] = SCRIPTS,
) -> AsyncIterator[Served]:
    settings = settings or ServerSettings()
    async with running(scripts, log=log, streams=streams, settings=settings) as server:
        connections = Connections(server.hub, limits)
        await connections.open()
        app: Any = server.server.config.app
        app.include_router(routes(Services(server.hub, server.models, settings), connections))
        app.add_middleware(OwnForms, places=[Place(PREFIX, connection_form)])
        app.add_middleware(Signed)
        try:
            yield Served(server, connections)
        finally:
            await connections.close()


def other(model: str, **fields: Any) -> dict[str, Any]:
    return {"provider": None, "model": model, **fields}


def messages_of(data: bytes) -> list[Message]:
    return Parser().feed(data)


def content_of(messages: list[Message]) -> str:
    """What the pieces say, each with its size and checksum as told."""
    text = ""
    for message in messages:
        if message.event == "chunk":
            data = json.loads(message.data)
            content = data["content"].encode()
            assert (data["size"], data["checksum"]) == (len(content), f"{crc32(content):08x}")
            text += data["content"]
    return text

"""Clients as the documents of references 001 and 003 show them: curl, EventSource, and fetch readers under node."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from headwater.events import Done, Text, Usage
from headwater.request import ChatRequest
from headwater.sse import Message, Parser
from headwater.streams import Writer

NODE = Path(__file__).parent.parent / "node"
PIECES = ["Hello", " wörld", "!\n", "😀 the", " second", " half"]
HALF = 3
ANSWER = "".join(PIECES)


class Halves:
    """A script that stops in mid-answer until `gate` is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()

    async def __call__(self, writer: Writer, request: ChatRequest) -> None:
        for at, piece in enumerate(PIECES):
            if at == HALF:
                await self.gate.wait()
            writer.write([Text(piece)])
            await asyncio.sleep(0)
        writer.write([Usage(1, 6), Done("stop")])


async def answers(writer: Writer, request: ChatRequest) -> None:
    for piece in PIECES:
        writer.write([Text(piece)])
        await asyncio.sleep(0)
    writer.write([Usage(1, 6), Done("stop")])


class EventSource:
    """The browser's: one address for ever, the last id as a header, `onmessage` for events without a name."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self.messages: list[Message] = []
        self.statuses: list[int] = []
        self.streams: list[str] = []
        self._client = client
        self._url = url
        self._last_id = ""

    @property
    def data(self) -> list[dict[str, Any]]:
        return [json.loads(message.data) for message in self.messages if message.event == "message"]

    async def connect(self, until: Callable[[], bool]) -> None:
        """One connection, which is cut as soon as `until` holds, or ends by itself."""
        headers = {"accept": "text/event-stream"} | ({"last-event-id": self._last_id} if self._last_id else {})
        parser = Parser()
        async with self._client.stream("GET", self._url, headers=headers) as response:
            self.statuses.append(response.status_code)
            self.streams.append(response.headers.get("x-stream-id", ""))
            async for piece in response.aiter_bytes():
                for message in parser.feed(piece):
                    self._last_id = message.id or self._last_id
                    self.messages.append(message)
                if until():
                    return


def never() -> bool:
    return False


class Process:
    """A program that runs; `lines` gives what it prints as it prints it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        self._process = process
        self._out = process.stdout

    async def line(self) -> str:
        return (await self._out.readline()).decode()

    async def rest(self) -> str:
        return (await self._out.read()).decode()

    def kill(self) -> None:
        self._process.kill()


@asynccontextmanager
async def started(*command: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=NODE)
    try:
        yield Process(process)
    finally:
        if process.returncode is None and process.stdout is not None and not process.stdout.at_eof():
            process.kill()
        await process.wait()


def data_of(text: str) -> list[dict[str, Any]]:
    """The objects of whole `data:` lines."""
    return [json.loads(line[5:]) for line in text.split("\n") if line.startswith("data:")]

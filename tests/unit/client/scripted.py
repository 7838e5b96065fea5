"""A real HTTP server on an ephemeral port that answers as scripted, down to the byte where it hangs up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from headwater.client import Reconnect
from headwater.cursor import Cursor, parse_cursor
from headwater.events import Done, Event, Start, Text, Usage, encode_event
from headwater.sse import frame

STREAM = "0190b5a0-0000-7000-8000-000000000001"
ANSWER: list[Event] = [Start(STREAM, "m", 1), Text("Hel"), Text("lo …"), Text("\r\n"), Usage(3, 3), Done("stop")]


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    @property
    def query(self) -> dict[str, str]:
        return {key: values[-1] for key, values in parse_qs(urlsplit(self.target).query).items()}


@dataclass(frozen=True)
class Answer:
    """Raw bytes of a response, and what becomes of the connection after them.

    `close` ends it cleanly, `reset` with RST, `hold` leaves it open until the client goes. `pieces` follow the
    bytes one by one, each after its pause in seconds.
    """

    data: bytes
    then: str = "close"
    pieces: tuple[tuple[float, bytes], ...] = ()


Script = Callable[[Request], Answer]


def head(status: int, **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Scripted\r\n{lines}\r\n".encode()


def answer(status: int, body: bytes | object = b"", **headers: str) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(head(status, content_length=str(len(content)), **headers) + content)


def refused(status: int, code: str, message: str = "no", **headers: str) -> Answer:
    return answer(status, {"error": {"message": message, "type": "t", "code": code, "param": None}}, **headers)


def sse(body: bytes, *, then: str = "close", pieces: tuple[tuple[float, bytes], ...] = ()) -> Answer:
    """A close-delimited event stream: its cut looks like a clean end."""
    return Answer(head(200, content_type="text/event-stream; charset=utf-8") + body, then, pieces)


def chunked(body: bytes, *, whole: bool) -> Answer:
    """An event stream in one chunk, whose last chunk is missing where it is not `whole`: a cut that shows."""
    data = head(200, content_type="text/event-stream", transfer_encoding="chunked")
    data += b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    return Answer(data + (b"0\r\n\r\n" if whole else b""))


def frames(events: list[Event], *, after: int = -1, epoch: int = 1) -> bytes:
    """The events with seq > `after` in the native dialect."""
    return b"".join(
        frame(encode_event(e), event=str(e.__struct_config__.tag).encode(), id=b"%d.%d" % (epoch, seq))
        for seq, e in enumerate(events)
        if seq > after
    )


def info(**changed: object) -> dict[str, object]:
    known = dict.fromkeys(["finished_at", "cursor", "finish_reason", "error", "usage"])
    texts = {"id": STREAM, "status": "streaming", "model": "m", "provider": "p", "dialect": "events"}
    return {**known, **texts, "created_at": "2026-01-01T00:00:00Z", "events": 1, "viewers": 0, **changed}


def after_of(request: Request) -> int:
    """The seq that a request to read resumes after."""
    cursor = parse_cursor(request.query["after"]) if "after" in request.query else Cursor(1, -1)
    assert cursor is not None
    return cursor.seq


def in_turn(*answers: Answer) -> Script:
    """One answer a request, in order; a request too many is the test's failure."""
    left: Iterator[Answer] = iter(answers)

    def script(request: Request) -> Answer:
        return next(left, answer(500, b"one request too many"))

    return script


@dataclass
class Server:
    script: Script
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)  # the first request is here
    left: asyncio.Event = field(default_factory=asyncio.Event)  # a client hung up on a held answer
    _server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await self._read(reader)
            self.requests.append(request)
            self.asked.set()
            said = self.script(request)
            writer.write(said.data)
            for pause_s, piece in said.pieces:
                await asyncio.sleep(pause_s)
                writer.write(piece)
            if said.then == "hold":
                await reader.read()
                self.left.set()
            if said.then == "reset":
                await writer.drain()
                writer.transport.abort()
        except (ConnectionError, asyncio.IncompleteReadError):
            self.left.set()
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Request:
        top, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        method, target, _ = top.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return Request(method, target, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


@asynccontextmanager
async def serving(script: Script) -> AsyncIterator[Server]:
    server = Server(script)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


class Waits:
    """A `Reconnect` whose waits take no time: they are recorded, and move its clock."""

    def __init__(self, **policy: float) -> None:
        self.slept: list[float] = []
        self.asked: list[tuple[float, float]] = []
        self.now = 0.0
        self.policy = Reconnect(uniform=self._uniform, clock=lambda: self.now, sleep=self._sleep, **policy)  # type: ignore[arg-type]
        self.while_waiting: Callable[[], object] | None = None

    def _uniform(self, low: float, high: float) -> float:
        self.asked.append((low, high))
        return high

    async def _sleep(self, delay_s: float) -> None:
        self.slept.append(delay_s)
        self.now += delay_s
        if self.while_waiting is not None:
            result = self.while_waiting()
            if asyncio.iscoroutine(result):
                await result

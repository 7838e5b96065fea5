"""The server itself: connections, counters, and the writing of a plan."""

from __future__ import annotations

import asyncio
import socket
import ssl as ssl_module
import struct
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple, Self, cast

import httptools
import msgspec

from . import openai_format, responses_format
from .answer import Answer, Frame
from .plan import Plan, plan
from .responses_kept import KeptResponses, Reading
from .routes import FRAME_FAULTS, chat_format, chat_plan, plain_plan, refused_plan
from .script import Script, script_of

MODELS = ["fake-1", "fake-mini"]
KEPT_REQUESTS = 10_000
GATE_S = 300.0


class Recorded(NamedTuple):
    """One request as received. `body` is the decoded JSON, or {} where it is none; header names are lower-case.

    `query` is what stood behind the path's `?`.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    key: str
    query: str = ""


def closed_url() -> str:
    """A URL whose port was free a moment ago, so that connecting is refused."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


class Upstream:
    """See the package's docstring."""

    def __init__(
        self,
        *,
        default: Script | None = None,
        models: list[str] | None = None,
        api_key: str | None = None,
        ssl: ssl_module.SSLContext | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.default = default or Script()
        self.scripts: dict[str, Script] = {}
        self.models = models if models is not None else list(MODELS)
        self.requests: list[Recorded] = []
        self.attempts = 0
        self.active = 0
        self.aborted = 0
        self.connections: set[Connection] = set()
        self.kept = KeptResponses()
        self._api_key = api_key
        self._ssl = ssl
        self._address = (host, port)
        self._by_key: Counter[str] = Counter()
        self._let: Counter[str] = Counter()
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        host, port = self._address
        self._server = await loop.create_server(lambda: Connection(self), host, port, ssl=self._ssl, backlog=1024)
        self._address = self._server.sockets[0].getsockname()[:2]
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()
        tasks = [connection.end() for connection in list(self.connections)]
        await asyncio.gather(*(task for task in tasks if task), return_exceptions=True)
        await self.until(lambda: not self.connections)

    @property
    def url(self) -> str:
        host = f"[{self._address[0]}]" if ":" in self._address[0] else self._address[0]
        return f"{'https' if self._ssl else 'http'}://{host}:{self._address[1]}"

    @property
    def openai_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def open_connections(self) -> int:
        return sum(not connection.control for connection in self.connections)

    def attempts_for(self, key: str) -> int:
        return self._by_key[key]

    async def until(self, condition: Callable[[], bool], *, timeout_s: float = 10.0) -> None:
        """Wait for a condition on the counters."""
        if not condition():
            future = asyncio.get_running_loop().create_future()
            self._waiters.append((condition, future))
            async with asyncio.timeout(timeout_s):
                await future

    def let(self, key: str, writes: int = 1_000_000) -> None:
        """Let so many further writes of the `gated` answers of `key` out; as good as all unless told."""
        self._let[key] += writes
        self.changed()

    async def pass_gate(self, script: Script) -> None:
        while script.gated and self._let[script.key] <= 0:
            await self.until(lambda: self._let[script.key] > 0, timeout_s=GATE_S)
        self._let[script.key] -= script.gated

    async def close_idle(self) -> None:
        """Close the kept connections that carry no request, and wait until the client has noticed."""
        idle = [connection for connection in self.connections if connection.idle]
        for connection in idle:
            connection.end()
        await self.until(lambda: not self.connections.intersection(idle))

    async def serve_forever(self) -> None:
        await asyncio.get_running_loop().create_future()

    def reset(self) -> None:
        self.requests.clear()
        self._by_key.clear()
        self._let.clear()
        self.attempts = self.aborted = 0

    def changed(self) -> None:
        """Wake those whose condition holds now."""
        for waiter in list(self._waiters):
            condition, future = waiter
            if future.done() or condition():
                self._waiters.remove(waiter)
                if not future.done():
                    future.set_result(None)

    def plan_for(self, method: str, url: str, headers: dict[str, str], raw: bytes) -> tuple[Plan | None, Script]:
        """What to answer; None is a fault that answers nothing (named by the script)."""
        path, _, query = url.partition("?")
        if path == "/_control":
            return _control_plan(self, raw), Script()
        chat = chat_format(path)
        key = (chat or openai_format).key_of(headers)
        body = _decode(raw)
        script = self._script(chat.prompt_of(body)) if chat else Script()
        if len(self.requests) < KEPT_REQUESTS:
            self.requests.append(Recorded(method, path, headers, body, script.key, query))
        if chat:
            self.attempts += 1
            self._by_key[script.key] += 1
            self.changed()
        if self._api_key is not None and key != self._api_key:
            return refused_plan(path, 401, key), Script()
        if (kept := self.kept.read(method, path, query)) is not None:
            return _kept_plan(kept)
        if chat is None or method != "POST":
            return plain_plan(path, headers, self.models), Script()
        if not body:
            return refused_plan(path, 400, key), Script()
        if chat is responses_format:
            body = self.kept.keep(body, script)
        if script.fault_times is not None and self._by_key[script.key] > script.fault_times:
            script = msgspec.structs.replace(script, fault="")
        faults = script.faults()
        if faults.keys() & Connection.SILENT:
            return None, script
        return chat_plan(path, chat.body_of(path, body), script, faults, key), script

    def _script(self, text: str | None) -> Script:
        return script_of(text, self.scripts.get(text or "", self.default))

    def counters(self) -> dict[str, Any]:
        return {
            "attempts": self.attempts,
            "by_key": dict(self._by_key),
            "open_connections": self.open_connections,
            "active": self.active,
            "aborted": self.aborted,
            "requests": [recorded._asdict() for recorded in self.requests[-100:]],
        }


class Connection(asyncio.Protocol):
    """One client connection. Requests are answered one after the other, each in a task."""

    SILENT = frozenset({"refuse", "hang_before_headers", "cut_before_headers", "garbage_http"})

    def __init__(self, upstream: Upstream) -> None:
        self.control = False
        self._upstream = upstream
        self._parser = httptools.HttpRequestParser(self)
        self._queue: list[tuple[str, str, dict[str, str], bytes, bool]] = []
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._poisoned = False
        self._closing = False

    @property
    def idle(self) -> bool:
        return self._task is None or self._task.done()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by inheritance
        self._upstream.connections.add(self)
        self._upstream.changed()

    def connection_lost(self, exc: Exception | None) -> None:
        self._upstream.connections.discard(self)
        self._writable.set()
        self._queue.clear()
        if self._task is not None and not self._task.done():
            self._upstream.aborted += not (self._closing or self.control)
            self._task.cancel()
        self._upstream.changed()

    def eof_received(self) -> None:
        self._transport.abort()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        if self._poisoned:
            self._reset()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body = b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        method = self._parser.get_method().decode()
        url = self._url.decode()
        self.control = self.control or url.partition("?")[0] == "/_control"
        self._queue.append((method, url, self._headers, self._body, self._parser.should_keep_alive()))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._serve())

    def end(self) -> asyncio.Task[None] | None:
        """The server goes away."""
        self._closing = True
        self._transport.abort()
        if self._task is not None:
            self._task.cancel()
        return self._task

    async def _serve(self) -> None:
        while self._queue:
            method, url, headers, raw, keep_alive = self._queue.pop(0)
            path = url.partition("?")[0]
            chat = chat_format(path) is not None or self._upstream.kept.has_stream(method, path)
            self._upstream.active += chat
            try:
                await self._answer(method, url, headers, raw, keep_alive)
            finally:
                self._upstream.active -= chat
                self._upstream.changed()

    async def _answer(self, method: str, url: str, headers: dict[str, str], raw: bytes, keep_alive: bool) -> None:
        try:
            found, script = self._upstream.plan_for(method, url, headers, raw)
        except msgspec.ValidationError as exc:
            reason = str(exc).encode()
            self._transport.write(b"HTTP/1.1 422 Script\r\ncontent-length: %d\r\n\r\n%b" % (len(reason), reason))
            return
        if script.head_delay_ms:
            await asyncio.sleep(script.head_delay_ms / 1000)
        if found is None:
            await self._say_nothing(script.faults())
            return
        for at, frame in enumerate(found.writes):
            if frame.delay_ms:
                await asyncio.sleep(frame.delay_ms / 1000)
            if at:
                await self._upstream.pass_gate(script)
            self._transport.write(frame.data)
            if "slow_drip" in script.fault or "chunk_bytes" in script.fault:
                await asyncio.sleep(0)
            await self._writable.wait()
        self._poisoned = "stale_rst" in script.fault
        ending = found.ending
        if ending == "hang":
            await asyncio.get_running_loop().create_future()
        elif ending == "rst":
            self._reset()
        elif ending == "fin" or not keep_alive or "stale" in script.faults():
            self._close()

    async def _say_nothing(self, faults: dict[str, str]) -> None:
        if "refuse" in faults:
            self._reset()
        elif "cut_before_headers" in faults:
            self._close()
        elif "garbage_http" in faults:
            self._transport.write(b"SSH-2.0-OpenSSH_9.6\r\n")
            self._close()
        else:
            await asyncio.get_running_loop().create_future()

    def _close(self) -> None:
        self._closing = True
        self._transport.close()

    def _reset(self) -> None:
        """RST instead of FIN: SO_LINGER with a zero time-out."""
        self._closing = True
        linger = struct.pack("ii", 1, 0)
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._transport.abort()


def _kept_plan(reading: Reading) -> tuple[Plan | None, Script]:
    faults = reading.script.faults()
    if faults.keys() & Connection.SILENT:
        return None, reading.script
    fault = next(iter(faults.keys() & FRAME_FAULTS), "")
    frame = responses_format.fault_frame(fault)
    return plan(reading.answer, faults, sse=True, fault_frame=frame), reading.script


def _control_plan(upstream: Upstream, raw: bytes) -> Plan:
    command = _decode(raw)
    if command.get("reset"):
        upstream.reset()
    if "default" in command:
        upstream.default = msgspec.convert(command["default"], Script)
    frames = [Frame(msgspec.json.encode(upstream.counters()))]
    return plan(Answer(200, "application/json", frames), {}, sse=False, fault_frame=b"")


def _decode(raw: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return {}
    return value if isinstance(value, dict) else {}

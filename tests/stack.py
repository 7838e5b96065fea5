"""The whole stack for tests: `headwater serve` as a process in front of the scripted upstream, and plain viewers.

Nothing here is simulated: sockets, SQLite files, signals.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

import httpx

from headwater.sse import Parser

START_TIMEOUT_S = 60.0
ROOT = Path(__file__).parent.parent
_NOT_PASSED_ON = ("HEADWATER_", "OPENAI_", "OLLAMA_")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Served:
    """`headwater serve` (or another command) as a process that can be killed and started again on its port."""

    def __init__(
        self,
        data_dir: Path,
        *,
        openai_url: str | None = None,
        command: list[str] | None = None,
        environment: dict[str, str] | None = None,
        flags: tuple[str, ...] = (),
        port: int | None = None,
        measured: bool = True,
    ) -> None:
        """`measured`: for coverage; a server that is always killed leaves none, and starts faster without."""
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.output = data_dir / "server.log"
        self.process: asyncio.subprocess.Process | None = None
        self._command = command or [
            *(sys.executable, "-m", "headwater", "serve", "--port", str(self.port)),
            *("--data-dir", str(data_dir / "data"), *flags),
        ]
        self._environment = {
            **{
                k: v
                for k, v in os.environ.items()
                if not k.startswith(_NOT_PASSED_ON if measured else (*_NOT_PASSED_ON, "COV"))
            },
            "OLLAMA_HOST": "127.0.0.1:9",  # nobody serves the discard port
            **({"OPENAI_API_KEY": "test-key", "OPENAI_BASE_URL": openai_url} if openai_url else {}),
            "PORT": str(self.port),
            "DATA_DIR": str(data_dir / "data"),
            **(environment or {}),
        }

    async def start(self) -> None:
        with self.output.open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment,
                cwd=ROOT,
            )
        async with httpx.AsyncClient() as client, asyncio.timeout(START_TIMEOUT_S):
            while True:
                if self.process.returncode is not None:
                    raise AssertionError(f"the server ended at start: {self.output.read_text()}")
                try:
                    if (await client.get(f"{self.url}/health")).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.02)

    async def kill(self) -> None:
        """SIGKILL: no handler, no flush, no goodbye."""
        await self._signal(signal.SIGKILL)

    async def stop(self) -> int:
        """SIGTERM; the exit status."""
        return await self._signal(signal.SIGTERM)

    async def _signal(self, number: signal.Signals) -> int:
        process = self.process
        if process is None:
            return 0
        if process.returncode is None:
            process.send_signal(number)
        async with asyncio.timeout(START_TIMEOUT_S):
            status = await process.wait()
        self.process = None
        return status

    async def restart(self) -> None:
        await self.kill()
        await self.start()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.kill()


class Seen(NamedTuple):
    """One SSE message as a viewer saw it: the cursor after it, its event name, its JSON."""

    cursor: str
    event: str
    data: dict[str, Any]


class Watcher:
    """A plain SSE client: remembers what it saw and its cursor, and comes back with it."""

    def __init__(self, url: str, stream: str, *, dialect: str = "events") -> None:
        self.url = url
        self.stream = stream
        self.dialect = dialect
        self.seen: list[Seen] = []
        self.resets = 0
        self.connections = 0
        self.cursor = ""
        self.gone = False

    @property
    def text(self) -> str:
        return "".join(seen.data.get("text", "") for seen in self.seen if seen.event == "text")

    @property
    def terminal(self) -> Seen | None:
        return next((seen for seen in self.seen if seen.event in ("done", "error")), None)

    @property
    def seqs(self) -> list[int]:
        return [int(seen.cursor.partition(".")[2]) for seen in self.seen]

    async def read(self, client: httpx.AsyncClient, *, until: Callable[[Watcher], bool] = lambda _: False) -> None:
        """One connection, until it ends, is cut, or `until` holds. Transport errors end it quietly."""
        self.connections += 1
        headers = {"Last-Event-ID": self.cursor} if self.cursor else {}
        parser = Parser()
        path = f"{self.url}/v1/streams/{self.stream}/events"
        try:
            async with client.stream("GET", path, params={"dialect": self.dialect}, headers=headers) as response:
                if response.status_code == 204:
                    self.gone = True
                    return
                assert response.status_code == 200, await response.aread()
                async for chunk in response.aiter_bytes():
                    for message in parser.feed(chunk):
                        self._take(message.event, message.data, message.id)
                        if until(self):
                            return
        except httpx.TransportError:
            return

    def _take(self, event: str, data: str, cursor: str) -> None:
        if event == "reset":
            self.resets += 1
            self.seen.clear()
            return
        self.seen.append(Seen(cursor, event, json.loads(data)))
        self.cursor = cursor

    async def read_to_end(self, client: httpx.AsyncClient, *, timeout_s: float = 60.0) -> None:
        """Come back as often as needed, as a browser's EventSource does."""
        async with asyncio.timeout(timeout_s):
            while self.terminal is None and not self.gone:
                await self.read(client)
                await asyncio.sleep(0.02)


@asynccontextmanager
async def viewers_client() -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client without limits or time-outs of its own."""
    # Idle connections are given up before the server does (after 5 s), or a request may meet the end of its own.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=2.0)
    async with httpx.AsyncClient(limits=limits, timeout=httpx.Timeout(30.0, read=None)) as client:
        yield client


async def begin(client: httpx.AsyncClient, url: str, content: str, **fields: Any) -> str:
    """Start a native stream; its id."""
    body = {"model": "scripted", "messages": [{"role": "user", "content": content}], **fields}
    response = await client.post(f"{url}/v1/streams", json=body)
    assert response.status_code in (200, 201), response.text
    identity: str = response.json()["id"]
    return identity

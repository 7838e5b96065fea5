"""What a transport test needs: a receiver that checks the order of its calls, and requests with a script."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec

from headwater.errors import ProviderError
from headwater.providers.ports import Exchange, UpstreamRequest
from tests.upstream import Upstream, prompt


class KeepingReceiver:
    """Keeps a response; fails on calls out of order. `done` is set by `end` and `lost`."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.chunks: list[bytes] = []
        self.ended = False
        self.error: ProviderError | None = None
        self.changed = asyncio.Event()
        self.exchange: Exchange | None = None
        self.abort_at: str | None = None
        self.calls_after_abort = 0

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def over(self) -> bool:
        return self.ended or self.error is not None

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        assert not self.status
        assert not self.over
        self.status, self.headers = status, headers
        self._called("head")

    def data(self, chunk: bytes) -> None:
        assert self.status
        assert not self.over
        assert type(chunk) is bytes
        assert chunk
        self.chunks.append(chunk)
        self._called("data")

    def end(self) -> None:
        assert self.status
        assert not self.over
        self.ended = True
        self._called("end")

    def lost(self, error: ProviderError) -> None:
        assert not self.over
        self.error = error
        self._called("lost")

    def _called(self, name: str) -> None:
        if self.abort_at == "aborted":
            self.calls_after_abort += 1
        if self.abort_at == name and self.exchange is not None:
            self.abort_at = "aborted"
            self.exchange.abort()
        self.changed.set()

    async def until_over(self, timeout_s: float = 10.0) -> None:
        await self._until(lambda: self.over, timeout_s)

    async def until_data(self, timeout_s: float = 10.0) -> None:
        await self._until(lambda: bool(self.chunks) or self.over, timeout_s)

    async def _until(self, condition: object, timeout_s: float) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():  # type: ignore[operator]
                self.changed.clear()
                await self.changed.wait()


def chat_request(upstream: Upstream, *, url: str | None = None, **script: object) -> UpstreamRequest:
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": prompt(**script)}]}
    return UpstreamRequest(
        "POST",
        f"{url or upstream.url}/v1/chat/completions",
        {"content-type": "application/json", "authorization": "Bearer k"},
        msgspec.json.encode(body),
    )


def models_request(upstream: Upstream) -> UpstreamRequest:
    return UpstreamRequest("GET", f"{upstream.url}/v1/models", {"accept": "application/json"})

"""`HeadwaterClient`: the HTTP API as Python methods."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Literal, Self

import httpx
import msgspec

from ..streams import StreamInfo
from ..telemetry.alerts import Alert
from ..telemetry.figures import Summary
from ..telemetry.series import TimeSeries
from .http import STREAMS_PATH, Http, decoded, stream_path
from .reconnect import Backoff, OnReconnect, Reconnect
from .stream import EventStream, Order

# Three of the server's heartbeats (15 s by default): one may be late, two lost, and the third is a dead connection.
DEFAULT_SILENCE_S = 45.0


class _Streams(msgspec.Struct):
    data: list[StreamInfo]


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


class _Alerts(msgspec.Struct):
    data: list[Alert]


class HeadwaterClient:
    """A Headwater server, as seen from asyncio.

        async with HeadwaterClient("http://127.0.0.1:8000") as client:
            async for event in client.stream(messages=[{"role": "user", "content": "Hello"}]):
                ...

    `silence_s`: how long a connection may bring nothing, not even a heartbeat, before it counts as dead (seconds).
    `reconnect` says how long and how often to try again. `http` is an httpx client to use instead of an own one
    (for proxies, TLS, limits on connections); it is not closed. Methods other than `stream` and `follow` ask once,
    and raise `ConnectionLost` when the server cannot be reached. Raises `ConfigError` for an address that is no URL.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        silence_s: float = DEFAULT_SILENCE_S,
        reconnect: Reconnect | None = None,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._http = Http(base_url, api_key, silence_s, http)
        self._reconnect = reconnect or Reconnect()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections. Streams go on at the server."""
        await self._http.close()

    def stream(
        self,
        *,
        messages: Sequence[Mapping[str, object]],
        model: str | None = None,
        linger_s: float | None = None,
        idempotency_key: str | None = None,
        raise_on_error: bool = True,
        on_reconnect: OnReconnect | None = None,
        **params: object,
    ) -> EventStream:
        """A new answer to `messages` (OpenAI's chat shape), started when it is first read or by its `start`.

        `params` are OpenAI-named (temperature, tools, n …). `linger_s`: how long the generation outlives its last
        viewer. The same `idempotency_key` never generates twice; by default each call has its own, so that a start
        can be repeated until it is answered. `on_reconnect(attempt, delay_s, reason)` is called before each wait.
        """
        headers = {"idempotency-key": idempotency_key or uuid.uuid4().hex}
        if linger_s is not None:
            headers["x-linger-s"] = str(linger_s)
        body = json.dumps({"model": model, "messages": [dict(message) for message in messages], **params})
        order = Order(body=body.encode(), headers=headers)
        return EventStream(self._http, Backoff(self._reconnect, on_reconnect), order, raise_on_error=raise_on_error)

    def follow(
        self,
        stream_id: str,
        after: str | None = None,
        *,
        raise_on_error: bool = True,
        on_reconnect: OnReconnect | None = None,
    ) -> EventStream:
        """The events of a stream that exists: all, or those after the cursor `after`; live where it still runs."""
        backoff = Backoff(self._reconnect, on_reconnect)
        return EventStream(self._http, backoff, stream_id, after=after, raise_on_error=raise_on_error)

    async def cancel(self, stream_id: str) -> StreamInfo:
        """Stop the generation. Raises `UnknownStream`."""
        return decoded(await self._http.call("POST", stream_path(stream_id, "/cancel")), StreamInfo)

    async def info(self, stream_id: str) -> StreamInfo:
        """Raises `UnknownStream`."""
        return decoded(await self._http.call("GET", stream_path(stream_id)), StreamInfo)

    async def list(
        self,
        *,
        state: Literal["any", "unfinished", "finished"] = "any",
        before: str | None = None,
        limit: int = 100,
    ) -> Sequence[StreamInfo]:
        """The caller's streams, newest first; `before` is the id that the last page ended with."""
        query: dict[str, str | int] = {"state": state, "limit": limit}
        if before is not None:
            query["before"] = before
        return decoded(await self._http.call("GET", STREAMS_PATH, query=query), _Streams).data

    async def delete(self, stream_id: str) -> None:
        """Remove an ended stream with its events. Raises `UnknownStream`, `StreamStillRunning`."""
        await self._http.call("DELETE", stream_path(stream_id))

    async def summary(self, window_s: int = 300) -> Summary:
        """The server's figures of the last `window_s` seconds. For administrators, as the next two."""
        return decoded(await self._http.call("GET", "/v1/metrics/summary", query={"window_s": window_s}), Summary)

    async def series(self, metrics: Sequence[str], window_s: int, step_s: int) -> TimeSeries:
        """Figures over time (docs/how-to/monitor.md has their names)."""
        query: dict[str, str | int | Sequence[str]] = {"metric": metrics, "window_s": window_s, "step_s": step_s}
        return decoded(await self._http.call("GET", "/v1/metrics/timeseries", query=query), TimeSeries)

    async def alerts(self) -> Sequence[Alert]:
        """Those that last, the oldest first."""
        return decoded(await self._http.call("GET", "/v1/alerts"), _Alerts).data

    async def models(self) -> Sequence[str]:
        """Names that `stream(model=…)` takes now."""
        return [model.id for model in decoded(await self._http.call("GET", "/v1/models"), _Models).data]

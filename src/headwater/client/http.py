"""Requests to one Headwater server over httpx, with every failure as a `HeadwaterError`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar
from urllib.parse import quote

import httpx
import msgspec

from .._version import __version__
from ..errors import ConfigError, ConnectionLost, UnexpectedAnswer
from .refusals import refusal

Query = Mapping[str, str | int | Sequence[str]]
T = TypeVar("T")

STREAMS_PATH = "/v1/streams"

_CONNECT_TIMEOUT_S = 10.0
_EVENT_STREAM = "text/event-stream"

# What `on_reconnect` tells people; the first match decides.
_REASONS: tuple[tuple[type[httpx.RequestError], str], ...] = (
    (httpx.ConnectError, "the server cannot be reached"),
    (httpx.ConnectTimeout, "the server cannot be reached"),
    (httpx.TimeoutException, "the server fell silent"),
    (httpx.TransportError, "the connection was cut"),
    (httpx.DecodingError, "the connection was damaged"),
)


class Http:
    """`silence_s`: how long a response may send nothing, heartbeats included, before it counts as dead.

    A `client` that is given is used as it is (proxies, TLS, limits) and stays open at `close`.
    """

    def __init__(self, base_url: str, api_key: str | None, silence_s: float, client: httpx.AsyncClient | None) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise ConfigError(f"a server's address begins with http:// or https://, unlike {base_url!r}")
        self._base_url = base_url.rstrip("/")
        self._headers = {"user-agent": f"headwater-python/{__version__}"}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._timeout = httpx.Timeout(silence_s, connect=_CONNECT_TIMEOUT_S, pool=None)
        # One connection a stream: a limit would make the streams above it wait for ever.
        self._client = client or httpx.AsyncClient(limits=httpx.Limits(max_connections=None))
        self._owned = client is None

    async def close(self) -> None:
        if self._owned:
            await self._client.aclose()

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> bytes:
        """The body of a 2xx answer. Raises what `refusal` makes of any other, and `ConnectionLost`."""
        sent = {
            **self._headers,
            **({"content-type": "application/json"} if body is not None else {}),
            **(headers or {}),
        }
        with _failures():
            response = await self._client.request(
                method, self._base_url + path, params=query, headers=sent, content=body, timeout=self._timeout
            )
        if not response.is_success:
            raise refusal(response.status_code, response.headers, response.content)
        return response.content

    @asynccontextmanager
    async def events(self, path: str, query: Query) -> AsyncIterator[AsyncIterator[bytes] | None]:
        """An event stream's bytes as they come; `None` for 204, no more will come.

        Raises as `call` does, here and while the bytes are read, and `UnexpectedAnswer` for another media type.
        """
        sent = {**self._headers, "accept": _EVENT_STREAM, "cache-control": "no-store"}
        url = self._base_url + path
        with _failures():
            async with self._client.stream("GET", url, params=query, headers=sent, timeout=self._timeout) as response:
                if response.status_code == httpx.codes.NO_CONTENT:
                    yield None
                    return
                if response.status_code != httpx.codes.OK:
                    raise refusal(response.status_code, response.headers, await response.aread())
                kind = response.headers.get("content-type", "")
                if kind.partition(";")[0].strip().lower() != _EVENT_STREAM:
                    raise UnexpectedAnswer(f"the server sent {kind or 'an untyped body'} instead of an event stream")
                yield response.aiter_bytes()


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except (httpx.TransportError, httpx.DecodingError) as exc:
        reason = next(reason for kind, reason in _REASONS if isinstance(exc, kind))
        raise ConnectionLost(reason) from exc


def decoded(body: bytes, kind: type[T]) -> T:
    """Raises `UnexpectedAnswer` where the body is not the JSON of a `kind`."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeError) as exc:
        raise UnexpectedAnswer(f"the server's answer is not understood: {exc}") from exc


def stream_path(stream_id: str, rest: str = "") -> str:
    """The path of one stream; an id cannot leave its segment."""
    return f"{STREAMS_PATH}/{quote(stream_id, safe='')}{rest}"

"""The same upstream transport on aiohttp: for HTTP proxies from the environment and other odd cases.

It costs about twice the CPU a read of `transport_httptools` and a task an exchange, and passes the same conformance
suite. As there, no redirects are followed and nothing is decompressed.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from types import SimpleNamespace

import aiohttp
from yarl import URL

from ..errors import ProviderError, ProviderProtocolError, ProviderTruncated, ProviderUnreachable
from .ports import Receiver, UpstreamRequest
from .transport_errors import (
    MAX_HEAD_BYTES,
    check_headers,
    closed_error,
    compressed,
    connect_error,
    default_tls,
    head_too_large,
    is_identity,
    lost_error,
)

_READ_BYTES = 65_536


class AiohttpTransport:
    """See `ports.Transport`. Honours HTTP_PROXY, HTTPS_PROXY and NO_PROXY. `tls` replaces the default context.

    `stale_after_s` is as in `PoolLimits`, but counts from the last use of any connection: aiohttp tells no more.
    """

    def __init__(
        self, *, connect_timeout_s: float = 10.0, stale_after_s: float = 1.0, tls: ssl.SSLContext | None = None
    ) -> None:
        self._connect_timeout_s = connect_timeout_s
        self._stale_after_s = stale_after_s
        self._used_s = 0.0
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        self._exchanges: set[AiohttpExchange] = set()
        self._closed = False

    def open(self, request: UpstreamRequest, receiver: Receiver) -> AiohttpExchange:
        check_headers(request.headers)
        now_s = asyncio.get_running_loop().time()
        maybe_stale = now_s - self._used_s >= self._stale_after_s
        exchange = AiohttpExchange(receiver, self._connect_timeout_s, maybe_stale=maybe_stale, on_over=self._over)
        if self._closed:
            asyncio.get_running_loop().call_soon(exchange.lost, closed_error())
            return exchange
        self._exchanges.add(exchange)
        exchange.start(self._opened_session(), request).add_done_callback(lambda _: self._exchanges.discard(exchange))
        return exchange

    def _over(self) -> None:
        self._used_s = asyncio.get_running_loop().time()

    async def close(self) -> None:
        """Cut everything; exchanges still under way are told that they are lost."""
        self._closed = True
        tasks = [exchange.task for exchange in self._exchanges if exchange.task is not None]
        for exchange in list(self._exchanges):
            exchange.lost(closed_error())
            exchange.abort()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _opened_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            reused = aiohttp.TraceConfig()
            reused.on_connection_reuseconn.append(_note_reuse)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=self._tls or default_tls()),
                timeout=aiohttp.ClientTimeout(total=None, connect=self._connect_timeout_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=True,
                read_bufsize=_READ_BYTES,
                max_line_size=MAX_HEAD_BYTES,
                max_field_size=MAX_HEAD_BYTES,
                trace_configs=[reused],
            )
        return self._session


class AiohttpExchange:
    """See `ports.Exchange`."""

    def __init__(
        self, receiver: Receiver, connect_timeout_s: float, *, maybe_stale: bool, on_over: Callable[[], None]
    ) -> None:
        self.task: asyncio.Task[None] | None = None
        self._receiver = receiver
        self._connect_timeout_s = connect_timeout_s
        self._maybe_stale = maybe_stale
        self._on_over = on_over
        self._response: aiohttp.ClientResponse | None = None
        self._over = False
        self._flowing = asyncio.Event()
        self._flowing.set()

    def start(self, session: aiohttp.ClientSession, request: UpstreamRequest) -> asyncio.Task[None]:
        self.task = asyncio.get_running_loop().create_task(self._run(session, request), name="upstream exchange")
        return self.task

    def abort(self) -> None:
        self._over = True
        if self._response is not None:
            self._response.close()
        if self.task is not None and not self.task.done() and self.task is not asyncio.current_task():
            self.task.cancel()

    def pause(self) -> None:
        self._flowing.clear()

    def resume(self) -> None:
        self._flowing.set()

    def lost(self, error: ProviderError) -> None:
        if not self._over:
            self._over = True
            self._receiver.lost(error)

    async def _run(self, session: aiohttp.ClientSession, request: UpstreamRequest) -> None:
        try:
            self._response = await self._request(session, request)
            error = self._head(self._response)
            if error is None:
                await self._body(self._response)
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            error = _error_of(exc, head_seen=self._response is not None, timeout_s=self._connect_timeout_s)
        finally:
            if self._response is not None:
                self._response.close()
        if error is not None:
            self.lost(error)
        elif not self._over:
            self._over = True
            self._on_over()
            self._receiver.end()

    async def _request(self, session: aiohttp.ClientSession, request: UpstreamRequest) -> aiohttp.ClientResponse:
        """Send it; once more where a kept-alive connection was closed before it answered (RFC 9112, 9.3.1)."""
        reuse = SimpleNamespace(reused=False)
        headers = {**request.headers, "accept-encoding": "identity"}
        for last in (False, True):
            reuse.reused = False
            try:
                return await session.request(
                    request.method,
                    URL(request.url),
                    data=request.body or None,
                    headers=headers,
                    allow_redirects=False,
                    trace_request_ctx=reuse,
                )
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                if last or not (reuse.reused and self._maybe_stale):
                    raise
        raise AssertionError  # the loop returns or raises

    def _head(self, response: aiohttp.ClientResponse) -> ProviderError | None:
        size = sum(len(name) + len(value) + 4 for name, value in response.raw_headers)
        if size > MAX_HEAD_BYTES:
            return head_too_large()
        coding = response.headers.get("content-encoding", "")
        if response.status < 400 and not is_identity(coding):
            return compressed(coding)
        names = dict.fromkeys(name.lower() for name in response.headers)
        if not self._over:
            self._receiver.head(response.status, {name: ", ".join(response.headers.getall(name)) for name in names})
        return None

    async def _body(self, response: aiohttp.ClientResponse) -> None:
        while not self._over:
            await self._flowing.wait()
            data = await response.content.readany()
            if not data:
                return
            if not self._over:
                self._receiver.data(data)


async def _note_reuse(session: aiohttp.ClientSession, context: SimpleNamespace, params: object) -> None:
    context.trace_request_ctx.reused = True


def _error_of(error: Exception, *, head_seen: bool, timeout_s: float) -> ProviderError:
    """aiohttp's exceptions, through the table that both transports share."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return connect_error(error.certificate_error, timeout_s=timeout_s)
        case aiohttp.ClientConnectorError():
            return connect_error(error.os_error, timeout_s=timeout_s)
        case aiohttp.ConnectionTimeoutError():
            return connect_error(TimeoutError(), timeout_s=timeout_s)
        case aiohttp.ClientHttpProxyError():
            return ProviderUnreachable(f"the proxy answered with HTTP status {error.status}")
        case aiohttp.ClientResponseError():
            return ProviderProtocolError(
                f"the provider sent what is not HTTP ({error.message.partition(chr(10))[0][:100]})"
            )
        case aiohttp.ClientPayloadError():
            return ProviderTruncated("the provider closed the connection in the middle of its answer")
        case aiohttp.ServerDisconnectedError():
            return lost_error(None, head_seen=head_seen)
        case aiohttp.ClientOSError() | ConnectionError():
            return lost_error(error, head_seen=head_seen)
        case _:
            return connect_error(error, timeout_s=timeout_s)

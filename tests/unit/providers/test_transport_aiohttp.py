"""What only the transport for proxies has: the proxy's own answers, and bounds beside its library's."""

from __future__ import annotations

import asyncio

import pytest

from headwater.errors import ProviderProtocolError, ProviderUnreachable
from headwater.providers.ports import UpstreamRequest
from headwater.providers.transport_aiohttp import AiohttpTransport
from tests.conformance.transports.kit import KeepingReceiver


async def test_a_proxy_that_refuses_is_named_as_the_one_who_did(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told as the provider's own 407, an operator would look for the fault at the wrong end."""
    asked: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")[0])
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        transport, receiver = AiohttpTransport(), KeepingReceiver()
        transport.open(UpstreamRequest("GET", "https://provider.example/v1/models", {}), receiver)
        await receiver.until_over()
        await transport.close()
    assert asked == [b"CONNECT provider.example:443 HTTP/1.1"]
    assert type(receiver.error) is ProviderUnreachable
    assert receiver.error.message == "the proxy answered with HTTP status 407"


async def test_a_head_of_many_small_lines_is_bounded_too() -> None:
    """A security limit on the whole head: aiohttp's own are on a line."""
    head = b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: %b\r\n" % (at, b"x" * 1000) for at in range(70))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head + b"content-length: 2\r\n\r\nok")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        transport, receiver = AiohttpTransport(), KeepingReceiver()
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/models"
        transport.open(UpstreamRequest("GET", url, {}), receiver)
        await receiver.until_over()
        await transport.close()
    assert isinstance(receiver.error, ProviderProtocolError)
    assert receiver.status == 0

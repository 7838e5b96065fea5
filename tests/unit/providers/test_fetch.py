"""Small whole answers."""

from __future__ import annotations

import asyncio
import importlib
import socket
from collections.abc import AsyncIterator

import pytest

from headwater.errors import ProviderProtocolError, ProviderTimeout, ProviderUnreachable
from headwater.providers import HttptoolsTransport
from headwater.providers.fetch import fetch
from headwater.providers.ports import UpstreamRequest
from tests.upstream import Upstream, closed_url

from ..streams.kit import eventually


@pytest.fixture
async def transport() -> AsyncIterator[HttptoolsTransport]:
    transport = HttptoolsTransport()
    yield transport
    await transport.close()


def get(url: str) -> UpstreamRequest:
    return UpstreamRequest("GET", url, {})


async def test_an_answer(transport: HttptoolsTransport) -> None:
    async with Upstream(models=["m"]) as upstream:
        status, headers, body = await fetch(transport, get(f"{upstream.openai_url}/models"), timeout_s=5)
    assert (status, headers["content-type"]) == (200, "application/json")
    assert b'"m"' in body


async def test_nobody_there(transport: HttptoolsTransport) -> None:
    with pytest.raises(ProviderUnreachable):
        await fetch(transport, get(closed_url()), timeout_s=5)


async def test_one_that_never_comes(transport: HttptoolsTransport) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        with pytest.raises(ProviderTimeout, match=r"within 0\.05 s"):
            await fetch(transport, get(f"http://127.0.0.1:{deaf.getsockname()[1]}/"), timeout_s=0.05)
    await eventually(lambda: transport.open_connections == 0)


async def test_a_caller_that_leaves_closes_the_connection(transport: HttptoolsTransport) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        asking = asyncio.create_task(fetch(transport, get(url), timeout_s=60))
        await eventually(lambda: transport.open_connections)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await eventually(lambda: transport.open_connections == 0)


async def test_one_without_end(transport: HttptoolsTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("headwater.providers.fetch")
    monkeypatch.setattr(module, "_FETCH_BYTES", 10)
    async with Upstream() as upstream:
        with pytest.raises(ProviderProtocolError, match="larger than 10"):
            await fetch(transport, get(f"{upstream.openai_url}/models"), timeout_s=5)


def test_what_comes_after_the_first_failure_changes_nothing() -> None:
    module = importlib.import_module("headwater.providers.fetch")

    async def run() -> None:
        receiver = module._Fetch()
        receiver.lost(ProviderUnreachable("first"))
        receiver.lost(ProviderUnreachable("second"))
        receiver.end()
        with pytest.raises(ProviderUnreachable, match="first"):
            await receiver.answer

    asyncio.run(run())

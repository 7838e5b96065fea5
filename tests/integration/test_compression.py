"""Compressed streams through the whole stack: the same bytes, each event readable before the next one is made."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import aiohttp
import httpx
import pytest
import pytest_asyncio

from headwater.dialects import DIALECTS
from headwater.server.compression import CODINGS
from headwater.sse import Parser
from tests.stack import Served, begin
from tests.upstream import Upstream, prompt

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

WRITES = 6


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    flags = ("--heartbeat-s", "0.2", "--first-token-timeout-s", "60")
    async with Served(tmp_path_factory.mktemp("served"), openai_url=upstream.openai_url, flags=flags) as server:
        yield server


def events_of(served: Served, stream: str, dialect: str = "events") -> str:
    return f"{served.url}/v1/streams/{stream}/events?dialect={dialect}"


@pytest.mark.parametrize("coding", CODINGS)
async def test_the_same_bytes_in_every_dialect(client: httpx.AsyncClient, served: Served, coding: str) -> None:
    stream = await begin(client, served.url, prompt(tokens=600, seed=4))
    await client.get(events_of(served, stream))
    for dialect in DIALECTS:
        address = events_of(served, stream, dialect)
        plain = await client.get(address, headers={"Accept-Encoding": "identity"})
        compressed = await client.get(address, headers={"Accept-Encoding": coding})
        assert "content-encoding" not in plain.headers
        assert compressed.headers["content-encoding"] == coding
        assert compressed.content == plain.content
        assert len(plain.content) > compressed.num_bytes_downloaded


async def test_an_answer_in_the_request_that_began_it(client: httpx.AsyncClient, served: Served) -> None:
    body = {"model": "scripted", "stream": True, "messages": [{"role": "user", "content": prompt(tokens=400, seed=5)}]}
    answer = await client.post(f"{served.url}/v1/chat/completions", json=body)
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.text.endswith("data: [DONE]\n\n")


# ---------------------------------------------------------------------- one by one


async def by_httpx(address: str, coding: str) -> AsyncGenerator[str]:
    async with (
        httpx.AsyncClient(timeout=30) as http,
        http.stream("GET", address, headers={"Accept-Encoding": coding}) as response,
    ):
        assert response.headers["content-encoding"] == coding
        async for text in response.aiter_text():
            yield text


async def by_aiohttp(address: str, coding: str) -> AsyncGenerator[str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(address, headers={"Accept-Encoding": coding}) as response,
    ):
        assert response.headers["content-encoding"] == coding
        async for data in response.content.iter_any():
            yield data.decode()


READERS = {"httpx": by_httpx, "aiohttp": by_aiohttp}


@pytest.mark.parametrize(
    ("reader", "coding"),
    [
        *(("httpx", coding) for coding in CODINGS),
        *(("aiohttp", coding) for coding in ("gzip", "deflate", "br")),
    ],
)
async def test_each_event_is_read_before_the_next_is_made(
    client: httpx.AsyncClient, upstream: Upstream, served: Served, reader: str, coding: str
) -> None:
    key = f"{reader}-{coding}"
    script = prompt(tokens=WRITES, delay_ms=1, gated=True, key=key, seed=6)
    stream = await begin(client, served.url, script)
    words = 0
    parser = Parser()
    async with aclosing(READERS[reader](events_of(served, stream), coding)) as texts:
        upstream.let(key, 1)  # if this one were not readable, the next would never be let go
        async for text in texts:
            for message in parser.feed(text.encode()):
                if message.event == "text":
                    words += 1
                    upstream.let(key, 1)
                assert message.event != "error", message.data
    assert words == WRITES


async def test_heartbeats_come_through(client: httpx.AsyncClient, upstream: Upstream, served: Served) -> None:
    stream = await begin(client, served.url, prompt(tokens=2, delay_ms=1, gated=True, key="beat"))
    beats = ""
    async with aclosing(by_httpx(events_of(served, stream), "gzip")) as texts:
        async for text in texts:
            beats += text
            if beats.count("\n:") + beats.startswith(":") >= 2:
                break
    await client.post(f"{served.url}/v1/streams/{stream}/cancel")


@pytest.mark.parametrize("coding", CODINGS)
async def test_a_killed_server_does_not_look_like_an_end(
    client: httpx.AsyncClient, upstream: Upstream, served: Served, coding: str
) -> None:
    """And what was read before stands: the viewer comes back for the rest."""
    stream = await begin(client, served.url, prompt(tokens=4, delay_ms=1, gated=True, key=f"kill-{coding}"))
    upstream.let(f"kill-{coding}", 1)
    parser = Parser()
    cursor = ""
    with pytest.raises(httpx.RemoteProtocolError):
        async for text in by_httpx(events_of(served, stream), coding):
            for message in parser.feed(text.encode()):
                cursor = message.id or cursor
                if message.event == "text":
                    assert served.process is not None
                    os.kill(served.process.pid, signal.SIGKILL)
    assert cursor
    await served.restart()
    rest = await client.get(events_of(served, stream), headers={"Last-Event-ID": cursor, "Accept-Encoding": coding})
    assert "event: error" in rest.text
    assert f"id: {cursor}\n" not in rest.text

"""Streams made with `hw.respond` in somebody else's application: cut anywhere, killed at any moment.

The same promises as for the server's own, under plain uvicorn and under Headwater's protocol class, through middleware
that the application's author added.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from headwater.events import Done, Error, decode_event, text_of
from headwater.sse import Message, Parser

from .processes import ROOT, Served, served

HTTP = ["plain", "own"]


@asynccontextmanager
async def application(data_dir: Path, *how: str) -> AsyncIterator[Served]:
    command = (sys.executable, str(ROOT / "tests/integration/embedding_app.py"), str(data_dir), *how)
    async with served(*command, until="running on") as running:
        yield running


async def watch(
    client: httpx.AsyncClient, url: str, after: str = "", *, limit: int = sys.maxsize, **params: float
) -> tuple[list[Message], httpx.Response]:
    """The messages after a cursor, cut off once there are `limit`; or until the server dies."""
    parser = Parser()
    got: list[Message] = []
    headers = {"Last-Event-ID": after} if after else {}
    async with client.stream("GET", url, params=params, headers=headers) as response:
        try:
            async for data in response.aiter_bytes():
                got += parser.feed(data)
                if len(got) >= limit:
                    break
        except httpx.TransportError:
            pass
    return got[:limit], response


def text(messages: list[Message]) -> str:
    return text_of([decode_event(message.data) for message in messages])


def numbers(count: int) -> str:
    return "".join(f"{number} " for number in range(count))


@pytest.mark.parametrize("http", HTTP)
@pytest.mark.parametrize("gzip", ["gzip", ""])
async def test_headers_and_middleware_of_the_application_hold(tmp_path: Path, http: str, gzip: str) -> None:
    async with application(tmp_path, http, gzip) as running, httpx.AsyncClient(timeout=60) as client:
        messages, response = await watch(client, f"{running.url}/answer/a", count=20)
        assert text(messages) == numbers(20)
        assert response.headers["x-mine"] == response.cookies["mine"] == "answer"
        assert response.headers["x-tagged"] == "yes"
        assert response.headers["cache-control"] == "no-cache, no-transform"
        # The connection carries the next request, so the body ended as HTTP says it should.
        info = await client.get(f"{running.url}/streams-api/v1/streams/{response.headers['x-stream-id']}")
        assert info.json()["status"] == "done"


@pytest.mark.parametrize("http", HTTP)
async def test_any_cuts_give_the_same_text(tmp_path: Path, http: str) -> None:
    """P2: any number of cuts, anywhere, while it is made and after."""
    chance = random.Random(http)
    async with application(tmp_path, http) as running, httpx.AsyncClient(timeout=60) as client:
        cuts = 0
        for key in ("a", "b", "c"):
            seen: list[Message] = []
            while not seen or seen[-1].event != "done":
                after = seen[-1].id if seen else ""
                url = f"{running.url}/answer/{key}"
                got, _ = await watch(client, url, after, limit=chance.randint(1, 6), count=60, pause_s=0.002)
                seen += got
                cuts += 1
            assert text(seen) == numbers(60)
            assert decode_event(seen[-1].data) == Done("stop")
            _, end = await watch(client, f"{running.url}/answer/{key}", seen[-1].id)
            assert end.status_code == 204
        # How many they are depends on how much is there already, in few large pieces, when a slow reader comes back.
        assert cuts > 6


@pytest.mark.parametrize("http", HTTP)
async def test_killed_at_any_moment_it_keeps_what_anyone_saw(tmp_path: Path, http: str) -> None:
    """P1, P3: what a viewer saw is a prefix of what the log holds, and the stream ends as interrupted."""
    chance = random.Random(http)
    seen: dict[str, list[Message]] = {}
    endless = numbers(100_000)  # no machine is so slow that an answer has ended when its server is killed
    for round_number in range(3):
        async with application(tmp_path, http) as running, httpx.AsyncClient(timeout=60) as client:
            for key, before in seen.items():
                rest, found = await watch(client, f"{running.url}/answer/{key}", before[-1].id)
                assert rest, (found.status_code, found.headers, before[-1])
                assert endless.startswith(text(before + rest))
                end = decode_event(rest[-1].data)
                assert isinstance(end, Error)
                assert end.reason == "interrupted"
                whole, _ = await watch(client, f"{running.url}/answer/{key}")
                assert text(whole) == text(before + rest)
            seen = {}
            keys = [f"{round_number}-{number}" for number in range(8)]
            watching = [
                asyncio.create_task(watch(client, f"{running.url}/answer/{key}", count=100_000, pause_s=0.001))
                for key in keys
            ]
            # One viewer decides when: after it has some events, which is another moment each time.
            await watch(client, f"{running.url}/answer/{keys[0]}", limit=chance.randint(2, 60))
            await running.stop(signal.SIGKILL)
            for key, result in zip(keys, await asyncio.gather(*watching, return_exceptions=True), strict=True):
                if isinstance(result, httpx.RemoteProtocolError):
                    continue  # killed before this one was answered at all
                if isinstance(result, BaseException):
                    raise result
                if result[0]:
                    seen[key] = result[0]
            assert seen


@pytest.mark.parametrize("http", HTTP)
async def test_an_orderly_stop_lets_go_of_everything(tmp_path: Path, http: str) -> None:
    async with application(tmp_path, http) as running, httpx.AsyncClient(timeout=60) as client:
        messages, _ = await watch(client, f"{running.url}/answer/a", count=5)
        assert text(messages) == numbers(5)
        assert await running.stop() in (0, -signal.SIGTERM)
        assert "Traceback" not in await running.rest()

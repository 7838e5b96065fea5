"""Admission through the whole stack: a server at ten times its capacity refuses, queues and starves nobody."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.stack import Served, Watcher, begin, viewers_client
from tests.upstream import Upstream, prompt

from .processes import START_S, environment, headwater

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

SLOTS = 4
AGEING_S = 0.3
BUSY = ("--max-streams", str(SLOTS), "--max-queued", "100", "--priority-ageing-s", str(AGEING_S))
SMALL = ("--max-streams", "1", "--max-queued", "2")
IMPATIENT = (*SMALL, "--queue-timeout-s", "1.5")
# An upstream that takes its time: nothing of it comes before the test is over.
HANGS = prompt(tokens=1, first_delay_ms=600_000)


@pytest_asyncio.fixture(loop_scope="module")
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with viewers_client() as http:
        yield http


def served(tmp_path: Path, upstream: Upstream, flags: tuple[str, ...]) -> Served:
    return Served(tmp_path, openai_url=upstream.openai_url, flags=flags)


def positions(watcher: Watcher) -> list[int]:
    """The places in the queue that a viewer was told, in order."""
    return [seen.data["position"] for seen in watcher.seen if seen.event == "status" and seen.data["stage"] == "queued"]


async def watch(client: httpx.AsyncClient, url: str, script: str, **fields: Any) -> Watcher:
    """One stream from its start to its end."""
    watcher = Watcher(url, await begin(client, url, script, **fields))
    await watcher.read_to_end(client)
    return watcher


async def told_a_place(client: httpx.AsyncClient, url: str, stream: str) -> int:
    """The first place in the queue that a stream was told."""
    watcher = Watcher(url, stream)
    await watcher.read(client, until=lambda seen: bool(positions(seen)))
    return positions(watcher)[0]


async def unfinished(client: httpx.AsyncClient, url: str) -> list[Any]:
    found: list[Any] = (await client.get(f"{url}/v1/streams", params={"state": "unfinished"})).json()["data"]
    return found


@asynccontextmanager
async def peak_of(upstream: Upstream) -> AsyncIterator[list[int]]:
    """How many requests were at the upstream at once, as far as it has come."""
    peak = [0]

    def look() -> bool:
        peak[0] = max(peak[0], upstream.active)
        return False

    looking = asyncio.create_task(upstream.until(look, timeout_s=600))
    try:
        yield peak
    finally:
        looking.cancel()
        await asyncio.wait((looking,))


async def all_slots_are_free(client: httpx.AsyncClient, url: str, upstream: Upstream) -> None:
    """Exactly as many streams as there are slots start at once, and one more has to wait."""
    await upstream.until(lambda: upstream.active == 0)
    assert await unfinished(client, url) == []
    streams = [await begin(client, url, HANGS) for _ in range(SLOTS)]
    await upstream.until(lambda: upstream.active == SLOTS)
    last = await begin(client, url, HANGS)
    assert await told_a_place(client, url, last) == 1
    for stream in [*streams, last]:
        await client.post(f"{url}/v1/streams/{stream}/cancel")
    await upstream.until(lambda: upstream.active == 0)


async def test_at_ten_times_overload_nobody_starves(
    tmp_path: Path, upstream: Upstream, client: httpx.AsyncClient
) -> None:
    """Ten streams a slot all the time, most of high priority: the low ones end while high ones keep coming.

    Slots come back whatever ends a stream (litellm #27955, #20256; bifrost PR #6802).
    """
    async with served(tmp_path, upstream, BUSY) as server, peak_of(upstream) as peak:
        ended: dict[str, list[Watcher]] = {"low": [], "normal": [], "high": []}

        async def one(priority: str) -> None:
            script = prompt(text="one two three four", delay_ms=8)
            ended[priority].append(await watch(client, server.url, script, priority=priority))

        async def again_and_again() -> None:
            while len(ended["low"]) + len(ended["normal"]) < len(patient):
                await one("high")

        patient = [asyncio.create_task(one(priority)) for priority in 4 * ["low"] + 4 * ["normal"]]
        async with asyncio.timeout(60):
            # They come while the queue is full of what came before, and until the last low one has its answer.
            await asyncio.gather(*patient, *(again_and_again() for _ in range(10 * SLOTS - len(patient))))
        for watcher in [watcher for watchers in ended.values() for watcher in watchers]:
            assert watcher.terminal is not None
            assert (watcher.terminal.event, watcher.text) == ("done", "one two three four")
        assert (len(ended["low"]), len(ended["normal"])) == (4, 4)
        assert len(ended["high"]) > 10 * SLOTS  # so it was not the lack of others that let them through
        assert peak == [SLOTS]
        await all_slots_are_free(client, server.url, upstream)


async def test_the_place_in_the_queue_falls_to_the_start(
    tmp_path: Path, upstream: Upstream, client: httpx.AsyncClient
) -> None:
    """Of equals nobody is overtaken: each is told a smaller and smaller place, and then answered."""
    async with served(tmp_path, upstream, BUSY) as server:
        running = [await begin(client, server.url, HANGS) for _ in range(SLOTS)]
        script = prompt(tokens=2, first_delay_ms=300)
        waiting = [await begin(client, server.url, script) for _ in range(9 * SLOTS)]
        first = await asyncio.gather(*(told_a_place(client, server.url, stream) for stream in waiting))
        assert first == list(range(1, len(waiting) + 1))
        for stream in running:
            await client.post(f"{server.url}/v1/streams/{stream}/cancel")
        watchers = [Watcher(server.url, stream) for stream in waiting]
        await asyncio.gather(*(watcher.read_to_end(client) for watcher in watchers))
        told = [positions(watcher) for watcher in watchers]
        assert len(told[-1]) >= 2
        for places in told:
            assert places == sorted(set(places), reverse=True)
        assert all(watcher.terminal is not None and watcher.terminal.event == "done" for watcher in watchers)


async def test_the_higher_priority_is_next(tmp_path: Path, upstream: Upstream, client: httpx.AsyncClient) -> None:
    async with served(tmp_path, upstream, SMALL) as server:
        await begin(client, server.url, HANGS)
        low = await begin(client, server.url, HANGS, priority="low")
        assert await told_a_place(client, server.url, low) == 1
        chat = {"model": "scripted", "messages": [{"role": "user", "content": HANGS}], "priority": "low"}
        started = await client.post(f"{server.url}/v1/streams", json=chat, headers={"X-Priority": "high"})
        assert await told_a_place(client, server.url, started.json()["id"]) == 1


async def test_priority_and_fallback_do_not_reach_the_provider(
    tmp_path: Path, upstream: Upstream, client: httpx.AsyncClient
) -> None:
    async with served(tmp_path, upstream, SMALL) as server:
        chat = {"model": "scripted", "messages": [{"role": "user", "content": prompt(tokens=1)}]}
        url = f"{server.url}/v1/chat/completions"
        answer = await client.post(url, json=chat | {"priority": "high", "fallback": "off"})
        assert answer.status_code == 200
        sent = upstream.requests[-1].body
        assert sent["messages"] == chat["messages"]
        assert not {"priority", "fallback"} & set(sent)
        for fields, headers, param in (
            ({"priority": "urgent"}, {}, "priority"),
            ({"fallback": 1}, {}, "fallback"),
            ({}, {"X-Priority": "urgent"}, "X-Priority"),
            ({}, {"X-Fallback": "no"}, "X-Fallback"),
        ):
            for route in ("/v1/chat/completions", "/v1/streams"):
                refused = await client.post(f"{server.url}{route}", json=chat | fields, headers=headers)
                assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)


async def test_a_full_queue_refuses_and_a_cancel_makes_room(
    tmp_path: Path, upstream: Upstream, client: httpx.AsyncClient
) -> None:
    async with served(tmp_path, upstream, SMALL) as server:
        chat = {"model": "scripted", "messages": [{"role": "user", "content": HANGS}]}
        running = await begin(client, server.url, HANGS)
        await upstream.until(lambda: upstream.active == 1)
        first, second = [await begin(client, server.url, HANGS) for _ in range(2)]
        for route in ("/v1/streams", "/v1/chat/completions"):
            refused = await client.post(f"{server.url}{route}", json=chat)
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
            assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert await told_a_place(client, server.url, second) == 2

        cancelled = await client.post(f"{server.url}/v1/streams/{first}/cancel")
        assert cancelled.json()["status"] == "cancelled"
        again = await begin(client, server.url, HANGS)
        assert await told_a_place(client, server.url, again) == 2
        # The one that runs was neither disturbed nor replaced: no other reached the provider.
        assert (upstream.attempts, upstream.active) == (1, 1)

        await client.post(f"{server.url}/v1/streams/{running}/cancel")
        await upstream.until(lambda: upstream.attempts == 2)


async def test_a_tail_into_a_pipe_tells_the_place_beside_the_text(
    tmp_path: Path, upstream: Upstream, client: httpx.AsyncClient
) -> None:
    async with served(tmp_path, upstream, SMALL) as server:
        running = await begin(client, server.url, HANGS)
        waiting = await begin(client, server.url, prompt(text="at last"))
        assert await told_a_place(client, server.url, waiting) == 1
        tail = await asyncio.create_subprocess_exec(
            *headwater("tail", waiting, "--url", server.url), stdout=PIPE, stderr=PIPE, env=environment()
        )
        assert tail.stderr is not None
        try:
            async with asyncio.timeout(START_S):
                assert await tail.stderr.readline() == b"queued, place 1\n"
                await client.post(f"{server.url}/v1/streams/{running}/cancel")
                assert await tail.communicate() == (b"at last", b"")
        finally:
            if tail.returncode is None:
                tail.kill()
        assert tail.returncode == 0


async def test_the_wait_for_a_slot_ends_with_503(tmp_path: Path, upstream: Upstream, client: httpx.AsyncClient) -> None:
    """As an HTTP status for API callers, as a typed error in-band for viewers; the place is free again."""
    async with served(tmp_path, upstream, IMPATIENT) as server:
        chat = {"model": "scripted", "messages": [{"role": "user", "content": HANGS}]}
        await begin(client, server.url, HANGS)
        late, refused = await asyncio.gather(
            watch(client, server.url, HANGS), client.post(f"{server.url}/v1/chat/completions", json=chat)
        )
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "queue_timeout")
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert late.terminal is not None
        error = late.terminal.data
        assert (late.terminal.event, error["reason"], error["status"]) == ("error", "queue_timeout", 503)
        assert error["retryable"]
        assert 1 <= error["retry_after_s"] <= 60
        assert upstream.attempts == 1
        for _ in range(2):
            await begin(client, server.url, HANGS)

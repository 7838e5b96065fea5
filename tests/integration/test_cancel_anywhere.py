"""Cancelling reaches the provider from every state, and ten thousand cancels at random moments leave nothing behind."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator

import psutil
import pytest

from headwater.events import Done, Error
from headwater.logs import MemoryLog
from headwater.providers import HttpProvider, HttptoolsTransport, OpenAIChat
from headwater.request import ChatRequest, encode_request
from headwater.routing import Registry, TargetSettings
from headwater.streams import Channel, Hub, NewStream, StreamSettings
from headwater.tables import Limits, RouteTable, Target
from tests.integration.kit import eventually
from tests.upstream import Upstream, prompt

CANCELS = 10_000
# More than the upstream takes, so that some wait for a slot; few enough that a busy machine, too, gets to the model in
# the time that is waited before a cancel.
AT_ONCE = 60
SLOTS = 20


class Stage:
    """A hub in front of one upstream with room for 100 calls, and a route with hedging and a second target."""

    def __init__(self, upstream: Upstream, url: str = "", *, max_concurrent: int = 100) -> None:
        self.upstream = upstream
        self.transport = HttptoolsTransport(connect_timeout_s=30)
        base_url = f"{url or upstream.url}/v1"
        limits = Limits(max_concurrent=max_concurrent)
        targets = [Target(provider="one", model="m"), Target(provider="two", model="m")]
        self.registry = Registry(
            [HttpProvider(name, OpenAIChat(base_url), self.transport) for name in ("one", "two")],
            limits={"one": limits, "two": limits},
            routes={
                "plain": RouteTable(targets=targets),
                "hedged": RouteTable(targets=targets, hedge_after_s=0.005),
            },
            settings=TargetSettings(breaker_failures=0),
            transport=self.transport,
        )
        self.hub = Hub(MemoryLog(), StreamSettings(max_streams=200, max_queued=10_000))

    async def begin(self, model: str = "plain", **script: object) -> Channel:
        request = ChatRequest(model, [{"role": "user", "content": prompt(**script)}])
        route = await self.registry.resolve(model)
        new = NewStream(model=model, provider=route.provider_name, request=encode_request(request))
        return (await self.hub.create(new, route.producer(request))).channel

    async def nothing_is_left(self) -> None:
        """P10: slots, generations, answers under way; then the kept connections too."""
        await self.upstream.until(lambda: not self.upstream.active)
        await eventually(lambda: not self.registry.upstreams.running and not self.hub.live)
        await self.hub.shutdown(0)
        await self.registry.close()
        await self.upstream.until(lambda: not self.upstream.open_connections)


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as server:
        yield server


@pytest.fixture
async def stage(upstream: Upstream) -> AsyncIterator[Stage]:
    stage = Stage(upstream)
    await stage.hub.start()
    yield stage
    await stage.nothing_is_left()


async def cancelled(stage: Stage, channel: Channel) -> None:
    await stage.hub.cancel(channel.record.id, owner="")
    assert channel.terminal == Done("cancelled")


@pytest.mark.parametrize(
    "script",
    [
        {"fault": "hang_before_headers"},
        {"first_delay_ms": 60_000},
        {"tokens": 1000, "delay_ms": 5},
        {"fault": "hang_mid"},
    ],
    ids=["before the head", "before the first token", "in mid-answer", "while it hangs in mid-answer"],
)
@pytest.mark.parametrize("model", ["plain", "hedged"])
async def test_an_answer_under_way(stage: Stage, script: dict[str, object], model: str) -> None:
    """litellm #30244, PR #31499; open-webui #1567: the model must stop, also before its first token."""
    channel = await stage.begin(model, **script)
    await stage.upstream.until(lambda: stage.upstream.active >= 1)
    if "tokens" in script:
        await eventually(lambda: channel.fold.has_content)
    await cancelled(stage, channel)
    await stage.upstream.until(lambda: not stage.upstream.active)
    assert stage.upstream.aborted >= 1


async def test_while_it_waits_for_the_next_attempt(stage: Stage) -> None:
    """bifrost #7035: nobody asks again for an answer that nobody wants."""
    channel = await stage.begin(fault="status:500+retry_after:3", key="retry")
    await eventually(lambda: channel.next_seq >= 2)  # the start, and the status "retrying"
    attempts = stage.upstream.attempts
    await cancelled(stage, channel)
    await stage.nothing_is_left()
    assert stage.upstream.attempts == attempts == 1


async def test_while_it_waits_for_a_slot(upstream: Upstream) -> None:
    """litellm #27955, bifrost PR #6802: a place in the queue is given back, and the next one moves up."""
    stage = Stage(upstream, max_concurrent=1)
    await stage.hub.start()
    first = await stage.begin(fault="hang_mid")
    await upstream.until(lambda: upstream.active == 1)
    waiting = [await stage.begin(key="waiting") for _ in range(2)]
    await eventually(lambda: all(channel.next_seq >= 2 for channel in waiting))
    await cancelled(stage, waiting[0])
    assert upstream.attempts == 1
    await cancelled(stage, first)
    await waiting[1].wait_end()
    assert waiting[1].terminal == Done("stop")
    assert upstream.attempts_for("waiting") == 1
    await stage.nothing_is_left()


async def test_while_it_connects(upstream: Upstream) -> None:
    """A server whose queue of connections is full answers no SYN: the half-open socket is closed."""
    with socket.socket() as full, socket.socket() as filler:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        filler.connect(address)
        stage = Stage(upstream, f"http://127.0.0.1:{address[1]}")
        await stage.hub.start()
        channel = await stage.begin()
        await eventually(lambda: connecting_to(address[1]) == 1)
        await cancelled(stage, channel)
        await eventually(lambda: connecting_to(address[1]) == 0)
        await stage.nothing_is_left()


def connecting_to(port: int) -> int:
    connections = psutil.Process().net_connections(kind="tcp")
    return sum(c.status == psutil.CONN_SYN_SENT and bool(c.raddr) and c.raddr.port == port for c in connections)


SCRIPTS: list[dict[str, object]] = [
    {"tokens": 20, "delay_ms": 1},
    {"tokens": 3},
    {"first_delay_ms": 20},
    {"head_delay_ms": 20},
    {"fault": "hang_before_headers"},
    {"fault": "hang_mid"},
    {"fault": "status:500"},
    {"fault": "refuse"},
    {"fault": "cut_mid_frame", "delay_ms": 1},
]


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_ten_thousand_cancels_at_random_moments(upstream: Upstream) -> None:
    """P4, P10: whatever the moment, each ends as cancelled or as it would have; no connection is left to the model."""
    stage = Stage(upstream, max_concurrent=SLOTS)
    await stage.hub.start()
    rng = random.Random(20260101)
    gate = asyncio.Semaphore(AT_ONCE)
    ends: list[str] = []

    async def one(script: dict[str, object], model: str, wait_s: float) -> None:
        async with gate:
            channel = await stage.begin(model, **script)
            if wait_s:
                await asyncio.sleep(wait_s)
            await stage.hub.cancel(channel.record.id, owner="")
            assert isinstance(channel.terminal, Done | Error)
            ends.append(channel.terminal.reason)

    async with asyncio.TaskGroup() as group:
        for _ in range(CANCELS):
            wait_s = rng.choice([0.0, rng.uniform(0, 0.1), rng.uniform(0, 0.6)])
            group.create_task(one(rng.choice(SCRIPTS), rng.choice(["plain", "hedged"]), wait_s))
    assert len(ends) == CANCELS
    assert ends.count("cancelled") > CANCELS / 4
    # Enough of them met an answer under way.
    assert upstream.attempts > CANCELS / 4
    assert upstream.aborted > CANCELS / 10
    await upstream.until(lambda: not upstream.active)
    # What is open now are connections kept for reuse, none with a request on it.
    assert upstream.open_connections <= 2 * SLOTS
    await stage.nothing_is_left()

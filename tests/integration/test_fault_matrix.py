"""Every provider × every fault: the expected end, the upstream's attempts counted, and every slot back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest
from msgspec import structs

from headwater.events import Done, Error, Event, Metadata, Status, Text, Usage
from headwater.logs import MemoryLog
from headwater.providers import HttpProvider, HttptoolsTransport
from headwater.providers.ports import WireProtocol
from headwater.providers.wire.anthropic import Anthropic
from headwater.providers.wire.azure import AzureOpenAI
from headwater.providers.wire.gemini import Gemini
from headwater.providers.wire.ollama import Ollama
from headwater.providers.wire.openai_chat import OpenAIChat
from headwater.providers.wire.responses import Responses
from headwater.request import ChatRequest, encode_request
from headwater.routing import Registry, RetryPolicy, TargetSettings
from headwater.streams import Hub, NewStream
from headwater.tables import Limits, RouteTable, Target
from tests.integration.kit import eventually
from tests.upstream import Script, Upstream, closed_url
from tests.upstream.tls import server_context

PROTOCOLS: dict[str, Callable[[str], WireProtocol]] = {
    "openai_chat": lambda url: OpenAIChat(f"{url}/v1", api_key="k"),
    "openai_responses": lambda url: Responses(f"{url}/v1", api_key="k"),
    "anthropic": lambda url: Anthropic(url, api_key="k"),
    "gemini": lambda url: Gemini(f"{url}/v1beta", api_key="k"),
    "ollama": Ollama,
    "azure": lambda url: AzureOpenAI(url, api_key="k"),
}
SCRIPT = Script(tokens=30, seed=5)


class Expected(NamedTuple):
    """`attempts` of a lone target; `text` comes before the end; `elsewhere`: whether the next target is asked."""

    reason: str
    attempts: int
    text: bool
    elsewhere: bool


FAULTS = {
    "refused": Expected("provider_unreachable", 0, False, True),
    "tls": Expected("provider_unreachable", 0, False, True),
    "status:401": Expected("provider_rejected", 1, False, True),
    "status:400": Expected("provider_rejected", 1, False, False),
    "status:429": Expected("provider_rejected", 3, False, True),
    "status:429+retry_after:60": Expected("provider_rejected", 1, False, True),
    "status:500": Expected("provider_rejected", 3, False, True),
    "hang_before_headers": Expected("provider_timeout", 1, False, True),
    "error_mid+first": Expected("provider_rejected", 3, False, True),
    "hang_mid": Expected("provider_timeout", 1, True, False),
    "cut_mid_frame": Expected("provider_truncated", 1, True, False),
    "garbage": Expected("provider_protocol_error", 1, True, False),
    "error_mid": Expected("provider_rejected", 1, True, False),
    "slow_drip": Expected("", 1, True, False),
}
# What a provider's own error says besides its status: Gemini's 429 asks for a wait of most of a minute.
OTHERWISE = {("gemini", "status:429"): Expected("provider_rejected", 1, False, True)}
# How long a hang takes to show. Where nothing hangs, a machine that is busy with other things must not look as if.
HANG_S, PATIENCE_S = 0.6, 15.0


async def no_wait(seconds: float) -> None:
    await asyncio.sleep(0)


class Stage(NamedTuple):
    hub: Hub
    registry: Registry
    upstream: Upstream


@asynccontextmanager
async def staged(name: str, fault: str) -> AsyncIterator[Stage]:
    """A hub with the routes `lone` (the faulty upstream) and `best` (the faulty one, then a healthy one)."""
    context = server_context() if fault == "tls" else None
    async with Upstream(default=faulty(fault), ssl=context) as upstream, Upstream(default=SCRIPT) as healthy:
        transport = HttptoolsTransport()
        url = closed_url() if fault == "refused" else upstream.url
        providers = [
            HttpProvider("faulty", PROTOCOLS[name](url), transport, error_body_timeout_s=0.5),
            HttpProvider("healthy", PROTOCOLS[name](healthy.url), transport),
        ]
        lone, other = Target(provider="faulty", model="m-1"), Target(provider="healthy", model="m-2")
        registry = Registry(
            providers,
            limits={"faulty": Limits(max_concurrent=2), "healthy": Limits(max_concurrent=2)},
            routes={"lone": RouteTable(targets=[lone]), "best": RouteTable(targets=[lone, other])},
            settings=settings_for(fault),
            retry=RetryPolicy(sleep=no_wait),
            transport=transport,
        )
        hub = Hub(MemoryLog())
        await hub.start()
        try:
            yield Stage(hub, registry, upstream)
        finally:
            await hub.shutdown(0)
            await registry.close()
        for server in (upstream, healthy):
            await server.until(lambda server=server: not server.open_connections)


def settings_for(fault: str) -> TargetSettings:
    wait_s = HANG_S if FAULTS[fault].reason == "provider_timeout" else PATIENCE_S
    return TargetSettings(first_token_timeout_s=wait_s, idle_timeout_s=wait_s, breaker_failures=0)


def faulty(fault: str) -> Script:
    """How the faulty upstream answers whatever it is asked."""
    if fault.endswith("+first"):
        return structs.replace(SCRIPT, fault=fault.removesuffix("+first"), fault_after=0)
    return SCRIPT if fault in ("refused", "tls") else structs.replace(SCRIPT, fault=fault)


async def ask(stage: Stage, model: str) -> list[Event]:
    """All events of one answer."""
    request = ChatRequest(model, [{"role": "user", "content": "hello"}])
    route = await stage.registry.resolve(model)
    new = NewStream(model=model, provider=route.provider_name, request=encode_request(request))
    channel, _ = await stage.hub.create(new, route.producer(request))
    async with asyncio.timeout(20):
        await channel.wait_end()
    return await stage.hub.read_all(channel)


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


async def all_is_given_back(stage: Stage) -> None:
    """P10, litellm #27955: slots, generations and upstream answers."""
    await eventually(lambda: not stage.registry.upstreams.running and not stage.hub.live)
    await stage.upstream.until(lambda: stage.upstream.active == 0)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", PROTOCOLS)
async def test_a_lone_target(name: str, fault: str) -> None:
    """portkey #1797, bifrost #5546: never a clean end; bifrost #7035: attempts are bounded."""
    expected = OTHERWISE.get((name, fault), FAULTS[fault])
    async with staged(name, fault) as stage:
        events = await ask(stage, "lone")
        end = events[-1]
        if not expected.reason:
            assert isinstance(end, Done)
            assert text_of(events) == SCRIPT.answer()
        else:
            assert isinstance(end, Error)
            assert (end.reason, end.provider) == (expected.reason, "faulty")
            assert bool(text_of(events)) == expected.text
            assert SCRIPT.answer().startswith(text_of(events))
        assert stage.upstream.attempts == expected.attempts
        tries = [event for event in events if isinstance(event, Status) and event.stage == "retrying"]
        facts = next(event.data for event in reversed(events) if isinstance(event, Metadata))
        attempts = facts["attempts"]
        assert isinstance(attempts, list)
        assert len(attempts) == len(tries) + 1 == (expected.attempts or 3)
        assert isinstance(events[-3], Usage)
        await all_is_given_back(stage)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", PROTOCOLS)
async def test_with_a_healthy_target_behind_it(name: str, fault: str) -> None:
    """bifrost #5395, #2917: what comes before content commits nothing, so the next target can still answer."""
    expected = OTHERWISE.get((name, fault), FAULTS[fault])
    async with staged(name, fault) as stage:
        events = await ask(stage, "best")
        if expected.elsewhere or not expected.reason:
            assert isinstance(events[-1], Done)
            assert text_of(events) == SCRIPT.answer()
            facts = next(event.data for event in reversed(events) if isinstance(event, Metadata))
            outcomes = [(attempt["provider"], attempt["outcome"]) for attempt in facts["attempts"]]
            failed = [("faulty", "failed")] * (1 if expected.attempts == 1 else 2)
            assert outcomes == ([*failed, ("healthy", "done")] if expected.reason else [("faulty", "done")])
        else:
            assert isinstance(events[-1], Error)
            assert events[-1].reason == expected.reason
            assert SCRIPT.answer().startswith(text_of(events))
        await all_is_given_back(stage)

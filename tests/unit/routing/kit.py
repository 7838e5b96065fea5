"""What the routing tests share: a clock, noted waits, targets, and a hub in front of scripted servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from headwater.events import Error, Event, Metadata, Status, Terminal, text_of
from headwater.logs.memory import MemoryLog
from headwater.providers import HttpProvider, HttptoolsTransport, OpenAIChat
from headwater.providers.ports import Provider, WireProtocol
from headwater.request import ChatRequest, encode_request, prompt_characters
from headwater.routing import Policy, Route, Target, TargetSettings
from headwater.routing.retry import RetryPolicy
from headwater.routing.target import Upstreams
from headwater.streams import Channel, Hub, NewStream, StreamSettings
from headwater.streams.ports import Producer, Writer
from headwater.tables import Limits, Price
from tests.upstream import Upstream, prompt

NO_LIMITS = Limits()


class Clock:
    """A monotonic clock that the test winds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Waits:
    """Sleeps that only note how long; with `gate`, they last until it opens."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.gate: asyncio.Event | None = None
        self.begun = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.begun.set()
        if self.gate is not None:
            await self.gate.wait()


class Acting:
    """A provider whose attempts the test writes: one function an attempt, the last one for all further."""

    def __init__(self, name: str, *acts: Callable[[Writer], Any]) -> None:
        self.name = name
        self.acts = list(acts)
        self.models_asked: list[str] = []

    async def models(self) -> Sequence[str]:
        return ()

    def producer(self, request: ChatRequest, model: str) -> Producer:
        self.models_asked.append(model)
        return _Act(self.acts.pop(0) if len(self.acts) > 1 else self.acts[0])

    async def close(self) -> None:
        pass


class _Act:
    def __init__(self, act: Callable[[Writer], Any]) -> None:
        self._act = act

    async def run(self, writer: Writer) -> None:
        result = self._act(writer)
        if asyncio.iscoroutine(result):
            await result


def fail(error: BaseException) -> Callable[[Writer], Any]:
    def act(_: Writer) -> None:
        raise error

    return act


def say(*events: Event) -> Callable[[Writer], Any]:
    return lambda writer: writer.write(events)


async def hang(_: Writer) -> None:
    await asyncio.get_running_loop().create_future()


def target(provider: Provider, model: str = "m", /, upstreams: Upstreams | None = None, **fields: Any) -> Target:
    """`limits`: the provider's."""
    upstreams = upstreams or Upstreams(TargetSettings())
    limits = fields.pop("limits", NO_LIMITS)
    return upstreams.target(provider, model, provider_limits=limits, **fields)


class Told(NamedTuple):
    """What a stream told: all its events, with the parts that tests ask for."""

    events: list[Event]

    @property
    def text(self) -> str:
        return text_of(self.events)

    @property
    def end(self) -> Terminal:
        end = self.events[-1]
        assert isinstance(end, Error) or type(end).__name__ == "Done"
        return end  # type: ignore[return-value]

    @property
    def reason(self) -> str:
        return self.end.reason

    @property
    def stages(self) -> list[str]:
        return [event.stage for event in self.events if type(event) is Status]

    def statuses(self, stage: str) -> list[Status]:
        return [event for event in self.events if type(event) is Status and event.stage == stage]

    @property
    def facts(self) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for event in self.events:
            if type(event) is Metadata:
                merged |= event.data
        return merged

    @property
    def attempts(self) -> list[dict[str, Any]]:
        return list(self.facts["attempts"])

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        return [(fact["provider"], fact["outcome"]) for fact in self.attempts]


class Bench:
    """Two scripted servers behind providers `a` and `b`, a hub, and the parts to make routes of."""

    def __init__(self) -> None:
        self.waits = Waits()
        self.clock = Clock()
        self.retry = RetryPolicy(draw=lambda: 1.0, sleep=self.waits.sleep)
        self.log = MemoryLog()
        self.price = Price(input=1.0, output=2.0)
        self.upstreams = Upstreams(TargetSettings(breaker_failures=5), now=self.clock)

    async def __aenter__(self) -> Bench:
        self.a, self.b = Upstream(), Upstream()
        await self.a.__aenter__()
        await self.b.__aenter__()
        self.transport = HttptoolsTransport()
        self.hub = Hub(self.log, StreamSettings(flush_ms=1.0))
        await self.hub.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.hub.shutdown(0)
        await self.transport.close()
        await self.a.__aexit__(*exc)
        await self.b.__aexit__(*exc)

    def provider(self, name: str, protocol: WireProtocol | None = None, **options: Any) -> HttpProvider:
        protocol = protocol or OpenAIChat(getattr(self, name[0]).openai_url, **options)
        return HttpProvider(name, protocol, self.transport)

    def target(self, provider: Provider | str, model: str = "m", /, **fields: Any) -> Target:
        provider = self.provider(provider) if isinstance(provider, str) else provider
        return target(provider, model, self.upstreams, **{"price": self.price, **fields})

    def route(self, *targets: Target, **policy: Any) -> Route:
        weighted = [msgspec.structs.replace(each, weight=float(at == 0)) for at, each in enumerate(targets)]
        return Route(model="best", targets=weighted, policy=Policy(**{"retry": self.retry, **policy}))

    async def begin(self, route: Route, request: ChatRequest) -> Channel:
        new = NewStream(
            model=request.model, request=encode_request(request), prompt_characters=prompt_characters(request)
        )
        return (await self.hub.create(new, route.producer(request))).channel

    async def run(self, route: Route, /, request: ChatRequest | None = None, **script: Any) -> Told:
        return await self.end(await self.begin(route, request or ask(**script)))

    async def end(self, channel: Channel) -> Told:
        async with asyncio.timeout(10):
            await channel.wait_end()
        return Told(await self.hub.read_all(channel))

    async def cancel(self, channel: Channel) -> Told:
        await self.hub.cancel(channel.id, owner="")
        return await self.end(channel)


def ask(params: dict[str, Any] | None = None, /, fallback: bool = True, **script: Any) -> ChatRequest:
    return ChatRequest("best", [{"role": "user", "content": prompt(**script)}], params or {}, fallback=fallback)

"""Names, the routes behind them, and what is taken up after a crash."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from headwater.errors import (
    ConfigError,
    InputError,
    ProviderError,
    ProviderUnreachable,
    RouteFixed,
    UnknownModel,
    UnknownRoute,
)
from headwater.events import Done, Event, Metadata, StreamId, Text, text_of
from headwater.providers import HttpProvider, HttptoolsTransport, OpenAIChat, Replay
from headwater.providers.ports import Continuation, Held
from headwater.request import ChatRequest, encode_request
from headwater.routing import Registry, TargetSettings, listing
from headwater.routing import registry as module
from headwater.streams.fold import Fold, fold
from headwater.streams.log import StreamRecord
from headwater.streams.ports import Producer, Writer
from headwater.tables import Price, ProviderTable, RouteTable, Target
from tests.conformance.providers.kit import KeepingWriter
from tests.integration.kit import eventually
from tests.upstream import Upstream

from .kit import Clock


class Listing:
    """A provider that lists what it is told to, and can only start anew."""

    def __init__(self, name: str, *models: str) -> None:
        self.name = name
        self.listed = models
        self.error: Exception | None = None
        self.asked = 0
        self.closed = False
        self.gate: asyncio.Event | None = None

    async def models(self) -> Sequence[str]:
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.listed

    def producer(self, request: ChatRequest, model: str) -> Producer:
        return Saying(f"{self.name} says {model}")

    async def close(self) -> None:
        self.closed = True


class Lasting(Listing):
    """Its answers go on by themselves, and are found again by their id."""

    def continuation(self, request: ChatRequest, model: str, held: Held) -> Continuation | None:
        again = held.resumable and "id" in held.facts
        return Continuation(Saying("the rest"), exact=True) if again else None


class Saying:
    def __init__(self, text: str) -> None:
        self.text = text

    async def run(self, writer: Writer) -> None:
        writer.write([Text(self.text), Done("stop")])


async def target(registry: Registry, model: str | None) -> tuple[str, str, str]:
    route = await registry.resolve(model)
    (only,) = route.targets
    return route.model, only.provider.name, only.model


class TestLocality:
    @pytest.mark.parametrize(
        ("model", "local"),
        [
            ("m1", True), ("m2", False), ("here", True), ("both", False), ("a/gpt-oss:120b-cloud", False),
            ("a/glm:cloud", False), ("a/cloudy", True),
        ],
    )  # fmt: skip
    async def test_a_route_stays_here_when_all_its_targets_do(self, model: str, local: bool) -> None:
        routes = {
            "here": RouteTable(targets=[Target(provider="a", model="m1")]),
            "both": RouteTable(targets=[Target(provider="a", model="m1"), Target(provider="b", model="m2")]),
        }
        registry = Registry([Listing("a", "m1"), Listing("b", "m2")], routes=routes, local=["a"])
        assert registry.is_local(await registry.resolve(model)) is local


class TestResolve:
    async def test_a_listed_name(self) -> None:
        registry = Registry([Listing("a", "m1"), Listing("b", "m2", "m1", "x/y")])
        assert await target(registry, "m1") == ("m1", "a", "m1")
        assert await target(registry, "m2") == ("m2", "b", "m2")
        assert await target(registry, "x/y") == ("x/y", "b", "x/y")

    async def test_an_explicit_provider(self) -> None:
        registry = Registry([Listing("a", "m1"), Listing("b", "m1")])
        assert await target(registry, "b/m1") == ("b/m1", "b", "m1")
        assert await target(registry, "b/unlisted/name") == ("b/unlisted/name", "b", "unlisted/name")

    async def test_a_listed_name_that_looks_like_an_explicit_one(self) -> None:
        """OpenAI's open models are listed as `openai/gpt-oss-20b` by the servers that serve them."""
        registry = Registry([Listing("openai", "openai/gpt-oss-20b")])
        assert await target(registry, "openai/gpt-oss-20b") == ("openai/gpt-oss-20b", "openai", "openai/gpt-oss-20b")

    async def test_ollamas_latest(self) -> None:
        registry = Registry([Listing("ollama", "llama3:latest")])
        assert await target(registry, "llama3") == ("llama3", "ollama", "llama3")

    async def test_any_other_name_goes_to_the_fallback_unchanged(self) -> None:
        openai = Listing("openai", "m1")
        registry = Registry([openai, Listing("b")], fallback=openai)
        assert await target(registry, "ft:custom") == ("ft:custom", "openai", "ft:custom")
        assert await target(registry, "unknown/name") == ("unknown/name", "openai", "unknown/name")

    @pytest.mark.parametrize("model", ["m2", "c/m1", "a/", "/m1", "a"])
    async def test_an_unknown_name(self, model: str) -> None:
        registry = Registry([Listing("a", *(f"m{n}1" for n in range(30)))])
        with pytest.raises(UnknownModel) as caught:
            await registry.resolve(model)
        assert "m01, m11" in caught.value.message
        assert caught.value.message.endswith("…")
        assert caught.value.param == "model"

    async def test_the_names_there_are_stand_as_in_the_list_of_models(self) -> None:
        registry = Registry([Listing("a", "m1", "m1", "m2"), Listing("b", "m1")])
        with pytest.raises(UnknownModel, match=r"there are: m1, m2, b/m1$"):
            await registry.resolve("m3")

    async def test_without_any_provider(self) -> None:
        with pytest.raises(UnknownModel, match="there are: none"):
            await Registry([Listing("a")]).resolve("m")
        with pytest.raises(UnknownModel, match="OPENAI_API_KEY"):
            await Registry([Listing("a")]).resolve(None)

    @pytest.mark.parametrize("model", ["m", None])
    async def test_without_any_provider_it_is_an_application_that_asked_for_none(self, model: str | None) -> None:
        with pytest.raises(UnknownModel, match=r"Headwater\(providers=True\)") as caught:
            await Registry([]).resolve(model)
        assert "OPENAI_API_KEY" not in caught.value.message

    async def test_a_route_makes_a_producer(self) -> None:
        route = await Registry([Listing("a", "m1")]).resolve("a/m1")
        writer = KeepingWriter()
        await route.producer(ChatRequest("a/m1", [])).run(writer)
        assert text_of(writer.events) == "a says m1"


class TestDefault:
    async def test_the_setting(self) -> None:
        registry = Registry([Listing("a", "m1", "m2")], default_model="m2")
        assert await target(registry, None) == ("m2", "a", "m2")
        assert await target(registry, "") == ("m2", "a", "m2")

    async def test_the_first_of_the_first(self) -> None:
        assert (await target(Registry([Listing("a"), Listing("b", "m2", "m3")]), None))[0] == "m2"

    async def test_what_cannot_chat_is_passed_over(self) -> None:
        listing = Listing("openai", "text-embedding-3-small", "whisper-1", "dall-e-3", "gpt-4o-realtime", "gpt-5")
        assert (await target(Registry([listing]), None))[0] == "gpt-5"

    async def test_a_first_provider_that_fails_is_no_reason_to_answer_from_a_recording(self) -> None:
        first = Listing("a")
        first.error = ProviderUnreachable("no route")
        with pytest.raises(ProviderUnreachable):
            await Registry([first, Replay()]).resolve(None)

    async def test_the_bare_machine(self) -> None:
        assert await target(Registry([Replay()]), None) == ("replay/welcome", "replay", "replay/welcome")


class TestModels:
    async def test_one_that_fails_does_not_hide_the_others(self) -> None:
        bad, good = Listing("bad"), Listing("good", "m1")
        bad.error = ProviderUnreachable("down")
        registry = Registry([bad, good])
        assert await registry.models() == [("m1", "good")]
        assert await target(registry, "m1") == ("m1", "good", "m1")

    @pytest.mark.parametrize("error", [ConfigError("a header with a line break"), KeyError("a plug-in's bug")])
    async def test_nor_one_that_is_broken(self, error: Exception) -> None:
        bad, good = Listing("bad"), Listing("good", "m1")
        bad.error = error
        registry = Registry([bad, good])
        assert await registry.models() == [("m1", "good")]
        with pytest.raises(ConfigError if isinstance(error, ConfigError) else ProviderError):
            await registry.resolve(None)

    @pytest.mark.parametrize("answer", ["nothing", "never"])
    async def test_nor_a_plug_in_that_does_not_list(self, answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(listing, "_ASK_TIMEOUT_S", 0.05)
        broken = Listing("a")
        if answer == "never":
            broken.gate = asyncio.Event()
        else:
            broken.listed = None  # type: ignore[assignment]
        registry = Registry([broken, Listing("b", "m2")])
        async with asyncio.timeout(5):
            assert await target(registry, "m2") == ("m2", "b", "m2")

    async def test_names_taken_are_shown_with_their_provider(self) -> None:
        registry = Registry([Listing("a", "m1", "m1"), Listing("b", "m1", "m2", "b/m1")])
        assert registry.names == ["a", "b"]
        assert await registry.models() == [("m1", "a"), ("b/m1", "b"), ("m2", "b"), ("b/b/m1", "b")]
        registry = Registry([Listing("b", "m1")], routes={"m1": table("b"), "b/m1": table("b")})
        assert await registry.models() == [("m1", "b"), ("b/m1", "b")]

    async def test_lists_are_kept_for_a_while(self) -> None:
        clock, listing = Clock(), Listing("a", "m1")
        registry = Registry([listing], now=clock)
        for _ in range(3):
            await registry.models()
            await registry.resolve("m1")
        assert listing.asked == 1
        clock.now += 31
        await registry.resolve("m1")  # still known, so nobody has to wait
        assert listing.asked == 1
        await registry.models()
        assert listing.asked == 2

    async def test_a_new_model_is_found_when_the_list_is_old(self) -> None:
        clock, listing = Clock(), Listing("a", "m1")
        registry = Registry([listing], now=clock)
        with pytest.raises(UnknownModel):
            await registry.resolve("m2")
        listing.listed = ("m1", "m2")
        with pytest.raises(UnknownModel):
            await registry.resolve("m2")
        clock.now += 31
        assert await target(registry, "m2") == ("m2", "a", "m2")

    async def test_names_from_before_stay_when_a_provider_fails(self) -> None:
        clock, listing = Clock(), Listing("a", "m1")
        registry = Registry([listing], now=clock)
        await registry.models()
        clock.now += 31
        listing.error = ProviderUnreachable("down")
        assert await registry.models() == [("m1", "a")]
        clock.now += 31
        assert await target(registry, None) == ("m1", "a", "m1")

    async def test_callers_share_one_asking_and_cannot_end_it(self) -> None:
        listing = Listing("a", "m1")
        listing.gate = asyncio.Event()
        registry = Registry([listing])
        callers = [asyncio.create_task(registry.models()) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        callers[0].cancel()
        listing.gate.set()
        answers = await asyncio.gather(*callers, return_exceptions=True)
        assert isinstance(answers[0], asyncio.CancelledError)
        assert answers[1:] == [[("m1", "a")]] * 2
        assert listing.asked == 1


def table(*targets: Target | str, **fields: Any) -> RouteTable:
    made = [Target(provider=target) if isinstance(target, str) else target for target in targets]
    return RouteTable(targets=made, **fields)


class TestRoutes:
    def registry(self, **routes: RouteTable) -> Registry:
        return Registry([Listing("a", "m1"), Listing("b", "m1")], routes=routes)

    async def test_a_table_becomes_a_route(self) -> None:
        fields: dict[str, Any] = {
            "max_attempts": 9, "max_cost": 2.5, "hedge_after_s": 3.0, "continue_answers": True, "max_continuations": 4,
        }  # fmt: skip
        registry = self.registry(best=table(Target(provider="a", model="m1"), "b", attempts=5, **fields))
        route = await registry.resolve("best")
        assert [(target.provider.name, target.model) for target in route.targets] == [("a", "m1"), ("b", "best")]
        policy = route.policy
        assert {name: getattr(policy, name) for name in fields} == fields
        assert (policy.fallback, policy.attempts, route.provider_name) == (True, 5, "a")

    @pytest.mark.parametrize(
        ("made", "attempts"), [(table("a"), 3), (table("a", "b"), 2), (table("a", "b", fallback=False), 3)]
    )
    async def test_attempts_where_the_table_names_none(self, made: RouteTable, attempts: int) -> None:
        route = await self.registry(best=made).resolve("best")
        assert (route.policy.attempts, route.policy.fallback) == (attempts, made.fallback)

    @pytest.mark.parametrize(
        ("weights", "expected"),
        [((None, None), [1.0, 0.0]), ((2, 3), [2.0, 3.0]), ((None, 3), [0.0, 3.0])],
    )
    async def test_weights(self, weights: tuple[float | None, ...], expected: list[float]) -> None:
        targets = [Target(provider=name, weight=weight) for name, weight in zip("ab", weights, strict=True)]
        route = await self.registry(best=table(*targets)).resolve("best")
        assert [target.weight for target in route.targets] == expected

    async def test_prices(self) -> None:
        """The table's own, that of the provider's model, that of the model."""
        own, exact, plain = Price(input=1), Price(input=2), Price(input=3)
        registry = Registry(
            [Listing("a", "m1", "m2"), Listing("b", "b/m2")],
            prices={"a/m1": exact, "m1": plain, "m2": plain},
            routes={"best": table(Target(provider="a", model="m1", price=own), Target(provider="a", model="m1"), "b")},
        )
        assert [target.price for target in (await registry.resolve("best")).targets] == [own, exact, None]
        for model, price in (("m1", exact), ("m2", plain), ("b/m2", plain), ("b/other", None)):
            assert (await registry.resolve(model)).targets[0].price == price

    async def test_limits_and_settings(self) -> None:
        registry = Registry(
            [Listing("a", "m1"), Listing("b", "m2")],
            limits={"a": ProviderTable(max_concurrent=3, idle_timeout_s=7)},
            settings=TargetSettings(idle_timeout_s=9),
            routes={"best": table(Target(provider="a", max_concurrent=1), "b")},
        )
        first, second = (await registry.resolve("best")).targets
        assert (len(first.gates), first.idle_timeout_s) == (2, 7)
        assert (len(second.gates), second.idle_timeout_s) == (2, 9)
        (lone,) = (await registry.resolve("m1")).targets
        assert lone.gates == first.gates[1:]  # one provider, one gate

    async def test_a_route_wins_over_a_listed_name_and_needs_no_listing(self) -> None:
        listing = Listing("a", "m1")
        registry = Registry([listing, Listing("b", "m1")], routes={"m1": table("b")})
        assert (await registry.resolve("m1")).provider_name == "b"
        assert listing.asked == 0
        assert await registry.models() == [("m1", "b"), ("a/m1", "a"), ("b/m1", "b")]
        with pytest.raises(UnknownModel, match="there are: m1"):
            await registry.resolve("m2")

    @pytest.mark.parametrize(
        ("name", "made", "why"),
        [
            ("best", table("c"), r"routes\.best\.targets\[0\]\.provider: .* 'c'; there are: a, b"),
            ("", table("a"), "name"),
        ],
    )
    def test_what_cannot_be_a_route(self, name: str, made: RouteTable, why: str) -> None:
        with pytest.raises(ConfigError, match=why):
            self.registry(**{name: made})
        with pytest.raises(InputError, match=why):
            self.registry().set_route(name, made)

    def test_without_any_provider(self) -> None:
        with pytest.raises(InputError, match="there are: none"):
            Registry([]).set_route("best", table("a"))

    async def test_they_are_made_replaced_and_removed(self) -> None:
        registry = self.registry()
        limited = table(Target(provider="a", max_concurrent=1))
        assert registry.set_route("best", limited)
        (target,) = (await registry.resolve("best")).targets
        target.gates[0].enter()
        assert registry.upstreams.running == 1
        assert not registry.set_route("best", table("b"))
        assert (await registry.resolve("best")).provider_name == "b"
        assert registry.routes() == [("best", table("b"), False)]
        registry.remove_route("best")
        assert registry.routes() == []
        assert registry.upstreams.running == 0
        with pytest.raises(UnknownModel):
            await registry.resolve("best")
        with pytest.raises(UnknownRoute):
            registry.remove_route("best")

    async def test_a_change_that_fails_changes_no_gate(self) -> None:
        registry = self.registry()
        registry.set_route("r", RouteTable(targets=[Target(provider="a", max_concurrent=1)]))
        (before,) = (await registry.resolve("r")).targets
        before.gates[0].enter()
        with pytest.raises(InputError):
            registry.set_route("r", RouteTable(targets=[Target(provider="a", max_concurrent=2), Target(provider="x")]))
        assert registry.upstreams.running == 1
        registry.set_route("r", RouteTable(targets=[Target(provider="a", model="other")]))
        assert registry.upstreams.running == 0  # who runs there gives back unseen

    def test_those_of_the_settings_stay(self) -> None:
        registry = self.registry(fixed=table("a"))
        registry.set_route("own", table("b"))
        assert [(info.name, info.fixed) for info in registry.routes()] == [("fixed", True), ("own", False)]
        with pytest.raises(RouteFixed):
            registry.set_route("fixed", table("b"))
        with pytest.raises(RouteFixed):
            registry.remove_route("fixed")

    def test_there_are_only_so_many(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "MAX_ROUTES", 1)
        registry = self.registry()
        registry.set_route("one", table("a"))
        with pytest.raises(InputError, match="1 routes already"):
            registry.set_route("two", table("a"))
        registry.set_route("one", table("b"))


class TestClose:
    async def test_closes_everything(self) -> None:
        listing, transport = Listing("a", "m1"), HttptoolsTransport()
        registry = Registry([listing], transport=transport)
        await registry.models()
        await registry.close()
        assert listing.closed
        await Registry([]).close()

    async def test_ends_an_asking_under_way(self) -> None:
        listing = Listing("a")
        listing.gate = asyncio.Event()
        registry = Registry([listing])
        caller = asyncio.create_task(registry.models())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await registry.close()
        with pytest.raises(asyncio.CancelledError):
            await caller


def record(provider: str, model: str, *, with_request: bool = True) -> StreamRecord:
    request = encode_request(ChatRequest(model, [{"role": "user", "content": "hi"}], {"pace": 0}))
    return StreamRecord(StreamId("s"), 0, model=model, provider=provider, request=request if with_request else b"")


class TestRecover:
    async def test_a_stream_without_content_is_restarted(self) -> None:
        registry = Registry([Listing("a", "m1")])
        producer = registry.recover(record("a", "a/m1"), Fold())
        assert producer is not None
        writer = KeepingWriter()
        await producer.run(writer)
        assert text_of(writer.events) == "a says m1"

    async def test_a_stream_with_content_goes_on_where_its_provider_can(self) -> None:
        registry = Registry([Replay(), Listing("a", "m1")])
        held = [Text("#")]
        producer = registry.recover(record("replay", "replay/welcome"), fold(held))
        assert producer is not None
        writer = KeepingWriter(held=held)
        await producer.run(writer)
        assert text_of(writer.events).startswith(" Welcome to Headwater")
        assert registry.recover(record("a", "m1"), fold(held)) is None

    async def test_a_stream_of_a_route_finds_it_again(self) -> None:
        registry = Registry([Listing("a"), Listing("b")], routes={"best": table("b")})
        producer = registry.recover(record("gone", "best"), Fold())
        assert producer is not None
        writer = KeepingWriter()
        await producer.run(writer)
        assert text_of(writer.events) == "b says best"

    def test_with_content_it_goes_on_where_the_route_says_so(self) -> None:
        opted = {"best": table("a", continue_answers=True), "plain": table("a")}
        registry = Registry([Listing("a")], routes=opted)
        assert registry.recover(record("a", "best"), fold([Text("#")])) is not None
        assert registry.recover(record("a", "plain"), fold([Text("#")])) is None

    async def test_or_where_the_same_generation_still_runs(self) -> None:
        """A background response with content, after a crash: only its facts tell of it."""
        held: list[Event] = [Metadata({"id": "r1"}), Text("a")]
        provider = Lasting("a", "m1")
        registry = Registry([provider, Listing("b")], routes={"best": table("a"), "other": table("b", "a")})
        for name in ("best", "other", "a/m1"):
            producer = registry.recover(record("a", name), fold(held))
            assert producer is not None
            writer = KeepingWriter(held=held)
            await producer.run(writer)
            assert text_of(writer.events) == "the rest"
        assert registry.recover(record("a", "best"), fold([Text("a")])) is None

    async def test_an_answer_that_cannot_be_taken_up_is_stopped_at_its_provider(self) -> None:
        """Stop does not stop the model: open-webui #1567. Its route is gone, and with it who would go on."""

        class Stopping(Listing):
            def __init__(self, name: str, *models: str) -> None:
                super().__init__(name, *models)
                self.abandoned: list[object] = []

            def abandon(self, facts: dict[str, object]) -> None:
                self.abandoned.append(facts["id"])

        provider = Stopping("a", "m1")
        registry = Registry([provider])
        producer = registry.recover(record("a", "gone"), fold([Metadata({"id": "r1"})]))
        assert producer is not None
        with pytest.raises(UnknownModel):
            await producer.run(KeepingWriter(held=[Metadata({"id": "r1"})]))
        assert provider.abandoned == ["r1"]

    async def test_an_answer_that_another_process_takes_up_is_not_stopped(self) -> None:
        """A deploy ends this process while the lists are still being fetched: the generation goes on upstream."""

        class Stopping(Lasting):
            abandoned = False

            def abandon(self, facts: dict[str, object]) -> None:
                self.abandoned = True

        provider = Stopping("a", "m1")
        provider.gate = asyncio.Event()
        registry = Registry([provider])
        held = [Metadata({"id": "r1"}), Text("a")]
        producer = registry.recover(record("a", "m1"), fold(held))
        assert producer is not None
        running = asyncio.create_task(producer.run(KeepingWriter(held=held)))
        await eventually(lambda: provider.asked)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert not provider.abandoned
        provider.gate.set()
        await registry.close()

    async def test_what_cannot_be_recovered(self) -> None:
        registry = Registry([Listing("a", "m1")])
        assert registry.recover(record("gone", "m1"), Fold()) is None
        assert registry.recover(record("a", "m1", with_request=False), Fold()) is None
        damaged = msgspec.structs.replace(record("a", "m1"), request=b"{")
        assert registry.recover(damaged, Fold()) is None


async def test_two_providers_of_one_kind(  # as a gateway with two compatible servers is configured
) -> None:
    async with Upstream(models=["m1"]) as first, Upstream(models=["m2"]) as second:
        transport = HttptoolsTransport()
        registry = Registry(
            [
                HttpProvider(name, OpenAIChat(up.openai_url), transport)
                for name, up in (("one", first), ("two", second))
            ],
            transport=transport,
        )
        assert await target(registry, "m2") == ("m2", "two", "m2")
        await registry.close()


async def test_the_routes_of_models_that_no_table_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any caller may name any model behind a provider's prefix: each name kept would be memory for the asking."""
    monkeypatch.setattr(module, "MAX_ROUTES", 2)
    registry = Registry([Listing("a")])
    for number in range(20):
        assert await target(registry, f"a/m{number}") == (f"a/m{number}", "a", f"m{number}")
        assert len(registry._lone_routes) <= 2
    await registry.close()

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest

from headwater.errors import ConfigError, ProviderError, ProviderUnreachable, UnknownModel
from headwater.events import Done, StreamId, Text, text_of
from headwater.providers import HttpProvider, HttptoolsTransport, OpenAIChat, Registry, Replay
from headwater.request import ChatRequest, encode_request
from headwater.streams.fold import Fold, fold
from headwater.streams.log import StreamRecord
from headwater.streams.ports import Producer, Writer
from tests.conformance.providers.kit import KeepingWriter
from tests.upstream import Upstream, closed_url, prompt


class Listing:
    """A provider that lists what it is told to, and can only start anew."""

    def __init__(self, name: str, *models: str) -> None:
        self.name = name
        self.listed = models
        self.error: ProviderError | None = None
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


class Saying:
    def __init__(self, text: str) -> None:
        self.text = text

    async def run(self, writer: Writer) -> None:
        writer.write([Text(self.text), Done("stop")])


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def target(registry: Registry, model: str | None) -> tuple[str, str, str]:
    route = await registry.resolve(model)
    return route.model, route.provider.name, route.upstream_model


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

    async def test_names_taken_are_shown_with_their_provider(self) -> None:
        registry = Registry([Listing("a", "m1", "m1"), Listing("b", "m1", "m2")])
        assert await registry.models() == [("m1", "a"), ("b/m1", "b"), ("m2", "b")]

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

    async def test_what_cannot_be_recovered(self) -> None:
        registry = Registry([Listing("a", "m1")])
        assert registry.recover(record("gone", "m1"), Fold()) is None
        assert registry.recover(record("a", "m1", with_request=False), Fold()) is None
        damaged = msgspec.structs.replace(record("a", "m1"), request=b"{")
        assert registry.recover(damaged, Fold()) is None


class TestFromEnvironment:
    @pytest.fixture
    async def upstream(self) -> AsyncIterator[Upstream]:
        async with Upstream() as server:
            yield server

    async def test_everything_at_once(self, upstream: Upstream, tmp_path: Path) -> None:
        (tmp_path / "talk.jsonl").write_text("")
        environ = {"OPENAI_BASE_URL": upstream.openai_url, "OLLAMA_HOST": upstream.url}
        registry = await Registry.from_environment(environ, recordings_dir=tmp_path, replay_pace=0)
        assert registry.names == ["openai", "ollama", "replay"]
        listed = [item.model for item in await registry.models()]
        assert listed == ["fake-1", "fake-mini", "ollama/fake-1", "ollama/fake-mini", "replay/talk", "replay/welcome"]
        assert (await target(registry, "anything"))[1] == "openai"
        route = await registry.resolve("ollama/fake-1")
        request = ChatRequest("ollama/fake-1", [{"role": "user", "content": prompt(tokens=3)}])
        writer = KeepingWriter()
        await route.producer(request).run(writer)
        assert upstream.requests[-1].path == "/api/chat"
        assert upstream.requests[-1].body["model"] == "fake-1"
        await registry.close()
        await upstream.until(lambda: upstream.open_connections == 0)

    async def test_a_variable_that_cannot_work(self) -> None:
        before = asyncio.all_tasks()
        with pytest.raises(ConfigError):
            await Registry.from_environment({"OPENAI_BASE_URL": "nonsense"})
        assert asyncio.all_tasks() == before

    async def test_a_provider_that_is_down(self) -> None:
        environ = {"OPENAI_BASE_URL": f"{closed_url()}/v1", "OLLAMA_HOST": "127.0.0.1:1"}
        registry = await Registry.from_environment(environ)
        assert [item.model for item in await registry.models()] == ["replay/welcome"]
        await registry.close()


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

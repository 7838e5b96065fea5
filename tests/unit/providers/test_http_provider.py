"""A configured upstream: which protocol takes a request, how an answer goes on, and how it is stopped."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from headwater.errors import (
    InputError,
    ProviderProtocolError,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnreachable,
    UnsupportedField,
)
from headwater.events import Done, JsonObject, Metadata, Text, Usage
from headwater.providers import HttpCall, HttpProvider, HttptoolsTransport, Ollama, OpenAIChat, SupportsContinuation
from headwater.providers.http_provider import drop
from headwater.providers.ports import Decoder, Held, SupportsAbandon, SupportsPrefix, UpstreamRequest
from headwater.request import ChatRequest
from tests.conformance.providers.kit import KeepingWriter, chat
from tests.upstream import Script, Upstream, closed_url

from ..streams.kit import eventually


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as server:
        yield server


@pytest.fixture
async def transport() -> AsyncIterator[HttptoolsTransport]:
    transport = HttptoolsTransport()
    yield transport
    await transport.close()


class Picky(OpenAIChat):
    """Takes no field, and no part of a message, of these names."""

    def __init__(self, url: str, *refused: str, **options: Any) -> None:
        super().__init__(url, **options)
        self.refused = refused

    def chat(self, request: ChatRequest, model: str) -> UpstreamRequest:
        self.check(request)
        return super().chat(request, model)

    def continued(self, request: ChatRequest, model: str, text: str) -> UpstreamRequest:
        self.check(request)
        return super().continued(request, model, text)

    def check(self, request: ChatRequest) -> None:
        for name in self.refused:
            if name in request.params:
                raise UnsupportedField(f"no {name}", param=name)
        for at, message in enumerate(request.messages):
            if "name" in message and "name" in self.refused:
                raise UnsupportedField("no name", param=f"messages[{at}].name")
            for number, part in enumerate(message["content"] if isinstance(message["content"], list) else []):
                if part["type"] in self.refused:
                    raise UnsupportedField("no such part", param=f"messages[{at}].content[{number}]")


class Lasting(OpenAIChat):
    """A server whose answers go on by themselves: by their id they are found again, and stopped."""

    def reattach(self, held: Held) -> tuple[UpstreamRequest, Decoder] | None:
        id = held.facts.get("id")
        return (self.chat(chat(tokens=3), "m"), self.decoder()) if id else None

    def cancel_request(self, facts: JsonObject) -> UpstreamRequest | None:
        id = facts.get("id")
        return UpstreamRequest("POST", f"{self._base_url}/{id}/cancel", {}) if id else None


async def run(provider: HttpProvider, request: ChatRequest) -> KeepingWriter:
    writer = KeepingWriter()
    async with asyncio.timeout(10):
        await provider.producer(request, "m").run(writer)
    return writer


class TestFields:
    async def test_the_first_protocol_that_can_take_them_is_used(
        self, upstream: Upstream, transport: HttptoolsTransport
    ) -> None:
        first, second = Picky(upstream.openai_url, "seed"), Ollama(upstream.url)
        provider = HttpProvider("up", [first, second], transport)
        await run(provider, chat(tokens=1))
        await run(provider, chat(params={"seed": 1}, tokens=1))
        assert [request.path for request in upstream.requests] == ["/v1/chat/completions", "/api/chat"]

    def test_where_none_can_the_first_one_says_why(self, transport: HttptoolsTransport) -> None:
        protocols = [Picky("http://h", "seed"), Picky("http://h", "stop", "seed")]
        provider = HttpProvider("up", protocols, transport)
        with pytest.raises(UnsupportedField, match="no seed") as caught:
            provider.producer(chat(params={"seed": 1, "stop": "x"}), "m")
        assert caught.value.param == "seed"

    def test_what_is_wrong_everywhere_is_no_reason_to_ask_the_next(self, transport: HttptoolsTransport) -> None:
        provider = HttpProvider("up", [Ollama("http://h"), OpenAIChat("http://h")], transport)
        with pytest.raises(InputError) as caught:
            provider.producer(chat(params={"options": 5}), "m")
        assert type(caught.value) is InputError

    async def test_they_are_left_out_where_that_was_asked_for(
        self, upstream: Upstream, transport: HttptoolsTransport
    ) -> None:
        """Dropped by an explicit setting, never silently."""
        protocol = Picky(upstream.openai_url, "seed", "stop", "name", "image_url")
        provider = HttpProvider("up", protocol, transport, drop_unsupported=True)
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
        message = {"role": "user", "name": "Ann", "content": [image, {"type": "text", "text": "hi"}]}
        writer = await run(provider, ChatRequest("m", [message], {"seed": 1, "stop": "x", "top_p": 1}))
        assert writer.events[0] == Metadata({"dropped": ["seed", "stop", "messages[0].name", "messages[0].content[0]"]})
        body = upstream.requests[0].body
        assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
        assert body["top_p"] == 1
        assert not body.keys() & {"seed", "stop"}

    def test_what_cannot_be_left_out_is_refused(self, transport: HttptoolsTransport) -> None:
        provider = HttpProvider("up", Picky("http://h", "image_url"), transport, drop_unsupported=True)
        with pytest.raises(UnsupportedField):
            provider.producer(ChatRequest("m", [{"role": "user", "content": [{"type": "image_url"}]}]), "m")


@pytest.mark.parametrize(
    ("field", "left"),
    [
        ("seed", {"params": {}}),
        ("stop", None),
        ("messages[0].content[0]", {"messages": [{"role": "user", "content": ["b"], "name": "x"}, {"content": "t"}]}),
        ("messages[1].content[0]", None),
        ("messages[0].name", {"messages": [{"role": "user", "content": ["a", "b"]}, {"content": "t"}]}),
        ("messages[0].role", None),
        ("messages[0].content", None),
        ("", None),
    ],
)
def test_dropping(field: str, left: dict[str, Any] | None) -> None:
    messages: list[JsonObject] = [{"role": "user", "content": ["a", "b"], "name": "x"}, {"content": "t"}]
    dropped = drop(ChatRequest("m", messages, {"seed": 1}), field)
    if left is None:
        assert dropped is None
    else:
        assert dropped == ChatRequest("m", **{"messages": messages, "params": {"seed": 1}, **left})


class TestContinuation:
    def test_by_a_prefix(self, transport: HttptoolsTransport) -> None:
        for continuation, echoes in (("trailing", False), ("prefix", True)):
            protocol = OpenAIChat("http://h", continuation=continuation, echoes_prefix=echoes)  # type: ignore[arg-type]
            provider = HttpProvider("up", [Lasting("http://h"), protocol], transport)
            found = provider.continuation(chat(), "m", Held("so far \n", {}))
            assert found is not None
            assert not found.exact
            assert isinstance(protocol, SupportsPrefix)
            assert found.echoes == echoes

    @pytest.mark.parametrize("held", [Held(" \n", {}), Held("so far", {}, resumable=False)])
    def test_not_without_text(self, transport: HttptoolsTransport, held: Held) -> None:
        provider = HttpProvider("up", OpenAIChat("http://h", continuation="trailing"), transport)
        assert provider.continuation(chat(), "m", held) is None

    def test_not_where_no_protocol_can(self, transport: HttptoolsTransport) -> None:
        class Plain:
            def __init__(self) -> None:
                self.decoder = lambda: None

        for protocol in (OpenAIChat("http://h"), Plain()):
            provider = HttpProvider("up", protocol, transport)  # type: ignore[arg-type]
            assert isinstance(provider, SupportsContinuation)
            assert provider.continuation(chat(), "m", Held("so far", {})) is None

    async def test_fields_are_left_out_as_before(self, upstream: Upstream, transport: HttptoolsTransport) -> None:
        protocol = Picky(upstream.openai_url, "seed", continuation="trailing")
        provider = HttpProvider("up", [OpenAIChat("http://h"), protocol], transport, drop_unsupported=True)
        begun = Script(tokens=4).pieces()[0]
        found = provider.continuation(chat(params={"seed": 1}, tokens=4), "m", Held(begun, {}))
        assert found is not None
        writer = KeepingWriter()
        await found.producer.run(writer)
        assert begun + "".join(text.text for text in writer.of(Text)) == Script(tokens=4).answer()

    async def test_by_the_same_generation(self, upstream: Upstream, transport: HttptoolsTransport) -> None:
        provider = HttpProvider("up", [OpenAIChat("http://h"), Lasting(upstream.openai_url)], transport)
        found = provider.continuation(chat(), "m", Held("", {"id": "r1"}, resumable=False))
        assert found is not None
        assert found.exact
        assert isinstance(found.producer, HttpCall)
        writer = KeepingWriter()
        await found.producer.run(writer)
        assert [type(event) for event in writer.events[-2:]] == [Usage, Done]


class TestStopping:
    """Stop does not stop the model: open-webui #1567."""

    async def test_the_upstream_is_told(
        self, upstream: Upstream, transport: HttptoolsTransport, caplog: pytest.LogCaptureFixture
    ) -> None:
        provider = HttpProvider("up", [OpenAIChat("http://h"), Lasting(upstream.openai_url)], transport)
        assert isinstance(provider, SupportsAbandon)
        provider.abandon({})
        provider.abandon({"id": "r1"})
        await provider.close()
        assert [(request.method, request.path) for request in upstream.requests] == [("POST", "/v1/r1/cancel")]
        assert "an answer of up could not be stopped there" in caplog.text  # the server knows no such path
        caplog.clear()
        listing = UpstreamRequest("GET", f"{upstream.openai_url}/models", {})
        await provider._send_cancel(OpenAIChat("http://h"), listing)  # any answer that is no error
        assert not caplog.records
        await provider.close()

    async def test_one_that_does_not_answer_keeps_nobody(
        self, transport: HttptoolsTransport, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("headwater.providers.http_provider._FAREWELL_S", 0.01)
        monkeypatch.setattr("headwater.providers.http_provider._CANCEL_TIMEOUT_S", 60.0)
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen()
            url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
            provider = HttpProvider("up", Lasting(url), transport)
            provider.abandon({"id": "r1"})
            await provider.close()
            await eventually(lambda: not provider._farewells)


class TestModels:
    async def test_the_list(self, upstream: Upstream, transport: HttptoolsTransport) -> None:
        assert await HttpProvider("up", OpenAIChat(upstream.openai_url), transport).models() == ["fake-1", "fake-mini"]

    async def test_fixed_names_need_no_asking(self, transport: HttptoolsTransport) -> None:
        assert await HttpProvider("up", OpenAIChat(closed_url()), transport, models=["m"]).models() == ("m",)

    @pytest.mark.parametrize(
        ("protocol", "error"),
        [
            (lambda _: OpenAIChat(closed_url()), ProviderUnreachable),
            (lambda upstream: OpenAIChat(upstream.url), ProviderRejected),
            (lambda upstream: Ollama(f"{upstream.url}/v1"), ProviderRejected),
            (lambda upstream: Wrong(upstream.openai_url), ProviderProtocolError),
        ],
    )
    async def test_errors_name_the_provider(
        self,
        transport: HttptoolsTransport,
        upstream: Upstream,
        protocol: Callable[[Upstream], Any],
        error: type[ProviderRejected],
    ) -> None:
        with pytest.raises(error) as caught:
            await HttpProvider("up", protocol(upstream), transport).models()
        assert caught.value.provider == "up"

    async def test_a_list_that_never_comes(self, transport: HttptoolsTransport) -> None:
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen()
            url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
            with pytest.raises(ProviderTimeout):
                await HttpProvider("up", OpenAIChat(url), transport, models_timeout_s=0.05).models()


class Wrong(OpenAIChat):
    def parse_models(self, body: bytes) -> list[str]:
        raise ProviderProtocolError("no list")

"""The scripted upstream speaks Azure OpenAI: the SDK's own Azure client reads it, and so do we."""

from __future__ import annotations

from collections.abc import AsyncIterator

import openai
import pytest

from headwater.errors import ProviderRejected
from headwater.events import Done, Metadata, Text, Usage
from headwater.providers import HttpProvider, HttptoolsTransport
from headwater.providers.wire.azure import AzureOpenAI
from tests.upstream import Script, Upstream, prompt

from .kit import KeepingWriter, chat


@pytest.fixture
async def azure() -> AsyncIterator[Upstream]:
    async with Upstream(api_key="k") as server:
        yield server


@pytest.fixture
async def client(azure: Upstream) -> AsyncIterator[openai.AsyncAzureOpenAI]:
    async with openai.AsyncAzureOpenAI(
        azure_endpoint=azure.url, api_key="k", api_version="2024-10-21", max_retries=0
    ) as client:
        yield client


@pytest.fixture
async def provider(azure: Upstream) -> AsyncIterator[HttpProvider]:
    transport = HttptoolsTransport()
    yield HttpProvider("azure", AzureOpenAI(azure.url, api_key="k"), transport)
    await transport.close()


def asks(**script: object) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt(**script)}]


async def test_the_sdk_reads_a_stream(client: openai.AsyncAzureOpenAI, azure: Upstream) -> None:
    stream = await client.chat.completions.create(
        model="my-deployment", messages=asks(tokens=9), stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[0].choices == []
    assert chunks[0].model_extra["prompt_filter_results"]
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == Script(tokens=9).answer()
    assert chunks[-1].usage is not None
    assert azure.requests[0].path == "/openai/deployments/my-deployment/chat/completions"


async def test_the_sdk_reads_a_whole_answer(client: openai.AsyncAzureOpenAI) -> None:
    completion = await client.chat.completions.create(model="d", messages=asks(tokens=3))
    assert completion.choices[0].message.content == Script(tokens=3).answer()
    assert completion.choices[0].model_extra["content_filter_results"]["hate"]["filtered"] is False


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ({"fault": "status:401"}, openai.AuthenticationError),
        ({"fault": "status:404"}, openai.NotFoundError),
        ({"fault": "status:429+retry_after:7"}, openai.RateLimitError),
        ({"fault": "status:500"}, openai.InternalServerError),
        ({"fault": "error_mid"}, openai.APIError),
        ({"tokens": 0, "finish_reason": "content_filter"}, openai.BadRequestError),
    ],
    ids=str,
)
async def test_the_sdk_raises_its_typed_errors(
    client: openai.AsyncAzureOpenAI, script: dict[str, object], error: type[openai.APIError]
) -> None:
    with pytest.raises(error) as caught:
        async for _ in await client.chat.completions.create(model="d", messages=asks(**script), stream=True):
            pass
    if error is openai.BadRequestError:
        assert caught.value.code == "content_filter"
        assert caught.value.body["innererror"]["code"] == "ResponsibleAIPolicyViolation"


async def test_our_own_requests_are_the_sdks(
    client: openai.AsyncAzureOpenAI, azure: Upstream, provider: HttpProvider
) -> None:
    await (await client.chat.completions.create(model="d 1", messages=asks(tokens=1), stream=True)).close()
    writer = KeepingWriter()
    await provider.producer(chat("d 1", tokens=5), "d 1").run(writer)
    theirs, ours = azure.requests
    assert (ours.path, ours.headers["api-key"]) == (theirs.path, theirs.headers["api-key"])
    assert "authorization" not in ours.headers
    assert "".join(event.text for event in writer.of(Text)) == Script(tokens=5).answer()
    assert writer.of(Metadata)[0].data["model"] == "d%201-2026-01-01"
    assert [type(event) for event in writer.events[-2:]] == [Usage, Done]


async def test_an_answer_that_is_filtered_says_so(provider: HttpProvider) -> None:
    writer = KeepingWriter()
    await provider.producer(chat("d", tokens=2, finish_reason="content_filter"), "d").run(writer)
    assert writer.of(Done) == [Done("content_filter")]


async def test_a_prompt_that_is_filtered_is_refused_for_good(provider: HttpProvider) -> None:
    with pytest.raises(ProviderRejected) as caught:
        await provider.producer(chat("d", tokens=0, finish_reason="content_filter"), "d").run(KeepingWriter())
    assert (caught.value.http_status, caught.value.upstream_code) == (400, "content_filter")
    assert not caught.value.retryable


async def test_the_model_list_is_the_settings() -> None:
    """What the data plane lists are base models, which are no deployments."""
    transport = HttptoolsTransport()
    async with Upstream() as azure:
        protocol = AzureOpenAI(azure.url, api_key="k")
        assert list(await HttpProvider("azure", protocol, transport).models()) == []
        assert (azure.requests[0].path, azure.requests[0].headers["api-key"]) == ("/openai/models", "k")
        assert list(await HttpProvider("azure", protocol, transport, models=["d"]).models()) == ["d"]
    await transport.close()

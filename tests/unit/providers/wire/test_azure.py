from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headwater.errors import ConfigError, InputError, ProviderProtocolError
from headwater.events import Done, Metadata, Text
from headwater.providers.wire.azure import AzureOpenAI
from headwater.request import ChatRequest
from tests.unit.providers.kit import DONE, sse, whole

ASKING = ChatRequest("m", [{"role": "user", "content": "hi"}])


def chunk(**choice: Any) -> dict[str, Any]:
    return {"id": "c1", "model": "gpt-4o-2024-11-20", "choices": [{"index": 0, **choice}]}


@pytest.mark.parametrize("endpoint", ["https://r.openai.azure.com", "https://r.openai.azure.com/openai/"])
def test_the_deployment_is_in_the_path(endpoint: str) -> None:
    protocol = AzureOpenAI(endpoint, api_key="k", api_version="2025-04-01-preview", headers={"x-ms-team": "t"})
    request = protocol.chat(ASKING, "my gpt/4o")
    base = "https://r.openai.azure.com/openai"
    assert request.url == f"{base}/deployments/my%20gpt%2F4o/chat/completions?api-version=2025-04-01-preview"
    assert (request.headers["api-key"], request.headers["x-ms-team"]) == ("k", "t")
    assert "authorization" not in request.headers
    assert msgspec.json.decode(request.body)["stream_options"] == {"include_usage": True}
    assert protocol.list_models().url == f"{base}/models?api-version=2025-04-01-preview"


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_model_cannot_be_another_path(name: str) -> None:
    """Dots are resolved on the way, and the request would go to another address with the key."""
    with pytest.raises(InputError) as caught:
        AzureOpenAI("https://h").chat(ASKING, name)
    assert caught.value.param == "model"


def test_a_model_is_one_segment_whatever_it_holds() -> None:
    url = AzureOpenAI("https://h").chat(ASKING, "../é?#").url
    assert url.startswith("https://h/openai/deployments/..%2F%C3%A9%3F%23/chat/completions?")


def test_a_version_cannot_break_out_of_the_query() -> None:
    assert AzureOpenAI("https://h", api_version="x&y=#z").chat(ASKING, "d").url.endswith("?api-version=x%26y%3D%23z")


def test_an_answer_that_cannot_stream() -> None:
    body = msgspec.json.decode(AzureOpenAI("https://h", stream=False).chat(ASKING, "d").body)
    assert (body["stream"], "stream_options" in body) == (False, False)


@pytest.mark.parametrize("endpoint", ["h", "https://h/openai/deployments/d", "https://u:p@h"])
def test_endpoints_that_cannot_work(endpoint: str) -> None:
    with pytest.raises(ConfigError):
        AzureOpenAI(endpoint)


def test_the_filters_findings_are_no_part_of_the_answer() -> None:
    """The first chunk has neither facts nor choices; later ones may have findings only (asynchronous filter)."""
    findings = {"hate": {"filtered": False, "severity": "safe"}}
    first = {"id": "", "model": "", "object": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]}
    body = sse(
        first,
        chunk(delta={"content": "Hi"}, content_filter_results=findings, finish_reason=None),
        chunk(content_filter_offsets={"check_offset": 4}, content_filter_results=findings, finish_reason=None),
        chunk(delta={}, content_filter_results=findings, finish_reason="content_filter"),
        DONE,
    )
    facts = Metadata({"id": "c1", "model": "gpt-4o-2024-11-20"})
    assert whole(AzureOpenAI("https://h").decoder(), body) == [facts, Text("Hi"), Done("content_filter")]


def test_errors() -> None:
    protocol = AzureOpenAI("https://h", api_key="hush", now=lambda: 0.0)
    body = (
        b'{"error":{"message":"filtered","type":null,"param":"prompt","code":"content_filter","status":400,'
        b'"innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_result":{}}}}'
    )
    refused = protocol.error(400, {}, body)
    assert (refused.http_status, refused.param, refused.retryable) == (400, "prompt", False)
    gone = protocol.error(404, {}, b'{"error":{"code":"DeploymentNotFound","message":"no such deployment"}}')
    assert (gone.http_status, gone.message) == (404, "no such deployment")
    assert protocol.error(429, {"retry-after-ms": "500"}, b"").retry_after_s == 0.5


def test_base_models_are_not_deployments() -> None:
    protocol = AzureOpenAI("https://h")
    assert protocol.parse_models(b'{"data":[{"id":"gpt-4o"}]}') == []
    with pytest.raises(ProviderProtocolError):
        protocol.parse_models(b"<html>")

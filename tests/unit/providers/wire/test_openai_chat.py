from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headwater.errors import ConfigError, InputError, ProviderProtocolError
from headwater.events import JsonObject
from headwater.providers import OpenAIChat
from headwater.request import ChatRequest

MESSAGES: list[JsonObject] = [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]


def body_of(protocol: OpenAIChat, **params: Any) -> dict[str, Any]:
    request = protocol.chat(ChatRequest("public", MESSAGES, params), "upstream-name")
    return dict(msgspec.json.decode(request.body))


def test_parameters_go_through_unchanged() -> None:
    params = {
        "n": 2,
        "temperature": 0.5,
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "response_format": {"type": "json_object"},
        "logprobs": True,
        "unheard_of": None,
        "stream": False,
    }
    body = body_of(OpenAIChat("http://h/v1"), **params)
    assert body == {
        **params,
        "model": "upstream-name",
        "messages": MESSAGES,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_stream_options_are_merged() -> None:
    body = body_of(OpenAIChat("http://h/v1"), stream_options={"include_usage": False, "include_obfuscation": False})
    assert body["stream_options"] == {"include_usage": True, "include_obfuscation": False}
    assert body_of(OpenAIChat("http://h/v1"), stream_options=None)["stream_options"] == {"include_usage": True}


def test_stream_options_for_servers_that_refuse_them() -> None:
    protocol = OpenAIChat("http://h/v1", stream_options=False)
    assert "stream_options" not in body_of(protocol, stream_options={"include_usage": True})


def test_stream_options_of_a_wrong_type() -> None:
    with pytest.raises(InputError) as caught:
        body_of(OpenAIChat("http://h/v1"), stream_options=True)
    assert caught.value.param == "stream_options"


def test_the_request_around_the_body() -> None:
    protocol = OpenAIChat("https://h/v1/", api_key="k", headers={"openai-project": "p"})
    request = protocol.chat(ChatRequest("m", MESSAGES), "m")
    assert (request.method, request.url) == ("POST", "https://h/v1/chat/completions")
    assert request.headers["authorization"] == "Bearer k"
    assert request.headers["openai-project"] == "p"
    assert request.headers["accept"] == "text/event-stream"
    models = protocol.list_models()
    assert (models.method, models.url, models.headers["authorization"]) == ("GET", "https://h/v1/models", "Bearer k")
    assert "authorization" not in OpenAIChat("https://h/v1").list_models().headers


def test_model_lists() -> None:
    protocol = OpenAIChat()
    assert protocol.parse_models(b'{"object":"list","data":[{"id":"a","x":1},{"id":"b"}]}') == ["a", "b"]
    assert protocol.parse_models(b'[{"id":"a"}]') == ["a"]
    for body in (b"", b"{}", b'{"data":[{}]}', b"<html>"):
        with pytest.raises(ProviderProtocolError):
            protocol.parse_models(body)


def test_http_errors() -> None:
    protocol = OpenAIChat(api_key="hush", now=lambda: 0.0)
    error = protocol.error(429, {"retry-after": "Thu, 01 Jan 1970 00:00:09 GMT"}, b'{"error":{"message":"slow, hush"}}')
    assert (error.http_status, error.retry_after_s, error.message) == (429, 9.0, "slow, ***")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h/v1",
        "ftp://h",
        "http://",
        "http://u:p@h/v1",
        "http://:secret@h",
        "http://h/v1?x=1",
        "http://h:0",
        "http://h:x",
    ],
)
def test_base_urls_that_cannot_work(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        OpenAIChat(url)
    assert "secret" not in str(caught.value)

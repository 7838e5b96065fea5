from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headwater.errors import ConfigError, InputError, ProviderProtocolError, UnsupportedField
from headwater.events import Done, JsonObject, Text
from headwater.providers import OpenAIChat
from headwater.providers.ports import SupportsPrefix, UpstreamRequest
from headwater.providers.wire.openai_chat import Continuation
from headwater.providers.wire.openai_differences import Differences
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


def test_the_key_in_a_header_of_its_own() -> None:
    protocol = OpenAIChat("https://h/v1", api_key="k", key_header="api-key")
    headers = protocol.list_models().headers
    assert (headers["api-key"], "authorization" in headers) == ("k", False)
    assert "api-key" not in OpenAIChat("https://h/v1", key_header="api-key").list_models().headers


def test_a_server_that_cannot_stream() -> None:
    """Its one answer becomes a stream; nothing of a stream is asked for."""
    protocol = OpenAIChat("http://h/v1", stream=False)
    request = protocol.chat(
        ChatRequest("m", MESSAGES, {"stream": True, "stream_options": {"include_usage": True}}), "m"
    )
    assert request.headers["accept"] == "application/json"
    assert msgspec.json.decode(request.body) == {"model": "m", "messages": MESSAGES, "stream": False}
    decoder = protocol.decoder()
    answer = {"choices": [{"index": 0, "message": {"content": "all of it"}, "finish_reason": "stop"}]}
    assert decoder.feed(msgspec.json.encode(answer)) == []
    assert decoder.close() == [Text("all of it"), Done("stop")]


def test_differences_are_applied() -> None:
    differences = Differences(renamed={"seed": "random_seed"}, roles={"developer": "system"}, one_choice=True)
    protocol = OpenAIChat("http://h/v1", differences=differences, label="Mine")
    request = protocol.chat(ChatRequest("m", [{"role": "developer", "content": "x"}], {"seed": 1, "n": 1}), "m")
    body = msgspec.json.decode(request.body)
    assert (body["random_seed"], "seed" in body, "n" in body) == (1, False, False)
    assert body["messages"] == [{"role": "system", "content": "x"}]
    with pytest.raises(UnsupportedField, match="Mine gives one answer a request") as caught:
        body_of(protocol, n=2)
    assert caught.value.param == "n"


def continued(protocol: OpenAIChat, *messages: JsonObject, **params: Any) -> tuple[UpstreamRequest, dict[str, Any]]:
    request = protocol.continued(ChatRequest("public", list(messages), params), "m", "so far")
    return request, dict(msgspec.json.decode(request.body))


USER: JsonObject = {"role": "user", "content": "go"}


@pytest.mark.parametrize(
    ("style", "marks", "fields"),
    [
        ("trailing", {}, {}),
        ("prefix", {"prefix": True}, {}),
        ("continue_final_message", {}, {"continue_final_message": True, "add_generation_prompt": False}),
    ],
)
def test_going_on_with_a_text(style: Continuation, marks: JsonObject, fields: JsonObject) -> None:
    protocol = OpenAIChat("http://h/v1", continuation=style)
    assert isinstance(protocol, SupportsPrefix)
    request, body = continued(protocol, USER, temperature=0, n=1, tool_choice="auto", response_format={"type": "text"})
    assert request.url == "http://h/v1/chat/completions"
    assert body["messages"] == [USER, {"role": "assistant", "content": "so far", **marks}]
    assert {name: body.get(name) for name in fields} == fields
    assert (body["temperature"], body["stream"], body["model"]) == (0, True, "m")
    unmarked = msgspec.json.decode(protocol.chat(ChatRequest("m", [USER]), "m").body)
    assert not fields.keys() & unmarked.keys()


def test_an_answer_that_the_caller_began_is_one_beginning() -> None:
    """Two assistant turns in a row are refused by most chat templates, and would be two texts."""
    protocol = OpenAIChat("http://h/v1", continuation="prefix")
    begun = {"role": "assistant", "content": "Once, "}
    assert continued(protocol, USER, begun)[1]["messages"] == [
        USER,
        {"role": "assistant", "content": "Once, so far", "prefix": True},
    ]
    called = {"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]}
    image = {"role": "assistant", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
    for other in (called, image):
        assert len(continued(protocol, USER, other)[1]["messages"]) == 3
    parts = {"role": "assistant", "content": [{"type": "text", "text": "On"}, {"type": "text", "text": "ce, "}]}
    assert continued(protocol, USER, parts) == continued(protocol, USER, begun)
    assert len(continued(protocol)[1]["messages"]) == 1


@pytest.mark.parametrize("echoes", [False, True])
def test_what_was_repeated_of_the_callers_beginning_is_not_sent_twice(echoes: bool) -> None:
    """Mistral's answer begins with the caller's text, so the text so far holds it already."""
    protocol = OpenAIChat("http://h/v1", continuation="prefix", echoes_prefix=echoes)
    begun = {"role": "assistant", "content": "so "}
    assert continued(protocol, USER, begun)[1]["messages"][1:] == [
        {"role": "assistant", "content": "so far", "prefix": True}
    ]


def test_who_repeats_does_not_go_on_with_anothers_answer_to_the_callers_beginning() -> None:
    """It would repeat the caller's part as well, and viewers would get the answer twice."""
    protocol = OpenAIChat("http://h/v1", continuation="prefix", echoes_prefix=True)
    with pytest.raises(UnsupportedField) as caught:
        continued(protocol, USER, {"role": "assistant", "content": "Once, "})
    assert caught.value.param is None


def test_the_limit_holds_for_both_parts() -> None:
    protocol = OpenAIChat("http://h/v1", continuation="trailing")
    assert continued(protocol, USER, max_tokens=10)[1]["max_tokens"] == 9  # "so far" is one token at least
    assert continued(protocol, USER, max_completion_tokens=1)[1]["max_completion_tokens"] == 1
    assert "max_tokens" not in continued(protocol, USER)[1]


def test_continuations_may_have_an_address_of_their_own() -> None:
    protocol = OpenAIChat("http://h/v1", continuation="prefix", continuation_url="http://h/beta/", echoes_prefix=True)
    assert continued(protocol, USER)[0].url == "http://h/beta/chat/completions"
    assert protocol.chat(ChatRequest("m", [USER]), "m").url == "http://h/v1/chat/completions"
    assert (protocol.echoes_prefix, OpenAIChat().echoes_prefix) == (True, False)


@pytest.mark.parametrize(
    "params",
    [
        {"n": 2},
        {"tool_choice": "required"},
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"function_call": {"name": "f"}},
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}},
    ],
    ids=str,
)
def test_what_cannot_go_on_from_a_text(params: dict[str, Any]) -> None:
    """Without a `param`: leaving the field out would make it the continuation of another answer."""
    with pytest.raises(UnsupportedField) as caught:
        continued(OpenAIChat("http://h/v1", continuation="trailing"), USER, **params)
    assert caught.value.param is None


def test_a_server_that_cannot_go_on_says_so() -> None:
    with pytest.raises(UnsupportedField, match="this provider cannot go on"):
        continued(OpenAIChat("http://h/v1"), USER)


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
        "http://h/v1\r\nx-injected: 1",
        "http://h/my path",
        "http://h/é",
        "http://h:x",
    ],
)
def test_base_urls_that_cannot_work(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        OpenAIChat(url)
    assert "secret" not in str(caught.value)

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headwater.errors import InputError, ProviderProtocolError, ProviderRejected, UnsupportedField
from headwater.events import JsonObject
from headwater.providers.ports import Held, SupportsReattach
from headwater.providers.wire.responses import Responses
from headwater.request import ChatRequest

MESSAGES: list[JsonObject] = [{"role": "user", "content": "hi"}]
INPUT = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}]
SCHEMA = {"type": "object"}
SEARCH = {"type": "web_search", "search_context_size": "low"}
BACKGROUND: JsonObject = {"id": "resp_1", "response_id": "resp_1", "background": True, "model": "m"}


def body_of(**params: Any) -> dict[str, Any]:
    body = dict(msgspec.json.decode(Responses("http://h/v1").chat(ChatRequest("m", MESSAGES, params), "up").body))
    assert (body.pop("model"), body.pop("input"), body.pop("stream")) == ("up", INPUT, True)
    return body


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, {}),
        ({"store": True}, {"store": True}),
        ({"background": True}, {"background": True, "store": True}),
        ({"background": True, "store": False}, {"background": True}),
        ({"temperature": 0.5, "top_p": 1, "seed": None}, {"temperature": 0.5, "top_p": 1}),
        ({"max_tokens": 9}, {"max_output_tokens": 9}),
        ({"max_completion_tokens": 8, "max_tokens": 9}, {"max_output_tokens": 8}),
        ({"logprobs": True}, {"include": ["message.output_text.logprobs"]}),
        (
            {"logprobs": True, "top_logprobs": 3, "include": ["web_search_call.results"]},
            {"include": ["web_search_call.results", "message.output_text.logprobs"], "top_logprobs": 3},
        ),
        ({"parallel_tool_calls": False}, {"parallel_tool_calls": False}),
        ({"parallel_tool_calls": True, "n": 1, "presence_penalty": 0}, {}),
        ({"reasoning_effort": "high"}, {"reasoning": {"effort": "high", "summary": "auto"}}),
        ({"reasoning_effort": "none"}, {"reasoning": {"effort": "none"}}),
        ({"reasoning": {"summary": "detailed"}}, {"reasoning": {"summary": "detailed"}}),
        (
            {"reasoning_effort": "low", "reasoning": {"summary": None}},
            {"reasoning": {"effort": "low", "summary": None}},
        ),
        ({"verbosity": "low"}, {"text": {"verbosity": "low"}}),
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": {"type": "json_object"}}, {"text": {"format": {"type": "json_object"}}}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}},
            {"text": {"format": {"type": "json_schema", "name": "answer", "schema": SCHEMA}}},
        ),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "a", "description": "d", "strict": True, "schema": SCHEMA},
                },
                "verbosity": "high",
            },
            {
                "text": {
                    "format": {
                        "type": "json_schema",
                        "name": "a",
                        "description": "d",
                        "strict": True,
                        "schema": SCHEMA,
                    },
                    "verbosity": "high",
                }
            },
        ),
        (
            {"tools": [SEARCH, {"type": "function", "function": {"name": "f", "parameters": SCHEMA}}]},
            {"tools": [{"type": "function", "name": "f", "strict": False, "parameters": SCHEMA}, SEARCH]},
        ),
        ({"tool_choice": "required"}, {"tool_choice": "required"}),
        (
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
            {"tool_choice": {"type": "function", "name": "f"}},
        ),
        ({"stream_options": {"include_usage": True}}, {}),
        ({"stream_options": {"include_obfuscation": False}}, {"stream_options": {"include_obfuscation": False}}),
        (
            {"metadata": {"a": "b"}, "service_tier": "flex", "safety_identifier": "s", "user": "u"},
            {"metadata": {"a": "b"}, "service_tier": "flex", "safety_identifier": "s", "user": "u"},
        ),
        ({"prompt_cache_key": "k", "truncation": "auto"}, {"prompt_cache_key": "k", "truncation": "auto"}),
    ],
)
def test_parameters(params: dict[str, Any], expected: dict[str, Any]) -> None:
    assert body_of(**params) == {"store": False, **expected}


@pytest.mark.parametrize(
    "params",
    [
        {"n": 2},
        {"stop": ["x"]},
        {"seed": 1},
        {"presence_penalty": 1},
        {"frequency_penalty": 0.5},
        {"logit_bias": {"1": 2}},
        {"audio": {"voice": "alloy"}},
        {"modalities": ["audio"]},
        {"prediction": {}},
    ],
)
def test_what_only_chat_completions_can_take(params: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedField) as caught:
        body_of(**params)
    assert caught.value.param == next(iter(params))


@pytest.mark.parametrize("params", [{"include": "x"}, {"reasoning": "high"}, {"background": 1}, {"tools": [{}]}])
def test_wrong_parameters(params: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        body_of(**params)
    assert type(caught.value) is InputError


def test_the_request_around_the_body() -> None:
    protocol = Responses("https://h/v1/", api_key="k", headers={"openai-project": "p"})
    request = protocol.chat(ChatRequest("m", MESSAGES), "m")
    assert (request.method, request.url) == ("POST", "https://h/v1/responses")
    assert request.headers["authorization"] == "Bearer k"
    assert request.headers["openai-project"] == "p"
    models = protocol.list_models()
    assert (models.method, models.url) == ("GET", "https://h/v1/models")
    assert models.headers["openai-project"] == "p"
    assert protocol.parse_models(b'{"data":[{"id":"a"}]}') == ["a"]
    with pytest.raises(ProviderProtocolError):
        protocol.parse_models(b"{}")
    assert "authorization" not in Responses().chat(ChatRequest("m", MESSAGES), "m").headers


def test_http_errors() -> None:
    error = Responses(api_key="hush", now=lambda: 0.0).error(
        429, {"retry-after": "3"}, b'{"error":{"message":"hush, slow down","code":"rate_limit_exceeded"}}'
    )
    assert isinstance(error, ProviderRejected)
    assert (error.http_status, error.retry_after_s, error.upstream_code) == (429, 3.0, "rate_limit_exceeded")
    assert "hush" not in error.message
    with pytest.raises(ProviderRejected, match=r"^\*\*\* is no key"):
        Responses(api_key="hush").decoder().feed(b'data: {"type":"error","message":"hush is no key"}\n\n')


class TestReattach:
    """Background resume broken by a proxy: litellm #26762."""

    @pytest.mark.parametrize(
        ("held", "query"),
        [
            (Held("Hi", BACKGROUND, 7), "?stream=true&starting_after=7"),
            (Held("Hi", BACKGROUND, 7, resumable=False), "?stream=true"),
            (Held("Hi", BACKGROUND), "?stream=true"),
        ],
    )
    def test_the_request(self, held: Held, query: str) -> None:
        protocol = Responses("https://h/v1", api_key="k")
        assert isinstance(protocol, SupportsReattach)
        found = protocol.reattach(held)
        assert found is not None
        assert (found[0].method, found[0].url) == ("GET", f"https://h/v1/responses/resp_1{query}")
        assert found[0].headers["authorization"] == "Bearer k"

    @pytest.mark.parametrize(
        "facts",
        [
            {},
            {"id": "resp_1"},
            {**BACKGROUND, "background": False},
            {**BACKGROUND, "response_id": 1},
            {**BACKGROUND, "id": "chatcmpl-of-a-later-attempt"},
        ],
    )
    def test_only_to_what_goes_on_without_us(self, facts: JsonObject) -> None:
        assert Responses().reattach(Held("Hi", facts, 7)) is None
        assert Responses().cancel_request(facts) is None

    def test_not_where_nobody_knows_what_the_stream_holds(self) -> None:
        assert Responses().reattach(Held("Hi", BACKGROUND, None, resumable=False)) is None

    def test_an_id_cannot_name_another_address(self) -> None:
        evil: JsonObject = {"id": "../files?x#", "response_id": "../files?x#", "background": True}
        cancel = Responses("https://h/v1").cancel_request(evil)
        assert cancel is not None
        assert cancel.url == "https://h/v1/responses/..%2Ffiles%3Fx%23/cancel"

    def test_cancel(self) -> None:
        """Stop does not stop the model: open-webui #1567."""
        cancel = Responses("https://h/v1", api_key="k").cancel_request(BACKGROUND)
        assert cancel is not None
        assert (cancel.method, cancel.url) == ("POST", "https://h/v1/responses/resp_1/cancel")
        assert (cancel.headers["authorization"], cancel.body) == ("Bearer k", b"")


def test_no_stop_texts_are_none_to_refuse() -> None:
    """Many clients send every field that they know."""
    request = ChatRequest("m", [{"role": "user", "content": "hi"}], {"stop": []})
    assert "stop" not in msgspec.json.decode(Responses().chat(request, "m").body)

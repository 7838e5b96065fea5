from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headwater.errors import InputError, ProviderProtocolError
from headwater.providers import Ollama
from headwater.providers.ports import SupportsPrefix
from headwater.request import ChatRequest


def body_of(model: str = "llama3", /, **params: Any) -> dict[str, Any]:
    request = Ollama("http://h:1").chat(ChatRequest("public", [{"role": "user", "content": "hi"}], params), model)
    assert request.url == "http://h:1/api/chat"
    body = dict(msgspec.json.decode(request.body))
    assert (body.pop("model"), body.pop("stream")) == (model, True)
    assert body.pop("messages") == [{"role": "user", "content": "hi"}]
    return body


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, {}),
        ({"temperature": 0.5, "top_p": 0.9, "seed": 7}, {"options": {"temperature": 0.5, "top_p": 0.9, "seed": 7}}),
        ({"max_tokens": 9}, {"options": {"num_predict": 9}}),
        ({"max_completion_tokens": 9}, {"options": {"num_predict": 9}}),
        ({"stop": "x"}, {"options": {"stop": ["x"]}}),
        ({"stop": ["x", "y"]}, {"options": {"stop": ["x", "y"]}}),
        ({"options": {"num_ctx": 5}, "top_k": 1}, {"options": {"num_ctx": 5, "top_k": 1}}),
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": {"type": "json_object"}}, {"format": "json"}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}},
            {"format": {"type": "object"}},
        ),
        (
            {"keep_alive": "5m", "logprobs": True, "top_logprobs": 2},
            {"keep_alive": "5m", "logprobs": True, "top_logprobs": 2},
        ),
        ({"tools": [{"type": "function"}], "tool_choice": "auto"}, {"tools": [{"type": "function"}]}),
        ({"tools": [{"type": "function"}], "tool_choice": "none"}, {}),
        ({"reasoning_effort": "none"}, {"think": False}),
        ({"reasoning_effort": "low"}, {"think": True}),
        ({"reasoning_effort": "high", "think": False}, {"think": False}),
        ({"n": 1, "logit_bias": {}, "parallel_tool_calls": True, "modalities": ["text"]}, {}),
        ({"n": None, "logit_bias": None, "whatever": None}, {}),
        ({"stream": False, "stream_options": {}, "user": "u", "metadata": {}, "store": True}, {}),
    ],
)
def test_parameters(params: dict[str, Any], expected: dict[str, Any]) -> None:
    assert body_of(**params) == expected


@pytest.mark.parametrize(
    ("effort", "level"), [("minimal", "low"), ("medium", "medium"), ("xhigh", "high"), ("max", "high")]
)
def test_gpt_oss_thinks_at_levels(effort: str, level: str) -> None:
    assert body_of("gpt-oss:20b", reasoning_effort=effort) == {"think": level}
    assert body_of("hf.co/openai/gpt-oss-20b", reasoning_effort=effort) == {"think": level}
    assert body_of("gpt-oss:20b", reasoning_effort="none") == {"think": False}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 2),
        ("logit_bias", {"50256": -100}),
        ("parallel_tool_calls", False),
        ("modalities", ["audio"]),
        ("tool_choice", "required"),
        ("tool_choice", {"type": "function", "function": {"name": "f"}}),
        ("response_format", {"type": "grammar"}),
        ("response_format", "json"),
        ("response_format", {"type": "json_schema"}),
        ("response_format", {"type": "json_schema", "json_schema": {}}),
        ("reasoning_effort", "enormous"),
        ("options", [1]),
        ("functions", []),
        ("unheard_of", 1),
    ],
)
def test_what_it_cannot_take_is_named(name: str, value: object) -> None:
    with pytest.raises(InputError) as caught:
        body_of(**{name: value})
    assert caught.value.param == name


def test_the_key_is_sent_where_there_is_one() -> None:
    assert Ollama(api_key="k").list_models().headers["authorization"] == "Bearer k"
    assert "authorization" not in Ollama().list_models().headers


def test_model_lists() -> None:
    assert Ollama().list_models().url == "http://127.0.0.1:11434/api/tags"
    with pytest.raises(ProviderProtocolError):
        Ollama().parse_models(b'{"object":"list","data":[]}')
    assert Ollama().parse_models(b'{"models":[{"name":"llama3:latest","size":1}]}') == ["llama3:latest"]


def test_http_errors() -> None:
    error = Ollama().error(404, {}, b'{"error":"model \\"x\\" not found, try pulling it first"}')
    assert (error.http_status, error.retryable) == (404, False)
    assert error.message == 'model "x" not found, try pulling it first'


class TestGoingOn:
    """An assistant's last message is left open by templates that know messages; nothing else is added."""

    def messages(self, *messages: dict[str, Any]) -> list[dict[str, Any]]:
        protocol = Ollama("http://h:1")
        assert isinstance(protocol, SupportsPrefix)
        assert not protocol.echoes_prefix
        request = ChatRequest("public", [dict(message) for message in messages], {"seed": 7})
        built = msgspec.json.decode(protocol.continued(request, "llama3", "so far").body)
        assert (built["model"], built["stream"], built["options"]) == ("llama3", True, {"seed": 7})
        return list(built["messages"])

    def test_the_text_is_the_last_message(self) -> None:
        asked = {"role": "user", "content": "hi"}
        assert self.messages(asked) == [asked, {"role": "assistant", "content": "so far"}]
        assert self.messages() == [{"role": "assistant", "content": "so far"}]

    def test_what_the_caller_began_is_part_of_it(self) -> None:
        begun = {"role": "assistant", "content": "Well, "}
        assert self.messages(begun) == [{"role": "assistant", "content": "Well, so far"}]

    def test_the_limit_holds_for_both_parts(self) -> None:
        request = ChatRequest("m", [], {"max_tokens": 10})
        built = msgspec.json.decode(Ollama().continued(request, "llama3", "so far").body)
        assert built["options"] == {"num_predict": 9}

    def test_a_tool_call_is_no_beginning(self) -> None:
        call = {"id": "c", "function": {"name": "f", "arguments": "{}"}}
        called = self.messages({"role": "assistant", "content": "", "tool_calls": [call]})
        assert [message["content"] for message in called] == ["", "so far"]

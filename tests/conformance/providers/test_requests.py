"""Every field of a canonical request at every provider: it is in the body, or it is refused by name. Never dropped."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from headwater.errors import InputError, UnsupportedField
from headwater.providers import HttpProvider, HttptoolsTransport
from headwater.providers.options import ProviderOptions
from headwater.providers.ports import WireProtocol
from headwater.providers.presets import PRESETS
from headwater.providers.wire.conversation import WITHOUT_INFLUENCE
from headwater.request import ChatRequest

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TOOL = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
FIELDS: dict[str, Any] = {
    "temperature": 0.5,
    "top_p": 0.5,
    "top_k": 7,
    "max_tokens": 77,
    "max_completion_tokens": 78,
    "stop": ["END"],
    "seed": 7,
    "n": 2,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "reasoning_effort": "low",
    "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}},
    "tools": [TOOL],
    "parallel_tool_calls": False,
    "metadata": {"a": "b"},
    "user": "u-1",
    "no_such_field": 1,
}
# Fields that mean nothing without another one.
NEEDS = {"parallel_tool_calls": {"tools": [TOOL]}}
PARTS: dict[str, dict[str, Any]] = {
    "image": {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
    "image_url": {"type": "image_url", "image_url": {"url": "https://images.example/cat.png"}},
    "audio": {"type": "input_audio", "input_audio": {"format": "wav", "data": "UklGRg=="}},
    "file": {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
}


def protocols() -> dict[str, WireProtocol]:
    """Every protocol of every preset, by `preset` or `preset/protocol`."""
    found: dict[str, WireProtocol] = {}
    for name, preset in PRESETS.items():
        if name == "airefinery-sdk":
            continue  # its requests are those of `airefinery`, made by the SDK
        base_url = preset.base_url or "http://127.0.0.1:9/v1"
        made = preset.make(ProviderOptions(name=name, base_url=base_url, api_key="k"))
        several = made if isinstance(made, (list, tuple)) else [made]
        for protocol in several:
            found[f"{name}/{protocol.name}" if len(several) > 1 else name] = protocol  # type: ignore[union-attr]
    return found


PROTOCOLS = protocols()


def models_of(name: str) -> str:
    return {"anthropic": "claude-sonnet-4-0", "gemini": "gemini-2.5-flash"}.get(name, "m-1")


def asking(content: object = "hello", **params: Any) -> ChatRequest:
    return ChatRequest("m-1", [{"role": "user", "content": content}], params)


def body(protocol: WireProtocol, request: ChatRequest, model: str) -> Any:
    built = protocol.chat(request, model)
    return built.url, json.loads(built.body)


def refusal(protocol: WireProtocol, request: ChatRequest, model: str) -> UnsupportedField | None:
    try:
        protocol.chat(request, model)
    except UnsupportedField as exc:
        return exc
    return None


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_field_arrives_or_is_refused_by_name(name: str, field: str) -> None:
    protocol, model = PROTOCOLS[name], models_of(name)
    with_it = {**NEEDS.get(field, {}), field: FIELDS[field]}
    refused = refusal(protocol, asking(**with_it), model)
    if refused is not None:
        assert refused.param == field
        assert field in refused.message
    elif body(protocol, asking(**with_it), model) == body(protocol, asking(**NEEDS.get(field, {})), model):
        assert field in WITHOUT_INFLUENCE, f"{name} drops {field} silently"


@pytest.mark.parametrize("kind", PARTS)
@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_part_arrives_or_is_refused_by_its_path(name: str, kind: str) -> None:
    protocol, model = PROTOCOLS[name], models_of(name)
    request = asking([{"type": "text", "text": "look"}, PARTS[kind]])
    refused = refusal(protocol, request, model)
    if refused is not None:
        assert refused.param == "messages[0].content[1]"
        return
    data = {"image": PNG, "image_url": "images.example/cat.png", "audio": "UklGRg==", "file": "JVBERi0="}[kind]
    assert data in json.dumps(body(protocol, request, model))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_messages_that_are_wrong_are_wrong_for_all(name: str) -> None:
    """Only what another provider could take is `UnsupportedField`; the rest is the caller's mistake."""
    protocol = PROTOCOLS[name]
    plain = body(protocol, asking(), models_of(name))
    assert "hello" in json.dumps(plain)
    if protocol.name in ("openai_chat", "azure"):
        return  # their bodies go through unread: the server itself says what is wrong
    for messages in ([{"role": "wizard", "content": "x"}], [{"role": "user", "content": [{"type": "smell"}]}]):
        with pytest.raises(InputError) as caught:
            protocol.chat(ChatRequest("m", messages), models_of(name))
        assert str(caught.value.param).startswith("messages[0]")


@pytest.mark.parametrize("name", ["anthropic", "gemini", "ollama"])
async def test_what_is_dropped_by_the_setting_is_told(name: str) -> None:
    """By an explicit setting, and never silently: the stream's metadata names it."""
    transport = HttptoolsTransport()
    provider = HttpProvider(name, PROTOCOLS[name], transport, drop_unsupported=True)
    dropped: Callable[[ChatRequest], list[str]] = lambda request: provider.producer(request, models_of(name)).dropped  # type: ignore[attr-defined]  # noqa: E731
    assert dropped(asking(temperature=0.5)) == []
    assert dropped(asking(no_such_field=1, temperature=0.5)) == ["no_such_field"]
    strict = HttpProvider(name, PROTOCOLS[name], transport)
    with pytest.raises(UnsupportedField, match="no_such_field"):
        strict.producer(asking(no_such_field=1), models_of(name))
    await transport.close()

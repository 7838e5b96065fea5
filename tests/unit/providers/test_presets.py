"""The presets: addresses, spellings, and the requests that come of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from headwater.config import Settings
from headwater.errors import ConfigError, UnsupportedField
from headwater.events import JsonObject
from headwater.providers.options import ProviderOptions
from headwater.providers.ports import SupportsPrefix, WireProtocol
from headwater.providers.presets import PRESETS, ollama_url, preset_name
from headwater.providers.wire.anthropic import Anthropic
from headwater.providers.wire.azure import AzureOpenAI
from headwater.providers.wire.gemini import Gemini
from headwater.providers.wire.ollama import Ollama
from headwater.providers.wire.openai_chat import OpenAIChat
from headwater.providers.wire.responses import Responses
from headwater.request import ChatRequest
from headwater.tables import ProviderTable

USER: JsonObject = {"role": "user", "content": "hi"}
COMPATIBLE = [
    *(
        "airefinery",
        "vllm",
        "llama-cpp",
        "lm-studio",
        "mistral",
        "groq",
        "deepseek",
        "openrouter",
        "together",
        "localai",
    ),
    "openai-compatible",
]


def made(name: str, base_url: str = "", **table: Any) -> Any:
    preset = PRESETS[name]
    options = ProviderOptions(
        name=name,
        base_url=preset.address(base_url) or "http://h/v1",
        api_key="k",
        headers={"x-team": "t"},
        table=ProviderTable(**table),
    )
    return preset.make(options)


def body_of(name: str, *messages: JsonObject, **params: Any) -> dict[str, Any]:
    protocol = cast("WireProtocol", made(name))
    return dict(msgspec.json.decode(protocol.chat(ChatRequest("m", list(messages) or [USER], params), "m").body))


def test_the_names_are_those_of_the_issue() -> None:
    named = "openai azure anthropic gemini ollama airefinery vllm llama-cpp lm-studio mistral groq deepseek openrouter"
    assert set(named.split()) | {"together", "openai-compatible"} <= set(PRESETS)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("openai", "openai"),
        ("azure", "azure"),
        ("Anthropic", "anthropic"),
        ("gemini", "gemini"),
        ("lmstudio", "lm-studio"),
        ("localai", "localai"),
        ("ollama", "ollama"),
        ("togetherai", "together"),
        ("openrouter", "openrouter"),
        ("mistral", "mistral"),
        ("groq", "groq"),
        ("deepseek", "deepseek"),
        ("generic-openai", "openai-compatible"),
        ("vllm", "vllm"),
        ("llamacpp", "llama-cpp"),
        ("bedrock", None),
    ],
)
def test_names_as_anythingllm_writes_them(written: str, name: str | None) -> None:
    assert preset_name(written) == name


def test_no_spelling_means_two_presets_and_no_variable_two_keys_of_other_hosts() -> None:
    spellings = [*PRESETS, *(alias for preset in PRESETS.values() for alias in preset.aliases)]
    assert len(spellings) == len(set(spellings))
    told = [
        variable
        for preset in PRESETS.values()
        if preset.announced
        for variable in (*preset.key_variables, *preset.url_variables)
    ]
    assert len(told) == len(set(told))


@pytest.mark.parametrize("name", COMPATIBLE)
def test_the_compatible_ones_speak_chat_completions(name: str) -> None:
    protocol = made(name)
    assert isinstance(protocol, OpenAIChat)
    request = protocol.chat(ChatRequest("m", [USER]), "m")
    assert request.headers["authorization"] == "Bearer k"
    assert request.headers["x-team"] == "t"
    assert request.url == f"{(PRESETS[name].base_url or 'http://h/v1')}/chat/completions"
    assert msgspec.json.decode(made(name, stream=False).chat(ChatRequest("m", [USER]), "m").body)["stream"] is False


@pytest.mark.parametrize(
    ("name", "kind"), [("azure", AzureOpenAI), ("anthropic", Anthropic), ("gemini", Gemini), ("ollama", Ollama)]
)
def test_the_others_speak_their_own(name: str, kind: type[object]) -> None:
    assert isinstance(made(name), kind)


@pytest.mark.parametrize(
    ("base_url", "table", "kinds"),
    [
        ("", {}, [Responses, OpenAIChat]),
        ("https://eu.api.openai.com/v1", {}, [Responses, OpenAIChat]),
        ("", {"api": "chat"}, [OpenAIChat]),
        ("", {"stream": False}, [OpenAIChat]),
        ("https://api.openai.com.evil.example/v1", {}, [OpenAIChat]),
        ("http://gateway/v1", {}, [OpenAIChat]),
        ("http://gateway/v1", {"api": "responses"}, [Responses, OpenAIChat]),
    ],
)
def test_responses_by_default_for_openai_only(base_url: str, table: dict[str, Any], kinds: list[type[object]]) -> None:
    protocols = made("openai", base_url, **table)
    protocols = protocols if isinstance(protocols, Sequence) else [protocols]
    assert [type(protocol) for protocol in protocols] == kinds


def test_azure_has_its_version() -> None:
    url = made("azure", "https://r.openai.azure.com", api_version="v9").list_models().url
    assert url == "https://r.openai.azure.com/openai/models?api-version=v9"
    assert "api-version=2024-10-21" in made("azure", "https://r.openai.azure.com").list_models().url


@pytest.mark.parametrize(
    ("name", "written", "url"),
    [
        ("vllm", "", ""),
        ("llama-cpp", "", "http://127.0.0.1:8080/v1"),
        ("vllm", "http://gpu:8000", "http://gpu:8000/v1"),
        ("vllm", "http://gpu:8000/", "http://gpu:8000/v1"),
        ("vllm", "http://gpu:8000/v1/", "http://gpu:8000/v1/"),
        ("vllm", "http://gpu/models/a", "http://gpu/models/a"),
        ("groq", "https://api.groq.com", "https://api.groq.com/openai/v1"),
        ("airefinery", "https://api.airefinery.accenture.com", "https://api.airefinery.accenture.com/v1"),
        ("openai-compatible", "", ""),
        ("azure", "https://r.openai.azure.com/", "https://r.openai.azure.com"),
    ],
)
def test_an_address_without_a_path_gets_the_usual_one(name: str, written: str, url: str) -> None:
    assert PRESETS[name].address(written) == url


def test_the_page_lists_every_default_address_of_this_machine() -> None:
    """And none of them is Headwater's own, or it would ask itself."""
    page = (Path(__file__).parents[3] / "docs" / "reference" / "providers.md").read_text("utf-8")
    listed = {
        name: address
        for row in re.findall(r"^\| (`[^|]*) \| `(http[^`]*)` \|$", page, re.MULTILINE)
        for name, address in ((name, row[1]) for name in re.findall(r"`([^`]+)`", row[0]))
    }
    local = {name: preset.address("") for name, preset in PRESETS.items() if preset.needs == "address"}
    assert listed == {name: address for name, address in local.items() if address}
    assert {"vllm", "openai-compatible"} == local.keys() - listed.keys()
    own = Settings.model_fields["port"].default
    assert not any(f":{own}" in address for address in listed.values())


def test_an_address_that_does_not_parse() -> None:
    with pytest.raises(ConfigError):
        PRESETS["vllm"].address("http://[::1")


CONTINUED: list[tuple[str, JsonObject, JsonObject]] = [
    ("mistral", {"prefix": True}, {}),
    ("deepseek", {"prefix": True}, {}),
    ("vllm", {}, {"continue_final_message": True, "add_generation_prompt": False}),
    ("llama-cpp", {}, {}),
    ("lm-studio", {}, {}),
    ("openrouter", {}, {}),
    ("groq", {}, {}),
]


@pytest.mark.parametrize(("name", "marks", "fields"), CONTINUED)
def test_who_can_go_on_with_a_text(name: str, marks: JsonObject, fields: JsonObject) -> None:
    protocol = made(name)
    assert isinstance(protocol, SupportsPrefix)
    request = protocol.continued(ChatRequest("m", [USER]), "m", "so far")
    body = msgspec.json.decode(request.body)
    assert body["messages"][-1] == {"role": "assistant", "content": "so far", **marks}
    assert {field: body[field] for field in fields} == fields
    assert protocol.echoes_prefix == (name == "mistral")


@pytest.mark.parametrize("name", ["airefinery", "together", "localai", "openai-compatible"])
def test_who_is_not_known_to_go_on(name: str) -> None:
    with pytest.raises(UnsupportedField):
        made(name).continued(ChatRequest("m", [USER]), "m", "so far")


@pytest.mark.parametrize("base_url", ["", "https://api.deepseek.com/v1/"])
def test_deepseek_goes_on_at_another_address(base_url: str) -> None:
    protocol = made("deepseek", base_url)
    url = protocol.continued(ChatRequest("m", [USER]), "m", "so far").url
    assert url == "https://api.deepseek.com/beta/chat/completions"
    assert "beta" not in protocol.chat(ChatRequest("m", [USER]), "m").url


def test_mistral_gets_its_own_names() -> None:
    """What its schema lacks is answered 422 by the name (mistralai/platform-docs-public #7; llxprt-code #114)."""
    body = body_of(
        "mistral",
        {"role": "developer", "content": "x", "name": ""},
        seed=1,
        max_completion_tokens=2,
        user="u",
        store=True,
        logit_bias={},
        stream_options={"include_usage": True},
        metadata={"a": "b"},
    )
    assert body == {
        "model": "m",
        "messages": [{"role": "system", "content": "x"}],
        "stream": True,
        "random_seed": 1,
        "max_tokens": 2,
        "metadata": {"a": "b"},
    }


REFUSED: list[tuple[str, JsonObject, str]] = [
    ("mistral", {"logit_bias": {"1": 2}}, "logit_bias"),
    ("mistral", {"modalities": ["text", "audio"]}, "modalities"),
    ("groq", {"logprobs": True}, "logprobs"),
    ("groq", {"top_logprobs": 2}, "top_logprobs"),
    ("groq", {"n": 2}, "n"),
    ("deepseek", {"seed": 1}, "seed"),
    ("deepseek", {"n": 2}, "n"),
    ("deepseek", {"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format"),
    ("lm-studio", {"response_format": {"type": "json_object"}}, "response_format"),
]


@pytest.mark.parametrize(("name", "params", "param"), REFUSED)
def test_what_a_provider_cannot_take_is_named(name: str, params: JsonObject, param: str) -> None:
    with pytest.raises(UnsupportedField) as caught:
        body_of(name, **params)
    assert caught.value.param == param


@pytest.mark.parametrize(("name", "field"), [("mistral", "name"), ("mistral", "refusal"), ("groq", "name")])
def test_what_a_message_cannot_have_is_named(name: str, field: str) -> None:
    with pytest.raises(UnsupportedField) as caught:
        body_of(name, USER, {"role": "assistant", "content": "x", field: "y"})
    assert caught.value.param == f"messages[1].{field}"


def test_earlier_thinking_goes_to_those_who_take_it() -> None:
    answer = {"role": "assistant", "content": "x", "reasoning_content": "hm"}
    bare = {"role": "assistant", "content": "x"}
    for name in ("mistral", "groq"):
        assert body_of(name, USER, answer)["messages"][1] == bare
    for name in ("deepseek", "vllm", "openrouter"):
        assert body_of(name, USER, answer)["messages"][1] == answer


@pytest.mark.parametrize(("host", "kept"), [("https://api.openai.com/v1", False), ("http://gpu:8000/v1", True)])
def test_earlier_thinking_at_openai_and_at_who_speaks_its_api(host: str, kept: bool) -> None:
    table = ProviderTable(api="chat")
    protocol = cast("WireProtocol", PRESETS["openai"].make(ProviderOptions(name="openai", base_url=host, table=table)))
    request = ChatRequest("m", [{"role": "assistant", "content": "x", "reasoning_content": "hm"}])
    assert ("reasoning_content" in msgspec.json.decode(protocol.chat(request, "m").body)["messages"][0]) is kept


@pytest.mark.parametrize("name", ["deepseek", "together", "lm-studio", "llama-cpp", "mistral"])
def test_the_older_name_of_the_limit(name: str) -> None:
    body = body_of(name, max_completion_tokens=7)
    assert (body["max_tokens"], "max_completion_tokens" in body) == (7, False)


@pytest.mark.parametrize("name", ["airefinery", "vllm", "openrouter", "openai-compatible", "localai"])
def test_parameters_of_the_others_go_through(name: str) -> None:
    params = {"seed": 1, "n": 2, "logit_bias": {"1": 2}, "max_completion_tokens": 3, "user": "u", "top_k": 4}
    body = body_of(name, **params)
    assert {field: body[field] for field in params} == params


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("127.0.0.1", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        (":8080", "http://127.0.0.1:8080"),
        ("gpu-box:8080", "http://gpu-box:8080"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("[::]:8080", "http://[::1]:8080"),
        ("http://gpu-box", "http://gpu-box:80"),
        ("https://gpu-box", "https://gpu-box:443"),
        ("https://gpu-box:8443/ollama/", "https://gpu-box:8443/ollama"),
    ],
)
def test_every_form_of_ollama_host(host: str, url: str) -> None:
    assert ollama_url(host) == PRESETS["ollama"].address(host) == url


@pytest.mark.parametrize("host", ["http://[::1", "gpu-box:port"])
def test_ollama_hosts_that_do_not_parse(host: str) -> None:
    with pytest.raises(ConfigError):
        ollama_url(host)


def test_options_are_shown_without_their_secrets() -> None:
    options = ProviderOptions(name="x", base_url="http://h", api_key="hunter2", headers={"x": "hunter2"})
    assert "hunter2" not in f"{options!r} {options}"

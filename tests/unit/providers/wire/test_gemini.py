from __future__ import annotations

import json
from typing import Any

import pytest

from headwater.errors import ConfigError, InputError, ProviderProtocolError, ProviderRejected, UnsupportedField
from headwater.providers.ports import SupportsPrefix, SupportsReattach
from headwater.providers.wire.gemini import Gemini
from headwater.providers.wire.gemini_errors import gemini_rejection_in_band
from headwater.providers.wire.gemini_request import version_of
from headwater.request import ChatRequest
from tests.unit.providers.kit import sse

KEY = "AIzaSyA-0123456789"
BAD_KEY = {
    "code": 400,
    "message": f"API key not valid: {KEY}",
    "status": "INVALID_ARGUMENT",
    "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}],
}


def ask(**params: Any) -> ChatRequest:
    return ChatRequest("public", [{"role": "user", "content": "hi"}], params)


def body_for(model: str = "gemini-3-flash", **params: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(Gemini().chat(ask(**params), model).body)
    return body


def config_for(model: str = "gemini-3-flash", **params: Any) -> Any:
    return body_for(model, **params).get("generationConfig")


def test_the_request() -> None:
    made = Gemini(api_key=KEY, headers={"x-team": "a"}).chat(ask(), "gemini-2.5-flash")
    base = "https://generativelanguage.googleapis.com/v1beta"
    assert (made.method, made.url) == ("POST", f"{base}/models/gemini-2.5-flash:streamGenerateContent?alt=sse")
    assert (made.headers["x-goog-api-key"], made.headers["x-team"]) == (KEY, "a")
    assert KEY not in made.url
    assert json.loads(made.body) == {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    assert "x-goog-api-key" not in Gemini().chat(ask(), "m").headers


def test_the_system_has_a_field_of_its_own() -> None:
    request = ChatRequest("public", [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}])
    body = json.loads(Gemini().chat(request, "m").body)
    assert body["systemInstruction"] == {"parts": [{"text": "be kind"}]}
    assert body["contents"] == [{"role": "user", "parts": [{"text": "hi"}]}]


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("models/gemini-3-pro", "/models/gemini-3-pro"),
        ("tunedModels/mine", "/tunedModels/mine"),
        ("../files/x?key=1#", "/models/..%2Ffiles%2Fx%3Fkey%3D1%23"),
        ("models/../a b", "/models/..%2Fa%20b"),
        ("\ud800", "/models/%3F"),
    ],
)
def test_a_models_name_cannot_change_the_path(model: str, path: str) -> None:
    made = Gemini("http://h/v1beta/").chat(ask(), model)
    assert made.url == f"http://h/v1beta{path}:streamGenerateContent?alt=sse"


def test_it_neither_continues_nor_reattaches() -> None:
    assert not isinstance(Gemini(), SupportsPrefix | SupportsReattach)


def test_a_base_url_with_a_key_is_refused() -> None:
    with pytest.raises(ConfigError):
        Gemini("https://h/v1beta?key=x")


def test_sampling() -> None:
    params = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "seed": 7,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "n": 2,
        "logprobs": True,
        "top_logprobs": 3,
        "max_completion_tokens": 9,
        "max_tokens": 8,
        "stop": "END",
        "user": "u",
        "stream": True,
    }
    assert config_for(**params) == {
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 40,
        "seed": 7,
        "presencePenalty": 0.1,
        "frequencyPenalty": 0.2,
        "candidateCount": 2,
        "responseLogprobs": True,
        "logprobs": 3,
        "maxOutputTokens": 9,
        "stopSequences": ["END"],
    }
    assert config_for(temperature=None, n=1, presence_penalty=0) is None


@pytest.mark.parametrize("name", ["logit_bias", "verbosity", "prediction"])
def test_what_gemini_has_not_is_refused_by_name(name: str) -> None:
    with pytest.raises(UnsupportedField) as caught:
        body_for(**{name: {"a": 1}})
    assert caught.value.param == name
    with pytest.raises(UnsupportedField) as parallel:
        body_for(parallel_tool_calls=False)
    assert parallel.value.param == "parallel_tool_calls"


def test_response_formats() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    given = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    assert config_for(response_format=given) == {
        "responseMimeType": "application/json",
        "responseJsonSchema": schema,
    }
    assert config_for(response_format={"type": "json_object"}) == {"responseMimeType": "application/json"}
    assert config_for(response_format={"type": "text"}) is None


def tool(name: str = "f", **function: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **function}}


def test_tools() -> None:
    parameters = {"type": "object", "additionalProperties": False}
    body = body_for(tools=[tool(description="d", parameters=parameters), tool("g")])
    declared = [{"name": "f", "description": "d", "parametersJsonSchema": parameters}, {"name": "g"}]
    assert body["tools"] == [{"functionDeclarations": declared}]
    assert "toolConfig" not in body


@pytest.mark.parametrize(
    ("choice", "strict", "config"),
    [
        ("auto", None, None),
        ("auto", True, {"mode": "VALIDATED"}),
        (None, True, {"mode": "VALIDATED"}),
        ("none", True, {"mode": "NONE"}),
        ("required", None, {"mode": "ANY"}),
        ({"type": "function", "function": {"name": "f"}}, None, {"mode": "ANY", "allowedFunctionNames": ["f"]}),
    ],
)
def test_tool_choice(choice: Any, strict: bool | None, config: dict[str, Any] | None) -> None:
    body = body_for(tools=[tool(strict=strict)], tool_choice=choice)
    assert body.get("toolConfig") == (config and {"functionCallingConfig": config})


@pytest.mark.parametrize(
    ("model", "effort", "config"),
    [
        ("gemini-2.5-flash", "low", {"thinkingBudget": 1024, "includeThoughts": True}),
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-pro", "high", {"thinkingBudget": 24576, "includeThoughts": True}),
        ("gemini-3-flash-preview", "minimal", {"thinkingLevel": "MINIMAL", "includeThoughts": True}),
        ("models/gemini-3.1-pro-preview", "minimal", {"thinkingLevel": "LOW", "includeThoughts": True}),
        ("gemini-flash-latest", "xhigh", {"thinkingLevel": "HIGH", "includeThoughts": True}),
        ("gemini-flash-latest", "max", {"thinkingLevel": "HIGH", "includeThoughts": True}),
        ("gemini-2.5-flash", "max", {"thinkingBudget": 24576, "includeThoughts": True}),
        ("gemini-10-flash", "medium", {"thinkingLevel": "MEDIUM", "includeThoughts": True}),
        ("gemini-2.0-flash", "none", None),
    ],
)
def test_reasoning_effort(model: str, effort: str, config: dict[str, Any] | None) -> None:
    assert config_for(model, reasoning_effort=effort) == (config and {"thinkingConfig": config})


@pytest.mark.parametrize(
    ("model", "effort"),
    [
        *(("gemini-2.0-flash", "low"), ("gemma-3-27b-it", "low"), ("gemma-3-27b-it", "none")),
        *(("gemini-2.5-pro", "none"), ("gemini-3-flash", "none")),
    ],
)
def test_an_effort_that_a_model_cannot_make_is_refused(model: str, effort: str) -> None:
    with pytest.raises(UnsupportedField) as caught:
        body_for(model, reasoning_effort=effort)
    assert caught.value.param == "reasoning_effort"


def test_versions() -> None:
    names = ["gemini-2.5-pro", "gemini-3-pro", "gemini-pro-latest", "gemini-", "gemma-3", "my-gemini-2.5"]
    assert [version_of(name) for name in names] == [(2, 5), (3, 0), (999, 0), (999, 0), (0, 0), (0, 0)]


def test_geminis_own_fields() -> None:
    settings = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
    body = body_for(
        safety_settings=settings,
        cached_content="cachedContents/a",
        thinking_config={"thinkingBudget": 5},
        generation_config={"responseModalities": ["TEXT", "IMAGE"], "temperature": 2},
        temperature=1,
    )
    assert (body["safetySettings"], body["cachedContent"]) == (settings, "cachedContents/a")
    assert body["generationConfig"] == {
        "responseModalities": ["TEXT", "IMAGE"],
        "temperature": 1,
        "thinkingConfig": {"thinkingBudget": 5},
    }


@pytest.mark.parametrize("name", ["safety_settings", "cached_content", "thinking_config", "generation_config"])
def test_geminis_own_fields_have_a_type(name: str) -> None:
    with pytest.raises(InputError) as caught:
        body_for(**{name: 1})
    assert (caught.value.param, type(caught.value)) == (name, InputError)


def test_a_wrong_key_is_401_without_the_key() -> None:
    """Google says 400; a client must not take it for a fault of its request."""
    for body in ({"error": BAD_KEY}, [{"error": BAD_KEY}]):
        error = Gemini(api_key=KEY).error(400, {}, json.dumps(body).encode())
        assert isinstance(error, ProviderRejected)
        assert (error.http_status, error.upstream_code, error.retryable) == (401, "API_KEY_INVALID", False)
        assert KEY not in error.message
    in_band = gemini_rejection_in_band({"error": BAD_KEY}, secret=KEY)
    assert (in_band.http_status, in_band.upstream_code) == (401, "API_KEY_INVALID")
    assert KEY not in in_band.message


def quota(quota_id: str, delay: object = "37.5s") -> bytes:
    details = [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": ["x", {"quotaId": quota_id}]},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay},
        "nonsense",
    ]
    inner = {"code": 429, "message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED", "details": details}
    return json.dumps([{"error": inner}]).encode()


def test_quotas_tell_when_to_come_back() -> None:
    minute = Gemini().error(429, {}, quota("GenerateRequestsPerMinutePerProjectPerModel"))
    assert isinstance(minute, ProviderRejected)
    assert (minute.retry_after_s, minute.retryable, minute.upstream_code) == (37.5, True, "RESOURCE_EXHAUSTED")
    day = Gemini().error(429, {}, quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier"))
    assert (day.retry_after_s, day.retryable) == (37.5, False)
    assert Gemini(now=lambda: 0.0).error(429, {"retry-after": "3"}, quota("a")).retry_after_s == 3
    for delay in (None, 5, "soon", "-1s"):
        assert Gemini().error(429, {}, quota("a", delay)).retry_after_s is None


@pytest.mark.parametrize(
    "body", [b"<html>Bad Gateway</html>", b"", b"[]", b'{"error": "x"}', b'{"error": {"details": 1}}', b"\xff", b"1"]
)
def test_errors_of_other_forms(body: bytes) -> None:
    error = Gemini().error(502, {}, body)
    assert (error.http_status, error.retry_after_s, error.retryable) == (502, None, True)


def test_a_400_is_a_400() -> None:
    body = {"error": {"code": 400, "message": "Invalid JSON payload", "status": "INVALID_ARGUMENT"}}
    error = Gemini(api_key=KEY).error(400, {}, json.dumps(body).encode())
    assert (error.http_status, error.message) == (400, "Invalid JSON payload")
    assert gemini_rejection_in_band(body, secret="").http_status == 400


def test_the_decoder_hides_the_key() -> None:
    with pytest.raises(ProviderRejected) as caught:
        Gemini(api_key=KEY).decoder().feed(sse({"error": {"code": 403, "message": f"Consumer api_key:{KEY}"}}))
    assert KEY not in caught.value.message


def test_the_model_list() -> None:
    models = [
        {"name": "models/gemini-3-flash", "supportedGenerationMethods": ["generateContent", "countTokens"]},
        {"name": "models/embedding-1", "supportedGenerationMethods": ["embedContent"]},
        {"name": "models/aqa"},
        {"name": "tunedModels/mine", "supportedGenerationMethods": ["generateContent"]},
    ]
    asked = Gemini("http://h/v1beta", api_key="k").list_models()
    assert (asked.method, asked.url) == ("GET", "http://h/v1beta/models?pageSize=1000")
    assert asked.headers["x-goog-api-key"] == "k"
    assert Gemini().parse_models(json.dumps({"models": models}).encode()) == ["gemini-3-flash", "tunedModels/mine"]
    for body in (b"{}", b"\xff", b'{"models": [{}]}', b"[" * 100_000):
        with pytest.raises(ProviderProtocolError):
            Gemini().parse_models(body)

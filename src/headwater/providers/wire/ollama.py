"""Ollama's own API as an upstream: `POST /api/chat` with newline-delimited JSON, `GET /api/tags`.

Pure, like every wire protocol. Parameters arrive under OpenAI's names; what Ollama has another name for is translated,
what it cannot do is refused by name, and what has no influence on the answer (`user`, `store` …) is left out. The
format is that of https://github.com/ollama/ollama/blob/main/docs/api.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import msgspec

from ..._version import __version__
from ...errors import InputError, ProviderError, ProviderProtocolError, UnsupportedField
from ...events import JsonObject
from ...request import ChatRequest
from ..ports import UpstreamRequest
from .ollama_decoder import OllamaDecoder
from .ollama_messages import ollama_messages
from .openai_chat import checked_base_url
from .prefix import beginning, shortened
from .rejections import rejection

OLLAMA_URL = "http://127.0.0.1:11434"

_OPTIONS = frozenset(
    {"temperature", "top_p", "top_k", "min_p", "seed", "frequency_penalty", "presence_penalty", "repeat_penalty"}
)
_UNCHANGED = frozenset({"keep_alive", "logprobs", "top_logprobs", "tools", "think"})
_WITHOUT_INFLUENCE = frozenset(
    {
        *("stream", "stream_options", "user", "metadata", "store", "service_tier", "safety_identifier"),
        *("prompt_cache_key", "prompt_cache_retention"),
    }
)
# The one value of each parameter that asks for what Ollama does anyway.
_ONLY: dict[str, object] = {"n": 1, "logit_bias": {}, "parallel_tool_calls": True, "modalities": ["text"]}


class _Tag(msgspec.Struct):
    name: str


class _Tags(msgspec.Struct):
    models: list[_Tag]


_decode_tags = msgspec.json.Decoder(_Tags).decode


class Ollama:
    """The `WireProtocol`. `api_key` is for Ollama behind a proxy, or its cloud; local servers need none."""

    name = "ollama"
    # A template that knows messages leaves an assistant's last turn open, and the model goes on behind it.
    echoes_prefix = False

    def __init__(self, base_url: str = OLLAMA_URL, *, api_key: str = "", now: Callable[[], float] = time.time) -> None:
        self._base_url = checked_base_url(base_url)
        self._api_key = api_key
        self._now = now
        self._headers = {"user-agent": f"headwater/{__version__}"}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"

    def chat(self, request: ChatRequest, model: str) -> UpstreamRequest:
        return self._post(request, model, ollama_messages(request.messages))

    def continued(self, request: ChatRequest, model: str, text: str) -> UpstreamRequest:
        """See `ports.SupportsPrefix`."""
        messages = ollama_messages(request.messages)
        last = messages[-1] if messages else {}
        if last.get("role") == "assistant" and not last.get("tool_calls"):
            messages[-1] = {**last, "content": beginning(str(last["content"]), text)}
        else:
            messages.append({"role": "assistant", "content": text})
        return self._post(shortened(request, text), model, messages)

    def _post(self, request: ChatRequest, model: str, messages: list[JsonObject]) -> UpstreamRequest:
        body: JsonObject = {"model": model, "messages": messages, "stream": True}
        body.update(_translated(request.params, model))
        headers = {**self._headers, "accept": "application/x-ndjson", "content-type": "application/json"}
        return UpstreamRequest("POST", f"{self._base_url}/api/chat", headers, msgspec.json.encode(body))

    def decoder(self) -> OllamaDecoder:
        return OllamaDecoder(secret=self._api_key)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        return rejection(status, headers, body, secret=self._api_key, now_s=self._now())

    def list_models(self) -> UpstreamRequest:
        return UpstreamRequest("GET", f"{self._base_url}/api/tags", {**self._headers, "accept": "application/json"})

    def parse_models(self, body: bytes) -> list[str]:
        try:
            return [tag.name for tag in _decode_tags(body).models]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise ProviderProtocolError("the provider's model list is not Ollama's") from exc


def _translated(params: JsonObject, model: str) -> JsonObject:
    """The fields of the body that follow from the caller's parameters. Null means not given, as for OpenAI."""
    given = {name: value for name, value in params.items() if value is not None and name not in _WITHOUT_INFLUENCE}
    options = given.pop("options", {})
    if not isinstance(options, dict):
        raise InputError("options must be an object", param="options")
    options = dict(options)
    body: JsonObject = {}
    for name, value in given.items():
        if name in _OPTIONS:
            options[name] = value
        elif name in _UNCHANGED:
            body[name] = value
        elif name in _ONLY:
            if value != _ONLY[name]:
                raise UnsupportedField(f"Ollama cannot take {name}", param=name)
        elif name in _TRANSLATIONS:
            _TRANSLATIONS[name](value, body, options)
        else:
            raise UnsupportedField(f"Ollama has no parameter {name}", param=name)
    if given.get("tool_choice") == "none":
        body.pop("tools", None)
    effort = given.get("reasoning_effort")
    if effort is not None and "think" not in body:
        body["think"] = _think(effort, model)
    if options:
        body["options"] = options
    return body


def _max_tokens(value: object, body: JsonObject, options: JsonObject) -> None:
    options["num_predict"] = value


def _stop(value: object, body: JsonObject, options: JsonObject) -> None:
    options["stop"] = [value] if isinstance(value, str) else value


def _format(value: object, body: JsonObject, options: JsonObject) -> None:
    """`json_object` is Ollama's "json", a JSON schema stands for itself."""
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "json_object":
        body["format"] = "json"
    elif kind == "json_schema" and isinstance(value, dict):
        wrapper = value.get("json_schema")
        schema = wrapper.get("schema") if isinstance(wrapper, dict) else None
        if not isinstance(schema, dict):
            raise InputError("response_format.json_schema.schema must be an object", param="response_format")
        body["format"] = schema
    elif kind != "text":
        raise InputError("response_format must be text, json_object or json_schema", param="response_format")


def _tool_choice(value: object, body: JsonObject, options: JsonObject) -> None:
    if value not in ("auto", "none"):
        why = "Ollama cannot be made to use a tool: tool_choice must be auto or none"
        raise UnsupportedField(why, param="tool_choice")


def _reasoning_effort(value: object, body: JsonObject, options: JsonObject) -> None:
    if value not in _EFFORTS:
        raise InputError(f"reasoning_effort must be one of {', '.join(_EFFORTS)}", param="reasoning_effort")


_EFFORTS = {
    "none": "",
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    **dict.fromkeys(("xhigh", "max"), "high"),
}
_TRANSLATIONS: dict[str, Callable[[object, JsonObject, JsonObject], None]] = {
    "max_tokens": _max_tokens,
    "max_completion_tokens": _max_tokens,
    "stop": _stop,
    "response_format": _format,
    "tool_choice": _tool_choice,
    "reasoning_effort": _reasoning_effort,
}


def _think(effort: object, model: str) -> bool | str:
    """Only gpt-oss has levels; Ollama refuses them for every other model, which can think or not."""
    level = _EFFORTS[str(effort)]
    return level if level and model.rpartition("/")[2].startswith("gpt-oss") else bool(level)

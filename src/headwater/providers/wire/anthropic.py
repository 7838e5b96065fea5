"""Anthropic's Messages as an upstream: `POST /v1/messages` with SSE, `GET /v1/models`.

Pure, like every wire protocol. It speaks API version 2023-06-01: the later 2026-10-21 answers in the same form, but
takes no temperature, top_p and top_k from any model. A header `anthropic-version` of one's own chooses another.
The format is that of https://platform.claude.com/docs/en/api/messages.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from ..._version import __version__
from ...errors import ProviderError, ProviderProtocolError, UnsupportedField
from ...events import JsonObject
from ...request import ChatRequest
from ..ports import UpstreamRequest
from .anthropic_decoder import AnthropicDecoder
from .anthropic_messages import anthropic_messages
from .anthropic_models import abilities
from .anthropic_params import anthropic_params, thinks
from .conversation import TextPart, Turn, read_turns
from .openai_chat import checked_base_url
from .prefix import beginning, shortened
from .rejections import rejection

ANTHROPIC_URL = "https://api.anthropic.com"
API_VERSION = "2023-06-01"
# The API wants a bound. This is the most that every Claude since 4 takes; only tokens really made count.
DEFAULT_MAX_TOKENS = 32_000
# The most that the API gives on one page, so that there is one page.
_MODELS_LIMIT = 1_000


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


_decode_models = msgspec.json.Decoder(_Models).decode


class Anthropic:
    """The `WireProtocol`; also `SupportsPrefix`, for models before Claude 4.6.

    `base_url` is given with or without `/v1`. `max_tokens` holds where a request names none. `headers` are sent with
    every request (`anthropic-beta`, a gateway's own key).
    """

    name = "anthropic"
    echoes_prefix = False

    def __init__(
        self,
        base_url: str = ANTHROPIC_URL,
        *,
        api_key: str = "",
        max_tokens: int = DEFAULT_MAX_TOKENS,
        headers: Mapping[str, str] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._base_url = checked_base_url(base_url).removesuffix("/v1")
        self._api_key = api_key
        self._max_tokens = max_tokens
        self._now = now
        self._headers = {"user-agent": f"headwater/{__version__}", "anthropic-version": API_VERSION, **(headers or {})}
        if api_key:
            self._headers["x-api-key"] = api_key

    def chat(self, request: ChatRequest, model: str) -> UpstreamRequest:
        return self._request(request, model, read_turns(request.messages))

    def continued(self, request: ChatRequest, model: str, text: str) -> UpstreamRequest:
        """The text is the trailing assistant turn; the answer goes on right after it."""
        return self._request(shortened(request, text), model, _begun(read_turns(request.messages), text))

    def _request(self, request: ChatRequest, model: str, turns: Sequence[Turn]) -> UpstreamRequest:
        params = anthropic_params(request, model, max_tokens=self._max_tokens)
        system, messages = anthropic_messages(turns)
        _check_prefill(request, model, turns, params)
        _check_signed(request, turns, params)
        body: JsonObject = {"model": model, "messages": messages, **params, "stream": True}
        if system:
            body["system"] = system
        headers = {**self._headers, "accept": "text/event-stream", "content-type": "application/json"}
        return UpstreamRequest("POST", f"{self._base_url}/v1/messages", headers, msgspec.json.encode(body))

    def decoder(self) -> AnthropicDecoder:
        return AnthropicDecoder(secret=self._api_key)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        return rejection(status, headers, body, secret=self._api_key, now_s=self._now())

    def list_models(self) -> UpstreamRequest:
        url = f"{self._base_url}/v1/models?limit={_MODELS_LIMIT}"
        return UpstreamRequest("GET", url, {**self._headers, "accept": "application/json"})

    def parse_models(self, body: bytes) -> list[str]:
        try:
            return [model.id for model in _decode_models(body).data]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise ProviderProtocolError("the provider's model list is not Anthropic's") from exc


def _begun(turns: list[Turn], text: str) -> list[Turn]:
    """The turns with an answer that begins with `text`, after what the caller itself put into the model's mouth."""
    last = turns[-1] if turns else None
    if last is not None and last.role == "assistant" and not last.calls and last.parts:
        *parts, end = last.parts
        if isinstance(end, TextPart):
            return [*turns[:-1], msgspec.structs.replace(last, parts=[*parts, TextPart(beginning(end.text, text))])]
    return [*turns, Turn("assistant", "messages", [TextPart(text)])]


def _check_prefill(request: ChatRequest, model: str, turns: Sequence[Turn], params: JsonObject) -> None:
    """An assistant turn at the end is one that the model shall go on with, which not every request may have."""
    last = turns[-1] if turns else None
    if last is None or last.role != "assistant" or last.calls or not last.text.strip():
        return
    if not abilities(model).prefill:
        raise UnsupportedField(f"{model} cannot go on with a begun answer: the last turn must be a user's or a tool's",
                               param=last.path)  # fmt: skip
    if thinks(params):
        raise UnsupportedField("Anthropic cannot go on with a begun answer while thinking", param=_thinking(request))
    config = params.get("output_config")
    if isinstance(config, dict) and "format" in config:
        raise UnsupportedField("Anthropic cannot go on with a begun answer in a given form", param="response_format")


def _check_signed(request: ChatRequest, turns: Sequence[Turn], params: JsonObject) -> None:
    """With a thinking budget, a turn whose tools have just answered must begin with its own, signed thinking."""
    thinking = params.get("thinking")
    if not isinstance(thinking, dict) or thinking.get("type") != "enabled":
        return
    last = next((turn for turn in reversed(turns) if turn.role != "tool"), None)
    if last is not None and last.calls and not last.signature:
        raise UnsupportedField(
            f"{last.path}: Anthropic cannot think on after tool calls without that turn's signed thinking",
            param=_thinking(request),
        )


def _thinking(request: ChatRequest) -> str:
    """The parameter that turned thinking on."""
    return "reasoning_effort" if request.params.get("thinking") is None else "thinking"

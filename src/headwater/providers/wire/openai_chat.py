"""OpenAI's chat completions as an upstream: any server that speaks `POST /chat/completions` with SSE.

Pure: builds requests and decodes bytes; it holds no connection and reads no clock of its own. What counts as a whole
answer: every choice seen has a `finish_reason`, and then either `[DONE]` or the regular end of the body (some servers
leave `[DONE]` out). Anything less is `ProviderTruncated`, also `[DONE]` alone: gateways whose own upstream died send
just that (bifrost #5546). Servers differ by data alone (`presets`), never by a class of their own.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias, cast
from urllib.parse import urlsplit

import msgspec

from ..._version import __version__
from ...errors import ConfigError, InputError, ProviderError, ProviderProtocolError, UnsupportedField
from ...events import JsonObject
from ...request import ChatRequest
from ..ports import UpstreamRequest
from .openai_decoder import OpenAIDecoder
from .openai_differences import Differences, format_of
from .prefix import beginning, has_begun, shortened
from .rejections import rejection

OPENAI_BASE_URL = "https://api.openai.com/v1"
_PRINTABLE = re.compile(r"[\x21-\x7e]+")

Continuation: TypeAlias = Literal["", "trailing", "prefix", "continue_final_message"]

# What marks the last message as the beginning of the answer: fields of that message, and of the body.
# prefix: https://docs.mistral.ai/api (AssistantMessage.prefix), https://api-docs.deepseek.com/guides/chat_prefix_completion
# continue_final_message: https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html (chat, extra parameters)
_CONTINUED: dict[Continuation, tuple[JsonObject, JsonObject]] = {
    "trailing": ({}, {}),
    "prefix": ({"prefix": True}, {}),
    "continue_final_message": ({}, {"continue_final_message": True, "add_generation_prompt": False}),
}


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


_decode_models = msgspec.json.Decoder(_Models | list[_Model]).decode


class OpenAIChat:
    """The `WireProtocol`. `base_url` includes the version (`…/v1`); an empty `api_key` sends no authorization.

    `headers` are sent with every request (an organization, a gateway's own key). `key_header`: where the key goes;
    `authorization` gets it as a bearer token, any other header as it is. `stream=False`: the server cannot stream, its
    whole answer becomes a stream. `stream_options=False`: it refuses that field; usage is what it tells anyway, else
    estimated. `continuation`: how it is told to go on with a text (`SupportsPrefix`), "" where it cannot;
    `continuation_url`: the base URL for that, where it is another one; `echoes_prefix`: its answer begins with that
    text. `label` is the server's name in errors.
    """

    name = "openai_chat"

    def __init__(
        self,
        base_url: str = OPENAI_BASE_URL,
        *,
        api_key: str = "",
        headers: Mapping[str, str] | None = None,
        key_header: str = "authorization",
        stream: bool = True,
        stream_options: bool = True,
        continuation: Continuation = "",
        continuation_url: str = "",
        echoes_prefix: bool = False,
        differences: Differences = Differences(),  # noqa: B008 -- frozen
        label: str = "this provider",
        now: Callable[[], float] = time.time,
    ) -> None:
        self._base_url = checked_base_url(base_url)
        self._api_key = api_key
        self._stream = stream
        self._stream_options = stream_options and stream
        self._continuation = continuation
        self._continuation_url = checked_base_url(continuation_url) if continuation_url else self._base_url
        self.echoes_prefix = echoes_prefix
        self._differences = differences
        self._label = label
        self._now = now
        self._headers = {"user-agent": f"headwater/{__version__}", **(headers or {})}
        if api_key:
            self._headers[key_header] = f"Bearer {api_key}" if key_header == "authorization" else api_key

    def chat(self, request: ChatRequest, model: str) -> UpstreamRequest:
        """The caller's parameters go through unchanged, save for `differences`; usage is always asked for."""
        return self._post(self._base_url, self._body(request, model))

    def continued(self, request: ChatRequest, model: str, text: str) -> UpstreamRequest:
        """See `ports.SupportsPrefix`. Refused where the text so far is no beginning of what would come."""
        if not self._continuation:
            raise UnsupportedField(f"{self._label} cannot go on with an answer")
        _check_continued(request, self._label)
        marks, fields = _CONTINUED[self._continuation]
        messages = list(self._differences.messages(request, self._label))
        held = messages[-1] if messages else {}
        begun = _begun_by(held)
        if begun is None:
            messages.append({"role": "assistant", "content": text, **marks})
        else:
            if self.echoes_prefix and not has_begun(begun, text):
                # Another server's answer: this one would repeat the caller's part too, which no viewer was shown.
                raise UnsupportedField(f"{self._label} cannot go on with an answer that the caller began")
            # The caller began the answer: its text and ours are one beginning, not two turns.
            messages[-1] = {**held, "content": beginning(begun, text), **marks}
        body = self._body(shortened(request, text), model)
        return self._post(self._continuation_url, {**body, **fields, "messages": messages})

    def _body(self, request: ChatRequest, model: str) -> JsonObject:
        body = {
            **self._differences.params(request, self._label),
            "model": model,
            "messages": self._differences.messages(request, self._label),
            "stream": self._stream,
        }
        if self._stream_options:
            body["stream_options"] = {**_stream_options(request), "include_usage": True}
        else:
            body.pop("stream_options", None)
        return body

    def _post(self, base_url: str, body: JsonObject) -> UpstreamRequest:
        accept = "text/event-stream" if self._stream else "application/json"
        headers = {**self._headers, "accept": accept, "content-type": "application/json"}
        return UpstreamRequest("POST", f"{base_url}/chat/completions", headers, msgspec.json.encode(body))

    def decoder(self) -> OpenAIDecoder:
        return OpenAIDecoder(secret=self._api_key)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        return rejection(status, headers, body, secret=self._api_key, now_s=self._now())

    def list_models(self) -> UpstreamRequest:
        return UpstreamRequest("GET", f"{self._base_url}/models", {**self._headers, "accept": "application/json"})

    def parse_models(self, body: bytes) -> list[str]:
        """Names in the server's order. A bare array is what some servers (Together) send."""
        try:
            models = _decode_models(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise ProviderProtocolError("the provider's model list is not OpenAI's") from exc
        return [model.id for model in (models if isinstance(models, list) else models.data)]


def _begun_by(message: JsonObject) -> str | None:
    """The text of an assistant's turn that the answer goes on from; None for any other turn."""
    if message.get("role") != "assistant" or message.get("tool_calls"):
        return None
    content = message.get("content")
    if not isinstance(content, list):
        return content if isinstance(content, str) else None
    texts = [part.get("text") if isinstance(part, dict) else None for part in content]
    return "".join(cast("list[str]", texts)) if all(isinstance(text, str) for text in texts) else None


def checked_base_url(url: str) -> str:
    """The URL without a slash at its end. Raises `ConfigError`; its message never repeats a password."""
    if not _PRINTABLE.fullmatch(url):
        # urlsplit drops line breaks without a word, and what is sent would be another address than the one checked.
        raise ConfigError("a provider's base URL must not hold blanks, line breaks or other than ASCII characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise ConfigError("a provider's base URL does not parse") from exc
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ConfigError("a provider's base URL must begin with http:// or https:// and name a host")
    if parts.username is not None or parts.password is not None:
        raise ConfigError("a provider's base URL must not hold a user or password; use the API key setting")
    if parts.query or parts.fragment:
        raise ConfigError("a provider's base URL must not hold a query or a fragment")
    return url.rstrip("/")


def _check_continued(request: ChatRequest, label: str) -> None:
    """Several answers have several texts; a forced call and a prescribed form do not go on from a text.

    These errors name no `param`: without that field the continuation would be of another answer.
    """
    params = request.params
    if params.get("n") not in (None, 1):
        raise UnsupportedField(f"{label} cannot go on with several answers (n)")
    forced = params.get("tool_choice") or params.get("function_call")
    if forced not in (None, "auto", "none"):
        raise UnsupportedField(f"{label} cannot go on with a text where a tool must be called (tool_choice)")
    if format_of(request) != "text":
        raise UnsupportedField(f"{label} cannot go on with structured output (response_format)")


def _stream_options(request: ChatRequest) -> dict[str, object]:
    options = request.params.get("stream_options")
    if options is None:
        return {}
    if not isinstance(options, dict):
        raise InputError("stream_options must be an object", param="stream_options")
    return options

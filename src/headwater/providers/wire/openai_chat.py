"""OpenAI's chat completions as an upstream: any server that speaks `POST /chat/completions` with SSE.

Pure: builds requests and decodes bytes; it holds no connection and reads no clock of its own. What counts as a whole
answer: every choice seen has a `finish_reason`, and then either `[DONE]` or the regular end of the body (some servers
leave `[DONE]` out). Anything less is `ProviderTruncated`, also `[DONE]` alone: gateways whose own upstream died send
just that (bifrost #5546).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import msgspec

from ..._version import __version__
from ...errors import ConfigError, InputError, ProviderError, ProviderProtocolError
from ...request import ChatRequest
from ..ports import UpstreamRequest
from .openai_decoder import OpenAIDecoder
from .rejections import rejection

OPENAI_BASE_URL = "https://api.openai.com/v1"


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


_decode_models = msgspec.json.Decoder(_Models | list[_Model]).decode


class OpenAIChat:
    """The `WireProtocol`. `base_url` includes the version (`…/v1`); an empty `api_key` sends no authorization.

    `stream_options=False` is for servers that refuse that field; their usage is then estimated. `headers` are sent
    with every request (an organization, a gateway's own key).
    """

    name = "openai_chat"

    def __init__(
        self,
        base_url: str = OPENAI_BASE_URL,
        *,
        api_key: str = "",
        stream_options: bool = True,
        headers: Mapping[str, str] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._base_url = checked_base_url(base_url)
        self._api_key = api_key
        self._stream_options = stream_options
        self._now = now
        self._headers = {"user-agent": f"headwater/{__version__}", **(headers or {})}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"

    def chat(self, request: ChatRequest, model: str) -> UpstreamRequest:
        """The caller's parameters go through unchanged; only streaming and usage are always asked for."""
        body = {**request.params, "model": model, "messages": request.messages, "stream": True}
        if self._stream_options:
            body["stream_options"] = {**_stream_options(request), "include_usage": True}
        else:
            body.pop("stream_options", None)
        headers = {**self._headers, "accept": "text/event-stream", "content-type": "application/json"}
        return UpstreamRequest("POST", f"{self._base_url}/chat/completions", headers, msgspec.json.encode(body))

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


def checked_base_url(url: str) -> str:
    """The URL without a slash at its end. Raises `ConfigError`; its message never repeats a password."""
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


def _stream_options(request: ChatRequest) -> dict[str, object]:
    options = request.params.get("stream_options")
    if options is None:
        return {}
    if not isinstance(options, dict):
        raise InputError("stream_options must be an object", param="stream_options")
    return options

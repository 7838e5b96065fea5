"""Google's Gemini API as an upstream: `POST /models/{model}:streamGenerateContent?alt=sse`, `GET /models`.

Pure, like every wire protocol. The format is that of https://ai.google.dev/api/generate-content and of the types of
`google-genai`. There is no `SupportsPrefix`: that a model goes on with a trailing `model` turn is documented nowhere,
and newer ones answer it with 400 ("Requests ending with a model turn are not supported", Gemini 3.5 Flash-Lite).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import msgspec

from ..._version import __version__
from ...errors import ProviderError, ProviderProtocolError
from ...events import JsonObject
from ...request import ChatRequest
from ..ports import UpstreamRequest
from .conversation import read_turns
from .gemini_contents import gemini_contents
from .gemini_decoder import GeminiDecoder
from .gemini_errors import gemini_rejection
from .gemini_request import gemini_fields, version_of
from .openai_chat import checked_base_url
from .segments import quoted

GEMINI_BASE_URL = "https://generativelanguage.googleapis.com/v1beta"

_COLLECTIONS = ("models/", "tunedModels/")
_THIRD = (3, 0)


class _Model(msgspec.Struct, rename="camel"):
    name: str
    supported_generation_methods: list[str] = []


class _Models(msgspec.Struct):
    models: list[_Model]


_decode_models = msgspec.json.Decoder(_Models).decode


class Gemini:
    """The `WireProtocol`. `base_url` includes the version (`…/v1beta`); an empty `api_key` sends none.

    Models are named with or without `models/`; tuned ones as `tunedModels/…`. `headers` are sent with every request.
    """

    name = "gemini"

    def __init__(
        self,
        base_url: str = GEMINI_BASE_URL,
        *,
        api_key: str = "",
        headers: Mapping[str, str] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._base_url = checked_base_url(base_url)
        self._api_key = api_key
        self._now = now
        self._headers = {"user-agent": f"headwater/{__version__}", **(headers or {})}
        if api_key:
            self._headers["x-goog-api-key"] = api_key

    def chat(self, request: ChatRequest, model: str) -> UpstreamRequest:
        collection, name = _split(model)
        third = version_of(name) >= _THIRD
        system, contents = gemini_contents(read_turns(request.messages), base_url=self._base_url, third=third)
        body: JsonObject = {"contents": contents}
        if system:
            body["systemInstruction"] = {"parts": system}
        body |= gemini_fields(request, name)
        url = f"{self._base_url}/{collection}{quoted(name)}:streamGenerateContent?alt=sse"
        headers = {**self._headers, "accept": "text/event-stream", "content-type": "application/json"}
        return UpstreamRequest("POST", url, headers, msgspec.json.encode(body))

    def decoder(self) -> GeminiDecoder:
        return GeminiDecoder(secret=self._api_key)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        return gemini_rejection(status, headers, body, secret=self._api_key, now_s=self._now())

    def list_models(self) -> UpstreamRequest:
        """One page of the largest size that the API gives, which holds all."""
        url = f"{self._base_url}/models?pageSize=1000"
        return UpstreamRequest("GET", url, {**self._headers, "accept": "application/json"})

    def parse_models(self, body: bytes) -> list[str]:
        """Those that generate content (not embeddings, not live audio), without `models/`."""
        try:
            models = _decode_models(body).models
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise ProviderProtocolError("the provider's model list is not Gemini's") from exc
        able = [model for model in models if "generateContent" in model.supported_generation_methods]
        return [model.name.removeprefix("models/") for model in able]


def _split(model: str) -> tuple[str, str]:
    """The collection that a model's name begins with, and the rest."""
    collection = next((prefix for prefix in _COLLECTIONS if model.startswith(prefix)), _COLLECTIONS[0])
    return collection, model.removeprefix(collection)

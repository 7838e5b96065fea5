"""Azure OpenAI as an upstream: OpenAI's chat completions, with the deployment in the path and the key in `api-key`.

`POST {endpoint}/openai/deployments/{deployment}/chat/completions?api-version=…`: the model that a caller names is the
deployment. Answers and errors are OpenAI's, with `prompt_filter_results` in a first chunk without choices and
`content_filter_results` in others (https://learn.microsoft.com/azure/ai-services/openai/reference). Pure.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from urllib.parse import quote, urlsplit

from msgspec.structs import replace

from ...errors import ConfigError, ProviderError
from ...request import ChatRequest
from ..ports import UpstreamRequest
from .openai_chat import OpenAIChat, checked_base_url
from .openai_decoder import OpenAIDecoder
from .segments import segment

# The newest generally available one of the data plane (the page above, "API version support").
API_VERSION = "2024-10-21"


class AzureOpenAI:
    """The `WireProtocol`. `endpoint` is the resource (`https://NAME.openai.azure.com`), with or without `/openai`."""

    name = "azure"

    def __init__(
        self,
        endpoint: str,
        *,
        api_key: str = "",
        api_version: str = API_VERSION,
        headers: Mapping[str, str] | None = None,
        stream: bool = True,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._base_url = f"{checked_base_url(endpoint).removesuffix('/openai')}/openai"
        if "/deployments" in urlsplit(endpoint).path:
            raise ConfigError("an Azure endpoint ends before /deployments: the model names the deployment")
        self._version = quote(api_version, safe="")
        self._chat = OpenAIChat(
            self._base_url,
            api_key=api_key,
            headers=headers,
            key_header="api-key",
            stream=stream,
            label="Azure OpenAI",
            now=now,
        )

    def chat(self, request: ChatRequest, model: str) -> UpstreamRequest:
        deployment = segment(model, param="model")
        url = f"{self._base_url}/deployments/{deployment}/chat/completions?api-version={self._version}"
        return replace(self._chat.chat(request, model), url=url)

    def decoder(self) -> OpenAIDecoder:
        return self._chat.decoder()

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        return self._chat.error(status, headers, body)

    def list_models(self) -> UpstreamRequest:
        """The base models that the resource could deploy: not what can be asked, but asking checks address and key."""
        return replace(self._chat.list_models(), url=f"{self._base_url}/models?api-version={self._version}")

    def parse_models(self, body: bytes) -> list[str]:
        """Always empty, for a list that reads: the data plane knows no deployments; `models` in the settings does."""
        self._chat.parse_models(body)
        return []

"""Upstream model APIs: wire protocols (pure decoders and builders); transports."""

from .adapt import Adapter
from .call import HttpCall
from .http_provider import HttpProvider
from .ports import Provider, SupportsContinuation, Transport, WireProtocol
from .replay import Replay
from .transport_httptools import HttptoolsTransport, PoolLimits
from .wire.ollama import Ollama
from .wire.openai_chat import OpenAIChat

__all__ = [
    "Adapter",
    "HttpCall",
    "HttpProvider",
    "HttptoolsTransport",
    "Ollama",
    "OpenAIChat",
    "PoolLimits",
    "Provider",
    "Replay",
    "SupportsContinuation",
    "Transport",
    "WireProtocol",
]

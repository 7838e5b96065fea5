"""Upstream model APIs: wire protocols (pure decoders and builders), transports, and the registry of what there is."""

from .adapt import Adapter
from .call import HttpProducer, HttpProvider, RetryPolicy
from .ports import Provider, SupportsContinuation, Transport, WireProtocol
from .registry import Listed, Registry, Route
from .replay import Replay
from .transport_aiohttp import AiohttpTransport
from .transport_httptools import HttptoolsTransport, PoolLimits
from .wire.ollama import Ollama
from .wire.openai_chat import OpenAIChat

__all__ = [
    "Adapter",
    "AiohttpTransport",
    "HttpProducer",
    "HttpProvider",
    "HttptoolsTransport",
    "Listed",
    "Ollama",
    "OpenAIChat",
    "PoolLimits",
    "Provider",
    "Registry",
    "Replay",
    "RetryPolicy",
    "Route",
    "SupportsContinuation",
    "Transport",
    "WireProtocol",
]

"""Which providers there are: found in the environment, in the order in which they are preferred.

Adding a provider is one finder and its line in `FINDERS`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias
from urllib.parse import urlsplit

from ..errors import ConfigError, ProviderError
from .call import HttpProvider, fetch
from .ports import Provider, Transport
from .replay import Replay
from .transport_aiohttp import AiohttpTransport
from .transport_httptools import HttptoolsTransport
from .wire.ollama import Ollama
from .wire.openai_chat import OPENAI_BASE_URL, OpenAIChat

_OLLAMA_PORT = 11434
_PROXIES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
# Ollama on the same machine answers within a millisecond; a start must not wait for one that is not there.
_PROBE_TIMEOUT_S = 0.5


class Surroundings(NamedTuple):
    """What finders look at. `recordings_dir` and `replay_pace` come from the settings."""

    environ: Mapping[str, str]
    transport: Transport
    recordings_dir: Path | None = None
    replay_pace: float = 1.0

    def value(self, name: str) -> str:
        """A variable, without the blanks and line breaks that copying a key brings along."""
        return self.environ.get(name, "").strip()


Finder: TypeAlias = Callable[[Surroundings], Awaitable[Provider | None]]


async def find_openai(around: Surroundings) -> Provider | None:
    """OPENAI_API_KEY (then OpenAI itself) or OPENAI_BASE_URL (then any compatible server), or both."""
    key, base_url = around.value("OPENAI_API_KEY"), around.value("OPENAI_BASE_URL")
    if not key and not base_url:
        return None
    names = {"openai-organization": "OPENAI_ORG_ID", "openai-project": "OPENAI_PROJECT_ID"}
    headers = {header: value for header, name in names.items() if (value := around.value(name))}
    protocol = OpenAIChat(base_url or OPENAI_BASE_URL, api_key=key, headers=headers)
    return HttpProvider("openai", protocol, around.transport)


async def find_ollama(around: Surroundings) -> Provider | None:
    """Ollama at OLLAMA_HOST, or on this machine when it answers now."""
    named = around.value("OLLAMA_HOST")
    protocol = Ollama(ollama_url(named), api_key=around.value("OLLAMA_API_KEY"))
    if not named:
        try:
            status, _, _ = await fetch(around.transport, protocol.list_models(), timeout_s=_PROBE_TIMEOUT_S)
        except ProviderError:
            return None
        if status != 200:
            return None
    return HttpProvider("ollama", protocol, around.transport)


async def find_replay(around: Surroundings) -> Provider | None:
    """Always there; last, so that a recording is the default model only where there is no real one."""
    return Replay(around.recordings_dir, pace=around.replay_pace)


FINDERS: tuple[Finder, ...] = (find_openai, find_ollama, find_replay)


async def find_providers(around: Surroundings) -> list[Provider]:
    """Raises `ConfigError` for a variable that cannot work."""
    return [provider for find in FINDERS if (provider := await find(around)) is not None]


def transport_for(environ: Mapping[str, str], *, connect_timeout_s: float = 10.0) -> Transport:
    """Our own transport, or aiohttp's where the environment names a proxy."""
    if any(environ.get(name, "").strip() for name in _PROXIES):
        return AiohttpTransport(connect_timeout_s=connect_timeout_s)
    return HttptoolsTransport(connect_timeout_s=connect_timeout_s)


def ollama_url(host: str) -> str:
    """OLLAMA_HOST in every form that Ollama itself takes: nothing, a host, `host:port`, `:port`, a URL.

    A server's bind address (`0.0.0.0`, `::`) means this machine. Raises `ConfigError`.
    """
    text = host if "://" in host else f"http://{host}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as exc:
        raise ConfigError("OLLAMA_HOST does not parse") from exc
    name = parts.hostname or "127.0.0.1"
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(name, name)  # noqa: S104 -- recognised, not bound
    if ":" in name:
        name = f"[{name}]"
    if port is None:
        port = {"https": 443}.get(parts.scheme, 80 if "://" in host else _OLLAMA_PORT)
    return f"{parts.scheme}://{name}:{port}{parts.path.rstrip('/')}"

"""The registry: which provider serves a public model name, and what all of them offer.

Rules, in order: a name in a provider's live list; an explicit `provider/model`; any other name goes unchanged to the
fallback provider (an OpenAI-compatible server, whose list need not be complete); else `UnknownModel`.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import LogCorrupt, ProviderError, UnknownModel
from ..request import ChatRequest, decode_request
from ..streams.fold import Fold
from ..streams.log import StreamRecord
from ..streams.ports import Producer, Writer
from .discovery import Surroundings, find_providers, transport_for
from .ports import Held, Provider, SupportsContinuation, Transport

_log = logging.getLogger(__name__)

# Long enough that listing costs nothing, short enough that a model pulled into Ollama shows up while one still waits.
_CACHE_S = 30.0
_SHOWN_NAMES = 20
# Names in OpenAI's list that cannot answer a chat, so that none of them becomes the default model.
_NO_CHAT = re.compile(
    r"embed|whisper|tts|dall-e|moderation|image|audio|realtime|transcribe|sora|babbage|davinci|rerank"
)
# A server has the recordings at least; without any provider it is an application's own API.
_NO_PROVIDERS = "this application offers no models over HTTP (Headwater(providers=True) would)"


class Route(NamedTuple):
    """A public model name, the provider that serves it, and that provider's own name for it."""

    model: str
    provider: Provider
    upstream_model: str

    def producer(self, request: ChatRequest) -> Producer:
        """Raises `InputError` for what the provider cannot take."""
        return self.provider.producer(request, self.upstream_model)


class Listed(NamedTuple):
    """One public model. A name that an earlier provider has already taken is shown as `provider/name`."""

    model: str
    provider: str


class _Known:
    """What a provider listed last. `error` says why it could not the last time; names from before stay."""

    __slots__ = ("error", "names")

    def __init__(self) -> None:
        self.names: Sequence[str] = ()
        self.error: ProviderError | None = None


class Registry:
    """`providers` in order of preference; the `transport` that they share is closed with the registry.

    `fallback` takes names that nobody lists. `default_model` is for requests that name none.
    """

    def __init__(
        self,
        providers: Sequence[Provider],
        *,
        fallback: Provider | None = None,
        transport: Transport | None = None,
        default_model: str = "",
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._providers = {provider.name: provider for provider in providers}
        self._fallback = fallback
        self._transport = transport
        self._default_model = default_model
        self._now = now
        self._known = {name: _Known() for name in self._providers}
        self._listed_s: float | None = None
        self._listing: asyncio.Task[None] | None = None

    @classmethod
    async def from_environment(
        cls,
        environ: Mapping[str, str],
        *,
        recordings_dir: Path | None = None,
        replay_pace: float = 1.0,
        connect_timeout_s: float = 10.0,
        default_model: str = "",
    ) -> Registry:
        """Providers as `discovery` finds them. Raises `ConfigError`."""
        transport = transport_for(environ, connect_timeout_s=connect_timeout_s)
        try:
            providers = await find_providers(Surroundings(environ, transport, recordings_dir, replay_pace))
        except BaseException:
            await transport.close()
            raise
        fallback = next((provider for provider in providers if provider.name == "openai"), None)
        return cls(providers, fallback=fallback, transport=transport, default_model=default_model)

    @property
    def names(self) -> list[str]:
        """The providers' names, in order."""
        return list(self._providers)

    async def resolve(self, model: str | None) -> Route:
        """None or "": the default model. Raises `UnknownModel`, or `ProviderError` where no default can be told."""
        if self._listed_s is None:
            await self._list()
        model = model or self._default_model or await self._first_model()
        route = self._route(model)
        if route is None and self._is_stale():
            await self._list()
            route = self._route(model)
        if route is not None:
            return route
        if self._fallback is not None:
            return Route(model, self._fallback, model)
        raise UnknownModel(self._unknown(model), param="model")

    async def models(self) -> list[Listed]:
        """All models now, in the providers' order. One that cannot list never hides the others."""
        if self._is_stale():
            await self._list()
        taken: set[str] = set()
        listed: list[Listed] = []
        for provider, known in self._known.items():
            for name in dict.fromkeys(known.names):
                public = f"{provider}/{name}" if name in taken else name
                taken.add(public)
                listed.append(Listed(public, provider))
        return listed

    def recover(self, record: StreamRecord, fold: Fold) -> Producer | None:
        """A producer that continues or restarts a stream of a dead process; None where neither can be done."""
        provider = self._providers.get(record.provider)
        if provider is None or not record.request:
            return None
        try:
            request = decode_request(record.request)
        except LogCorrupt as exc:
            _log.warning("stream %s cannot be taken up: %s", record.id, exc.message)
            return None
        if not fold.has_content:
            return _Later(self, request)
        if isinstance(provider, SupportsContinuation):
            held = Held("", dict(fold.served or {}))
            continued = provider.continuation(request, request.model.removeprefix(f"{provider.name}/"), held)
            return continued.producer if continued is not None and continued.exact else None
        return None

    async def close(self) -> None:
        if self._listing is not None:
            self._listing.cancel()
            await asyncio.wait([self._listing])
        for provider in self._providers.values():
            await provider.close()
        if self._transport is not None:
            await self._transport.close()

    def _route(self, model: str) -> Route | None:
        for name, known in self._known.items():
            # Ollama lists `llama3:latest` and takes `llama3` for it.
            if model in known.names or f"{model}:latest" in known.names:
                return Route(model, self._providers[name], model)
        prefix, _, rest = model.partition("/")
        provider = self._providers.get(prefix)
        return Route(model, provider, rest) if provider is not None and rest else None

    async def _first_model(self) -> str:
        if self._is_stale():
            await self._list()
        for known in self._known.values():
            if not known.names and known.error is not None:
                raise known.error
            for name in known.names:
                if not _NO_CHAT.search(name.lower()):
                    return name
        if not self._providers:
            raise UnknownModel(f"no model was named, and there is none: {_NO_PROVIDERS}", param="model")
        raise UnknownModel("no model was named, and there is none: set OPENAI_API_KEY, or start Ollama", param="model")

    def _unknown(self, model: str) -> str:
        if not self._providers:
            return f"there is no model {model[:100]!r}: {_NO_PROVIDERS}"
        names = [name for known in self._known.values() for name in known.names]
        shown = ", ".join(names[:_SHOWN_NAMES]) + (" …" if len(names) > _SHOWN_NAMES else "")
        return f"there is no model {model[:100]!r}; there are: {shown or 'none'}"

    def _is_stale(self) -> bool:
        return self._listed_s is None or self._now() - self._listed_s > _CACHE_S

    async def _list(self) -> None:
        """Ask every provider at once. Callers at the same time share one asking, which none of them can end."""
        if self._listing is None or self._listing.done():
            self._listing = asyncio.get_running_loop().create_task(self._list_all(), name="list models")
        await asyncio.shield(self._listing)

    async def _list_all(self) -> None:
        await asyncio.gather(*(self._list_one(provider) for provider in self._providers.values()))
        self._listed_s = self._now()

    async def _list_one(self, provider: Provider) -> None:
        known = self._known[provider.name]
        try:
            known.names = await provider.models()
            known.error = None
        except ProviderError as error:
            known.error = error
            _log.warning("provider %s cannot list its models: %s", provider.name, error.message)


class _Later:
    """Restarts a stream by asking the registry when its turn comes: at start no provider has been listed yet."""

    def __init__(self, registry: Registry, request: ChatRequest) -> None:
        self._registry = registry
        self._request = request

    async def run(self, writer: Writer) -> None:
        route = await self._registry.resolve(self._request.model)
        await route.producer(self._request).run(writer)

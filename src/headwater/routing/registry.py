"""Which models there are, and the route behind each name: from the tables, else for what a provider lists."""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from ..errors import ConfigError, InputError, LogCorrupt, RouteFixed, UnknownModel, UnknownRoute
from ..providers.ports import Held, Provider, SupportsContinuation, Transport
from ..request import ChatRequest, decode_request
from ..streams.fold import Fold
from ..streams.log import StreamRecord
from ..streams.ports import Producer, Writer
from ..tables import Limits, Price, RouteTable, check_name
from .listing import Listing
from .producer import abandon, handed_over
from .retry import RetryPolicy
from .route import Policy, Route
from .target import Health, Target, TargetSettings, Upstreams

_log = logging.getLogger(__name__)

_SHOWN_NAMES = 20
# Names in OpenAI's list that cannot answer a chat, so that none of them becomes the default model.
_NO_CHAT = re.compile(
    r"embed|whisper|tts|dall-e|moderation|image|audio|realtime|transcribe|sora|babbage|davinci|rerank"
)
# A server has the recordings at least; without any provider it is an application's own API.
_NO_PROVIDERS = "this application offers no models over HTTP (Headwater(providers=True) would)"
_NO_LIMITS = Limits()
# A lone target is all there is; with others waiting, a second failure is enough.
_ATTEMPTS_ALONE, _ATTEMPTS_OF_SEVERAL = 3, 2
MAX_ROUTES = 1000
_CLOUD = ("-cloud", ":cloud")


class Listed(NamedTuple):
    """One public model. A name that an earlier provider has already taken is shown as `provider/name`."""

    model: str
    provider: str


class RouteInfo(NamedTuple):
    """A route of the tables. `fixed`: it stands in the settings file, so the API cannot change it."""

    name: str
    table: RouteTable
    fixed: bool


class Registry:
    """`providers` in order of preference; the `transport` that they share is closed with the registry.

    `limits` and `prices` by the provider's name, and by model (`model` or `provider/model`). `routes` are those of the
    settings. `fallback` takes names that nobody lists. `default_model` is for requests that name none. `local`:
    names of providers that keep here what they are asked. Raises `ConfigError` for a route to a provider that is not
    there.
    """

    def __init__(
        self,
        providers: Sequence[Provider],
        *,
        limits: Mapping[str, Limits] | None = None,
        routes: Mapping[str, RouteTable] | None = None,
        prices: Mapping[str, Price] | None = None,
        settings: TargetSettings = TargetSettings(),  # noqa: B008 -- frozen
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 -- frozen
        fallback: Provider | None = None,
        transport: Transport | None = None,
        default_model: str = "",
        local: Collection[str] = (),
        now: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.upstreams = Upstreams(settings, now=now)
        self._providers = {provider.name: provider for provider in providers}
        self._listing = Listing(providers, now=now)
        self._limits = limits or {}
        self._prices = prices or {}
        self._retry = retry
        self._fallback = fallback
        self._transport = transport
        self._default_model = default_model
        self._local = frozenset(local)
        self._draw = draw
        self._fixed: dict[str, RouteTable] = {}
        self._own: dict[str, RouteTable] = {}
        self._routes: dict[str, Route] = {}
        self._lone_routes: dict[tuple[str, str, str], Route] = {}
        for name, table in (routes or {}).items():
            try:
                self._routes[name] = self._route_of(check_name(name, where="routes"), table)
            except InputError as exc:
                raise ConfigError(exc.message) from exc
            self._fixed[name] = table

    @property
    def names(self) -> list[str]:
        """The providers' names, in order."""
        return list(self._providers)

    def health(self) -> list[Health]:
        """How each provider is, in their order."""
        return [self.upstreams.health(name) for name in self._providers]

    # ------------------------------------------------------------------ models

    async def resolve(self, model: str | None) -> Route:
        """None or "": the default model. Raises `UnknownModel`, or `ProviderError` where no default can be told."""
        model = model or self._default_model or await self._first_model()
        route = self._routes.get(model)
        if route is not None:
            return route
        await self._listing.ensure()
        route = self._listed(model)
        if route is None and await self._listing.refresh():
            route = self._listed(model)
        if route is not None:
            return route
        if self._fallback is not None:
            return self._lone(model, self._fallback, model)
        raise UnknownModel(self._unknown(model), param="model")

    def is_local(self, route: Route) -> bool:
        """Whether what this route is asked stays here, whichever of its targets answers.

        A local Ollama hands its cloud models' prompts on (https://docs.ollama.com/cloud): their names say which.
        """
        return all(
            target.provider.name in self._local and not target.model.endswith(_CLOUD) for target in route.targets
        )

    async def models(self) -> list[Listed]:
        """All models now: routes, then the providers' in order. One that cannot list never hides the others."""
        await self._listing.refresh()
        return self._public()

    def _public(self) -> list[Listed]:
        """What `models` tells, by the lists that there are."""
        listed = [Listed(name, route.provider_name) for name, route in self._routes.items()]
        taken = set(self._routes)
        for provider, names in self._listing.names():
            for name in dict.fromkeys(names):
                public = f"{provider}/{name}" if name in taken else name
                if public not in taken:
                    listed.append(Listed(public, provider))
                taken.add(public)
        return listed

    def _listed(self, model: str) -> Route | None:
        for name, names in self._listing.names():
            # Ollama lists `llama3:latest` and takes `llama3` for it.
            if model in names or f"{model}:latest" in names:
                return self._lone(model, self._providers[name], model)
        prefix, _, rest = model.partition("/")
        provider = self._providers.get(prefix)
        return self._lone(model, provider, rest) if provider is not None and rest else None

    def _lone(self, model: str, provider: Provider, upstream_model: str) -> Route:
        """The route of a model that no table names. Kept, because most requests are for the same few."""
        known = self._lone_routes.get((model, provider.name, upstream_model))
        if known is not None:
            return known
        if len(self._lone_routes) >= MAX_ROUTES:
            self._lone_routes.clear()
        limits = self._limits.get(provider.name, _NO_LIMITS)
        target = self.upstreams.target(
            provider, upstream_model, provider_limits=limits, weight=1.0, price=self._price(provider, upstream_model)
        )
        policy = Policy(attempts=_ATTEMPTS_ALONE, retry=self._retry)
        route = Route(model=model, targets=[target], policy=policy, draw=self._draw)
        self._lone_routes[model, provider.name, upstream_model] = route
        return route

    def _price(self, provider: Provider, model: str) -> Price | None:
        plain = model.removeprefix(f"{provider.name}/")
        return self._prices.get(f"{provider.name}/{plain}") or self._prices.get(plain)

    async def _first_model(self) -> str:
        await self._listing.refresh()
        for error, names in self._listing.answers():
            if not names and error is not None:
                raise error
            for name in names:
                if not _NO_CHAT.search(name.lower()):
                    return name
        if not self._providers:
            raise UnknownModel(f"no model was named, and there is none: {_NO_PROVIDERS}", param="model")
        raise UnknownModel("no model was named, and there is none: set OPENAI_API_KEY, or start Ollama", param="model")

    def _unknown(self, model: str) -> str:
        if not self._providers:
            return f"there is no model {model[:100]!r}: {_NO_PROVIDERS}"
        names = [listed.model for listed in self._public()]
        shown = ", ".join(names[:_SHOWN_NAMES]) + (" …" if len(names) > _SHOWN_NAMES else "")
        return f"there is no model {model[:100]!r}; there are: {shown or 'none'}"

    # ------------------------------------------------------------------ routes

    def routes(self) -> list[RouteInfo]:
        """The routes of the tables, those of the settings file first."""
        fixed = [RouteInfo(name, table, True) for name, table in self._fixed.items()]
        return fixed + [RouteInfo(name, table, False) for name, table in self._own.items()]

    def set_route(self, name: str, table: RouteTable) -> bool:
        """Make or replace a route; whether it is new. Raises `InputError`, `RouteFixed`."""
        self._check_free(check_name(name, where="name"))
        if name not in self._own and len(self._own) >= MAX_ROUTES:
            raise InputError(f"there are {MAX_ROUTES} routes already", param="name")
        route = self._route_of(name, table)
        is_new = name not in self._own
        self._own[name] = table
        self._routes[name] = route
        self.upstreams.forget(name, but=route.targets)
        return is_new

    def remove_route(self, name: str) -> None:
        """Raises `UnknownRoute`, `RouteFixed`. Streams that run on it end as they would have."""
        self._check_free(name)
        if self._own.pop(name, None) is None:
            raise UnknownRoute(f"there is no route {name[:100]!r}", param="name")
        del self._routes[name]
        self.upstreams.forget(name)

    def _check_free(self, name: str) -> None:
        if name in self._fixed:
            raise RouteFixed(f"the route {name!r} stands in the settings file", param="name")

    def _route_of(self, name: str, table: RouteTable) -> Route:
        """Raises `InputError` naming the target whose provider is not there; then no gate has changed either."""
        weighted = any(target.weight is not None for target in table.targets)
        # All of them before the first gate.
        providers = [
            self._named(target.provider, f"routes.{name}.targets[{at}]") for at, target in enumerate(table.targets)
        ]
        targets: list[Target] = []
        for at, (provider, target) in enumerate(zip(providers, table.targets, strict=True)):
            model = target.model or name
            targets.append(
                self.upstreams.target(
                    provider,
                    model,
                    provider_limits=self._limits.get(provider.name, _NO_LIMITS),
                    own=target,
                    route=name,
                    weight=(target.weight or 0.0) if weighted else float(at == 0),
                    price=target.price or self._price(provider, model),
                )
            )
        several = len(targets) > 1 and table.fallback
        policy = Policy(
            fallback=table.fallback,
            attempts=table.attempts or (_ATTEMPTS_OF_SEVERAL if several else _ATTEMPTS_ALONE),
            max_attempts=table.max_attempts,
            max_cost=table.max_cost,
            hedge_after_s=table.hedge_after_s,
            continue_answers=table.continue_answers,
            max_continuations=table.max_continuations,
            retry=self._retry,
        )
        return Route(model=name, targets=targets, policy=policy, draw=self._draw)

    def _named(self, name: str, where: str) -> Provider:
        provider = self._providers.get(name)
        if provider is None:
            known = ", ".join(self._providers) or "none"
            at = f"{where}.provider"
            raise InputError(f"{at}: there is no provider {name!r}; there are: {known}", param=at)
        return provider

    # ------------------------------------------------------------------ recovery and end

    def recover(self, record: StreamRecord, fold: Fold) -> Producer | None:
        """A producer that continues or restarts a stream of a dead process; None where neither can be done."""
        if not record.request:
            return None
        try:
            request = decode_request(record.request)
        except LogCorrupt as exc:
            _log.warning("stream %s cannot be taken up: %s", record.id, exc.message)
            return None
        return self.take_up(request, record.provider, fold)

    def take_up(self, request: ChatRequest, provider: str, fold: Fold) -> Producer | None:
        """The same, for a request whose first target was one of `provider`."""
        route = self._routes.get(request.model)
        if route is not None:
            providers = [target.provider for target in route.targets]
        else:
            providers = [self._providers[provider]] if provider in self._providers else []
        if not fold.has_content:
            return _Later(self, request, providers) if providers else None
        if route is not None and route.policy.continue_answers:
            return _Later(self, request, providers)
        # Without any text: only the very same generation can be gone on with.
        held = Held("", dict(fold.served or {}), interrupted=True)
        model = request.model.removeprefix(f"{provider}/")
        exact = any(
            isinstance(each, SupportsContinuation) and each.continuation(request, model, held) is not None
            for each in providers
        )
        return _Later(self, request, providers) if exact else None

    async def close(self) -> None:
        await self._listing.close()
        for provider in self._providers.values():
            await provider.close()
        if self._transport is not None:
            await self._transport.close()


class _Later:
    """Takes a stream up by asking the registry when its turn comes: at start no provider has been listed yet.

    `providers`: those that may still be generating the answer.
    """

    def __init__(self, registry: Registry, request: ChatRequest, providers: Sequence[Provider]) -> None:
        self._registry = registry
        self._request = request
        self._providers = providers

    async def run(self, writer: Writer) -> None:
        try:
            route = await self._registry.resolve(self._request.model)
            producer = route.producer(self._request)
        except BaseException as exc:
            if not handed_over(exc, writer.fold):
                abandon(self._providers, writer.fold)
            raise
        await producer.run(writer)

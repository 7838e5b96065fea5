"""The composition: settings in, a running hub with its log, providers and API app out.

The one place, used by the command line and by the library, that wires everything. Whatever step fails, what was
opened before it is closed again, in the opposite order.
"""

from __future__ import annotations

import asyncio
import difflib
import logging
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
from starlette.types import ASGIApp

from ._version import __version__
from .config import Settings
from .errors import LogError
from .logs import Keeping, open_log
from .providers.discovery import BUILT_IN, EXTRACTIVE, Surroundings, find_providers, transport_for
from .providers.ports import Transport
from .providers.presets import preset_name
from .request import ChatRequest
from .routing import Registry, TargetSettings
from .routing.store import FILE_NAME, KeptRoute, RouteStore
from .runtime_ai import PROVIDER, own_provider
from .runtime_encryption import keep_keys, open_sealer
from .runtime_identity import open_identity, part_of
from .runtime_monitor import make_monitor, open_monitoring
from .server import ModelCard, Resolved, ServerSettings, create_app
from .server.compression import Compression, CompressionSettings
from .server.connection_streams import nothing_recorded
from .server.connections import Connections, ConnectionSettings
from .server.ports import ChatServices, RouteCard, TargetState
from .streams import Channel, Fold, Hub, Log, Observer, Producer, RecoveryReport, StreamRecord, StreamSettings
from .streams.log import SupportsMaintenance
from .tables import RouteTable
from .telemetry import Monitor
from .telemetry.stream_lines import StreamLines

_logger = logging.getLogger(__name__)

# Compaction and retention are for the disk, not for readers: once a minute keeps both small.
MAINTENANCE_INTERVAL_S = 60.0
# One letter too many, too few or exchanged: `grq` for `groq` is 0.86, `deepseek-ai` (a publisher) for `deepseek` 0.84.
_NEAR = 0.85


class Runtime(msgspec.Struct, frozen=True):
    """Everything that runs. `recovered`: what was done with the streams that an earlier process left. `keys_kept`:
    whether there are API keys in the database. `chat`: conversations and documents, where they were asked for.
    `compression`: of all event streams.
    """

    settings: Settings
    log: Log
    hub: Hub
    registry: Registry
    app: ASGIApp
    recovered: RecoveryReport
    connections: Connections
    compression: Compression
    keys_kept: bool = False
    chat: ChatServices | None = None


@asynccontextmanager
async def open_runtime(
    settings: Settings,
    *,
    log: Log | None = None,
    providers: bool = True,
    single_user: bool = True,
    listens: bool = False,
    chat: bool = True,
) -> AsyncIterator[Runtime]:
    """Open everything, take up unfinished streams, and close it all in order at the end.

    `log`: one that the caller opened and closes. `providers`: whether to look for any. `single_user`: whether an API
    without keys checks Host and Origin. `listens`: as for `open_registry`. `chat`: whether there are conversations,
    documents and keys in a database. Raises `LogInUse`, `LogUnavailable`, `StoreUnavailable`, `ConfigError`.
    """
    async with AsyncExitStack() as stack:
        sealer = open_sealer(settings)
        routes_file = settings.data_dir / FILE_NAME if log is None and settings.log == "sqlite" else None
        if log is None:
            keeping = Keeping(sealer, settings.compression_stored_level)
            log = await open_log(settings.log, settings.data_dir, settings.durability, keeping)
            stack.push_async_callback(log.close)
        registry = await open_registry(settings, listens=listens) if providers else Registry([])
        stack.push_async_callback(registry.close)
        store = RouteStore(registry, routes_file)
        # Before the hub starts: what it recovers may run on one of these routes.
        await store.load()
        directory, seams = Directory(registry, created=int(time.time())), _Seams(registry)
        made = make_monitor(settings, registry, keeps=routes_file is not None)
        hub = _make_hub(stack, settings, log, seams, made.observer)
        if chat:
            from .runtime_chat import open_chat

            seams.chat = await stack.enter_async_context(open_chat(settings, hub, directory, sealer))
        # Ends after the hub's shutdown, so that what ends in that is counted.
        monitoring = await stack.enter_async_context(open_monitoring(settings, made, hub))
        # Before the start: a start that fails half-way has begun some of what a shutdown ends.
        stack.push_async_callback(hub.shutdown)
        recovered = await hub.start()
        connections = await _open_connections(stack, hub, settings, made.monitor)
        if seams.chat is not None:
            await seams.chat.backend.open()
        _keep_tidy(stack, log, settings)
        keep_keys(stack, settings, sealer, log, seams.chat)
        identity = seams.chat.identity if seams.chat is not None else open_identity(settings)
        keys_kept = not identity.configured and await identity.needs_key()
        compression = Compression(part_of(settings, CompressionSettings))
        own, routes = server_settings(settings, single_user=single_user), RouteTables(registry, store)
        app = create_app(hub, directory, own, routes, seams.chat, identity, connections, monitoring, compression)
        yield Runtime(settings, log, hub, registry, app, recovered, connections, compression, keys_kept, seams.chat)


async def _open_connections(
    stack: AsyncExitStack, hub: Hub, settings: Settings, monitor: Monitor | None
) -> Connections:
    recorded = nothing_recorded if monitor is None else monitor.recorded
    connections = Connections(hub, connection_settings(settings), recorded=recorded)
    await connections.open()
    stack.push_async_callback(connections.close)
    return connections


def _make_hub(stack: AsyncExitStack, settings: Settings, log: Log, seams: _Seams, observer: Observer | None) -> Hub:
    hub = Hub(log, stream_settings(settings), recover=seams.recover, on_end=seams.ended, observer=observer)
    if settings.access_log:
        seams.lines = StreamLines(hub.read_all, content=settings.log_content)
        stack.push_async_callback(seams.lines.close)
    return hub


async def open_registry(settings: Settings, transport: Transport | None = None, *, listens: bool = False) -> Registry:
    """The providers that the settings and the environment tell of, and the routes over them.

    `transport`: one of the caller's, which the registry closes at its end. `listens`: whether the caller serves at the
    settings' host and port, which no provider may then have (an application's own server is elsewhere). Raises
    `ConfigError`.
    """
    own = own_provider(settings)
    transport = transport or transport_for(os.environ, connect_timeout_s=settings.connect_timeout_s)
    around = Surroundings(
        os.environ if own is None else {**os.environ, **own.variables},
        transport,
        settings.recordings_dir,
        settings.replay_pace,
        settings.providers if own is None else {**settings.providers, PROVIDER: own.table},
        settings.llm_provider,
        settings.openai_api or "",
        (settings.host, settings.port) if listens and settings.port else None,
    )
    try:
        found = await find_providers(around)
        if own is not None and not settings.llm_provider:
            # It is for the routes of its own settings: whoever names no model gets another one's.
            found.sort(key=lambda one: one.provider.name == PROVIDER)
        providers = [one.provider for one in found]
        for warning in name_warnings(settings, [provider.name for provider in providers]):
            _logger.warning("%s", warning)
        return Registry(
            providers,
            limits={one.provider.name: one.table for one in found},
            routes=settings.routes,
            prices=settings.prices,
            settings=target_settings(settings),
            # Any name may be right for it: the list of models of a compatible server is often not the whole of them.
            fallback=next((provider for provider in providers if provider.name == "openai"), None),
            transport=transport,
            default_model=settings.default_model,
            local=[one.provider.name for one in found if one.local],
        )
    except BaseException:
        await transport.close()
        raise


def name_warnings(settings: Settings, providers: Sequence[str]) -> list[str]:
    """Names of the settings that look like a slip of the pen, one sentence each. Asks no provider.

    A prefix that is near to no provider's name is left alone: many models are listed as `meta-llama/llama-3`.
    """
    warnings = [
        f'[prices."{name}"]: no provider has the name before the slash; did you mean "{near}"?'
        for name in settings.prices
        if name not in settings.routes and (near := _meant(name, providers))
    ]
    model = settings.default_model
    if not model or model in settings.routes or model.partition("/")[0] in providers:
        return warnings
    if near := _meant(model, providers):
        warnings.append(f"default_model = {model!r}: no provider has the name before the slash; did you mean {near!r}?")
    elif set(providers) <= set(BUILT_IN):
        warnings.append(f"default_model = {model!r} is neither a route nor a recording, and there is no other provider")
    return warnings


def _meant(name: str, providers: Sequence[str]) -> str:
    """`provider/model` with the provider that the prefix nearly spells; "" where it spells one, or none."""
    prefix, slash, model = name.partition("/")
    # `mistralai/…` and `google/…` are how gateways list models, and near to a preset's name.
    if not slash or prefix in providers or preset_name(prefix) is not None:
        return ""
    near = difflib.get_close_matches(prefix, providers, n=1, cutoff=_NEAR)
    return f"{near[0]}/{model}" if near else ""


class _Seams:
    """Where the hub asks and tells: the chat backend where there is one, which is made after the hub."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.chat: ChatServices | None = None
        self.lines: StreamLines | None = None

    def recover(self, record: StreamRecord, fold: Fold) -> Producer | None:
        if self.chat is not None and record.request:
            return self.chat.backend.recover(record, fold)
        return self._registry.recover(record, fold)

    def ended(self, channel: Channel) -> None:
        if self.lines is not None:
            self.lines.ended(channel)
        if self.chat is not None:
            self.chat.backend.ended(channel)


class Directory:
    """The registry as the HTTP server and the chat backend want to see it. `created`: Unix seconds, for every model."""

    def __init__(self, registry: Registry, *, created: int) -> None:
        self._registry = registry
        self._created = created

    async def resolve(self, model: str | None) -> Resolved:
        route = await self._registry.resolve(model)
        return Resolved(
            route.model,
            route.provider_name,
            route.producer,
            local=self._registry.is_local(route),
            grounded=route.provider_name == EXTRACTIVE,
        )

    def take_up(self, request: ChatRequest, provider: str, fold: Fold) -> Producer | None:
        return self._registry.take_up(request, provider, fold)

    async def list(self) -> Sequence[ModelCard]:
        return [ModelCard(found.model, self._created, found.provider) for found in await self._registry.models()]


class RouteTables:
    """The routes as the HTTP server wants to see them."""

    def __init__(self, registry: Registry, store: RouteStore) -> None:
        self._registry = registry
        self._store = store

    async def routes(self) -> Sequence[RouteCard]:
        return [await self._card(kept) for kept in self._store.routes()]

    async def set(self, name: str, table: RouteTable) -> bool:
        return await self._store.set(name, table)

    async def remove(self, name: str) -> None:
        await self._store.remove(name)

    async def _card(self, kept: KeptRoute) -> RouteCard:
        return RouteCard(
            **msgspec.structs.asdict(kept.table),
            name=kept.name,
            fixed=kept.fixed,
            persistent=kept.persistent,
            state=[] if kept.error is not None else await self._state(kept.name),
            error=kept.error,
        )

    async def _state(self, name: str) -> list[TargetState]:
        route = await self._registry.resolve(name)
        return [
            TargetState(
                provider=target.provider.name,
                model=target.model,
                breaker=target.breaker.state,
                running=target.gates[0].running,
                queued=target.gates[0].queued,
            )
            for target in route.targets
        ]


def stream_settings(settings: Settings) -> StreamSettings:
    """The stream core's part of the settings, by the same names."""
    shared = set(StreamSettings.__struct_fields__) & set(Settings.model_fields)
    return StreamSettings(**{name: getattr(settings, name) for name in shared})


def connection_settings(settings: Settings) -> ConnectionSettings:
    """Of those that wait for their start; a viewer's own bounds are the stream core's."""
    return ConnectionSettings(max_connections=settings.max_connections, pending_timeout_s=settings.connection_timeout_s)


def target_settings(settings: Settings) -> TargetSettings:
    """What the targets of routes go by unless their tables say otherwise, by the same names."""
    shared = set(TargetSettings.__struct_fields__) & set(Settings.model_fields)
    return TargetSettings(**{name: getattr(settings, name) for name in shared})


def server_settings(settings: Settings, *, single_user: bool = True) -> ServerSettings:
    """The HTTP server's part of the settings.

    A host that is not loopback opens nothing by itself: `serve` refuses it without keys unless `allow_anonymous`
    is set, and for the library, which binds no address, it means nothing.
    """
    anonymous = settings.exposed and settings.allow_anonymous
    shared = set(ServerSettings.__struct_fields__) & set(Settings.model_fields) - {"api_keys", "admin_keys"}
    return ServerSettings(
        version=__version__,
        api_keys=tuple(key.get_secret_value() for key in settings.api_keys),
        admin_keys=tuple(key.get_secret_value() for key in settings.admin_keys),
        single_user=single_user and not anonymous and not settings.keyed,
        traces=bool(settings.otlp_endpoint),
        **{name: getattr(settings, name) for name in shared},
    )


def _keep_tidy(stack: AsyncExitStack, log: Log, settings: Settings) -> None:
    """Maintain a log that can be, until the stack is left."""
    if isinstance(log, SupportsMaintenance):
        task = asyncio.create_task(_maintain(log, settings), name="headwater-maintenance")
        stack.push_async_callback(_ended, task)


async def _maintain(log: SupportsMaintenance, settings: Settings) -> None:
    """Compact and expire for ever. A log that cannot now is asked again later."""
    while True:
        try:
            await log.compact()
            await log.expire(
                now_ms=time.time_ns() // 1_000_000,
                max_age_s=settings.retention_max_age_s or None,
                max_bytes=settings.retention_max_bytes or None,
            )
        except LogError as exc:
            _logger.warning("the log could not be tidied: %s", exc.message)
        except Exception:
            # One bad pass must not be the last one, or the disk fills up unseen.
            _logger.exception("tidying the log failed")
        await asyncio.sleep(MAINTENANCE_INTERVAL_S)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait((task,))

"""The composition: settings in, a running hub with its log, providers and API app out.

The one place, used by the command line and by the library, that wires everything. Whatever step fails, what was
opened before it is closed again, in the opposite order.
"""

from __future__ import annotations

import asyncio
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
from .logs import open_log
from .providers import Registry
from .server import ModelCard, Resolved, ServerSettings, create_app
from .streams import Hub, Log, RecoveryReport, StreamSettings
from .streams.log import SupportsMaintenance

_logger = logging.getLogger(__name__)

# Compaction and retention are for the disk, not for readers: once a minute keeps both small.
MAINTENANCE_INTERVAL_S = 60.0


class Runtime(msgspec.Struct, frozen=True):
    """Everything that runs. `recovered`: what was done with the streams that an earlier process left."""

    settings: Settings
    log: Log
    hub: Hub
    registry: Registry
    app: ASGIApp
    recovered: RecoveryReport


@asynccontextmanager
async def open_runtime(
    settings: Settings, *, log: Log | None = None, providers: bool = True, single_user: bool = True
) -> AsyncIterator[Runtime]:
    """Open everything, take up unfinished streams, and close it all in order at the end.

    `log`: one that the caller opened and closes. `providers`: whether to look for any. `single_user`: whether an API
    without keys checks Host and Origin. Raises `LogInUse`, `LogUnavailable`, `ConfigError`.
    """
    async with AsyncExitStack() as stack:
        if log is None:
            log = await open_log(settings.log, settings.data_dir, settings.durability)
            stack.push_async_callback(log.close)
        registry = await _open_registry(settings) if providers else Registry([])
        stack.push_async_callback(registry.close)
        hub = Hub(log, stream_settings(settings), recover=registry.recover)
        # Before the start: a start that fails half-way has begun some of what a shutdown ends.
        stack.push_async_callback(hub.shutdown)
        recovered = await hub.start()
        if isinstance(log, SupportsMaintenance):
            stack.push_async_callback(
                _ended, asyncio.create_task(_maintain(log, settings), name="headwater-maintenance")
            )
        app = create_app(
            hub, Directory(registry, created=int(time.time())), server_settings(settings, single_user=single_user)
        )
        yield Runtime(settings, log, hub, registry, app, recovered)


async def _open_registry(settings: Settings) -> Registry:
    return await Registry.from_environment(
        os.environ,
        recordings_dir=settings.recordings_dir,
        replay_pace=settings.replay_pace,
        connect_timeout_s=settings.connect_timeout_s,
        default_model=settings.default_model,
    )


class Directory:
    """The registry as the HTTP server wants to see it. `created`: Unix seconds, told for every model."""

    def __init__(self, registry: Registry, *, created: int) -> None:
        self._registry = registry
        self._created = created

    async def resolve(self, model: str | None) -> Resolved:
        route = await self._registry.resolve(model)
        return Resolved(route.model, route.provider.name, route.producer)

    async def list(self) -> Sequence[ModelCard]:
        return [ModelCard(found.model, self._created, found.provider) for found in await self._registry.models()]


def stream_settings(settings: Settings) -> StreamSettings:
    """The stream core's part of the settings, by the same names."""
    shared = set(StreamSettings.__struct_fields__) & set(Settings.model_fields)
    return StreamSettings(**{name: getattr(settings, name) for name in shared})


def server_settings(settings: Settings, *, single_user: bool = True) -> ServerSettings:
    """The HTTP server's part of the settings.

    A host that is not loopback opens nothing by itself: `serve` refuses it without keys unless `allow_anonymous`
    is set, and for the library, which binds no address, it means nothing.
    """
    anonymous = settings.exposed and settings.allow_anonymous
    shared = set(ServerSettings.__struct_fields__) & set(Settings.model_fields) - {"api_keys"}
    return ServerSettings(
        version=__version__,
        api_keys=tuple(key.get_secret_value() for key in settings.api_keys),
        single_user=single_user and not anonymous and not settings.api_keys,
        **{name: getattr(settings, name) for name in shared},
    )


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

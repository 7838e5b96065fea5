"""The chat backend's part of the composition: its database, and everything over it. Imported where it is wanted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from .chat.backend import Backend, BackendSettings
from .chat.ports import Models
from .chat.settings import ChatSettings
from .chat.starts import Starts
from .config import Settings
from .documents.ingest import IngestSettings
from .documents.settings import DocumentSettings
from .encryption import Sealer
from .identity import OpenedStore
from .identity.meters import Meters
from .runtime_ai import ai_chat_settings
from .runtime_identity import open_identity, part_of
from .server.ports import ChatServices
from .store import open_store
from .store.database import database_url
from .streams import Hub, StreamRecord

# How long starts of streams are remembered where streams are kept for ever.
_KEPT_S = 604_800.0


@asynccontextmanager
async def open_chat(
    settings: Settings, hub: Hub, models: Models, sealer: Sealer | None = None
) -> AsyncIterator[ChatServices]:
    """Open the database over a hub that is started later and shut down before this ends.

    Raises `ConfigError`, `StoreUnavailable`.
    """
    configured = settings.database_url.get_secret_value() if settings.database_url is not None else None
    async with AsyncExitStack() as stack:
        url = database_url(configured, settings.data_dir, in_memory=settings.log == "memory")
        store = await open_store(url, sealer)
        stack.push_async_callback(store.close)
        identity = open_identity(settings, OpenedStore(store))
        stack.push_async_callback(identity.close)
        backend = Backend(hub, models, store, backend_settings(settings), meter=_Counting(identity.meters).count)
        stack.push_async_callback(backend.close)
        starts = Starts(store, max_age_s=settings.retention_max_age_s or _KEPT_S)
        yield ChatServices(backend, starts, identity, ai_chat_settings(settings))


class _Counting:
    """Tells the meters what a stream has used."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters

    async def count(self, record: StreamRecord, names: list[str]) -> None:
        if (ended := record.ended) is None:
            return
        cost = (ended.metadata or {}).get("cost")
        amount = cost.get("amount") if isinstance(cost, dict) else None
        await self._meters.settle(
            record.id,
            names,
            tokens=ended.usage.total_tokens,
            cost=float(amount) if isinstance(amount, int | float) else 0.0,
            at_ms=ended.finished_ms,
        )


def backend_settings(settings: Settings) -> BackendSettings:
    return BackendSettings(
        chat=part_of(settings, ChatSettings),
        documents=part_of(settings, DocumentSettings),
        ingest=part_of(settings, IngestSettings),
    )

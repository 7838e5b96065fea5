"""The chat backend for tests: a real hub, database, server and sockets; only the models are scripted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import msgspec

from headwater.chat.backend import Backend, BackendSettings
from headwater.chat.ports import Resolved
from headwater.chat.settings import ChatSettings
from headwater.chat.starts import Starts
from headwater.documents.records import Document, Scope
from headwater.errors import UnknownModel
from headwater.events import StreamId
from headwater.identity import Identity, IdentitySettings, OpenedStore
from headwater.logs import MemoryLog, open_log
from headwater.providers.extractive import Extractive
from headwater.request import ChatRequest
from headwater.server import ModelCard, ServerSettings, create_app
from headwater.server.connections import Connections
from headwater.server.ports import ChatServices, RouteDirectory
from headwater.server.serving import Bind, Server
from headwater.store import Store, open_store
from headwater.store.database import database_url
from headwater.streams import Channel, Fold, Hub, Log, Producer, StreamRecord, StreamSettings, Writer

from .kit import Script, ScriptedProducer

EXTRACTIVE = "extractive"
# Titles by words only, so that no stream runs which a test did not start.
QUIET = BackendSettings(chat=ChatSettings(titles="words"))


class ChatModels:
    """Scripts by model name, and the built-in `extractive`. `asked` holds every request that reached a script.

    `local`: models whose prompts stay here. `resumes`: whether answers of a dead process are begun again by take_up.
    """

    def __init__(self, scripts: dict[str, Script], *, local: Collection[str] = (), resumes: bool = False) -> None:
        self.scripts = scripts
        self.local = frozenset(local) | {EXTRACTIVE}
        self.asked: list[ChatRequest] = []
        self.made: list[ScriptedProducer] = []
        self._resumes = resumes
        self._extractive = Extractive()

    async def resolve(self, model: str | None) -> Resolved:
        name = model or next(iter(self.scripts), EXTRACTIVE)
        if name == EXTRACTIVE:
            return Resolved(name, EXTRACTIVE, lambda request: self._extractive.producer(request, name), True, True)
        if name not in self.scripts:
            raise UnknownModel(f"there is no model {name!r}", param="model")
        return Resolved(name, "scripted", lambda request: self._make(name, request), name in self.local)

    def take_up(self, request: ChatRequest, provider: str, fold: Fold) -> Producer | None:
        return self._make(request.model, request) if self._resumes or not fold.has_content else None

    async def list(self) -> Sequence[ModelCard]:
        return [ModelCard(name, 1_700_000_000, "scripted") for name in (*self.scripts, EXTRACTIVE)]

    def _make(self, name: str, request: ChatRequest) -> Producer:
        # Making one is how a request is checked, too; only what runs was asked.
        return _Counted(self.scripts[name], request, self)


class _Counted(ScriptedProducer):
    def __init__(self, script: Script, request: ChatRequest, models: ChatModels) -> None:
        super().__init__(script, request)
        self._models = models

    async def run(self, writer: Writer) -> None:
        self._models.asked.append(self._request)
        self._models.made.append(self)
        await super().run(writer)


class Chatting(msgspec.Struct):
    """A server that listens, and everything a test may want to look at."""

    url: str
    hub: Hub
    store: Store
    backend: Backend
    models: ChatModels
    server: Server
    client: httpx.AsyncClient
    identity: Identity

    async def upload(self, name: str, text: str | bytes, *, workspace: str = "default", **fields: object) -> Document:
        """A document of the workspace, read to its end."""
        found = await self.backend.conversations.workspaces.find_or_create("", workspace)
        content = text.encode() if isinstance(text, str) else text
        scope = Scope("", found.id)
        document = await self.backend.shelf.add(scope, name=name, media_type="", content=content, **fields)  # type: ignore[arg-type]
        uploaded = await self.backend.ingest.begin(document)
        await uploaded.channel.wait_end()
        return await self.backend.shelf.get("", document.id)

    async def ended(self, stream: str) -> None:
        """Wait for a stream's end, whoever watches it."""
        await (await self.hub.open(StreamId(stream), owner="")).wait_end()


class _Late:
    """What the hub is made with: the backend comes after it."""

    backend: Backend | None = None

    def recover(self, record: StreamRecord, fold: Fold) -> Producer | None:
        return self.backend.recover(record, fold) if self.backend is not None else None

    def ended(self, channel: Channel) -> None:
        if self.backend is not None:
            self.backend.ended(channel)


@asynccontextmanager
async def chatting(
    models: ChatModels,
    *,
    settings: BackendSettings = QUIET,
    server: ServerSettings | None = None,
    streams: StreamSettings | None = None,
    data_dir: Path | None = None,
    grace_s: float | None = None,
    identity: IdentitySettings | None = None,
    routes: RouteDirectory | None = None,
    connected: bool = False,
) -> AsyncIterator[Chatting]:
    """Everything real but the models. `data_dir`: SQLite files there; None: all in memory.

    `identity`: who may call; None: who has one of the server's keys. `routes`: behind `/v1/routes`; None: there is no
    such address. `connected`: whether there is `/streaming`.
    `grace_s` 0 leaves unfinished streams to the next one that opens `data_dir`, as a killed server does.
    """
    log: Log = MemoryLog() if data_dir is None else await open_log("sqlite", data_dir, "commit")
    store = await open_store(database_url(None, data_dir or Path(), in_memory=data_dir is None))
    late = _Late()
    limits = streams or StreamSettings(heartbeat_s=30.0, grace_s=0.5 if grace_s is None else grace_s)
    hub = Hub(log, limits, recover=late.recover, on_end=late.ended)
    backend = late.backend = Backend(hub, models, store, settings)
    await hub.start()
    await backend.open()
    served = server or ServerSettings(single_user=True)
    callers = identity or IdentitySettings(api_keys=served.api_keys, admin_keys=served.admin_keys)
    known = Identity(callers, OpenedStore(store))
    chat = ChatServices(backend, Starts(store), known)
    connections = Connections(hub) if connected else None
    if connections is not None:
        await connections.open()
    app = create_app(hub, models, served, routes, chat, known, connections)
    listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    uvicorn = Server(app, hub, Bind(port=0), ready=listening.set_result)
    serving = asyncio.create_task(uvicorn.serve())
    await asyncio.wait((serving, listening), return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()
    try:
        async with httpx.AsyncClient(base_url=listening.result(), timeout=20.0) as client:
            yield Chatting(listening.result(), hub, store, backend, models, uvicorn, client, known)
    finally:
        uvicorn.stop()
        await serving
        if connections is not None:
            await connections.close()
        await backend.close()
        await known.close()
        await store.close()
        await log.close()

"""A whole backend over a real hub and database, with scripted models: for tests that need no HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from headwater.chat.asking import Ask
from headwater.chat.backend import Backend, BackendSettings
from headwater.chat.records import Message, Thread, Workspace
from headwater.chat.settings import ChatSettings
from headwater.documents.records import Document, Scope
from headwater.events import Done, StreamId, Text, Usage
from headwater.logs import MemoryLog
from headwater.request import ChatRequest
from headwater.store import Store, open_store
from headwater.store.database import database_url
from headwater.streams import Channel, Fold, Hub, Log, Producer, StreamRecord, StreamSettings, Writer
from tests.integration.chat_kit import ChatModels

QUIET = ChatSettings(titles="words", system_prompt="Be brief.")
# Far more than anything here takes: a test that fails must not hang.
WITHIN_S = 5.0
Meter = Callable[[StreamRecord, list[str]], Awaitable[None]]


async def says(writer: Writer, request: ChatRequest) -> None:
    writer.write([Text("At nine."), Usage(9, 2), Done("stop")])


class Gate:
    """A script that has said something and waits."""

    def __init__(self, text: str = "At ") -> None:
        self.text = text
        self.reached = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self, writer: Writer, request: ChatRequest) -> None:
        if self.text:
            writer.write([Text(self.text)])
        self.reached.set()
        await self.open.wait()
        writer.write([Text("nine."), Usage(9, 2), Done("stop")])


class World(msgspec.Struct):
    hub: Hub
    log: Log
    store: Store
    backend: Backend
    models: ChatModels
    workspace: Workspace
    thread: Thread

    def ask(self, message: str = "When does it leave?", **fields: object) -> Ask:
        told = {"workspace": self.workspace, "thread": self.thread, "message": message, "passages": 0} | fields
        return Ask(**told)  # type: ignore[arg-type]

    async def again(self) -> Thread:
        """The thread as it is now."""
        self.thread = await self.backend.conversations.threads.get("", self.thread.id)
        return self.thread

    async def messages(self) -> list[Message]:
        """As the database has them, and nobody looks for their streams."""
        return await self.backend.conversations.messages.path("", self.thread.id)

    async def settled(self, stream: str) -> Message:
        """The answer when its stream has ended and the settler has seen it."""
        await (await self.hub.open(StreamId(stream), owner="")).wait_end()
        async with asyncio.timeout(WITHIN_S):
            while True:
                message = await self.backend.conversations.messages.by_stream(stream)
                assert message is not None
                if message.status != "streaming":
                    return message
                await asyncio.sleep(0.005)

    async def upload(self, text: str, *, confidential: bool = False) -> Document:
        scope, content = Scope("", self.workspace.id), text.encode()
        document = await self.backend.shelf.add(
            scope, name="a.md", media_type="", content=content, confidential=confidential
        )
        await (await self.backend.ingest.begin(document)).channel.wait_end()
        return await self.backend.shelf.get("", document.id)


class Late:
    backend: Backend | None = None

    def recover(self, record: StreamRecord, fold: Fold) -> Producer | None:
        return self.backend.recover(record, fold) if self.backend is not None else None

    def ended(self, channel: Channel) -> None:
        if self.backend is not None:
            self.backend.ended(channel)


@asynccontextmanager
async def backed(
    models: ChatModels,
    *,
    chat: ChatSettings = QUIET,
    log: Log | None = None,
    store: Store | None = None,
    streams: StreamSettings | None = None,
    meter: Meter | None = None,
) -> AsyncIterator[World]:
    """`log` and `store`: those of an earlier world, which the caller closes."""
    made = store or await open_store(database_url(None, Path(), in_memory=True))
    late = Late()
    kept = log or MemoryLog()
    hub = Hub(kept, streams or StreamSettings(grace_s=0.0), recover=late.recover, on_end=late.ended)
    backend = late.backend = Backend(hub, models, made, BackendSettings(chat=chat), meter=meter)
    try:
        await hub.start()
        await backend.open()
        workspace = await backend.conversations.workspaces.find_or_create("", "w")
        threads = await backend.conversations.threads.list("", workspace_id=workspace.id, limit=1)
        thread = threads[0] if threads else await backend.conversations.threads.create("", workspace.id)
        yield World(hub, kept, made, backend, models, workspace, thread)
    finally:
        await hub.shutdown()
        await backend.close()
        if store is None:
            await made.close()

"""The chat backend as one thing: conversations, documents and answers over a hub, without HTTP.

    async with open_backend(hub, models, store) as backend:
        workspace = await backend.conversations.workspaces.find_or_create("", "handbook")
        async for event in backend.answer(Ask(workspace=workspace, message="When does the ferry leave?")):
            ...

The hub must have been made with `recover` and `on_end` that lead here (`Backend.recover`, `Backend.ended`), and be
started after the backend was made and before it is opened.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from ..documents.embedding import Embedder, make_embedder
from ..documents.ingest import KIND, Ingest, IngestSettings, task_of
from ..documents.search import Searcher
from ..documents.settings import DocumentSettings
from ..documents.shelf import Shelf
from ..errors import HeadwaterError, LimitReached, LogCorrupt, UnknownStream
from ..events import Event, StreamId
from ..following import follow_channel
from ..request import ChatRequest, decode_request
from ..store import Store
from ..streams import Channel, Fold, Hub, NewStream, Producer, StreamInfo, StreamRecord
from .aside import KIND as ASIDE
from .aside import Asides
from .asking import DEFAULT_WORKSPACE, Ask, Asked, Asking
from .conversations import Conversations
from .judging import ModelJudge
from .naming import Naming
from .ports import Models
from .records import Message, Thread, Workspace
from .settings import ChatSettings
from .settling import Settler
from .turn import resumed_turn

_logger = logging.getLogger(__name__)

UPKEEP_INTERVAL_S = 3600.0

Bounded: TypeAlias = Literal["workspaces", "threads"]


class BackendSettings(msgspec.Struct, frozen=True, kw_only=True):
    chat: ChatSettings = ChatSettings()
    documents: DocumentSettings = DocumentSettings()
    ingest: IngestSettings = IngestSettings()


class AtWork(NamedTuple):
    """An answer that is being made (its text is not here, but in the stream), and its stream."""

    message: Message
    stream: StreamInfo


class Backend:
    """`open` it after its hub was started, `close` it after that was shut down. The store is the caller's.

    `meter` is told of each ended stream that counts against somebody's budget.
    """

    def __init__(
        self,
        hub: Hub,
        models: Models,
        store: Store,
        settings: BackendSettings = BackendSettings(),  # noqa: B008 - frozen
        *,
        meter: Callable[[StreamRecord, list[str]], Awaitable[None]] | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.settings = settings
        self.hub = hub
        self.store = store
        self._models = models
        self._meter = meter
        self.clock_ms = clock_ms
        self._embedder: Embedder | None = make_embedder(settings.documents)
        self.conversations = Conversations(store, clock_ms=clock_ms)
        self.shelf = Shelf(store, settings=settings.documents, clock_ms=clock_ms)
        self.searcher = Searcher(store, self._embedder, settings.documents)
        self.ingest = Ingest(hub, self.shelf, self.searcher, settings.ingest)
        asides = Asides(hub, models)
        self._judge = _judge(asides, settings.chat)
        self._naming = Naming(asides, self.conversations, settings.chat)
        self.settler = Settler(hub, self.conversations, self._ended, on_settled=self._settled, clock_ms=clock_ms)
        self.asking = Asking(
            hub,
            models,
            self.conversations,
            self.settler,
            settings.chat,
            passages=self.searcher,
            judge=self._judge,
            clock_ms=clock_ms,
        )
        self._upkeep: asyncio.Task[None] | None = None
        self._making = asyncio.Lock()

    async def open(self) -> None:
        """Settle what an earlier process left, and read on in its documents. Raises `StoreUnavailable`."""
        await self.settler.start()
        await self.ingest.take_up()
        self._upkeep = asyncio.get_running_loop().create_task(self._keep_up(), name="headwater-chat-upkeep")

    async def close(self) -> None:
        if self._upkeep is not None:
            self._upkeep.cancel()
            await asyncio.wait((self._upkeep,))
        await self.asking.close()
        # What is settled now may still ask for a title.
        await self.settler.close()
        await self._naming.close()
        if self._embedder is not None:
            await self._embedder.close()

    # ------------------------------------------------------------------ places

    async def workspace(self, tenant: str, ref: str) -> Workspace:
        """By id or slug; the default one is made when it is first named. Raises `UnknownItem`."""
        if ref == DEFAULT_WORKSPACE:
            return await self.conversations.workspaces.find_or_create(tenant, ref)
        return await self.conversations.workspaces.get(tenant, ref)

    @asynccontextmanager
    async def room(self, tenant: str, kind: Bounded) -> AsyncIterator[None]:
        """Make one more of these inside. Raises `LimitReached`.

        One at a time in this process, so that the bound holds; several processes overshoot by one each at most.
        """
        chat = self.settings.chat
        most = chat.max_workspaces if kind == "workspaces" else chat.max_threads
        rows = self.conversations.workspaces if kind == "workspaces" else self.conversations.threads
        async with self._making:
            if await rows.count(tenant) >= most:
                raise LimitReached(kind, most)
            yield

    async def stop(self, tenant: str, streams: Iterable[str]) -> None:
        """Cancel streams, as of messages or documents that are gone. One that is not there is none to cancel."""
        for stream in streams:
            try:
                await self.hub.cancel(StreamId(stream), owner=tenant)
            except UnknownStream:
                continue

    # ------------------------------------------------------------------ answers

    async def ask(self, ask: Ask, new: NewStream) -> Asked:
        """See `Asking.ask`."""
        return await self.asking.ask(ask, new)

    async def ground(self, request: ChatRequest, tenant: str, *, local: bool) -> tuple[ChatRequest, Producer]:
        """A plain request to a model that has only passages to answer from: with those of the tenant's documents."""
        return await self.asking.ground(request, tenant, local=local)

    async def answer(self, ask: Ask, *, after: str | None = None, key: str = "") -> AsyncGenerator[Event, None]:
        """Ask, and follow the answer to its end. `key`: the same question under the same key is the same answer.

        Leaving the iteration is a viewer's leaving: the answer goes on for a while, and can be followed again by `key`
        and the cursor `after`. Raises as `Asking.ask`, and `StreamReset` for a cursor that the log does not know.
        """
        new = NewStream(owner=ask.workspace.tenant, idempotency_key=key, retry=after is None)
        asked = await self.ask(ask, new)
        async for event in follow_channel(self.hub, asked.channel, after):
            yield event

    async def messages(self, thread: Thread, *, leaf_id: str | None = None) -> list[Message]:
        """The messages from the first to the thread's leaf (or `leaf_id`), as they are now."""
        path = await self.conversations.messages.path(thread.tenant, thread.id, leaf_id)
        return [await self.settler.current(message) if message.status == "streaming" else message for message in path]

    async def live(self, thread: Thread) -> list[Message]:
        """The answers of this thread that are being made now; each one's `stream_id` is what a client joins."""
        found = await self.conversations.messages.streaming_in(thread.tenant, thread.id)
        current = [await self.settler.current(message) for message in found]
        return [message for message in current if message.status == "streaming"]

    async def at_work(self, tenant: str, *, thread_id: str | None = None) -> list[AtWork]:
        """The answers of a tenant (of one thread) that are being made now, oldest first; cheaper than `live`."""
        messages = self.conversations.messages
        if thread_id is None:
            found = await messages.streaming(tenant=tenant)
        else:
            found = await messages.streaming_in(tenant, thread_id)
        working = []
        for message in found:
            try:
                stream = await self.hub.info(StreamId(message.stream_id), owner=tenant)
            except UnknownStream:
                continue  # whoever reads the message settles it
            if stream.finished_at is None:
                working.append(AtWork(message, stream))
        return working

    # ------------------------------------------------------------------ for the hub

    def recover(self, record: StreamRecord, fold: Fold) -> Producer | None:
        """What goes on with a stream of a dead process. None: it has to end, or is not of this backend's making."""
        try:
            request = decode_request(record.request)
        except LogCorrupt as exc:
            _logger.warning("stream %s cannot be taken up: %s", record.id, exc.message)
            return None
        return self._taken_up(request, record.provider, fold)

    def _taken_up(self, request: ChatRequest, provider: str, fold: Fold) -> Producer | None:
        if request.task is None:
            return self._models.take_up(request, provider, fold)
        kind = request.task.get("kind")
        if kind == ASIDE:
            return None
        if kind == KIND:
            return self.ingest.recover(request)
        return resumed_turn(
            request, models=self._models, passages=self.searcher, judge=self._judge, provider=provider, fold=fold
        )

    def ended(self, channel: Channel) -> None:
        """For `Hub(on_end=…)`."""
        self.settler.ended(channel)

    async def _ended(self, record: StreamRecord) -> None:
        """What an ended stream means besides a message: a document that was not read, somebody's budget."""
        if self._meter is not None and (meters := meters_of(record)):
            await self._meter(record, meters)
        if task_of(record) is not None:
            await self.ingest.ended(record)

    async def _settled(self, message: Message, record: StreamRecord | None) -> None:
        """An answer was kept: its thread may want a title."""
        if message.role != "assistant" or message.parent_id is None or message.status == "failed":
            return
        question = await self.conversations.messages.get(message.tenant, message.parent_id)
        if question.parent_id is None:
            await self._naming.answered(message, question, meters_of(record) if record is not None else [])

    async def _keep_up(self) -> None:
        """Once an hour, and at the start: what is too old goes, and passages that have no vector get one."""
        while True:
            for work in (self._expire, self._embed_missing):
                try:
                    await work()
                except HeadwaterError as exc:
                    _logger.warning("the upkeep of conversations and documents waits: %s", exc.message)
                except Exception:
                    # One bad pass must not be the last one.
                    _logger.exception("the upkeep of conversations and documents failed")
            await asyncio.sleep(UPKEEP_INTERVAL_S)

    async def _expire(self) -> None:
        max_age_s = self.settings.chat.conversation_max_age_s
        if max_age_s > 0:
            await self.conversations.expire(self.clock_ms() - int(max_age_s * 1000))

    async def _embed_missing(self) -> None:
        """Documents from before there was an embedding model, or that were confidential until now."""
        while waiting := await self.searcher.unembedded():
            made = [await self.searcher.embed_document(*each, lambda done, total: None) for each in waiting]
            if not any(made):
                return


def _judge(asides: Asides, settings: ChatSettings) -> ModelJudge | None:
    if not settings.judge_model:
        return None
    return ModelJudge(asides, settings.judge_model, timeout_s=settings.judge_timeout_s)


def meters_of(record: StreamRecord) -> list[str]:
    """Whose budgets a stream counts against."""
    if b'"meters":[' not in record.request:
        return []
    try:
        return decode_request(record.request).meters
    except LogCorrupt:
        return []

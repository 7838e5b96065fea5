"""Reading an uploaded document, as a stream: `upload`, `extraction`, `chunking`, `vectorization`.

So progress is durable, can be resumed and watched by many, and a document whose server was killed is taken up again.
The document's own row says the same in one word, for those who do not watch.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec

from ..errors import HeadwaterError, LogCorrupt, UnknownItem
from ..events import Done, JsonObject, Metadata, Status, StreamId, Usage
from ..request import ChatRequest, decode_request, encode_request
from ..streams import Channel, Hub, NewStream, StreamRecord, Writer
from .reading import Progress, Reading, ReadLimits, Splitting, read_document
from .records import Document, Stage
from .shelf import Shelf

_logger = logging.getLogger(__name__)

KIND = "ingest"
# A document is read whether or not anyone watches.
LINGER_S = 86_400.0
_SAID: dict[str, str] = {
    "extraction": "Reading the text...",
    "chunking": "Splitting into passages...",
    "vectorization": "Embedding passages...",
}
_STOPPED = "reading the document was stopped"


class IngestSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`document_workers`: documents read at once, each in a process of its own. The others: see `ReadLimits`."""

    document_workers: int = 1
    document_timeout_s: float = 300.0
    document_memory_bytes: int = 2 * 2**30
    max_document_bytes: int = 50 * 2**20
    max_document_pages: int = 2000
    passage_characters: int = 1200
    passage_overlap_characters: int = 150

    @property
    def limits(self) -> ReadLimits:
        return ReadLimits(
            max_bytes=self.max_document_bytes,
            max_pages=self.max_document_pages,
            timeout_s=self.document_timeout_s,
            max_memory_bytes=self.document_memory_bytes,
        )

    @property
    def splitting(self) -> Splitting:
        return Splitting(passage_characters=self.passage_characters, overlap_characters=self.passage_overlap_characters)


class IngestTask(msgspec.Struct, frozen=True, tag=KIND, tag_field="kind"):
    """Which version of which document is read; kept as the request's `task`."""

    tenant: str
    document_id: str
    version: int


class Embeds(Protocol):
    """See `search.Searcher`."""

    async def embed_document(self, document_id: str, version: int, on_progress: Callable[[int, int], None]) -> int: ...


class Uploaded(NamedTuple):
    """A document on its way, and the stream that tells of it."""

    document: Document
    channel: Channel


class Ingest:
    """Gives documents of the shelf their passages."""

    def __init__(self, hub: Hub, shelf: Shelf, embeds: Embeds, settings: IngestSettings) -> None:
        self._hub = hub
        self._shelf = shelf
        self._embeds = embeds
        self._settings = settings
        self._slots = asyncio.Semaphore(settings.document_workers)

    async def begin(self, document: Document) -> Uploaded:
        """Read the newest version of a document that is on the shelf. Raises `Overloaded`, `LogError`.

        Asked twice for the same state of the document, it is the same stream.
        """
        if (reading := await self._reading(document)) is not None:
            return Uploaded(document, reading)
        task = IngestTask(document.tenant, document.id, document.newest)
        request = ChatRequest("", [], task=msgspec.to_builtins(task), priority="low")
        new = NewStream(
            owner=document.tenant,
            linger_s=LINGER_S,
            request=encode_request(request),
            # A version whose reading failed is read anew when it is uploaded again: its row has changed meanwhile.
            idempotency_key=f"{KIND}:{document.id}:{document.newest}:{document.updated_ms}",
            retry=True,
            priority="low",
        )
        try:
            channel, _ = await self._hub.create(new, self._producer(task))
        except HeadwaterError as exc:
            await self._shelf.fail(document.id, document.newest, exc.message)
            raise
        await self._shelf.set_stream(document.id, channel.id)
        return Uploaded(await self._shelf.get(document.tenant, document.id), channel)

    async def _reading(self, document: Document) -> Channel | None:
        """The stream that reads it now. Its row has changed since that was made, so its key would be another."""
        if not document.stream_id:
            return None
        channel = await self._hub.find_stream(StreamId(document.stream_id), owner=document.tenant)
        return channel if channel is not None and not channel.ended else None

    def recover(self, request: ChatRequest) -> IngestProducer:
        """Begin again what a dead process left: nothing of it was visible but its progress."""
        return self._producer(msgspec.convert(request.task, IngestTask))

    async def ended(self, record: StreamRecord) -> None:
        """A stream of this kind has ended; where it did not come to its end, the document must say so."""
        task = task_of(record)
        if task is None or record.ended is None or record.ended.status == "done":
            return
        error = record.ended.error
        await self._shelf.fail(task.document_id, task.version, error.message if error is not None else _STOPPED)

    async def take_up(self) -> None:
        """Documents whose stream is gone or has ended, but whose row never heard of it."""
        for document in await self._shelf.unfinished():
            record = await self._hub.log.get(StreamId(document.stream_id)) if document.stream_id else None
            if record is not None and record.ended is not None and record.ended.status != "done":
                await self.ended(record)
            elif record is None or record.ended is not None:
                await self._begin_again(document)

    async def _begin_again(self, document: Document) -> None:
        try:
            await self.begin(document)
        except HeadwaterError as exc:
            # Its row says so; the server must start all the same, and see to the others.
            _logger.warning("document %s cannot be read on: %s", document.id, exc.message)

    def _producer(self, task: IngestTask) -> IngestProducer:
        return IngestProducer(task, self._shelf, self._embeds, self._settings, self._slots)


def task_of(record: StreamRecord) -> IngestTask | None:
    """What a stream of this kind reads; None for any other."""
    if b'"kind":"ingest"' not in record.request:
        return None
    try:
        return msgspec.convert(decode_request(record.request).task, IngestTask)
    except (LogCorrupt, msgspec.ValidationError):
        return None


class IngestProducer:
    """See `streams.ports.Producer`. `slots`: how many documents are read at once."""

    def __init__(
        self, task: IngestTask, shelf: Shelf, embeds: Embeds, settings: IngestSettings, slots: asyncio.Semaphore
    ) -> None:
        self._task = task
        self._shelf = shelf
        self._embeds = embeds
        self._settings = settings
        self._slots = slots

    async def run(self, writer: Writer) -> None:
        # No token is awaited here; the reading has a time-out of its own.
        writer.control.watch(None)
        task = self._task
        document = await self._shelf.get(task.tenant, task.document_id)
        sizes = {each.version: each.bytes for each in await self._shelf.versions(task.tenant, task.document_id)}
        size = sizes.get(task.version, 0)
        writer.connected()
        told: JsonObject = {"document_id": document.number, "document": document.id, "version": task.version}
        writer.write([Metadata(told), _status("upload", size, size, "byte", document.name)])
        # Who waits for a worker holds up nobody's answer.
        writer.control.lend_slot(True)
        async with self._slots:
            writer.control.lend_slot(False)
            reading = await self._read(writer, document)
        await self._shelf.finish(task.document_id, task.version, reading, stage="vectorization")
        await self._embed(writer, document, len(reading.pieces))
        await self._shelf.set_stage(task.document_id, "", version=task.version)
        ready = await self._shelf.get(task.tenant, task.document_id)
        writer.write([Metadata({"pages": ready.pages, "passages": ready.passages}), Usage(0, 0), Done("stop")])

    async def _read(self, writer: Writer, document: Document) -> Reading:
        await self._enter(writer, "extraction")
        # Not before its turn: all that wait would hold their documents in memory.
        content, media_type = await self._shelf.content(document.tenant, document.id, self._task.version)
        stages = {"extraction"}

        def on_progress(progress: Progress) -> None:
            writer.touch()
            stages.add(progress.stage)
            writer.write([_status(progress.stage, progress.done, progress.total, progress.unit)])

        reading = await read_document(
            content,
            name=document.name,
            media_type=media_type,
            limits=self._settings.limits,
            splitting=self._settings.splitting,
            on_progress=on_progress,
        )
        if "chunking" not in stages:
            on_progress(Progress("chunking", len(reading.pieces), len(reading.pieces), "passage"))
        await self._shelf.set_stage(document.id, "chunking", version=self._task.version)
        return reading

    async def _embed(self, writer: Writer, document: Document, passages: int) -> None:
        """Vectors make a search better; a document without them is ready, too, and says why it has none."""
        writer.write([Status("vectorization", _SAID["vectorization"])])

        def on_progress(done: int, total: int) -> None:
            writer.touch()
            writer.write([_status("vectorization", done, total, "passage")])

        try:
            embedded = await self._embeds.embed_document(document.id, self._task.version, on_progress)
        except UnknownItem:
            raise
        except HeadwaterError as exc:
            _logger.warning("document %s has no vectors: %s", document.id, exc.message)
            told: JsonObject = {"done": 0, "total": passages, "unit": "passage", "problem": exc.message}
            writer.write([Status("vectorization", "Found by words only", data=told)])
            return
        if not embedded:
            none: JsonObject = {"done": 0, "total": 0, "unit": "passage"}
            writer.write([Status("vectorization", "No embedding model: found by words only", data=none)])

    async def _enter(self, writer: Writer, stage: Stage) -> None:
        await self._shelf.set_stage(self._task.document_id, stage, version=self._task.version)
        writer.write([Status(stage, _SAID[stage])])


def _status(stage: str, done: int, total: int, unit: str, name: str = "") -> Status:
    told: JsonObject = {"done": done, "total": total, "unit": unit}
    if total:
        told["progress"] = round(done / total, 4)
    message = f"Received {name}" if stage == "upload" else f"{_SAID[stage]} {unit} {done} of {total}"
    return Status(stage, message, data=told)

"""Uploads as streams: real shelf, real hub, real worker processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from headwater.documents.ingest import Ingest, IngestSettings, task_of
from headwater.documents.records import Document, Query, Scope
from headwater.documents.search import Searcher
from headwater.documents.shelf import Shelf
from headwater.errors import ProviderError, QueueFull, UnknownItem
from headwater.events import Done, Error, Event, Metadata, Status, StreamId, Usage
from headwater.logs import MemoryLog
from headwater.request import decode_request
from headwater.store import open_store
from headwater.store.database import database_url
from headwater.streams import Channel, Fold, Hub, Producer, StreamRecord, StreamSettings
from headwater.streams.log import Query as LogQuery

TEXT = "# Ferry\n\nThe ferry leaves at nine.\n\n# Prices\n\nA ticket costs twelve crowns.\n"
STAGES = ["upload", "extraction", "chunking", "vectorization"]


class Embedding:
    """A searcher's side of vectors, as told."""

    def __init__(self, count: int = 0, error: Exception | None = None) -> None:
        self.count = count
        self.error = error
        self.gate: asyncio.Event | None = None

    async def embed_document(self, document_id: str, version: int, on_progress: Callable[[int, int], None]) -> int:
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        for done in range(1, self.count + 1):
            on_progress(done, self.count)
        return self.count


class Desk(NamedTuple):
    hub: Hub
    shelf: Shelf
    searcher: Searcher
    ingest: Ingest
    embedding: Embedding

    async def add(self, content: str | bytes = TEXT, name: str = "ferry.md") -> Document:
        data = content.encode() if isinstance(content, str) else content
        return await self.shelf.add(Scope("t", "w"), name=name, media_type="", content=data)

    async def read(self, document: Document) -> tuple[Document, list[Event]]:
        uploaded = await self.ingest.begin(document)
        await uploaded.channel.wait_end()
        return await self.shelf.get("t", document.id), await self.hub.read_all(uploaded.channel)


class Late:
    ingest: Ingest | None = None
    ended: list[StreamRecord]

    def recover(self, record: StreamRecord, fold: Fold) -> Producer | None:
        assert self.ingest is not None
        return self.ingest.recover(decode_request(record.request))


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    store = await open_store(database_url(None, tmp_path))
    async with store.write() as connection:
        row = {"id": "w", "tenant": "t", "number": 1, "slug": "w", "name": "w", "metadata": {}, "created_ms": 0}
        from headwater.store.tables import workspaces

        await connection.execute(workspaces.insert().values(**row, updated_ms=0))
    hub = Hub(MemoryLog(), StreamSettings(grace_s=0.1, first_token_timeout_s=0.01))
    await hub.start()
    embedding = Embedding()
    shelf = Shelf(store)
    yield Desk(hub, shelf, Searcher(store), Ingest(hub, shelf, embedding, IngestSettings()), embedding)
    await hub.shutdown()
    await store.close()


async def test_a_document_is_read_in_stages_that_its_stream_tells(desk: Desk) -> None:
    document, events = await desk.read(await desk.add())
    assert (document.status, document.stage, document.version) == ("ready", "", 1)
    assert document.passages >= 1
    told = [event.stage for event in events if isinstance(event, Status)]
    assert list(dict.fromkeys(told)) == STAGES
    assert all(event.message for event in events if isinstance(event, Status))
    assert events[-2:] == [Usage(0, 0), Done("stop")]
    facts = {name: value for event in events if isinstance(event, Metadata) for name, value in event.data.items()}
    assert facts == {
        "document_id": document.number, "document": document.id, "version": 1, "pages": 0,
        "passages": document.passages,
    }  # fmt: skip
    assert document.stream_id == events[0].stream  # type: ignore[union-attr]
    assert (await desk.searcher.search(Query(Scope("t", "w"), "When does the ferry leave?"))).found


async def test_vectors_are_told_one_by_one(desk: Desk) -> None:
    desk.embedding.count = 3
    _, events = await desk.read(await desk.add())
    last = [event for event in events if isinstance(event, Status)][-1]
    assert last.data == {"done": 3, "total": 3, "unit": "passage", "progress": 1.0}


async def test_a_document_without_vectors_is_found_by_words_and_says_why(desk: Desk) -> None:
    desk.embedding.error = ProviderError("the embedding service is away")
    document, events = await desk.read(await desk.add())
    assert document.status == "ready"
    last = [event for event in events if isinstance(event, Status)][-1]
    assert last.data is not None
    assert last.data["problem"] == "the embedding service is away"


async def test_what_cannot_be_read_fails_with_its_reason_and_keeps_the_version_before(desk: Desk) -> None:
    document, _ = await desk.read(await desk.add())
    again = await desk.shelf.add_version("t", document.id, b"%PDF-1.7 but no more", "application/pdf")
    uploaded = await desk.ingest.begin(again)
    end = await uploaded.channel.wait_end()
    assert isinstance(end, Error)
    record = await desk.hub.log.get(StreamId(uploaded.channel.id))
    assert record is not None
    await desk.ingest.ended(record)
    failed = await desk.shelf.get("t", document.id)
    assert (failed.status, failed.version, failed.error) == ("failed", 1, end.message)


async def test_reading_longer_than_a_first_token_may_take_is_no_time_out(desk: Desk) -> None:
    """The watchdog of answers is set to 10 ms here; a worker process alone takes longer to start."""
    uploaded = await desk.ingest.begin(await desk.add())
    assert await uploaded.channel.wait_end() == Done("stop")


async def test_the_same_version_is_read_once(desk: Desk) -> None:
    document = await desk.add()
    first, second = await asyncio.gather(desk.ingest.begin(document), desk.ingest.begin(document))
    assert first.channel.id == second.channel.id
    await first.channel.wait_end()


async def test_a_document_that_is_deleted_meanwhile_ends_its_stream(desk: Desk) -> None:
    desk.embedding.gate = asyncio.Event()
    document = await desk.add()
    uploaded = await desk.ingest.begin(document)
    await desk.shelf.delete("t", document.id)
    desk.embedding.gate.set()
    assert isinstance(await uploaded.channel.wait_end(), Error)


async def test_a_cancelled_reading_is_a_failed_document(desk: Desk) -> None:
    desk.embedding.gate = asyncio.Event()
    document = await desk.add()
    uploaded = await desk.ingest.begin(document)
    await desk.hub.cancel(StreamId(uploaded.channel.id), owner="t")
    await desk.ingest.take_up()
    stopped = await desk.shelf.get("t", document.id)
    assert (stopped.status, stopped.error) == ("failed", "reading the document was stopped")


async def test_documents_whose_stream_is_gone_are_read_at_the_next_start(desk: Desk) -> None:
    document = await desk.add()
    await desk.ingest.take_up()
    begun = await desk.shelf.get("t", document.id)
    channel = await desk.hub.open(StreamId(begun.stream_id), owner="t")
    assert await channel.wait_end() == Done("stop")


async def test_a_refused_stream_is_told_in_the_document(desk: Desk, tmp_path: Path) -> None:
    full = Hub(MemoryLog(), StreamSettings(max_streams=1, max_queued=0))
    await full.start()
    desk.embedding.gate = asyncio.Event()
    ingest = Ingest(full, desk.shelf, desk.embedding, IngestSettings())
    await ingest.begin(await desk.add())
    second = await desk.add("other text")
    with pytest.raises(QueueFull):
        await ingest.begin(second)
    assert (await desk.shelf.get("t", second.id)).status == "failed"
    await full.shutdown(0)


async def test_a_dead_process_reading_goes_on(desk: Desk) -> None:
    desk.embedding.gate = asyncio.Event()
    document = await desk.add()
    uploaded = await desk.ingest.begin(document)
    record = await desk.hub.log.get(StreamId(uploaded.channel.id))
    assert record is not None
    task = task_of(record)
    assert task is not None
    assert (task.document_id, task.version, task.tenant) == (document.id, 1, "t")
    late = Late()
    heir = Hub(desk.hub.log, StreamSettings(grace_s=0.1), recover=late.recover)
    late.ingest = Ingest(heir, desk.shelf, Embedding(), IngestSettings())
    await desk.hub.shutdown(0)
    report = await heir.start()
    assert report.restarted == 1
    channel: Channel = await heir.open(StreamId(uploaded.channel.id), owner="t")
    assert await channel.wait_end() == Done("stop")
    assert (await desk.shelf.get("t", document.id)).status == "ready"
    await heir.shutdown()


def test_other_streams_are_no_readings() -> None:
    assert task_of(StreamRecord(StreamId("s"), 0)) is None
    assert (
        task_of(StreamRecord(StreamId("s"), 0, request=b'{"model":"","messages":[],"task":{"kind":"ingest"}}')) is None
    )


async def test_an_unknown_document_is_an_error(desk: Desk) -> None:
    with pytest.raises(UnknownItem):
        await desk.shelf.get("another", (await desk.add()).id)


async def test_the_same_bytes_are_read_anew_where_reading_them_failed(desk: Desk) -> None:
    document, _ = await desk.read(await desk.add(b"\x00\x01\x02 no document", "x.bin"))
    record = await desk.hub.log.get(StreamId(document.stream_id))
    assert record is not None
    await desk.ingest.ended(record)
    again = await desk.shelf.add_version("t", document.id, b"\x00\x01\x02 no document")
    assert again.newest == document.newest
    uploaded = await desk.ingest.begin(again)
    assert uploaded.channel.id != document.stream_id
    await uploaded.channel.wait_end()


async def test_a_reading_under_way_is_not_begun_a_second_time(desk: Desk) -> None:
    """As where another process of the same database takes up what waits."""
    desk.embedding.gate = asyncio.Event()
    document = await desk.add()
    uploaded = await desk.ingest.begin(document)
    await desk.ingest.take_up()
    assert (await desk.shelf.get("t", document.id)).stream_id == uploaded.channel.id
    assert len(await desk.hub.log.find(LogQuery(owner="t", limit=10))) == 1
    desk.embedding.gate.set()
    assert await uploaded.channel.wait_end() == Done("stop")


async def test_an_empty_document_has_no_share_of_nothing(desk: Desk) -> None:
    document, events = await desk.read(await desk.add(b"", "empty.txt"))
    [first, *_] = [event for event in events if isinstance(event, Status)]
    assert first.data == {"done": 0, "total": 0, "unit": "byte"}
    assert isinstance(events[-1], Error)
    assert document.passages == 0

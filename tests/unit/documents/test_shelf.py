from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import text

from headwater.documents.records import Document, Scope, Statistics
from headwater.documents.settings import DocumentSettings
from headwater.documents.shelf import Shelf
from headwater.errors import InputError, UnknownItem
from headwater.store import Store

from .shelving import ANN, BOB, Clock, make_thread, make_workspace, place, reading

NO_ID = "01900000-0000-7000-8000-00000000dead"


async def add(shelf: Shelf, scope: Scope, name: str = "a.txt", content: bytes = b"one", **more: object) -> Document:
    return await shelf.add(scope, name=name, media_type="text/plain", content=content, **more)  # type: ignore[arg-type]


async def test_a_new_document_is_being_read_and_keeps_what_it_was_given(
    shelf: Shelf, desk: Scope, clock: Clock
) -> None:
    added = await add(shelf, desk, "  a.txt ", pinned=True, confidential=True, metadata={"of": ["x"]})
    assert added == Document(
        id=added.id,
        number=1,
        tenant=ANN,
        workspace_id=desk.workspace_id,
        thread_id=None,
        name="a.txt",
        media_type="text/plain",
        version=0,
        newest=1,
        status="processing",
        stage="upload",
        error="",
        stream_id="",
        pinned=True,
        confidential=True,
        metadata={"of": ["x"]},
        created_ms=clock.ms,
        updated_ms=clock.ms,
        bytes=3,
        pages=0,
        passages=0,
    )
    assert await shelf.get(ANN, added.id) == added


@pytest.mark.parametrize("as_ref", [lambda d: d.id, lambda d: d.number, lambda d: str(d.number)])
async def test_ids_and_numbers_name_the_same_document(
    shelf: Shelf, desk: Scope, as_ref: Callable[[Document], str | int]
) -> None:
    await add(shelf, desk)
    second = await add(shelf, desk)
    assert await shelf.get(ANN, as_ref(second)) == second
    assert await shelf.content(ANN, as_ref(second)) == (b"one", "text/plain")
    assert (await shelf.update(ANN, as_ref(second), name="b.txt")).name == "b.txt"
    await shelf.delete(ANN, as_ref(second))
    assert [document.number for document in await shelf.list(desk)] == [1]


@pytest.mark.parametrize("ref", [NO_ID, 0, -1, 2, "2", 2**70, "9" * 40, "", "a\0b", "\ud800", "١", "' OR 1=1 --"])
async def test_a_reference_to_nothing_is_unknown(shelf: Shelf, desk: Scope, ref: str | int) -> None:
    await add(shelf, desk)
    with pytest.raises(UnknownItem, match="no such document"):
        await shelf.get(ANN, ref)


async def test_numbers_are_counted_for_each_tenant_and_never_given_twice(
    shelf: Shelf, desk: Scope, other: Scope
) -> None:
    await add(shelf, desk)
    last = await add(shelf, desk)
    assert (await add(shelf, other)).number == 1
    await shelf.delete(ANN, last.id)
    assert (await add(shelf, desk)).number == 3


async def test_uploads_at_once_get_numbers_of_their_own(shelf: Shelf, desk: Scope) -> None:
    added = await asyncio.gather(*(add(shelf, desk) for _ in range(8)))
    assert sorted(document.number for document in added) == list(range(1, 9))


OTHERS: list[Callable[[Shelf, str], Awaitable[object]]] = [
    lambda shelf, id_: shelf.get(BOB, id_),
    lambda shelf, id_: shelf.update(BOB, id_, name="mine"),
    lambda shelf, id_: shelf.delete(BOB, id_),
    lambda shelf, id_: shelf.content(BOB, id_),
    lambda shelf, id_: shelf.text(BOB, id_),
    lambda shelf, id_: shelf.versions(BOB, id_),
    lambda shelf, id_: shelf.add_version(BOB, id_, b"two"),
]


@pytest.mark.parametrize("call", OTHERS)
async def test_another_tenants_document_looks_unknown(
    shelf: Shelf, desk: Scope, call: Callable[[Shelf, str], Awaitable[object]]
) -> None:
    document = await place(shelf, desk, "mine")
    for ref in (document.id, str(document.number)):
        with pytest.raises(UnknownItem):
            await call(shelf, ref)
    assert await shelf.get(ANN, document.id) == document


async def test_lists_and_counts_show_a_tenant_nothing_of_another(shelf: Shelf, desk: Scope) -> None:
    mine = await place(shelf, desk, "mine")
    as_bob = Scope(BOB, desk.workspace_id)
    assert await shelf.list(as_bob) == []
    assert await shelf.list(as_bob, everywhere=True) == []
    assert await shelf.statistics(BOB) == Statistics(0, 0, 0, 0, 0, 0, 0, 0, 0)
    assert await shelf.statistics(BOB, desk.workspace_id) == Statistics(0, 0, 0, 0, 0, 0, 0, 0, 0)
    with pytest.raises(UnknownItem):
        await shelf.list(Scope(BOB, desk.workspace_id), before=mine.id)


async def test_nothing_can_be_added_to_what_is_not_there_or_anothers(store: Store, shelf: Shelf, desk: Scope) -> None:
    thread = await make_thread(store, desk)
    elsewhere = await make_workspace(store, ANN, 2)
    with pytest.raises(UnknownItem, match="workspace"):
        await add(shelf, Scope(BOB, desk.workspace_id))
    with pytest.raises(UnknownItem, match="workspace"):
        await add(shelf, Scope(ANN, NO_ID))
    with pytest.raises(UnknownItem, match="thread"):
        await add(shelf, Scope(ANN, desk.workspace_id, NO_ID))
    with pytest.raises(UnknownItem, match="thread"):
        await add(shelf, Scope(ANN, elsewhere.workspace_id, thread.thread_id))
    assert (await add(shelf, thread)).thread_id == thread.thread_id


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"name": "  "}, "name"),
        ({"name": "x" * 501}, "name"),
        ({"metadata": {"x": "y" * 20_000}}, "metadata"),
        ({"metadata": {"x": object()}}, "metadata"),
    ],
)
async def test_names_and_metadata_are_bounded(
    shelf: Shelf, desk: Scope, changes: dict[str, object], param: str
) -> None:
    document = await add(shelf, desk)
    with pytest.raises(InputError) as refused:
        await add(shelf, desk, **changes)  # type: ignore[arg-type]
    assert refused.value.param == param
    with pytest.raises(InputError):
        await shelf.update(ANN, document.id, **changes)  # type: ignore[arg-type]
    assert await shelf.list(desk) == [document]


async def test_a_media_type_is_bounded(shelf: Shelf, desk: Scope) -> None:
    with pytest.raises(InputError):
        await shelf.add(desk, name="a", media_type="x" * 201, content=b"")


async def test_a_workspace_holds_so_many_documents(shelf: Shelf, store: Store, desk: Scope) -> None:
    thread = await make_thread(store, desk)
    await add(shelf, desk, max_documents=2)
    await add(shelf, thread, max_documents=2)
    with pytest.raises(InputError, match="holds its 2 documents already"):
        await add(shelf, desk, max_documents=2)
    await add(shelf, await make_workspace(store, ANN, 2), max_documents=2)
    tight = Shelf(store, settings=DocumentSettings(max_documents=1))
    with pytest.raises(InputError):
        await add(tight, desk)


async def test_no_two_uploads_at_once_are_both_the_last_that_fits(shelf: Shelf, desk: Scope) -> None:
    tries = await asyncio.gather(*(add(shelf, desk, max_documents=3) for _ in range(6)), return_exceptions=True)
    assert sum(isinstance(tried, Document) for tried in tries) == 3
    assert sum(isinstance(tried, InputError) for tried in tries) == 3


async def test_a_list_goes_on_before_a_document_and_hides_other_threads(
    shelf: Shelf, store: Store, desk: Scope
) -> None:
    one, two = await make_thread(store, desk, 1), await make_thread(store, desk, 2)
    for number, scope in enumerate((desk, one, two, desk), start=1):
        await add(shelf, scope, f"{number}")
    names = {"limit": lambda **how: shelf.list(desk, everywhere=True, **how)}["limit"]
    assert [document.name for document in await shelf.list(desk)] == ["4", "1"]
    assert [document.name for document in await shelf.list(one)] == ["4", "2", "1"]
    assert [document.name for document in await names()] == ["4", "3", "2", "1"]
    assert [document.name for document in await names(limit=2)] == ["4", "3"]
    assert [document.name for document in await names(limit=2, before=3)] == ["2", "1"]
    assert await names(limit=0) == []


async def test_an_update_changes_what_is_given_and_the_time(shelf: Shelf, desk: Scope, clock: Clock) -> None:
    document = await add(shelf, desk, metadata={"a": 1})
    same = await shelf.update(ANN, document.id)
    assert same == document
    clock.ms -= 5000  # a clock that was set back
    changed = await shelf.update(ANN, document.id, pinned=True, confidential=True, metadata={"b": 2})
    assert (changed.name, changed.pinned, changed.confidential, changed.metadata) == ("a.txt", True, True, {"b": 2})
    assert changed.updated_ms == document.updated_ms + 1
    clock.ms += 60_000
    again = await shelf.update(ANN, document.id, pinned=False, metadata={})
    assert (again.pinned, again.confidential, again.metadata, again.updated_ms) == (False, True, {}, clock.ms)


async def test_a_version_that_was_read_is_in_force(shelf: Shelf, desk: Scope) -> None:
    document = await add(shelf, desk, content=b"bytes")
    assert await shelf.text(ANN, document.id) == ""
    await shelf.set_stream(document.id, NO_ID)
    await shelf.set_stage(document.id, "extraction")
    assert (await shelf.get(ANN, document.id)).stage == "extraction"
    assert await shelf.finish(document.id, 1, reading("first", "second"))
    ready = await shelf.get(ANN, document.id)
    assert (ready.version, ready.status, ready.stage, ready.pages, ready.passages) == (1, "ready", "", 2, 2)
    assert (ready.bytes, ready.stream_id) == (5, NO_ID)
    assert await shelf.text(ANN, document.id) == "first\nsecond\n"
    assert await shelf.text(ANN, document.id, start=6, end=9) == "sec"
    assert await shelf.text(ANN, document.id, 1, start=6) == "second\n"
    assert await shelf.text(ANN, document.id, start=9, end=3) == ""
    assert await shelf.text(ANN, document.id, start=-4, end=2) == "fi"


async def test_a_document_is_ready_when_its_last_stage_is_over(shelf: Shelf, desk: Scope) -> None:
    document = await add(shelf, desk)
    assert await shelf.finish(document.id, 1, reading("x"), stage="vectorization")
    between = await shelf.get(ANN, document.id)
    assert (between.version, between.status, between.stage) == (1, "processing", "vectorization")
    assert await shelf.unfinished() == [between]
    await shelf.set_stage(document.id, "", version=7)
    assert await shelf.unfinished() == [between]
    await shelf.set_stage(document.id, "", version=1)
    assert (await shelf.get(ANN, document.id)).status == "ready"
    assert await shelf.unfinished() == []


async def test_the_old_version_stays_until_the_new_one_was_read(shelf: Shelf, desk: Scope) -> None:
    document = await place(shelf, desk, "old")
    added = await shelf.add_version(ANN, document.number, b"newer bytes", "text/markdown")
    assert (added.version, added.newest, added.status, added.stage) == (1, 2, "processing", "upload")
    assert (added.media_type, added.bytes, added.passages) == ("text/markdown", 3, 1)
    assert await shelf.content(ANN, document.id) == (b"old", "text/plain")
    assert await shelf.content(ANN, document.id, 2) == (b"newer bytes", "text/markdown")
    assert await shelf.finish(document.id, 2, reading("new", "more"))
    now = await shelf.get(ANN, document.id)
    assert (now.version, now.status, now.bytes, now.passages) == (2, "ready", 11, 2)
    assert await shelf.text(ANN, document.id) == "new\nmore\n"
    assert await shelf.text(ANN, document.id, 1) == "old\n"
    assert [(one.version, one.in_force, one.passages) for one in await shelf.versions(ANN, document.id)] == [
        (2, True, 2),
        (1, False, 1),
    ]
    with pytest.raises(UnknownItem, match="version"):
        await shelf.content(ANN, document.id, 3)


async def test_the_same_bytes_are_no_new_version(shelf: Shelf, desk: Scope) -> None:
    document = await place(shelf, desk, "same")
    assert await shelf.add_version(ANN, document.id, b"same") == document
    await shelf.add_version(ANN, document.id, b"other")
    # The same as an older version: a way back to it.
    assert (await shelf.add_version(ANN, document.id, b"same")).newest == 3


async def test_bytes_that_failed_are_read_again_when_they_come_again(shelf: Shelf, desk: Scope) -> None:
    document = await add(shelf, desk)
    await shelf.set_stream(document.id, NO_ID)
    await shelf.fail(document.id, 1, "the file is \0 damaged")
    failed = await shelf.get(ANN, document.id)
    assert (failed.status, failed.stage, failed.error) == (
        "failed",
        "",
        "the file is \N{REPLACEMENT CHARACTER} damaged",
    )
    await shelf.set_stage(document.id, "extraction")
    assert (await shelf.get(ANN, document.id)).stage == ""
    again = await shelf.add_version(ANN, document.id, b"one")
    assert (again.newest, again.status, again.stage, again.error, again.stream_id) == (
        1,
        "processing",
        "upload",
        "",
        "",
    )


async def test_a_failed_version_leaves_the_one_in_force(shelf: Shelf, desk: Scope) -> None:
    document = await place(shelf, desk, "good")
    await shelf.add_version(ANN, document.id, b"bad")
    await shelf.fail(document.id, 1, "too late")
    assert (await shelf.get(ANN, document.id)).status == "processing"
    await shelf.fail(document.id, 2, "no text")
    failed = await shelf.get(ANN, document.id)
    assert (failed.status, failed.version, failed.passages, failed.error) == ("failed", 1, 1, "no text")


async def test_work_on_a_superseded_version_or_a_deleted_document_changes_nothing(shelf: Shelf, desk: Scope) -> None:
    document = await place(shelf, desk, "old")
    newer = await shelf.add_version(ANN, document.id, b"two")
    await shelf.add_version(ANN, document.id, b"three")
    assert not await shelf.finish(document.id, newer.newest, reading("two"))
    assert await shelf.text(ANN, document.id) == "old\n"
    await shelf.delete(ANN, document.id)
    assert not await shelf.finish(document.id, 3, reading("three"))
    await shelf.fail(document.id, 3, "x")
    await shelf.set_stage(document.id, "chunking")
    await shelf.set_stream(document.id, NO_ID)
    with pytest.raises(UnknownItem):
        await shelf.get(ANN, document.id)


async def test_a_document_without_text_is_ready_too(shelf: Shelf, desk: Scope) -> None:
    document = await add(shelf, desk)
    assert await shelf.finish(document.id, 1, reading())
    assert ((await shelf.get(ANN, document.id)).status, (await shelf.get(ANN, document.id)).passages) == ("ready", 0)


async def test_so_many_versions_are_kept_and_always_the_one_in_force(store: Store, desk: Scope) -> None:
    shelf = Shelf(store, settings=DocumentSettings(max_versions=3))
    document = await place(shelf, desk, "1")
    for number in range(2, 7):
        await shelf.add_version(ANN, document.id, str(number).encode())
    assert [one.version for one in await shelf.versions(ANN, document.id)] == [6, 5, 4, 1]
    await shelf.finish(document.id, 6, reading("6"))
    await shelf.add_version(ANN, document.id, b"7")
    assert [one.version for one in await shelf.versions(ANN, document.id)] == [7, 6, 5]


async def test_what_is_deleted_is_gone_from_every_table(store: Store, shelf: Shelf, desk: Scope) -> None:
    document = await place(shelf, desk, "words", "more words")
    await shelf.delete(ANN, document.id)
    tables = ["documents", "document_versions", "passages", "embeddings"] + ["passages_fts"] * store.is_sqlite
    async with store.read() as connection:
        for table in tables:
            assert (await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one() == 0, table  # noqa: S608
    with pytest.raises(UnknownItem):
        await shelf.delete(ANN, document.id)


async def test_text_that_no_database_keeps_is_mended_in_place(shelf: Shelf, desk: Scope) -> None:
    document = await add(shelf, desk, "a\0b\ud800.txt")
    assert document.name == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}.txt"
    await shelf.finish(document.id, 1, reading("x\0y\ud800z", section="s\0"))
    assert await shelf.text(ANN, document.id, start=0, end=5) == "x\N{REPLACEMENT CHARACTER}y\N{REPLACEMENT CHARACTER}z"


async def test_statistics_are_of_the_versions_in_force(shelf: Shelf, store: Store, desk: Scope, other: Scope) -> None:
    await place(shelf, desk, "abc", "defg")
    second = await place(shelf, await make_workspace(store, ANN, 2), "hi")
    await shelf.add_version(ANN, second.id, b"a longer one")
    await shelf.fail((await add(shelf, desk)).id, 1, "x")
    await place(shelf, other, "not mine")
    mine = await shelf.statistics(ANN)
    assert mine == Statistics(
        documents=3, ready=1, processing=1, failed=1, passages=3, characters=10, bytes=10, pages=3, embedded=0
    )
    assert await shelf.statistics(ANN, desk.workspace_id) == Statistics(
        documents=2, ready=1, processing=0, failed=1, passages=2, characters=8, bytes=8, pages=2, embedded=0
    )


async def test_unfinished_documents_are_those_of_all_tenants(
    shelf: Shelf, desk: Scope, other: Scope, clock: Clock
) -> None:
    first = await add(shelf, desk)
    clock.ms += 1
    second = await add(shelf, other)
    await place(shelf, desk, "done")
    assert [document.id for document in await shelf.unfinished()] == [first.id, second.id]


def test_settings_never_show_the_key() -> None:
    shown = repr(DocumentSettings(embedding_api_key="sk-very-secret"))
    assert "secret" not in shown
    assert "max_documents=1000" in shown

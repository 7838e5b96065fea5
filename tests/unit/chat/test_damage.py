"""A row that does not open is missing, or without its title; it keeps nobody from the others."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from headwater.chat.conversations import Conversations
from headwater.chat.records import Thread, Workspace
from headwater.encryption import Key, KeyRing, Sealer
from headwater.errors import StoreCorrupt
from headwater.store import Store, open_store
from headwater.store.database import database_url

ANN = "ann"
ROT = {
    "another's": "{0} || 'AAAA'",
    "bytes": "CAST({0} AS BLOB)",
    "no UTF-8": "CAST(x'0168773102e1' || CAST(substr({0}, 5) AS BLOB) AS TEXT)",
    "no UTF-8 further on": "CAST(CAST(substr({0}, 1, 20) AS BLOB) || x'c1' || CAST(substr({0}, 22) AS BLOB) AS TEXT)",
    "no base64": "substr({0}, 1, 20) || char(1) || substr({0}, 22)",
}


# A plain text is anybody's, as long as it is one.
CASES = [("sealed", how) for how in ROT] + [("plain", how) for how in ("bytes", "no UTF-8", "no UTF-8 further on")]


@pytest.fixture
async def store(kind: str, tmp_path: Path) -> AsyncIterator[Store]:
    sealer = Sealer(KeyRing([Key(bytes(32))])) if kind == "sealed" else None
    store = await open_store(database_url(None, tmp_path), sealer)
    yield store
    await store.close()


async def rot(store: Store, table: str, id_: str, columns: tuple[str, ...], how: str) -> None:
    changes = ", ".join(f"{column} = {ROT[how].format(column)}" for column in columns)
    async with store.write() as connection:
        await connection.execute(text(f"UPDATE {table} SET {changes} WHERE id = :id"), {"id": id_})  # noqa: S608


async def threads_of(store: Store) -> tuple[Conversations, Workspace, list[Thread]]:
    conversations = Conversations(store)
    workspace = await conversations.workspaces.create(ANN, name="Weirs and herons")
    threads = [
        await conversations.threads.create(ANN, workspace.id, title=f"A long title, with a heron: {number}")
        for number in range(3)
    ]
    return conversations, workspace, threads


@pytest.mark.parametrize(("kind", "how"), CASES)
async def test_a_title_that_does_not_open(store: Store, how: str, caplog: pytest.LogCaptureFixture) -> None:
    conversations, workspace, threads = await threads_of(store)
    bad = threads[1]
    await rot(store, "threads", bad.id, ("title", "metadata"), how)
    with caplog.at_level(logging.ERROR):
        for limit in (100, 1):
            listed: list[Thread] = []
            while page := await conversations.threads.list(ANN, limit=limit, before=listed[-1].id if listed else None):
                listed += page
            assert {thread.id: thread.title for thread in listed} == {
                thread.id: "" if thread is bad else thread.title for thread in threads
            }
        hits = await conversations.search(ANN, "heron")
    assert {hit.thread.id for hit in hits} == {threads[0].id, threads[2].id}
    told = [record.getMessage() for record in caplog.records if "threads.title" in record.getMessage()]
    assert len(told) == 1
    assert bad.id in told[0]
    assert "heron" not in caplog.text
    with pytest.raises(StoreCorrupt, match=f"threads.title of {bad.id}"):
        await conversations.threads.get(ANN, bad.id)
    assert (await conversations.threads.update(ANN, bad.id, title="Anew", metadata={})).title == "Anew"
    await rot(store, "threads", bad.id, ("metadata",), how)
    await conversations.threads.delete(ANN, bad.id)
    assert len(await conversations.threads.list(ANN, workspace_id=workspace.id)) == 2


@pytest.mark.parametrize(("kind", "how"), CASES)
async def test_a_message_that_does_not_open_is_not_found(store: Store, how: str) -> None:
    conversations, _, threads = await threads_of(store)
    messages = [
        await conversations.messages.add(ANN, thread.id, parent_id=None, role="user", content="Of storks, at length.")
        for thread in threads
    ]
    await rot(store, "messages", messages[0].id, ("content",), how)
    # Found by its text, and then another column does not open.
    await rot(store, "messages", messages[1].id, ("metadata",), how)
    await rot(store, "threads", threads[2].id, ("title",), how)
    found = {hit.message.id: hit.thread.title for hit in await conversations.search(ANN, "storks") if hit.message}
    assert found[messages[2].id] == ""
    assert messages[0].id not in found


@pytest.mark.parametrize(("kind", "how"), CASES)
async def test_a_workspace_whose_name_does_not_open(store: Store, how: str) -> None:
    conversations, workspace, _ = await threads_of(store)
    other = await conversations.workspaces.create(ANN, name="Another")
    await rot(store, "workspaces", workspace.id, ("name",), how)
    assert [each.name for each in await conversations.workspaces.list(ANN)] == ["", "Another"]
    assert [each.name for each in await conversations.workspaces.newest(ANN, limit=5)] == ["Another", ""]
    assert await conversations.workspaces.get(ANN, other.id) == other


@pytest.mark.parametrize("kind", ["sealed", "plain"])
async def test_a_thread_that_is_damaged_elsewhere_is_left_out_and_fills_no_page(store: Store) -> None:
    conversations, _, threads = await threads_of(store)
    await rot(store, "threads", threads[2].id, ("slug",), "no UTF-8")
    listed = await conversations.threads.list(ANN, limit=2)
    assert {thread.id for thread in listed} == {threads[0].id, threads[1].id}

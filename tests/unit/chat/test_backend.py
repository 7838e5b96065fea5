"""The backend as one thing: its places and their bounds. Answers: see `tests/integration/test_chat_backend.py`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from headwater.chat.backend import Backend, BackendSettings
from headwater.chat.conversations import Conversations
from headwater.chat.records import Thread
from headwater.chat.settings import ChatSettings
from headwater.errors import InputError, LimitReached, UnknownItem
from headwater.logs import MemoryLog
from headwater.store import Store
from headwater.streams import Hub
from tests.integration.chat_kit import ChatModels

from .conftest import ANN, BOB

BOUNDS = BackendSettings(chat=ChatSettings(max_workspaces=2, max_threads=2, titles="words"))


@pytest.fixture
async def backend(store: Store) -> AsyncIterator[Backend]:
    log = MemoryLog()
    hub = Hub(log)
    backend = Backend(hub, ChatModels({}), store, BOUNDS)
    await hub.start()
    await backend.open()
    yield backend
    await hub.shutdown(0)
    await backend.close()
    await log.close()


async def test_the_default_workspace_is_made_when_it_is_named(backend: Backend) -> None:
    first = await backend.workspace(ANN, "default")
    assert await backend.workspace(ANN, "default") == first
    assert await backend.workspace(ANN, first.id) == first
    assert (await backend.workspace(BOB, "default")).id != first.id
    with pytest.raises(UnknownItem):
        await backend.workspace(ANN, "other")


async def test_there_is_room_for_so_many_of_each_tenants(backend: Backend) -> None:
    workspaces, threads = backend.conversations.workspaces, backend.conversations.threads

    async def make(tenant: str) -> object:
        async with backend.room(tenant, "workspaces"):
            return await workspaces.create(tenant, name="w")

    made = await asyncio.gather(*(make(ANN) for _ in range(5)), return_exceptions=True)
    refusals = [each for each in made if isinstance(each, LimitReached)]
    assert len(refusals) == 3
    assert (refusals[0].kind, refusals[0].most, refusals[0].http_status) == ("workspaces", 2, 409)
    assert refusals[0].message == "there are 2 workspaces already"
    await make(BOB)
    workspace = await workspaces.get(ANN, "w")
    for _ in range(2):
        async with backend.room(ANN, "threads"):
            await threads.create(ANN, workspace.id)
    with pytest.raises(LimitReached, match="2 threads"):
        async with backend.room(ANN, "threads"):
            await threads.create(ANN, workspace.id)
    assert await threads.count(ANN) == 2


async def test_what_fails_inside_leaves_the_room_to_others(backend: Backend) -> None:
    with pytest.raises(InputError):
        async with backend.room(ANN, "workspaces"):
            await backend.conversations.workspaces.create(ANN, name="")
    async with backend.room(ANN, "workspaces"):
        await backend.conversations.workspaces.create(ANN, name="w")


async def test_workspaces_newest_first(conversations: Conversations) -> None:
    made = [await conversations.workspaces.create(ANN, name=name) for name in "abc"]
    newest = conversations.workspaces.newest
    assert await newest(ANN, limit=2) == [made[2], made[1]]
    for before in (made[1].id, made[1].slug):
        assert await newest(ANN, limit=2, before=before) == [made[0]]
    assert await newest(BOB, limit=2) == []
    with pytest.raises(UnknownItem):
        await newest(BOB, limit=2, before=made[1].id)
    with pytest.raises(InputError):
        await newest(ANN, limit=0)


async def test_messages_page_by_page(conversations: Conversations, thread: Thread) -> None:
    messages = conversations.messages
    made = [
        await messages.add(ANN, thread.id, parent_id=None, role="user", content=content) for content in ("1", "2", "3")
    ]
    assert await messages.all(ANN, thread.id) == made
    assert await messages.all(ANN, thread.id, limit=2) == made[1:]
    assert await messages.all(ANN, thread.id, limit=2, before=made[1].number) == made[:1]


async def test_what_is_at_work_by_tenant(conversations: Conversations, thread: Thread) -> None:
    turn = await conversations.messages.add_turn(ANN, thread.id, parent_id=None, content="1", stream_id="s")
    for tenant, found in ((None, [turn.answer]), (ANN, [turn.answer]), (BOB, [])):
        assert await conversations.messages.streaming(tenant=tenant) == found


async def test_an_answer_whose_stream_is_unknown_is_not_at_work(backend: Backend) -> None:
    workspace = await backend.workspace(ANN, "default")
    thread = await backend.conversations.threads.create(ANN, workspace.id)
    await backend.conversations.messages.add_turn(ANN, thread.id, parent_id=None, content="1", stream_id="s")
    assert await backend.at_work(ANN) == []
    [_, answer] = await backend.messages(await backend.conversations.threads.get(ANN, thread.id))
    assert (answer.status, answer.content) == ("failed", "")

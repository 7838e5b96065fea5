"""Threads in the database: numbers, slugs, titles, pages, age, and that tenants cannot see each other's."""

from __future__ import annotations

import asyncio
import time
from typing import Any, get_args

import pytest

from headwater.chat.conversations import Conversations, threads
from headwater.chat.records import Settled, Thread, TitleSource, Workspace
from headwater.errors import InputError, NameTaken, UnknownItem
from headwater.store import Store
from headwater.store.numbers import MAX_NUMBER

from .conftest import ANN, BOB, Clock
from .test_workspaces import add_document, rows


async def test_a_thread_is_there_as_it_was_made(
    conversations: Conversations, workspace: Workspace, clock: Clock
) -> None:
    made = await conversations.threads.create(
        ANN, workspace.id, title=" My  plans ", model="m", metadata={"a": [1, None]}
    )
    assert made == Thread(
        id=made.id,
        tenant=ANN,
        number=1,
        workspace_id=workspace.id,
        slug="my-plans",
        title="My  plans",
        title_source="user",
        model="m",
        metadata={"a": [1, None]},
        created_ms=clock.ms,
        updated_ms=clock.ms,
    )
    assert await conversations.threads.get(ANN, made.id) == made
    assert await conversations.threads.get(ANN, 1) == made
    assert await conversations.threads.get(ANN, "my-plans", workspace_id=workspace.id) == made
    with pytest.raises(UnknownItem):
        # Other workspaces may have the same slug.
        await conversations.threads.get(ANN, "my-plans")


async def test_a_thread_without_title_goes_by_its_id(conversations: Conversations, workspace: Workspace) -> None:
    made = await conversations.threads.create(ANN, workspace.id)
    assert (made.slug, made.title, made.title_source, made.leaf_id, made.messages) == (made.id, "", "", None, 0)


async def test_slugs_are_unique_in_a_workspace(conversations: Conversations, workspace: Workspace) -> None:
    made = [await conversations.threads.create(ANN, workspace.id, title="Plans") for _ in range(3)]
    assert [thread.slug for thread in made] == ["plans", "plans-2", "plans-3"]
    with pytest.raises(NameTaken):
        await conversations.threads.create(ANN, workspace.id, slug="plans")
    other = await conversations.workspaces.create(ANN, name="other")
    elsewhere = await conversations.threads.create(ANN, other.id, slug="plans")
    assert elsewhere.number == 4, "a refusal takes no number"
    assert await conversations.threads.get(ANN, "plans", workspace_id=other.id) == elsewhere
    with pytest.raises(NameTaken):
        await conversations.threads.update(ANN, made[0].id, slug="plans-2")
    assert (await conversations.threads.update(ANN, made[0].id, slug="plans")).slug == "plans"
    for slug in ("..", "a b"):
        with pytest.raises(InputError):
            await conversations.threads.create(ANN, workspace.id, slug=slug)
        with pytest.raises(InputError):
            await conversations.threads.update(ANN, made[0].id, slug=slug)


async def test_a_chosen_number_moves_the_counter(conversations: Conversations, workspace: Workspace) -> None:
    seventh = await conversations.threads.create(ANN, workspace.id, number=7)
    assert seventh.number == 7
    assert (await conversations.threads.create(ANN, workspace.id)).number == 8
    third = await conversations.threads.find_or_create_number(ANN, workspace.id, 3)
    assert third.number == 3, "a number that was passed over is free"
    assert (await conversations.threads.create(ANN, workspace.id)).number == 9
    with pytest.raises(NameTaken) as taken:
        await conversations.threads.create(ANN, workspace.id, number=7)
    assert taken.value.param == "number"
    assert await conversations.threads.find_or_create_number(ANN, workspace.id, 7) == seventh
    other = await conversations.workspaces.create(ANN, name="other")
    assert await conversations.threads.find_or_create_number(ANN, other.id, 7) == seventh


async def test_a_number_is_never_given_again(conversations: Conversations, workspace: Workspace) -> None:
    last = await conversations.threads.create(ANN, workspace.id, number=20)
    await conversations.threads.delete(ANN, last.id)
    assert (await conversations.threads.create(ANN, workspace.id)).number == 21


@pytest.mark.parametrize("number", [0, -1, MAX_NUMBER + 1, 2**64])
async def test_a_number_has_bounds(conversations: Conversations, workspace: Workspace, number: int) -> None:
    with pytest.raises(InputError):
        await conversations.threads.create(ANN, workspace.id, number=number)
    with pytest.raises(InputError):
        await conversations.threads.find_or_create_number(ANN, workspace.id, number)
    with pytest.raises(UnknownItem):
        await conversations.threads.get(ANN, number)
    assert (await conversations.threads.create(ANN, workspace.id, number=MAX_NUMBER)).number == MAX_NUMBER


async def test_two_who_find_or_create_at_once_get_the_same(conversations: Conversations, workspace: Workspace) -> None:
    by_slug = await asyncio.gather(
        *(conversations.threads.find_or_create(ANN, workspace.id, "session") for _ in range(6))
    )
    by_number = await asyncio.gather(
        *(conversations.threads.find_or_create_number(ANN, workspace.id, 5) for _ in range(6))
    )
    assert len({thread.id for thread in by_slug}) == len({thread.id for thread in by_number}) == 1
    assert (by_slug[0].slug, by_slug[0].title, by_number[0].number) == ("session", "", 5)
    for slug in ("", "a/b"):
        with pytest.raises(InputError):
            await conversations.threads.find_or_create(ANN, workspace.id, slug)
    for workspace_id in ("unknown", "a\x00"):
        with pytest.raises(UnknownItem, match="workspace"):
            await conversations.threads.find_or_create(ANN, workspace_id, "slug")
        with pytest.raises(UnknownItem, match="workspace"):
            await conversations.threads.find_or_create_number(ANN, workspace_id, 99)


async def test_a_list_is_in_pages_the_last_active_first(conversations: Conversations, workspace: Workspace) -> None:
    other = await conversations.workspaces.create(ANN, name="other")
    made = [await conversations.threads.create(ANN, (workspace, other)[n % 2].id) for n in range(6)]
    await conversations.messages.add(ANN, made[0].id, parent_id=None, role="user", content="hello")
    found = await conversations.threads.list(ANN, limit=4)
    assert [thread.number for thread in found] == [1, 6, 5, 4]
    assert found[0].messages == 1 and found[1].messages == 0
    rest = await conversations.threads.list(ANN, limit=4, before=found[-1].id)
    assert [thread.number for thread in rest] == [3, 2]
    assert await conversations.threads.list(ANN, before=rest[-1].id) == []
    within = await conversations.threads.list(ANN, workspace_id=workspace.id)
    assert [thread.number for thread in within] == [1, 5, 3]
    assert await conversations.threads.count(ANN) == 6
    for limit in (0, 1001):
        with pytest.raises(InputError):
            await conversations.threads.list(ANN, limit=limit)
    for cursor in ("unknown", "a\x00"):
        with pytest.raises(UnknownItem):
            await conversations.threads.list(ANN, before=cursor)


async def test_pages_hold_where_all_were_active_in_one_millisecond(
    store: Store, workspace: Workspace, conversations: Conversations
) -> None:
    still = Conversations(store, lambda: 1_700_000_000_000)
    made = {(await still.threads.create(ANN, workspace.id)).id for _ in range(7)}
    found: list[str] = []
    while page := await conversations.threads.list(ANN, limit=2, before=found[-1] if found else None):
        found += [thread.id for thread in page]
    assert len(found) == 7 and set(found) == made


async def test_a_title_gives_way_to_one_of_higher_rank(conversations: Conversations, thread: Thread) -> None:
    sources: list[TitleSource] = ["words", "model", "words", "user", "model", "words", "user"]
    titles = []
    for n, source in enumerate(sources):
        changed = await conversations.threads.update(
            ANN, thread.id, title=f"{source} {n}", title_source=source, metadata={"n": n}
        )
        assert changed.metadata == {"n": n}, "the rest changes all the same"
        titles.append((changed.title, changed.title_source))
    assert [title for title, _ in titles] == ["words 0", "model 1", "model 1", *["user 3"] * 3, "user 6"]
    assert [source for _, source in titles] == ["words", "model", "model", *["user"] * 4]
    changed = await conversations.threads.update(ANN, thread.id, title="  ")
    assert (changed.title, changed.title_source) == ("", ""), "taken away, so that the next one counts"
    changed = await conversations.threads.update(ANN, thread.id, title="again", title_source="words")
    assert changed.title == "again"


def test_every_source_of_a_title_has_its_rank() -> None:
    assert set(threads.TITLE_SOURCES) == set(get_args(TitleSource))


async def test_an_update_changes_what_it_names(conversations: Conversations, thread: Thread) -> None:
    changed = await conversations.threads.update(ANN, thread.id, model="m", metadata={"a": 1})
    assert (changed.model, changed.metadata, changed.title, changed.slug) == ("m", {"a": 1}, "", thread.slug)
    changed = await conversations.threads.update(ANN, thread.id, model="")
    assert (changed.model, changed.metadata) == ("", {"a": 1})
    wrong: list[dict[str, Any]] = [{"title": "x" * 501}, {"title": "x", "title_source": "x"}, {"model": "x" * 501}]
    for fields in [*wrong, {"metadata": []}, {"metadata": {"a": "x" * 70_000}}]:
        with pytest.raises(InputError):
            await conversations.threads.update(ANN, thread.id, **fields)


async def test_deleting_takes_everything_in_it(
    conversations: Conversations, store: Store, workspace: Workspace
) -> None:
    thread, kept = [await conversations.threads.create(ANN, workspace.id) for _ in range(2)]
    for each, stream_id in ((thread, "s1"), (kept, "s2")):
        await conversations.messages.add_turn(ANN, each.id, parent_id=None, content="q", stream_id=stream_id)
        await add_document(store, workspace.id, each.id, stream_id=f"d{stream_id}")
    await add_document(store, workspace.id, None, stream_id="whole workspace")
    assert await conversations.threads.delete(ANN, thread.id) == ["s1", "ds1"]
    assert {name: await rows(store, name) for name in ("threads", "messages", "documents", "passages")} == {
        "threads": 1,
        "messages": 2,
        "documents": 2,
        "passages": 2,
    }


async def test_threads_without_activity_expire(
    conversations: Conversations, workspace: Workspace, clock: Clock
) -> None:
    his_workspace = await conversations.workspaces.create(BOB, name="his")
    old = await conversations.threads.create(ANN, workspace.id)
    his = await conversations.threads.create(BOB, his_workspace.id)
    busy = await conversations.threads.create(ANN, workspace.id)
    turn = await conversations.messages.add_turn(ANN, busy.id, parent_id=None, content="q", stream_id="s")
    active = await conversations.threads.create(ANN, workspace.id)
    border = clock.ms + 1
    await conversations.messages.add(ANN, active.id, parent_id=None, role="user", content="still here")
    assert await conversations.expire(old.updated_ms) == 0, "its last activity is not before itself"
    assert await conversations.expire(border) == 2
    assert await conversations.expire(border) == 0
    for tenant, thread in ((ANN, old), (BOB, his)):
        with pytest.raises(UnknownItem):
            await conversations.threads.get(tenant, thread.id)
    assert await conversations.messages.settle("s", Settled(content="a", status="done", finished_ms=border - 1))
    assert await conversations.expire(border) == 1
    with pytest.raises(UnknownItem):
        await conversations.messages.get(ANN, turn.answer.id)
    assert [thread.id for thread in await conversations.threads.list(ANN)] == [active.id]


async def test_expiring_goes_on_until_all_are_gone(
    conversations: Conversations, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "EXPIRE_AT_ONCE", 2)
    for _ in range(5):
        await conversations.threads.create(ANN, workspace.id)
    assert await conversations.expire(2**53) == 5


async def test_tenants_have_slugs_and_numbers_of_their_own(conversations: Conversations, workspace: Workspace) -> None:
    hers = await conversations.threads.create(ANN, workspace.id, slug="same")
    his_workspace = await conversations.workspaces.create(BOB, name="his")
    his = await conversations.threads.find_or_create(BOB, his_workspace.id, "same")
    assert (his.slug, his.number) == (hers.slug, hers.number) and his.id != hers.id
    assert await conversations.threads.get(BOB, 1) == his
    assert await conversations.threads.find_or_create_number(BOB, his_workspace.id, 1) == his
    assert await conversations.threads.find_or_create_number(ANN, workspace.id, 1) == hers


async def test_another_tenants_thread_is_unknown(
    conversations: Conversations, workspace: Workspace, thread: Thread
) -> None:
    calls = [
        conversations.threads.create(BOB, workspace.id),
        conversations.threads.find_or_create(BOB, workspace.id, thread.slug),
        conversations.threads.find_or_create_number(BOB, workspace.id, thread.number),
        conversations.threads.get(BOB, thread.id),
        conversations.threads.get(BOB, thread.number),
        conversations.threads.get(BOB, thread.slug, workspace_id=workspace.id),
        conversations.threads.list(BOB, workspace_id=workspace.id),
        conversations.threads.list(BOB, before=thread.id),
        conversations.threads.update(BOB, thread.id, title="his"),
        conversations.threads.update(BOB, thread.id, slug="his"),
        conversations.threads.delete(BOB, thread.id),
    ]
    for call in calls:
        with pytest.raises(UnknownItem):
            await call
    assert await conversations.threads.list(BOB) == [] and await conversations.threads.count(BOB) == 0
    assert await conversations.threads.get(ANN, thread.id) == thread


async def test_a_thread_of_another_workspace_is_unknown_where_one_is_named(
    conversations: Conversations, thread: Thread
) -> None:
    other = await conversations.workspaces.create(ANN, name="other")
    for ref in (thread.id, thread.slug, thread.number):
        for workspace_id in (other.id, "a\x00"):
            with pytest.raises(UnknownItem):
                await conversations.threads.get(ANN, ref, workspace_id=workspace_id)
    for ref in ("a\x00", "", 2**64):
        with pytest.raises(UnknownItem):
            await conversations.threads.get(ANN, ref)


async def test_without_a_clock_of_ones_own_it_is_the_worlds(store: Store) -> None:
    """Milliseconds: a thread from 1970 would be the first to expire."""
    before = time.time_ns() // 1_000_000
    conversations = Conversations(store)
    workspace = await conversations.workspaces.create(ANN, name="now")
    thread = await conversations.threads.create(ANN, workspace.id)
    assert before <= thread.created_ms <= time.time_ns() // 1_000_000

"""Workspaces in the database: names, slugs, numbers, limits, and that tenants cannot see each other's."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from headwater.chat.conversations import Conversations
from headwater.chat.conversations.slugs import check_slug, free_slug, slug_of
from headwater.chat.records import Workspace
from headwater.errors import InputError, NameTaken, UnknownItem
from headwater.store import Store, tables
from headwater.store.numbers import MAX_NUMBER, reserve_number, take_numbers

from .conftest import ANN, BOB, Clock


async def rows(store: Store, name: str) -> int:
    from sqlalchemy import func, select

    async with store.read() as connection:
        return int(
            (await connection.execute(select(func.count()).select_from(tables.metadata.tables[name]))).scalar_one()
        )


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Ann's notes", "ann-s-notes"),
        ("  École  d'été ", "ecole-d-ete"),
        ("Straße 7", "strasse-7"),
        ("研究", "other"),
        ("---", "other"),
        ("x" * 300, "x" * 100),
        ("a" * 99 + " b", "a" * 99),
    ],
)
def test_a_slug_is_made_from_the_name(name: str, slug: str) -> None:
    assert slug_of(name, otherwise="other") == slug
    assert check_slug(slug) == slug


@pytest.mark.parametrize("slug", ["", ".", "..", "a/b", "a b", "é", "a\n", "x" * 129, "a\x00", "a%2f"])
def test_a_slug_that_an_address_cannot_carry_is_refused(slug: str) -> None:
    with pytest.raises(InputError) as refused:
        check_slug(slug)
    assert refused.value.param == "slug"


@pytest.mark.parametrize("taken", [0, 1, 2, 3, 7, 8, 100, 1000])
async def test_a_free_slug_is_the_next_and_found_without_asking_for_each(taken: int) -> None:
    used = {"a"} | {f"a-{n}" for n in range(2, taken + 1)} if taken else set()
    asked = 0

    async def is_taken(slug: str) -> bool:
        nonlocal asked
        asked += 1
        return slug in used

    assert await free_slug("a", is_taken) == (f"a-{taken + 1}" if taken else "a")
    assert asked <= 2 * math.log2(taken + 2) + 2


async def test_a_workspace_is_there_as_it_was_made(conversations: Conversations, clock: Clock) -> None:
    made = await conversations.workspaces.create(
        ANN,
        name=" Research ",
        mode="query",
        system_prompt="Be brief.",
        model="m",
        temperature=1,
        history_turns=0,
        history_tokens=10,
        passages=3,
        min_score=0.5,
        refusal="No.",
        metadata={"color": "red"},
    )
    assert made == Workspace(
        id=made.id,
        tenant=ANN,
        number=1,
        slug="research",
        name="Research",
        mode="query",
        system_prompt="Be brief.",
        model="m",
        temperature=1.0,
        history_turns=0,
        history_tokens=10,
        passages=3,
        min_score=0.5,
        refusal="No.",
        metadata={"color": "red"},
        created_ms=clock.ms,
        updated_ms=clock.ms,
    )
    for ref in (made.id, "research", 1):
        assert await conversations.workspaces.get(ANN, ref) == made


async def test_what_is_left_open_is_the_settings_to_say(conversations: Conversations) -> None:
    made = await conversations.workspaces.create(ANN, name="Plain")
    assert (made.mode, made.model, made.temperature, made.passages, made.metadata) == ("chat", "", None, None, {})


async def test_equal_names_get_slugs_of_their_own(conversations: Conversations) -> None:
    made = [await conversations.workspaces.create(ANN, name="Notes") for _ in range(4)]
    assert [workspace.slug for workspace in made] == ["notes", "notes-2", "notes-3", "notes-4"]
    assert [workspace.number for workspace in made] == [1, 2, 3, 4]


async def test_a_chosen_slug_is_taken_once(conversations: Conversations) -> None:
    await conversations.workspaces.create(ANN, name="One", slug="mine")
    with pytest.raises(NameTaken):
        await conversations.workspaces.create(ANN, name="Two", slug="mine")
    other = await conversations.workspaces.create(ANN, name="Two")
    assert other.number == 2, "a refusal takes no number"
    with pytest.raises(NameTaken):
        await conversations.workspaces.update(ANN, other.id, slug="mine")
    assert (await conversations.workspaces.update(ANN, other.id, slug="two")).slug == "two"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 3}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"mode": "guess"}, "mode"),
        ({"passages": -1}, "passages"),
        ({"min_score": 1.1}, "min_score"),
        ({"history_turns": 1.5}, "history_turns"),
        ({"system_prompt": "x" * 200_001}, "system_prompt"),
        ({"unknown": 1}, "unknown"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"a": object()}}, "metadata"),
        ({"metadata": {"a": "x" * 70_000}}, "metadata"),
    ],
)
async def test_a_field_that_cannot_be_is_named(conversations: Conversations, fields: Any, param: str) -> None:
    workspace = await conversations.workspaces.create(ANN, name="Notes")
    with pytest.raises(InputError) as refused:
        await conversations.workspaces.create(ANN, name="n", **fields)
    assert refused.value.param == param
    with pytest.raises(InputError) as refused:
        await conversations.workspaces.update(ANN, workspace.id, **fields)
    assert refused.value.param == param
    assert await conversations.workspaces.get(ANN, workspace.id) == workspace


@pytest.mark.parametrize("name", ["", "   ", "x" * 501])
async def test_a_name_has_bounds(conversations: Conversations, name: str) -> None:
    workspace = await conversations.workspaces.create(ANN, name="Notes")
    with pytest.raises(InputError):
        await conversations.workspaces.create(ANN, name=name)
    with pytest.raises(InputError):
        await conversations.workspaces.update(ANN, workspace.id, name=name)


async def test_metadata_is_not_nested_without_end(conversations: Conversations) -> None:
    deep: dict[str, object] = {}
    for _ in range(5000):
        deep = {"a": deep}
    with pytest.raises(InputError, match="nested"):
        await conversations.workspaces.create(ANN, name="n", metadata=deep)


async def test_what_no_database_can_hold_is_replaced(conversations: Conversations) -> None:
    made = await conversations.workspaces.create(
        ANN,
        name="a\x00b",
        system_prompt="\ud800",
        metadata={"\x00": ["\udfff", {"n": math.inf}], "deep": 1.5},
    )
    again = await conversations.workspaces.get(ANN, made.id)
    assert (again.name, again.system_prompt) == ("a\ufffdb", "\ufffd")
    assert again.metadata == {"\ufffd": ["\ufffd", {"n": None}], "deep": 1.5}
    assert again == made


async def test_an_update_changes_what_it_names(conversations: Conversations, workspace: Workspace) -> None:
    changed = await conversations.workspaces.update(ANN, workspace.id, name="New", temperature=0.5, passages=2)
    assert (changed.name, changed.temperature, changed.passages) == ("New", 0.5, 2)
    assert changed.slug == workspace.slug and changed.updated_ms > workspace.updated_ms
    changed = await conversations.workspaces.update(ANN, workspace.id, temperature=None)
    assert (changed.temperature, changed.passages) == (None, 2)
    assert await conversations.workspaces.get(ANN, workspace.id) == changed


async def test_two_who_find_or_create_at_once_get_the_same(conversations: Conversations) -> None:
    found = await asyncio.gather(*(conversations.workspaces.find_or_create(ANN, "shared") for _ in range(8)))
    assert len({workspace.id for workspace in found}) == 1
    assert found[0].name == "shared"
    assert await conversations.workspaces.find_or_create(ANN, "shared", "Another name") == found[0]
    assert (await conversations.workspaces.find_or_create(ANN, "other", "Its name")).name == "Its name"
    with pytest.raises(InputError):
        await conversations.workspaces.find_or_create(ANN, "a/b")


async def test_many_who_create_at_once_get_slugs_and_numbers_of_their_own(conversations: Conversations) -> None:
    made = await asyncio.gather(*(conversations.workspaces.create(ANN, name="Notes") for _ in range(8)))
    assert {workspace.number for workspace in made} == set(range(1, 9))
    assert len({workspace.slug for workspace in made}) == 8


async def test_a_list_is_in_pages(conversations: Conversations) -> None:
    made = [await conversations.workspaces.create(ANN, name=f"n{n}") for n in range(5)]
    await conversations.workspaces.create(BOB, name="his")
    first = await conversations.workspaces.list(ANN, limit=3)
    rest = await conversations.workspaces.list(ANN, limit=3, after=first[-1].number)
    assert first + rest == made
    assert await conversations.workspaces.count(ANN) == 5
    for limit in (0, 1001):
        with pytest.raises(InputError):
            await conversations.workspaces.list(ANN, limit=limit)


async def test_an_id_comes_before_a_slug_that_looks_like_it(conversations: Conversations) -> None:
    first = await conversations.workspaces.create(ANN, name="first")
    second = await conversations.workspaces.create(ANN, name="second", slug=first.id)
    assert await conversations.workspaces.get(ANN, first.id) == first
    await conversations.workspaces.delete(ANN, first.id)
    assert await conversations.workspaces.get(ANN, first.id) == second


async def test_deleting_takes_everything_in_it(
    conversations: Conversations, store: Store, workspace: Workspace
) -> None:
    other = await conversations.workspaces.create(ANN, name="other")
    kept = await conversations.threads.create(ANN, other.id)
    await conversations.messages.add(ANN, kept.id, parent_id=None, role="user", content="stays")
    thread = await conversations.threads.create(ANN, workspace.id)
    await conversations.messages.add_turn(ANN, thread.id, parent_id=None, content="q", stream_id="s1")
    await add_document(store, workspace.id, thread.id, stream_id="s2")
    await add_document(store, workspace.id, None, stream_id="s3")
    assert sorted(await conversations.workspaces.delete(ANN, workspace.id)) == ["s1", "s2", "s3"]
    found = {name: await rows(store, name) for name in ("workspaces", "threads", "messages", "documents", "passages")}
    assert found == {"workspaces": 1, "threads": 1, "messages": 1, "documents": 0, "passages": 0}
    with pytest.raises(UnknownItem):
        await conversations.workspaces.delete(ANN, workspace.id)


async def test_a_number_is_never_given_again(conversations: Conversations) -> None:
    first = await conversations.workspaces.create(ANN, name="n")
    await conversations.workspaces.delete(ANN, first.id)
    assert (await conversations.workspaces.create(ANN, name="n")).number == 2


async def test_tenants_have_slugs_and_numbers_of_their_own(conversations: Conversations, workspace: Workspace) -> None:
    his = await conversations.workspaces.create(BOB, name="Ann's notes")
    assert (his.slug, his.number) == (workspace.slug, workspace.number) and his.id != workspace.id
    assert await conversations.workspaces.get(BOB, 1) == his
    assert await conversations.workspaces.get(BOB, his.slug) == his
    assert (await conversations.workspaces.find_or_create(BOB, workspace.slug)) == his


async def test_another_tenants_workspace_is_unknown(conversations: Conversations, workspace: Workspace) -> None:
    calls = [
        conversations.workspaces.get(BOB, workspace.id),
        conversations.workspaces.get(BOB, workspace.slug),
        conversations.workspaces.get(BOB, workspace.number),
        conversations.workspaces.update(BOB, workspace.id, name="his"),
        conversations.workspaces.update(BOB, workspace.id, slug="his"),
        conversations.workspaces.delete(BOB, workspace.id),
    ]
    for call in calls:
        with pytest.raises(UnknownItem, match="no such workspace"):
            await call
    assert await conversations.workspaces.list(BOB) == [] and await conversations.workspaces.count(BOB) == 0
    assert await conversations.workspaces.get(ANN, workspace.id) == workspace


@pytest.mark.parametrize("ref", ["", "a\x00", "\ud800", "%", 0, -1, 2**53, 2**70])
async def test_a_ref_that_no_row_has_is_unknown(conversations: Conversations, workspace: Workspace, ref: Any) -> None:
    with pytest.raises(UnknownItem):
        await conversations.workspaces.get(ANN, ref)
    if isinstance(ref, str):
        with pytest.raises(UnknownItem):
            await conversations.workspaces.delete(ANN, ref)
        with pytest.raises(UnknownItem):
            await conversations.workspaces.update(ANN, ref, name="n")


async def test_numbers_end_where_json_does(store: Store) -> None:
    async with store.write() as connection:
        await reserve_number(connection, ANN, "threads", MAX_NUMBER - 2)
        assert await take_numbers(connection, ANN, "threads", count=2) == MAX_NUMBER - 1
    with pytest.raises(InputError, match="used up"):
        async with store.write() as connection:
            await take_numbers(connection, ANN, "threads")
    for number in (0, MAX_NUMBER + 1):
        with pytest.raises(InputError):
            async with store.write() as connection:
                await reserve_number(connection, ANN, "threads", number)


async def add_document(store: Store, workspace_id: str, thread_id: str | None, *, stream_id: str) -> None:
    """A document with a passage, as `documents` would keep it."""
    now = {"created_ms": 1, "updated_ms": 1}
    async with store.write() as connection:
        number = await take_numbers(connection, ANN, "documents")
        own = {"id": f"d{number}", "tenant": ANN, "number": number, "workspace_id": workspace_id, "metadata": {}}
        named = {"thread_id": thread_id, "name": "n", "media_type": "text/plain", "stream_id": stream_id}
        await connection.execute(tables.documents.insert().values(**own, **named, **now))
        passage = {"document_id": f"d{number}", "version": 1, "ordinal": 0, "text": "t", "start": 0, "end": 1}
        await connection.execute(tables.passages.insert().values(tenant=ANN, workspace_id=workspace_id, **passage))

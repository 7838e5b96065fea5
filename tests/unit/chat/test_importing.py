"""A conversation from a file: nothing of it is believed, and what is wrong is named by its place."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.chat.conversations import Conversations
from headwater.chat.importing import ImportLimits, content_and_parts, parse_import
from headwater.chat.records import Imported, ImportedMessage, Thread, Workspace
from headwater.errors import InputError, UnknownItem

from .conftest import ANN, BOB, Clock


def a_file(*messages: dict[str, object], **thread: object) -> dict[str, Any]:
    return {"format": "headwater-thread", "version": 1, "thread": thread, "messages": list(messages)}


def a_message(message_id: str, parent_id: str | None = None, **fields: object) -> dict[str, object]:
    return {"id": message_id, "parent_id": parent_id, "role": "user"} | fields


def a_deep_value(depth: int) -> dict[str, object]:
    deep: dict[str, object] = {}
    for _ in range(depth):
        deep = {"a": deep}
    return deep


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"format": "other"}, "format"),
        ({"format": "headwater-thread"}, "version"),
        (a_file() | {"version": 2}, "version"),
        (a_file() | {"version": "1"}, "version"),
        (a_file() | {"messages": {}}, "messages"),
        ({"format": "headwater-thread", "version": 1, "messages": []}, None),
        (a_file(a_message("a"), a_message("a")), "messages[1].id"),
        (a_file(a_message("")), "messages[0].id"),
        (a_file(a_message("a"), a_message("b", "c")), "messages[1].parent_id"),
        (a_file(a_message("a", "a")), "messages[0].parent_id"),
        (
            a_file(a_message("r"), a_message("a", "c"), a_message("b", "a"), a_message("c", "b")),
            "messages[1].parent_id",
        ),
        (a_file(a_message("a", role="robot")), "messages[0].role"),
        (a_file(a_message("a", status="?")), "messages[0].status"),
        (a_file(a_message("a", content=7)), "messages[0].content"),
        (a_file(a_message("a", created_ms=-1)), "messages[0].created_ms"),
        (a_file(a_message("a", finished_ms=2**60)), "messages[0].finished_ms"),
        (a_file(a_message("a", model="x" * 501)), "messages[0].model"),
        (a_file(a_message("a", sources=[{"title": "no text"}])), "messages[0].sources[0]"),
        (a_file(a_message("a", usage={"prompt_tokens": "many"})), "messages[0].usage.prompt_tokens"),
        (a_file(a_message("a", parts=[{"type": "file"}, {"file": {}}])), "messages[0].parts[1]"),
        (a_file(a_message("a"), a_message("b", metadata=a_deep_value(40))), "messages[1].metadata"),
        (a_file(a_message("a", metadata={"a": "x" * 70_000})), "messages[0].metadata"),
        (a_file(a_message("a", content="x" * 2001)), "messages[0].content"),
        (a_file(a_message("a", reasoning="x" * 2001)), "messages[0].reasoning"),
        (a_file(title="x" * 501), "thread.title"),
        (a_file(title_source="x"), "thread.title_source"),
        (a_file(metadata=a_deep_value(40)), "thread.metadata"),
        (a_file(a_message("a"), leaf_id="b"), "thread.leaf_id"),
        (a_file(*[a_message(str(n)) for n in range(6)]), "messages"),
        (a_file(a_message("a", parts=[{"type": "x", "x": "x" * 300_000}])), None),
        (a_file(a_message("a", parts=[a_deep_value(100_000)])), None),
        (a_file(a_message("a", content="\ud800")), None),
        ({"messages": [{"role": "robot"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user"}, {"role": "user", "content": [{"text": "x"}]}]}, "messages[1].content[0]"),
        ({"messages": [{"role": "user", "content": "x" * 2001}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "tool_calls": [a_deep_value(40)]}]}, "messages[0]"),
        ({"messages": [{"role": "user"}] * 6}, "messages"),
        ({"title": "no messages"}, None),
        ({}, None),
    ],
)
def test_what_is_wrong_is_named_by_its_place(body: dict[str, Any], param: str | None) -> None:
    with pytest.raises(InputError) as refused:
        parse_import(body, ImportLimits(messages=5, message_characters=2000, bytes=200_000))
    assert refused.value.param == param
    assert param is None or param in refused.value.message or param in ("format", "version", "messages")


def test_children_may_stand_before_their_parents() -> None:
    imported = parse_import(
        a_file(
            a_message("c", "b", content="c"),
            a_message("d", "a", content="d"),
            a_message("b", "a", content="b"),
            a_message("a", content="a"),
        )
    )
    assert [(m.content, m.parent) for m in imported.messages] == [("a", None), ("d", 0), ("b", 0), ("c", 2)]
    assert imported.leaf == 3


@settings(deadline=None)
@given(st.integers(0, 60), st.randoms())
def test_any_order_in_the_file_gives_the_same_tree(count: int, chance: random.Random) -> None:
    parents = {n: chance.choice([None, *range(n)]) for n in range(count)}
    messages = [
        a_message(str(n), None if parent is None else str(parent), content=str(n)) for n, parent in parents.items()
    ]
    chance.shuffle(messages)
    imported = parse_import(a_file(*messages))
    contents = [message.content for message in imported.messages]
    for place, message in enumerate(imported.messages):
        assert message.parent is None or message.parent < place
        parent = parents[int(message.content)]
        assert (None if message.parent is None else contents[message.parent]) == (
            None if parent is None else str(parent)
        )


def test_a_deep_file_costs_no_stack() -> None:
    messages = [a_message(str(n), str(n - 1) if n else None) for n in range(10_000)]
    assert parse_import(a_file(*messages)).leaf == 9_999
    assert parse_import(a_file(*messages[::-1])).messages[-1].parent == 9_998


def test_an_answer_that_was_being_made_was_cut() -> None:
    (message,) = parse_import(a_file(a_message("a", status="streaming", content="half", stream_id="s"))).messages
    assert (message.status, message.finish_reason, message.content) == ("cancelled", "cancelled", "half")


def test_a_list_in_openais_shape_is_one_path() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    imported = parse_import(
        {
            "title": "Weather",
            "messages": [
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "a"}, image, {"type": "text", "text": "b"}]},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "content": "sun", "tool_call_id": "c"},
                {"role": "assistant", "content": "Sun."},
            ],
        }
    )
    assert imported == Imported(
        title="Weather",
        title_source="user",
        leaf=4,
        messages=[
            ImportedMessage(role="system", parent=None, content="Be brief."),
            ImportedMessage(role="user", parent=0, content="a\nb", parts=[image]),
            ImportedMessage(role="assistant", parent=1, metadata={"tool_calls": [call]}),
            ImportedMessage(role="tool", parent=2, content="sun", metadata={"tool_call_id": "c"}),
            ImportedMessage(role="assistant", parent=3, content="Sun."),
        ],
    )
    assert parse_import({"messages": []}).leaf is None
    assert content_and_parts([{"type": "text"}, {"type": "text", "text": 7}]) == ("", [])


async def test_an_import_has_times_of_its_own_only_where_the_file_has_none(
    conversations: Conversations, workspace: Workspace, clock: Clock
) -> None:
    now_ms = clock.ms
    imported = parse_import(
        a_file(
            a_message("a", created_ms=5, finished_ms=9),
            a_message("b", "a", created_ms=now_ms * 2),
            a_message("c", "b"),
            created_ms=5,
        )
    )
    thread = await conversations.import_thread(ANN, workspace.id, imported)
    first, second, third = await conversations.messages.all(ANN, thread.id)
    assert (first.created_ms, first.finished_ms) == (5, 9)
    for message in (second, third):
        assert now_ms < message.created_ms == message.finished_ms <= clock.ms
    assert (thread.created_ms, thread.messages, thread.leaf_id) == (5, 3, third.id)
    assert thread.updated_ms > now_ms, "an old file is not a thread without activity"
    assert await conversations.messages.path(ANN, thread.id) == [first, second, third]


async def test_an_empty_list_is_an_empty_thread(conversations: Conversations, workspace: Workspace) -> None:
    thread = await conversations.import_thread(ANN, workspace.id, parse_import({"messages": []}))
    assert (thread.title, thread.title_source, thread.leaf_id, thread.messages) == ("", "", None, 0)


async def test_an_import_is_whole_or_not_at_all(
    conversations: Conversations, workspace: Workspace, thread: Thread
) -> None:
    imported = parse_import({"title": "t", "messages": [{"role": "user", "content": "x"}]})
    for tenant, workspace_id in ((BOB, workspace.id), (ANN, "unknown"), (ANN, "a\x00")):
        with pytest.raises(UnknownItem):
            await conversations.import_thread(tenant, workspace_id, imported)
    assert await conversations.threads.list(ANN) == [thread]
    assert (await conversations.import_thread(ANN, workspace.id, imported)).number == 2

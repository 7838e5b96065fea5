"""Messages in the database: turns, branches, ends, search, and that tenants cannot see each other's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headwater.chat.conversations import Conversations
from headwater.chat.records import Message, Settled, Siblings, Thread, Workspace
from headwater.errors import InputError, UnknownItem
from headwater.events import Error, Source, Usage

from .conftest import ANN, BOB, Clock

DONE = Settled(content="It is 4.", status="done", finished_ms=1_700_000_001_000, finish_reason="stop")


class Asking:
    """A thread that questions are put to; streams are `s1`, `s2` …"""

    def __init__(self, conversations: Conversations, thread: Thread) -> None:
        self.messages = conversations.messages
        self._threads = conversations.threads
        self._id = thread.id
        self._streams = 0

    async def ask(self, content: str, parent_id: str | None = None, *, regenerate: bool = False) -> Any:
        self._streams += 1
        stream_id = f"s{self._streams}"
        return await self.messages.add_turn(
            ANN, self._id, parent_id=parent_id, content=content, stream_id=stream_id, regenerate=regenerate
        )

    async def path(self, leaf_id: str | None = None) -> list[str]:
        return [message.id for message in await self.messages.path(ANN, self._id, leaf_id)]

    async def leaf(self) -> str | None:
        return (await self._threads.get(ANN, self._id)).leaf_id


@pytest.fixture
def asking(conversations: Conversations, thread: Thread) -> Asking:
    return Asking(conversations, thread)


async def test_a_turn_is_a_question_and_an_answer_that_is_being_made(
    conversations: Conversations, thread: Thread, clock: Clock
) -> None:
    image: dict[str, object] = {"type": "image_url", "image_url": {"url": "data:,"}}
    turn = await conversations.messages.add_turn(
        ANN, thread.id, parent_id=None, content="2+2?", parts=[image], stream_id="s", model="m"
    )
    now = {"tenant": ANN, "thread_id": thread.id, "created_ms": clock.ms}
    question, answer = turn.question, turn.answer
    assert question == Message(
        id=question.id if question else "",
        number=1,
        parent_id=None,
        role="user",
        content="2+2?",
        parts=[image],
        finished_ms=clock.ms,
        **now,
    )
    assert answer == Message(
        id=answer.id,
        number=2,
        parent_id=question.id,
        role="assistant",
        status="streaming",
        stream_id="s",
        model="m",
        **now,
    )
    assert turn.leaf_before is None
    assert await conversations.messages.path(ANN, thread.id) == [question, answer]
    assert await conversations.messages.get(ANN, answer.id) == answer
    assert await conversations.messages.get(ANN, 2) == answer
    assert await conversations.messages.by_stream("s") == answer
    again = await conversations.threads.get(ANN, thread.id)
    assert (again.leaf_id, again.messages, again.updated_ms) == (answer.id, 2, clock.ms)


async def test_asking_anew_and_regenerating_make_branches(asking: Asking) -> None:
    first = await asking.ask("one")
    second = await asking.ask("two", first.answer.id)
    anew = await asking.ask("two, anew", first.answer.id)
    again = await asking.ask("", anew.question.id, regenerate=True)
    assert again.question is None
    trunk = [first.question.id, first.answer.id]
    assert await asking.path() == [*trunk, anew.question.id, again.answer.id]
    assert await asking.path(second.answer.id) == [*trunk, second.question.id, second.answer.id]
    assert await asking.path(anew.answer.id) == [*trunk, anew.question.id, anew.answer.id]
    questions = [second.question.id, anew.question.id]
    assert await asking.messages.siblings(ANN, anew.question.id) == Siblings(1, questions)
    assert (await asking.messages.siblings(ANN, first.question.id)).count == 1
    branches = await asking.messages.branches(ANN, first.answer.thread_id)
    assert branches[second.question.id] == Siblings(0, questions)
    assert branches[again.answer.id] == Siblings(1, [anew.answer.id, again.answer.id])
    everything = await asking.messages.all(ANN, first.answer.thread_id)
    assert [message.number for message in everything] == [1, 2, 3, 4, 5, 6, 7]
    assert branches == {m.id: await asking.messages.siblings(ANN, m.id) for m in everything}


async def test_a_second_root_is_a_branch_too(asking: Asking) -> None:
    first, second = await asking.ask("one"), await asking.ask("one, anew")
    ids = [first.question.id, second.question.id]
    assert await asking.messages.siblings(ANN, second.question.id) == Siblings(1, ids)
    assert await asking.path() == [second.question.id, second.answer.id]


async def test_the_last_of_a_path_can_be_read_alone(asking: Asking) -> None:
    turn = await asking.ask("one")
    for n in range(4):
        turn = await asking.ask(str(n), turn.answer.id)
    last = await asking.messages.path(ANN, turn.answer.thread_id, limit=3)
    assert [message.id for message in last] == (await asking.path())[-3:]


async def test_choosing_a_branch_goes_to_its_newest_leaf(asking: Asking) -> None:
    first = await asking.ask("one")
    left = await asking.ask("left", first.answer.id)
    left_end = await asking.ask("left, on", left.answer.id)
    right = await asking.ask("right", first.answer.id)
    assert await asking.leaf() == right.answer.id
    thread = await asking.messages.set_leaf(ANN, first.answer.thread_id, left.question.id)
    assert thread.leaf_id == left_end.answer.id == await asking.leaf()
    assert (await asking.messages.set_leaf(ANN, thread.id, first.question.id)).leaf_id == right.answer.id
    assert (await asking.messages.set_leaf(ANN, thread.id, left.answer.id)).leaf_id == left_end.answer.id
    with pytest.raises(UnknownItem):
        await asking.messages.set_leaf(ANN, thread.id, "unknown")


async def test_looking_at_a_branch_is_no_activity(asking: Asking, conversations: Conversations, thread: Thread) -> None:
    first = await asking.ask("one")
    await asking.ask("two")
    before = await conversations.threads.get(ANN, thread.id)
    after = await asking.messages.set_leaf(ANN, thread.id, first.question.id)
    assert after.updated_ms == before.updated_ms
    assert after == await conversations.threads.get(ANN, thread.id)


async def test_a_parent_must_be_a_message_of_the_thread(asking: Asking, conversations: Conversations) -> None:
    turn = await asking.ask("one")
    workspace = await conversations.workspaces.create(ANN, name="other")
    other = await conversations.threads.create(ANN, workspace.id)
    elsewhere = await conversations.messages.add(ANN, other.id, parent_id=None, role="user", content="x")
    for parent_id in (elsewhere.id, "unknown", "", "a\x00"):
        with pytest.raises(InputError) as refused:
            await asking.ask("two", parent_id)
        assert refused.value.param == "parent_id" and not isinstance(refused.value, UnknownItem)
        with pytest.raises(InputError):
            await conversations.messages.add(ANN, turn.answer.thread_id, parent_id=parent_id, role="user", content="x")
    for parent_id in (None, turn.answer.id):
        with pytest.raises(InputError, match="only a question"):
            await asking.ask("", parent_id, regenerate=True)
    with pytest.raises(UnknownItem):
        await asking.path(elsewhere.id)
    assert await asking.path() == [turn.question.id, turn.answer.id]
    after = await asking.ask("two", turn.answer.id)
    assert after.question.number == 4, "what was refused took no number"


async def test_a_refused_turn_is_taken_back(asking: Asking) -> None:
    refused = await asking.ask("refused")
    await asking.messages.take_back(refused)
    assert await asking.path() == [] and await asking.leaf() is None
    first = await asking.ask("one")
    left = await asking.ask("left", first.answer.id)
    await asking.ask("right", first.answer.id)
    await asking.messages.set_leaf(ANN, first.answer.thread_id, left.answer.id)
    before = await asking.path()
    for parent_id, regenerate in ((first.answer.id, False), (left.question.id, True)):
        turn = await asking.ask("anew", parent_id, regenerate=regenerate)
        await asking.messages.take_back(turn)
        assert await asking.path() == before
        await asking.messages.take_back(turn)
        assert await asking.path() == before
    assert await asking.messages.by_stream("s1") is None


async def test_what_others_did_meanwhile_survives_a_turn_that_is_taken_back(asking: Asking) -> None:
    first = await asking.ask("one")
    refused = await asking.ask("refused", first.answer.id)
    other = await asking.ask("", refused.question.id, regenerate=True)
    await asking.messages.take_back(refused)
    trunk = [first.question.id, first.answer.id]
    assert await asking.path() == [*trunk, refused.question.id, other.answer.id]
    refused = await asking.ask("refused too", first.answer.id)
    await asking.ask("below it", refused.answer.id)
    await asking.messages.take_back(refused)
    assert await asking.leaf() == other.answer.id
    await asking.messages.set_leaf(ANN, first.answer.thread_id, first.question.id)


async def test_taking_back_from_a_thread_that_is_gone(asking: Asking, conversations: Conversations) -> None:
    turn = await asking.ask("one")
    await conversations.threads.delete(ANN, turn.answer.thread_id)
    await asking.messages.take_back(turn)


async def test_an_answer_is_settled_with_all_that_it_has(asking: Asking, conversations: Conversations) -> None:
    turn = await asking.ask("2+2?")
    settled = Settled(
        content="It is 4.",
        reasoning="2+2=4",
        status="failed",
        finish_reason="error",
        model="served",
        provider="p",
        error=Error("provider_error", "cut", 502, retryable=True),
        usage=Usage(3, 4, reasoning_tokens=1),
        sources=[Source("passage", id="7", score=0.5, metadata={"page": 2})],
        metadata={"confidence": 0.9},
        included=False,
        confidential=True,
        finished_ms=1_700_000_001_000,
    )
    message = await asking.messages.settle("s1", settled)
    assert message is not None
    for name in Settled.__struct_fields__:
        assert getattr(message, name) == getattr(settled, name), name
    assert message == await asking.messages.get(ANN, turn.answer.id)
    assert await asking.messages.by_stream("s1") == message
    assert (await conversations.threads.get(ANN, message.thread_id)).updated_ms == 1_700_000_001_000
    assert await asking.messages.settle("s1", DONE) is None, "twice changes nothing"
    assert await asking.messages.get(ANN, message.id) == message


async def test_of_those_who_settle_at_once_one_does(asking: Asking) -> None:
    await asking.ask("q")
    ends = [Settled(content=str(n), status="done", finished_ms=1) for n in range(6)]
    settled = await asyncio.gather(*(asking.messages.settle("s1", end) for end in ends))
    (winner,) = [message for message in settled if message is not None]
    assert await asking.messages.get(ANN, winner.id) == winner


async def test_settling_never_fails_for_what_a_provider_calls_things(asking: Asking) -> None:
    await asking.messages.add_turn(
        ANN, (await asking.ask("q")).answer.thread_id, parent_id=None, content="q", stream_id="t", model="asked"
    )
    deep: dict[str, object] = {}
    for _ in range(300):
        deep = {"a": deep}
    end = Settled(
        content="a\x00\ud800",
        status="done",
        model="m" * 900,
        provider="p" * 900,
        finish_reason="f" * 90,
        metadata={"deep": deep, "n": float("nan")},
        finished_ms=1,
    )
    message = await asking.messages.settle("s1", end)
    assert message is not None
    assert message.content == "a\ufffd\ufffd" and message.metadata["n"] is None
    assert (len(message.model), len(message.provider), len(message.finish_reason)) == (500, 500, 32)
    kept = await asking.messages.settle("t", DONE)
    assert kept is not None and kept.model == "asked", "what was asked for says more than nothing"


async def test_a_stream_without_message_is_nobodys(
    asking: Asking, thread: Thread, conversations: Conversations
) -> None:
    await conversations.messages.add(ANN, thread.id, parent_id=None, role="assistant", content="made by no stream")
    for stream_id in ("", "unknown", "a\x00"):
        assert await asking.messages.settle(stream_id, DONE) is None
        assert await asking.messages.by_stream(stream_id) is None


async def test_answers_that_are_being_made_are_listed_oldest_first(
    asking: Asking, conversations: Conversations
) -> None:
    first, second = await asking.ask("one"), await asking.ask("two")
    workspace = await conversations.workspaces.create(BOB, name="his")
    his_thread = await conversations.threads.create(BOB, workspace.id)
    his = await conversations.messages.add_turn(BOB, his_thread.id, parent_id=None, content="q", stream_id="b")
    assert await asking.messages.streaming() == [first.answer, second.answer, his.answer]
    assert await asking.messages.streaming(1) == [first.answer]
    await asking.messages.settle("s1", DONE)
    assert await asking.messages.streaming() == [second.answer, his.answer]


async def test_deleting_takes_what_is_below(asking: Asking, conversations: Conversations) -> None:
    first = await asking.ask("one")
    await asking.messages.settle("s1", DONE)
    left = await asking.ask("left", first.answer.id)
    right = await asking.ask("right", first.answer.id)
    right_end = await asking.ask("right, on", right.answer.id)
    assert sorted(await asking.messages.delete(ANN, right.question.id)) == ["s3", "s4"]
    assert await asking.leaf() == left.answer.id, "the branch beside it"
    with pytest.raises(UnknownItem):
        await asking.messages.get(ANN, right_end.answer.id)
    assert await asking.messages.delete(ANN, left.answer.id) == ["s2"]
    assert await asking.leaf() == left.question.id
    assert await asking.messages.delete(ANN, first.question.id) == []
    assert await asking.leaf() is None and await asking.path() == []
    assert (await conversations.threads.get(ANN, first.answer.thread_id)).messages == 0


async def test_deleting_elsewhere_leaves_the_leaf(asking: Asking) -> None:
    first, second = await asking.ask("one"), await asking.ask("two")
    await asking.messages.delete(ANN, first.question.id)
    assert await asking.leaf() == second.answer.id
    third = await asking.ask("three")
    await asking.messages.delete(ANN, third.question.id)
    assert await asking.leaf() == second.answer.id, "another root"


async def test_clearing_a_thread_leaves_it_empty(asking: Asking, thread: Thread, conversations: Conversations) -> None:
    turn = await asking.ask("one")
    assert await asking.messages.clear(ANN, thread.id) == ["s1"]
    assert await asking.messages.all(ANN, thread.id) == [] == await asking.messages.path(ANN, thread.id)
    again = await conversations.threads.get(ANN, thread.id)
    assert (again.leaf_id, again.messages) == (None, 0)
    assert (await asking.ask("anew")).question.number == turn.answer.number + 1


async def test_a_message_can_be_added_whole(conversations: Conversations, thread: Thread) -> None:
    system = await conversations.messages.add(ANN, thread.id, parent_id=None, role="system", content="Be brief.")
    part: dict[str, object] = {"type": "file", "file": {"filename": "a.pdf\x00"}}
    made = await conversations.messages.add(
        ANN,
        thread.id,
        parent_id=system.id,
        role="assistant",
        content="Hello\x00",
        parts=[part],
        model="m",
        metadata={"k": 1},
    )
    assert (made.content, made.parts) == ("Hello\ufffd", [{"type": "file", "file": {"filename": "a.pdf\ufffd"}}])
    assert await conversations.messages.path(ANN, thread.id) == [system, made]
    wrong: list[dict[str, Any]] = [{"role": "robot"}, {"model": "x" * 501}, {"metadata": {"a": "x" * 70_000}}]
    for fields in wrong:
        with pytest.raises(InputError):
            await conversations.messages.add(
                ANN, thread.id, **({"parent_id": None, "role": "user", "content": ""} | fields)
            )


async def test_a_conversation_may_be_ten_thousand_messages_deep(
    conversations: Conversations, workspace: Workspace
) -> None:
    from headwater.chat.records import Imported, ImportedMessage

    deep = [ImportedMessage(role="user", parent=n - 1 if n else None, content=str(n)) for n in range(10_000)]
    thread = await conversations.import_thread(ANN, workspace.id, Imported(leaf=9_999, messages=deep))
    path = await conversations.messages.path(ANN, thread.id)
    assert [message.content for message in path] == list(map(str, range(10_000)))
    assert (await conversations.messages.set_leaf(ANN, thread.id, path[0].id)).leaf_id == path[-1].id
    assert await conversations.messages.delete(ANN, path[1].id) == []
    assert (await conversations.threads.get(ANN, thread.id)).leaf_id == path[0].id


async def test_many_turns_at_once_are_branches_of_one_tree(asking: Asking, conversations: Conversations) -> None:
    first = await asking.ask("one")
    turns = await asyncio.gather(*(asking.ask(str(n), first.answer.id) for n in range(8)))
    thread = await conversations.threads.get(ANN, first.answer.thread_id)
    assert thread.messages == 18 and thread.leaf_id in {turn.answer.id for turn in turns}
    numbers = [message.number for message in await asking.messages.all(ANN, thread.id)]
    assert numbers == list(range(1, 19))
    assert (await asking.messages.siblings(ANN, turns[0].question.id)).count == 8


async def test_another_tenants_messages_are_unknown(asking: Asking, conversations: Conversations) -> None:
    turn = await asking.ask("one")
    thread_id, answer_id = turn.answer.thread_id, turn.answer.id
    messages = conversations.messages
    calls = [
        messages.add_turn(BOB, thread_id, parent_id=None, content="q", stream_id="b"),
        messages.add(BOB, thread_id, parent_id=None, role="user", content="q"),
        messages.get(BOB, answer_id),
        messages.get(BOB, turn.answer.number),
        messages.path(BOB, thread_id),
        messages.path(BOB, thread_id, answer_id),
        messages.all(BOB, thread_id),
        messages.siblings(BOB, answer_id),
        messages.branches(BOB, thread_id),
        messages.set_leaf(BOB, thread_id, answer_id),
        messages.delete(BOB, answer_id),
        messages.clear(BOB, thread_id),
    ]
    for call in calls:
        with pytest.raises(UnknownItem):
            await call
    workspace = await conversations.workspaces.create(BOB, name="his")
    his = await conversations.threads.create(BOB, workspace.id)
    for call in (
        messages.add_turn(BOB, his.id, parent_id=answer_id, content="q", stream_id="b"),
        messages.add(BOB, his.id, parent_id=answer_id, role="user", content="q"),
    ):
        with pytest.raises(InputError):
            await call
    for call in (messages.path(BOB, his.id, answer_id), messages.set_leaf(BOB, his.id, answer_id)):
        with pytest.raises(UnknownItem):
            await call
    theirs = await messages.add(BOB, his.id, parent_id=None, role="user", content="q")
    assert theirs.number == 1
    assert await asking.path() == [turn.question.id, answer_id]


async def test_a_first_turn_that_was_taken_back_twice_leaves_an_empty_thread_that_goes_on(asking: Asking) -> None:
    refused = await asking.ask("one?")
    for _ in range(2):
        await asking.messages.take_back(refused)
        assert (await asking.leaf(), await asking.path()) == (None, [])
    again = await asking.ask("two?")
    await asking.messages.take_back(refused)
    assert await asking.leaf() == again.answer.id

"""Whatever is done to a thread, in whatever order, its tree stays one."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.chat.conversations import Conversations
from headwater.chat.exporting import export_json
from headwater.chat.importing import parse_import
from headwater.chat.records import Message, Settled
from headwater.store import Store

from .conftest import ANN, Clock

ACTIONS = ("ask", "ask", "ask", "edit", "regenerate", "set_leaf", "take_back", "delete", "settle", "add")
steps = st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 2**16)), max_size=25)


class Run:
    """One thread, and what was done to it."""

    def __init__(self, conversations: Conversations, thread_id: str) -> None:
        self.conversations = conversations
        self.messages = conversations.messages
        self.thread_id = thread_id
        self.turns: list[Any] = []
        self.known: dict[str, Message] = {}

    async def do(self, action: str, pick: int) -> None:
        everything = await self.messages.all(ANN, self.thread_id)
        leaf_id = (await self.conversations.threads.get(ANN, self.thread_id)).leaf_id
        chosen = everything[pick % len(everything)] if everything else None
        questions = [message for message in everything if message.role == "user"]
        match action:
            case "ask":
                await self._ask(parent_id=leaf_id)
            case "edit" if questions:
                await self._ask(parent_id=questions[pick % len(questions)].parent_id)
            case "regenerate" if questions:
                await self._ask(parent_id=questions[pick % len(questions)].id, regenerate=True)
            case "set_leaf" if chosen:
                await self.messages.set_leaf(ANN, self.thread_id, chosen.id)
                path = await self.messages.path(ANN, self.thread_id)
                assert chosen.id in {message.id for message in path}
            case "take_back" if self.turns:
                turn = self.turns.pop(pick % len(self.turns))
                await self.messages.take_back(turn)
                assert turn.answer.id not in {m.id for m in await self.messages.all(ANN, self.thread_id)}
            case "delete" if chosen:
                await self.messages.delete(ANN, chosen.id)
            case "settle" if chosen and chosen.stream_id:
                end = Settled(content="done", status="done", finished_ms=1)
                assert (await self.messages.settle(chosen.stream_id, end) is None) == (chosen.status == "done")
            case "add":
                await self.messages.add(
                    ANN, self.thread_id, parent_id=chosen and chosen.id, role="system", content="note"
                )

    async def _ask(self, **where: Any) -> None:
        stream_id = f"{self.thread_id[:30]}{len(self.known)}"
        turn = await self.messages.add_turn(ANN, self.thread_id, content="q", stream_id=stream_id, **where)
        self.turns.append(turn)
        self.known[turn.answer.id] = turn.answer
        path = await self.messages.path(ANN, self.thread_id)
        assert path[-1] == turn.answer

    async def check(self) -> list[Message]:
        thread = await self.conversations.threads.get(ANN, self.thread_id)
        everything = await self.messages.all(ANN, self.thread_id)
        by_id = {message.id: message for message in everything}
        assert thread.messages == len(everything)
        numbers = [message.number for message in everything]
        assert numbers == sorted(set(numbers))
        for message in everything:
            # Reachable: its parent is there, and older.
            assert message.parent_id is None or by_id[message.parent_id].number < message.number
        path = await self.messages.path(ANN, self.thread_id)
        assert [m.parent_id for m in path] == [None, *(m.id for m in path)][: len(path)]
        assert (thread.leaf_id is None) == (not everything)
        assert not everything or path[-1].id == thread.leaf_id
        # Where the thread goes on, nothing has gone on yet.
        assert thread.leaf_id not in {message.parent_id for message in everything} or not everything
        return everything


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(done=steps)
async def test_any_sequence_of_changes_keeps_the_tree(store: Store, clock: Clock, done: list[tuple[str, int]]) -> None:
    conversations = Conversations(store, clock)
    workspace = await conversations.workspaces.create(ANN, name="n")
    run = Run(conversations, (await conversations.threads.create(ANN, workspace.id)).id)
    for action, pick in done:
        await run.do(action, pick)
        await run.check()
    everything = await run.check()
    thread = await conversations.threads.get(ANN, run.thread_id)
    copy = await conversations.import_thread(ANN, workspace.id, parse_import(export_json(thread, everything)))
    copied = await Run(conversations, copy.id).check()
    places = [{m.id: place for place, m in enumerate(each)} for each in (everything, copied)]
    shapes = [
        [(m.role, m.content, place.get(m.parent_id or "")) for m in each]
        for each, place in zip((everything, copied), places, strict=True)
    ]
    assert shapes[0] == shapes[1]
    assert places[0].get(thread.leaf_id or "") == places[1].get(copy.leaf_id or "")

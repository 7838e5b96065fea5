"""Any sequence of operations, on any log, agrees with a model of a few lines."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from headwater.errors import SeqConflict
from headwater.events import Seq
from headwater.streams.log import Append, Query

from .stories import EVERYTHING, Story
from .subjects import FullLog, Subject

_T = TypeVar("_T")

PIECES = st.lists(st.text(max_size=40), min_size=1, max_size=4)
CHOICE = st.integers(0, 10**6)
PAGES = st.sampled_from([1, 60, 200, 1_000, EVERYTHING])


class Model(RuleBasedStateMachine):
    """`alive` is what the log should hold; `first` and `epoch` are what trims and new epochs made of it."""

    subject: Subject

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = tempfile.TemporaryDirectory()
        self.alive: list[Story] = []
        self.first: dict[str, int] = {}
        self.epoch: dict[str, int] = {}
        self.made = 0
        self.log: FullLog

    def run(self, awaitable: Awaitable[_T]) -> _T:
        async def main() -> _T:
            return await awaitable

        return self.runner.run(main())

    @initialize()
    def open(self) -> None:
        self.log = self.run(self.subject.open(Path(self.directory.name)))

    def teardown(self) -> None:
        self.run(self.log.close())
        self.runner.close()
        self.directory.cleanup()

    def pick(self, choice: int) -> Story:
        return self.alive[choice % len(self.alive)]

    def unfinished(self) -> list[Story]:
        return [story for story in self.alive if story.ended is None]

    @rule(owner=st.sampled_from(["", "ann"]), key=st.sampled_from(["", "", "k1", "k2"]))
    def create(self, owner: str, key: str) -> None:
        self.made += 1
        story = Story(f"s{self.made:04}", owner=owner, key=key)
        (outcome,) = self.run(self.log.commit([story.create()]))
        taken = key and any((s.record.owner, s.record.idempotency_key) == (owner, key) for s in self.alive)
        if taken:
            assert isinstance(outcome, SeqConflict)
            return
        assert outcome is None
        self.alive.append(story)
        self.first[story.id], self.epoch[story.id] = 0, 1

    @precondition(lambda self: self.unfinished())
    @rule(data=st.data(), pieces=PIECES)
    def append(self, data: st.DataObject, pieces: list[str]) -> None:
        stories = data.draw(st.lists(st.sampled_from(self.unfinished()), min_size=1, max_size=5, unique=True))
        ends = data.draw(st.lists(st.booleans(), min_size=len(stories), max_size=len(stories)))
        group = [
            story.end(finished_ms=1_000 + self.made) if end and len(story.events) > 6 else story.text(*pieces)
            for story, end in zip(stories, ends, strict=True)
        ]
        assert list(self.run(self.log.commit(group))) == [None] * len(group)

    @precondition(lambda self: self.alive)
    @rule(choice=CHOICE, shift=st.integers(-3, 3), pieces=PIECES)
    def append_wrongly(self, choice: int, shift: int, pieces: list[str]) -> None:
        story = self.pick(choice)
        length = len(story.events)
        if story.ended is None and shift == 0:
            shift = 1
        wrong = Story(story.id).text(*pieces)
        wrong = Append(wrong.stream, max(0, length + shift), wrong.count, wrong.segment)
        (outcome,) = self.run(self.log.commit([wrong]))
        assert isinstance(outcome, SeqConflict)
        assert outcome.actual == length

    @precondition(lambda self: self.alive)
    @rule(choice=CHOICE, before=st.integers(0, 30))
    def trim(self, choice: int, before: int) -> None:
        story = self.pick(choice)
        self.run(self.log.trim(story.id, Seq(before)))
        self.first[story.id] = max(self.first[story.id], min(before, len(story.events)))

    @precondition(lambda self: self.unfinished())
    @rule(data=st.data())
    def advance_epoch(self, data: st.DataObject) -> None:
        story = data.draw(st.sampled_from(self.unfinished()))
        self.epoch[story.id] += 1
        assert self.run(self.log.advance_epoch(story.id)) == self.epoch[story.id]

    @precondition(lambda self: self.alive)
    @rule(choice=CHOICE)
    def delete(self, choice: int) -> None:
        story = self.pick(choice)
        assert self.run(self.log.delete([story.id])) == 1
        self.alive.remove(story)
        assert self.run(self.log.get(story.id)) is None

    @rule()
    def compact(self) -> None:
        assert self.run(self.log.compact()) <= len(self.alive)

    @rule(age=st.integers(0, 5))
    def expire(self, age: int) -> None:
        oldest = 1_000 + self.made - age
        gone = [story for story in self.alive if story.ended is not None and story.ended.finished_ms < oldest]
        now_ms = oldest + 1_000
        assert self.run(self.log.expire(now_ms=now_ms, max_age_s=1.0, max_bytes=None)) == len(gone)
        self.alive = [story for story in self.alive if story not in gone]

    @precondition(lambda self: self.subject.durable)
    @rule()
    def reopen(self) -> None:
        self.run(self.log.close())
        self.open()

    @precondition(lambda self: self.alive)
    @rule(choice=CHOICE, after=st.integers(-1, 40), max_bytes=PAGES)
    def read(self, choice: int, after: int, max_bytes: int) -> None:
        story = self.pick(choice)
        part = self.run(self.log.read(story.id, Seq(after), max_bytes=max_bytes))
        assert part is not None
        position = min(max(after + 1, self.first[story.id]), len(story.events))
        assert part.first_seq == position
        assert part.events == story.events[position : position + len(part.events)]
        assert part.events or position == len(story.events)
        assert max_bytes < EVERYTHING or position + len(part.events) == len(story.events)
        assert (part.record.first_seq, part.record.next_seq) == (self.first[story.id], len(story.events))
        assert (part.record.epoch, part.record.ended) == (self.epoch[story.id], story.ended)

    @invariant()
    def finds_what_is_alive(self) -> None:
        found = self.run(self.log.find(Query(limit=1_000)))
        expected = sorted(self.alive, key=lambda story: story.id, reverse=True)
        assert [(r.id, r.next_seq, r.ended) for r in found] == [(s.id, len(s.events), s.ended) for s in expected]
        unfinished = self.run(self.log.find(Query(state="unfinished", limit=1_000)))
        assert unfinished == [record for record in found if record.ended is None]


@pytest.mark.timeout(300)
def test_any_sequence_of_operations_agrees_with_the_model(subject: Subject) -> None:
    machine = type("Machine", (Model,), {"subject": subject})
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=20, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )

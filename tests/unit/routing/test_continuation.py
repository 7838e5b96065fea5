"""What a stream holds, and whether another generation may go on with it."""

from __future__ import annotations

from typing import Any

import pytest

from headwater.errors import UnknownModel
from headwater.events import Event, Metadata, Reasoning, Status, Text, ToolCall
from headwater.providers.ports import Continuation, Held
from headwater.request import ChatRequest
from headwater.routing.continuation import continuation_at, held_of, may_resume, seams_in

from .kit import Acting, hang, target

HELD = Held("so far", {})


class Going(Acting):
    """A provider that can go on."""

    exact = False
    error: Exception | None = None

    def continuation(self, request: ChatRequest, model: str, held: Held) -> Continuation | None:
        if self.error is not None:
            raise self.error
        return Continuation(self.producer(request, model), self.exact) if held.resumable else None


@pytest.mark.parametrize(
    ("events", "text", "resumable"),
    [
        ([], "", True),
        ([Text("a"), Status("x"), Metadata({}), Text("b")], "ab", True),
        ([Text("a"), Text("b", choice=1)], "a", False),
        ([Text("a", refusal=True)], "a", False),
        ([Reasoning("hm"), Text("a")], "a", False),
        ([Text("a"), ToolCall(0)], "a", False),
    ],
)
def test_what_is_held(events: list[Event], text: str, resumable: bool) -> None:
    assert held_of([Metadata({"id": 1}), *events], position=3) == Held(text, {"id": 1}, position=3, resumable=resumable)


def test_seams_are_counted() -> None:
    assert seams_in([Status("continuing"), Text("a"), Status("queued"), Status("continuing")]) == 2


@pytest.mark.parametrize(
    ("params", "may"),
    [
        ({}, True),
        ({"response_format": {"type": "text"}, "tool_choice": "auto", "n": 1}, True),
        ({"response_format": {}, "tool_choice": "none"}, True),
        ({"response_format": {"type": "json_schema"}}, False),
        ({"tool_choice": "required"}, False),
        ({"tool_choice": {"type": "function"}}, False),
        ({"n": 2}, False),
    ],
)
def test_which_requests_may_go_on(params: dict[str, Any], may: bool) -> None:
    request = ChatRequest("m", [], params)
    assert may_resume(request) == may
    assert (continuation_at(target(Going("a", hang)), request, HELD, opted_in=True) is not None) == may
    assert continuation_at(target(Going("a", hang)), request, HELD, opted_in=False) is None


def test_the_same_generation_needs_no_consent() -> None:
    provider = Going("a", hang)
    provider.exact = True
    request = ChatRequest("m", [], {"n": 2})
    assert continuation_at(target(provider), request, HELD, opted_in=False) is not None


def test_who_cannot() -> None:
    request = ChatRequest("m", [])
    assert continuation_at(target(Acting("a", hang)), request, HELD, opted_in=True) is None
    assert continuation_at(target(Going("a", hang)), request, Held("", {}, resumable=False), opted_in=True) is None
    wrong = Going("a", hang)
    wrong.error = UnknownModel("gone")
    assert continuation_at(target(wrong), request, HELD, opted_in=True) is None


@pytest.mark.parametrize("stage", ["retrying", "fallback", "continuing"])
def test_facts_of_an_earlier_generation_are_not_held(stage: str) -> None:
    """Or its text would go on where another's broke off."""
    events: list[Event] = [Metadata({"id": 1, "a": 1}), Status(stage), Text("x"), Metadata({"b": 2})]
    assert held_of(events, position=None).facts == {"b": 2}


def test_facts_of_the_same_generation_are() -> None:
    events: list[Event] = [
        Metadata({"id": 1}),
        Status("recovering"),
        Status("continuing", data={"exact": True}),
        Status("queued"),
    ]
    assert held_of(events, position=None).facts == {"id": 1}

from __future__ import annotations

from typing import NamedTuple

import pytest

from headwater.events import ToolCall
from headwater.providers.wire.tool_calls import ToolCalls


class Piece(NamedTuple):
    index: int | None
    id: str = ""
    name: str = ""
    arguments: str = ""


def told(*pieces: Piece, choice: int = 0) -> list[ToolCall]:
    calls = ToolCalls()
    events = [calls.piece(choice, *piece) for piece in pieces]
    return [event for event in events if event is not None]


def test_as_openai_sends_them() -> None:
    pieces = [Piece(0, "a", "f"), Piece(0, arguments="{"), Piece(1, "b", "g", "{}"), Piece(0, arguments="}")]
    assert told(*pieces) == [
        ToolCall(0, "a", "f"),
        ToolCall(0, arguments="{"),
        ToolCall(1, "b", "g", "{}"),
        ToolCall(0, arguments="}"),
    ]


def test_id_and_name_in_every_piece_are_told_once() -> None:
    assert told(Piece(0, "a", "f", "{"), Piece(0, "a", "f", "}")) == [
        ToolCall(0, "a", "f", "{"),
        ToolCall(0, arguments="}"),
    ]


def test_a_name_that_comes_after_its_id() -> None:
    assert told(Piece(0, "a"), Piece(0, name="f"), Piece(0)) == [ToolCall(0, "a"), ToolCall(0, name="f")]


@pytest.mark.parametrize("first", [Piece(None, "a", "f", "{"), Piece(None, name="f", arguments="{")])
def test_without_an_index_the_last_call_goes_on(first: Piece) -> None:
    events = told(first, Piece(None, arguments="}"), Piece(None, "b", "g", "{}"))
    assert [event.index for event in events] == [0, 0, 1]


def test_without_an_index_a_known_id_is_found() -> None:
    events = told(Piece(None, "a", "f"), Piece(None, "b", "g"), Piece(None, "a", arguments="{}"))
    assert events[-1] == ToolCall(0, arguments="{}")


def test_without_anything_it_is_a_call() -> None:
    assert told(Piece(None, arguments="{}")) == [ToolCall(0, "call_0_0", arguments="{}")]


def test_every_call_under_index_0() -> None:
    """Gemini's compatible endpoint."""
    pieces = [Piece(0, "a", "f", "{1}"), Piece(0, "b", "g", "{2}"), Piece(0, "c", "h", "{3}"), Piece(0, "a", "f", "+")]
    assert told(*pieces) == [
        ToolCall(0, "a", "f", "{1}"),
        ToolCall(1, "b", "g", "{2}"),
        ToolCall(2, "c", "h", "{3}"),
        ToolCall(0, arguments="+"),
    ]


def test_another_id_without_a_name_is_the_same_call() -> None:
    """Older vLLM sends a new random id with every piece."""
    assert told(Piece(0, "a", "f"), Piece(0, "x", arguments="{}")) == [
        ToolCall(0, "a", "f"),
        ToolCall(0, arguments="{}"),
    ]


def test_a_call_without_an_id_gets_one_from_its_position() -> None:
    assert told(Piece(2, name="f", arguments="{}"), choice=1) == [ToolCall(2, "call_1_2", "f", "{}", choice=1)]


def test_choices_are_apart() -> None:
    calls = ToolCalls()
    assert calls.piece(0, 0, "a", "f", "") == ToolCall(0, "a", "f")
    assert calls.piece(1, 0, "b", "f", "") == ToolCall(0, "b", "f", choice=1)

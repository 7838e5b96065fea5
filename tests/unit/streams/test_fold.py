"""What a stream's events add up to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.events import (
    Done,
    Error,
    Event,
    Metadata,
    Reasoning,
    Source,
    Sources,
    Start,
    Status,
    Text,
    ToolCall,
    Usage,
)
from headwater.streams.fold import Fold, fold


def test_an_empty_fold() -> None:
    state = fold([])
    assert not state.has_content
    assert (state.usage, state.terminal, state.served) == (None, None, None)


def test_the_start_names_model_and_provider() -> None:
    state = fold([Start("s", "m", 5, "p")])
    assert (state.model, state.provider, state.has_content) == ("m", "p", False)


@pytest.mark.parametrize("event", [Text("abc"), Reasoning("abc"), ToolCall(0, "id", "abc"), Text("")])
def test_content_begins_the_answer(event: Event) -> None:
    assert fold([event]).has_content


@pytest.mark.parametrize("event", [Status("queued"), Sources([Source("t")]), Metadata({"a": 1}), Usage(1, 1)])
def test_what_is_no_content_does_not(event: Event) -> None:
    """A lifecycle event must not commit the stream, so that the error after it can still fall back (bifrost #5395)."""
    assert not fold([event]).has_content


def test_characters_are_counted_by_kind() -> None:
    state = fold(
        [Text("abc"), Text("d"), Reasoning("efgh"), ToolCall(0, "id", "fn", "{}"), ToolCall(0, arguments="xyz")]
    )
    assert (state.content_events, state.content_characters, state.reasoning_characters) == (5, 4 + 4 + 3, 4)


def test_metadata_adds_up() -> None:
    assert fold([Metadata({"a": 1, "b": 1}), Metadata({"b": 2})]).served == {"a": 1, "b": 2}


def test_a_refusal_is_known_before_content_or_not_at_all() -> None:
    refused = Metadata({"refused": True})
    assert fold([refused, Metadata({"a": 1}), Text("No.")]).refused
    assert not fold([refused, Metadata({"refused": False})]).refused
    assert not fold([Text("Hel"), refused]).refused


def test_recoveries_are_counted() -> None:
    assert fold([Status("recovering"), Status("queued"), Status("recovering")]).recoveries == 2


@pytest.mark.parametrize("end", [Done("stop"), Error("interrupted", "x")])
def test_usage_and_the_end(end: Done | Error) -> None:
    state = fold([Usage(3, 5), end])
    assert (state.usage, state.terminal) == (Usage(3, 5), end)


def test_estimated_usage_says_so_and_rounds_up() -> None:
    """Usage is never missing or zero for an answer that has text (litellm #11915, #17136)."""
    state = fold([Text("a" * 9), Reasoning("b" * 5)])
    usage = state.estimated_usage(17)
    assert usage == Usage(prompt_tokens=5, completion_tokens=3 + 2, reasoning_tokens=2, source="estimated")
    assert fold([]).estimated_usage(0).total_tokens == 0


@pytest.mark.parametrize("thing", ["a string", 5, None, {"type": "text"}])
def test_what_is_no_event_is_refused(thing: object) -> None:
    """Stored, it would make the stream undecodable for ever."""
    state = Fold()
    with pytest.raises(TypeError, match="no event"):
        state.apply(thing)  # type: ignore[arg-type]


ANY_EVENTS = st.lists(
    st.sampled_from([Text("a"), Text("b", choice=1), Reasoning("c"), ToolCall(0, "id", "f"), Status("s"), Usage(1, 1)]),
    max_size=30,
)


@given(events=ANY_EVENTS, first_seq=st.integers(0, 9))
def test_texts_are_numbered_whatever_lies_between_and_comes_after(events: list[Event], first_seq: int) -> None:
    """A pure function of the position: a producer is ahead of what its viewers are shown."""
    state = Fold(first_seq)
    for event in events:
        state.apply(event)
    number = 0
    for seq, event in enumerate(events, first_seq):
        if isinstance(event, Text):
            assert state.text_number(seq) == number
            number += 1
    assert state.texts == number


def test_sources_of_all_searches_add_up() -> None:
    assert fold([Sources([Source("a")]), Text("x"), Sources([Source("b")])]).sources == [Source("a"), Source("b")]


@given(events=ANY_EVENTS, first_seq=st.integers(0, 9))
def test_thinking_begins_and_ends_where_it_does_whatever_comes_after(events: list[Event], first_seq: int) -> None:
    """Asked of single events and of runs that end there, against a walk through the events."""
    state = Fold(first_seq)
    for event in events:
        state.apply(event)
    thinking, kind, run = False, None, first_seq
    for seq, event in enumerate(events, first_seq):
        run = run if type(event) is kind else seq
        kind = type(event)
        if kind is Reasoning:
            assert state.thought_begins(seq, seq) is not thinking
            thinking = True
            assert state.thinks_at(seq)
        elif kind is Text:
            assert state.thought_ends(seq, seq) is thinking
            thinking = False
            assert state.thought_ends(run, seq) is any(state.thought_ends(s, s) for s in range(run, seq + 1))
        else:
            assert state.thinks_at(seq) is thinking


@given(st.lists(st.text()))
def test_text_bytes_are_those_of_utf_8(texts: list[str]) -> None:
    assert fold(map(Text, texts)).text_bytes == sum(len(text.encode()) for text in texts)


def test_half_of_a_surrogate_pair_counts_as_what_is_stored_for_it() -> None:
    assert fold([Text("a\ud800")]).text_bytes == len("a\ufffd".encode())


@given(events=ANY_EVENTS, first_seq=st.integers(0, 9))
def test_how_many_texts_stand_before_a_place(events: list[Event], first_seq: int) -> None:
    state = Fold(first_seq)
    for event in events:
        state.apply(event)
    for place in range(len(events) + 1):
        assert state.texts_before(first_seq + place) == sum(type(event) is Text for event in events[:place])

"""Merged catch-up: fewer frames, the same answer, exact positions."""

from __future__ import annotations

from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from headwater.events import Done, Event, Reasoning, Status, Text, ToolCall, Usage
from headwater.streams.fold import Fold, fold
from headwater.streams.merge import MERGED_CHARACTERS, content_bytes, merge

words = st.text(max_size=4)
few = st.integers(0, 1)
events = st.lists(
    st.one_of(
        st.builds(Text, words, few, st.booleans(), st.none() | st.just({"tokens": []})),
        st.builds(Reasoning, words, few, st.sampled_from(["", "", "signed"])),
        st.builds(ToolCall, few, st.sampled_from(["", "", "id"]), st.sampled_from(["", "", "f"]), words, few),
        st.just(Status("searching")),
        st.just(Usage(1, 2)),
    ),
    max_size=30,
)


def _pieces(sequence: list[Event]) -> list[tuple[object, ...]]:
    """The answer with the cuts between its deltas forgotten, and nothing else."""
    flat: list[tuple[object, ...]] = []
    for event in sequence:
        match event:
            case Text(text=text, choice=choice, refusal=refusal, logprobs=None):
                flat += [("text", choice, refusal, character) for character in text]
            case Reasoning(text=text, choice=choice, signature=signature):
                flat += [("reasoning", choice, character) for character in text]
                flat += [("signature", choice, signature)] if signature else []
            case ToolCall():
                flat += [("call", event.choice, event.index, event.id, event.name)] if event.id or event.name else []
                flat += [("argument", event.choice, event.index, character) for character in event.arguments]
            case _:
                flat.append((event,))
    return flat


@given(events, st.integers(0, 50))
def test_nothing_is_dropped_and_nothing_moves(sequence: list[Event], first_seq: int) -> None:
    """A chunk with two kinds of content must not lose one (litellm #36327), tool arguments stay (#25561)."""
    merged = list(merge(sequence, first_seq))
    assert _pieces([event for _, event in merged]) == _pieces(sequence)
    seqs = [seq for seq, _ in merged]
    assert seqs == sorted(set(seqs))
    assert not sequence or seqs[-1] == first_seq + len(sequence) - 1


@given(events, st.integers(0, 50), st.data())
def test_a_merged_frame_covers_exactly_up_to_its_seq(
    sequence: list[Event], first_seq: int, data: st.DataObject
) -> None:
    """Resume after any merged frame gives the rest: nothing twice (vercel/ai #14688, #18457), no gap (mercure #178)."""
    merged = list(merge(sequence, first_seq))
    cut = data.draw(st.integers(0, len(merged)))
    seen = [event for _, event in merged[:cut]]
    position = merged[cut - 1][0] + 1 - first_seq if cut else 0
    assert _pieces(seen + sequence[position:]) == _pieces(sequence)


@given(events)
def test_a_fold_does_not_care(sequence: list[Event]) -> None:
    def facts(state: Fold) -> tuple[object, ...]:
        return state.content_characters, state.reasoning_characters, state.usage, state.terminal

    assert facts(fold(event for _, event in merge(sequence, 0))) == facts(fold(sequence))


@given(st.lists(st.sampled_from([Text("a"), Text("b", 1), Reasoning("c"), ToolCall(0, arguments="d")]), max_size=30))
def test_runs_become_one_frame_each(sequence: list[Event]) -> None:
    runs = [list(run) for _, run in groupby(sequence)]
    assert len(list(merge(sequence, 0))) == len(runs)


def test_ten_thousand_tokens_are_a_few_frames() -> None:
    """Catch-up costs by the text, not by its tokens (litellm #21698; one write of 91 MB: open-agents PR #276)."""
    merged = list(merge([Text("four") for _ in range(10_000)] + [Done("stop")], 1))
    assert len(merged) <= 5
    assert all(len(event.text) <= MERGED_CHARACTERS + 4 for _, event in merged if isinstance(event, Text))
    assert "".join(event.text for _, event in merged if isinstance(event, Text)) == "four" * 10_000


def test_what_must_stay_apart_stays_apart() -> None:
    apart: list[Event] = [
        Text("a"),
        Text("b", refusal=True),
        Text("c", logprobs={"content": []}),
        Text("d"),
        Reasoning("e", signature="s"),
        Reasoning("f"),
        ToolCall(0, "x", "f"),
        ToolCall(0, "y", "g"),
        ToolCall(1),
    ]
    assert list(merge(apart, 7)) == list(enumerate(apart, 7))


def test_a_signature_closes_its_block() -> None:
    merged = list(merge([Reasoning("a"), Reasoning("b", signature="s"), Reasoning("c")], 0))
    assert merged == [(1, Reasoning("ab", signature="s")), (2, Reasoning("c"))]


def test_the_first_piece_of_a_call_names_it() -> None:
    merged = list(merge([ToolCall(2, "id", "f", "{", 1), ToolCall(2, arguments="}", choice=1)], 0))
    assert merged == [(1, ToolCall(2, "id", "f", "{}", 1))]


@given(events, st.integers(1, 20))
def test_a_bound_in_bytes_holds_for_what_is_joined(sequence: list[Event], most_bytes: int) -> None:
    merged = list(merge(sequence, 0, most_bytes))
    assert _pieces([event for _, event in merged]) == _pieces(sequence)
    first = 0
    for seq, event in merged:
        assert seq == first or content_bytes(event) <= most_bytes
        first = seq + 1

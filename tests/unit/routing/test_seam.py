"""The seam: for any text held, any repetition and any chunking, viewers read one text."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from headwater.events import Done, Event, Metadata, Reasoning, Text, ToolCall, Usage, text_of
from headwater.routing.seam import Seam, SeamWriter, sum_usage
from tests.conformance.providers.kit import KeepingWriter

WORDS = st.text(alphabet="ab c\n\té🚀", max_size=40)
SPACE = st.text(alphabet=" \n\t", max_size=4)


@st.composite
def cuts(draw: st.DrawFn, text: str) -> list[str]:
    at = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    return [text[a:b] for a, b in zip([0, *at], [*at, len(text)], strict=True)]


def join(held: str, pieces: list[str], *, echoes: bool) -> str:
    seam = Seam(held, echoes=echoes)
    return held + "".join(map(seam.feed, pieces)) + seam.flush()


@given(st.data(), WORDS, SPACE, WORDS)
def test_a_model_that_says_the_space_again(data: st.DataObject, begun: str, space: str, rest: str) -> None:
    """The model goes on from the text without its last white space, so it says that first: nothing is doubled."""
    held = begun.rstrip() + space
    cont = space + rest
    echoes = data.draw(st.booleans())
    body = held.rstrip() + cont if echoes else cont
    # Only what can be told apart: not a short repetition by chance, nor nothing but white space.
    assume(echoes or len(held.rstrip()) < 16 or not held.startswith(cont[:1]))
    assume(cont.strip() or not space)
    assert join(held, data.draw(cuts(body)), echoes=echoes) == held.rstrip() + cont


@given(st.data(), WORDS, SPACE, SPACE, st.sampled_from(["b", "🚀 x", "c\n"]))
def test_any_white_space_never_adds_up(data: st.DataObject, begun: str, space: str, lead: str, rest: str) -> None:
    held = f"{begun}a".rstrip() + space
    seen = join(held, data.draw(cuts(lead + rest)), echoes=False)
    if not space:
        assert seen == held + lead + rest
        return
    assert seen.startswith(held)
    added = seen[len(held) :]
    assert added.endswith(rest)
    if lead.startswith(space):
        assert added == lead[len(space) :] + rest
    elif space.endswith(lead):
        assert added == rest


@given(st.data(), st.text(alphabet="xyz ", min_size=16, max_size=40), st.text(alphabet="0123 \n", max_size=20))
def test_a_repetition_that_nobody_announced(data: st.DataObject, held: str, rest: str) -> None:
    """Resume duplicates text: vercel/ai #14688, #18457."""
    held = f"held {held}".rstrip()
    assert join(held, data.draw(cuts(held + rest)), echoes=False) == held + rest


@pytest.mark.parametrize(
    ("held", "pieces", "echoes", "new"),
    [
        ("", ["a"], True, "a"),
        ("The sky", [" is blue"], True, " is blue"),  # known to repeat, and did not
        ("The sky", ["The", " sky", " is"], True, " is"),
        ("The sky", ["The end"], False, "The end"),  # too short to be a repetition
        ("The sky is blue today", ["The sky is red"], False, "The sky is red"),
        ("The sky is blue today", ["The"], False, "The"),
        ("The sky is blue today", ["The sky is blue t"], False, ""),  # cut in the middle of repeating
        ("The sky", ["The"], True, ""),
        ("a\n", [" b"], False, "b"),
        ("a \n", ["\nb"], False, "b"),
        ("a\n", [" \nb"], False, "b"),
        ("a ", [" ", " "], False, " "),
        ("a", [], False, ""),
        ("- a\n", ["\n  - b"], False, "  - b"),
    ],
)
def test_cases(held: str, pieces: list[str], echoes: bool, new: str) -> None:
    assert join(held, pieces, echoes=echoes) == held + new


def through(*batches: list[Event], held: str = "a ", echoes: bool = False) -> KeepingWriter:
    writer = KeepingWriter(held=[Text(held)])
    seam = SeamWriter(writer, Seam(held, echoes=echoes), Usage(10, 3))
    for batch in batches:
        seam.write(batch)
    return writer


def test_usage_is_summed() -> None:
    writer = through([Text(" b")], [Usage(5, 4), Done("stop")])
    assert writer.events == [Text("b"), Usage(15, 7), Done("stop")]


def test_what_was_held_back_comes_before_what_ends_it() -> None:
    writer = through([Text("  ")], [Done("stop")])
    assert writer.events == [Text(" "), Done("stop")]
    writer = through([Text(" \n"), ToolCall(0, "c", "f", "{}")])
    assert writer.events == [Text("\n"), ToolCall(0, "c", "f", "{}")]


def test_what_is_no_text_goes_through() -> None:
    told: list[Event] = [Metadata({"id": "2"}), Reasoning("hm")]
    assert through(told, [Text("b")], [Text(" c")]).events == [*told, Text("b"), Text(" c")]


def test_text_keeps_what_it_says_beside_its_text() -> None:
    sure = {"content": []}
    assert through([Text(" b", refusal=True, logprobs=sure)]).events == [Text("b", refusal=True)]
    assert through([Text("b", logprobs=sure)], held="a").events == [Text("b", logprobs=sure)]


async def test_the_rest_of_a_writer() -> None:
    writer = KeepingWriter()
    seam = SeamWriter(writer, Seam("a ", echoes=False), Usage(0, 0))
    assert seam.fold is writer.fold
    assert seam.control is writer
    assert seam.write([Text(" ")])
    seam.touch()
    seam.connected()
    assert (writer.touches, writer.connections, writer.events) == (2, 1, [])
    writer.release()
    await seam.drain()
    assert writer.drains == 1
    seam.finish()
    seam.finish()
    assert writer.events == []


def test_a_producer_without_an_end_loses_nothing() -> None:
    writer = KeepingWriter()
    seam = SeamWriter(writer, Seam("a ", echoes=False), Usage(0, 0))
    seam.write([Text("  ")])
    seam.finish()
    assert text_of(writer.events) == " "


def test_a_sum_is_exact_where_both_are() -> None:
    exact = sum_usage(Usage(1, 2, reasoning_tokens=1), Usage(3, 4, cached_tokens=2, details={"x": 1}))
    assert exact == Usage(4, 6, "exact", 1, 2, {"x": 1})
    assert sum_usage(Usage(1, 2, "estimated"), Usage(3, 4)).source == "estimated"

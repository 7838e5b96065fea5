"""The short way for repeated frames: the same events as the whole way, or not taken."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import ProviderProtocolError
from headwater.events import Done, Event, Reasoning, Text
from headwater.providers.wire.openai_decoder import OpenAIDecoder
from headwater.providers.wire.repeated_frame import RepeatedFrame


def frame(delta: dict[str, Any], *, ascii_only: bool = True, blank: bool = False, **fields: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": None, **fields.pop("choice", {})}
    chunk = {"id": "c1", "object": "chat.completion.chunk", "model": "m", "choices": [choice], **fields}
    separators = (", ", ": ") if blank else (",", ":")
    return b"data: " + json.dumps(chunk, ensure_ascii=ascii_only, separators=separators).encode() + b"\n\n"


END = frame({}, choice={"finish_reason": "stop"}) + b"data: [DONE]\n\n"
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
deltas = st.one_of(
    texts.map(lambda text: {"content": text}),
    texts.map(lambda text: {"content": text, "reasoning_content": text}),
    texts.map(lambda text: {"refusal": text}),
    st.just({"role": "assistant", "content": ""}),
    st.just({"content": None}),
    st.just({"content": '"}, "x": {"content":"y'}),
    st.just({"tool_calls": [{"index": 0, "id": "t", "function": {"name": "f", "arguments": '{"content":"a"}'}}]}),
)
fields = st.sampled_from(
    [{}, {"usage": None}, {"usage": {"prompt_tokens": 1, "completion_tokens": 2}}, {"obfuscation": "x"}]
)
styles = st.tuples(st.booleans(), st.booleans())
frames = st.lists(
    st.builds(lambda d, f, s: frame(d, ascii_only=s[0], blank=s[1], **f), deltas, fields, styles), max_size=25
)


def decode(reads: list[bytes]) -> list[Event]:
    decoder = OpenAIDecoder()
    return [event for read in reads for event in decoder.feed(read)]


@given(frames)
def test_one_frame_a_read_means_what_all_in_one_read_mean(body: list[bytes]) -> None:
    """`bytes.join` gives one read, which never takes the short way."""
    assert decode([*body, END]) == decode([b"".join([*body, END])])


def test_the_blank_of_other_encoders_is_no_hindrance() -> None:
    repeated = RepeatedFrame()
    repeated.learn(frame({"content": "a"}, blank=True), Text("a"))
    assert repeated.text_of(frame({"content": "b"}, blank=True)) == Text("b")
    assert repeated.text_of(frame({"content": "b"})) is None


def test_learns_from_a_plain_text_and_reads_the_next_ones() -> None:
    repeated = RepeatedFrame()
    assert repeated.text_of(frame({"content": "a"})) is None
    repeated.learn(frame({"content": "a"}), Text("a"))
    assert repeated.text_of(frame({"content": 'b\n"é'})) == Text('b\n"é')
    assert repeated.text_of(frame({"content": "東京"}, ascii_only=False)) == Text("東京")
    assert repeated.text_of(frame({"content": ""})) == Text("")


@pytest.mark.parametrize(
    "other",
    [
        frame({"content": "b"}) * 2,
        frame({"content": "b"}, model="other"),
        frame({"content": "b", "reasoning_content": "c"}),
        frame({"content": "b"})[:-1],
        frame({"content": "X"}).replace(b"X", b"\xff"),
        frame({"content": "X"}).replace(b"X", b"\\ud83d"),
        frame({"content": "X"}).replace(b'"X"', b"null"),
    ],
)
def test_what_does_not_fit_goes_the_whole_way(other: bytes) -> None:
    repeated = RepeatedFrame()
    repeated.learn(frame({"content": "a"}), Text("a"))
    assert repeated.text_of(other) is None


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (frame({"content": "a"}), "other"),  # not where the parser found it
        (frame({"content": 'say "a"'}), 'say "a"'),  # written with escapes
        (frame({"content": ""}), ""),
    ],
)
def test_an_unclear_frame_teaches_nothing(data: bytes, text: str) -> None:
    repeated = RepeatedFrame()
    repeated.learn(data, Text(text))
    assert repeated.text_of(data) is None


def test_gives_up_on_frames_that_never_repeat() -> None:
    repeated = RepeatedFrame()
    for number in range(4):
        assert repeated.learning
        repeated.learn(frame({"content": "a"}, obfuscation=str(number)), Text("a"))
    assert not repeated.learning


def test_after_half_a_character_every_frame_goes_the_whole_way() -> None:
    """The other half may come later, and then joins two frames."""
    plain = [frame({"content": "a"}), frame({"content": "b"})]
    halves = [frame({"content": "X"}).replace(b"X", half) for half in (b"\\ud83d", b"\\ude00")]
    events = decode([*plain, *halves, *plain, END])
    assert "".join(e.text for e in events if isinstance(e, Text)) == "ab😀ab"


def test_a_frame_inside_an_unfinished_one_is_not_taken_for_a_frame() -> None:
    plain = frame({"content": "a"})
    decoder = OpenAIDecoder()
    decoder.feed(frame({"role": "assistant"}))
    assert decoder.feed(plain) == decoder.feed(plain) == [Text("a")]
    assert decoder.feed(b"data: {\n") == []
    with pytest.raises(ProviderProtocolError):
        decoder.feed(plain)


def test_nothing_is_taken_after_the_end() -> None:
    plain = frame({"content": "a"})
    events = decode([plain, plain, END, plain])
    assert isinstance(events[-1], Done)


def test_reasoning_is_never_taken_for_text() -> None:
    events = decode([frame({"reasoning_content": "a"})] * 3)
    assert [type(event) for event in events].count(Reasoning) == 3

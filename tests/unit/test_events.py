"""The stored encoding: stable, exact, and typed about its damage."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import LogCorrupt
from headwater.events import (
    CONTENT_TYPES,
    EVENT_TYPES,
    TERMINAL_TYPES,
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
    decode_event,
    decode_segment,
    encode_event,
    encode_segment,
    join_segments,
    scrub,
    text_of,
)

texts = st.text(max_size=20)
numbers = st.integers(0, 2**40)
floats = st.none() | st.floats(0, 1)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(texts, json_values, max_size=3)
maybe_objects = st.none() | objects
reasons = st.sampled_from(["stop", "length", "tool_calls", "content_filter", "cancelled"])

events: st.SearchStrategy[Event] = st.one_of(
    st.builds(Start, texts, texts, numbers, texts),
    st.builds(Status, texts, texts, st.none() | numbers, st.none() | numbers, maybe_objects),
    st.builds(Sources, st.lists(st.builds(Source, texts, texts, texts, texts, floats, maybe_objects), max_size=3)),
    st.builds(Text, texts, numbers, st.booleans(), maybe_objects),
    st.builds(Reasoning, texts, numbers, texts),
    st.builds(ToolCall, numbers, texts, texts, texts, numbers),
    st.builds(Usage, numbers, numbers, st.sampled_from(["exact", "estimated"]), numbers, numbers, maybe_objects),
    st.builds(Metadata, objects),
    st.builds(Error, texts, texts, numbers, st.booleans(), texts, texts, st.none() | texts, floats),
    st.builds(Done, reasons, st.none() | st.lists(reasons, max_size=3)),
)


@given(events)
def test_an_event_survives_its_encoding(event: Event) -> None:
    data = encode_event(event)
    assert decode_event(data) == event
    assert decode_event(data.decode()) == event
    assert not {b"\n", b"\r", b"\0"} & {data[i : i + 1] for i in range(len(data))}  # one line, as a frame needs it
    assert json.loads(data)["type"] in {cls.__name__.lower() for cls in EVENT_TYPES} | {"tool_call"}


@given(st.lists(events, max_size=6))
def test_a_segment_survives_its_encoding(batch: list[Event]) -> None:
    assert decode_segment(encode_segment(batch)) == batch


@given(st.lists(st.lists(events, min_size=1, max_size=4), min_size=1, max_size=4))
def test_joined_segments_hold_the_same_events(batches: list[list[Event]]) -> None:
    joined = join_segments([encode_segment(batch) for batch in batches])
    assert decode_segment(joined) == [event for batch in batches for event in batch]


# What version 1 looked like when it was made. These lines are stored on people's disks: they are never edited.
VERSION_1: list[tuple[str, Event]] = [
    ('{"type":"start","stream":"s","model":"m","created_ms":5}', Start("s", "m", 5)),
    ('{"type":"start","stream":"s","model":"m","created_ms":5,"provider":"p"}', Start("s", "m", 5, "p")),
    ('{"type":"status","stage":"queued","position":2}', Status("queued", position=2)),
    ('{"type":"sources","items":[{"text":"t","score":0.5}]}', Sources([Source("t", score=0.5)])),
    ('{"type":"text","text":"Hel"}', Text("Hel")),
    ('{"type":"text","text":"No.","choice":1,"refusal":true}', Text("No.", 1, True)),
    ('{"type":"reasoning","text":"hm","signature":"x"}', Reasoning("hm", signature="x")),
    ('{"type":"tool_call","index":0,"id":"c","name":"f","arguments":"{"}', ToolCall(0, "c", "f", "{")),
    ('{"type":"usage","prompt_tokens":3,"completion_tokens":5,"source":"exact"}', Usage(3, 5)),
    ('{"type":"metadata","data":{"a":1}}', Metadata({"a": 1})),
    ('{"type":"error","reason":"interrupted","message":"x"}', Error("interrupted", "x")),
    ('{"type":"done","reason":"stop"}', Done("stop")),
    ('{"type":"done","reason":"stop","reasons":["stop","length"]}', Done("stop", ["stop", "length"])),
]


@pytest.mark.parametrize(("line", "event"), VERSION_1)
def test_version_1_stays_readable_and_written(line: str, event: Event) -> None:
    assert decode_event(line) == event
    assert encode_event(event).decode() == line
    assert decode_segment(f"1[{line}]".encode()) == [event]


def test_a_field_of_a_later_release_is_skipped() -> None:
    assert decode_event('{"type":"text","text":"a","shade":"blue"}') == Text("a")


@pytest.mark.parametrize(
    "data", [b"", b"{}", b'{"type":"nonsense"}', b'{"type":"text"}', b'{"type":"text","text":5}', b"\xff", b"[]", b"{"]
)
def test_a_damaged_event_is_typed(data: bytes) -> None:
    with pytest.raises(LogCorrupt):
        decode_event(data)


@pytest.mark.parametrize(
    "data", [b"", b"2[]", b"[]", b"1", b"1[", b"1{}", b'1[{"type":"text"}]', b'1["a"]', b"1[\xff]", b'1[{"text":"a"}]']
)
def test_a_damaged_segment_is_typed(data: bytes) -> None:
    with pytest.raises(LogCorrupt):
        decode_segment(data)


@pytest.mark.parametrize(
    "data", [b"", b"1[]", b'2[{"type":"text","text":"a"}]', b'1[{"type":"text","text":"a"}', b"1[{]"]
)
def test_a_segment_with_a_damaged_edge_is_not_joined(data: bytes) -> None:
    with pytest.raises(LogCorrupt):
        join_segments([encode_segment([Text("a")]), data])


@given(st.text(st.characters(), max_size=10).map(lambda text: text + "\ud800"))
def test_scrubbing_leaves_what_utf8_can_carry(text: str) -> None:
    clean = scrub(Text(text))
    assert isinstance(clean, Text)
    assert clean.text == "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
    assert decode_event(encode_event(clean)) == clean


def test_scrubbing_reaches_every_depth_and_keeps_the_rest() -> None:
    event = Status("s\ud800", data={"k\udfff": ["a\ud834", 5, None, {"x": True}], "pair": "\U0001f600"})
    assert scrub(event) == Status("s\ufffd", data={"k\ufffd": ["a\ufffd", 5, None, {"x": True}], "pair": "\U0001f600"})


def test_the_text_of_one_choice() -> None:
    answer: list[Event] = [Text("a"), Reasoning("no"), Text("b", choice=1), Text("c"), Done("stop")]
    assert text_of(answer) == "ac"
    assert text_of(answer, choice=1) == "b"


def test_total_tokens() -> None:
    assert Usage(3, 5).total_tokens == 8


def test_the_kinds_are_told_apart() -> None:
    assert set(EVENT_TYPES) > CONTENT_TYPES | TERMINAL_TYPES
    assert not CONTENT_TYPES & TERMINAL_TYPES

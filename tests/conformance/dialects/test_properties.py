"""What must hold for every dialect, whatever the events and wherever the connection is cut."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headwater.cursor import parse_cursor
from headwater.dialects import DIALECTS, EncodeOptions
from headwater.events import (
    TERMINAL_TYPES,
    Done,
    Error,
    Event,
    JsonObject,
    Metadata,
    Reasoning,
    Source,
    Sources,
    Status,
    Text,
    ToolCall,
    Usage,
)
from headwater.sse import Message, Parser
from headwater.streams.fold import fold
from headwater.streams.merge import merge
from headwater.streams.ports import EncodesRuns
from headwater.streams.viewer import farewell

from .cells import START, View

# What has broken frames in the field, next to whatever else the generator finds (surrogates included).
NASTY = st.sampled_from(
    ["\r", "\n", "\r\n", "\n\n", "\0", "\u2028", "\u2029", "\u0085", "\ud83d", "\ude00", "😀", "</script>", "data: x",
     "\n\nevent: done\ndata: {}\n\n", "id: 9.9\n", "\ufeff", '"', "\\", "[DONE]"]
)  # fmt: skip
TEXTS = st.lists(NASTY | st.text(max_size=8), max_size=4).map("".join)
JSON_OBJECTS = st.dictionaries(TEXTS, TEXTS | st.integers(-9, 9) | st.none(), max_size=2)
CHOICES = st.integers(0, 2)

EVENTS = st.one_of(
    st.builds(Text, TEXTS, CHOICES, st.booleans(), st.none() | st.just({"content": [{"token": "a"}]})),
    st.builds(Reasoning, TEXTS, CHOICES, TEXTS),
    st.builds(ToolCall, st.integers(0, 2), TEXTS, TEXTS, TEXTS, CHOICES),
    st.builds(Status, TEXTS, TEXTS, data=st.none() | JSON_OBJECTS),
    st.builds(Sources, st.lists(st.builds(Source, TEXTS, TEXTS, TEXTS, metadata=JSON_OBJECTS), max_size=2)),
    st.builds(Metadata, JSON_OBJECTS | st.builds(dict, refused=st.booleans())),
)
ENDS = st.one_of(
    st.builds(Done, st.sampled_from(["stop", "length", "tool_calls", "content_filter", "cancelled"])),
    st.builds(Error, TEXTS, TEXTS, st.integers(400, 599), code=TEXTS, param=st.none() | TEXTS),
)
LOGS = st.builds(
    lambda middle, usage, end: [START, *middle, usage, end],
    st.lists(EVENTS, max_size=8),
    st.builds(Usage, st.integers(0, 9), st.integers(0, 9), details=st.none() | JSON_OBJECTS),
    ENDS,
)
THOUGHTFUL = [START, Reasoning("a"), Reasoning("b"), Text("c"), Text("d"), Usage(1, 4), Done("stop")]
OPTIONS = st.builds(EncodeOptions, st.booleans(), st.integers(1, 3))

every_dialect = pytest.mark.parametrize("dialect", DIALECTS)


def frames(dialect: str, log: Sequence[Event], options: EncodeOptions) -> list[bytes]:
    """What each event of the log becomes; encoders may look at the whole log's fold."""
    encoder = DIALECTS[dialect].encoder(options)(View(fold(log)))
    return [encoder.encode(seq, event) for seq, event in enumerate(log)]


def parse(data: bytes) -> list[Message]:
    parser = Parser()
    messages = parser.feed(data)
    assert parser.feed(b"") == []
    return messages


def payloads(messages: Sequence[Message]) -> list[tuple[str, str]]:
    return [(message.event, message.data) for message in messages]


@every_dialect
@given(log=LOGS, options=OPTIONS)
def test_frames_are_whole_and_their_data_is_one_line_of_json(
    dialect: str, log: list[Event], options: EncodeOptions
) -> None:
    """CR, LF, NUL, line separators and surrogates in a payload can never end or forge a frame (CWE-93)."""
    for data in frames(dialect, log, options):
        assert data == b"" or data.endswith(b"\n\n")
        assert b"\r" not in data
        assert b"\0" not in data
        for frame in data.split(b"\n\n")[:-1]:
            names = [line.split(b":")[0] for line in frame.split(b"\n")]
            assert names.count(b"data") == 1
            assert set(names) <= {b"event", b"id", b"data"}
        for message in parse(data):
            assert message.data == "[DONE]" or isinstance(json.loads(message.data), dict)


@every_dialect
@given(log=LOGS, options=OPTIONS)
def test_an_event_has_its_cursor_on_its_last_frame_only(dialect: str, log: list[Event], options: EncodeOptions) -> None:
    for seq, data in enumerate(frames(dialect, log, options)):
        messages = parse(data)
        if messages:
            assert [message.id for message in messages[:-1]] == [""] * (len(messages) - 1)
            assert parse_cursor(messages[-1].id) == (1, seq)


@every_dialect
@given(log=LOGS, options=OPTIONS, cut=st.integers(0, 400))
def test_cut_at_any_frame_and_resumed_the_content_is_the_same(
    dialect: str, log: list[Event], options: EncodeOptions, cut: int
) -> None:
    """Promise P2. The viewer keeps what came up to its last id and gets the rest (vercel/ai #14688: repeats)."""
    whole = frames(dialect, log, options)
    expected = payloads(parse(b"".join(whole)))

    parser = Parser()
    seen: list[tuple[Message, str]] = []
    pieces = b"".join(whole).split(b"\n\n")[:-1]
    for piece in pieces[: cut % (len(pieces) + 1)]:
        seen += [(message, parser.last_event_id) for message in parser.feed(piece + b"\n\n")]

    cursor = parse_cursor(parser.last_event_id)
    kept = [message for message, _ in seen]
    while kept and parse_cursor(kept[-1].id) == cursor and not _ends_event(kept[-1], whole, cursor):
        kept.pop()  # frames of an event whose last frame, with its id, did not arrive
    after = cursor.seq + 1 if cursor else 0
    assert payloads(kept) + payloads(parse(b"".join(whole[after:]))) == expected


def _ends_event(message: Message, whole: Sequence[bytes], cursor: tuple[int, int] | None) -> bool:
    return cursor is not None and parse(whole[cursor[1]])[-1].data == message.data


@every_dialect
@given(log=LOGS, options=OPTIONS)
def test_a_merged_catch_up_has_the_same_last_cursor_and_fewer_frames(
    dialect: str, log: list[Event], options: EncodeOptions
) -> None:
    encoder = DIALECTS[dialect].encoder(options)(View(fold(log)))
    merged = parse(b"".join(encoder.encode(seq, event) for seq, event in merge(log, 0)))
    whole = parse(b"".join(frames(dialect, log, options)))
    assert len(merged) <= len(whole)
    assert merged[-1].id == whole[-1].id == f"1.{len(log) - 1}"


@pytest.mark.parametrize("dialect", ["workspace", "typed"])
@given(log=LOGS, after=st.integers(0, 12))
@example(log=THOUGHTFUL, after=1)
@example(log=THOUGHTFUL, after=2)
@example(log=THOUGHTFUL, after=4)
def test_a_merged_catch_up_from_any_event_tells_the_same(dialect: str, log: list[Event], after: int) -> None:
    """Where an event's frame depends on those before it (`<think>`), merged ones know where they began."""
    encoder = DIALECTS[dialect].encoder(EncodeOptions())(View(fold(log)))
    first = after % len(log)
    merged, next_seq = b"", first
    for seq, event in merge(log[first:], first):
        merged += (
            encoder.encode_run(next_seq, seq, event) if isinstance(encoder, EncodesRuns) else encoder.encode(seq, event)
        )
        next_seq = seq + 1
    single = b"".join(encoder.encode(seq, event) for seq, event in enumerate(log[first:], first))
    assert told(merged) == told(single)


def told(data: bytes) -> tuple[str, list[object]]:
    """The answer's text, and whatever is no piece of it."""
    objects = [json.loads(message.data) for message in parse(data)]
    pieces = [o.get("textResponse", o.get("content")) for o in objects if _is_piece(o)]
    return "".join(pieces), [o for o in objects if not _is_piece(o)]


def _is_piece(payload: JsonObject) -> bool:
    kind = payload["type"]
    return kind in ("chunk", "textResponse") or (kind == "textResponseChunk" and not payload["close"])


@every_dialect
@given(reason=TEXTS)
def test_what_is_not_in_the_log_moves_no_cursor(dialect: str, reason: str) -> None:
    """They are the connection's: a viewer that is cut after one must come back with the cursor it had."""
    encoder = DIALECTS[dialect].encoder(EncodeOptions())(View(fold([])))
    parser = Parser()
    parser.feed(b"id: 1.4\ndata: {}\n\n")
    messages = parser.feed(encoder.reset(reason) + encoder.heartbeat + farewell(encoder, 1_500))
    assert parser.last_event_id == "1.4"
    assert parser.retry_ms == 1_500
    assert {message.event for message in messages} <= {"reset", "heartbeat", "reconnect"}
    assert parser.feed(b"data: next\n\n")[-1].data == "next"


@every_dialect
@given(log=LOGS)
def test_a_log_has_one_end_in_every_dialect(dialect: str, log: list[Event]) -> None:
    """No viewer is left without an end, and no error looks like success (portkey #1797, bifrost #5546)."""
    data = frames(dialect, log, EncodeOptions())
    assert type(log[-1]) in TERMINAL_TYPES
    end = parse(data[-1])
    assert end
    if isinstance(log[-1], Error):
        assert b"[DONE]" not in data[-1].split(b"data: ")[1][:6]
        said = [json.loads(message.data) for message in end]
        assert "reason" in end[-1].data or any("error" in (*payload, payload.get("type")) for payload in said)


@every_dialect
@given(log=LOGS, ahead=st.lists(EVENTS, max_size=4))
@example(log=[START, Text("a"), Usage(1, 1), Done("stop")], ahead=[Metadata({"refused": True})])
def test_frames_do_not_depend_on_what_was_written_after(dialect: str, log: list[Event], ahead: list[Event]) -> None:
    """A producer is ahead of the commit: what a viewer gets now and another one later must be the same bytes."""
    body = log[:-2]
    now, later = (DIALECTS[dialect].encoder(EncodeOptions())(View(fold(known))) for known in (body + ahead, log))
    for seq, event in enumerate(body):
        assert now.encode(seq, event) == later.encode(seq, event)


@every_dialect
def test_equal_options_make_equal_factories(dialect: str) -> None:
    """Viewers share one encoded copy a dialect and batch, which is found by the factory."""
    make = DIALECTS[dialect].encoder
    assert make(EncodeOptions(True, 2)) == make(EncodeOptions(True, 2))
    assert hash(make(EncodeOptions(True, 2))) == hash(make(EncodeOptions(True, 2)))


@every_dialect
def test_names_and_defaults(dialect: str) -> None:
    entry = DIALECTS[dialect]
    assert entry.name == dialect
    assert entry.default_linger_s == (10.0 if dialect == "openai_chat" else 300.0)
    assert entry.holds_head is (dialect == "openai_chat")

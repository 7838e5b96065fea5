"""Reference 002: StreamRequests in, named events out; and what of its own code must not be copied."""

from __future__ import annotations

import json
from collections.abc import Sequence
from zlib import crc32

import pytest

from headwater.dialects import DIALECTS, EncodeOptions
from headwater.dialects.streaming import (
    StreamFacts,
    StreamingEncoding,
    StreamOptions,
    StreamRequestBody,
    decode_body,
    decode_query,
    understood,
)
from headwater.errors import InputError
from headwater.events import Done, Error, Event, Metadata, Reasoning, Status, Text, ToolCall, Usage
from headwater.sse import Message, Parser
from headwater.streams.fold import fold
from headwater.streams.merge import merge
from tests.conformance.dialects.cells import CELLS, START, STREAM, View

DIALECT = DIALECTS["streaming"]
MESSAGES = [{"role": "user", "content": "Hello"}]
CREATED = "2025-06-15T15:06:40.999Z"

# The StreamRequest that the reference's own test sends, and the same as its controller takes it.
NESTED = {
    "id": "test-request",
    "clientId": "test-client",
    "provider": "openai",
    "model": "gpt-3.5-turbo",
    "messages": MESSAGES,
    "options": {"stream": True, "temperature": 0.5, "maxTokens": 9, "bufferSize": 4096, "flushInterval": 50},
    "metadata": {"purpose": "chat", "priority": "high", "userId": "u", "sessionId": "s"},
}
FLAT = {
    "provider": "openai",
    "model": "gpt-3.5-turbo",
    "messages": MESSAGES,
    "temperature": 0.5,
    "maxTokens": 9,
    "stream": True,
    "bufferSize": 4096,
    "flushInterval": 50,
    "purpose": "chat",
    "priority": "high",
    "userId": "u",
}
UNDERSTOOD = StreamRequestBody(
    messages=MESSAGES,  # type: ignore[arg-type]
    model="gpt-3.5-turbo",
    provider="openai",
    request_id="test-request",
    client_id="test-client",
    options=StreamOptions(temperature=0.5, max_tokens=9, stream=True, buffer_size=4096, flush_interval=50.0),
    metadata=StreamFacts(user_id="u", session_id="s", purpose="chat", priority="high"),
)


def body(**fields: object) -> bytes:
    return json.dumps({"messages": MESSAGES} | fields).encode()


def frames(events: Sequence[Event], *, merged: bool = False) -> list[Message]:
    """As one viewer gets them; `merged` as one that catches up."""
    encoder = DIALECT.encoder(EncodeOptions())(View(fold(events)))
    numbered = merge(events, 0) if merged else enumerate(events)
    return Parser().feed(b"".join(encoder.encode(seq, event) for seq, event in numbered))


def payload(message: Message) -> dict[str, object]:
    data = json.loads(message.data)
    assert isinstance(data, dict)
    return data


# ------------------------------------------------------------------ requests


def test_a_nested_and_a_flat_request_are_the_same() -> None:
    assert decode_body(json.dumps(NESTED).encode()) == UNDERSTOOD
    query = {"requestId": "test-request", "clientId": "test-client", "sessionId": "s", "ticket": "t"}
    assert decode_body(json.dumps(FLAT).encode(), query) == UNDERSTOOD


def test_the_body_wins_over_the_query_and_the_objects_over_what_lies_beside_them() -> None:
    query = {"requestId": "q", "model": "q", "purpose": "not from here", "clientId": ""}
    asked = decode_body(body(model="b", id="b", temperature=1, options={"temperature": 0, "model": "no"}), query)
    assert (asked.model, asked.request_id, asked.client_id) == ("b", "q", None)
    assert (asked.options.temperature, asked.metadata.purpose) == (0, "chat")


def test_what_is_left_out_or_null() -> None:
    expected = StreamRequestBody(messages=MESSAGES)  # type: ignore[arg-type]
    assert decode_body(body()) == expected
    nothing = dict.fromkeys((*FLAT, "options", "context", "id", "prompt"), None) | {"messages": MESSAGES}
    assert decode_body(json.dumps(nothing | {"metadata": {"priority": None}}).encode()) == expected


def test_a_prompt_is_one_message() -> None:
    assert decode_body(b'{"prompt": "Hello"}').messages == MESSAGES


def test_the_canonical_request() -> None:
    decoded = DIALECT.decode(json.dumps(NESTED).encode())
    assert decoded == understood(UNDERSTOOD)
    request = decoded.request
    assert (request.model, request.messages, request.priority) == ("openai/gpt-3.5-turbo", MESSAGES, "high")
    assert request.params == {"temperature": 0.5, "max_tokens": 9}
    assert (decoded.stream, decoded.dialect, decoded.options) == (True, "streaming", EncodeOptions())
    assert DIALECT.decode(body(model="m")).request.model == "m"
    assert DIALECT.decode(body()).request.model == ""


@pytest.mark.parametrize(
    ("context", "before"),
    [("Be short.", [{"role": "system", "content": "Be short."}]), ("", []), ({"page": 3}, []), (None, [])],
)
def test_a_context_of_text_stands_before_the_messages(context: object, before: list[object]) -> None:
    """Other context is the application's own and never reaches a model by itself."""
    assert DIALECT.decode(body(context=context)).request.messages == [*before, *MESSAGES]
    assert decode_body(body(context=context)).context == context


@pytest.mark.parametrize(
    ("data", "param"),
    [
        (b"3", None),
        (b"{}", "messages"),
        (body(prompt="and"), "messages"),
        (b'{"prompt":""}', "prompt"),
        (body(messages=[]), "messages"),
        (body(messages=[{"content": "x"}]), "messages[0]"),
        (body(messages=[{"role": "user", "content": 5}]), "messages[0].content"),
        (body(model=1), "model"),
        (body(provider=1, model="m"), "provider"),
        (body(provider="openai"), "model"),
        (body(requestId=1), "requestId"),
        (body(clientId=1), "clientId"),
        (body(userId=1), "userId"),
        (body(temperature="x"), "temperature"),
        (body(maxTokens=0), "maxTokens"),
        (body(bufferSize=0), "bufferSize"),
        (body(flushInterval=-1), "flushInterval"),
        (body(purpose=1), "purpose"),
        (body(priority="urgent"), "priority"),
        (body(options=[]), "options"),
        (body(options={"bufferSize": "8k"}), "options.bufferSize"),
        (body(metadata={"priority": "urgent"}), "metadata.priority"),
    ],
)
def test_a_wrong_body_is_told_with_its_field(data: bytes, param: str | None) -> None:
    with pytest.raises(InputError) as caught:
        DIALECT.decode(data)
    assert caught.value.param == param


def test_a_query_alone_is_a_request() -> None:
    query = {name: str(value).lower() if value is True else str(value) for name, value in FLAT.items()}
    query |= {"messages": json.dumps(MESSAGES), "context": '{"page":3}', "requestId": "r", "ticket": "t", "userId": ""}
    asked = decode_query(query | {"options": "passed over"})
    assert (asked.messages, asked.context, asked.request_id) == (MESSAGES, {"page": 3}, "r")
    assert asked.options == UNDERSTOOD.options
    assert asked.metadata == StreamFacts(priority="high")
    assert decode_query({"prompt": "Hello"}).messages == MESSAGES


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({}, "messages"),
        ({"prompt": "a", "messages": "[]"}, "messages"),
        ({"messages": "[{]"}, "messages"),
        ({"prompt": "a", "bufferSize": "8k"}, "bufferSize"),
        ({"prompt": "a", "context": "{"}, "context"),
        ({"prompt": "a", "context": "[" * 100_000}, "context"),
    ],
)
def test_a_wrong_query_is_told_with_its_field(query: dict[str, str], param: str) -> None:
    with pytest.raises(InputError) as caught:
        decode_query(query)
    assert caught.value.param == param


# ------------------------------------------------------------------ events

LOG: list[Event] = [
    START,
    Status("connecting"),
    Text("Grüß"),
    Text(" dich"),
    Reasoning("hm"),
    Text("\n😀"),
    ToolCall(0, "c", "f", "{}"),
    Text("!"),
    Usage(2, 4),
    Metadata({"duration_ms": 1_500.5}),
    Done("stop"),
]


def test_events_have_the_reference_s_names() -> None:
    names = [message.event for message in frames(LOG)]
    assert names == ["start", "metadata", *["chunk"] * 2, "metadata", "chunk", "metadata", "chunk", *["metadata"] * 2,
                     "complete"]  # fmt: skip


def test_a_chunk_tells_sequence_size_and_checksum_of_its_content() -> None:
    chunks = [payload(message) for message in frames(LOG) if message.event == "chunk"]
    assert [chunk["sequence"] for chunk in chunks] == [0, 1, 2, 3]
    assert [chunk["size"] for chunk in chunks] == [6, 5, 5, 1]
    for chunk in chunks:
        content = str(chunk["content"])
        assert chunk["size"] == len(content.encode())
        assert chunk["checksum"] == f"{crc32(content.encode()):08x}"
        assert chunk["delta"] == content
        assert (chunk["type"], chunk["timestamp"]) == ("content", CREATED)


def test_merged_chunks_stay_truthful() -> None:
    """Numbered by the last piece in them; sizes still add up to the total that `complete` tells."""
    merged = [payload(message) for message in frames(LOG, merged=True) if message.event == "chunk"]
    assert [(chunk["content"], chunk["sequence"], chunk["size"]) for chunk in merged] == [
        ("Grüß dich", 1, 11),
        ("\n😀", 2, 5),
        ("!", 3, 1),
    ]
    complete = payload(frames(LOG)[-1])
    assert complete["totalBytes"] == sum(int(str(chunk["size"])) for chunk in merged)
    assert complete["totalChunks"] == 4


def test_a_piece_of_another_choice_is_no_chunk_but_counts() -> None:
    log: list[Event] = [START, Text("a"), Text("b", choice=1), Text("c"), Done("stop", ["stop", "length"])]
    start, first, other, second, complete = frames(log)
    assert (start.event, other.event, payload(other)["text"]) == ("start", "metadata", "b")
    assert [payload(chunk)["sequence"] for chunk in (first, second)] == [0, 2]
    assert payload(complete)["finishReasons"] == ["stop", "length"]


def test_refusals_and_logprobs_are_told_with_their_text() -> None:
    logprobs = {"content": [{"token": "N"}]}
    first, second = map(payload, frames([Text("No", refusal=True), Text("N", logprobs=logprobs)]))
    assert (first["content"], first["refusal"]) == ("No", True)
    assert (second["logprobs"], "refusal" in second) == (logprobs, False)


def test_a_lone_surrogate_has_the_size_of_what_is_sent_for_it() -> None:
    chunk = payload(frames([Text("a\ud800")])[0])
    assert (chunk["content"], chunk["size"]) == ("a�", 4)
    assert chunk["checksum"] == f"{crc32('a�'.encode()):08x}"


def test_an_end_tells_how_long_it_took_where_that_is_known() -> None:
    complete = payload(frames(LOG)[-1])
    assert complete == {
        "connectionId": STREAM,
        "finishReason": "stop",
        "totalChunks": 4,
        "totalBytes": 17,
        "duration": 1500.5,
        "timestamp": "2025-06-15T15:06:42.499Z",
    }
    failed = payload(frames([START, Metadata({"duration_ms": 1}), Error("x", "y")])[-1])
    assert (failed["duration"], failed["timestamp"]) == (1, "2025-06-15T15:06:41.000Z")


@pytest.mark.parametrize("duration", [None, "long", -1, 1e300, float("inf"), float("nan")])
def test_a_duration_that_is_none_is_left_out(duration: object) -> None:
    """Metadata may come from any application; it must not cost a viewer its end."""
    complete = payload(frames([START, Metadata({"duration_ms": duration}), Done("stop")])[-1])
    assert "duration" not in complete
    assert complete["timestamp"] == CREATED


def test_the_connection_is_the_stream_unless_it_has_a_name_of_its_own() -> None:
    view = View(fold([START]))
    for encoding, name in ((StreamingEncoding(), STREAM), (StreamingEncoding("c-1"), "c-1")):
        encoder = encoding(view)
        sent = encoder.encode(0, START) + encoder.heartbeat + encoder.reset("trimmed") + encoder.reconnect(900)
        assert [payload(message)["connectionId"] for message in Parser().feed(sent)] == [name] * 4


def test_the_events_of_the_connection() -> None:
    encoder = StreamingEncoding("c")(View(fold([])))
    sent = Parser().feed(encoder.heartbeat + encoder.reset("unknown_cursor") + encoder.reconnect(2_000))
    assert [(message.event, payload(message)) for message in sent] == [
        ("heartbeat", {"connectionId": "c", "timestamp": CREATED}),
        ("reset", {"connectionId": "c", "reason": "unknown_cursor", "timestamp": CREATED}),
        ("reconnect", {"connectionId": "c", "retry": 2_000, "timestamp": CREATED}),
    ]


def test_equal_encodings_share_a_copy_and_others_do_not() -> None:
    assert DIALECT.encoder(EncodeOptions(True, 4)) == DIALECT.encoder(EncodeOptions()) == StreamingEncoding()
    assert StreamingEncoding("a") != StreamingEncoding("b")


# ------------------------------------------------------------------ faults of the reference's own code


@pytest.mark.parametrize(
    ("end", "name"), [(Done("stop"), "complete"), (Done("cancelled"), "complete"), (Error("x", "y"), "error")]
)
def test_the_end_is_sent(end: Event, name: str) -> None:
    """The reference changes the status before it sends, so its `complete` and `error` never go out."""
    names = [message.event for message in frames([START, Text("a"), Usage(1, 1), end])]
    assert names[-1] == name
    assert sum(name in ("complete", "error") for name in names) == 1


def test_the_timestamp_is_in_the_json_and_is_no_field() -> None:
    """`timestamp:` is not an SSE field: a browser drops it."""
    encoder = DIALECT.encoder(EncodeOptions())(View(fold(LOG)))
    for events in CELLS.values():
        sent = b"".join(encoder.encode(seq, event) for seq, event in enumerate(events))
        assert not any(line.startswith(b"timestamp") for line in sent.split(b"\n"))
        assert all("timestamp" in payload(message) for message in Parser().feed(sent))


def test_ids_resume_and_the_same_event_is_always_the_same_bytes() -> None:
    """The reference draws ids at random, so a returning client could name no place to go on from."""
    one, other = frames(LOG), frames(LOG)
    assert [message.id for message in one] == [f"1.{seq}" for seq in range(len(LOG))]
    assert one == other


def test_the_answer_is_not_told_again_with_every_chunk() -> None:
    """O(n²) accumulation: litellm #21698. The reference's own test sends content that grows."""
    log: list[Event] = [Text("x" * 10)] * 100
    assert sum(len(message.data) for message in frames(log)) < 100 * 250


def test_figures_are_real() -> None:
    """Most quality figures of the reference return 0."""
    complete = payload(frames(LOG)[-1])
    assert complete["totalChunks"] and complete["totalBytes"] and complete["duration"]

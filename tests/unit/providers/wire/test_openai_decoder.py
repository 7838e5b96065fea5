from __future__ import annotations

import json
from typing import ClassVar

import pytest

from headwater.errors import ProviderProtocolError, ProviderRejected, ProviderTruncated
from headwater.events import Done, Metadata, Text, ToolCall, Usage
from headwater.providers.wire import sse_or_json
from headwater.providers.wire.openai_decoder import OpenAIDecoder
from tests.unit.providers.kit import DONE, STOP, delta, sse, whole


def test_text_then_the_end() -> None:
    events = whole(OpenAIDecoder(), sse(delta(content="Hel"), delta(content="lo"), STOP, DONE))
    assert events == [Text("Hel"), Text("lo"), Done("stop")]


def test_events_come_with_the_bytes_that_complete_them() -> None:
    decoder = OpenAIDecoder()
    body = sse(delta(content="Hel"))
    assert decoder.feed(body[:-1]) == []
    assert decoder.feed(body[-1:]) == [Text("Hel")]
    assert decoder.feed(b": a comment\n\n") == []
    assert decoder.feed(sse(STOP, DONE)) == [Done("stop")]


def test_facts_of_the_first_chunk_that_has_any_are_told_once() -> None:
    """Azure's first chunk is empty but for its prompt filter results."""
    empty = {"id": "", "model": "", "choices": [], "prompt_filter_results": []}
    facts = {"id": "c1", "model": "gpt-x", "system_fingerprint": "fp", "service_tier": "default"}
    body = sse(empty, {**facts, **delta(content="a")}, {**facts, "id": "c2", **delta(content="b")}, STOP, DONE)
    assert whole(OpenAIDecoder(), body) == [Metadata(facts), Text("a"), Text("b"), Done("stop")]


def test_usage_in_a_chunk_of_its_own() -> None:
    body = sse(delta(content="a"), STOP, {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}, DONE)
    assert whole(OpenAIDecoder(), body)[-2:] == [Usage(3, 1), Done("stop")]


def test_usage_on_the_finish_chunk_and_without_choices() -> None:
    usage = {"usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    assert Usage(3, 2) in whole(OpenAIDecoder(), sse({**STOP, **usage}, DONE))
    assert Usage(3, 2) in whole(OpenAIDecoder(), sse(STOP, usage, DONE))
    assert Usage(3, 2) in whole(OpenAIDecoder(), sse(STOP, {"choices": None, **usage}, DONE))


def test_of_cumulative_usage_the_last_counts() -> None:
    """vLLM's continuous_usage_stats."""
    chunks = [{**delta(content="a"), "usage": {"prompt_tokens": 3, "completion_tokens": n}} for n in (1, 2, 3)]
    events = whole(OpenAIDecoder(), sse(*chunks, STOP, DONE))
    assert [event for event in events if isinstance(event, Usage)] == [Usage(3, 3)]


def test_the_end_of_the_body_after_every_finish_reason_is_an_end() -> None:
    """Some servers leave `[DONE]` out."""
    body = sse(delta(content="a"), delta(1, content="b"), STOP, delta(1, finish="length"))
    assert whole(OpenAIDecoder(), body)[-1] == Done("stop", ["stop", "length"])


@pytest.mark.parametrize("end", [b"", sse(DONE)], ids=["eof", "[DONE]"])
@pytest.mark.parametrize("chunks", [[delta(content="a")], [delta(1, content="b"), STOP], []])
def test_without_every_finish_reason_it_is_truncated(chunks: list[object], end: bytes) -> None:
    """A dead upstream becomes `[DONE]`: bifrost #5546. A cut one becomes a clean 200: portkey #1797."""
    decoder = OpenAIDecoder()
    with pytest.raises(ProviderTruncated):
        whole(decoder, sse(*chunks) + end)


def test_an_unterminated_last_frame_does_not_count() -> None:
    decoder = OpenAIDecoder()
    decoder.feed(sse(delta(content="a")) + sse(STOP)[:-2])
    with pytest.raises(ProviderTruncated):
        decoder.close()


def test_events_before_a_fault_in_the_same_read_are_pending() -> None:
    decoder = OpenAIDecoder()
    with pytest.raises(ProviderProtocolError):
        decoder.feed(sse(delta(content="kept"), b"{not json", delta(content="never")))
    assert decoder.pending == [Text("kept")]


@pytest.mark.parametrize(
    "error",
    [
        {"error": {"message": "overloaded", "code": "server_error"}},
        {"error": "overloaded"},
        {"object": "error", "message": "overloaded", "code": 503},
        {"detail": "overloaded"},
        {"message": "overloaded", "type": "server_error"},
        [{"error": {"message": "overloaded"}}],
    ],
)
def test_error_objects_in_the_stream(error: object) -> None:
    decoder = OpenAIDecoder()
    with pytest.raises(ProviderRejected, match="overloaded"):
        decoder.feed(sse(delta(content="a")) + b"event: error\n" + sse(error))
    assert decoder.pending == [Text("a")]


def test_an_error_beside_choices_keeps_their_text() -> None:
    """OpenRouter: the error comes in a chunk with content and finish_reason `error`."""
    decoder = OpenAIDecoder()
    with pytest.raises(ProviderRejected, match="disconnected") as caught:
        decoder.feed(sse({**delta(content="last", finish="error"), "error": {"message": "disconnected", "code": 502}}))
    assert decoder.pending == [Text("last")]
    assert caught.value.http_status == 502


def test_errors_do_not_repeat_the_key() -> None:
    with pytest.raises(ProviderRejected) as caught:
        OpenAIDecoder(secret="hush-hush").feed(sse({"error": {"message": "key hush-hush is wrong"}}))
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("payload", [{"hello": 1}, {}, 7, [], "text", {"choices": [{"delta": {"content": 5}}]}, b"{"])
def test_json_that_is_no_chunk(payload: object) -> None:
    with pytest.raises(ProviderProtocolError):
        OpenAIDecoder().feed(sse(payload))
    with pytest.raises(ProviderProtocolError):
        OpenAIDecoder().feed(sse({"id": "c", **delta(content="a")}, payload))


def test_deeply_nested_json_is_refused() -> None:
    with pytest.raises(ProviderProtocolError):
        OpenAIDecoder().feed(sse(b"[" * 100_000))


def test_a_frame_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ProviderProtocolError, match="too much"):
        OpenAIDecoder().feed(b"data: " + b"x" * (9 * 2**20))
    monkeypatch.setattr(sse_or_json, "_MAX_WHOLE_BYTES", 10)
    with pytest.raises(ProviderProtocolError, match="too large"):
        OpenAIDecoder().feed(b'{"choices": [' + b" " * 10)


def test_empty_payloads_are_passed_over() -> None:
    assert whole(OpenAIDecoder(), b"data:\n\ndata:  \n\n" + sse(delta(content="a"), STOP, DONE))[0] == Text("a")


def test_bytes_after_the_end_are_passed_over() -> None:
    decoder = OpenAIDecoder()
    assert decoder.feed(sse(delta(content="a"), STOP, DONE, delta(content="b")))[-1] == Done("stop")
    assert decoder.feed(sse(b"garbage")) == []


class TestHalfCharacters:
    def test_are_joined_across_deltas(self) -> None:
        body = sse(
            rb'{"choices":[{"index":0,"delta":{"content":"a\ud83d"}}]}',
            rb'{"choices":[{"index":0,"delta":{"content":"\ude00b"}}]}',
            STOP,
            DONE,
        )
        assert whole(OpenAIDecoder(), body) == [Text("a"), Text("😀b"), Done("stop")]

    def test_are_joined_per_choice_and_kind(self) -> None:
        body = sse(
            rb'{"choices":[{"index":0,"delta":{"content":"\ud83d"}},{"index":1,"delta":{"content":"\ud83d"}}]}',
            rb'{"choices":[{"index":1,"delta":{"content":"\ude01"}},{"index":0,"delta":{"content":"\ude00"}}]}',
            delta(0, finish="stop"),
            delta(1, finish="stop"),
        )
        assert whole(OpenAIDecoder(), body)[:2] == [Text("😁", 1), Text("😀", 0)]

    def test_are_replaced_where_nothing_completes_them(self) -> None:
        body = sse(rb'{"choices":[{"index":0,"delta":{"content":"a\ud83d"}}]}', delta(content="b"), STOP, DONE)
        assert whole(OpenAIDecoder(), body) == [Text("a"), Text("\ufffdb"), Done("stop")]
        body = sse(rb'{"choices":[{"index":0,"delta":{"content":"a\ud83d"}}]}', STOP, DONE)
        assert whole(OpenAIDecoder(), body) == [Text("a"), Text("\ufffd"), Done("stop")]
        body = sse(rb'{"choices":[{"index":0,"delta":{"content":"\ude00a"}}]}', STOP, DONE)
        assert whole(OpenAIDecoder(), body)[0] == Text("\ufffda")

    def test_in_tool_arguments(self) -> None:
        start = {"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a":"'}}
        half = rb'{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\ud83d"}}]}}]}'
        events = whole(OpenAIDecoder(), sse(delta(tool_calls=[start]), half, STOP, DONE))
        assert events == [ToolCall(0, "c", "f", '{"a":"'), ToolCall(0, arguments="\ufffd"), Done("stop")]

    def test_after_the_first_chunk(self) -> None:
        half = rb'{"id":"c","choices":[{"index":0,"delta":{"content":"a\ud83d"}}]}'
        body = sse({"id": "c", **delta(content="x")}, half, STOP, DONE)
        assert whole(OpenAIDecoder(), body)[1:] == [Text("x"), Text("a"), Text("\ufffd"), Done("stop")]

    def test_elsewhere_are_replaced(self) -> None:
        payload = rb'{"id":"\ud83d","choices":[{"delta":{"content":"a"},"logprobs":{"content":[{"token":"\ud83d"}]}}]}'
        events = whole(OpenAIDecoder(), sse(payload, STOP, DONE))
        assert events[0] == Metadata({"id": "\ufffd"})
        assert events[1] == Text("a", logprobs={"content": [{"token": "\ufffd"}]})


def test_json_that_is_only_nearly_json_is_understood() -> None:
    """vLLM writes `-Infinity` into log probabilities; others send bytes that are not UTF-8."""
    body = sse(b'{"choices":[{"index":0,"delta":{"content":"a\xff"},"logprobs":{"x":-Infinity}}]}', STOP, DONE)
    text = whole(OpenAIDecoder(), body)[0]
    assert isinstance(text, Text)
    assert text.text == "a\ufffd"
    assert text.logprobs == {"x": float("-inf")}


class TestWholeObject:
    """A server that answers with `chat.completion` although a stream was asked for."""

    ANSWER: ClassVar = {
        "id": "c1",
        "object": "chat.completion",
        "model": "m",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"},
            {
                "index": 1,
                "message": {"tool_calls": [{"id": "t", "function": {"name": "f", "arguments": "{}"}}]},
                "finish_reason": "tool_calls",
            },
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
    }

    def test_becomes_a_stream(self) -> None:
        for prefix in (b"", b"\xef\xbb\xbf", b" \n"):
            assert whole(OpenAIDecoder(), prefix + json.dumps(self.ANSWER, indent=1).encode() + b"\n") == [
                Metadata({"id": "c1", "model": "m"}),
                Text("Hello"),
                ToolCall(0, "t", "f", "{}", choice=1),
                Usage(1, 2),
                Done("stop", ["stop", "tool_calls"]),
            ]

    def test_in_single_bytes(self) -> None:
        decoder = OpenAIDecoder()
        body = b"\xef\xbb\xbf\r\n" + json.dumps(self.ANSWER).encode()
        assert [event for byte in body for event in decoder.feed(bytes([byte]))] == []
        assert decoder.close()[-1] == Done("stop", ["stop", "tool_calls"])

    def test_that_needs_the_lenient_decoder(self) -> None:
        body = rb'{"choices":[{"message":{"content":"a\ud83d"},"finish_reason":"stop"}]}'
        assert whole(OpenAIDecoder(), body) == [Text("a"), Text("\ufffd"), Done("stop")]

    def test_cut_is_truncated(self) -> None:
        body = json.dumps(self.ANSWER).encode()
        for cut in range(1, len(body)):
            with pytest.raises(ProviderTruncated):
                whole(OpenAIDecoder(), body[:cut])

    def test_that_is_an_error(self) -> None:
        for body in (b'{"error": {"message": "no"}}', b'[{"error": {"message": "no"}}]', b'{"detail": "no"}'):
            with pytest.raises(ProviderRejected, match="no"):
                whole(OpenAIDecoder(), body)

    def test_that_is_something_else(self) -> None:
        for body in (b'{"hello": 1}', b"[1]", b'{"choices":5}'):
            with pytest.raises(ProviderProtocolError):
                whole(OpenAIDecoder(), body)


def test_a_body_of_blanks_is_truncated() -> None:
    for body in (b"", b"\n\n", b"\xef\xbb"):
        with pytest.raises(ProviderTruncated):
            whole(OpenAIDecoder(), body)


def test_a_web_page_is_no_answer() -> None:
    with pytest.raises(ProviderProtocolError, match="web page"):
        OpenAIDecoder().feed(b"\n<!DOCTYPE html>")


GROQ = {"id": "c", "x_groq": {"id": "req_1"}}
GROQ_USAGE = {"prompt_tokens": 3, "completion_tokens": 2}


@pytest.mark.parametrize("text", ["a", "\ud83d"], ids=["strict", "lenient"])
def test_usage_that_groq_tells_beside_the_choices(text: str) -> None:
    chunks = [delta(content="") | GROQ, delta(content=text), STOP | {"x_groq": {"id": "req_1", "usage": GROQ_USAGE}}]
    events = whole(OpenAIDecoder(), sse(*chunks, DONE))
    assert [event for event in events if isinstance(event, Usage)] == [Usage(3, 2)]
    assert events[-1] == Done("stop")


def test_usage_as_openai_tells_it_goes_before_groqs() -> None:
    chunks = [delta(content="a") | GROQ, {"choices": [], "usage": {"prompt_tokens": 9}}]
    events = whole(OpenAIDecoder(), sse(*chunks, STOP | {"x_groq": {"usage": GROQ_USAGE}}, DONE))
    assert Usage(9, 0) in events


def test_an_error_that_groq_tells_beside_the_choices() -> None:
    decoder = OpenAIDecoder()
    with pytest.raises(ProviderRejected) as caught:
        decoder.feed(sse(delta(content="a") | GROQ, delta(content="b") | {"x_groq": {"error": "over capacity"}}))
    assert caught.value.message == "over capacity"
    assert decoder.pending == [Metadata({"id": "c"}), Text("a"), Text("b")]


def test_what_groq_tells_may_be_anything() -> None:
    chunks = [delta(content="a") | {"x_groq": 7}, delta(content="b") | {"id": "c", "x_groq": "?"}]
    events = whole(OpenAIDecoder(), sse(*chunks, STOP | {"x_groq": None}, DONE))
    assert events == [Text("a"), Metadata({"id": "c"}), Text("b"), Done("stop")]


def test_timings_are_told_before_usage() -> None:
    """llama.cpp. Timings in every chunk would be an event a token."""
    chunks = [delta(content="a") | {"timings": {"n": 1}}, STOP]
    end = {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}, "timings": {"n": 2}}
    events = whole(OpenAIDecoder(), sse(*chunks, end, DONE))
    assert events == [Text("a"), Metadata({"timings": {"n": 2}}), Usage(1, 1), Done("stop")]


def test_frames_that_differ_in_their_text_only() -> None:
    """One frame a read: the second is decoded in full and learned from, the third read by what it shares with it."""
    decoder = OpenAIDecoder()
    texts = ["a", "b", "c", "", "d"]
    events = [event for text in texts for event in decoder.feed(sse({"id": "x"} | delta(content=text)))]
    assert events == [Metadata({"id": "x"}), *(Text(text) for text in texts if text)]
    assert decoder.feed(sse(STOP, DONE)) == [Done("stop")]

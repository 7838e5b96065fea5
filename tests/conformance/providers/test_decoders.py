"""Every wire protocol's decoder through the same cases: chunking changes nothing, no cut looks like success."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import ModuleType
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.errors import HeadwaterError, ProviderError, ProviderRejected, ProviderTruncated
from headwater.events import CONTENT_TYPES, Done, Event, Reasoning, Text, ToolCall, Usage, encode_segment
from headwater.providers import Ollama, OpenAIChat
from headwater.providers.ports import Decoder, WireProtocol
from headwater.providers.wire.anthropic import Anthropic
from headwater.providers.wire.azure import AzureOpenAI
from headwater.providers.wire.gemini import Gemini
from headwater.providers.wire.responses import Responses
from tests.upstream import (
    Script,
    anthropic_format,
    azure_format,
    gemini_format,
    ollama_format,
    openai_format,
    responses_format,
)
from tests.upstream.plan import plan
from tests.upstream.script import ScriptedCall


class Case(NamedTuple):
    """`end_mark`: the protocol has one. Gemini's has not: only the end of the body makes an answer whole."""

    protocol: Callable[[], WireProtocol]
    format: ModuleType
    sse: bool
    end_mark: bool = True


CASES = [
    pytest.param(Case(OpenAIChat, openai_format, True), id="openai_chat"),
    pytest.param(Case(lambda: AzureOpenAI("https://h"), azure_format, True), id="azure"),
    pytest.param(Case(Ollama, ollama_format, False), id="ollama"),
    pytest.param(Case(Anthropic, anthropic_format, True), id="anthropic"),
    pytest.param(Case(Gemini, gemini_format, True, end_mark=False), id="gemini"),
    pytest.param(Case(Responses, responses_format, True), id="openai_responses"),
]
REQUEST = {"model": "m", "messages": [], "stream_options": {"include_usage": True}}
CALLS = [ScriptedCall("weather", {"city": "Zürich 🌊", "days": 2}), ScriptedCall("clock", {})]
SCRIPTS = [
    Script(tokens=30),
    Script(tokens=0),
    Script(tokens=8, reasoning="let me think about 東京 first"),
    Script(tool_calls=CALLS),
    Script(tool_calls=CALLS, text="and a text 🚀"),
    Script(tokens=12, finish_reason="length"),
    Script(tokens=3, usage=False),
]
SHAPES = ["", "crlf", "comments"]
FAULTS = ["garbage", "not_a_chunk", "error_mid", "cut_clean"]


def body_of(case: Case, script: Script, shape: str = "") -> bytes:
    """The body bytes, as the scripted server would send them."""
    answer = case.format.stream(REQUEST, script)
    faults = dict.fromkeys(filter(None, [*script.fault.split("+"), shape]), "")
    made = plan(
        answer, faults | {"close_delimited": ""}, sse=case.sse, fault_frame=case.format.fault_frame(script.fault)
    )
    return b"".join(frame.data for frame in made.writes[1:])


def run(decoder: Decoder, chunks: Iterable[bytes]) -> tuple[list[Event], type[HeadwaterError] | None]:
    """All events, those before a fault too, and the fault."""
    events: list[Event] = []
    try:
        for chunk in chunks:
            events += decoder.feed(chunk)
        events += decoder.close()
    except ProviderError as error:
        return events + decoder.pending, type(error)
    return events, None


def sliced(body: bytes, sizes: list[int]) -> list[bytes]:
    chunks, at = [], 0
    while at < len(body):
        size = sizes[len(chunks) % len(sizes)]
        chunks.append(body[at : at + size])
        at += size
    return chunks


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("script", SCRIPTS, ids=str)
def test_a_whole_answer(case: Case, script: Script) -> None:
    events, error = run(case.protocol().decoder(), [body_of(case, script)])
    assert error is None
    assert text_of(events) == ("" if script.tool_calls and script.text is None else script.answer())
    assert "".join(event.text for event in events if isinstance(event, Reasoning)) == script.reasoning
    done = events[-1]
    assert isinstance(done, Done)
    assert done.reason == (script.finish_reason or ("tool_calls" if script.tool_calls else "stop"))
    assert isinstance(events[-2], Usage) == (script.usage is not False)
    calls: dict[int, list[str]] = {}
    for event in events:
        if isinstance(event, ToolCall):
            calls.setdefault(event.index, [event.name, ""])[1] += event.arguments
    assert [name for name, _ in calls.values()] == [call.name for call in script.tool_calls]
    encode_segment(events)


@pytest.mark.parametrize("case", CASES)
@given(
    script=st.sampled_from([*SCRIPTS, *(Script(tokens=6, fault=fault) for fault in FAULTS)]),
    shape=st.sampled_from(SHAPES),
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=8),
)
@settings(max_examples=150, deadline=None)
def test_any_chunking_gives_the_same_events(case: Case, script: Script, shape: str, sizes: list[int]) -> None:
    body = body_of(case, script, shape)
    assert run(case.protocol().decoder(), sliced(body, sizes)) == run(case.protocol().decoder(), [body])


@pytest.mark.parametrize("case", CASES)
def test_one_byte_at_a_time(case: Case) -> None:
    for script in SCRIPTS:
        body = body_of(case, script)
        assert run(case.protocol().decoder(), sliced(body, [1])) == run(case.protocol().decoder(), [body])


@pytest.mark.parametrize("case", CASES)
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_no_cut_looks_like_success(case: Case, data: st.DataObject) -> None:
    """A cut upstream becomes a clean end: portkey #1797; bifrost #5546. Text told before the cut is kept."""
    script = Script(tokens=10)
    body = body_of(case, script)
    cut = data.draw(st.integers(0, len(body)))
    events, error = run(case.protocol().decoder(), [body[:cut]])
    whole, _ = run(case.protocol().decoder(), [body])
    if error is None:
        assert [event for event in events if type(event) in CONTENT_TYPES] == [
            event for event in whole if type(event) in CONTENT_TYPES
        ]
        assert isinstance(events[-1], Done)
    else:
        assert error is ProviderTruncated
        assert events == whole[: len(events)]


@pytest.mark.parametrize("case", CASES)
def test_an_error_object_in_the_body(case: Case) -> None:
    events, error = run(case.protocol().decoder(), [body_of(case, Script(tokens=4, fault="error_mid"))])
    assert error is ProviderRejected
    assert text_of(events) == "".join(Script(tokens=4).pieces()[:2])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("body", [b"<!DOCTYPE html><html></html>", b"  \r\n<html>\n</html>\n"])
def test_a_web_page_is_no_answer(case: Case, body: bytes) -> None:
    for chunks in ([body], sliced(body, [1])):
        events, error = run(case.protocol().decoder(), chunks)
        assert (events, error is not None) == ([], True)


@pytest.mark.parametrize("case", CASES)
@given(body=st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
@settings(max_examples=200, deadline=None)
def test_any_bytes_end_in_a_typed_error(case: Case, body: bytes) -> None:
    for prefix in (b"", b"data: ", b"{", b'{"choices":['):
        _, error = run(case.protocol().decoder(), [prefix + body + b"\n\n"])
        assert error is not None


@pytest.mark.parametrize("case", CASES)
def test_nothing_follows_the_end(case: Case) -> None:
    body = body_of(case, Script(tokens=2))
    decoder = case.protocol().decoder()
    events = decoder.feed(body)
    if not case.end_mark:
        events += decoder.close()
    assert isinstance(events[-1], Done)
    assert decoder.feed(body) == []
    assert decoder.close() == []
    assert decoder.pending == []


@pytest.mark.parametrize("case", CASES)
def test_a_body_without_bytes_is_truncated(case: Case) -> None:
    assert run(case.protocol().decoder(), []) == ([], ProviderTruncated)


@pytest.mark.parametrize("case", CASES)
def test_the_model_list(case: Case) -> None:
    protocol = case.protocol()
    assert protocol.list_models().method == "GET"
    with pytest.raises(ProviderError):
        protocol.parse_models(b'{"models": 1}')
    with pytest.raises(ProviderError):
        protocol.parse_models(b"\xff")

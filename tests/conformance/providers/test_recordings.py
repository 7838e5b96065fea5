"""The corpus: whatever a provider does in the field, nothing of its answer is lost, however its bytes arrive.

Expected events stand beside each recording (see `recordings` for how to write them anew).
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import anthropic.types
import ollama
import openai.types.responses
import pytest
from google.genai.types import GenerateContentResponse
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk
from pydantic import TypeAdapter

from headwater.errors import ProviderError
from headwater.events import Error, Usage
from headwater.providers.recordings import encode_recording
from headwater.providers.replay import PROTOCOLS, Replay
from headwater.request import ChatRequest

from .kit import KeepingWriter
from .recordings import CORPUS, NAMES, body_of, encoded, events_of, failure, golden, golden_path, load
from .test_decoders import sliced

# Providers whose official SDK has a type for every event of their stream; `ping` of Anthropic's has none.
OFFICIAL = {
    "anthropic-": TypeAdapter(anthropic.types.RawMessageStreamEvent),
    "gemini-": TypeAdapter(GenerateContentResponse),
    "ollama-": TypeAdapter(ollama.ChatResponse),
    "openai-": TypeAdapter(ChatCompletionChunk),
    "responses-": TypeAdapter(openai.types.responses.ResponseStreamEvent),
}
UNTYPED = ("ping", "error")


def test_every_recording_has_its_events_and_every_wire_protocol_a_recording() -> None:
    assert {path.name for path in CORPUS.iterdir()} == {
        f"{name}{suffix}" for name in NAMES for suffix in (".jsonl", ".events.json")
    }
    assert {load(name).header.protocol for name in NAMES} == set(PROTOCOLS)


@pytest.mark.parametrize("name", NAMES)
def test_the_file_is_in_its_canonical_form_and_says_where_it_comes_from(name: str) -> None:
    recording = load(name)
    assert encode_recording(recording) == (CORPUS / f"{name}.jsonl").read_bytes()
    assert encoded(golden(name)) == golden_path(name).read_bytes()
    assert recording.header.note
    assert recording.header.model


@pytest.mark.parametrize("name", NAMES)
def test_as_it_arrived(name: str) -> None:
    recording = load(name)
    assert events_of(recording, [read.data for read in recording.reads]) == golden(name)


@pytest.mark.parametrize("name", NAMES)
def test_one_byte_at_a_time(name: str) -> None:
    recording = load(name)
    assert events_of(recording, sliced(body_of(recording), [1])) == golden(name)


@pytest.mark.parametrize("name", NAMES)
@given(sizes=st.lists(st.integers(1, 500), min_size=1, max_size=8))
@settings(max_examples=25, deadline=None)
def test_in_any_chunking(name: str, sizes: list[int]) -> None:
    recording = load(name)
    assert events_of(recording, sliced(body_of(recording), sizes)) == golden(name)


@pytest.mark.parametrize("name", NAMES)
async def test_played_by_the_replay_provider(name: str) -> None:
    provider, writer, expected = Replay(CORPUS, pace=0), KeepingWriter(), golden(name)
    producer = provider.producer(ChatRequest(f"replay/{name}", [{"role": "user", "content": "hi"}]), f"replay/{name}")
    told: list[object] = []
    async with asyncio.timeout(10):
        try:
            await producer.run(writer)
        except ProviderError as error:
            told.append(failure(error))
    assert [*writer.events, *told] == expected
    assert writer.connections == (200 <= load(name).header.status < 300)


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(tuple(OFFICIAL))])
def test_the_official_types_have_a_place_for_every_frame(name: str) -> None:
    """What an SDK refuses is no documented format. A cut frame and the answer to a refused request are none."""
    recording = load(name)
    if recording.header.status != 200:
        return
    adapter = next(adapter for prefix, adapter in OFFICIAL.items() if name.startswith(prefix))
    kinds: Counter[bool] = Counter()
    for line in body_of(recording).decode("utf-8", "replace").splitlines():
        payload = line.removeprefix("data: ")
        if payload.startswith("{") and payload.endswith("}"):
            value = json.loads(payload)
            typed = "error" not in value and value.get("type") not in UNTYPED
            kinds[typed] += 1
            if typed:
                adapter.validate_python(value)
    assert kinds[True]


def test_a_failure_is_told_by_its_own_words() -> None:
    """An error whose message is lost reads like a broken network to the person who waits."""
    for name in NAMES:
        for event in golden(name):
            assert not isinstance(event, Error) or "no chunk" not in event.message, name
            assert not isinstance(event, Error) or "HTTP status" not in event.message, name


def test_usage_is_exact_wherever_the_provider_told_it() -> None:
    """Usage missing, misplaced or zero: litellm #11915, #17136. A failed answer's is estimated by the stream."""
    for name in NAMES:
        events, body = golden(name), body_of(load(name))
        told = any(field in body for field in (b'"completion_tokens":', b'"output_tokens":', b'"eval_count":'))
        if told and not isinstance(events[-1], Error):
            assert any(isinstance(event, Usage) and event.source == "exact" for event in events), name

"""The built-in model: quotes, citations, and an answer that goes on exactly where a crash cut it off."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headwater.chat.signals import assess
from headwater.errors import UnknownModel
from headwater.events import CONTENT_TYPES, Done, Metadata, Source, Text, Usage, text_of
from headwater.providers.extractive import MODEL, NOTHING_FOUND, OPENING, Extractive, answer_events
from headwater.providers.ports import Held, Provider, SupportsContinuation
from headwater.request import ChatRequest
from tests.conformance.providers.kit import KeepingWriter

QUESTION = "How many weeks of parental leave do employees get, and who approves requests?"
SOURCES = [
    Source("The canteen opens at eleven and closes at two.", title="canteen.md"),
    Source(
        "Every employee gets 14 weeks of “paid” parental leave. The leave can be taken in two parts.",
        title="handbook\n.pdf",
        metadata={"page": 3},
    ),
    Source("All requests are approved by the department."),
]
ANSWER = (
    "This is what the documents say:\n\n"
    "handbook .pdf, page 3: “Every employee gets 14 weeks of ‘paid’ parental leave.” [2]\n\n"
    "“All requests are approved by the department.” [3]"
)


def asking(content: Any = QUESTION, *, sources: list[Source] | None = None, **params: Any) -> ChatRequest:
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": content}]
    return ChatRequest(MODEL, messages, params, sources=SOURCES if sources is None else sources)


async def run(request: ChatRequest, writer: KeepingWriter | None = None) -> KeepingWriter:
    writer = writer or KeepingWriter()
    async with asyncio.timeout(10):
        await Extractive().producer(request, MODEL).run(writer)
    return writer


async def test_it_is_a_provider_of_one_model() -> None:
    provider: Provider = Extractive()
    assert provider.name == MODEL
    assert await provider.models() == [MODEL]
    assert isinstance(provider, SupportsContinuation)
    await provider.close()
    for model in ("gpt-4o", "extractive/extractive", ""):
        with pytest.raises(UnknownModel):
            provider.producer(asking(), model)


async def test_an_answer() -> None:
    writer = await run(asking())
    assert text_of(writer.events) == ANSWER
    assert writer.connections == 1
    assert writer.events[0] == Metadata({"model": MODEL})
    assert writer.events[-2:] == [
        Usage(-(-len(QUESTION + "s") // 4), -(-len(ANSWER) // 4), source="estimated"),
        Done("stop"),
    ]
    assert {type(event) for event in writer.events[1:-2]} == {Text}


async def test_it_comes_in_small_pieces() -> None:
    writer = await run(asking())
    pieces = [event.text for event in writer.of(Text)]
    assert all(0 < piece.count(" ") + (not piece.endswith(" ")) <= 3 for piece in pieces)
    assert len(pieces) > 8
    assert len(writer.batches) > 1


async def test_its_own_signals_are_good() -> None:
    signals = assess(ANSWER, SOURCES, logprobs=[], question=QUESTION)
    assert (signals.hallucination, signals.unsupported) == (0.0, [])


@pytest.mark.parametrize(
    "request_",
    [
        asking(sources=[]),
        asking("What is the boiling point of helium?"),
        asking("Why?"),
        asking(None),
        asking([{"type": "image_url", "image_url": {"url": "data:,"}}, "x"]),
        ChatRequest(MODEL, [{"role": "assistant", "content": QUESTION}], sources=SOURCES),
        ChatRequest(MODEL, [], sources=SOURCES),
    ],
)
async def test_nothing_to_quote_is_said(request_: ChatRequest) -> None:
    writer = await run(request_)
    assert text_of(writer.events) == NOTHING_FOUND
    assert "pload a document" in NOTHING_FOUND
    assert writer.events[0] == Metadata({"model": MODEL, "grounded": False})
    assert writer.events[-1] == Done("stop")


async def test_the_last_question_counts_in_whatever_form() -> None:
    parts = [{"type": "text", "text": QUESTION}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    assert text_of((await run(asking(parts))).events) == ANSWER
    messages = [{"role": "user", "content": "canteen"}, *asking().messages, {"role": "assistant", "content": "Well"}]
    assert text_of((await run(ChatRequest(MODEL, messages, sources=SOURCES))).events) == ANSWER


async def test_the_bound_on_tokens() -> None:
    writer = await run(asking(max_tokens=10))
    assert text_of(writer.events) == "This is what the documents say:\n\nhandb"[: len(OPENING) - 5]
    assert writer.events[-1] == Done("length")
    assert text_of((await run(asking(max_completion_tokens=1))).events) == "This"
    for ignored in (0, -1, None, "x", True, 10_000):
        assert text_of((await run(asking(max_tokens=ignored))).events) == ANSWER
    assert text_of((await run(asking(max_tokens=1, max_completion_tokens=5))).events) == "This"


@pytest.mark.parametrize("held", [0, 1, 2, 7, 8, 9, 15, 1000])
async def test_after_a_crash_it_goes_on_where_the_log_ends(held: int) -> None:
    whole = answer_events(asking())
    content = [event for event in whole if type(event) in CONTENT_TYPES]
    before = [whole[0], *content[:held]]
    writer = KeepingWriter(held=before)
    found = Extractive().continuation(asking(), MODEL, Held("", {}, interrupted=True))
    assert found is not None
    assert found.exact
    await found.producer.run(writer)
    assert before + writer.events == whole


async def test_what_is_held_is_not_told_again() -> None:
    whole = answer_events(asking())
    writer = KeepingWriter(held=whole[:-1])
    await run(asking(), writer)
    assert writer.events == [Done("stop")]


async def test_only_what_this_side_stopped_goes_on() -> None:
    assert Extractive().continuation(asking(), MODEL, Held("so far", {})) is None


async def test_a_slow_log_is_waited_for() -> None:
    writer = KeepingWriter(capacity=2)
    running = asyncio.create_task(run(asking(), writer))
    await writer.until(lambda writer: writer.drains)
    assert len(writer.batches) == 1
    writer.release()
    await running
    assert text_of(writer.events) == ANSWER


async def test_it_can_be_cancelled() -> None:
    writer = KeepingWriter(capacity=2)
    running = asyncio.create_task(run(asking(), writer))
    await writer.until(lambda writer: writer.drains)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(writer.batches) == 1

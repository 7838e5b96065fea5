"""The examples, run as their docstrings say."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import openai
import pytest

from headwater.events import Error, decode_event, text_of
from headwater.sse import Message, Parser
from tests.upstream import Script, Upstream

from .processes import ROOT, Ran, Served, environment, run, served

QUESTION = {"question": "why"}
STORY = "You asked: why. A river remembers its spring, and so does this stream. "


@asynccontextmanager
async def example(name: str, **env: str) -> AsyncIterator[Served]:
    command = (sys.executable, str(ROOT / "examples" / f"{name}.py"))
    async with served(*command, until="running on", PORT="0", **env) as running:
        yield running


async def watch(url: str, key: str, after: str | None = None, *, words: int | None = None) -> tuple[int, list[Message]]:
    """An EventSource in miniature: the messages after a cursor, cut off once `words` texts were seen."""
    parser, got = Parser(), []
    headers = {"Last-Event-ID": after} if after else {}
    async with (
        httpx.AsyncClient(timeout=60) as client,
        client.stream("GET", f"{url}/answers/{key}", params=QUESTION, headers=headers) as response,
    ):
        async for data in response.aiter_bytes():
            got += parser.feed(data)
            if words is not None and sum(message.event == "text" for message in got) >= words:
                break
    return response.status_code, got


def text(messages: list[Message]) -> str:
    return text_of([decode_event(message.data) for message in messages])


async def test_a_plain_generator_survives_a_reload_and_a_cut(tmp_path: Path) -> None:
    async with example("plain_generator", EXAMPLE_DATA_DIR=str(tmp_path), EXAMPLE_PAUSE_S="0.02") as running:
        async with httpx.AsyncClient() as client:
            assert "new EventSource" in (await client.get(running.url)).text
        _, seen = await watch(running.url, "a", words=3)
        _, rest = await watch(running.url, "a", seen[-1].id)
        assert text(seen + rest) == STORY
        _, reloaded = await watch(running.url, "a")
        assert text(reloaded) == STORY
        status, _ = await watch(running.url, "a", rest[-1].id)
        assert status == 204
        assert await running.stop() in (0, -signal.SIGTERM)


async def test_a_plain_generator_that_was_killed_keeps_what_was_seen(tmp_path: Path) -> None:
    async with example("plain_generator", EXAMPLE_DATA_DIR=str(tmp_path), EXAMPLE_PAUSE_S="0.02") as running:
        _, seen = await watch(running.url, "a", words=3)
        await running.stop(signal.SIGKILL)
    async with example("plain_generator", EXAMPLE_DATA_DIR=str(tmp_path), EXAMPLE_PAUSE_S="0") as again:
        _, rest = await watch(again.url, "a", seen[-1].id)
        assert STORY.startswith(text(seen + rest))
        end = decode_event(rest[-1].data)
        assert isinstance(end, Error)
        assert end.reason == "interrupted"
        _, fresh = await watch(again.url, "b")
        assert text(fresh) == STORY


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream(default=Script(text="Rayleigh scattering does it.", delay_ms=20)) as fake:
        yield fake


async def test_an_openai_sdk_stream_is_asked_for_once_and_read_by_the_sdk(tmp_path: Path, upstream: Upstream) -> None:
    env = {"OPENAI_BASE_URL": upstream.openai_url, "OPENAI_API_KEY": "k", "EXAMPLE_DATA_DIR": str(tmp_path)}
    async with example("openai_sdk", **env) as running, httpx.AsyncClient(timeout=60) as client:
        headers = {"Idempotency-Key": "first"}
        parser, seen = Parser(), []
        async with client.stream("POST", f"{running.url}/chat", json=QUESTION, headers=headers) as response:
            async for data in response.aiter_bytes():
                seen += parser.feed(data)
                if len(seen) >= 3:
                    break
        rest = await client.post(
            f"{running.url}/chat", json=QUESTION, headers={**headers, "Last-Event-ID": seen[-1].id}
        )
        data = [message.data for message in [*seen, *Parser().feed(rest.content)]]
        assert data.pop() == "[DONE]"
        chunks = [openai.types.chat.ChatCompletionChunk.model_validate_json(line) for line in data]
        deltas = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
        assert "".join(deltas) == upstream.default.answer()
        assert upstream.attempts == 1


async def test_an_upstreams_refusal_keeps_its_status(tmp_path: Path) -> None:
    async with Upstream(api_key="another") as upstream:
        env = {"OPENAI_BASE_URL": upstream.openai_url, "OPENAI_API_KEY": "k", "EXAMPLE_DATA_DIR": str(tmp_path)}
        async with example("openai_sdk", **env) as running, httpx.AsyncClient(timeout=60) as client:
            response = await client.post(f"{running.url}/chat", json=QUESTION)
        assert response.status_code == 401
        assert response.json()["error"]["code"] == "invalid_api_key"


async def script(name: str, *arguments: str, **env: str) -> Ran:
    """An example that ends by itself."""
    return await run(sys.executable, str(ROOT / "examples" / f"{name}.py"), *arguments, env=environment(**env))


async def test_documents_are_asked_without_a_key_and_stay(tmp_path: Path) -> None:
    first = await script("ask_documents", EXAMPLE_DATA_DIR=str(tmp_path))
    assert first.code == 0, first.err
    assert "timetable.md: “The ferry leaves Alder Quay at 07:40 and 16:10 every day except Monday.” [1]" in first.out
    assert first.out.endswith("confidence: 1.0, hallucination: 0.0\n")
    assert "timetable.md: Reading the text..." in first.err
    again = await script("ask_documents", "What does a return ticket cost?", EXAMPLE_DATA_DIR=str(tmp_path))
    assert "“A return ticket costs 18 euros.” [1]" in again.out
    assert "Reading the text" not in again.err


async def test_a_document_that_cannot_be_read_ends_the_example(tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n")
    ended = await script("ask_documents", "What?", str(picture), EXAMPLE_DATA_DIR=str(tmp_path / "data"))
    assert (ended.code, ended.out) == (1, "")
    assert "picture.png: it is an image, which cannot be read" in ended.err

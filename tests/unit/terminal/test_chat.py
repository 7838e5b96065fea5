"""A conversation against a real HTTP server that answers as scripted."""

from __future__ import annotations

import asyncio
import io
import json

import pytest
from rich.console import Console

from headwater.client import HeadwaterClient, Reconnect
from headwater.errors import QueueFull
from headwater.events import Done, Error, Event, Start, Text, Usage
from headwater.terminal.chat import Conversation
from headwater.terminal.display import Display
from tests.unit.client.scripted import ANSWER, STREAM, answer, frames, in_turn, info, refused, serving, sse

RESET = b'event: reset\ndata: {"type":"reset","reason":"epoch_changed"}\n\n'
CANCELLED: list[Event] = [Start(STREAM, "m", 1), Text("Hel"), Usage(1, 1), Done("cancelled")]
FAILED: list[Event] = [Start(STREAM, "m", 1), Usage(1, 0), Error("provider_timeout", "too slow")]


class Screen(io.StringIO):
    def __init__(self) -> None:
        super().__init__()
        self.written = asyncio.Event()

    def write(self, text: str) -> int:
        self.written.set()
        return super().write(text)


def conversation(client: HeadwaterClient, model: str = "") -> tuple[Conversation, Screen, Screen]:
    out, notes = Screen(), Screen()
    display = Display(*(Console(file=file, force_terminal=True, color_system=None) for file in (out, notes)))
    return Conversation(client, model, display), out, notes


def asked(body: bytes) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in json.loads(body)["messages"]]


async def test_what_was_said_is_part_of_the_next_question_until_it_is_cleared() -> None:
    turn = (answer(201, info()), sse(frames(ANSWER)))
    async with serving(in_turn(*turn, *turn, *turn)) as server, HeadwaterClient(server.url) as client:
        talk, out, notes = conversation(client, "mine")
        assert await talk.ask("one") == Done("stop")
        assert await talk.ask("two") == Done("stop")
        talk.clear()
        talk.model = ""
        await talk.ask("three")
    starts = [request for request in server.requests if request.method == "POST"]
    text = "Hello …\r\n"
    assert [asked(start.body) for start in starts] == [
        [("user", "one")],
        [("user", "one"), ("assistant", text), ("user", "two")],
        [("user", "three")],
    ]
    assert [json.loads(start.body)["model"] for start in starts] == ["mine", "mine", None]
    assert out.getvalue().count("Hello …") == 3
    assert notes.getvalue().count("3 + 3 tokens") == 3


async def test_a_pipe_gets_the_same_bytes_after_a_cut() -> None:
    """P2: a note about the connection never lands in the text."""
    script = in_turn(answer(201, info()), sse(frames(ANSWER[:2])), sse(frames(ANSWER, after=1)))
    out, notes = io.StringIO(), io.StringIO()
    async with serving(script) as server, HeadwaterClient(server.url, reconnect=Reconnect(base_s=0)) as client:
        talk = Conversation(client, "", Display(Console(file=out), Console(file=notes)))
        assert await talk.ask("one") == Done("stop")
    assert "trying again" in notes.getvalue()
    assert out.getvalue() == "Hello …\r\n"


async def test_a_question_without_an_answer_is_taken_back() -> None:
    failed = (answer(201, info()), sse(frames(FAILED)))
    good = (answer(201, info()), sse(frames(ANSWER)))
    script = in_turn(refused(429, "queue_full", "full"), *failed, *good)
    async with serving(script) as server, HeadwaterClient(server.url) as client:
        talk, _, notes = conversation(client)
        with pytest.raises(QueueFull):
            await talk.ask("refused")
        assert isinstance(await talk.ask("failed"), Error)
        await talk.ask("answered")
    assert "provider_timeout: too slow" in notes.getvalue()
    assert asked(server.requests[-2].body) == [("user", "answered")]


async def test_a_lost_place_is_announced_and_the_answer_shown_anew() -> None:
    script = in_turn(
        answer(201, info()),
        sse(frames(ANSWER[:2])),
        sse(RESET + frames(ANSWER, epoch=2)),
        sse(frames(ANSWER, epoch=2)),
        answer(201, info()),
        sse(frames(ANSWER)),
    )
    async with serving(script) as server, HeadwaterClient(server.url) as client:
        talk, out, notes = conversation(client)
        assert await talk.ask("one") == Done("stop")
        assert "starts again" in notes.getvalue()
        assert out.getvalue().startswith("Hel\nHello …")
        await talk.ask("two")
    assert asked(server.requests[-2].body)[1] == ("assistant", "Hello …\r\n")


async def test_a_cancellation_stops_the_answer_at_the_server_and_shows_its_end() -> None:
    """vercel/ai #6502: stop is a request of its own, not a disconnect."""
    script = in_turn(
        answer(201, info()),
        sse(frames(CANCELLED[:2]), then="hold"),
        answer(200, info(status="cancelled")),
        sse(frames(CANCELLED, after=1)),
    )
    async with serving(script) as server, HeadwaterClient(server.url) as client:
        talk, out, notes = conversation(client)
        asking = asyncio.create_task(talk.ask("one"))
        async with asyncio.timeout(10):
            await out.written.wait()
            asking.cancel()
            assert await asking == Done("cancelled")
    assert [request.path.rpartition("/")[2] for request in server.requests] == ["streams", "events", "cancel", "events"]
    assert server.requests[-1].query["after"] == "1.1"
    assert notes.getvalue().splitlines() == ["1 + 1 tokens", "(cancelled)"]

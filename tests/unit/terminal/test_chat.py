"""A conversation against a real HTTP server that answers as scripted."""

from __future__ import annotations

import asyncio
import io
import json

import pytest
from rich.console import Console

from headwater.client import HeadwaterClient, Reconnect
from headwater.errors import ConnectionLost, QueueFull
from headwater.events import Done, Error, Event, Start, Text, Usage
from headwater.terminal import exits
from headwater.terminal.chat import HELP, Conversation, chat
from headwater.terminal.display import Display
from headwater.terminal.exits import FINE, INTERRUPTED, MISUSED
from tests.unit.client.scripted import ANSWER, STREAM, answer, frames, in_turn, info, refused, serving, sse
from tests.upstream import closed_url

from .commands import Keyboard, beside, ctrl_c_works

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


# ------------------------------------------------------------------------------------------------ the whole command

LIST = answer(200, {"object": "list", "data": [], "has_more": False})
TURN = (answer(201, info()), sse(frames(ANSWER)))


def test_a_person_asks_and_leaves(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(
        "sys.stdin", Keyboard("", "  ", "/model mine", "one", "two", "/nonsense", "/quit", "never asked")
    )
    with beside(in_turn(LIST, *TURN, refused(429, "queue_full", "all places are taken"))) as server:
        assert chat("", url=server.url, key="") == FINE
    starts = [request for request in server.requests if request.method == "POST"]
    assert [json.loads(start.body)["model"] for start in starts] == ["mine", "mine"]
    assert [asked(start.body)[-1][1] for start in starts] == ["one", "two"]
    out, notes = capsys.readouterr()
    assert out.count("Hello …") == 1
    assert "all places are taken" in notes
    assert notes.count(HELP) == 2


def test_the_end_of_the_input_leaves(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", Keyboard("/clear"))
    with beside(in_turn(LIST)) as server:
        assert chat("", url=server.url, key="") == FINE


def test_ctrl_c_at_the_prompt_leaves(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", Keyboard("one", ends_with_ctrl_c=True))
    with beside(in_turn(LIST, *TURN)) as server, ctrl_c_works():
        assert chat("", url=server.url, key="") == INTERRUPTED
    assert "Hello …" in capsys.readouterr().out


def test_a_pipe_gets_one_answer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for ending, code in ((ANSWER, FINE), (CANCELLED, INTERRUPTED), (FAILED, exits.FAILED)):
        monkeypatch.setattr("sys.stdin", io.StringIO("one\n"))
        with beside(in_turn(LIST, answer(201, info()), sse(frames(ending)))) as server:
            assert chat("", url=server.url, key="") == code
    assert capsys.readouterr().out.startswith("Hello …")


def test_a_server_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Keyboard("one"))
    with pytest.raises(ConnectionLost, match="headwater serve"):
        chat("", url=closed_url(), key="")


def test_nothing_to_ask(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(" \n"))
    assert chat("", url=closed_url(), key="") == MISUSED
    assert "nothing to ask" in capsys.readouterr().err

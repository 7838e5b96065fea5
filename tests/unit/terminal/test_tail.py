"""One stream on the terminal, against a real HTTP server that answers as scripted."""

from __future__ import annotations

import io
import json

import pytest

from headwater.events import Done, Error, Event, Start, Text, Usage
from headwater.terminal.exits import FAILED, FINE, INTERRUPTED
from headwater.terminal.tail import tail
from tests.unit.client.scripted import ANSWER, STREAM, answer, frames, in_turn, info, sse

from .commands import beside, ctrl_c_works, press_ctrl_c

BROKEN: list[Event] = [Start(STREAM, "m", 1), Text("Hel"), Usage(1, 1), Error("provider_timeout", "too slow")]
RESET = b'event: reset\ndata: {"type":"reset","reason":"epoch_changed"}\n\n'


class Impatient(io.StringIO):
    """A terminal whose person presses Ctrl-C at the first thing shown."""

    def write(self, text: str) -> int:
        press_ctrl_c()
        return super().write(text)


@pytest.mark.parametrize(("events", "code"), [(ANSWER, FINE), (BROKEN, FAILED)])
def test_the_exit_code_says_how_it_ended(events: list[Event], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with beside(in_turn(answer(200, info()), sse(frames(events)))) as server:
        assert tail(STREAM, url=server.url, key="", after="", as_json=False) == code
    assert capsys.readouterr().out.startswith("Hel")


def test_as_json_every_event_has_its_cursor_and_a_lost_place_is_a_line_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = in_turn(answer(200, info()), sse(RESET), sse(frames(ANSWER, epoch=2)))
    with beside(script) as server:
        assert tail(STREAM, url=server.url, key="", after="1.3", as_json=True) == FINE
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == {"type": "reset", "reason": "epoch_changed"}
    assert [line["cursor"] for line in lines[1:]] == [f"2.{seq}" for seq in range(len(ANSWER))]
    assert lines[-1]["type"] == Done.__struct_config__.tag


def test_ctrl_c_leaves_the_stream_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever only watches stops nothing: the exit code is that of an interrupt, and no cancel reaches the server."""
    monkeypatch.setattr("sys.stdout", Impatient())
    with beside(in_turn(answer(200, info()), sse(frames(ANSWER[:2]), then="hold"))) as server, ctrl_c_works():
        assert tail(STREAM, url=server.url, key="", after="", as_json=True) == INTERRUPTED
    assert [request.method for request in server.requests] == ["GET", "GET"]

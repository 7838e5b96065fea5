"""Events on a terminal and into a pipe."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from headwater.events import (
    Done,
    Error,
    Event,
    JsonObject,
    Metadata,
    Reasoning,
    Source,
    Sources,
    Start,
    Status,
    Text,
    ToolCall,
    Usage,
)
from headwater.terminal.display import Display, consoles, cost_line, printable, status_line, usage_line

EVERYTHING: list[Event] = [
    Start("s", "m", 1),
    Status("queued", position=3),
    Status("searching", message="Searching documents..."),
    Sources([Source("passage", title="Handbook", url="https://h.example"), Source("only text")]),
    Reasoning("hmm"),
    Text("Hel"),
    Text("lo"),
    ToolCall(0, id="c", name="weather", arguments='{"city":'),
    ToolCall(0, arguments='"Bern"}'),
    Metadata({"served": "m"}),
    Usage(12, 34, reasoning_tokens=5),
    Done("stop"),
]


def _display(*, terminal: bool) -> tuple[Display, io.StringIO, io.StringIO]:
    out, notes = io.StringIO(), io.StringIO()
    return (
        Display(
            Console(file=out, force_terminal=terminal, color_system=None, width=80),
            Console(file=notes, force_terminal=terminal, color_system=None, width=80),
        ),
        out,
        notes,
    )


def test_a_pipe_gets_the_exact_text_and_the_status_goes_beside_it() -> None:
    """Who sends an answer into a file still wants to know why nothing comes."""
    display, out, notes = _display(terminal=False)
    for event in [*EVERYTHING[:-2], Text("\x1b[31m\r\n"), *EVERYTHING[-2:]]:
        display.show(event)
    assert out.getvalue() == "Hello\x1b[31m\r\n"
    assert notes.getvalue() == "queued, place 3\nSearching documents...\n"


def test_a_terminal_gets_all_of_it_on_lines_of_its_own() -> None:
    display, out, notes = _display(terminal=True)
    for event in EVERYTHING:
        display.show(event)
    assert out.getvalue() == 'hmmHello\n→ weather {"city":"Bern"}\n'
    assert notes.getvalue().splitlines() == [
        "queued, place 3",
        "Searching documents...",
        "[1] Handbook https://h.example",
        "[2] only text",
        "12 + 34 tokens (5 reasoning)",
    ]


def test_an_answer_cannot_drive_the_terminal() -> None:
    """CWE-150: an escape sequence in an answer is shown, never obeyed."""
    display, out, notes = _display(terminal=True)
    display.show(Text("a\x1b]52;c;ZXZpbA==\x07b\tc\n\x9b2J"))
    display.show(Error("provider_error", "no \x1b[2J"))
    assert "\x1b" not in out.getvalue() + notes.getvalue()
    assert "\x9b" not in out.getvalue()
    assert "b\tc\n" in printable("\x07b\tc\n")


@pytest.mark.parametrize("terminal", [True, False])
def test_errors_and_unusual_ends_are_told_apart_from_the_text(terminal: bool) -> None:
    display, out, notes = _display(terminal=terminal)
    display.show(Text("partial"))
    display.show(Error("interrupted", "the server stopped"))
    display.show(Done("cancelled"))
    display.end_line()
    assert out.getvalue() == ("partial\n" if terminal else "partial")
    assert notes.getvalue() == "interrupted: the server stopped\n(cancelled)\n"


def test_a_reconnect_leaves_no_trace_in_a_pipe() -> None:
    """P2: what a pipe gets is the answer, byte for byte, wherever it was cut."""
    display, out, notes = _display(terminal=False)
    display.show(Text("half a wo"))
    display.reconnecting(1, 0.5, "the connection was cut")
    display.show(Text("rd"))
    display.end_line()
    assert out.getvalue() == "half a word"
    assert notes.getvalue() == "the connection was cut; trying again in 0.5 s (attempt 1)\n"


def test_a_long_outage_is_not_told_at_every_attempt() -> None:
    display, _, notes = _display(terminal=False)
    for attempt in range(1, 41):
        display.reconnecting(attempt, 0.5, "gone")
    told = [int(line.rpartition("attempt ")[2].rstrip(")")) for line in notes.getvalue().splitlines()]
    assert told == [*range(1, 11), 20, 30, 40]


def test_a_replay_is_announced() -> None:
    display, out, notes = _display(terminal=True)
    display.show(Text("half"))
    display.restart()
    assert out.getvalue() == "half\n"
    assert "starts again" in notes.getvalue()


def test_an_empty_piece_moves_nothing() -> None:
    display, out, _ = _display(terminal=True)
    display.show(Text(""))
    display.end_line()
    assert out.getvalue() == ""


def test_estimated_usage_says_so() -> None:
    assert usage_line(Usage(1, 2, source="estimated")) == "about 1 + 2 tokens"


WHERE = {"provider": "anthropic", "model": "claude-x", "reason": "provider_timeout"}


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (Status("retrying", "cut off", attempt=2, data=WHERE), "trying anthropic/claude-x again (attempt 2): cut off"),
        (Status("fallback", "cut off", attempt=3, data=WHERE), "going over to anthropic/claude-x (attempt 3): cut off"),
        (Status("continuing", data={**WHERE, "after_characters": 7}), "going on with anthropic/claude-x"),
        (Status("fallback", data={"provider": "{target}"}), "going over to {target}"),
        (Status("hedging", "also asking ollama/llama3", data=WHERE), "also asking ollama/llama3"),
        (Status("retrying", "the log is back", attempt=2), "the log is back"),
        (Status("recovering"), "recovering"),
        (Status("queued", position=3), "queued, place 3"),
        (Status("queued", "waiting for anthropic", position=1, data=WHERE), "queued for anthropic, place 1"),
        (Status("queued", "waiting for a GPU", position=2), "waiting for a GPU, place 2"),
        (Status("queued", "waiting for a GPU"), "waiting for a GPU"),
    ],
)  # fmt: skip
def test_waits_and_what_a_route_does_are_told_in_words(status: Status, line: str) -> None:
    assert status_line(status) == line


@pytest.mark.parametrize(
    ("cost", "line"),
    [
        ({"amount": 0.00042, "currency": "USD", "source": "exact"}, "cost 0.00042 USD"),
        ({"amount": 0.00001, "currency": "EUR", "source": "estimated"}, "cost about 0.00001 EUR"),
        ({"amount": 0.0, "currency": "USD", "source": "exact"}, "cost 0 USD"),
        ({"amount": 20.0, "currency": "USD"}, "cost 20 USD"),
        ({"amount": "free"}, "cost free"),
    ],
)
def test_a_cost_is_read_at_a_glance(cost: JsonObject, line: str) -> None:
    assert cost_line(cost) == line


@pytest.mark.parametrize("terminal", [True, False])
def test_the_cost_stands_below_the_answer_on_a_terminal_only(terminal: bool) -> None:
    display, out, notes = _display(terminal=terminal)
    for event in (Text("Hi"), Usage(1, 2), Metadata({"attempts": [], "cost": {"amount": 1, "currency": "USD"}})):
        display.show(event)
    assert out.getvalue() == ("Hi\n" if terminal else "Hi")
    assert notes.getvalue() == ("1 + 2 tokens\ncost 1 USD\n" if terminal else "")


def test_answer_and_notes_go_to_different_files(capsys: pytest.CaptureFixture[str]) -> None:
    out, notes = consoles()
    Display(out, notes).show(Text("answer"))
    Display(out, notes).note("note")
    assert capsys.readouterr() == ("answer", "note\n")

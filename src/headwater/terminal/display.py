"""Events on a terminal, or as plain text into a pipe, with what happens meanwhile on stderr.

What a model says is data: on a terminal its control characters are shown as U+FFFD, because an escape sequence in an
answer could otherwise rewrite the screen or the clipboard (CWE-150). A pipe gets the exact text.
"""

from __future__ import annotations

import sys
from typing import assert_never

from rich.console import Console

from ..events import (
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

# C0, DEL and C1 without tab and newline.
_CONTROLS = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}
# Attempts to reconnect that are told one by one; later ones only at each multiple of it.
_ATTEMPTS_TOLD = 10


def printable(text: str) -> str:
    """`text` with nothing in it that a terminal would obey."""
    return text.translate(_CONTROLS)


class Display:
    """Writes one answer at a time: the text to `out`, everything about it to `notes`."""

    def __init__(self, out: Console, notes: Console) -> None:
        self._out = out
        self._notes = notes
        self._live = out.is_terminal
        self._at_line_start = True
        self._tools: set[tuple[int, int]] = set()

    def show(self, event: Event) -> None:
        match event:
            case Text(text=text):
                self._write(text)
            case Reasoning(text=text) if self._live:
                self._write(text, style="dim italic")
            case ToolCall():
                self._tool_call(event)
            case Status():
                self.note(status_line(event))
            case Sources(items=items) if self._live:
                self._sources(items)
            case Error(reason=reason, message=message):
                self.note(f"{reason}: {message}", style="red")
            case Usage() if self._live:
                self.note(usage_line(event))
            case Metadata(data={"cost": dict(cost)}) if self._live:
                self.note(cost_line(cost))
            case Done(reason=reason) if reason not in ("stop", "tool_calls"):
                self.note(f"({reason})")
            case Start() | Metadata() | Sources() | Reasoning() | Usage() | Done():
                pass
            case _:
                assert_never(event)

    def note(self, text: str, *, style: str = "dim") -> None:
        """A line beside the answer, on its own line; never a byte on the answer's own way."""
        self.end_line()
        self._notes.print(printable(text), style=style, markup=False, highlight=False, soft_wrap=True)

    def end_line(self) -> None:
        """On a terminal, what follows begins on a line of its own. A pipe gets the answer, to the byte."""
        if self._live and not self._at_line_start:
            self._write("\n")

    def reconnecting(self, attempt: int, delay_s: float, reason: str) -> None:
        """As the client calls it before it waits to try again. A long outage is not told at every attempt."""
        if attempt <= _ATTEMPTS_TOLD or attempt % _ATTEMPTS_TOLD == 0:
            self.note(f"{reason}; trying again in {delay_s:.1f} s (attempt {attempt})")

    def restart(self) -> None:
        """The server replays the answer from its start: what stands on the screen is void."""
        self.note("the server lost the place; the answer starts again")
        self._tools.clear()

    def _write(self, text: str, *, style: str | None = None) -> None:
        if not text:
            return
        self._at_line_start = text.endswith("\n")
        if self._live:
            self._out.print(printable(text), style=style, end="", markup=False, highlight=False, soft_wrap=True)
        else:
            self._out.file.write(text)
        self._out.file.flush()

    def _tool_call(self, event: ToolCall) -> None:
        """The name when it begins, its arguments as they come."""
        if not self._live:
            return
        key = (event.choice, event.index)
        if key not in self._tools:
            self._tools.add(key)
            self.end_line()
            self._write(f"→ {event.name} ", style="cyan")
        self._write(event.arguments, style="cyan")

    def _sources(self, items: list[Source]) -> None:
        for number, source in enumerate(items, 1):
            self.note(f"[{number}] {source.title or source.id or source.text[:60]} {source.url}".rstrip())


def usage_line(usage: Usage) -> str:
    """`12 + 34 tokens`, with `about` for an estimate."""
    about = "about " if usage.source == "estimated" else ""
    reasoning = f" ({usage.reasoning_tokens} reasoning)" if usage.reasoning_tokens else ""
    return f"{about}{usage.prompt_tokens} + {usage.completion_tokens} tokens{reasoning}"


# What a route does about a failure; its message says why.
_ROUTE_STAGES = {
    "retrying": "trying {target} again",
    "fallback": "going over to {target}",
    "continuing": "going on with {target}",
}


def status_line(status: Status) -> str:
    """`going over to anthropic/claude-x (attempt 2): the provider answered 503`, `queued for openai, place 3`.

    Any other stage is told by its message as it is.
    """
    data = status.data or {}
    if status.stage == "queued" and status.position is not None:
        waiting = f"queued for {data['provider']}" if data.get("provider") else status.message or status.stage
        return f"{waiting}, place {status.position}"
    doing = _ROUTE_STAGES.get(status.stage)
    if doing is None or "provider" not in data:
        return status.message or status.stage
    target = "/".join(str(data[name]) for name in ("provider", "model") if data.get(name))
    attempt = f" (attempt {status.attempt})" if status.attempt else ""
    why = f": {status.message}" if status.message else ""
    return doing.replace("{target}", target) + attempt + why


def cost_line(cost: JsonObject) -> str:
    """`cost 0.00042 USD`, with `about` for an estimate. Never in the form 1e-05."""
    amount = cost.get("amount")
    shown = f"{amount:.10f}".rstrip("0").rstrip(".") if isinstance(amount, int | float) else str(amount)
    about = "about " if cost.get("source") == "estimated" else ""
    return f"cost {about}{shown} {cost.get('currency', '')}".rstrip()


def consoles() -> tuple[Console, Console]:
    """For the answer (stdout) and for what is said about it (stderr)."""
    return Console(file=sys.stdout), Console(file=sys.stderr)

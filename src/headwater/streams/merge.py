"""Merged catch-up: adjacent deltas become one event that stands at the last seq which it covers.

Cost grows with the text, not with the number of tokens; nothing is dropped and nothing moves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..events import Event, Reasoning, Text, ToolCall
from .fold import utf8_bytes

# One frame must fit comfortably in a client's SSE line buffer; a 10,000-token answer (about 45 k characters) still
# arrives as one.
MERGED_CHARACTERS = 65_536


def merge(events: Iterable[Event], first_seq: int, most_bytes: int = 0) -> Iterator[tuple[int, Event]]:
    """Yield `(seq, event)` with runs of like deltas joined; `seq` is the last one that the event covers.

    `most_bytes`: of UTF-8 in what is joined; one event alone may be larger. 0: as much as `MERGED_CHARACTERS` allows.
    """
    run: list[Event] = []
    size = 0
    seq = first_seq - 1
    for event in events:
        more = content_bytes(event) if most_bytes else _size(event)
        is_full = size + more > most_bytes if most_bytes else size >= MERGED_CHARACTERS
        if run and (is_full or not _continues(run[-1], event)):
            yield seq, _join(run)
            run, size = [], 0
        run.append(event)
        size += more
        seq += 1
    if run:
        yield seq, _join(run)


def _size(event: Event) -> int:
    match event:
        case Text(text=text) | Reasoning(text=text):
            return len(text)
        case ToolCall(arguments=arguments):
            return len(arguments)
        case _:
            return 0


def content_bytes(event: Event) -> int:
    """UTF-8 bytes of what an event adds to an answer."""
    match event:
        case Text(text=text) | Reasoning(text=text):
            return utf8_bytes(text)
        case ToolCall(arguments=arguments):
            return utf8_bytes(arguments)
        case _:
            return 0


def _continues(last: Event, event: Event) -> bool:
    """Whether `event` only adds characters to what `last` is a piece of."""
    match last, event:
        case Text(), Text():
            plain = last.logprobs is None and event.logprobs is None
            return plain and last.choice == event.choice and last.refusal == event.refusal
        case Reasoning(), Reasoning():
            # A signature closes the thinking block before it, so nothing is joined after one.
            return last.choice == event.choice and not last.signature
        case ToolCall(), ToolCall():
            return last.choice == event.choice and last.index == event.index and not event.id and not event.name
        case _:
            return False


def _join(run: list[Event]) -> Event:
    first = run[0]
    if len(run) == 1:
        return first
    match first:
        case Text():
            return Text("".join(e.text for e in run if isinstance(e, Text)), first.choice, first.refusal)
        case Reasoning():
            pieces = [e for e in run if isinstance(e, Reasoning)]
            return Reasoning("".join(e.text for e in pieces), first.choice, pieces[-1].signature)
        case ToolCall():
            arguments = "".join(e.arguments for e in run if isinstance(e, ToolCall))
            return ToolCall(first.index, first.id, first.name, arguments, first.choice)
        case _:  # pragma: no cover - runs grow by _continues only
            raise AssertionError(first)

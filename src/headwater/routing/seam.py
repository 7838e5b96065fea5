"""The seam where another generation goes on with an answer: no text twice, no white space doubled. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..events import Done, Event, Text, ToolCall, Usage
from ..streams.fold import Fold
from ..streams.ports import Control, Writer

# A model that was not known to repeat the text may begin with the same few characters by chance.
_LIKELY_ECHO = 16
# What comes behind all text, or must not come before it.
_SETTLING = frozenset({ToolCall, Usage, Done})


class Seam:
    """What of a continuation's text is new. `held` is the text so far, as viewers have it; `echoes`: it is repeated.

    Text is held back only while it may still turn out to be a repetition, or white space that is there already.
    """

    __slots__ = ("_buffer", "_echoes", "_held", "_settled", "_space", "_watches_echo")

    def __init__(self, held: str, *, echoes: bool) -> None:
        self._held = held.rstrip()
        self._space = held[len(self._held) :]
        self._echoes = echoes
        self._watches_echo = echoes or len(self._held) >= _LIKELY_ECHO
        self._buffer = ""
        self._settled = False

    def feed(self, text: str) -> str:
        """The part that viewers lack; "" while that cannot be told."""
        if self._settled:
            return text
        self._buffer += text
        if self._watches_echo:
            if len(self._buffer) < len(self._held) and self._held.startswith(self._buffer):
                return ""
            self._buffer = self._buffer.removeprefix(self._held)
            self._watches_echo = False
        if self._space and not self._buffer.strip():
            return ""  # nothing but white space yet: how much of it is new shows with what follows
        self._settled = True
        return self._without_space(self._buffer)

    def flush(self) -> str:
        """The continuation is whole: what was held back, if it was no repetition."""
        if self._settled:
            return ""
        self._settled = True
        # Half a repetition: the model's bound on tokens cut it.
        if self._watches_echo and (self._echoes or len(self._buffer) >= _LIKELY_ECHO):
            return ""
        return self._without_space(self._buffer)

    def _without_space(self, text: str) -> str:
        """`text` without the white space with which what viewers have ends."""
        if self._space and not self._overlap(text):
            # Another white space than the one that is there (a blank after a new line) would only indent the next word.
            text = text.lstrip(" \t")
        return text[self._overlap(text) :]

    def _overlap(self, text: str) -> int:
        """How many characters `text` begins with that the white space before it ends with."""
        space = self._space
        return next((n for n in range(min(len(space), len(text)), 0, -1) if text.startswith(space[-n:])), 0)


class SeamWriter:
    """A `Writer` for a continuation: passes on what is new, and sums up usage with `before`."""

    def __init__(self, writer: Writer, seam: Seam, before: Usage) -> None:
        self._writer = writer
        self._seam: Seam | None = seam
        self._before = before

    @property
    def fold(self) -> Fold:
        return self._writer.fold

    @property
    def control(self) -> Control:
        return self._writer.control

    def write(self, events: Sequence[Event]) -> bool:
        told: list[Event] = []
        for event in events:
            if type(event) is Text and self._seam is not None:
                told += _rest_of(event, self._seam.feed(event.text))
                continue
            if type(event) in _SETTLING:
                told += self._held_back()
            told.append(sum_usage(self._before, event) if type(event) is Usage else event)
        if told:
            return self._writer.write(told)
        self._writer.touch()
        return True

    def finish(self) -> None:
        """The producer has returned, with or without a `Done`."""
        if rest := self._held_back():
            self._writer.write(rest)

    def _held_back(self) -> list[Event]:
        seam, self._seam = self._seam, None
        rest = seam.flush() if seam is not None else ""
        return [Text(rest)] if rest else []

    def touch(self) -> None:
        self._writer.touch()

    def connected(self) -> None:
        self._writer.connected()

    async def drain(self) -> None:
        await self._writer.drain()


def _rest_of(event: Text, text: str) -> list[Event]:
    """The event with only `text` left; log probabilities are of whole tokens."""
    if text == event.text:
        return [event]
    return [msgspec.structs.replace(event, text=text, logprobs=None)] if text else []


def sum_usage(first: Usage, second: Usage) -> Usage:
    """Of two generations: exact only where both are."""
    return Usage(
        prompt_tokens=first.prompt_tokens + second.prompt_tokens,
        completion_tokens=first.completion_tokens + second.completion_tokens,
        source="exact" if first.source == second.source == "exact" else "estimated",
        reasoning_tokens=first.reasoning_tokens + second.reasoning_tokens,
        cached_tokens=first.cached_tokens + second.cached_tokens,
        details=second.details,
    )

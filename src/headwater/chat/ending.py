"""Holding back the end of an answer until it is judged. Text passes as it comes, a batch at a time.

What `StreamWriter` does at an end is done here first, in the same order: usage is settled, then the producer's own
facts are told. Only `Done` waits, so that what is found out about the answer can stand before it.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..events import Done, Event, JsonObject, Metadata, Terminal, Usage
from ..streams import Control, Fold, Settlement, Watch, Writer


class HeldEnd:
    """A `Writer` for the producer of the answer itself. `prompt_characters`: of the prompt, where usage is not told."""

    __slots__ = ("_control", "_prompt_characters", "_writer", "done")

    def __init__(self, writer: Writer, prompt_characters: int) -> None:
        self._writer = writer
        self._control = _Control(writer.control)
        self._prompt_characters = prompt_characters
        self.done: Done | None = None

    @property
    def fold(self) -> Fold:
        return self._writer.fold

    @property
    def control(self) -> Control:
        return self._control

    def write(self, events: Sequence[Event]) -> bool:
        if type(events[-1]) is not Done if events else True:
            return self._writer.write(events)
        done = events[-1]
        assert isinstance(done, Done)  # noqa: S101 - told by the type above, which mypy cannot follow
        more = self._writer.write(events[:-1])
        self._writer.write(self._settled(done))
        self._writer.control.settle(_SETTLED)
        # For whoever asks whether the answer is whole; the event itself follows.
        self._writer.fold.terminal = self.done = done
        return more

    def _settled(self, done: Done) -> list[Event]:
        fold, settlement = self._writer.fold, self._control.settlement
        events: list[Event] = []
        usage = fold.usage
        if usage is None:
            estimated = fold.estimated_usage(self._prompt_characters)
            usage = settlement.usage(estimated) if settlement is not None else estimated
            events.append(usage)
        facts = dict(settlement.facts(usage, done)) if settlement is not None else {}
        if facts and done.reason != "stop":
            # For whoever takes the stream up now (`turn.whole_end`): the event that says so is not stored yet.
            facts["finish_reason"] = done.reason
        return [*events, Metadata(facts)] if facts else events

    def touch(self) -> None:
        self._writer.touch()

    def connected(self) -> None:
        self._writer.connected()

    async def drain(self) -> None:
        await self._writer.drain()


class _Control:
    """The stream's own, which is asked for its settlement here as well."""

    __slots__ = ("_control", "settlement")

    def __init__(self, control: Control) -> None:
        self._control = control
        self.settlement: Settlement | None = None

    @property
    def first_content_s(self) -> float | None:
        return self._control.first_content_s

    def watch(self, watch: Watch | None) -> None:
        self._control.watch(watch)

    def settle(self, settlement: Settlement) -> None:
        # Of the stream, too: what is cancelled half-way does not come by here.
        self.settlement = settlement
        self._control.settle(settlement)

    def lend_slot(self, lent: bool) -> None:
        self._control.lend_slot(lent)

    async def history(self) -> list[Event]:
        return await self._control.history()


class _Settled:
    """Everything was told already."""

    def usage(self, estimated: Usage) -> Usage:
        return estimated

    def facts(self, usage: Usage, terminal: Terminal) -> JsonObject:
        return {}


_SETTLED = _Settled()

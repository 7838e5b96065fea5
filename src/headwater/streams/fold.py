"""The state of a stream as a fold over its events: the same function live, on recovery and in tests."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Mapping

from ..events import Done, Error, Event, Metadata, Reasoning, Source, Sources, Start, Status, Text, ToolCall, Usage

# Without the provider's tokenizer, English and code average close to four characters a token
# (https://help.openai.com/en/articles/4936856), so an estimate is within some tens of percent and marked as such.
CHARACTERS_PER_TOKEN = 4


class Fold:
    """What a stream's events add up to. `apply` is called once an event, in order; it refuses what is no event.

    `first_seq` is the position of the first one, where a trimmed log has forgotten those before.
    """

    __slots__ = (
        "_gap_ends",
        "_gap_totals",
        "_other_content",
        "_others",
        "content_characters",
        "content_events",
        "model",
        "provider",
        "reasoning_characters",
        "recoveries",
        "refused",
        "served",
        "sources",
        "terminal",
        "text_bytes",
        "thoughts",
        "usage",
    )

    def __init__(self, first_seq: int = 0) -> None:
        self.model = ""
        self.provider = ""
        self.content_events = 0
        self.content_characters = 0
        self.reasoning_characters = 0
        self.text_bytes = 0
        self.recoveries = 0
        self.refused = False
        self.served: dict[str, object] | None = None
        self.sources: list[Source] = []
        self.usage: Usage | None = None
        self.terminal: Error | Done | None = None
        # The first choice's blocks of thinking, by the run (see below) that each stands in: the seq of its first piece.
        self.thoughts: dict[int, int] = {}
        # Runs of events that are no text: the seq after each, and how many there were up to it. Texts, of which there
        # is one a token, leave no trace here.
        self._gap_ends = array("Q", (first_seq,))
        self._gap_totals = array("Q", (first_seq,))
        self._others = first_seq
        self._other_content = 0

    @property
    def texts(self) -> int:
        """How many `Text` events there were."""
        return self.content_events - self._other_content

    def text_number(self, seq: int) -> int:
        """Which `Text` event (0, 1, 2 …) the one at `seq` is. Later events make no difference to it."""
        return seq - self._gap_totals[bisect_right(self._gap_ends, seq) - 1]

    def texts_before(self, seq: int) -> int:
        """How many `Text` events stand before `seq`."""
        gap = bisect_right(self._gap_ends, seq) - 1
        if gap < 0:
            return 0
        texts = seq - self._gap_totals[gap]
        if gap + 1 < len(self._gap_ends):
            # Those of the next run of others that stand before `seq` are none of them.
            others = self._gap_totals[gap + 1] - self._gap_totals[gap]
            texts = min(texts, self._gap_ends[gap + 1] - others - self._gap_totals[gap])
        return texts

    def thought_begins(self, first_seq: int, seq: int) -> bool:
        """Whether a block of thinking begins in the adjacent `Reasoning` events `first_seq` … `seq`."""
        return first_seq <= self.thoughts.get(bisect_right(self._gap_ends, seq), -1) <= seq

    def thought_ends(self, first_seq: int, seq: int) -> bool:
        """Whether the adjacent `Text` events `first_seq` … `seq` hold the first one after a block of thinking."""
        gap = bisect_right(self._gap_ends, seq) - 1
        return gap in self.thoughts and self._gap_ends[gap] >= first_seq

    def thinks_at(self, seq: int) -> bool:
        """Whether the block of thinking before `seq`, which is no `Text`, has not ended in a `Text`."""
        return self.thoughts.get(bisect_right(self._gap_ends, seq), seq + 1) <= seq

    @property
    def has_content(self) -> bool:
        """Whether the answer has begun: a retry would repeat or contradict it."""
        return self.content_events > 0

    def apply(self, event: Event) -> None:
        kind = type(event)
        if kind is Text:
            self.content_events += 1
            self.content_characters += len(event.text)  # type: ignore[union-attr]
            self.text_bytes += utf8_bytes(event.text)  # type: ignore[union-attr]
            return
        match event:
            case Reasoning(text=text):
                self.content_events += 1
                self._other_content += 1
                self.reasoning_characters += len(text)
            case ToolCall(name=name, arguments=arguments):
                self.content_events += 1
                self._other_content += 1
                self.content_characters += len(name) + len(arguments)
            case Usage():
                self.usage = event
            case Error() | Done():
                self.terminal = event
            case Start(model=model, provider=provider):
                self.model, self.provider = model, provider
            case Metadata(data=data):
                self.served = {**(self.served or {}), **data}
                # Only before content: frames of the text must not depend on what came after them.
                if not self.has_content:
                    self.refused = bool(self.served.get("refused"))
            case Status(stage=stage):
                self.recoveries += stage == "recovering"
            case Sources(items=items):
                self.sources += items
            case _:
                raise TypeError(f"a {kind.__name__} is no event")
        self._pass_over()
        if kind is Reasoning and event.choice == 0 and event.text:  # type: ignore[union-attr]
            self.thoughts.setdefault(len(self._gap_ends) - 1, self._gap_ends[-1] - 1)

    def _pass_over(self) -> None:
        """The event just applied is no text."""
        seq_after = self.texts + self._others + 1
        self._others += 1
        if self._gap_ends[-1] == seq_after - 1:
            self._gap_ends[-1] = seq_after
            self._gap_totals[-1] = self._others
        else:
            self._gap_ends.append(seq_after)
            self._gap_totals.append(self._others)

    def estimated_usage(self, prompt_characters: int) -> Usage:
        """Settles usage where the provider told none."""
        reasoning = _tokens(self.reasoning_characters)
        return Usage(
            prompt_tokens=_tokens(prompt_characters),
            completion_tokens=_tokens(self.content_characters) + reasoning,
            reasoning_tokens=reasoning,
            source="estimated",
        )


def utf8_bytes(text: str) -> int:
    """The size of a text as UTF-8; half of a surrogate pair counts as the U+FFFD that is stored for it."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _tokens(characters: int) -> int:
    return -(-characters // CHARACTERS_PER_TOKEN)


def fold(events: Iterable[Event]) -> Fold:
    state = Fold()
    for event in events:
        state.apply(event)
    return state


def served_by(metadata: Mapping[str, object]) -> str:
    """Who gave the end of the answer, where attempts tell of several; "" where none did."""
    attempts = metadata.get("attempts")
    for attempt in reversed(attempts) if isinstance(attempts, list) else ():
        if isinstance(attempt, dict) and attempt.get("outcome") == "done":
            return str(attempt.get("provider") or "")
    return ""

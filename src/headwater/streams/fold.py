"""The state of a stream as a fold over its events: the same function live, on recovery and in tests."""

from __future__ import annotations

from collections.abc import Iterable

from ..events import Done, Error, Event, Metadata, Reasoning, Sources, Start, Status, Text, ToolCall, Usage

# Without the provider's tokenizer, English and code average close to four characters a token
# (https://help.openai.com/en/articles/4936856), so an estimate is within some tens of percent and marked as such.
CHARACTERS_PER_TOKEN = 4


class Fold:
    """What a stream's events add up to. `apply` is called once an event, in order; it refuses what is no event."""

    __slots__ = (
        "content_characters",
        "content_events",
        "model",
        "provider",
        "reasoning_characters",
        "recoveries",
        "served",
        "terminal",
        "usage",
    )

    def __init__(self) -> None:
        self.model = ""
        self.provider = ""
        self.content_events = 0
        self.content_characters = 0
        self.reasoning_characters = 0
        self.recoveries = 0
        self.served: dict[str, object] | None = None
        self.usage: Usage | None = None
        self.terminal: Error | Done | None = None

    @property
    def has_content(self) -> bool:
        """Whether the answer has begun: a retry would repeat or contradict it."""
        return self.content_events > 0

    def apply(self, event: Event) -> None:
        kind = type(event)
        if kind is Text:
            self.content_events += 1
            self.content_characters += len(event.text)  # type: ignore[union-attr]
            return
        match event:
            case Reasoning(text=text):
                self.content_events += 1
                self.reasoning_characters += len(text)
            case ToolCall(name=name, arguments=arguments):
                self.content_events += 1
                self.content_characters += len(name) + len(arguments)
            case Usage():
                self.usage = event
            case Error() | Done():
                self.terminal = event
            case Start(model=model, provider=provider):
                self.model, self.provider = model, provider
            case Metadata(data=data):
                self.served = {**(self.served or {}), **data}
            case Status(stage=stage):
                self.recoveries += stage == "recovering"
            case Sources():
                pass
            case _:
                raise TypeError(f"a {kind.__name__} is no event")

    def estimated_usage(self, prompt_characters: int) -> Usage:
        """Settles usage where the provider told none."""
        reasoning = _tokens(self.reasoning_characters)
        return Usage(
            prompt_tokens=_tokens(prompt_characters),
            completion_tokens=_tokens(self.content_characters) + reasoning,
            reasoning_tokens=reasoning,
            source="estimated",
        )


def _tokens(characters: int) -> int:
    return -(-characters // CHARACTERS_PER_TOKEN)


def fold(events: Iterable[Event]) -> Fold:
    state = Fold()
    for event in events:
        state.apply(event)
    return state

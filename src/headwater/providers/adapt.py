"""Whatever an application's iterator yields, as canonical events: text, our events, and chunks of the usual SDKs.

SDK objects are recognised by their shape, never by their class: no SDK is imported, and the plain dicts of the same
shape are taken too. An SDK's answer must be whole when its iterator ends, as for a provider's own bytes: the SDKs
themselves take a body that ends early for a finished answer.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ..errors import ProducerFailed
from ..events import EVENT_TYPES, Done, Event, Start, Text
from .adapt_anthropic import ANTHROPIC_TYPES, AnthropicAnswer
from .adapt_openai import CompletionAnswers
from .adapt_responses import ResponsesAnswer
from .foreign import Foreign, added, field
from .wire.tool_calls import ToolCalls

# What SDK helpers (`messages.stream()`, `completions.stream()`) yield besides the raw events that they derive it from.
_DERIVED = frozenset({"text", "thinking", "input_json", "signature", "citation", "content_block_stop", "ping"})
_DERIVED_PREFIXES = ("content.", "refusal.", "tool_calls.", "logprobs.")


class Adapter:
    """One stream's worth of items: `events` for each, `close` when the iterator has ended.

    Several SDK answers may follow one another, as an agent's loop makes them: their usage adds up, and the last one's
    finish reason is the stream's.
    """

    def __init__(self) -> None:
        tools = ToolCalls()
        makers: dict[str, Callable[[], Foreign]] = {
            "completions": lambda: CompletionAnswers(tools),
            "responses": lambda: ResponsesAnswer(tools),
            "anthropic": lambda: AnthropicAnswer(tools),
        }
        self._makers = makers
        self._answers: dict[str, Foreign] = {}
        self._last: Foreign | None = None
        self._over = False

    def events(self, item: object) -> list[Event]:
        """The events of one item. Raises `ProducerFailed` naming a type that is none of these."""
        if isinstance(item, str):
            return [Text(item)] if item else []
        if isinstance(item, EVENT_TYPES) and not isinstance(item, Start):
            self._over = self._over or isinstance(item, Done)
            return [_checked(item)]
        kind = field(item, "type")
        if kind == "chunk" and field(item, "chunk") is not None:
            return self.events(field(item, "chunk"))
        family = _family(item, kind)
        if family is None:
            raise ProducerFailed(
                f"the application's stream yielded {_named(item)}; it may yield text, events and SDK chunks"
            )
        if not family:
            return []
        answer = self._answers.get(family)
        if answer is None:
            answer = self._answers[family] = self._makers[family]()
        self._last = answer
        return answer.take(item)

    def close(self) -> list[Event]:
        """Usage and end of SDK answers; nothing where there were none. Raises `ProviderTruncated`."""
        if self._last is None or self._over:
            return []
        events: list[Event] = []
        ends = {}
        for answer in self._answers.values():
            rest, done, usage = answer.finish()
            events += rest
            ends[answer] = done, usage
        told = [usage for _, usage in ends.values() if usage is not None]
        if told:
            events.append(added(told))
        return [*events, ends[self._last][0]]


def _checked(item: object) -> Event:
    """The event, if what is in its fields can be read back: constructors take anything."""
    try:
        return msgspec.convert(msgspec.to_builtins(item), type=Event)  # type: ignore[no-any-return]
    except (msgspec.ValidationError, TypeError) as exc:
        raise ProducerFailed(f"the application's stream yielded {_named(item)} with wrong fields: {exc}") from exc


def _family(item: object, kind: object) -> str | None:
    """Which SDK's item this is; "" for one that says nothing new, None for an unknown one."""
    if field(item, "choices") is not None:
        return "completions"
    if not isinstance(kind, str):
        return None
    if kind.startswith("response."):
        return "responses"
    if kind in ANTHROPIC_TYPES:
        return "anthropic"
    if kind == "error":
        return "anthropic" if field(item, "error") is not None else "responses"
    return "" if kind in _DERIVED or kind.startswith(_DERIVED_PREFIXES) else None


def _named(item: object) -> str:
    if isinstance(item, dict):
        kind = item.get("type")
        return f"a dict of type {kind[:40]!r}" if isinstance(kind, str) else "a dict"
    return f"an object of type {type(item).__module__}.{type(item).__qualname__}"

"""Reading objects of SDKs that are not imported: by attribute, or by key where the item is a plain dict."""

from __future__ import annotations

from typing import Protocol

from ..events import Done, Event, JsonObject, Usage


class Foreign(Protocol):
    """The answers of one SDK within one stream."""

    def take(self, item: object) -> list[Event]:
        """Raises `ProviderRejected` for an error that the item reports."""
        ...

    def finish(self) -> tuple[list[Event], Done, Usage | None]:
        """What was still owed, how it ended, what it cost. Raises `ProviderTruncated` where it did not end."""
        ...


def field(item: object, name: str) -> object:
    """None where there is no such field."""
    if isinstance(item, dict):
        return item.get(name)
    return getattr(item, name, None)


def text(item: object, name: str) -> str:
    """A text field; "" where it is missing or something else."""
    value = field(item, name)
    return value if isinstance(value, str) else ""


def count(item: object, name: str) -> int:
    """A number of tokens; 0 where it is not told."""
    value = field(item, name)
    return value if type(value) is int and value >= 0 else 0


def plain(item: object) -> JsonObject | None:
    """An object's fields as JSON values, those without a value left out; None where it has no fields."""
    if isinstance(item, dict):
        return {name: value for name, value in item.items() if value is not None}
    dump = getattr(item, "model_dump", None)
    if dump is None:
        return None
    fields: JsonObject = dump(mode="json", exclude_none=True)
    return fields


def added(usages: list[Usage]) -> Usage:
    """The usage of several answers; details are kept where there is one only."""
    if len(usages) == 1:
        return usages[0]
    return Usage(
        prompt_tokens=sum(usage.prompt_tokens for usage in usages),
        completion_tokens=sum(usage.completion_tokens for usage in usages),
        reasoning_tokens=sum(usage.reasoning_tokens for usage in usages),
        cached_tokens=sum(usage.cached_tokens for usage in usages),
    )

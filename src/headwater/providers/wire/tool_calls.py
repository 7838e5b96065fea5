"""Where a piece of a tool call belongs: servers disagree about `index`, `id` and `name`; canonical events do not.

OpenAI numbers calls by `index` and sends `id` and `name` once. Compatible servers leave the index out or null (Gemini),
give every call index 0, repeat id and name in every piece, or send no id at all.
"""

from __future__ import annotations

from typing import NamedTuple

from ...events import ToolCall


class _Call(NamedTuple):
    position: int
    id: str


class ToolCalls:
    """The calls of one answer so far, by choice. `piece` is called once a delta, in order."""

    __slots__ = ("_by_choice", "_named")

    def __init__(self) -> None:
        self._by_choice: dict[int, dict[int, _Call]] = {}
        self._named: set[tuple[int, int]] = set()

    def piece(self, choice: int, index: int | None, id: str, name: str, arguments: str) -> ToolCall | None:
        """The event of one delta: id and name only where they are new; None where it adds nothing.

        A call without an id gets one from its position, because a tool's answer must be able to name it.
        """
        calls = self._by_choice.setdefault(choice, {})
        call, new = _place(calls, index, id, name)
        place = (choice, call.position)
        told = name if name and place not in self._named else ""
        if told:
            self._named.add(place)
        if not (new or told or arguments):
            return None
        id = (call.id or f"call_{choice}_{call.position}") if new else ""
        return ToolCall(call.position, id=id, name=told, arguments=arguments, choice=choice)


def _place(calls: dict[int, _Call], index: int | None, id: str, name: str) -> tuple[_Call, bool]:
    """The call that a delta belongs to, and whether it begins with it. `calls` is keyed by the server's own index."""
    if index is None:
        same = next((call for call in calls.values() if id and call.id == id), None)
        if same is not None:
            return same, False
        if calls and not id and not name:
            return max(calls.values()), False
        index = max(calls, default=-1) + 1
    elif index in calls:
        known = calls[index]
        # Another id *and* a name: a further call under an index already taken, not a server with one id a piece.
        if not (id and name and known.id and known.id != id):
            return known, False
        same = next((call for call in calls.values() if call.id == id), None)
        if same is not None:
            return same, False
        own = 1 + max(call.position for call in calls.values())
        calls[own], calls[index] = known, _Call(own, id)
        return calls[index], True
    call = _Call(index, id)
    calls[index] = call
    return call, True

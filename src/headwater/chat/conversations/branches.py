"""The tree of a thread's messages, as statements: up to the root, and everything below a message.

A message's number is larger than its parent's, always: so the order of numbers is the order from root to leaf, the
newest message below another is a leaf, and no chain of parents can close to a circle. The statements are recursive in
the database, where depth costs no stack.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, select

from ...store import tables
from ..records import Siblings

_messages = tables.messages


def above(message_id: str) -> ColumnElement[bool]:
    """Those from `message_id` up to the root, itself included."""
    start = select(_messages.c.id, _messages.c.parent_id).where(_messages.c.id == message_id)
    chain = start.cte("chain", recursive=True)
    step = select(_messages.c.id, _messages.c.parent_id).where(_messages.c.id == chain.c.parent_id)
    return _messages.c.id.in_(select(chain.union(step).c.id))


def below(message_id: str) -> ColumnElement[bool]:
    """`message_id` and all that follows it, on every branch."""
    tree = select(_messages.c.id).where(_messages.c.id == message_id).cte("tree", recursive=True)
    step = select(_messages.c.id).where(_messages.c.parent_id == tree.c.id)
    return _messages.c.id.in_(select(tree.union(step).c.id))


def newest(condition: ColumnElement[bool]) -> Select[Any]:
    """The id of the newest message among those."""
    return select(_messages.c.id).where(condition).order_by(_messages.c.number.desc()).limit(1)


def siblings_of(pairs: Sequence[tuple[str, str | None]]) -> dict[str, Siblings]:
    """From a thread's (id, parent id), oldest first, to every message's place among its branches."""
    children: dict[str | None, list[str]] = {}
    for message_id, parent_id in pairs:
        children.setdefault(parent_id, []).append(message_id)
    return {message_id: Siblings(index, ids) for ids in children.values() for index, message_id in enumerate(ids)}

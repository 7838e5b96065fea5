"""Wire formats towards clients, by name."""

from __future__ import annotations

from types import MappingProxyType

from ..errors import InputError
from . import ai_chat, events, openai_chat, streaming, typed, workspace
from .base import Decoded, Dialect, EncodeOptions

_ALL = (
    events.DIALECT,
    openai_chat.DIALECT,
    workspace.DIALECT,
    ai_chat.DIALECT,
    streaming.DIALECT,
    typed.DIALECT,
)

DIALECTS = MappingProxyType({dialect.name: dialect for dialect in _ALL})


def dialect_named(name: str) -> Dialect:
    """Raises `InputError` for a name that is not in `DIALECTS`."""
    try:
        return DIALECTS[name]
    except KeyError:
        known = ", ".join(sorted(DIALECTS))
        raise InputError(f"unknown dialect {name!r}; there are: {known}", param="dialect") from None


__all__ = ["DIALECTS", "Decoded", "Dialect", "EncodeOptions", "dialect_named"]

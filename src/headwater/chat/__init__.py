"""Conversations around streams: workspaces, threads, messages, documents in the prompt. Knows no HTTP.

Dialects are known to the generators of references 001 and 003 alone (`ai_service`, `message_handler`). Names are
imported when they are first used: the database and the extractors cost what only their users should pay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .ai_service import AIService
    from .asking import Ask, Asked
    from .backend import Backend, BackendSettings
    from .history import Past
    from .message_handler import handle_chat_message_stream
    from .records import Message, Thread, Workspace
    from .settings import AiChatSettings, ChatSettings

_HOMES = {
    "AIService": "ai_service",
    "AiChatSettings": "settings",
    "Ask": "asking",
    "Asked": "asking",
    "Backend": "backend",
    "BackendSettings": "backend",
    "ChatSettings": "settings",
    "Message": "records",
    "Past": "history",
    "Thread": "records",
    "Workspace": "records",
    "handle_chat_message_stream": "message_handler",
}

__all__ = [
    "AIService",
    "AiChatSettings",
    "Ask",
    "Asked",
    "Backend",
    "BackendSettings",
    "ChatSettings",
    "Message",
    "Past",
    "Thread",
    "Workspace",
    "handle_chat_message_stream",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__

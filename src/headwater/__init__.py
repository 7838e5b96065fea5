"""Headwater: durable, resumable token streams over Server-Sent Events.

Names are imported when they are first used: `import headwater` costs next to nothing and does nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from .client import HeadwaterClient
    from .config import Settings
    from .cursor import Cursor
    from .errors import HeadwaterError
    from .events import (
        Done,
        Error,
        Event,
        Metadata,
        Reasoning,
        Source,
        Sources,
        Start,
        Status,
        Text,
        ToolCall,
        Usage,
    )
    from .library import Headwater

_HOMES = {
    "HeadwaterClient": "client",
    "Cursor": "cursor",
    "Headwater": "library",
    "HeadwaterError": "errors",
    "Settings": "config",
    **dict.fromkeys(
        (
            "Done",
            "Error",
            "Event",
            "Metadata",
            "Reasoning",
            "Source",
            "Sources",
            "Start",
            "Status",
            "Text",
            "ToolCall",
            "Usage",
        ),
        "events",
    ),
}

__all__ = [
    "Cursor",
    "Done",
    "Error",
    "Event",
    "Headwater",
    "HeadwaterClient",
    "HeadwaterError",
    "Metadata",
    "Reasoning",
    "Settings",
    "Source",
    "Sources",
    "Start",
    "Status",
    "Text",
    "ToolCall",
    "Usage",
    "__version__",
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

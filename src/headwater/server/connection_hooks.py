"""Callbacks of an application by the event names of reference 002."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal, TypeAlias, overload

from .connection_shapes import StreamCompleted, StreamConnection, StreamFailure, StreamMetrics, StreamTold

_logger = logging.getLogger(__name__)

HookName: TypeAlias = Literal[
    "connection_created", "stream_event", "stream_completed", "stream_error", "connection_closed", "metrics_updated"
]
HookSubject: TypeAlias = StreamConnection | StreamTold | StreamCompleted | StreamFailure | StreamMetrics

NAMES: frozenset[str] = frozenset(
    {"connection_created", "stream_event", "stream_completed", "stream_error", "connection_closed", "metrics_updated"}
)


class ConnectionHooks:
    """`on(name, callback)`. Callbacks are plain functions, called in the loop's thread, and must return soon.

    What they raise is logged and changes nothing. Events are told of streams that start after the first callback for
    `stream_event` was added; until then nothing follows any stream. A stream that is closed before its end is told
    by `connection_closed` alone.
    """

    def __init__(self) -> None:
        self._callbacks: dict[str, list[Callable[..., object]]] = {}

    @overload
    def on(
        self, name: Literal["connection_created", "connection_closed"], callback: Callable[[StreamConnection], object]
    ) -> Callable[[], None]: ...
    @overload
    def on(self, name: Literal["stream_event"], callback: Callable[[StreamTold], object]) -> Callable[[], None]: ...
    @overload
    def on(
        self, name: Literal["stream_completed"], callback: Callable[[StreamCompleted], object]
    ) -> Callable[[], None]: ...
    @overload
    def on(self, name: Literal["stream_error"], callback: Callable[[StreamFailure], object]) -> Callable[[], None]: ...
    @overload
    def on(
        self, name: Literal["metrics_updated"], callback: Callable[[StreamMetrics], object]
    ) -> Callable[[], None]: ...

    def on(self, name: HookName, callback: Callable[..., object]) -> Callable[[], None]:
        """Call `callback` with each subject of this name; returns the undo. Raises `ValueError` for another name."""
        if name not in NAMES:
            raise ValueError(f"there is no hook {name!r}; there are: {', '.join(sorted(NAMES))}")
        callbacks = self._callbacks.setdefault(name, [])
        callbacks.append(callback)

        def undo() -> None:
            if callback in callbacks:
                callbacks.remove(callback)

        return undo

    def listens(self, name: HookName) -> bool:
        return bool(self._callbacks.get(name))

    def tell(self, name: HookName, subject: HookSubject) -> None:
        for callback in tuple(self._callbacks.get(name, ())):
            try:
                callback(subject)
            except Exception:
                _logger.exception("a callback for %s failed", name)

"""Fewer and larger frames for a viewer that asked for them: what comes is held for a time, or up to a size.

A viewer that is behind pulls what it missed, merged, when its sink takes bytes again. So nothing is buffered here: a
sink that takes nothing for a while is all that pacing is. Who did not ask for it has no such sink, and pays nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..events import Event
from .merge import content_bytes
from .ports import Layer, Network, Sink, SupportsNetwork


class Pace(NamedTuple):
    """`interval_s`: between two writes. `buffer_bytes`: of content in one frame; when so much waits, it is written."""

    buffer_bytes: int
    interval_s: float


class PacedSink:
    """Around a viewer's sink. The first write goes out at once, as does the end of the stream."""

    __slots__ = ("_held_bytes", "_inner", "_on_writable", "_timer", "pace")

    def __init__(self, inner: Sink, pace: Pace) -> None:
        self.pace = pace
        self._inner = inner
        self._on_writable: Callable[[], None] = _nothing
        self._timer: asyncio.TimerHandle | None = None
        self._held_bytes = 0

    @property
    def writable(self) -> bool:
        return self._timer is None and self._inner.writable

    def bind(self, on_writable: Callable[[], None]) -> None:
        """With a function that does nothing, when the viewer is gone: the timer then only ends."""
        self._on_writable = on_writable
        self._inner.bind(self._inner_writable)

    def write(self, data: bytes) -> None:
        self._inner.write(data)
        if self._timer is None and self.pace.interval_s > 0:
            self._timer = asyncio.get_running_loop().call_later(self.pace.interval_s, self._let_go)

    def finish(self) -> None:
        self._stop()
        self._inner.finish()

    def abort(self) -> None:
        self._stop()
        self._inner.abort()

    def hold(self, events: Sequence[Event], *, ends: bool) -> None:
        """These wait for their time, unless they are enough or the stream's last."""
        if self._timer is None:
            return  # it is the peer that does not read
        self._held_bytes += sum(map(content_bytes, events))
        if ends or self._held_bytes >= self.pace.buffer_bytes:
            self._let_go()

    def carry(self, inner: Sink) -> None:
        """See `ports.Layer`."""
        if isinstance(self._inner, Layer):
            self._inner.carry(inner)
        else:
            self._inner = inner
            inner.bind(self._inner_writable)

    def network(self) -> Network | None:
        return self._inner.network() if isinstance(self._inner, SupportsNetwork) else None

    def _let_go(self) -> None:
        self._stop()
        if self._inner.writable:
            self._on_writable()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._held_bytes = 0

    def _inner_writable(self) -> None:
        if self._timer is None:
            self._on_writable()


def _nothing() -> None:
    """Before a viewer is bound there is nobody to tell."""

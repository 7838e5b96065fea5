"""Watches one attempt at an answer: time to its first content, then the silence between two signs of life.

Swept with everything else several times a second, so that no event costs a timer. Knows nothing of what is done about
a time-out: that is `fire`.
"""

from __future__ import annotations

from typing import Protocol

from ..errors import ProviderTimeout
from .ports import Watch


class Watched(Protocol):
    """The signs of life of a stream. `alive` is set by whoever writes, and taken back here."""

    alive: bool

    @property
    def congested(self) -> bool: ...

    @property
    def content_events(self) -> int: ...


class Watchdog:
    """Starts when it is made; fires at most once."""

    __slots__ = ("_begun_with", "_last_life", "_since", "_watch", "_watched")

    def __init__(self, watch: Watch, watched: Watched, now: float) -> None:
        self._watch: Watch | None = watch
        self._watched = watched
        self._since = self._last_life = now
        self._begun_with = watched.content_events

    def sweep(self, now: float) -> None:
        """Fire what is due."""
        watch, watched = self._watch, self._watched
        if watch is None:
            return
        if watched.alive or watched.congested:
            # While the log is slow the upstream is paused: its silence is ours.
            watched.alive = False
            self._last_life = now
        if watched.content_events == self._begun_with:
            if now - self._since >= watch.first_token_timeout_s:
                self._fire(watch, f"no first token within {watch.first_token_timeout_s:g} s")
        elif now - self._last_life >= watch.idle_timeout_s:
            self._fire(watch, f"the provider was silent for {watch.idle_timeout_s:g} s")

    def _fire(self, watch: Watch, message: str) -> None:
        self._watch = None
        watch.fire(ProviderTimeout(message))

"""Who is told what happens to the streams and viewers of this process: figures, never decisions.

On the event path there is one call a batch. What can be read off a fold or a viewer (events, bytes, states) is not told
here at all: whoever wants it looks now and then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ..events import Event
    from .channel import Channel
    from .viewer import Viewer


class Observer(Protocol):
    """All calls come from the loop's thread; none may raise or block. `now`: the loop's time in seconds."""

    def begun(self, channel: Channel, now: float) -> None:
        """The stream is produced here from now on: it is new, or was taken up. Nothing of it is committed yet."""
        ...

    def committed(self, channel: Channel, events: Sequence[Event], now: float) -> None:
        """These events can be seen since `now`. Only of streams that are produced here."""
        ...

    def ended(self, channel: Channel) -> None:
        """Nothing more is committed here. `channel.terminal` is None where the log refused the stream, or lost it."""
        ...

    def attached(self, viewer: Viewer, cursor: str | None, reset: str | None) -> None:
        """`cursor`: what it came back with; `reset`: why that is unknown."""
        ...

    def left(self, viewer: Viewer) -> None: ...

"""Who wants to know of a stream's commits: the `SupportsWatch` half that every log in one process shares."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from ..events import StreamId
from ..streams.log import Append


class Watchers:
    """Callbacks by stream. All methods belong to the loop's thread."""

    __slots__ = ("_by_stream",)

    def __init__(self) -> None:
        self._by_stream: dict[StreamId, list[Callable[[], None]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_stream.values()))

    def add(self, stream: StreamId, notify: Callable[[], None]) -> Callable[[], None]:
        """Returns the undo, which may be called more than once."""
        self._by_stream.setdefault(stream, []).append(notify)
        done = False

        def undo() -> None:
            nonlocal done
            if done:
                return
            done = True
            watchers = self._by_stream[stream]
            watchers.remove(notify)
            if not watchers:
                del self._by_stream[stream]

        return undo

    def notify(self, appends: Iterable[Append]) -> None:
        """Tell the watchers of these appends' streams. One that raises is reported and stops nobody else."""
        if not self._by_stream:
            return
        for append in appends:
            for notify in tuple(self._by_stream.get(append.stream, ())):
                try:
                    notify()
                except Exception as exc:  # noqa: BLE001 - a callback's own fault must not undo a commit that is on disk
                    asyncio.get_running_loop().call_exception_handler(
                        {"message": f"a watcher of stream {append.stream} raised", "exception": exc}
                    )

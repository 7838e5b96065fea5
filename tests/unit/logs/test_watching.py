from __future__ import annotations

from headwater.events import StreamId
from headwater.logs.watching import Watchers
from headwater.streams.log import Append

ONE = Append(StreamId("one"), 0, 1, b"")


async def test_the_undo_leaves_nothing_behind() -> None:
    """Memory grows with unread streams (ai-resumable-stream #7)."""
    watchers = Watchers()
    heard: list[int] = []
    undos = [watchers.add(ONE.stream, lambda: heard.append(1)) for _ in range(3)]
    assert len(watchers) == 3
    watchers.notify([ONE])
    for undo in undos:
        undo()
        undo()
    assert len(watchers) == 0
    watchers.notify([ONE])
    assert heard == [1, 1, 1]


async def test_a_watcher_may_undo_itself_and_others_while_it_is_told() -> None:
    watchers = Watchers()
    heard: list[str] = []

    def once() -> None:
        heard.append("once")
        undo()

    undo = watchers.add(ONE.stream, once)
    watchers.add(ONE.stream, lambda: heard.append("always"))
    watchers.notify([ONE])
    watchers.notify([ONE])
    assert heard == ["once", "always", "always"]

"""What the tests of whole commands share: a server beside them, and a person at the keyboard."""

from __future__ import annotations

import asyncio
import io
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.unit.client.scripted import Script, Server, serving


@contextmanager
def beside(script: Script) -> Iterator[Server]:
    """A scripted server in a thread of its own: the commands run loops of theirs."""
    started: list[Server] = []
    ready, leave = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with serving(script) as server:
            started.append(server)
            ready.set()
            await leave.wait()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(10)
    try:
        yield started[0]
    finally:
        loop.call_soon_threadsafe(leave.set)
        thread.join(10)


@contextmanager
def ctrl_c_works() -> Iterator[None]:
    """As in a terminal: what runs the tests may have switched SIGINT off."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def press_ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


class Keyboard(io.StringIO):
    """A terminal's stdin: the lines that a person types, and then Ctrl-C or Ctrl-D."""

    def __init__(self, *lines: str, ends_with_ctrl_c: bool = False) -> None:
        super().__init__("".join(f"{line}\n" for line in lines))
        self._ends_with_ctrl_c = ends_with_ctrl_c

    def isatty(self) -> bool:
        return True

    def readline(self, size: int | None = -1, /) -> str:
        line = super().readline(-1 if size is None else size)
        if not line and self._ends_with_ctrl_c:
            press_ctrl_c()
        return line

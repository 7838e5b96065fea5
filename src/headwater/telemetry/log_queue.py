"""The way of a line to its output: through a bounded queue, written by a thread.

The event loop must not wait for whoever reads the output: a pipe that nobody empties would stop every stream. A line
that finds the queue full is dropped and counted.
"""

from __future__ import annotations

import copy
import logging
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from .log_lines import RateLimit, note_context

CLOSING_S = 2.0


class QueuedHandler(logging.Handler):
    """`make_formatter` is called by the thread, for the first line. `close` writes what is queued, within `CLOSING_S`.

    An output that fails loses its line, which counts as dropped.
    """

    def __init__(
        self, output: TextIO, make_formatter: Callable[[], logging.Formatter], *, max_lines: int, limit: RateLimit
    ) -> None:
        super().__init__()
        self._output = output
        self._make_formatter = make_formatter
        self._limit = limit
        self._queue: queue.Queue[logging.LogRecord | None] = queue.Queue(max_lines)
        self._dropped = 0
        self._thread = threading.Thread(target=self._write_all, name="headwater-log", daemon=True)
        self._thread.start()
        self.addFilter(note_context)

    def emit(self, record: logging.LogRecord) -> None:
        for told in self._limit.left_out():
            self._put(told)
        if self._limit.allows(record):
            self._put(record)

    def _put(self, record: logging.LogRecord) -> None:
        # Its values now, for they may change; other handlers have the record as it was.
        told = copy.copy(record)
        try:
            told.msg, told.args = record.getMessage(), None
        except Exception as exc:  # noqa: BLE001 -- an object's own text may raise anything
            told.msg, told.args = f"{record.msg} (its values cannot be written: {type(exc).__name__})", None
        try:
            self._queue.put_nowait(told)
        except queue.Full:
            self._dropped += 1

    def close(self) -> None:
        """Idempotent."""
        if self._thread.is_alive():
            for told in self._limit.left_out(now=True):
                self._put(told)
            with suppress(queue.Full):
                self._queue.put(None, timeout=CLOSING_S)
            self._thread.join(CLOSING_S)
        super().close()

    # ------------------------------------------------------------------ in the thread

    def _write_all(self) -> None:
        formatter: logging.Formatter | None = None
        while (record := self._queue.get()) is not None:
            formatter = formatter or self._make_formatter()
            dropped, self._dropped = self._dropped, 0
            if dropped:
                told = "%d lines were dropped: the log's output fails, or is not read fast enough"
                self._write(formatter, logging.LogRecord(__name__, logging.WARNING, "", 0, told, (dropped,), None))
            self._write(formatter, record)

    def _write(self, formatter: logging.Formatter, record: logging.LogRecord) -> None:
        try:
            self._output.write(formatter.format(record) + "\n")
            self._output.flush()
        except Exception:  # noqa: BLE001 -- the thread's boundary; there is no other place to tell it
            self._dropped += 1

"""Lines of the log: how many of one kind there may be, and how one is written (structlog over the standard library).

structlog is imported by whoever renders the first line, which is a thread of its own: a start need not wait for it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from ..instants import rfc3339
from ..log_context import REQUEST_ID, STREAM_ID
from .redaction import Redactor

if TYPE_CHECKING:
    from structlog.typing import Processor

LogFormat: TypeAlias = Literal["console", "json"]
Kind: TypeAlias = tuple[str, int, str]

MINUTE_S = 60.0
# What is told apart within a minute; what comes on top is one kind.
MAX_KINDS = 1000
_OTHERS: Kind = ("headwater", logging.WARNING, "other lines")


def note_context(record: logging.LogRecord) -> bool:
    """A filter that keeps all: names the request and the stream that the line is written for, unless it says so."""
    for name, variable in (("request_id", REQUEST_ID), ("stream_id", STREAM_ID)):
        if not hasattr(record, name) and (value := variable.get()):
            setattr(record, name, value)
    return True


class RateLimit:
    """At most `per_minute` lines of one kind (logger, level, text before its values are put in); 0: any number."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = per_minute
        self._clock = clock
        self._began_s = clock()
        self._counts: dict[Kind, int] = {}

    def allows(self, record: logging.LogRecord) -> bool:
        """Ask `left_out` first."""
        if not self._limit:
            return True
        kind = (record.name, record.levelno, str(record.msg))
        if kind not in self._counts and len(self._counts) >= MAX_KINDS:
            kind = _OTHERS
        self._counts[kind] = count = self._counts.get(kind, 0) + 1
        return count <= self._limit

    def left_out(self, *, now: bool = False) -> list[logging.LogRecord]:
        """Once the minute is over, or `now`: a line for every kind of which some were left out."""
        if not now and self._clock() - self._began_s < MINUTE_S:
            return []
        over = [(kind, count - self._limit) for kind, count in self._counts.items() if count > self._limit]
        self._counts.clear()
        self._began_s = self._clock()
        return [_left_out(kind, number) for kind, number in over]


def _left_out(kind: Kind, number: int) -> logging.LogRecord:
    name, level, text = kind
    told = "%d lines like this were left out within a minute (log_lines_per_minute): %s"
    return logging.LogRecord(name, level, "", 0, told, (number, text), None)


def make_formatter(kind: LogFormat, redactor: Redactor, *, colors: bool) -> logging.Formatter:
    import structlog

    last: Processor
    if kind == "json":
        last = structlog.processors.JSONRenderer(serializer=_json)
    else:
        last = structlog.dev.ConsoleRenderer(
            colors=colors, pad_event_to=0, sort_keys=False, exception_formatter=structlog.dev.plain_traceback
        )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            _add_time, structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder(),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            lambda _logger, _method, event: _redacted(event, redactor),
            last,
        ],
        keep_exc_info=False,
    )  # fmt: skip


def _add_time(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """When it was written, not when it is rendered."""
    event["timestamp"] = rfc3339(event["_record"].created * 1000)
    return event


def _redacted(event: Mapping[str, Any], redactor: Redactor) -> MutableMapping[str, Any]:
    return {name: redactor.value(value, name) for name, value in event.items()}


def _json(event: Mapping[str, Any], **_: object) -> str:
    return msgspec.json.encode(event).decode()

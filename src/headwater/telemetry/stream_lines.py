"""A line of the log for every stream that has ended; with its question and answer only where the operator asked."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ..errors import HeadwaterError
from ..events import Error, Event, text_of
from ..request import decode_request
from ..streams.channel import Channel, outcome

_logger = logging.getLogger("headwater.ended")

# Of a question and of an answer.
MAX_CONTENT_CHARACTERS = 10_000

ReadEvents = Callable[[Channel], Awaitable[Sequence[Event]]]


class StreamLines:
    """Tell it `ended`. `content`: whether questions and answers are written too, which `read` then reads."""

    def __init__(self, read: ReadEvents, *, content: bool) -> None:
        self._read = read
        self._content = content
        self._reading: set[asyncio.Task[None]] = set()

    def ended(self, channel: Channel) -> None:
        """Returns at once."""
        if channel.terminal is None or not _logger.isEnabledFor(logging.INFO):
            return
        if not self._content:
            _tell(channel, {})
            return
        task = asyncio.get_running_loop().create_task(self._tell_all(channel), name=f"log-{channel.id}")
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    async def close(self) -> None:
        """Write what is being read."""
        if self._reading:
            await asyncio.wait(tuple(self._reading))

    async def _tell_all(self, channel: Channel) -> None:
        try:
            told = {"question": _question(channel), "answer": text_of(await self._read(channel))}
        except HeadwaterError as exc:
            told = {"unreadable": exc.message}
        _tell(channel, {name: text[:MAX_CONTENT_CHARACTERS] for name, text in told.items()})


def _tell(channel: Channel, more: dict[str, str]) -> None:
    terminal, fold = channel.terminal, channel.fold
    if terminal is None:
        return
    told: dict[str, Any] = {
        "stream_id": channel.id,
        "outcome": outcome(terminal),
        "reason": terminal.reason,
        "model": channel.model,
        "provider": channel.provider,
        "dialect": channel.record.dialect,
        "duration_ms": max(0, time.time_ns() // 1_000_000 - channel.created_ms),
        "chunks": fold.content_events,
    }
    if fold.usage is not None:
        told |= {"prompt_tokens": fold.usage.prompt_tokens, "completion_tokens": fold.usage.completion_tokens}
    level = logging.WARNING if isinstance(terminal, Error) else logging.INFO
    _logger.log(level, "stream ended", extra=told | more)


def _question(channel: Channel) -> str:
    """What was asked last, as text. Raises `LogCorrupt`."""
    if not channel.record.request:
        return ""
    for message in reversed(decode_request(channel.record.request).messages):
        if message.get("role") == "user":
            content = message.get("content")
            parts = content if isinstance(content, list) else [{"text": content}]
            texts = [part.get("text") for part in parts if isinstance(part, dict)]
            return "\n".join(text for text in texts if isinstance(text, str))
    return ""

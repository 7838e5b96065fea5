"""Taking up streams that a dead process left unfinished.

Each gets exactly one of: continued by its producer, restarted (nothing was visible yet), or ended with
`error{reason:"interrupted"}` and the partial answer kept. Attempts are bounded by the `recovering` events that the
log itself holds, so a crash loop ends.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Literal, TypeAlias

from ..errors import HeadwaterError, LogCorrupt, LogError, LogUnavailable, QueueFull
from ..events import Error, Status, StreamId
from .fold import Fold
from .generations import Generations
from .history import read_fold
from .info import RecoveryReport
from .log import Log, Query, StreamRecord, SupportsEpoch
from .ports import Producer
from .settings import StreamSettings
from .writer import error_event

_logger = logging.getLogger(__name__)

Fate: TypeAlias = Literal["continued", "restarted", "interrupted"]
Recover: TypeAlias = Callable[[StreamRecord, Fold], Producer | None]

PAGE = 200

INTERRUPTED = Error(
    "interrupted",
    "The server stopped while this answer was being generated; the text so far is kept.",
    status=503,
    retryable=True,
)


def boot_id() -> str:
    """Which boot of the machine this is; empty where the system does not tell (then no boot looks different)."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


class Recovery:
    """Takes up at start what an earlier process left, and later what a failing log lost."""

    def __init__(self, log: Log, generations: Generations, recover: Recover | None, settings: StreamSettings) -> None:
        self._log = log
        self._generations = generations
        self._recover = recover
        self._max_recoveries = settings.max_recoveries

    async def take_up(self, boot: str) -> RecoveryReport:
        """Every unfinished stream of the log gets a producer or its end."""
        counts = {"continued": 0, "restarted": 0, "interrupted": 0}
        async for record in unfinished(self._log):
            counts[await self._take_up(record, boot)] += 1
        return RecoveryReport(**counts)

    async def _take_up(self, record: StreamRecord, boot: str) -> Fate:
        record = await settle_epoch(self._log, record, boot)
        try:
            state = await read_fold(self._log, record)
        except LogCorrupt:
            # The damage is this stream's own: what does decode stays readable, and it must still end.
            _logger.exception("stream %s is damaged and ends as interrupted", record.id)
            self._generations.close_up(record, Fold()).writer.end(INTERRUPTED)
            return "interrupted"
        producer = self._producer(record, state)
        if producer is None:
            self._generations.close_up(record, state).writer.end(INTERRUPTED)
            return "interrupted"
        return self._resume(record, state, producer)

    def _producer(self, record: StreamRecord, state: Fold) -> Producer | None:
        if self._recover is None or state.recoveries >= self._max_recoveries:
            return None
        try:
            return self._recover(record, state)
        except Exception:
            # A stored request that no provider takes any more must not keep the server from starting.
            _logger.exception("stream %s cannot be taken up and ends as interrupted", record.id)
            return None

    def _resume(self, record: StreamRecord, state: Fold, producer: Producer) -> Fate:
        fate: Fate = "continued" if state.has_content else "restarted"
        try:
            generation = self._generations.take_up(record, state, lambda: producer)
        except QueueFull:
            self._generations.close_up(record, state).writer.end(INTERRUPTED)
            return "interrupted"
        generation.writer.write([Status("recovering", attempt=state.recoveries + 1)])
        generation.start()
        return fate

    async def settle(self) -> None:
        """Give the streams that the log lost their end. Stops at the first one that the log still refuses."""
        for stream, lost in list(self._generations.unsettled.items()):
            try:
                await self._settle(StreamId(stream), lost.channel.failure or LogUnavailable("the log failed"))
            except LogError as exc:
                if exc.retryable:
                    return
                _logger.exception("stream %s cannot be given its end", stream)
                self._generations.unsettled.pop(stream, None)

    async def _settle(self, stream: StreamId, failure: HeadwaterError) -> None:
        unsettled = self._generations.unsettled
        record = await self._log.get(stream)
        if record is None:
            unsettled.pop(stream, None)
            return
        if record.ended is not None:
            self._generations.has_ended(stream)
            return
        try:
            state = await read_fold(self._log, record)
        except LogCorrupt:
            _logger.exception("stream %s is damaged", stream)
            state = Fold()
        unsettled.pop(stream, None)
        generation = self._generations.close_up(record, state)
        generation.writer.end(error_event(failure))
        await generation.channel.wait_end()


async def unfinished(log: Log) -> AsyncIterator[StreamRecord]:
    """Every stream without an end, newest first."""
    before = None
    while True:
        page = await log.find(Query(state="unfinished", before=before, limit=PAGE))
        for record in page:
            yield record
        if len(page) < PAGE:
            return
        before = page[-1].id


async def settle_epoch(log: Log, record: StreamRecord, boot: str) -> StreamRecord:
    """After a power loss the log may lack events that viewers saw: their cursors must not match what comes now.

    `durability = "commit"` survives a killed process but not a machine that went down, so another boot than the
    stream's own starts a new epoch.
    """
    if not record.boot or not boot or record.boot == boot or not isinstance(log, SupportsEpoch):
        return record
    await log.advance_epoch(record.id, boot=boot)
    return await log.get(record.id) or record

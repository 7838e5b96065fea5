"""What the API and the library tell about a stream."""

from __future__ import annotations

import msgspec

from ..cursor import Cursor
from ..events import Error, JsonObject, Usage
from ..instants import rfc3339
from .channel import Channel
from .fold import served_by
from .lifecycle import Status
from .log import StreamRecord


class StreamInfo(msgspec.Struct, frozen=True):
    """`created_at`, `finished_at`: RFC 3339 in UTC; `events`: how many are committed; `cursor`: of the last.
    `provider`: who gave the answer's end; before that, and where it failed, who was to be asked first.

    `metadata`: what all metadata events add up to; at the end also `attempts`, and `cost` where a price is known.
    """

    id: str
    status: Status
    model: str
    provider: str
    dialect: str
    created_at: str
    finished_at: str | None
    events: int
    cursor: str | None
    finish_reason: str | None
    error: Error | None
    usage: Usage | None
    viewers: int
    metadata: JsonObject = {}


class RecoveryReport(msgspec.Struct, frozen=True):
    """What was done with the streams found unfinished at start."""

    continued: int = 0
    restarted: int = 0
    interrupted: int = 0


def describe(record: StreamRecord, channel: Channel | None = None) -> StreamInfo:
    """From the record alone, or with what the live channel knows better."""
    ended = record.ended
    next_seq = channel.next_seq if channel is not None else record.next_seq
    if ended is not None:
        status: Status = ended.status
    else:
        status = channel.status if channel is not None else "recovering"
    metadata = _metadata(record, channel)
    return StreamInfo(
        id=record.id,
        status=status,
        model=record.model,
        provider=served_by(metadata) or record.provider,
        dialect=record.dialect,
        created_at=rfc3339(record.created_ms),
        finished_at=rfc3339(ended.finished_ms) if ended is not None else None,
        events=next_seq - record.first_seq,
        cursor=str(Cursor(record.epoch, next_seq - 1)) if next_seq else None,
        finish_reason=ended.finish_reason if ended is not None else None,
        error=ended.error if ended is not None else None,
        usage=ended.usage if ended is not None else (channel.fold.usage if channel is not None else None),
        viewers=len(channel.viewers) + channel.holds if channel is not None else 0,
        metadata=metadata,
    )


def _metadata(record: StreamRecord, channel: Channel | None) -> JsonObject:
    told = record.ended.metadata if record.ended is not None else channel.fold.served if channel is not None else None
    return told or {}

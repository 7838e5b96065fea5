"""What the routes of reference 002 tell, in its names: connections, responses, metrics. No HTTP, no hub.

Every figure is measured; one that is not known (yet) is left out. Times are RFC 3339 in UTC, durations milliseconds.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ..events import Error, Event, JsonObject

ConnectionStatus: TypeAlias = Literal["connecting", "connected", "streaming", "completed", "error", "disconnected"]
ResponseStatus: TypeAlias = Literal["pending", "streaming", "completed", "error"]

_Latency: TypeAlias = Annotated[
    float | UnsetType,
    Meta(
        description="Mean milliseconds a piece: the time since the first piece, up to the end or to now, divided by "
        "the number of pieces. Left out before there is one, and where nobody measured it."
    ),
]


class ConnectionMetadata(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """`bytesReceived`, `chunksReceived`: UTF-8 bytes and pieces of the answer, left out where the log is damaged.

    `lastActivity`: of a running answer to within a second, as this process has seen it.
    """

    user_agent: str
    ip: str
    connected_at: str
    last_activity: str
    bytes_received: int | UnsetType = UNSET
    chunks_received: int | UnsetType = UNSET
    average_latency: _Latency = UNSET


class ConnectionOptions(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Bytes and milliseconds. `bufferSize` and `flushInterval` are upper bounds that are always kept.

    A frame is sent when its commit is done, so nothing is held back to fill a buffer or to wait for an interval;
    a `flushInterval` shorter than the time between two commits under load is answered with that time.
    `compression` and `encryption` are false: they come with a later release.
    """

    buffer_size: int
    flush_interval: float
    heartbeat_interval: float
    compression: bool = False
    encryption: bool = False


class StreamConnection(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One client's request and its answer. `id` is the stream's id, `X-Stream-Id`.

    `status`: `connecting` was created and not started, `connected` waits for the model, `disconnected` was closed
    before its end. `provider`, `model`: as asked for, else what serves it. `userId`: who the key or token belongs to,
    never what the body says.
    """

    id: str
    client_id: str
    user_id: str | UnsetType = UNSET
    session_id: str | UnsetType = UNSET
    request_id: str
    status: ConnectionStatus
    provider: str
    model: str
    metadata: ConnectionMetadata
    options: ConnectionOptions
    created_at: str
    updated_at: str


class StreamEvent(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One event as it is streamed: `type` is its name, `eventId` its cursor."""

    type: str
    data: JsonObject
    timestamp: str
    event_id: str


class ResponseMetadata(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """`latency`: until the first content. `tokens`: of the answer, told at its end; `tokensSource` as of any usage.

    `provider` and `model`: who serves it. `finishReason`: `cancelled` where the answer was closed before its end.
    """

    chunks: int
    tokens: int | UnsetType = UNSET
    tokens_source: Literal["exact", "estimated"] | UnsetType = UNSET
    latency: float | UnsetType = UNSET
    provider: str
    model: str
    finish_reason: str | UnsetType = UNSET


class StreamResponse(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The answer so far. `events`: at most `limit` of them after the cursor `after`; `content` is always whole."""

    id: str
    request_id: str
    status: ResponseStatus
    content: str
    metadata: ResponseMetadata
    events: list[StreamEvent]
    created_at: str
    completed_at: str | UnsetType = UNSET


class Period(msgspec.Struct, frozen=True):
    start: str
    end: str


class Performance(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """`averageChunkSize` in bytes; the rates are over the stream's own time, from its start to its end or to now."""

    total_chunks: int
    total_bytes: int
    average_chunk_size: float | UnsetType = UNSET
    chunks_per_second: float | UnsetType = UNSET
    bytes_per_second: float | UnsetType = UNSET


class Quality(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """0 or 1, as this is one stream: whether it came to its end, whether it failed. Left out while it runs.

    A stream that was closed before its end did neither. `averageStreamDuration` is its duration in milliseconds.
    """

    completion_rate: float | UnsetType = UNSET
    error_rate: float | UnsetType = UNSET
    average_stream_duration: float | UnsetType = UNSET


class StreamMetrics(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """`period`: what the figures are for.

    Pieces carry no time of their own. A period that touches the stream's time is therefore answered with the whole
    of that time; one that does not touch it, as it was asked for, with nothing in it.
    """

    connection_id: str
    period: Period
    performance: Performance
    quality: Quality


class StreamTold(msgspec.Struct, frozen=True):
    """For `stream_event`: a canonical event; adjacent pieces may come as one where the callback is slower."""

    connection_id: str
    event: Event


class StreamCompleted(msgspec.Struct, frozen=True):
    connection: StreamConnection
    finish_reason: str


class StreamFailure(msgspec.Struct, frozen=True):
    connection: StreamConnection
    error: Error


class Figures(msgspec.Struct, frozen=True):
    """What a stream's events add up to. `first_ms`: Unix time of the first content, where this process saw it."""

    chunks: int
    bytes: int
    first_ms: int | None = None


def performance(figures: Figures, duration_ms: float) -> Performance:
    chunks, size, seconds = figures.chunks, figures.bytes, duration_ms / 1000
    return Performance(
        total_chunks=chunks,
        total_bytes=size,
        average_chunk_size=size / chunks if chunks else UNSET,
        chunks_per_second=chunks / seconds if seconds > 0 else UNSET,
        bytes_per_second=size / seconds if seconds > 0 else UNSET,
    )


def response_status(status: ConnectionStatus) -> ResponseStatus:
    """A stream that was closed before its end is over, as its event `complete` says; `finishReason` tells why."""
    match status:
        case "connecting" | "connected":
            return "pending"
        case "disconnected":
            return "completed"
        case _:
            return status

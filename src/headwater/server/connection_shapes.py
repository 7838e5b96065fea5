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
    """`chunksReceived`: pieces of the answer; `bytesReceived`: of the answer in UTF-8, for a viewer of the frames that
    were sent to it. Left out where they are not known, as of a damaged log.

    `lastActivity`: of a running answer to within a second, as this process has seen it; of a viewer: of the last bytes
    sent, heartbeats included.
    """

    user_agent: str
    ip: str
    connected_at: str
    last_activity: str
    bytes_received: int | UnsetType = UNSET
    chunks_received: int | UnsetType = UNSET
    average_latency: _Latency = UNSET


class ConnectionOptions(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Bytes and milliseconds.

    Who asks for neither `bufferSize` nor `flushInterval` gets each frame when its commit is done, which keeps within
    both. Who asks for one gets what came in `flushInterval` as one frame, sooner when `bufferSize` bytes of content
    wait; no frame has more, unless one piece alone does. A `flushInterval` shorter than the time between two commits
    under load is answered with that time. `compression`: whether frames are compressed for who carries it now.
    `encryption` is false: it comes with a later release.
    """

    buffer_size: int
    flush_interval: float
    heartbeat_interval: float
    compression: bool = False
    encryption: bool = False


class ConnectionNetwork(msgspec.Struct, frozen=True, kw_only=True):
    """As the system measures it: `rtt` in milliseconds."""

    rtt: float
    retransmissions: int


class StreamConnection(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One client's connection to a stream. There are two kinds, and each is one row.

    One that was made below `/streaming` is a request and its answer: its id is the stream's (`X-Stream-Id`), from its
    creation to long after its end, through all that comes back to it; `viewers` tells how many carry it now. Any other
    is a viewer: its id begins and ends with it, and `cursor` (of the last event that it got), `lag` (events that are
    committed, and it has not), `resumed` (whether it came with a cursor) and `network` are its own; `network` is left
    out where the system does not tell.

    `status`: `connecting` was created and not started, `connected` waits for the model, `disconnected` was closed
    before its end. `provider`, `model`: as asked for, else what serves it. `userId`: who the key or token belongs to,
    never what the body says.
    """

    id: str
    stream_id: str
    dialect: str
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
    viewers: int | UnsetType = UNSET
    cursor: str | None | UnsetType = UNSET
    lag: int | UnsetType = UNSET
    resumed: bool | UnsetType = UNSET
    network: ConnectionNetwork | UnsetType = UNSET


class ConnectionList(msgspec.Struct, frozen=True, tag_field="object", tag="list"):
    """The newest first. `total`: how many there are, also on other pages; null where the log would have to be read for
    it. `before`: ask again with it for the older ones; null: there are none.
    """

    data: list[StreamConnection]
    total: int | None
    before: str | None


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


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds between two deliveries of the answer's content; what came in one read is one delivery.

    Null where there were no two. `p95` and `p99` are within 1 %, and what is below a tenth of a millisecond counts as
    that; the others are exact, on a clock of a millisecond.
    """

    min: float | None
    max: float | None
    average: float | None
    p95: float | None
    p99: float | None


class Performance(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """`averageChunkSize` in bytes; the rates are over the time of `period`. `latency`: left out where it was not
    recorded.
    """

    total_chunks: int
    total_bytes: int
    average_chunk_size: float | UnsetType = UNSET
    chunks_per_second: float | UnsetType = UNSET
    bytes_per_second: float | UnsetType = UNSET
    latency: Latency | UnsetType = UNSET


class Quality(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """`completionRate`, `errorRate`: 0 or 1, as this is one stream: whether it came to its end, whether it failed. A
    stream that was closed before its end did neither. `averageStreamDuration` is its duration in milliseconds. All
    three are left out where its end is not in the period.

    `reconnectionRate`: clients that came back of all that came, 0 to 1; left out where none came.
    """

    completion_rate: float | UnsetType = UNSET
    error_rate: float | UnsetType = UNSET
    average_stream_duration: float | UnsetType = UNSET
    reconnection_rate: float | UnsetType = UNSET


_NETWORK_NAMES = {"connection_drops": "connectionDrops", "packets_lost": "packetsLost", "average_rtt": "averageRTT"}


class NetworkFigures(msgspec.Struct, frozen=True, rename=_NETWORK_NAMES, kw_only=True):
    """`connectionDrops`: clients that were lost before they had all. `averageRTT`: milliseconds, of the connections as
    they were looked at. `packetsLost`: packets sent again that the peer had not got, as far as it tells.

    A figure that nobody measured is null, and `reason` says why.
    """

    connection_drops: int | None
    packets_lost: int | None
    retransmissions: int | None
    average_rtt: float | None
    reason: str | UnsetType = UNSET


class StreamMetrics(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """`period`: what the figures are for.

    They are recorded in slots of five seconds, of ten and more of long answers. A period is answered with all slots
    that it touches, one that touches none, as it was asked for, with nothing in it. Of a stream that was not recorded
    here (`metrics = false`, or forgotten) only its sums are known, for the whole of its time.
    """

    connection_id: str
    period: Period
    performance: Performance
    quality: Quality
    network: NetworkFigures


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

"""What the routes of the monitor tell beside the figures themselves: alerts, viewers, one stream over time."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from ..cursor import Cursor
from ..events import Error, JsonObject, Usage
from ..instants import rfc3339
from ..streams import StreamInfo, Viewer
from ..telemetry.alerts import Alert
from ..telemetry.figures import Summary
from ..telemetry.timeline import Mark, Timeline
from .connection_facts import facts_of
from .connection_shapes import ConnectionStatus
from .connection_views import STATUSES
from .viewer_facts import ViewerFacts


class AlertList(msgspec.Struct, frozen=True, tag_field="object", tag="list"):
    """`data`: those that last, the oldest first. `past`: those that are over, the newest first, of this process."""

    data: list[Alert]
    past: list[Alert]


class LiveFigures(msgspec.Struct, frozen=True):
    """The data of one `metadata` event of the live stream."""

    summary: Summary
    alerts: list[Alert]


class ViewerMetadata(msgspec.Struct, frozen=True, rename="camel"):
    """`bytesReceived`: of frames for it, before compression; `lastActivity`: of the last one, heartbeats included."""

    user_agent: str
    ip: str
    connected_at: str
    last_activity: str
    bytes_received: int


class ViewerConnection(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One client's connection to a stream, in reference 002's names where it has one.

    `status`, `provider`, `model`: of its stream. `clientId`, `userId`, `sessionId`, `requestId`: as its stream was made
    with them, where it was made as a connection. `cursor`: of the last event that was handed to it; `lag`: events
    that are committed and were not. `resumed`: whether it came back with a cursor.
    """

    id: str
    stream_id: str
    client_id: str | UnsetType = UNSET
    user_id: str | UnsetType = UNSET
    session_id: str | UnsetType = UNSET
    request_id: str | UnsetType = UNSET
    status: ConnectionStatus
    provider: str
    model: str
    dialect: str
    cursor: str | None
    lag: int
    resumed: bool
    metadata: ViewerMetadata


class ViewerList(msgspec.Struct, frozen=True, tag_field="object", tag="list"):
    """The newest first. `total`: how many there are, also beyond `limit`."""

    data: list[ViewerConnection]
    total: int


class AttemptOverTime(msgspec.Struct, frozen=True):
    """A call of a provider, as the stream's own record tells of it. Times since the producer's start."""

    provider: str
    model: str
    outcome: str
    began_ms: float
    duration_ms: float
    reason: str | None = None


class StreamTimeline(msgspec.Struct, frozen=True, kw_only=True, tag_field="object", tag="stream.timeline"):
    """`chunks`: how many pieces of content came in each `bucket_ms` since acceptance, to within a quarter of a second.

    `recorded`: whether this process has seen the stream being made, and still remembers it; else there are no `chunks`
    and no `marks`, for stored events carry no time. `viewers`: those that watch it now.
    """

    id: str
    status: str
    model: str
    provider: str
    dialect: str
    created_at: str
    finished_at: str | None
    events: int
    usage: Usage | None
    error: Error | None
    recorded: bool
    bucket_ms: int | None
    chunks: list[int]
    marks: list[Mark]
    attempts: list[AttemptOverTime]
    viewers: list[ViewerConnection]


class Moment(msgspec.Struct, frozen=True):
    """Both clocks at one instant: Unix milliseconds, and the loop's seconds."""

    unix_ms: int
    loop_s: float

    def at_ms(self, loop_s: float) -> float:
        return self.unix_ms - (self.loop_s - loop_s) * 1000


def connection_of(viewer: Viewer, moment: Moment) -> ViewerConnection:
    channel = viewer.channel
    about = viewer.about if isinstance(viewer.about, ViewerFacts) else ViewerFacts()
    facts = facts_of(channel.record)
    return ViewerConnection(
        id=str(viewer.number),
        stream_id=channel.id,
        client_id=UNSET if facts is None else facts.client_id or UNSET,
        user_id=UNSET if facts is None else facts.user_id or UNSET,
        session_id=UNSET if facts is None else facts.session_id or UNSET,
        request_id=UNSET if facts is None else facts.request_id,
        status=STATUSES[channel.status],
        provider=channel.provider,
        model=channel.model,
        dialect=about.dialect,
        cursor=str(Cursor(channel.epoch, viewer.next_seq - 1)) if viewer.next_seq else None,
        lag=max(0, channel.next_seq - viewer.next_seq),
        resumed=about.resumed,
        metadata=ViewerMetadata(
            user_agent=about.user_agent,
            ip=about.ip,
            connected_at=rfc3339(viewer.attached_ms),
            # Two clocks, read one after the other.
            last_activity=rfc3339(max(moment.at_ms(viewer.last_write), viewer.attached_ms)),
            bytes_received=viewer.bytes,
        ),
    )


def timeline_of(info: StreamInfo, timeline: Timeline | None, viewers: list[ViewerConnection]) -> StreamTimeline:
    return StreamTimeline(
        id=info.id,
        status=info.status,
        model=info.model,
        provider=info.provider,
        dialect=info.dialect,
        created_at=info.created_at,
        finished_at=info.finished_at,
        events=info.events,
        usage=info.usage,
        error=info.error,
        recorded=timeline is not None,
        bucket_ms=None if timeline is None else timeline.width_ms,
        chunks=[] if timeline is None else list(timeline.counts),
        marks=[] if timeline is None else list(timeline.marks),
        attempts=_attempts(info.metadata),
        viewers=viewers,
    )


def _attempts(metadata: JsonObject) -> list[AttemptOverTime]:
    """Any application may write what it likes there: what is no attempt is left out."""
    attempts = metadata.get("attempts")
    found = []
    for one in attempts if isinstance(attempts, list) else ():
        try:
            found.append(msgspec.convert(one, AttemptOverTime))
        except msgspec.ValidationError:
            continue
    return found

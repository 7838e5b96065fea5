"""What the routes of the monitor tell beside the figures themselves: alerts, one stream over time."""

from __future__ import annotations

import msgspec

from ..events import Error, JsonObject, Usage
from ..streams import StreamInfo
from ..telemetry.alerts import Alert
from ..telemetry.figures import Summary
from ..telemetry.timeline import Mark, Timeline
from .connection_shapes import StreamConnection


class AlertList(msgspec.Struct, frozen=True, tag_field="object", tag="list"):
    """`data`: those that last, the oldest first. `past`: those that are over, the newest first, of this process."""

    data: list[Alert]
    past: list[Alert]


class LiveFigures(msgspec.Struct, frozen=True):
    """The data of one `metadata` event of the live stream."""

    summary: Summary
    alerts: list[Alert]


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
    viewers: list[StreamConnection]


def timeline_of(info: StreamInfo, timeline: Timeline | None, viewers: list[StreamConnection]) -> StreamTimeline:
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

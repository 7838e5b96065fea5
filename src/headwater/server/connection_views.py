"""From a stream's state to what reference 002 tells of it. Pure: no hub, no clock."""

from __future__ import annotations

from types import MappingProxyType
from typing import NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from ..dialects.streaming import NAME
from ..instants import rfc3339
from ..streams import Status, StreamInfo, StreamRecord
from .connection_facts import Facts
from .connection_metrics import no_metrics, unrecorded_network
from .connection_shapes import (
    ConnectionMetadata,
    ConnectionOptions,
    ConnectionStatus,
    Figures,
    Period,
    Quality,
    ResponseMetadata,
    StreamConnection,
    StreamEvent,
    StreamMetrics,
    StreamResponse,
    performance,
    response_status,
)

STATUSES: MappingProxyType[Status, ConnectionStatus] = MappingProxyType(
    {
        "queued": "connected",
        "preparing": "connected",
        "connecting": "connected",
        "recovering": "connected",
        "streaming": "streaming",
        "done": "completed",
        "failed": "error",
        "cancelled": "disconnected",
    }
)


class Carried(NamedTuple):
    """How many clients carry a connection now, and whether any of them gets compressed frames."""

    viewers: int
    compressed: bool


NOBODY = Carried(0, False)


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A started connection at `now_ms`. `last_ms`: when it last changed; `figures` None: its log is damaged."""

    facts: Facts
    record: StreamRecord
    info: StreamInfo
    figures: Figures | None
    last_ms: int
    now_ms: int
    carried: Carried = NOBODY

    @property
    def status(self) -> ConnectionStatus:
        return STATUSES[self.info.status]

    @property
    def ended(self) -> bool:
        return self.record.ended is not None

    @property
    def end_ms(self) -> int:
        """Of its end; while there is none, of now."""
        return self.record.ended.finished_ms if self.record.ended is not None else self.now_ms

    @property
    def duration_ms(self) -> int:
        return max(self.end_ms - self.record.created_ms, 0)


def pending(connection_id: str, facts: Facts, heartbeat_ms: float) -> StreamConnection:
    """One that was created and not started."""
    return _connection(
        connection_id,
        facts,
        status="connecting",
        served=(facts.provider, facts.model),
        metadata=_metadata(facts, facts.created_ms, Figures(0, 0), UNSET),
        heartbeat_ms=heartbeat_ms,
        updated_ms=facts.created_ms,
    )


def forgotten(connection: StreamConnection, now_ms: int) -> StreamConnection:
    """One that will not be started any more."""
    return msgspec.structs.replace(connection, status="disconnected", updated_at=rfc3339(now_ms))


def connection(seen: Seen, heartbeat_ms: float) -> StreamConnection:
    facts, record = seen.facts, seen.record
    return _connection(
        record.id,
        facts,
        status=seen.status,
        served=(facts.provider or seen.info.provider, facts.model or record.model),
        metadata=_metadata(facts, seen.last_ms, seen.figures, _average_ms(seen)),
        heartbeat_ms=heartbeat_ms,
        updated_ms=seen.end_ms if record.ended is not None else record.created_ms,
        carried=seen.carried,
    )


def _connection(
    connection_id: str,
    facts: Facts,
    *,
    status: ConnectionStatus,
    served: tuple[str, str],
    metadata: ConnectionMetadata,
    heartbeat_ms: float,
    updated_ms: int,
    carried: Carried = NOBODY,
) -> StreamConnection:
    return StreamConnection(
        id=connection_id,
        stream_id=connection_id,
        dialect=NAME,
        client_id=facts.client_id,
        user_id=facts.user_id or UNSET,
        session_id=facts.session_id or UNSET,
        request_id=facts.request_id,
        status=status,
        provider=served[0],
        model=served[1],
        metadata=metadata,
        options=ConnectionOptions(
            buffer_size=facts.buffer_bytes,
            flush_interval=facts.flush_interval_ms,
            heartbeat_interval=heartbeat_ms,
            compression=carried.compressed,
        ),
        created_at=rfc3339(facts.created_ms),
        updated_at=rfc3339(updated_ms),
        viewers=carried.viewers,
    )


def _metadata(facts: Facts, last_ms: int, figures: Figures | None, average_ms: float | UnsetType) -> ConnectionMetadata:
    return ConnectionMetadata(
        user_agent=facts.user_agent,
        ip=facts.ip,
        connected_at=rfc3339(facts.created_ms),
        last_activity=rfc3339(last_ms),
        bytes_received=UNSET if figures is None else figures.bytes,
        chunks_received=UNSET if figures is None else figures.chunks,
        average_latency=average_ms,
    )


def _average_ms(seen: Seen) -> float | UnsetType:
    """Since the first piece, a piece: by what the answer's own record tells, else by what was seen here."""
    figures = seen.figures
    if figures is None or not figures.chunks:
        return UNSET
    first_ms, whole_ms = _fact(seen, "first_token_ms"), _fact(seen, "duration_ms")
    if first_ms is not None and whole_ms is not None:
        return max(whole_ms - first_ms, 0.0) / figures.chunks
    return UNSET if figures.first_ms is None else max(seen.end_ms - figures.first_ms, 0) / figures.chunks


def _first_ms(seen: Seen) -> float | UnsetType:
    """From the stream's start to its first content."""
    told = _fact(seen, "first_token_ms")
    if told is not None:
        return told
    figures = seen.figures
    if figures is None or figures.first_ms is None:
        return UNSET
    return float(max(figures.first_ms - seen.record.created_ms, 0))


def _fact(seen: Seen, name: str) -> float | None:
    """A number of the stream's metadata, which any application may write."""
    value = seen.info.metadata.get(name)
    return float(value) if isinstance(value, int | float) and value >= 0 else None


def response(seen: Seen, content: str, events: list[StreamEvent]) -> StreamResponse:
    info, figures = seen.info, seen.figures
    usage = info.usage if seen.record.ended is not None else None
    return StreamResponse(
        id=info.id,
        request_id=seen.facts.request_id,
        status=response_status(seen.status),
        content=content,
        metadata=ResponseMetadata(
            chunks=0 if figures is None else figures.chunks,
            tokens=UNSET if usage is None else usage.completion_tokens,
            tokens_source=UNSET if usage is None else usage.source,
            latency=_first_ms(seen),
            provider=info.provider,
            model=info.model,
            finish_reason=info.finish_reason or UNSET,
        ),
        events=events,
        created_at=rfc3339(seen.facts.created_ms),
        completed_at=UNSET if seen.record.ended is None else rfc3339(seen.end_ms),
    )


def pending_response(connection_id: str, facts: Facts) -> StreamResponse:
    return StreamResponse(
        id=connection_id,
        request_id=facts.request_id,
        status="pending",
        content="",
        metadata=ResponseMetadata(chunks=0, provider=facts.provider, model=facts.model),
        events=[],
        created_at=rfc3339(facts.created_ms),
    )


def metrics(seen: Seen, start_ms: float, end_ms: float) -> StreamMetrics:
    """Of a stream that nobody recorded. For a period that touches its time: the whole of that; else nothing."""
    begun_ms, ended_ms = seen.record.created_ms, seen.end_ms
    if end_ms < begun_ms or start_ms > ended_ms:
        return no_metrics(seen.record.id, start_ms, end_ms)
    ended = seen.record.ended
    quality = Quality()
    if ended is not None:
        quality = Quality(
            completion_rate=float(ended.status == "done"),
            error_rate=float(ended.status == "failed"),
            average_stream_duration=float(seen.duration_ms),
        )
    return StreamMetrics(
        connection_id=seen.record.id,
        period=Period(rfc3339(begun_ms), rfc3339(ended_ms)),
        performance=performance(seen.figures or Figures(0, 0), seen.duration_ms),
        quality=quality,
        network=unrecorded_network(),
    )

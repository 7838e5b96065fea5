"""From what was recorded of a stream to the figures of a connection over a period. Pure: no hub, no clock."""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from ..instants import rfc3339
from ..streams import Network
from ..streams.log import Outcome
from ..telemetry.figures import duration_of, why_no_network
from ..telemetry.track import Cut, Recorded, Slot
from .connection_shapes import (
    Figures,
    Latency,
    NetworkFigures,
    Period,
    Quality,
    StreamMetrics,
    performance,
)

NOT_RECORDED = "this server has not seen the stream, keeps no figures of it any more, or counts nothing"


def recorded_metrics(
    connection_id: str, recorded: Recorded, *, start_ms: float, end_ms: float, outcome: Outcome | None = None
) -> StreamMetrics:
    """Of a stream, with all who watched it. `outcome`: where the record knows of the end already."""
    cut = recorded.between(start_ms, end_ms)
    if cut.end_ms <= cut.start_ms and not cut.slot.attached:
        return no_metrics(connection_id, start_ms, end_ms)
    slot = cut.slot
    quality = _quality(recorded, cut, recorded.outcome or outcome)
    if slot.attached:
        quality = msgspec.structs.replace(quality, reconnection_rate=slot.returned / slot.attached)
    return StreamMetrics(
        connection_id=connection_id,
        period=Period(rfc3339(cut.start_ms), rfc3339(cut.end_ms)),
        performance=msgspec.structs.replace(
            performance(Figures(slot.texts, slot.text_bytes), cut.end_ms - cut.start_ms), latency=_latency(slot)
        ),
        quality=quality,
        network=_network(slot),
    )


def viewer_metrics(
    connection_id: str, recorded: Recorded, *, start_ms: float, end_ms: float, network: Network | None, resumed: bool
) -> StreamMetrics:
    """Of one viewer, which is still there: its stream's figures since it came, and its own connection's."""
    told = recorded_metrics(connection_id, recorded, start_ms=start_ms, end_ms=end_ms)
    own = NetworkFigures(
        connection_drops=0,
        packets_lost=None if network is None else network.packets_lost,
        retransmissions=None if network is None else network.retransmissions,
        average_rtt=None if network is None else round(network.rtt_s * 1000, 3),
        reason=UNSET if network is not None else why_no_network(Slot().rtt) or UNSET,
    )
    quality = msgspec.structs.replace(told.quality, reconnection_rate=float(resumed))
    return msgspec.structs.replace(told, quality=quality, network=own)


def no_metrics(connection_id: str, start_ms: float, end_ms: float) -> StreamMetrics:
    """Nothing was streamed in this period."""
    return StreamMetrics(
        connection_id=connection_id,
        period=Period(rfc3339(start_ms), rfc3339(end_ms)),
        performance=performance(Figures(0, 0), 0),
        quality=Quality(),
        network=_network(Slot()),
    )


def unrecorded_network() -> NetworkFigures:
    return NetworkFigures(
        connection_drops=None, packets_lost=None, retransmissions=None, average_rtt=None, reason=NOT_RECORDED
    )


def _quality(recorded: Recorded, cut: Cut, outcome: Outcome | None) -> Quality:
    if outcome is None or cut.end_ms < recorded.end_ms:
        return Quality()
    return Quality(
        completion_rate=float(outcome == "done"),
        error_rate=float(outcome == "failed"),
        # One that was taken up from an earlier process began before.
        average_stream_duration=recorded.end_ms - recorded.began_ms if recorded.whole else UNSET,
    )


def _latency(slot: Slot) -> Latency:
    told = duration_of(slot.gaps)
    return Latency(min=told.min, max=told.max, average=told.mean, p95=told.p95, p99=told.p99)


def _network(slot: Slot) -> NetworkFigures:
    reason = why_no_network(slot.rtt)
    rtt_s = slot.rtt.mean
    return NetworkFigures(
        connection_drops=slot.drops,
        packets_lost=None if reason else slot.packets_lost,
        retransmissions=None if reason else slot.retransmissions,
        average_rtt=None if rtt_s is None else round(rtt_s * 1000, 3),
        reason=reason or UNSET,
    )

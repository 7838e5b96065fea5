"""A viewer as a connection of reference 002. Pure but for a look at its socket."""

from __future__ import annotations

import asyncio
import re
import time

import msgspec
from msgspec import UNSET, UnsetType

from ..cursor import Cursor
from ..instants import rfc3339
from ..streams import Channel, Hub, StreamSettings, Viewer
from ..streams.viewer import WRITE_BYTES
from ..telemetry.recorder import network_of
from .connection_facts import facts_of
from .connection_shapes import ConnectionMetadata, ConnectionNetwork, ConnectionOptions, StreamConnection
from .connection_views import STATUSES
from .viewer_facts import ViewerFacts

# When it came, as a UUIDv7 begins, so that both kinds of ids stand in the order of time; then its number in its hub.
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-v([0-9a-f]{1,16})")


class Moment(msgspec.Struct, frozen=True):
    """Both clocks at one instant: Unix milliseconds, and the loop's seconds."""

    unix_ms: int
    loop_s: float

    def at_ms(self, loop_s: float) -> float:
        return self.unix_ms - (self.loop_s - loop_s) * 1000


def this_moment() -> Moment:
    return Moment(time.time_ns() // 1_000_000, asyncio.get_running_loop().time())


def viewer_id(viewer: Viewer) -> str:
    """As long as it is attached, and no other's ever: a number alone would begin anew with each start."""
    came = f"{viewer.attached_ms:012x}"
    return f"{came[:8]}-{came[8:]}-v{viewer.number:x}"


def is_viewer_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def facts_of_attached(viewer: Viewer) -> ViewerFacts:
    """None are known of what was attached without a request."""
    return viewer.about if isinstance(viewer.about, ViewerFacts) else ViewerFacts()


def connection_of(viewer: Viewer, moment: Moment, settings: StreamSettings) -> StreamConnection:
    channel = viewer.channel
    about = facts_of_attached(viewer)
    made = facts_of(channel.record)
    network = network_of(viewer)
    return StreamConnection(
        id=viewer_id(viewer),
        stream_id=channel.id,
        dialect=about.dialect,
        client_id=about.client_id or ("" if made is None else made.client_id),
        user_id=about.user or ("" if made is None else made.user_id) or UNSET,
        session_id=UNSET if made is None else made.session_id or UNSET,
        request_id=about.request_id if made is None else made.request_id,
        status=STATUSES[channel.status],
        provider=channel.provider,
        model=channel.model,
        metadata=_metadata(viewer, about, moment),
        options=_options(viewer, settings, compression=about.compressed),
        created_at=rfc3339(viewer.attached_ms),
        updated_at=rfc3339(viewer.attached_ms),
        cursor=str(Cursor(channel.epoch, viewer.next_seq - 1)) if viewer.next_seq else None,
        lag=max(0, channel.next_seq - viewer.next_seq),
        resumed=about.resumed,
        network=UNSET
        if network is None
        else ConnectionNetwork(rtt=round(network.rtt_s * 1000, 3), retransmissions=network.retransmissions),
    )


def viewers_of(hub: Hub, stream: str) -> list[StreamConnection]:
    """All viewers of a stream, each for itself, also those that carry a connection. The newest first."""
    moment = this_moment()
    found = [viewer for viewer in hub.audience() if viewer.channel.id == stream]
    found.sort(key=lambda viewer: viewer.number, reverse=True)
    return [connection_of(viewer, moment, hub.settings) for viewer in found]


def _metadata(viewer: Viewer, about: ViewerFacts, moment: Moment) -> ConnectionMetadata:
    channel = viewer.channel
    # Of an ended stream that was opened by its record alone nothing is counted before its events are read.
    fold = channel.fold if channel.has_whole_fold else None
    return ConnectionMetadata(
        user_agent=about.user_agent,
        ip=about.ip,
        connected_at=rfc3339(viewer.attached_ms),
        # Two clocks, read one after the other.
        last_activity=rfc3339(max(moment.at_ms(viewer.last_write), viewer.attached_ms)),
        bytes_received=viewer.bytes,
        chunks_received=UNSET
        if fold is None
        else fold.texts_before(viewer.next_seq) - fold.texts_before(viewer.first_seq),
        average_latency=_average_ms(channel, moment),
    )


def _average_ms(channel: Channel, moment: Moment) -> float | UnsetType:
    first_s, chunks = channel.first_content_s, channel.fold.texts
    if first_s is None or not chunks or channel.ended:
        return UNSET
    return (moment.loop_s - first_s) * 1000 / chunks


def _options(viewer: Viewer, settings: StreamSettings, *, compression: bool) -> ConnectionOptions:
    """What is in force for it."""
    pace = None if viewer.paced is None else viewer.paced.pace
    return ConnectionOptions(
        buffer_size=WRITE_BYTES if pace is None else pace.buffer_bytes,
        flush_interval=settings.flush_ms if pace is None else pace.interval_s * 1000,
        heartbeat_interval=settings.heartbeat_s * 1000,
        compression=compression,
    )

"""All connections of this process as one list: those that were made below `/streaming`, and all other viewers.

The one place that `/v1/connections` and `/streaming/connections` have their rows from. Another owner's connection
looks like none; `owner` None is who administers the server, and sees all.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ..errors import UnknownItem
from ..streams import Hub, Viewer
from ..telemetry.recorder import network_of
from .connection_metrics import no_metrics, viewer_metrics
from .connection_shapes import ConnectionList, ConnectionStatus, StreamConnection, StreamMetrics
from .connections import Connections
from .viewer_rows import connection_of, facts_of_attached, is_viewer_id, this_moment, viewer_id

OPEN: frozenset[ConnectionStatus] = frozenset({"connecting", "connected", "streaming"})

Wanted = Callable[[StreamConnection], bool]


class AllConnections:
    def __init__(self, hub: Hub, connections: Connections) -> None:
        self._hub = hub
        self._connections = connections

    async def listed(
        self,
        owner: str | None,
        *,
        status: ConnectionStatus | None = None,
        wanted: Wanted = lambda _: True,
        limit: int = 100,
        before: str | None = None,
    ) -> ConnectionList:
        """Those with this status that are `wanted`; None: those that are open. Raises `LogError`."""
        if status is not None and status not in OPEN:
            found = await self._connections.listed(owner, status=status, limit=limit, before=before)
            return ConnectionList([row for row in found.connections if wanted(row)], None, found.before)
        rows = [row for row in self.here(owner) if (status is None or row.status == status) and wanted(row)]
        rows.sort(key=lambda row: row.id, reverse=True)
        page = [row for row in rows if before is None or row.id < before]
        more = page[limit - 1].id if len(page) > limit else None
        return ConnectionList(page[:limit], len(rows), more)

    def here(self, owner: str | None) -> list[StreamConnection]:
        """All that are open in this process, in no order."""
        rows = [row for whose, row in self._connections.here() if owner in (None, whose)]
        moment = this_moment()
        rows += [connection_of(viewer, moment, self._hub.settings) for viewer in self.viewers(owner)]
        return rows

    def viewers(self, owner: str | None) -> list[Viewer]:
        """Those that are no part of another row."""
        return [
            viewer
            for viewer in self._hub.audience()
            if owner in (None, viewer.channel.record.owner) and not facts_of_attached(viewer).carries
        ]

    async def get(self, connection_id: str, owner: str | None) -> StreamConnection:
        """Raises `UnknownItem`, `LogError`."""
        if is_viewer_id(connection_id):
            return connection_of(self._viewer(connection_id, owner), this_moment(), self._hub.settings)
        return await self._connections.connection(connection_id, await self._owner(connection_id, owner))

    async def metrics(self, connection_id: str, owner: str | None, *, start_ms: float, end_ms: float) -> StreamMetrics:
        """Also of a stream's id, where it was recorded. Raises `UnknownItem`, `LogError`."""
        if not is_viewer_id(connection_id):
            whose = await self._owner(connection_id, owner)
            return await self._connections.metrics(connection_id, whose, start_ms=start_ms, end_ms=end_ms)
        viewer = self._viewer(connection_id, owner)
        network, channel = network_of(viewer), viewer.channel
        recorded = await self._connections.recorded(channel.id)
        since_ms = max(start_ms, viewer.attached_ms)
        if recorded is None or end_ms < since_ms:
            return no_metrics(connection_id, start_ms, end_ms)
        return viewer_metrics(
            connection_id,
            recorded,
            start_ms=since_ms,
            end_ms=end_ms,
            network=network,
            resumed=facts_of_attached(viewer).resumed,
        )

    async def close(self, connection_id: str, owner: str | None) -> StreamConnection:
        """Send a viewer away; of a connection made below `/streaming`, end the answer. Raises as `get`."""
        if is_viewer_id(connection_id):
            viewer = self._viewer(connection_id, owner)
            viewer.dismiss(self._hub.settings.retry_ms)
            row = connection_of(viewer, this_moment(), self._hub.settings)
            return msgspec.structs.replace(row, status="disconnected")
        return await self._connections.disconnect(connection_id, await self._owner(connection_id, owner))

    def _viewer(self, connection_id: str, owner: str | None) -> Viewer:
        for viewer in self._hub.audience():
            if viewer_id(viewer) == connection_id and owner in (None, viewer.channel.record.owner):
                return viewer
        raise UnknownItem("connection")

    async def _owner(self, connection_id: str, owner: str | None) -> str:
        return await self._connections.owner_of(connection_id) if owner is None else owner

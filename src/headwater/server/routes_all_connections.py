"""`/v1/connections`: who is connected, what it got, and how to end it.

A caller sees its own; who administers the whole server, or is alone on it, sees all.
"""

from __future__ import annotations

import time
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

from ..errors import InputError
from ..instants import unix_ms
from ..streams import Hub
from . import openapi_monitor
from .accept import owner_of
from .all_connections import AllConnections
from .connection_shapes import ConnectionStatus, StreamConnection
from .connections import Connections
from .routes_openai import json_response
from .scopes import check_scope

ConnectionId = Annotated[str, Path(description="Id of the connection.", max_length=64)]


class Filter(NamedTuple):
    """Texts that must be equal; None: any."""

    stream: str | None = None
    model: str | None = None
    provider: str | None = None
    dialect: str | None = None
    client: str | None = None
    user: str | None = None
    session: str | None = None
    ip: str | None = None

    def wants(self, row: StreamConnection) -> bool:
        has = (
            row.stream_id, row.model, row.provider, row.dialect, row.client_id, row.user_id, row.session_id,
            row.metadata.ip,
        )  # fmt: skip
        return all(one is None or one == other for one, other in zip(self, has, strict=True))


_MAX_CHARACTERS = 256
_SAYS = "Only those with exactly this."
_Text = Annotated[str | None, Query(max_length=_MAX_CHARACTERS, description=_SAYS)]


def _filter(
    stream: _Text = None,
    model: _Text = None,
    provider: _Text = None,
    dialect: _Text = None,
    client: Annotated[str | None, Query(alias="clientId", max_length=_MAX_CHARACTERS, description=_SAYS)] = None,
    user: Annotated[str | None, Query(alias="userId", max_length=_MAX_CHARACTERS, description=_SAYS)] = None,
    session: Annotated[str | None, Query(alias="sessionId", max_length=_MAX_CHARACTERS, description=_SAYS)] = None,
    ip: _Text = None,
) -> Filter:
    return Filter(stream, model, provider, dialect, client, user, session, ip)


def all_connections(hub: Hub, connections: Connections) -> APIRouter:
    """`/v1/connections` and below."""
    everything = AllConnections(hub, connections)
    router = APIRouter(tags=["monitor"])

    @router.get("/v1/connections", **openapi_monitor.CONNECTIONS)
    async def list_all_connections(
        request: Request,
        wanted: Annotated[Filter, Depends(_filter)],
        status: Annotated[ConnectionStatus | None, Query(description="Only these; without it, the open ones.")] = None,
        limit: Annotated[int, Query(ge=1, le=1000, description="At most so many.")] = 100,
        before: Annotated[str | None, Query(max_length=64, description="Only those older than this id.")] = None,
    ) -> Response:
        """Who is connected to what, the newest first: yours, or all where you administer the server."""
        check_scope(request, "chat")
        found = await everything.listed(
            _whose(request), status=status, wanted=wanted.wants, limit=limit, before=before or None
        )
        return json_response(found)

    @router.get("/v1/connections/{connection_id}", **openapi_monitor.CONNECTION)
    async def get_any_connection(request: Request, connection_id: ConnectionId) -> Response:
        """One connection."""
        check_scope(request, "chat")
        return json_response(await everything.get(connection_id, _whose(request)))

    @router.get("/v1/connections/{connection_id}/metrics", **openapi_monitor.CONNECTION_METRICS)
    async def get_any_connection_metrics(
        request: Request,
        connection_id: ConnectionId,
        start: Annotated[str | None, Query(description="RFC 3339; without it, from its beginning.")] = None,
        end: Annotated[str | None, Query(description="RFC 3339; without it, to now.")] = None,
    ) -> Response:
        """What was measured of a connection in a period; also by the id of a stream (`X-Stream-Id`)."""
        check_scope(request, "chat")
        start_ms, end_ms = period_of(start, end)
        found = await everything.metrics(connection_id, _whose(request), start_ms=start_ms, end_ms=end_ms)
        return json_response(found)

    @router.delete("/v1/connections/{connection_id}", **openapi_monitor.CLOSE_CONNECTION)
    async def close_any_connection(request: Request, connection_id: ConnectionId) -> Response:
        """Send a viewer away, whose answer goes on; of a connection made below `/streaming`, end the answer."""
        check_scope(request, "chat")
        return json_response(await everything.close(connection_id, _whose(request)))

    return router


def period_of(start: str | None, end: str | None) -> tuple[float, float]:
    """Unix milliseconds. Without a start from 1970, without an end to now. Raises `InputError`."""
    start_ms = 0.0 if not start else _instant(start, "start")
    end_ms = time.time() * 1000 if not end else _instant(end, "end")
    if end_ms < start_ms:
        raise InputError("end is before start", param="end")
    return start_ms, end_ms


def _instant(text: str, name: str) -> float:
    try:
        return unix_ms(text)
    except ValueError:
        raise InputError(f"{name} is not an RFC 3339 time", param=name) from None


def _whose(request: Request) -> str | None:
    """None: everybody's."""
    return None if request.scope.get("headwater.admin", False) else owner_of(request)

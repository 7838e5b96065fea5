"""A stream's response in a dialect, from a cursor on."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from ..dialects import EncodeOptions, dialect_named
from ..streams import Accepted, Channel, Pace
from .accept import cursor_of
from .ports import Services
from .responses import EventStreamResponse


def watch_accepted(
    services: Services,
    request: Request,
    accepted: Accepted,
    dialect: str,
    options: EncodeOptions,
    *,
    carries: bool = False,
    pace: Pace | None = None,
) -> ASGIApp:
    """The answer as it is made, in the dialect that was asked for. `carries`, `pace`: see `EventStreamResponse`."""
    channel, created = accepted
    cursor = cursor_of(request, request.query_params.get("after"))
    if created and cursor is not None:
        cursor = "gone"  # of another stream: no position in the new one
    return watch(services, channel, dialect, options, cursor=cursor, carries=carries, pace=pace)


def watch(
    services: Services,
    channel: Channel,
    dialect: str,
    options: EncodeOptions,
    *,
    cursor: str | None = None,
    carries: bool = False,
    pace: Pace | None = None,
) -> ASGIApp:
    """Everything after `cursor`, then what comes; 204 where nothing more will."""
    if channel.at_end(cursor):
        return Response(status_code=204, headers={"X-Stream-Id": channel.id})
    encoding = dialect_named(dialect)
    return EventStreamResponse(
        services.hub,
        channel,
        encoding.encoder(options),
        cursor=cursor,
        head_wait_s=services.settings.head_wait_s if encoding.holds_head and cursor is None else 0.0,
        dialect=dialect,
        compression=services.compression,
        carries=carries,
        pace=pace,
    )

"""Figures, alerts, one stream over time: for who administers the whole server, or is alone on it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response
from starlette.types import ASGIApp

from ..dialects import EncodeOptions, dialect_named
from ..errors import InputError, UnknownStream
from ..events import JsonObject, StreamId
from ..streams import Hub
from ..telemetry import METRICS, Monitor
from ..telemetry.windows import SECONDS_HELD
from . import openapi_monitor
from .access import check_admin
from .compression import Compression
from .figures_feed import FiguresFeed
from .monitor_shapes import AlertList, LiveFigures, timeline_of
from .responses import EventStreamResponse
from .routes_openai import json_response
from .viewer_rows import viewers_of

LIVE_WINDOW_S = 60
LONGEST_WINDOW_S = 30 * 86_400
MAX_STEPS = 2000
# A series without a step has about so many.
USUAL_STEPS = 60
MINUTE_S = 60

WindowS = Annotated[
    int, Query(ge=1, le=LONGEST_WINDOW_S, description="How far back, in seconds. Above 300 in whole minutes.")
]


def routes(hub: Hub, monitor: Monitor, feed: FiguresFeed, compression: Compression | None = None) -> APIRouter:
    """`/v1/metrics` and below, `/v1/alerts`, and `/v1/streams/{id}/timeline`."""
    router = APIRouter(tags=["monitor"])
    _add_figures(router, monitor, feed)
    _add_live(router, feed, compression)
    _add_alerts(router, monitor)
    _add_timeline(router, hub, monitor)
    return router


def _add_figures(router: APIRouter, monitor: Monitor, feed: FiguresFeed) -> None:

    @router.get("/v1/metrics/summary", **openapi_monitor.SUMMARY)
    async def get_summary(request: Request, window_s: WindowS = 300) -> Response:
        """How the server is, and what happened in the last `window_s` seconds."""
        check_admin(request.scope)
        return json_response(await monitor.summary(window_s))

    @router.get("/v1/metrics/timeseries", **openapi_monitor.SERIES)
    async def get_series(
        request: Request,
        metric: Annotated[list[str], Query(description="Repeatable; one of: " + ", ".join(METRICS))],
        window_s: WindowS = 3600,
        step_s: Annotated[int | None, Query(ge=1, description="Above five minutes a multiple of 60.")] = None,
    ) -> Response:
        """Figures over time, in steps."""
        check_admin(request.scope)
        for name in metric:
            if name not in METRICS:
                raise InputError(f"unknown metric {name[:100]!r}; there are: {', '.join(METRICS)}", param="metric")
        step = _step_s(window_s, step_s)
        return json_response(await monitor.series(list(dict.fromkeys(metric)), window_s=window_s, step_s=step))


def _add_live(router: APIRouter, feed: FiguresFeed, compression: Compression | None) -> None:

    @router.get("/v1/metrics/live", **openapi_monitor.LIVE)
    async def watch_figures(request: Request) -> ASGIApp:
        """The figures of the last minute and the alerts, every two seconds, as a stream."""
        check_admin(request.scope)
        channel = await feed.channel()
        encoder = dialect_named("events").encoder(EncodeOptions())
        return EventStreamResponse(
            feed.hub, channel, encoder, cursor=feed.newest(channel), dialect="events", compression=compression
        )


def _add_alerts(router: APIRouter, monitor: Monitor) -> None:

    @router.get("/v1/alerts", **openapi_monitor.ALERTS)
    async def list_alerts(request: Request) -> Response:
        """What is over its threshold now, and what was."""
        check_admin(request.scope)
        return json_response(AlertList(monitor.alerts.firing, monitor.alerts.past))


def _add_timeline(router: APIRouter, hub: Hub, monitor: Monitor) -> None:

    @router.get("/v1/streams/{stream_id}/timeline", **openapi_monitor.TIMELINE)
    async def get_timeline(
        request: Request, stream_id: Annotated[str, Path(max_length=64, description="Id of anybody's stream.")]
    ) -> Response:
        """One stream over time: its pieces, its attempts, its viewers."""
        check_admin(request.scope)
        record = await hub.log.get(StreamId(stream_id))
        if record is None:
            raise UnknownStream("no such stream")
        told = timeline_of(hub.describe(record), monitor.timeline(stream_id), viewers_of(hub, stream_id))
        return json_response(told)


async def read_figures(monitor: Monitor) -> JsonObject:
    """What one event of the live stream tells."""
    figures = LiveFigures(await monitor.summary(LIVE_WINDOW_S), monitor.alerts.firing)
    told: JsonObject = msgspec.to_builtins(figures)
    return told


def _step_s(window_s: int, asked_s: int | None) -> int:
    """Raises `InputError`."""
    least_s = 1 if window_s <= SECONDS_HELD else MINUTE_S
    if asked_s is None:
        wanted_s = -(-window_s // USUAL_STEPS)
        return -(-wanted_s // least_s) * least_s
    if asked_s % least_s:
        raise InputError("step_s must be a multiple of 60 where window_s is above 300", param="step_s")
    if window_s > asked_s * MAX_STEPS:
        raise InputError(f"more than {MAX_STEPS} steps: choose a longer step_s", param="step_s")
    return asked_s

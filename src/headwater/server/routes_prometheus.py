"""`GET /metrics` for Prometheus: who may scrape is a setting."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from starlette.responses import Response

from ..telemetry import Monitor
from ..telemetry.exposition import render
from . import openapi_monitor
from .access import check_admin
from .scopes import check_scope

PATH = "/metrics"


def routes(monitor: Monitor, access: Literal["admin", "key", "open"]) -> APIRouter:
    """`open`: the layer of access lets everybody through."""
    router = APIRouter(tags=["monitor"])

    @router.get(PATH, **openapi_monitor.PROMETHEUS)
    async def scrape(request: Request) -> Response:
        """Everything that is counted, in Prometheus' text format or as OpenMetrics."""
        if access == "admin":
            check_admin(request.scope)
        elif access == "key":
            check_scope(request, "read")
        text, content_type = await render(monitor.snapshot(), request.headers.get("accept", ""))
        return Response(text, headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    return router

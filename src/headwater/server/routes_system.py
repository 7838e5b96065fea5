"""Probes for orchestrators and people."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from . import openapi
from .ports import Services
from .routes_openai import json_response


def routes(services: Services) -> APIRouter:
    """`/health`: the process serves. `/ready`: it takes new streams."""
    hub = services.hub
    router = APIRouter(tags=["system"])

    @router.get("/health", **openapi.HEALTH)
    async def health() -> Response:
        """Whether the process is alive. Cheap, and asks nobody else."""
        return json_response({"status": "ok", "version": services.settings.version})

    @router.get("/ready", **openapi.READY)
    async def ready() -> Response:
        """Whether new streams are taken: 503 while it starts, drains, or the log fails."""
        reasons = [
            reason
            for reason, holds in (("not_accepting", not hub.accepting), ("log_failing", hub.log_failing))
            if holds
        ]
        body = {"status": "unavailable" if reasons else "ready", "reasons": reasons}
        return json_response(body, status=503 if reasons else 200)

    return router

"""Model routes over HTTP: read by all callers, changed by those that may.

A route names configured providers. Its table has no field for an address or a secret, and an unknown field is refused,
so no caller can point the server at a host of its choice (CWE-918).
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from ..dialects.base import decode_object
from ..errors import UnknownRoute
from ..tables import RouteTable, read_table
from . import openapi
from .access import check_admin
from .ports import RouteCard, RouteDirectory
from .routes_openai import json_response

MAX_NAME_CHARACTERS = 300

RouteName = Annotated[str, Path(description="Public model name; may hold slashes.", max_length=MAX_NAME_CHARACTERS)]


def routes(directory: RouteDirectory) -> APIRouter:
    """`/v1/routes` and below."""
    router = APIRouter(tags=["routes"])

    @router.get("/v1/routes", **openapi.LIST_ROUTES)
    async def list_routes() -> Response:
        """All model routes, with the state of each target."""
        return json_response({"object": "list", "data": await directory.routes()})

    @router.get("/v1/routes/{name:path}", **openapi.GET_ROUTE)
    async def get_route(name: RouteName) -> Response:
        """One model route by its public name."""
        return json_response(await _card(directory, name))

    @router.put("/v1/routes/{name:path}", **openapi.PUT_ROUTE)
    async def put_route(request: Request, name: RouteName) -> Response:
        """Make a model route, or replace it whole. Streams that run on the old one end as they would have."""
        check_admin(request.scope)
        table = read_table(decode_object(await request.body()), RouteTable, where=f"routes.{name}")
        created = await directory.set(name, table)
        place = f"{request.scope.get('root_path', '')}/v1/routes/{quote(name)}"
        card = await _card(directory, name)
        return json_response(card, status=201 if created else 200, headers={"Location": place})

    @router.delete("/v1/routes/{name:path}", **openapi.DELETE_ROUTE)
    async def delete_route(request: Request, name: RouteName) -> Response:
        """Remove a model route. Streams that run on it end as they would have."""
        check_admin(request.scope)
        await directory.remove(name)
        return Response(status_code=204)

    return router


async def _card(directory: RouteDirectory, name: str) -> RouteCard:
    for card in await directory.routes():
        if card.name == name:
            return card
    raise UnknownRoute(f"there is no route {name[:100]!r}", param="name")

from __future__ import annotations

from typing import Annotated

import httpx
from fastapi import APIRouter, FastAPI, Query
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from headwater.errors import LogUnavailable, QueueFull, TooManyConnections, UnknownItem
from headwater.events import JsonObject
from headwater.server.own_errors import route_class
from headwater.server.responses import EventStreamResponse


def form(message: str, code: str, status: int) -> JsonObject:
    return {"said": message, "code": code, "status": status}


class NoRoom(EventStreamResponse):
    """A viewer that finds no room when its response is sent."""

    def __init__(self) -> None:
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise TooManyConnections("too many viewers", retry_after_s=2.4)


def app() -> FastAPI:
    router = APIRouter(route_class=route_class(form))

    @router.get("/unknown")
    async def unknown() -> Response:
        raise UnknownItem("thread", message="Thread x not found.")

    @router.get("/full")
    async def full() -> Response:
        raise QueueFull("no room", retry_after_s=1.2)

    @router.get("/log")
    async def log() -> Response:
        raise LogUnavailable("disk full on /somewhere/private")

    @router.get("/number")
    async def number(n: Annotated[int, Query(ge=1)]) -> dict[str, int]:
        return {"n": n}

    @router.get("/watch", response_model=None)
    async def watch() -> Response:
        return NoRoom()

    application = FastAPI()
    application.include_router(router)
    return application


async def get(path: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app()), base_url="http://test") as client:
        return await client.get(path)


async def test_an_error_of_ours_has_the_routers_form() -> None:
    response = await get("/unknown")
    assert response.status_code == 404
    assert response.json() == {"said": "Thread x not found.", "code": "not_found", "status": 404}


async def test_retry_after_is_told_in_whole_seconds() -> None:
    response = await get("/full")
    assert (response.status_code, response.headers["retry-after"]) == (429, "2")


async def test_a_logs_words_are_not_told() -> None:
    response = await get("/log")
    assert response.status_code == 503
    assert response.json()["said"] == "the stream log cannot do this now"


async def test_a_wrong_parameter_is_400() -> None:
    response = await get("/number?n=0")
    assert response.status_code == 400
    assert response.json()["said"].startswith("n: ")
    assert (await get("/number?n=2")).json() == {"n": 2}


async def test_a_viewer_without_room_is_told_in_the_form() -> None:
    response = await get("/watch")
    assert (response.status_code, response.headers["retry-after"]) == (503, "3")
    assert response.json()["code"] == "too_many_connections"

"""The routes of reference 002 without a server: who may what, whose budget, which form."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from fastapi import FastAPI

from headwater.errors import (
    ScopeMissing,
    UnknownModel,
)
from headwater.identity import IdentitySettings, Meter, Meters, NoStore, Principal
from headwater.request import ChatRequest, decode_request
from headwater.server import ModelCard, Resolved, ServerSettings, errors
from headwater.server.connection_facts import facts_of
from headwater.server.own_forms import OwnForms, Place
from headwater.server.ports import Services
from headwater.server.routes_connections import PREFIX, connection_form, routes
from headwater.streams import Producer
from tests.unit.streams.kit import Script

from .asgi import Exchange, http_scope
from .connection_world import BODY, World, opened


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with opened() as world:
        yield world


# ---------------------------------------------------------------------- the routes without a server


class Models:
    """One model, `m`; `grounded` has nothing but passages to answer from."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer

    async def resolve(self, model: str | None) -> Resolved:
        if model not in ("m", "grounded"):
            raise UnknownModel("there is no such model", param="model")
        return Resolved(model, "p", lambda request: self._producer, grounded=model == "grounded")

    async def list(self) -> list[ModelCard]:
        return []


def principal(*scopes: str, meters: tuple[Meter, ...] = ()) -> Principal:
    return Principal(tenant="t", scopes=frozenset(scopes), user="ann", meters=meters)


def app_of(world: World, **services: Any) -> FastAPI:
    app = FastAPI()
    made = Services(world.hub, Models(Script()), ServerSettings(), **services)
    app.include_router(routes(made, world.connections))
    errors.install(app)
    app.add_middleware(OwnForms, places=[Place(PREFIX, connection_form)])
    return app


async def call(app: FastAPI, who: Principal | None, method: str, path: str, **fields: object) -> tuple[int, Any]:
    scope = http_scope(path, method=method)
    scope["headwater.owner"] = "t"
    if who is not None:
        scope["headwater.principal"] = who
    exchange = Exchange(scope, [json.dumps(fields).encode() if fields else b""])
    await exchange.run(app)
    return exchange.status, json.loads(exchange.body)


async def test_the_user_is_who_the_key_belongs_to(world: World) -> None:
    app = app_of(world)
    asked = {"messages": BODY.messages, "model": "m", "userId": "somebody else"}
    status, told = await call(app, principal("chat"), "POST", "/streaming/connections", **asked)
    assert (status, told["data"]["userId"]) == (201, "ann")
    assert (told["data"]["metadata"]["userAgent"], told["data"]["metadata"]["ip"]) == ("", "")
    path = f"/streaming/connections/{told['data']['id']}"
    await call(app, principal("chat"), "POST", f"{path}/start")
    record = await world.log.get(told["data"]["id"])
    assert record is not None
    assert facts_of(record) is not None
    assert facts_of(record).user_id == "ann"  # type: ignore[union-attr]


async def test_what_each_route_needs(world: World) -> None:
    app = app_of(world)
    asked = {"messages": BODY.messages, "model": "m"}
    _, told = await call(app, principal("chat"), "POST", "/streaming/connections", **asked)
    path = f"/streaming/connections/{told['data']['id']}"
    reader, stranger = principal("read"), principal("documents")
    for method, place in (
        ("POST", "/streaming/connections"),
        ("POST", "/streaming/stream"),
        ("GET", "/streaming/stream"),
        ("POST", f"{path}/start"),
        ("GET", f"{path}/events"),  # it would start
        ("DELETE", path),
    ):
        status, refused = await call(app, reader, method, place)
        assert (status, refused["code"]) == (403, ScopeMissing.code), place
        assert refused["success"] is False
    for place in (path, "/streaming/connections", f"{path}/metrics"):
        assert (await call(app, stranger, "GET", place))[0] == 403
    assert (await call(app, reader, "GET", path))[0] == 200
    assert world.hub.live == 0


async def test_a_refused_start_gives_back_what_was_set_aside(world: World) -> None:
    meters = Meters(NoStore(), IdentitySettings())
    app = app_of(world, meters=meters)
    who = principal("chat", meters=(Meter("key:k", tokens_per_minute=3),))
    messages = [{"role": "user", "content": "Hello"}]  # two tokens
    for model, expected in (("none", 404), ("none", 404), ("m", 200)):
        _, told = await call(app, who, "POST", "/streaming/connections", messages=messages, model=model)
        path = f"/streaming/connections/{told['data']['id']}/start"
        assert (await call(app, who, "POST", path))[0] == expected
    record = await world.log.get(told["data"]["id"])
    assert record is not None
    assert "key:k" in decode_request(record.request).meters
    _, told = await call(app, who, "POST", "/streaming/connections", messages=messages, model="m")
    status, refused = await call(app, who, "POST", f"/streaming/connections/{told['data']['id']}/start")
    assert (status, refused["code"]) == (429, "rate_limit_exceeded")


async def test_a_model_of_passages_gets_them(world: World) -> None:
    script = Script()

    class Backend:
        async def ground(self, request: ChatRequest, tenant: str, *, local: bool) -> tuple[ChatRequest, Producer]:
            return msgspec.structs.replace(request, messages=[{"role": "system", "content": tenant}]), script

    app = app_of(world, backend=Backend())
    asked = {"messages": BODY.messages, "model": "grounded"}
    _, told = await call(app, None, "POST", "/streaming/connections", **asked)
    await call(app, None, "POST", f"/streaming/connections/{told['data']['id']}/start")
    record = await world.log.get(told["data"]["id"])
    assert record is not None
    assert decode_request(record.request).messages == [{"role": "system", "content": "t"}]
    await script.started.wait()


@pytest.mark.parametrize(
    ("path", "root", "kind", "bodies", "expected"),
    [
        ("/streaming/x", "", b"application/json", [b'{"error":{"message":"m",', b'"code":"c"}}'], True),
        ("/api/streaming/x", "/api", b"application/json", [b'{"error":{"message":"m","code":"c"}}'], True),
        ("/v1/streaming/x", "", b"application/json", [b'{"error":{"message":"m","code":"c"}}'], False),
        ("/streaming/x", "", b"text/plain", [b'{"error":{"message":"m","code":"c"}}'], False),
        ("/streaming/x", "", b"application/json", [b'{"error":"another form"}'], False),
    ],
)
async def test_only_errors_of_these_routes_change_their_form(
    path: str, root: str, kind: bytes, bodies: list[bytes], expected: bool
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        size = b"%d" % sum(map(len, bodies))
        headers = [(b"content-type", kind), (b"content-length", size), (b"retry-after", b"3")]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        for number, body in enumerate(bodies, 1):
            await send({"type": "http.response.body", "body": body, "more_body": number < len(bodies)})

    exchange = Exchange({**http_scope(path), "root_path": root})
    await exchange.run(OwnForms(app, places=[Place(PREFIX, connection_form)]))
    assert exchange.status == 503
    assert exchange.headers["retry-after"] == "3"
    assert exchange.headers["content-length"] == str(len(exchange.body))
    own = json.dumps({"success": False, "error": "m", "code": "c"}, separators=(",", ":")).encode()
    assert exchange.body == (own if expected else b"".join(bodies))

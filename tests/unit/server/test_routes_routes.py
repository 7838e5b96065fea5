"""`/v1/routes`: who may change them, what is refused, and with which words."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import quote

import httpx
import msgspec
import pytest

from headwater.logs import MemoryLog
from headwater.request import ChatRequest
from headwater.routing import Registry
from headwater.routing.store import RouteStore
from headwater.runtime import Directory, RouteTables
from headwater.server import ServerSettings, create_app
from headwater.server.ports import RouteCard
from headwater.server.routes_routes import MAX_NAME_CHARACTERS
from headwater.streams import Hub, Producer, StreamSettings
from headwater.tables import Limits, RouteTable, Target

SINGLE_USER = ServerSettings(single_user=True)
KEYS = ServerSettings(api_keys=("user",), admin_keys=("admin",))
TABLE = {"targets": [{"provider": "a", "model": "m", "weight": 2}, {"provider": "b", "max_concurrent": 3}]}


class Provider:
    def __init__(self, name: str) -> None:
        self.name = name

    async def models(self) -> Sequence[str]:
        return []

    def producer(self, request: ChatRequest, model: str) -> Producer:
        raise NotImplementedError

    async def close(self) -> None:
        return


@pytest.fixture
def registry() -> Registry:
    fixed = {"fixed": RouteTable(targets=[Target(provider="a")])}
    return Registry([Provider("a"), Provider("b"), Provider("c")], routes=fixed, limits={"c": Limits(max_concurrent=9)})


@asynccontextmanager
async def api(
    registry: Registry, settings: ServerSettings = SINGLE_USER, *, root_path: str = "", key: str = ""
) -> AsyncIterator[httpx.AsyncClient]:
    hub = Hub(MemoryLog(), StreamSettings())
    app = create_app(hub, Directory(registry, created=1), settings, RouteTables(registry, RouteStore(registry, None)))
    transport = httpx.ASGITransport(app, root_path=root_path)
    headers = {"x-api-key": key} if key else {}
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
        yield client


def error_of(response: httpx.Response) -> tuple[int, str, str | None]:
    error = response.json()["error"]
    assert set(error) == {"message", "type", "code", "param"}
    return response.status_code, error["code"], error["param"]


async def test_a_route_is_made_read_replaced_and_removed(registry: Registry) -> None:
    async with api(registry) as client:
        made = await client.put("/v1/routes/team/best one", json=TABLE)
        assert (made.status_code, made.headers["location"]) == (201, "/v1/routes/team/best%20one")
        card = made.json()
        assert card == {
            "object": "route",
            "name": "team/best one",
            "fixed": False,
            "persistent": False,
            "targets": [{"provider": "a", "model": "m", "weight": 2.0}, {"provider": "b", "max_concurrent": 3}],
            "state": [
                {"provider": "a", "model": "m", "breaker": "closed", "running": 0, "queued": 0},
                {"provider": "b", "model": "team/best one", "breaker": "closed", "running": 0, "queued": 0},
            ],
        }  # fmt: skip
        assert (await client.get(made.headers["location"])).json() == card
        listed = (await client.get("/v1/routes")).json()
        assert listed["object"] == "list"
        assert [(route["name"], route["fixed"]) for route in listed["data"]] == [
            ("fixed", True),
            ("team/best one", False),
        ]
        replaced = await client.put(made.headers["location"], json={"targets": [{"provider": "b"}], "fallback": False})
        assert replaced.status_code == 200
        assert replaced.json()["fallback"] is False
        assert "team/best one" in [model["id"] for model in (await client.get("/v1/models")).json()["data"]]
        gone = await client.delete(made.headers["location"])
        assert (gone.status_code, gone.content) == (204, b"")
        assert error_of(await client.get(made.headers["location"])) == (404, "route_not_found", "name")
        assert error_of(await client.delete(made.headers["location"])) == (404, "route_not_found", "name")


async def test_the_state_counts_the_target_s_own_limits_first(registry: Registry) -> None:
    async with api(registry) as client:
        table = {
            "targets": [{"provider": "c", "model": "own", "max_concurrent": 1}, {"provider": "c", "model": "shared"}]
        }
        await client.put("/v1/routes/r", json=table)
        own, shared = (await registry.resolve("r")).targets
        waiting = [own.gates[0].enter(), own.gates[0].enter()]
        running = [gate.enter() for gate in shared.gates for _ in range(3)]
        state = (await client.get("/v1/routes/r")).json()["state"]
        assert [(target["running"], target["queued"]) for target in state] == [(1, 1), (3, 0)]
        for ticket in waiting + running:
            ticket.release()


async def test_what_was_read_can_be_put_back(registry: Registry) -> None:
    """Without the facts about it, the answer is the table as it was given."""
    async with api(registry) as client:
        card = (await client.put("/v1/routes/r", json=TABLE)).json()
        told = set(RouteCard.__struct_fields__) - set(RouteTable.__struct_fields__) | {"object"}
        table = {name: value for name, value in card.items() if name not in told}
        again = await client.put("/v1/routes/r", json=table)
        assert (again.status_code, again.json()) == (200, card)


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        (b"", None, "JSON object"),
        (b"[]", None, "JSON object"),
        ({}, "routes.r", "targets"),
        ({"targets": []}, "routes.r.targets", "length"),
        ({"targets": [{"provider": "a"}] * 33}, "routes.r.targets", "length"),
        ({"targets": [{"provider": "a", "weight": -1}]}, "routes.r.targets[0].weight", ">= 0"),
        ({"targets": [{"provider": "a", "weight": "heavy"}]}, "routes.r.targets[0].weight", "float"),
        ({"targets": [{"provider": "a", "weight": 0}]}, "routes.r", "at least one target needs a weight"),
        ({"targets": [{"provider": "a"}, {"provider": "x"}]}, "routes.r.targets[1].provider", "no provider 'x'"),
        ({"targets": [{"provider": "a"}], "hedge_after_s": 0}, "routes.r.hedge_after_s", "> 0"),
        ({"targets": [{"provider": "a", "price": {"currency": "euro"}}]}, "routes.r.targets[0].price.currency", "A-Z"),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else None,
)
async def test_what_is_wrong_is_named_by_its_path(
    registry: Registry, body: object, param: str | None, said: str
) -> None:
    async with api(registry) as client:
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        response = await client.put("/v1/routes/r", content=content)
        assert error_of(response) == (400, "invalid_request", param)
        assert said in response.json()["error"]["message"]
        assert error_of(await client.get("/v1/routes/r"))[0] == 404


@pytest.mark.parametrize(
    "target",
    [
        {"provider": "a", "base_url": "http://169.254.169.254/"},
        {"provider": "a", "api_key": "env:OPENAI_API_KEY"},
        {"provider": "a", "headers": {"authorization": "env:SECRET"}},
        {"provider": "http://169.254.169.254/latest"},
        {"provider": {"name": "x", "base_url": "http://evil.example"}},
    ],
    ids=["address", "key", "header", "address as name", "provider as table"],
)
async def test_no_address_and_no_secret_can_be_brought_in(registry: Registry, target: object) -> None:
    """CWE-918: a caller that could name a host would reach what only this server reaches, with its keys."""
    async with api(registry) as client:
        for body in ({"targets": [target]}, {"targets": [{"provider": "a"}], "base_url": "http://evil.example"}):
            response = await client.put("/v1/routes/r", json=body)
            assert response.status_code == 400
            assert response.json()["error"]["param"].startswith("routes.r")
        assert [route.name for route in registry.routes()] == ["fixed"]


@pytest.mark.parametrize("name", ["", "/x", "x//y", "a\tb", "ä" * 101, "a/" * 150 + "a"])
async def test_a_name_that_is_none_is_refused(registry: Registry, name: str) -> None:
    async with api(registry) as client:
        response = await client.put(f"/v1/routes/{quote(name)}", json=TABLE)
        assert error_of(response) == (400, "invalid_request", "name")
    assert len("a/" * 150 + "a") > MAX_NAME_CHARACTERS


async def test_a_route_of_the_settings_file_stays(registry: Registry) -> None:
    async with api(registry) as client:
        assert error_of(await client.put("/v1/routes/fixed", json=TABLE)) == (409, "route_fixed", "name")
        assert error_of(await client.delete("/v1/routes/fixed")) == (409, "route_fixed", "name")
        assert (await client.get("/v1/routes/fixed")).json()["persistent"] is True


@pytest.mark.parametrize(
    ("settings", "key", "read", "change"),
    [
        (KEYS, "admin", 200, 201),
        (KEYS, "user", 200, 403),
        (KEYS, "other", 401, 401),
        (KEYS, "", 401, 401),
        (ServerSettings(api_keys=("user",)), "user", 200, 403),
        (ServerSettings(api_keys=("user",), single_user=True), "user", 200, 403),
        (ServerSettings(admin_keys=("admin",)), "admin", 200, 201),
        (ServerSettings(admin_keys=("admin",)), "", 401, 401),
        (SINGLE_USER, "", 200, 201),
        (ServerSettings(), "", 200, 403),
    ],
    ids=["admin", "user", "unknown", "none", "no admins", "no admins at home", "admins only", "admins only, no key",
         "single user", "anonymous"],
)  # fmt: skip
async def test_who_may_read_and_who_may_change(
    registry: Registry, settings: ServerSettings, key: str, read: int, change: int
) -> None:
    async with api(registry, settings, key=key) as client:
        assert (await client.get("/v1/routes")).status_code == read
        assert (await client.get("/v1/routes/fixed")).status_code == read
        put = await client.put("/v1/routes/r", json=TABLE)
        assert put.status_code == change
        assert (await client.delete("/v1/routes/r")).status_code == (204 if change == 201 else change)
        if change == 403:
            assert error_of(put) == (403, "admin_required", None)
            assert (await client.put("/v1/routes/r", content=b"{")).status_code == 403  # before anything is read


async def test_a_page_of_another_site_changes_nothing(registry: Registry) -> None:
    async with api(registry) as client:
        response = await client.put("/v1/routes/r", json=TABLE, headers={"Origin": "https://evil.example"})
        assert error_of(response) == (403, "origin_refused", None)
        assert len(registry.routes()) == 1


async def test_below_a_mount_the_place_is_told_with_it(registry: Registry) -> None:
    async with api(registry, root_path="/hw") as client:
        made = await client.put("/hw/v1/routes/r", json=TABLE)
        assert made.headers["location"] == "/hw/v1/routes/r"
        assert (await client.get(made.headers["location"])).status_code == 200


async def test_pages_of_allowed_origins_may_put(registry: Registry) -> None:
    settings = ServerSettings(single_user=True, cors_origins=("https://app.example",))
    async with api(registry, settings) as client:
        asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "PUT"}
        assert (await client.options("/v1/routes/r", headers=asked)).status_code == 200


async def test_the_description_says_what_is_sent(registry: Registry) -> None:
    async with api(registry) as client:
        schema = (await client.get("/openapi.json")).json()
        card = (await client.put("/v1/routes/r", json=TABLE)).json()
    assert set(schema["paths"]["/v1/routes/{name}"]) == {"get", "put", "delete"}
    schemas = schema["components"]["schemas"]
    assert set(card) <= set(schemas["RouteCard"]["properties"])
    assert set(schemas["RouteCard"]["required"]) <= set(card)
    assert set(card["state"][0]) == set(schemas["TargetState"]["properties"])
    assert set(schemas["RouteTable"]["properties"]) == set(RouteTable.__struct_fields__)
    body = schema["paths"]["/v1/routes/{name}"]["put"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/RouteTable"}


async def test_a_server_whose_owner_offers_no_routes_has_none() -> None:
    app = create_app(Hub(MemoryLog(), StreamSettings()), Directory(Registry([]), created=1), SINGLE_USER)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        assert (await client.get("/v1/routes")).status_code == 404

"""`/v1/me`, `/v1/tickets` and `/v1/keys` over HTTP: what is told, who may, and what nobody is told twice."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import jwt
import msgspec
import pytest
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from headwater.identity import Identity, IdentitySettings, NoStore, OpenedStore, StoreSource
from headwater.identity.bodies import KeyOrder
from headwater.identity.records import ApiKeys
from headwater.server import errors
from headwater.server.access import Access
from headwater.server.openapi import ErrorBody
from headwater.server.openapi_identity import BODIES
from headwater.server.routes_identity import routes
from headwater.store import Store, open_store
from headwater.store.database import database_url

SECRET = "a secret of at least 32 bytes, really"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(database_url(None, tmp_path))
    yield opened
    await opened.close()


@pytest.fixture
async def identity(store: Store) -> AsyncIterator[Identity]:
    settings = IdentitySettings(
        api_keys=("user",), admin_keys=("admin",), jwt_secret=SECRET, user_requests_per_minute=50
    )
    made = Identity(settings, OpenedStore(store))
    yield made
    await made.close()


def make_app(identity: Identity, *, layer: bool = True) -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.include_router(routes(identity))

    @app.api_route("/v1/anything", methods=["GET", "POST"], include_in_schema=False)
    async def anything() -> dict[str, str]:
        return {}

    errors.install(app)
    if layer:
        app.add_middleware(Access, identity=identity, single_user=True)
    return app


@asynccontextmanager
async def calling(identity: Identity, key: str = "", *, root_path: str = "", **more: Any) -> AsyncIterator[Any]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    transport = httpx.ASGITransport(make_app(identity, **more), root_path=root_path)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
        yield client


def error_of(response: httpx.Response) -> tuple[int, str, str | None]:
    error = response.json()["error"]
    return response.status_code, error["code"], error["param"]


async def test_me(identity: Identity) -> None:
    token = jwt.encode(
        {"sub": "ann", "exp": int(time.time()) + 60, "org": "acme", "orgs": ["b", "a"], "scope": "chat read"}, SECRET
    )
    async with calling(identity, token) as client:
        me = (await client.get("/v1/me")).json()
    assert me == {
        "object": "principal",
        "organization": "acme",
        "project": "",
        "user": "ann",
        "organizations": ["a", "b"],
        "key_id": None,
        "scopes": ["chat", "read"],
        "meters": [
            {
                "kind": "user",
                "requests_per_minute": 50,
                "tokens_per_minute": None,
                "budget_tokens": None,
                "budget_cost": None,
                "budget_period": "month",
                "used_tokens": 0,
                "used_cost": 0.0,
                "resets_at": me["meters"][0]["resets_at"],
            }
        ],
    }
    assert me["meters"][0]["resets_at"].endswith("-01T00:00:00.000Z")


async def test_a_key_s_own_limits_and_usage_are_told_to_it(identity: Identity, store: Store) -> None:
    issued = await ApiKeys(store).create(KeyOrder(budget_tokens=100, budget_period="total"))
    name = issued.key.meter.name
    await identity.meters.settle("s", [name], tokens=30, cost=0.25, at_ms=identity.now_ms())
    async with calling(identity, issued.text) as client:
        me = (await client.get("/v1/me")).json()
    assert me["key_id"] == issued.key.id
    key, user = me["meters"]
    assert (key["kind"], key["budget_tokens"], key["used_tokens"], key["used_cost"]) == ("key", 100, 30, 0.25)
    assert key["resets_at"] is None
    assert user["kind"] == "user"


async def test_a_key_is_made_used_rotated_and_revoked(identity: Identity) -> None:
    async with calling(identity, "admin") as admin:
        order = {"name": "web", "scopes": ["chat"], "user": "ann", "expires_in_s": 3600, "tokens_per_minute": 9}
        made = await admin.post("/v1/keys", json=order)
        assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
        card = made.json()
        text = card.pop("key")
        assert made.headers["location"] == f"/v1/keys/{card['id']}"
        assert (card["object"], card["name"], card["scopes"], card["active"]) == ("api_key", "web", ["chat"], True)
        assert (card["limits"]["tokens_per_minute"], card["revoked_at"], card["rotated_until"]) == (9, None, None)
        assert card["created_at"] < card["expires_at"]
        got = await admin.get(made.headers["location"])
        assert got.json() == card
        assert (await admin.get(f"/v1/keys/{card['prefix']}")).json() == card
        assert text not in got.text
        async with calling(identity, text) as client:
            assert (await client.get("/v1/me")).json()["user"] == "ann"
            rotated = await admin.post(f"{made.headers['location']}/rotate", json={"grace_s": 60})
            assert rotated.headers["cache-control"] == "no-store"
            assert rotated.json()["id"] == card["id"]
            assert rotated.json()["rotated_until"] is not None
            assert (await client.get("/v1/me")).status_code == 200
            again = (await admin.post(f"{made.headers['location']}/rotate")).json()
            assert again["key"] not in (text, rotated.json()["key"])
            assert (await client.get("/v1/me")).status_code == 401
        async with calling(identity, again["key"]) as client:
            assert (await client.get("/v1/me")).status_code == 200
            for _ in range(2):
                gone = await admin.delete(made.headers["location"])
                assert (gone.status_code, gone.content) == (204, b"")
            refused = await client.get("/v1/me")
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        listed = (await admin.get("/v1/keys")).json()
        assert [(key["id"], key["active"]) for key in listed["data"]] == [(card["id"], False)]
        assert "hw_" in str(listed)
        assert again["key"] not in str(listed)
        assert error_of(await admin.post(f"{made.headers['location']}/rotate")) == (400, "invalid_request", "key_id")


async def test_a_short_lived_secret_is_no_longer_told_as_rotating(identity: Identity) -> None:
    async with calling(identity, "admin") as admin:
        made = (await admin.post("/v1/keys", json={})).json()
        rotated = (await admin.post(f"/v1/keys/{made['id']}/rotate", json={"grace_s": 0})).json()
    assert rotated["rotated_until"] is None


async def test_lists_come_in_pages(identity: Identity) -> None:
    async with calling(identity, "admin") as admin:
        made = [(await admin.post("/v1/keys", json={"name": str(n)})).json() for n in range(3)]
        newest = sorted((key["id"] for key in made), reverse=True)
        first = (await admin.get("/v1/keys", params={"limit": 2})).json()
        assert ([key["id"] for key in first["data"]], first["has_more"]) == (newest[:2], True)
        second = (await admin.get("/v1/keys", params={"before": newest[1]})).json()
        assert ([key["id"] for key in second["data"]], second["has_more"]) == (newest[2:], False)
        one = (await admin.get("/v1/keys", params={"prefix": made[1]["prefix"]})).json()
        assert [key["name"] for key in one["data"]] == ["1"]
        for wrong in ({"limit": 0}, {"limit": 1001}, {"before": "x"}, {"prefix": "x" * 33}):
            assert error_of(await admin.get("/v1/keys", params=wrong))[0] == 400


@pytest.mark.parametrize(
    ("key", "status", "code"), [("user", 403, "admin_required"), ("", 401, "invalid_api_key"), ("admin", 200, "")]
)
async def test_who_may_manage_keys(identity: Identity, key: str, status: int, code: str) -> None:
    async with calling(identity, "admin") as admin:
        place = "/v1/keys/" + (await admin.post("/v1/keys", json={})).json()["id"]
    async with calling(identity, key) as client:
        calls: list[Callable[[], Any]] = [
            lambda: client.get("/v1/keys"),
            lambda: client.post("/v1/keys", json={}),
            lambda: client.get(place),
            lambda: client.post(f"{place}/rotate"),
            lambda: client.delete(place),
        ]
        for call in calls:
            response = await call()
            if code:
                assert error_of(response)[:2] == (status, code)
            else:
                assert response.is_success


async def test_an_organisation_s_admin_manages_its_own_keys(identity: Identity, store: Store) -> None:
    keys = ApiKeys(store)
    acme = await keys.create(KeyOrder(organization="acme", scopes=["admin"]))
    web = await keys.create(KeyOrder(organization="acme", project="web", scopes=["admin"]))
    other = await keys.create(KeyOrder(organization="other"))
    lone = await keys.create(KeyOrder(project="web", scopes=["admin"]))

    async def listed(text: str) -> set[str]:
        async with calling(identity, text) as client:
            return {key["id"] for key in (await client.get("/v1/keys")).json()["data"]}

    everything = {acme.key.id, web.key.id, other.key.id, lone.key.id}
    assert await listed("admin") == everything
    assert await listed(acme.text) == {acme.key.id, web.key.id}
    assert await listed(web.text) == {web.key.id}
    assert await listed(lone.text) == {lone.key.id}
    async with calling(identity, acme.text) as client:
        for call in (client.get, client.delete):
            assert error_of(await call(f"/v1/keys/{other.key.id}")) == (404, "not_found", "key_id")
        assert error_of(await client.post(f"/v1/keys/{other.key.id}/rotate"))[0] == 404
        made = (await client.post("/v1/keys", json={"project": "p", "user": "ann"})).json()
        assert (made["organization"], made["project"]) == ("acme", "p")
        assert error_of(await client.post("/v1/keys", json={"organization": "other"}))[:2] == (403, "admin_required")
    async with calling(identity, web.text) as client:
        assert (await client.post("/v1/keys", json={"organization": "acme"})).json()["project"] == "web"
        assert (await client.post("/v1/keys", json={"project": "p"})).status_code == 403
    async with calling(identity, lone.text) as client:
        assert (await client.post("/v1/keys", json={})).json()["project"] == "web"
        assert (await client.post("/v1/keys", json={"organization": "acme"})).status_code == 403


@pytest.mark.parametrize(
    ("content", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b'{"scopes":["root"]}', "scopes"),
        (b'{"scopes":"chat"}', "scopes"),
        (b'{"budget_cost":-1}', "budget_cost"),
        (b'{"tenant":"org:other"}', None),
        (b'{"user":"a\\u0000"}', "user"),
    ],
)
async def test_an_order_that_is_wrong(identity: Identity, content: bytes, param: str | None) -> None:
    async with calling(identity, "admin") as admin:
        assert error_of(await admin.post("/v1/keys", content=content)) == (400, "invalid_request", param)
        assert (await admin.get("/v1/keys")).json()["data"] == []


async def test_a_ticket_opens_a_get_for_a_while(identity: Identity) -> None:
    async with calling(identity, "user") as client:
        made = await client.post("/v1/tickets")
        assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
        card = made.json()
        assert (card["object"], set(card)) == ("ticket", {"object", "ticket", "expires_at", "resume_until"})
        assert card["expires_at"] < card["resume_until"]
        one = (await client.post("/v1/tickets", json={"path": "/v1/anything", "ttl_s": 5})).json()["ticket"]
        assert error_of(await client.post("/v1/tickets", json={"ttl_s": 61})) == (400, "invalid_request", "ttl_s")
        for wrong in ({"path": "x"}, {"path": "/x?y"}, {"ttl_s": 0}, {"more": 1}):
            assert error_of(await client.post("/v1/tickets", json=wrong))[0] == 400
    async with calling(identity) as client:
        for ticket, path, status in (
            (card["ticket"], "/v1/anything", 200),
            (card["ticket"], "/v1/me", 200),
            (one, "/v1/anything", 200),
            (one, "/v1/me", 401),
        ):
            assert (await client.get(path, params={"ticket": ticket})).status_code == status
        assert (await client.post("/v1/anything", params={"ticket": one})).status_code == 401
        # A ticket makes no ticket, and reads no keys.
        assert (await client.post("/v1/tickets", params={"ticket": card["ticket"]})).status_code == 401
        assert (await client.get("/v1/keys", params={"ticket": card["ticket"]})).status_code == 403


async def test_a_ticket_s_path_is_as_it_stands_in_the_address_also_below_a_mount(identity: Identity) -> None:
    async with calling(identity, "user", root_path="/hw") as client:
        for path in ("/hw/v1/any%74hing", "/v1/anything"):
            ticket = (await client.post("/hw/v1/tickets", json={"path": path})).json()["ticket"]
            async with calling(identity, root_path="/hw") as other:
                assert (await other.get("/hw/v1/anything", params={"ticket": ticket})).status_code == 200


async def test_single_user_makes_the_first_key(store: Store) -> None:
    identity = Identity(IdentitySettings(), OpenedStore(store))
    async with calling(identity) as client:
        assert (await client.get("/v1/keys")).json() == {"object": "list", "data": [], "has_more": False}
        made = (await client.post("/v1/keys", json={"scopes": ["admin"]})).json()
        assert (await client.get("/v1/keys")).status_code == 401
    async with calling(identity, made["key"]) as client:
        assert len((await client.get("/v1/keys")).json()["data"]) == 1
    await identity.close()


@pytest.mark.parametrize("source", [NoStore()])
async def test_without_a_database(source: StoreSource) -> None:
    identity = Identity(IdentitySettings(), source)
    async with calling(identity) as client:
        assert (await client.get("/v1/keys")).json()["data"] == []
        assert error_of(await client.get("/v1/keys/x"))[0] == 404
        for response in (
            await client.post("/v1/keys", json={}),
            await client.delete("/v1/keys/x"),
            await client.post("/v1/keys/x/rotate"),
        ):
            assert error_of(response)[:2] == (503, "store_unavailable")
        assert (await client.get("/v1/me")).json()["meters"] == []


async def test_where_no_layer_has_told_nobody_is_anybody(identity: Identity) -> None:
    async with calling(identity, layer=False) as client:
        for response in (await client.get("/v1/me"), await client.post("/v1/tickets"), await client.get("/v1/keys")):
            assert response.status_code == 401


async def test_the_description_says_what_is_sent(identity: Identity) -> None:
    schema = get_openapi(title="t", version="1", routes=make_app(identity).routes)
    _, components = msgspec.json.schema_components(
        (*BODIES, ErrorBody), schema_hook=lambda kind: {}, ref_template="#/components/schemas/{name}"
    )
    operations = {
        (method, path): operation for path, methods in schema["paths"].items() for method, operation in methods.items()
    }
    assert set(operations) == {
        ("get", "/v1/me"),
        ("post", "/v1/tickets"),
        ("get", "/v1/keys"),
        ("post", "/v1/keys"),
        ("get", "/v1/keys/{key_id}"),
        ("delete", "/v1/keys/{key_id}"),
        ("post", "/v1/keys/{key_id}/rotate"),
    }
    for reference in set(_references(json.dumps(operations["post", "/v1/keys"]["requestBody"]))):
        assert reference in components
    for (method, path), operation in operations.items():
        assert {"400", "401", "403", "408", "431", "500", "503"} <= set(operation["responses"]), (method, path)
        named = {name for name in _references(json.dumps(operation)) if "HTTPValidationError" not in name}
        assert named <= set(components), (method, path)
    assert operations["post", "/v1/tickets"]["requestBody"]["required"] is False
    async with calling(identity, "admin") as admin:
        made = (await admin.post("/v1/keys", json={})).json()
        shown = {
            "NewKeyCard": made,
            "KeyCard": (await admin.get(f"/v1/keys/{made['id']}")).json(),
            "KeyList": (await admin.get("/v1/keys")).json(),
            "Me": (await admin.get("/v1/me")).json(),
            "TicketCard": (await admin.post("/v1/tickets")).json(),
            "MeterCard": made["limits"],
        }
    for name, body in shown.items():
        assert set(body) == set(components[name]["properties"]), name
        assert set(components[name]["required"]) <= set(body), name


def _references(text: str) -> list[str]:
    return [part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]]

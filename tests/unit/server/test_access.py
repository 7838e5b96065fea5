"""Keys and origins, decision by decision. The whole table over HTTP is in tests/integration/test_api_refusals."""

from __future__ import annotations

import hashlib

import pytest

from headwater.errors import AdminRequired, ConfigError
from headwater.server.access import KeyCheck, KeyRing, OriginCheck, check_admin

from .asgi import Exchange, http_scope, ok


def test_a_key_has_one_owner_whether_given_raw_or_as_digest() -> None:
    digest = hashlib.sha256(b"secret").hexdigest()
    owner = KeyRing(["secret"]).owner(b"secret")
    assert owner is not None
    assert owner == KeyRing([f"sha256:{digest}"]).owner(b"secret")
    assert "secret" not in owner
    assert KeyRing(["secret"]).owner(b"Secret") is None
    assert KeyRing([f"sha256:{digest}"]).owner(digest.encode()) is None


def test_owners_differ_and_no_key_is_no_ring() -> None:
    ring = KeyRing(["one", "two"])
    assert ring.owner(b"one") != ring.owner(b"two")
    assert not KeyRing([])


@pytest.mark.parametrize("key", ["sha256:", "sha256:zz", "sha256:" + "a" * 63, "sha256:" + "a" * 66])
def test_a_malformed_digest_is_a_configuration_error(key: str) -> None:
    with pytest.raises(ConfigError):
        KeyRing([key])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer k"}, 200),
        ({"Authorization": "bearer  k "}, 200),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": "Token k"}, 401),
        ({"Authorization": "Bearer", "x-api-key": "k"}, 200),
        ({"x-api-key": "k"}, 200),
        ({"x-api-key": "k", "Authorization": "Bearer wrong"}, 401),
    ],
)
async def test_where_a_key_may_be(headers: dict[str, str], status: int) -> None:
    exchange = Exchange(http_scope("/v1/models", headers=headers))
    await exchange.run(KeyCheck(ok, keys=KeyRing(["k"]), admins=KeyRing([])))
    assert exchange.status == status
    assert ("headwater.owner" in exchange.scope) is (status == 200)


async def test_an_owner_that_the_application_told_stays() -> None:
    """Else all its users would be one tenant, that of the key."""
    exchange = Exchange(http_scope("/v1/models", headers={"x-api-key": "k"}) | {"headwater.owner": "alice"})
    await exchange.run(KeyCheck(ok, keys=KeyRing(["k"]), admins=KeyRing([])))
    assert exchange.scope["headwater.owner"] == "alice"


async def test_probes_and_descriptions_are_open_also_below_a_mount() -> None:
    script = "/api-docs/assets/swagger-ui.css"
    for path, root in (("/health", ""), ("/hw/ready", "/hw"), ("/openapi.json", ""), ("/api-docs", ""), (script, "")):
        exchange = Exchange(http_scope(path) | {"root_path": root})
        await exchange.run(KeyCheck(ok, keys=KeyRing(["k"]), admins=KeyRing([])))
        assert exchange.status == 200


async def test_other_protocols_pass() -> None:
    seen = []

    async def app(scope: object, receive: object, send: object) -> None:
        seen.append(scope)

    for layer in (KeyCheck(app, keys=KeyRing(["k"]), admins=KeyRing([])), OriginCheck(app, hosts=(), origins=())):
        await layer({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("host", "here"),
    [("localhost", True), ("LOCALHOST:1", True), ("localhost.", True), ("127.9.9.9", True), ("[::1]:80", True),
     ("", False), ("[::", False), ("10.0.0.1", False), ("localhost@evil.example", False), ("my-box:80", True)],
)  # fmt: skip
def test_hosts_of_this_machine(host: str, here: bool) -> None:
    check = OriginCheck(ok, hosts=("my-box",), origins=())
    refusal = check.refusal(http_scope(headers={"Host": host}))
    assert (refusal is None) is here


def test_an_origin_that_is_the_host_is_ours_and_star_is_everybody() -> None:
    scope = http_scope(headers={"Host": "localhost:8000", "Origin": "https://LOCALHOST:8000"})
    assert OriginCheck(ok, hosts=(), origins=()).refusal(scope) is None
    scope = http_scope(headers={"Host": "localhost", "Origin": "null"})
    assert OriginCheck(ok, hosts=(), origins=()).refusal(scope) is not None
    assert OriginCheck(ok, hosts=(), origins=("*",)).refusal(scope) is None


@pytest.mark.parametrize(("key", "may"), [("user", False), ("admin", True)])
async def test_only_an_admin_key_administers(key: str, may: bool) -> None:
    exchange = Exchange(http_scope("/v1/routes", headers={"x-api-key": key}))
    await exchange.run(KeyCheck(ok, keys=KeyRing(["user", "admin"]), admins=KeyRing(["admin"])))
    assert exchange.status == 200
    assert exchange.scope["headwater.admin"] is may


async def test_a_page_of_this_machine_administers_and_another_one_does_not() -> None:
    """Without keys a page of another site could otherwise change the routes of whoever looks at it (CSRF)."""
    for origin, may in (("http://localhost", True), ("https://evil.example", False)):
        exchange = Exchange(http_scope("/v1/routes", headers={"Host": "localhost", "Origin": origin}))
        await exchange.run(OriginCheck(ok, hosts=(), origins=()))
        assert exchange.scope.get("headwater.admin", False) is may


async def test_what_the_application_told_of_its_user_stays() -> None:
    for layer in (
        KeyCheck(ok, keys=KeyRing(["k"]), admins=KeyRing(["k"])),
        OriginCheck(ok, hosts=(), origins=()),
    ):
        headers = {"Host": "localhost", "x-api-key": "k"}
        exchange = Exchange(http_scope("/v1/routes", headers=headers) | {"headwater.admin": False})
        await exchange.run(layer)
        assert exchange.scope["headwater.admin"] is False


def test_where_no_layer_has_told_nobody_administers() -> None:
    """As behind `allow_anonymous`, or in an application that signs its users in itself."""
    with pytest.raises(AdminRequired) as caught:
        check_admin(http_scope())
    assert (caught.value.http_status, caught.value.code) == (403, "admin_required")
    check_admin(http_scope() | {"headwater.admin": True})


@pytest.mark.parametrize(
    ("method", "mode", "allowed"), [("GET", "navigate", True), ("GET", "cors", False), ("PUT", "navigate", False)]
)
def test_a_link_on_another_page_may_be_followed_and_no_more(method: str, mode: str, allowed: bool) -> None:
    headers = {
        "Host": "localhost", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": "document",
    }  # fmt: skip
    refusal = OriginCheck(ok, hosts=(), origins=()).refusal(http_scope("/v1/routes", method=method, headers=headers))
    assert (refusal is None) is allowed

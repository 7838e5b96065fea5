"""Who gets in, decision by decision. The whole table over HTTP is in tests/integration/test_api_refusals."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from headwater.errors import AdminRequired
from headwater.identity import ANONYMOUS, SINGLE_USER, Identity, IdentitySettings, OpenedStore, Principal
from headwater.identity.bodies import KeyOrder
from headwater.identity.keys import KeyRing
from headwater.identity.records import ApiKeys
from headwater.server.access import Access, OriginRules, check_admin
from headwater.store import Store, open_store
from headwater.store.database import database_url

from .asgi import Exchange, http_scope, ok


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(database_url(None, tmp_path))
    yield opened
    await opened.close()


def keyed(app: Any = ok, *, keys: tuple[str, ...] = ("k",), admins: tuple[str, ...] = ()) -> Access:
    return Access(app, identity=Identity(IdentitySettings(api_keys=keys, admin_keys=admins)))


def at_home(app: Any = ok, *, hosts: tuple[str, ...] = (), origins: tuple[str, ...] = ()) -> Access:
    return Access(app, identity=Identity(IdentitySettings()), single_user=True, hosts=hosts, origins=origins)


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
    await exchange.run(keyed())
    assert exchange.status == status
    assert ("headwater.owner" in exchange.scope) is (status == 200)


async def test_an_owner_that_the_application_told_stays() -> None:
    """Else all its users would be one tenant, that of the key."""
    exchange = Exchange(http_scope("/v1/models", headers={"x-api-key": "k"}) | {"headwater.owner": "alice"})
    await exchange.run(keyed())
    assert exchange.scope["headwater.owner"] == "alice"


async def test_probes_and_descriptions_are_open_also_below_a_mount() -> None:
    script = "/api-docs/assets/swagger-ui.css"
    for path, root in (("/health", ""), ("/hw/ready", "/hw"), ("/openapi.json", ""), ("/api-docs", ""), (script, "")):
        exchange = Exchange(http_scope(path) | {"root_path": root})
        await exchange.run(keyed())
        assert exchange.status == 200


async def test_other_protocols_pass() -> None:
    seen = []

    async def app(scope: object, receive: object, send: object) -> None:
        seen.append(scope)

    for layer in (keyed(app), at_home(app)):
        await layer({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("host", "here"),
    [("localhost", True), ("LOCALHOST:1", True), ("localhost.", True), ("127.9.9.9", True), ("[::1]:80", True),
     ("", False), ("[::", False), ("10.0.0.1", False), ("localhost@evil.example", False), ("my-box:80", True)],
)  # fmt: skip
def test_hosts_of_this_machine(host: str, here: bool) -> None:
    check = OriginRules(hosts=("my-box",), origins=())
    refusal = check.refusal(http_scope(headers={"Host": host}))
    assert (refusal is None) is here


def test_an_origin_that_is_the_host_is_ours_and_star_is_everybody() -> None:
    scope = http_scope(headers={"Host": "localhost:8000", "Origin": "https://LOCALHOST:8000"})
    assert OriginRules(hosts=(), origins=()).refusal(scope) is None
    scope = http_scope(headers={"Host": "localhost", "Origin": "null"})
    assert OriginRules(hosts=(), origins=()).refusal(scope) is not None
    assert OriginRules(hosts=(), origins=("*",)).refusal(scope) is None


@pytest.mark.parametrize(("key", "may"), [("user", False), ("admin", True)])
async def test_only_an_admin_key_administers(key: str, may: bool) -> None:
    exchange = Exchange(http_scope("/v1/routes", headers={"x-api-key": key}))
    await exchange.run(keyed(keys=("user",), admins=("admin",)))
    assert exchange.status == 200
    assert exchange.scope["headwater.admin"] is may


async def test_a_page_of_this_machine_administers_and_another_one_does_not() -> None:
    """Without keys a page of another site could otherwise change the routes of whoever looks at it (CSRF)."""
    for origin, may in (("http://localhost", True), ("https://evil.example", False)):
        exchange = Exchange(http_scope("/v1/routes", headers={"Host": "localhost", "Origin": origin}))
        await exchange.run(at_home())
        assert exchange.scope.get("headwater.admin", False) is may


async def test_what_the_application_told_of_its_user_stays() -> None:
    for layer in (
        keyed(keys=(), admins=("k",)),
        at_home(),
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
    refusal = OriginRules(hosts=(), origins=()).refusal(http_scope("/v1/routes", method=method, headers=headers))
    assert (refusal is None) is allowed


async def status_of(layer: Access, scope: dict[str, Any]) -> tuple[int, Exchange]:
    exchange = Exchange(scope)
    await exchange.run(layer)
    return exchange.status, exchange


async def test_the_layer_says_who_it_is() -> None:
    _, exchange = await status_of(keyed(), http_scope("/v1/models", headers={"x-api-key": "k"}))
    owner = KeyRing(["k"]).owner(b"k")
    principal = exchange.scope["headwater.principal"]
    assert (principal.tenant, exchange.scope["headwater.owner"]) == (owner, owner)
    _, exchange = await status_of(at_home(), http_scope("/v1/models", headers={"Host": "localhost"}))
    assert exchange.scope["headwater.principal"] == SINGLE_USER
    assert exchange.scope["headwater.owner"] == ""
    _, exchange = await status_of(Access(ok, identity=Identity(IdentitySettings())), http_scope("/v1/models"))
    assert exchange.scope["headwater.principal"] == ANONYMOUS
    assert exchange.scope["headwater.admin"] is False


async def test_refusals_say_how_to_come_in() -> None:
    for headers, message in (({}, b"no API key was given"), ({"x-api-key": "wrong"}, b"the API key is not valid")):
        status, exchange = await status_of(keyed(), http_scope("/v1/models", headers=headers))
        assert (status, exchange.headers["www-authenticate"]) == (401, "Bearer")
        assert message in exchange.body
        assert b"wrong" not in exchange.body
    status, exchange = await status_of(at_home(), http_scope("/v1/models", headers={"Host": "evil.example"}))
    assert status == 403
    assert "www-authenticate" not in exchange.headers
    assert "headwater.principal" not in exchange.scope


async def test_an_application_s_user_needs_a_key_where_the_settings_say_so_and_no_other(store: Store) -> None:
    """A key in the database is for callers from outside; the users of the application are signed in already."""
    await ApiKeys(store).create(KeyOrder())
    identity = Identity(IdentitySettings(), OpenedStore(store))
    told = http_scope("/v1/models") | {"headwater.owner": "alice"}
    status, exchange = await status_of(Access(ok, identity=identity), dict(told))
    assert (status, exchange.scope["headwater.principal"].tenant) == (200, "alice")
    assert exchange.scope["headwater.principal"].scopes == {"chat", "documents", "read"}
    assert (await status_of(Access(ok, identity=identity), http_scope("/v1/models")))[0] == 401
    assert (await status_of(keyed(), dict(told)))[0] == 401


@pytest.mark.parametrize(("told", "may"), [(None, False), (True, True), (False, False)])
async def test_an_application_s_user_administers_where_it_says_so(told: bool | None, may: bool) -> None:
    scope = http_scope("/v1/models", headers={"Host": "localhost"}) | {"headwater.owner": "alice"}
    if told is not None:
        scope["headwater.admin"] = told
    for layer in (at_home(), Access(ok, identity=Identity(IdentitySettings()))):
        _, exchange = await status_of(layer, dict(scope))
        assert exchange.scope["headwater.admin"] is may
        assert exchange.scope["headwater.principal"].global_admin is may


async def test_an_admin_key_that_an_application_s_user_shows_still_administers() -> None:
    scope = http_scope("/v1/models", headers={"x-api-key": "k"}) | {"headwater.owner": "alice"}
    _, exchange = await status_of(keyed(keys=(), admins=("k",)), scope)
    assert exchange.scope["headwater.admin"] is True
    assert exchange.scope["headwater.principal"].tenant == "alice"


@pytest.mark.parametrize(("told", "may"), [(True, True), (False, False)])
async def test_what_the_application_told_of_an_admin_holds_for_the_principal_too(told: bool, may: bool) -> None:
    scope = http_scope("/v1/models") | {"headwater.admin": told}
    _, exchange = await status_of(Access(ok, identity=Identity(IdentitySettings())), scope)
    assert exchange.scope["headwater.principal"].global_admin is may


class TestKeysOfTheDatabase:
    @pytest.fixture
    async def identity(self, store: Store) -> AsyncIterator[Identity]:
        made = Identity(IdentitySettings(key_cache_s=0), OpenedStore(store))
        yield made
        await made.close()

    async def test_the_first_key_closes_the_server_to_all_others(self, identity: Identity, store: Store) -> None:
        layer = Access(ok, identity=identity, single_user=True)
        scope = http_scope("/v1/models", headers={"Host": "localhost"})
        assert (await status_of(layer, dict(scope)))[0] == 200
        issued = await ApiKeys(store).create(KeyOrder(organization="acme", scopes=["chat", "admin"]))
        assert (await status_of(layer, dict(scope)))[0] == 401
        for path in ("/health", "/", "/openapi.json", "/api-docs/assets/x.js"):
            assert (await status_of(layer, http_scope(path)))[0] == 200
        headers = {"Authorization": f"Bearer {issued.text}"}
        status, exchange = await status_of(layer, http_scope("/v1/models", headers=headers))
        assert (status, exchange.scope["headwater.owner"]) == (200, "org:acme")
        # It administers its organisation, not what all of them share.
        assert exchange.scope["headwater.admin"] is False

    @pytest.mark.parametrize(
        ("method", "scopes", "status"),
        [("GET", ["read"], 200), ("HEAD", ["read"], 200), ("POST", ["read"], 403), ("DELETE", ["read"], 403),
         ("POST", ["read", "chat"], 200), ("POST", ["admin"], 200)],
    )  # fmt: skip
    async def test_who_may_read_only(
        self, identity: Identity, store: Store, method: str, scopes: list[Any], status: int
    ) -> None:
        issued = await ApiKeys(store).create(KeyOrder(scopes=scopes))
        scope = http_scope("/v1/x", method=method, headers={"x-api-key": issued.text})
        got, exchange = await status_of(Access(ok, identity=identity), scope)
        assert got == status
        if status == 403:
            assert b"insufficient_scope" in exchange.body

    async def test_a_database_that_is_away_lets_nobody_in(self, store: Store) -> None:
        class Away(OpenedStore):
            async def existing(self) -> Store:
                return await _no_store()

        identity = Identity(IdentitySettings(), Away(store))
        layer = Access(ok, identity=identity, single_user=True)
        scope = http_scope("/v1/models", headers={"Host": "localhost"})
        assert (await status_of(layer, scope))[0] == 503
        assert (await status_of(layer, http_scope("/health")))[0] == 200


async def _no_store() -> Store:
    from headwater.identity import NoStore

    return await NoStore().opened()


class TestTickets:
    IDENTITY = Identity(IdentitySettings(api_keys=("k",)))

    def ticket(self, path: str = "") -> str:
        owner = KeyRing(["k"]).owner(b"k")
        assert owner is not None
        principal = Principal(tenant=owner, scopes=frozenset({"chat"}))
        return self.IDENTITY.issue_ticket(principal, path=path).text

    async def run(self, query: str, **more: Any) -> tuple[int, Exchange]:
        scope = http_scope(more.pop("path", "/v1/x"), query=query, **more)
        return await status_of(Access(ok, identity=self.IDENTITY), scope)

    async def test_a_ticket_opens_a_get_and_goes_out_of_the_address(self) -> None:
        """What is behind the layer, logs included, never sees it."""
        for method in ("GET", "HEAD"):
            status, exchange = await self.run(f"after=1.2&ticket={self.ticket()}&x=%20", method=method)
            assert (status, exchange.scope["query_string"]) == (200, b"after=1.2&x=%20")
            assert exchange.scope["headwater.principal"].scopes == {"chat"}

    async def test_a_ticket_opens_nothing_else(self) -> None:
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            status, exchange = await self.run(f"ticket={self.ticket()}", method=method)
            assert status == 401
            assert b"GET and HEAD only" in exchange.body

    @pytest.mark.parametrize("query", ["ticket=", "ticket=x", "xticket={0}", "ticket={0}&ticket={0}", "Ticket={0}"])
    async def test_what_is_no_ticket(self, query: str) -> None:
        status, exchange = await self.run(query.format(self.ticket()))
        assert status == 401
        assert self.ticket().encode() not in exchange.body

    async def test_a_key_is_stronger_than_a_ticket(self) -> None:
        status, _ = await self.run("ticket=x", method="POST", headers={"x-api-key": "k"})
        assert status == 200
        assert (await self.run(f"ticket={self.ticket()}", headers={"x-api-key": "wrong"}))[0] == 401

    async def test_one_path_is_exact_and_below_the_mount(self) -> None:
        query = f"ticket={self.ticket('/v1/x')}"
        assert (await self.run(query))[0] == 200
        assert (await self.run(query, path="/v1/x/y"))[0] == 401
        scope = http_scope("/hw/v1/x", query=query) | {"root_path": "/hw"}
        assert (await status_of(Access(ok, identity=self.IDENTITY), scope))[0] == 200

    @pytest.mark.parametrize(
        ("query", "headers", "status"),
        [("", {}, 401), ("&after=", {}, 401), ("&afterwards=1", {}, 401), ("&after=1.2", {}, 200),
         ("", {"Last-Event-ID": "1.2"}, 200), ("", {"Last-Event-ID": ""}, 401)],
    )  # fmt: skip
    async def test_later_it_only_resumes(self, query: str, headers: dict[str, str], status: int) -> None:
        identity = Identity(IdentitySettings(api_keys=("k",), ticket_ttl_s=0.0))
        owner = KeyRing(["k"]).owner(b"k") or ""
        text = identity.issue_ticket(Principal(tenant=owner, scopes=frozenset({"chat"}))).text
        scope = http_scope("/v1/x", query=f"ticket={text}{query}", headers=headers)
        assert (await status_of(Access(ok, identity=identity), scope))[0] == status

    async def test_without_keys_a_ticket_is_of_no_interest(self) -> None:
        scope = http_scope("/v1/x", query="ticket=x&a=1", headers={"Host": "localhost"})
        status, exchange = await status_of(at_home(), scope)
        assert (status, exchange.scope["query_string"]) == (200, b"a=1")


async def test_a_token_that_may_do_nothing_gets_nothing() -> None:
    import time

    import jwt

    secret = "a secret of at least 32 bytes, really"
    token = jwt.encode({"sub": "ann", "exp": int(time.time()) + 60, "scope": "other:thing"}, secret)
    layer = Access(ok, identity=Identity(IdentitySettings(jwt_secret=secret)))
    status, exchange = await status_of(layer, http_scope("/v1/x", headers={"Authorization": f"Bearer {token}"}))
    assert (status, b"insufficient_scope" in exchange.body) == (403, True)

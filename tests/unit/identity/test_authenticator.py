"""From what a caller shows to who it is, over a real database and real tokens."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from headwater.errors import AccessError, StoreUnavailable, TokenRefused
from headwater.identity import Identity, IdentitySettings, NoStore, Principal
from headwater.identity.api_key import Issued
from headwater.identity.bodies import KeyOrder
from headwater.identity.keys import KeyRing, new_key
from headwater.identity.records import ApiKeys
from headwater.store import Store

from .kit import CountedStore, ManualClock, PresentClock
from .signing import SECRET, signed


@pytest.fixture
def clock() -> ManualClock:
    return PresentClock()


@pytest.fixture
def stores(store: Store) -> CountedStore:
    return CountedStore(store)


@pytest.fixture
def keys(store: Store, clock: ManualClock) -> ApiKeys:
    """As another process has them."""
    return ApiKeys(store, clock)


class Made:
    """Identities that the test's end closes."""

    def __init__(self, stores: CountedStore, clock: ManualClock) -> None:
        self.all: list[Identity] = []
        self._stores, self._clock = stores, clock

    def __call__(self, *, data_dir: Path | None = None, **settings: Any) -> Identity:
        made = Identity(IdentitySettings(**settings), self._stores, data_dir=data_dir, clock=self._clock)
        self.all.append(made)
        return made


@pytest.fixture
async def make(stores: CountedStore, clock: ManualClock) -> AsyncIterator[Made]:
    made = Made(stores, clock)
    yield made
    stores.away = False
    for identity in made.all:
        await identity.close()


async def who(identity: Identity, text: str) -> Principal:
    return await identity.principal(text.encode())


async def refused(identity: Identity, text: str) -> str:
    with pytest.raises(AccessError) as caught:
        await who(identity, text)
    assert caught.value.http_status == 401
    return caught.value.message


async def test_keys_of_the_settings_keep_their_tenants(make: Made) -> None:
    identity = make(api_keys=("one",), admin_keys=("two",))
    one, two = await who(identity, "one"), await who(identity, "two")
    assert one.tenant == KeyRing(["one"]).owner(b"one")
    assert (one.scopes, two.scopes) == ({"chat", "documents", "read"}, {"chat", "documents", "read", "admin"})
    assert not one.global_admin
    assert two.global_admin
    assert identity.configured
    assert await refused(identity, "") == "no API key was given"
    for wrong in ("three", "x" * 9000, "a.b.c", new_key().text):
        assert await refused(identity, wrong) == "the API key is not valid"


async def test_a_key_of_the_database_is_looked_up_once_in_a_while(
    make: Made, keys: ApiKeys, stores: CountedStore, clock: ManualClock
) -> None:
    identity = make()
    text = (await keys.create(KeyOrder(organization="acme", user="ann"))).text
    found = await asyncio.gather(*(who(identity, text) for _ in range(50)))
    assert {one.tenant for one in found} == {"org:acme/user:ann"}
    await identity.close()  # the last use has been written
    assert stores.asked == 2
    clock.advance(4.9)
    await who(identity, text)
    assert stores.asked == 2
    clock.advance(0.1)
    await who(identity, text)
    assert stores.asked == 3


async def test_unknown_keys_are_asked_for_once_too(make: Made, stores: CountedStore) -> None:
    identity, text = make(), new_key().text
    for _ in range(5):
        assert await refused(identity, text) == "the API key is not valid"
    assert stores.asked == 1
    assert await refused(identity, "hw_no-key-of-this-form") == "the API key is not valid"
    assert stores.asked == 1


async def test_a_key_that_another_process_revokes_dies_within_the_cache_s_time(
    make: Made, keys: ApiKeys, clock: ManualClock
) -> None:
    identity = make(key_cache_s=5)
    issued = await keys.create(KeyOrder())
    await who(identity, issued.text)
    await keys.revoke(issued.key.id)
    clock.advance(4.9)
    await who(identity, issued.text)
    clock.advance(0.1)
    assert await refused(identity, issued.text) == "the API key was revoked"


async def test_a_key_that_this_process_changes_is_known_at_once(make: Made) -> None:
    identity = make()
    assert not await identity.needs_key()
    changing = await identity.keys_to_change()
    issued = await changing.create(KeyOrder())
    identity.forget()
    assert await identity.needs_key()
    assert await who(identity, issued.text)
    await changing.revoke(issued.key.id)
    identity.forget()
    assert await refused(identity, issued.text) == "the API key was revoked"


async def test_a_key_ends_on_time_whatever_is_believed(make: Made, keys: ApiKeys, clock: ManualClock) -> None:
    identity = make(key_cache_s=60)
    ending = await keys.create(KeyOrder(expires_in_s=10))
    rotated = await keys.create(KeyOrder())
    await keys.rotate(rotated.key.id, grace_s=10)
    for text in (ending.text, rotated.text):
        await who(identity, text)
    clock.advance(10)
    for text in (ending.text, rotated.text):
        assert await refused(identity, text) == "the API key has expired"


async def test_both_secrets_of_a_rotated_key_are_the_same_caller(make: Made, keys: ApiKeys) -> None:
    identity = make()
    first = await keys.create(KeyOrder())
    second = await keys.rotate(first.key.id, grace_s=10)
    assert await who(identity, first.text) == await who(identity, second.text)


async def test_whether_keys_are_needed_at_all(
    make: Made, keys: ApiKeys, stores: CountedStore, clock: ManualClock
) -> None:
    for settings in ({"api_keys": ("k",)}, {"admin_keys": ("k",)}, {"jwt_secret": SECRET}):
        assert await make(**settings).needs_key()
    assert stores.asked == 0
    identity = make()
    assert not any([await identity.needs_key() for _ in range(5)])
    assert stores.asked == 1
    issued = await keys.create(KeyOrder())
    await keys.revoke(issued.key.id)
    clock.advance(5)
    assert await identity.needs_key()  # a server does not open when its last key is revoked
    await keys.forget(issued.key.id)
    clock.advance(5)
    assert not await identity.needs_key()


async def test_where_it_cannot_be_told_nobody_gets_in(make: Made, stores: CountedStore, keys: ApiKeys) -> None:
    text = (await keys.create(KeyOrder())).text
    identity = make()
    stores.away = True
    with pytest.raises(StoreUnavailable):
        await identity.needs_key()
    with pytest.raises(StoreUnavailable):
        await who(identity, text)
    stores.away = False
    assert await identity.needs_key()
    assert await who(identity, text)


async def test_without_a_database_there_are_the_keys_of_the_settings() -> None:
    identity = Identity(IdentitySettings(api_keys=("k",)))
    assert await who(identity, "k")
    assert await refused(identity, new_key().text) == "the API key is not valid"
    assert not await Identity(IdentitySettings()).needs_key()
    with pytest.raises(StoreUnavailable):
        await identity.keys_to_change()
    assert await NoStore().existing() is None


async def test_tokens_are_checked_once_in_a_while_and_end_on_time(make: Made, clock: ManualClock) -> None:
    identity = make(jwt_secret=SECRET, key_cache_s=60, jwt_leeway_s=0)
    text = signed(exp=clock.ms // 1000 + 30)
    one = await who(identity, text)
    assert one.tenant == "user:ann"
    assert await who(identity, text) is one
    clock.advance(30.5)
    assert await who(identity, text) is not one  # PyJWT's clock is the system's, and has not moved
    with pytest.raises(TokenRefused):
        await who(identity, signed(exp=5))
    assert await refused(identity, "a.b") == "the API key is not valid"


async def test_the_last_use_is_written_once_a_minute_and_not_by_the_request(
    make: Made, keys: ApiKeys, clock: ManualClock
) -> None:
    identity = make()
    issued = await keys.create(KeyOrder())

    async def used() -> int | None:
        if identity._writing is not None:
            await asyncio.wait((identity._writing,))
        return (await keys.get(issued.key.id)).last_used_ms

    began = clock.ms
    await who(identity, issued.text)
    assert await used() == began
    clock.advance(59)
    await who(identity, issued.text)
    assert await used() == began
    clock.advance(1)
    await who(identity, issued.text)
    assert await used() == began + 60_000


async def test_a_use_that_cannot_be_written_harms_nobody(
    make: Made, keys: ApiKeys, stores: CountedStore, caplog: pytest.LogCaptureFixture, clock: ManualClock
) -> None:
    identity = make(key_cache_s=1000)
    text = (await keys.create(KeyOrder())).text
    await who(identity, text)
    await identity.close()
    stores.away = True
    clock.advance(60)
    await who(identity, text)
    await identity.close()
    assert "last uses of keys could not be written" in caplog.text
    stores.away, stores.store = False, object()  # type: ignore[assignment]
    clock.advance(60)
    await who(identity, text)
    await identity.close()
    assert "writing the last uses of keys failed" in caplog.text


async def test_limits_for_every_user_are_each_caller_s(make: Made, keys: ApiKeys) -> None:
    identity = make(user_requests_per_minute=5, user_budget_cost=1.0, user_budget_period="day", api_keys=("k",))
    text = (await keys.create(KeyOrder(user="ann", requests_per_minute=9))).text
    ann = await who(identity, text)
    assert [meter.requests_per_minute for meter in ann.meters] == [9, 5]
    assert ann.meters[1].name == "user:user:ann"
    assert ann.meters[1].budget_period == "day"
    assert [len(one.meters) for one in (await who(identity, "k"), identity.single_user, identity.anonymous)] == [1] * 3
    assert make(api_keys=("k",)).single_user.meters == ()


async def test_whom_an_application_tells(make: Made, keys: ApiKeys) -> None:
    identity = make(user_requests_per_minute=5)
    told = identity.told("alice", admin=False)
    assert (told.tenant, told.scopes) == ("alice", {"chat", "documents", "read"})
    assert [meter.name for meter in told.meters] == ["user:alice"]
    assert identity.told("root", admin=True).global_admin
    keyed = await who(identity, (await keys.create(KeyOrder(scopes=["chat", "admin"], user="app"))).text)
    told = identity.told("alice", admin=False, keyed=keyed)
    assert (told.scopes, told.key_id) == ({"chat"}, keyed.key_id)
    assert [meter.name for meter in told.meters] == [f"key:{keyed.key_id}", "user:alice"]


class TestTickets:
    """A ticket is never more than what stands behind it."""

    async def of(self, identity: Identity, principal: Principal, **more: Any) -> Principal:
        text = identity.issue_ticket(principal, path=more.pop("for_path", "")).text
        return await identity.ticket_principal(text, path="/v1/x", resumes=False, **more)

    async def issued(self, keys: ApiKeys, **order: Any) -> Issued:
        return await keys.create(KeyOrder(**order))

    async def test_of_a_key_in_the_database(self, make: Made, keys: ApiKeys) -> None:
        identity = make(user_requests_per_minute=5)
        issued = await self.issued(keys, scopes=["chat", "admin"], user="ann", budget_tokens=5)
        principal = await who(identity, issued.text)
        found = await self.of(identity, principal)
        assert (found.tenant, found.scopes, found.key_id) == (principal.tenant, {"chat"}, issued.key.id)
        assert found.meters == principal.meters

    async def test_dies_with_its_key(self, make: Made, keys: ApiKeys, clock: ManualClock) -> None:
        identity = make(ticket_ttl_s=1000)
        revoked, ended, gone = [await self.issued(keys, **order) for order in ({}, {"expires_in_s": 100}, {})]
        texts = [identity.issue_ticket(await who(identity, one.text)).text for one in (revoked, ended, gone)]
        for text in texts:
            await identity.ticket_principal(text, path="/", resumes=False)
        await keys.revoke(revoked.key.id)
        await keys.forget(gone.key.id)
        clock.advance(4.9)
        for text in texts:
            await identity.ticket_principal(text, path="/", resumes=False)
        clock.advance(95.1)
        for text in texts:
            with pytest.raises(TokenRefused, match="not valid any more"):
                await identity.ticket_principal(text, path="/", resumes=True)

    async def test_of_a_key_in_the_settings(self, make: Made, tmp_path: Path) -> None:
        identity = make(api_keys=("k",), data_dir=tmp_path)
        text = identity.issue_ticket(await who(identity, "k")).text
        found = await identity.ticket_principal(text, path="/", resumes=False)
        assert (found.tenant, found.scopes) == ((await who(identity, "k")).tenant, {"chat", "documents", "read"})
        without = make(api_keys=("other",), data_dir=tmp_path)
        with pytest.raises(TokenRefused, match="not valid any more"):
            await without.ticket_principal(text, path="/", resumes=False)

    async def test_of_a_token(self, make: Made) -> None:
        identity = make(jwt_secret=SECRET, user_requests_per_minute=5)
        principal = await who(identity, signed(org="acme", orgs=["a"], scope="read"))
        assert await self.of(identity, principal) == principal
        with pytest.raises(TokenRefused, match="another path"):
            await self.of(identity, principal, for_path="/v1/y")

    async def test_is_no_bearer_token(self, make: Made) -> None:
        """Not even where one secret is set for both."""
        identity = make(jwt_secret=SECRET, ticket_secret=SECRET)
        ticket = identity.issue_ticket(await who(identity, signed())).text
        with pytest.raises(TokenRefused):
            await who(identity, ticket)
        with pytest.raises(TokenRefused):
            await identity.ticket_principal(signed(), path="/", resumes=False)


def test_the_package_brings_nothing_heavy() -> None:
    """A server that only streams pays for none of it."""
    code = (
        "import sys, headwater.identity as i; i.Identity(i.IdentitySettings(api_keys=('k',)));"
        "print([m for m in ('sqlalchemy', 'jwt', 'httpx', 'cryptography') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"

"""Keys in the database, over a real one."""

from __future__ import annotations

import hashlib

import pytest

from headwater.errors import InputError, UnknownItem
from headwater.identity.api_key import Reach
from headwater.identity.bodies import KeyOrder, Rotation, TicketOrder, read_body
from headwater.identity.records import ApiKeys
from headwater.store import Store

from .kit import ManualClock


@pytest.fixture
def keys(store: Store, clock: ManualClock) -> ApiKeys:
    return ApiKeys(store, clock)


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


async def test_only_the_digest_of_a_key_is_kept(keys: ApiKeys, store: Store) -> None:
    issued = await keys.create(KeyOrder(name="web", scopes=["chat", "chat"], organization="acme", user="ann"))
    key = issued.key
    assert (key.tenant, key.scopes, key.created_ms) == ("org:acme/user:ann", ["chat"], 1_760_000_000_000)
    assert (key.expires_ms, key.revoked_ms, key.last_used_ms, key.old_digest) == (None,) * 4
    assert key.digest == digest_of(issued.text)
    async with store.read() as connection:
        rows = (await connection.exec_driver_sql("SELECT * FROM api_keys")).all()
    assert issued.text not in str(rows)
    assert await keys.find(digest_of(issued.text)) == key == await keys.get(key.id) == await keys.get(key.prefix)
    assert await keys.find(digest_of("other")) is None


async def test_a_key_without_names_works_on_its_own_data(keys: ApiKeys) -> None:
    one, other = [(await keys.create(KeyOrder())).key for _ in range(2)]
    assert one.tenant == f"key:{one.id}" != other.tenant
    assert (await keys.create(KeyOrder(), tenant="")).key.tenant == ""


async def test_a_key_says_who_its_caller_is(keys: ApiKeys) -> None:
    order = KeyOrder(organization="acme", project="web", requests_per_minute=5, budget_cost=1.5, budget_period="day")
    key = (await keys.create(order)).key
    who = key.principal
    assert (who.organization, who.project, who.user, who.key_id) == ("acme", "web", "", key.id)
    assert who.scopes == {"chat", "documents"}
    [meter] = who.meters
    assert (meter.name, meter.requests_per_minute, meter.tokens_per_minute) == (f"key:{key.id}", 5, 0)
    assert (meter.budget_tokens, meter.budget_cost, meter.budget_period) == (0, 1.5, "day")


async def test_how_long_a_key_holds(keys: ApiKeys, clock: ManualClock) -> None:
    issued = await keys.create(KeyOrder(expires_in_s=10))
    assert issued.key.life_ms(clock.wall_ms()) == 10_000
    assert issued.key.life_ms(clock.wall_ms() + 10_000) == 0
    clock.advance(10)
    with pytest.raises(InputError, match="cannot be rotated"):
        await keys.rotate(issued.key.id, grace_s=1)


async def test_a_rotated_key_s_old_secret_holds_for_a_while_and_an_older_one_no_longer(
    keys: ApiKeys, clock: ManualClock
) -> None:
    first = await keys.create(KeyOrder())
    second = await keys.rotate(first.key.id, grace_s=60)
    assert (second.key.id, second.key.tenant) == (first.key.id, first.key.tenant)
    found = await keys.find(digest_of(first.text))
    assert found == second.key
    now = clock.wall_ms()
    assert found.life_ms(now, digest_of(first.text)) == 60_000
    assert found.life_ms(now + 60_000, digest_of(first.text)) == 0
    assert found.life_ms(now, digest_of(second.text)) is None
    await keys.rotate(first.key.id, grace_s=60)
    assert await keys.find(digest_of(first.text)) is None


async def test_a_revoked_key_stays_listed_and_counts_as_a_key(keys: ApiKeys, clock: ManualClock) -> None:
    assert not await keys.any()
    key = (await keys.create(KeyOrder())).key
    clock.advance(1)
    revoked = await keys.revoke(key.id)
    clock.advance(1)
    assert await keys.revoke(key.id) == revoked
    assert revoked.revoked_ms == key.created_ms + 1000
    assert revoked.life_ms(clock.wall_ms()) == 0
    assert await keys.any()
    with pytest.raises(InputError, match="cannot be rotated"):
        await keys.rotate(key.id, grace_s=0)
    await keys.forget(key.id)
    assert not await keys.any()
    for gone in (keys.forget(key.id), keys.get(key.id), keys.revoke(key.id), keys.rotate(key.id, grace_s=0)):
        with pytest.raises(UnknownItem):
            await gone


async def test_lists_are_newest_first_in_pages_and_by_prefix(keys: ApiKeys, clock: ManualClock) -> None:
    made = []
    for _ in range(3):
        made.insert(0, (await keys.create(KeyOrder())).key)
        clock.advance(1)
    assert await keys.list() == made
    assert await keys.list(limit=2) == made[:2]
    assert await keys.list(before=made[1].id) == made[2:]
    assert await keys.list(prefix=made[1].prefix) == [made[1]]
    assert await keys.list(prefix="hw%") == []


async def test_whose_keys_somebody_reaches(keys: ApiKeys) -> None:
    names = [("acme", ""), ("acme", "web"), ("other", "web"), ("", "web"), ("", "")]
    made = {name: (await keys.create(KeyOrder(organization=name[0], project=name[1]))).key for name in names}

    async def reached(reach: Reach) -> set[tuple[str, str]]:
        return {(key.organization, key.project) for key in await keys.list(reach)}

    assert await reached(Reach()) == set(names)
    assert await reached(Reach("acme")) == {("acme", ""), ("acme", "web")}
    assert await reached(Reach("acme", "web")) == {("acme", "web")}
    # A project without an organisation is not the project of that name of all organisations.
    assert await reached(Reach("", "web")) == {("", "web")}
    other = made["other", "web"].id
    reach = Reach("acme")
    for refused in (keys.get(other, reach), keys.revoke(other, reach), keys.rotate(other, grace_s=0, within=reach)):
        with pytest.raises(UnknownItem):
            await refused
    assert (await keys.get(other)).revoked_ms is None


async def test_a_use_is_never_earlier_than_the_last(keys: ApiKeys) -> None:
    key = (await keys.create(KeyOrder())).key
    await keys.note_uses({key.id: 500, "unknown": 1})
    await keys.note_uses({key.id: 400})
    assert (await keys.get(key.id)).last_used_ms == 500


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"scopes": []}, "scopes"),
        ({"scopes": ["root"]}, "scopes"),
        ({"budget_tokens": 0}, "budget_tokens"),
        ({"expires_in_s": -1}, "expires_in_s"),
        ({"budget_period": "year"}, "budget_period"),
        ({"name": "x" * 201}, "name"),
        ({"tenant": "org:other"}, None),
        ({"user": "a\n"}, None),
        ({"user": "a\ud800"}, None),
    ],
)
def test_an_order_that_is_wrong_names_its_field(body: dict[str, object], param: str | None) -> None:
    with pytest.raises(InputError) as caught:
        read_body(body, KeyOrder)
    assert caught.value.param == param


def test_other_bodies() -> None:
    assert read_body({}, Rotation).grace_s == 3600
    assert "admin, chat, documents, read" in _message({"scopes": ["x"]})
    for path in ("v1/x", "/v1/x?a=1", "/v1#x", ""):
        with pytest.raises(InputError):
            read_body({"path": path}, TicketOrder)


def _message(body: dict[str, object]) -> str:
    with pytest.raises(InputError) as caught:
        read_body(body, KeyOrder)
    return caught.value.message

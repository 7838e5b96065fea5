"""What one tenant has does not exist for another: whatever is named, wherever, the answer is that for what never was.

A has one of everything; the others know all of A's ids, and name them in every place of the API's own description.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from headwater.server import api_docs

from .tenants_kit import (
    ADMIN,
    NOTHING_TO_NAME,
    Answer,
    Operation,
    People,
    Person,
    Slot,
    State,
    bearer,
    call,
    never_was,
    operations,
    people,
    put_back,
    slots_of,
    state_of,
)

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

OTHERS = ("another of the organisation", "an administrator of another", "a token's user", "a reader")
FUZZED, SEED = 300, 20_240_229


class Everybody(NamedTuple):
    people: People
    ann: Person
    others: dict[str, Person]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def everybody() -> AsyncIterator[Everybody]:
    async with people() as found:
        ann = await found.person("ann", "chat", "documents", organization="acme", place=1)
        others = (
            await found.person("bob", "chat", "documents", organization="acme", place=2),
            await found.person("cat", "chat", "documents", "admin", organization="globex", place=3),
            await found.token_user("dan", organization="acme", place=4),
            await found.person("eve", "read", organization="acme", place=5),
        )
        yield Everybody(found, ann, dict(zip(OTHERS, others, strict=True)))


@pytest.fixture
def it(everybody: Everybody) -> People:
    return everybody.people


async def test_every_place_of_the_api_is_known(it: People) -> None:
    """A route is walked, or stands on the list of those where nothing can be named."""
    found = operations(it.description)
    unknown = [str(each) for each in found if each.id not in NOTHING_TO_NAME and not list(slots_of(each))]
    assert unknown == []
    assert NOTHING_TO_NAME.keys() - {each.id for each in found} == set()


async def test_addresses_that_are_not_described_lead_to_routes_that_are(it: People) -> None:
    """So what the walk shows of a route holds for its further addresses."""
    found = list(_routes(it.it.server.config.app))
    described = {route.endpoint for route in found if route.include_in_schema}
    assert len(found) > len(described) > 50
    hidden = {route.path for route in found if route.endpoint not in described}
    assert hidden == {"/", api_docs.PATH, "/openapi.json"}


def _routes(router: Any) -> Iterator[Any]:
    """Those of the routers in it, too."""
    for each in router.routes:
        if hasattr(each, "endpoint"):
            yield each
        elif hasattr(each, "original_router"):
            yield from _routes(each.original_router)


@pytest.mark.parametrize("who", OTHERS)
async def test_what_is_another_tenants_looks_like_what_never_was(everybody: Everybody, who: str) -> None:
    it, ann, other = everybody.people.it, everybody.ann, everybody.others[who]
    before = await state_of(it, ann)
    told_apart: list[str] = []
    turn = 0
    for operation in operations(everybody.people.description):
        for slot in slots_of(operation):
            values = _samples(ann, slot)
            # All forms for one of them; the others take turns.
            for value in values if who == OTHERS[0] else [values[turn % len(values)]]:
                turn += 1
                never = await _answer(everybody, other, {slot: never_was(value, turn)})
                theirs = await _answer(everybody, other, {slot: value})
                # A cursor is no name: it is a place in the caller's own stream, or none.
                if "cursor" not in slot.kinds and never.shape != theirs.shape:
                    told_apart.append(f"{slot} = {value}: {never.shape} for one that never was, but {theirs.shape}")
    assert not told_apart, "\n".join(told_apart)
    await _unchanged(everybody, before)


@pytest.mark.parametrize("who", OTHERS)
async def test_nothing_is_reached_by_other_methods(everybody: Everybody, who: str) -> None:
    it, ann, other = everybody.people.it, everybody.ann, everybody.others[who]
    before = await state_of(it, ann)
    turn = 0
    found = operations(everybody.people.description)
    told = {(each.method, each.path) for each in found}
    for operation in found:
        for slot in (each for each in slots_of(operation) if each.place == "path"):
            for method in ("HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"):
                if (method, operation.path) not in told:
                    turn += 1
                    value = _values(ann, slot)[0]
                    never = await _answer(everybody, other, {slot: never_was(value, turn)}, method)
                    theirs = await _answer(everybody, other, {slot: value}, method)
                    assert theirs.shape == never.shape, (method, str(slot))
                    assert theirs.status in (401, 403, 404, 405), (method, str(slot))
    await _unchanged(everybody, before)


async def test_no_mixture_of_ids_reaches_another_tenant(everybody: Everybody) -> None:
    """Any of A's ids, of whatever kind, in any place, among the caller's own and what never was."""
    it, ann = everybody.people.it, everybody.ann
    before = await state_of(it, ann)
    chance = random.Random(SEED)
    walked = [each for each in operations(everybody.people.description) if list(slots_of(each))]
    everything = [value for _, value in ann.all_things()]
    for turn in range(FUZZED):
        other = everybody.others[chance.choice(OTHERS)]
        operation = chance.choice(walked)
        values: dict[Slot, str] = {}
        for slot in slots_of(operation):
            theirs = _values(ann, slot)
            match chance.random():
                case part if part < 0.5:
                    values[slot] = chance.choice(theirs)
                case part if part < 0.7:
                    values[slot] = chance.choice(everything)
                case part if part < 0.8:
                    values[slot] = never_was(chance.choice(theirs), turn)
                case _ if slot.place == "path":
                    values[slot] = chance.choice(theirs)
        await _answer(everybody, other, values)
    await _unchanged(everybody, before)


async def test_lists_searches_and_figures_of_a_newcomer_are_empty(everybody: Everybody) -> None:
    it, ann = everybody.people.it, everybody.ann
    key = await everybody.people.key("new", "chat", "documents", organization="acme", user="newcomer")
    new = ann._replace(name="newcomer", tenant="", headers=bearer(key["key"]))
    lists = {
        "/v1/streams", "/v1/workspaces", "/v1/threads", "/streaming/connections", "/chat/chat_sessions",
        "/docs/list_documents", "/api/v1/documents", "/api/v1/workspaces", "/workspaces", "/docs/stats",
        "/v1/workspaces/default/documents", "/v1/workspaces/default/threads", "/v1/workspaces/default/statistics",
    }  # fmt: skip
    theirs = [value for kind, value in ann.all_things() if kind not in ("cursor", "key")]
    for path in sorted(lists):
        response = await it.client.get(path, headers=new.headers)
        assert response.status_code == 200, path
        assert [value for value in (*theirs, *ann.secrets) if value in response.text] == [], path
    for secret in ann.secrets:
        await _finds_nothing(everybody, new, secret)
    figures = (await it.client.get("/v1/workspaces/default/statistics", headers=new.headers)).json()
    assert {value for value in figures.values() if isinstance(value, int)} == {0}


async def _finds_nothing(everybody: Everybody, new: Person, secret: str) -> None:
    client, headers = everybody.people.it.client, new.headers
    found = (await client.get("/v1/search", params={"q": secret}, headers=headers)).json()
    assert found["data"] == []
    documents = (await client.post("/v1/search", json={"query": secret}, headers=headers)).json()
    assert documents["data"] == []
    place = "/api/v1/workspace/default/vector-search"
    passages = (await client.post(place, json={"query": secret}, headers=headers)).json()
    assert passages["results"] == []


async def test_the_built_in_model_knows_the_callers_documents_only(everybody: Everybody) -> None:
    client, ann = everybody.people.it.client, everybody.ann
    for other in everybody.others.values():
        for secret in ann.secrets:
            if "passage" in secret or "version" in secret or "raw" in secret:
                body = {"model": "extractive", "messages": [{"role": "user", "content": "What lies here, and where?"}]}
                response = await client.post("/v1/chat/completions", json=body, headers=other.headers)
                assert secret not in response.text


async def test_prompts_hold_nothing_of_another_tenant(everybody: Everybody) -> None:
    """What models were asked for others' questions, in all that the tests here have tried before and this one tries."""
    it, ann = everybody.people.it, everybody.ann
    for other in everybody.others.values():
        for operation in operations(everybody.people.description):
            for slot in slots_of(operation):
                if slot.place == "path" or slot.name in (
                    "selected_document_ids",
                    "edit",
                    "regenerate",
                    "sessionId",
                    "workspaceId",
                ):
                    await _answer(everybody, other, {slot: _values(ann, slot)[0]})
    names = [other.name for other in everybody.others.values()]
    for request in it.models.asked:
        said = repr(request)
        if any(f"user:{name}" in said for name in names):
            assert [secret for secret in ann.secrets if secret in said] == []


async def test_a_reader_of_the_same_tenant_changes_nothing_and_asks_nothing(everybody: Everybody) -> None:
    it, ann = everybody.people.it, everybody.ann
    key = await everybody.people.key("ann-reader", "read", organization="acme", user="ann")
    reader = ann._replace(headers=bearer(key["key"]))
    before, asked = await state_of(it, ann), len(it.models.asked)
    for operation in operations(everybody.people.description):
        own = {slot: _values(ann, slot)[0] for slot in slots_of(operation) if slot.place == "path"}
        if operation.method == "GET" and operation.id not in ASKING_GETS:
            # What is watched may go on for ever; that a stream is told of is enough.
            if not operation.path.endswith(("/events", "/stream", "/progress", "/status")):
                await call(it, reader, operation, own)
        else:
            answer = await call(it, reader, operation, own)
            assert answer.status == 403, (str(operation), answer.body)
    await _unchanged(everybody, before)
    assert len(it.models.asked) == asked


ASKING_GETS = {"stream_ai_chat_sse", "ask_chat_session_get", "stream_connection_get"}

NEEDS_NOTHING = {
    "list_models", "get_model", "health", "ready", "get_me", "create_ticket", "list_routes", "get_route",
    "anything_auth",
}  # fmt: skip
NEEDS_ADMIN = {
    "list_keys", "create_key", "get_key", "revoke_key", "rotate_key", "put_route", "delete_route",
}  # fmt: skip
NEEDS_BOTH = {"delete_workspace", "anything_delete_workspace", "anything_pages_delete_workspace"}
# By the stream that is meant; see `test_a_stream_needs_the_scope_of_what_made_it`.
BY_STREAM = {"get_stream", "watch_stream", "cancel_stream", "delete_stream"}
NEEDS_DOCUMENTS = {
    "anything_update_embeddings", "anything_update_pin", "anything_pages_update_embeddings",
    "anything_pages_update_pin", "anything_search", "get_upload_statistics", "get_upload_statistics_below_api",
    "get_workspace_statistics", "watch_progress", "get_content", "get_text", "list_versions", "upload_version",
    "anything_upload", "anything_upload_folder", "anything_pages_upload", "anything_upload_text",
}  # fmt: skip


async def test_every_route_needs_its_scope(everybody: Everybody) -> None:
    it, ann = everybody.people.it, everybody.ann
    lacking = {
        lacked: bearer((await everybody.people.key("x", *held, organization="scoped", user="x"))["key"])
        for lacked, held in (
            ("chat", ("documents", "admin")),
            ("documents", ("chat", "admin")),
            ("admin", ("chat", "documents")),
        )
    }
    for operation in operations(everybody.people.description):
        if operation.id not in BY_STREAM:
            needed = _needed(operation)
            own = {slot: never_was(_values(ann, slot)[0], 1) for slot in slots_of(operation) if slot.place == "path"}
            for lacked, headers in lacking.items():
                status = (await call(it, ann._replace(headers=headers), operation, own)).status
                if lacked in needed:
                    # 400: what is no form of an id is refused before anything is looked at.
                    assert status in (400, 403), (str(operation), lacked, status)
                elif operation.id not in ("put_route", "delete_route"):  # for administrators of everything only
                    assert status != 403, (str(operation), lacked)


def _needed(operation: Operation) -> set[str]:
    name = operation.id.removesuffix("_below_api")
    if name in NEEDS_NOTHING:
        return set()
    if name in NEEDS_ADMIN:
        return {"admin"}
    if name in NEEDS_BOTH:
        return {"chat", "documents"}
    of_documents = any(word in name for word in ("document", "upload_file", "processing"))
    return {"documents"} if of_documents or name in NEEDS_DOCUMENTS else {"chat"}


async def test_a_stream_needs_the_scope_of_what_made_it(everybody: Everybody) -> None:
    client, ann = everybody.people.it.client, everybody.ann
    answer, reading = ann.first("stream"), ann.first("task")
    for scope, mine, other in (("chat", answer, reading), ("documents", reading, answer)):
        made = await everybody.people.key(scope, scope, organization="acme", user="ann")
        headers = bearer(made["key"])
        for method, path in (("GET", ""), ("GET", "/events"), ("POST", "/cancel")):
            assert (await client.request(method, f"/v1/streams/{mine}{path}", headers=headers)).status_code == 200
            assert (await client.request(method, f"/v1/streams/{other}{path}", headers=headers)).status_code == 403
        assert (await client.delete(f"/v1/streams/{other}", headers=headers)).status_code == 403
        assert (await client.get("/v1/streams", headers=headers)).status_code == (200 if scope == "chat" else 403)


async def test_a_ticket_for_one_address_opens_no_other(everybody: Everybody) -> None:
    it, ann = everybody.people.it, everybody.ann
    stream = ann.first("stream")
    order = {"path": f"/v1/streams/{stream}/events"}
    ticket = (await it.client.post("/v1/tickets", json=order, headers=ann.headers)).json()["ticket"]
    assert (await it.client.get(order["path"], params={"ticket": ticket})).status_code == 200
    holder = ann._replace(headers={})
    for operation in operations(everybody.people.description):
        if operation.path in ("/health", "/ready", "/v1/streams/{stream_id}/events"):
            continue
        own = {slot: _values(ann, slot)[0] for slot in slots_of(operation) if slot.place == "path"}
        ticketed = Slot(operation, "query", "ticket", ())
        held = replace(operation, parameters=[*operation.parameters, {"name": "ticket", "in": "query", "schema": {}}])
        answer = await call(it, holder, held, own | {ticketed: ticket})
        assert answer.status == 401, (str(operation), answer.body)


async def test_keys_of_another_organisation_cannot_be_made_or_seen(everybody: Everybody) -> None:
    client, cat = everybody.people.it.client, everybody.others["an administrator of another"]
    for theirs in ({"organization": "acme"}, {"organization": "acme", "user": "ann"}):
        assert (await client.post("/v1/keys", json=theirs, headers=cat.headers)).status_code == 403
    listed = (await client.get("/v1/keys", params={"limit": 1000}, headers=cat.headers)).json()["data"]
    assert {each["organization"] for each in listed} == {"globex"}
    everything = (await client.get("/v1/keys", params={"limit": 1000}, headers=bearer(ADMIN))).json()["data"]
    assert {each["organization"] for each in everything} >= {"acme", "globex"}


# ---------------------------------------------------------------------- parts


def _values(person: Person, slot: Slot) -> list[str]:
    """All that the person has of the kinds that are meant there."""
    return [value for kind in slot.kinds for value in person.things[kind]]


async def _answer(everybody: Everybody, other: Person, values: dict[Slot, str], method: str = "") -> Answer:
    """The answer, which tells nothing that is A's. What it made or renamed is put back."""
    it, ann = everybody.people.it, everybody.ann
    operation: Operation = next(iter(values)).operation if values else operations(everybody.people.description)[0]
    answer = await call(it, other, operation, values, method)
    where = f"{method or operation} of {other.name} with {[f'{slot.name}={value}' for slot, value in values.items()]}"
    assert answer.status < 500, (where, answer.body)
    assert [secret for secret in ann.secrets if secret in answer.body] == [], where
    unsent = [value for value in _names_of_one(ann) if value not in values.values() and value in answer.body]
    assert unsent == [], where
    if answer.status < 300 and (operation.method != "GET" or operation.id in ASKING_GETS):
        await put_back(it, other)
    return answer


def _samples(person: Person, slot: Slot) -> list[str]:
    """One of each form: ids, numbers, names; of each kind that is meant there."""
    found: dict[tuple[str, str], str] = {}
    for kind in slot.kinds:
        for value in person.things[kind]:
            form = "id" if len(value) == 36 else "number" if value.isdecimal() else "name"
            # Lists go by the order of ids, whatever else is compared with them.
            if slot.name != "before" or form != "name":
                found.setdefault((kind, form), value)
    return list(found.values())


async def _unchanged(everybody: Everybody, before: State) -> None:
    changes = before.difference(await state_of(everybody.people.it, everybody.ann))
    assert not changes, "\n".join(changes)


def _names_of_one(person: Person) -> list[str]:
    """Ids that nobody else can have by chance, and nobody keeps after having sent them."""
    return [value for kind in ("message", "task", "stream") for value in person.things[kind] if len(value) == 36]

"""Tenants with one of everything each, and a walk over every place of the API where an id of theirs can be named.

The walk comes from the API's own description: a route, a parameter or a field that is new must be told of here, in
`KINDS` or `PLAIN`, or `slots_of` fails.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import jwt
from sqlalchemy import delete, insert, select, update

from headwater.documents.records import Scope as DocumentScope
from headwater.events import Done, StreamId, Text, Usage
from headwater.identity import IdentitySettings
from headwater.identity.principal import tenant_path
from headwater.providers.extractive import Extractive
from headwater.request import ChatRequest
from headwater.routing import Registry
from headwater.routing.store import RouteStore
from headwater.runtime import RouteTables
from headwater.server import ServerSettings
from headwater.store import tables
from headwater.streams import Query, StreamSettings, Writer

from .chat_kit import ChatModels, Chatting, chatting

ADMIN = "the-admins-own-key-of-the-settings"
JWT_SECRET = "a secret that is long enough for HS256"

# Numbers of each tenant begin so far apart that another's are never its own by chance.
_FIRST_NUMBER = 1_000_000
_NEVER = 400_000


async def quick(writer: Writer, request: ChatRequest) -> None:
    """Answers with the question, so that what is private in it is private in the answer, too."""
    asked = request.messages[-1].get("content", "") if request.messages else ""
    writer.write([Text(f"About {asked}"), Usage(3, 2), Done("stop")])


async def hangs(writer: Writer, request: ChatRequest) -> None:
    asked = request.messages[-1].get("content", "") if request.messages else ""
    writer.write([Text(f"Begun on {asked}")])
    await asyncio.Event().wait()


class Person(NamedTuple):
    """`things`: by kind, what can be named; the first of each is safe to use in a request that means another.
    `secrets`: texts that only answers to this person may hold.
    """

    name: str
    tenant: str
    headers: dict[str, str]
    secrets: list[str]
    things: dict[str, list[str]]

    def first(self, kind: str) -> str:
        return self.things[kind][0]

    def all_things(self) -> list[tuple[str, str]]:
        return [(kind, value) for kind, values in self.things.items() for value in values]


class People(NamedTuple):
    it: Chatting
    description: dict[str, Any]

    async def key(self, name: str, *scopes: str, organization: str, user: str) -> dict[str, Any]:
        body = {"name": name, "scopes": list(scopes), "organization": organization, "user": user}
        response = await self.it.client.post("/v1/keys", json=body, headers=bearer(ADMIN))
        assert response.status_code == 201, response.text
        made: dict[str, Any] = response.json()
        return made

    async def person(self, name: str, *scopes: str, organization: str, place: int) -> Person:
        """With a key of these scopes, and one of everything, which a key with all scopes has made."""
        maker = await self.key(f"{name}-maker", "chat", "documents", organization=organization, user=name)
        own = await self.key(f"{name}-own", *scopes, organization=organization, user=name)
        tenant = tenant_path(organization, "", name)
        person = await made(self.it, name, tenant, bearer(maker["key"]), place)
        person.things["key"] = [own["id"], maker["id"], own["prefix"], maker["prefix"]]
        return person._replace(headers=bearer(own["key"]))

    async def token_user(self, name: str, *, organization: str, place: int) -> Person:
        claims = {"sub": name, "org": organization, "exp": int(time.time()) + 3600}
        headers = bearer(jwt.encode(claims, JWT_SECRET, algorithm="HS256"))
        return await made(self.it, name, tenant_path(organization, "", name), headers, place)


@asynccontextmanager
async def people() -> AsyncIterator[People]:
    """A server with keys, tokens and everything that it can serve."""
    registry = Registry([Extractive()])
    models = ChatModels({"quick": quick, "hangs": hangs, "scripted/quick": quick})
    callers = IdentitySettings(admin_keys=(ADMIN,), jwt_secret=JWT_SECRET)
    async with chatting(
        models,
        # What hangs here hangs for the whole module.
        streams=StreamSettings(heartbeat_s=30.0, grace_s=0.5, idle_timeout_s=3600.0),
        # The pages are files that everybody has.
        server=ServerSettings(admin_keys=(ADMIN,), page=False),
        identity=callers,
        routes=RouteTables(registry, RouteStore(registry, None)),
        connected=True,
    ) as it:
        description = (await it.client.get("/openapi.json")).json()
        yield People(it, description)
    await registry.close()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


# ---------------------------------------------------------------------- one of everything


async def made(it: Chatting, name: str, tenant: str, headers: dict[str, str], place: int) -> Person:
    """`place`: the how manieth tenant this is."""
    await _count_from(it, tenant, _FIRST_NUMBER * place)
    maker = _Maker(it, name, headers)
    await maker.conversations()
    await maker.documents(tenant)
    await maker.references()
    await _settled(it, tenant)
    await _add_rows(it, tenant, maker.things)
    things = {kind: list(dict.fromkeys(each)) for kind, each in maker.things.items()}
    return Person(name, tenant, headers, maker.secrets, things)


async def _settled(it: Chatting, tenant: str) -> None:
    """Wait until the answers that have ended are in the rows, and their threads have titles."""
    messages, threads = tables.messages, tables.threads
    ended = select(messages.c.thread_id).where(messages.c.tenant == tenant, messages.c.model == "quick")
    unsettled = select(messages.c.id).where(messages.c.thread_id.in_(ended), messages.c.status == "streaming")
    untitled = select(threads.c.id).where(threads.c.id.in_(ended), threads.c.title == "")
    async with asyncio.timeout(30):
        while True:
            async with it.store.read() as connection:
                if not any([(await connection.execute(each)).first() for each in (unsettled, untitled)]):
                    return
            await asyncio.sleep(0.02)


async def _count_from(it: Chatting, tenant: str, number: int) -> None:
    async with it.store.write() as connection:
        for at, kind in enumerate(("workspaces", "threads", "messages", "documents")):
            row = {"tenant": tenant, "kind": kind, "value": number + 10_000 * at}
            await connection.execute(insert(tables.counters).values(row))


class _Maker:
    def __init__(self, it: Chatting, name: str, headers: dict[str, str]) -> None:
        self._it = it
        self._name = name
        self._headers = headers
        self.secrets: list[str] = []
        self.things: dict[str, list[str]] = {
            kind: [] for kind in ("workspace", "thread", "session", "message", "document", "file", "stream", "task")
        }

    def secret(self, what: str) -> str:
        text = f"{self._name}secret{what}"
        self.secrets.append(text)
        return text

    async def call(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = self._headers | more.pop("headers", {})
        response = await self._it.client.request(method, path, headers=headers, **more)
        assert response.status_code < 300, (method, path, response.text)
        if stream := response.headers.get("x-stream-id"):
            self.things["stream"].append(stream)
        return response

    async def conversations(self) -> None:
        slug = f"{self._name}-books"
        await self.call(
            "POST",
            "/v1/workspaces",
            json={
                "name": self.secret("workspace"),
                "slug": slug,
                "system_prompt": self.secret("prompt"),
                "refusal": self.secret("refusal"),
                "metadata": {"note": self.secret("note")},
            },
        )
        order = {"title": self.secret("title"), "slug": f"{self._name}-talk", "metadata": {"note": self.secret("memo")}}
        thread = (await self.call("POST", f"/v1/workspaces/{slug}/threads", json=order)).json()["id"]
        keyed = {"Idempotency-Key": f"{self._name}-key"}
        asked = {"content": self.secret("question"), "model": "quick"}
        await self.call("POST", f"/v1/threads/{thread}/messages", json=asked, headers=keyed)
        whole = {"model": "quick", "messages": [{"role": "user", "content": self.secret("chat")}]}
        await self.call("POST", "/v1/chat/completions", json=whole, headers={"Idempotency-Key": f"{self._name}-chat"})
        self.things["idempotency"] = [f"{self._name}-key", f"{self._name}-chat"]
        self.things["cursor"] = ["1-1", "1-2"]
        # Two that go on: one in a conversation, one alone.
        other = (await self.call("POST", f"/v1/workspaces/{slug}/threads", json={"slug": f"{self._name}-live"})).json()
        live = {"content": self.secret("live"), "model": "hangs", "stream": False}
        lingers = {"X-Linger-S": "3600"}
        told = await self.call("POST", f"/v1/threads/{other['id']}/messages", json=live, headers=lingers)
        alone = {"model": "hangs", "messages": [{"role": "user", "content": self.secret("alone")}]}
        keyed = {"Idempotency-Key": f"{self._name}-alone"}
        begun = await self.call("POST", "/v1/streams", json=alone, headers=lingers | keyed)
        self.things["live"] = [each.headers["x-stream-id"] for each in (told, begun)]

    async def documents(self, tenant: str) -> None:
        it, slug = self._it, f"{self._name}-books"
        document = await self._upload(f"/v1/workspaces/{slug}/documents", self.secret("passage"), metadata=True)
        await self._upload(f"/v1/documents/{document}/versions", self.secret("version"))
        found = await it.backend.conversations.workspaces.get(tenant, slug)
        # One that is still to be read.
        content = self.secret("unread").encode()
        scope = DocumentScope(tenant, found.id)
        name = f"{self._name}-unread.txt"
        unread = await it.backend.shelf.add(scope, name=name, media_type="text/plain", content=content)
        self.things["unread"] = [unread.id, str(unread.number)]
        raw = {"textContent": self.secret("raw"), "metadata": {"title": f"{self._name}-raw"}, "addToWorkspaces": slug}
        file = (await self.call("POST", "/api/v1/document/raw-text", json=raw)).json()["documents"][0]
        self.things["file"] += [file["name"], file["location"]]

    async def _upload(self, path: str, text: str, *, metadata: bool = False) -> str:
        named: dict[str, str] = {}
        if metadata:
            named = {"name": f"{self._name}-notes.txt", "metadata": json.dumps({"note": self.secret("keeping")})}
        head = {"Content-Type": "text/plain"}
        answer = (await self.call("POST", path, params=named, content=f"{text} lies here.", headers=head)).json()
        document: str = (answer["data"][0] if "data" in answer else answer)["id"]
        watched = await self.call("GET", f"/v1/documents/{document}/progress")
        self.things["task"].append(watched.headers["x-stream-id"])
        return document

    async def references(self) -> None:
        name = self._name
        first = {"requestId": f"{name}-request", "model": "quick", "messages": [{"role": "user", "content": "hello"}]}
        created = (await self.call("POST", "/streaming/connections", json=first)).json()["data"]["id"]
        await self.call("GET", f"/streaming/connections/{created}/events")
        waiting = (await self.call("POST", "/streaming/connections", json=first)).json()["data"]["id"]
        # One for each way to close it: what is forgotten cannot be closed again.
        further = (await self.call("POST", "/streaming/connections", json=first)).json()["data"]["id"]
        self.things["connection"] = [created, waiting, further]
        await self.call("POST", "/streaming/stream", json=first, headers={"Idempotency-Key": f"{name}-connection"})
        self.things["idempotency"].append(f"{name}-connection")
        chat = {"message": self.secret("chatted"), "sessionId": f"{name}-session", "workspaceId": f"{name}-place"}
        await self.call("POST", "/api/ai-chat/stream", json=chat | {"projectId": f"{name}-project"})
        address = {"message": "hello", "key": f"{name}-address"}
        await self.call("GET", "/api/ai-chat/stream-sse", params=address)
        self.things["address"] = [f"{name}-address", f"{name}-request"]
        self.things["label"] = [f"{name}-session", f"{name}-place", f"{name}-project"]
        session = (await self.call("POST", "/chat/chat_sessions", json={"title": self.secret("session")})).json()["id"]
        await self.call("POST", f"/chat/{session}/stream", json={"question": self.secret("typed")})
        spoken = {"message": self.secret("anything"), "mode": "chat", "sessionId": f"{name}-session"}
        await self.call("POST", f"/api/v1/workspace/{name}-books/chat", json=spoken)


async def _add_rows(it: Chatting, tenant: str, things: dict[str, list[str]]) -> None:
    """Whatever has an id, by what the database says."""
    async with it.store.read() as connection:
        for kind, table in (
            ("workspace", tables.workspaces),
            ("thread", tables.threads),
            ("message", tables.messages),
            ("document", tables.documents),
        ):
            for row in await connection.execute(select(table).where(table.c.tenant == tenant).order_by(table.c.id)):
                things[kind] += [row.id, str(row.number)]
                # What has a secret in it is not for others to send, and what all tenants have is nobody's.
                if hasattr(row, "slug") and "secret" not in row.slug and row.slug != "default":
                    things[kind].append(row.slug)
                if kind == "thread":
                    things["session"].append(str(row.number))


# ---------------------------------------------------------------------- what there is


class State(NamedTuple):
    """Everything of a tenant: rows by table, and its streams."""

    rows: dict[str, list[str]]
    streams: list[str]

    def difference(self, later: State) -> list[str]:
        """What has come, gone or changed since."""
        found = []
        for name, rows in {**self.rows, "streams": self.streams}.items():
            now = {**later.rows, "streams": later.streams}[name]
            found += [f"- {name}: {row}" for row in rows if row not in now]
            found += [f"+ {name}: {row}" for row in now if row not in rows]
        return found


async def state_of(it: Chatting, person: Person) -> State:
    """But for when keys were used last."""
    rows: dict[str, list[str]] = {}
    keys = [f"key:{key}" for key in person.things["key"]]
    async with it.store.read() as connection:
        for table in tables.metadata.sorted_tables:
            if table is tables.sealing:
                continue  # which keys encrypt: the server's own
            if "tenant" in table.c:
                mine = table.c.tenant == person.tenant
            elif table is tables.usage_entries:
                mine = table.c.meter.in_(keys)
            else:
                mine = table.c.passage_id.in_(
                    select(tables.passages.c.id).where(tables.passages.c.tenant == person.tenant)
                )
            wanted = [column for column in table.c if column.name != "last_used_ms"]
            rows[table.name] = sorted(repr(tuple(row)) for row in await connection.execute(select(*wanted).where(mine)))
    records = await it.hub.log.find(Query(owner=person.tenant, limit=1000))
    return State(rows, sorted(f"{record.id} {record.ended}" for record in records))


async def put_back(it: Chatting, person: Person) -> None:
    """Whatever a call has made or renamed, so that the next one begins as this one did."""
    own = {each for kind in ("stream", "connection", "live", "task") for each in person.things[kind]}
    for record in await it.hub.log.find(Query(owner=person.tenant, limit=1000)):
        if record.id not in own:
            await (await it.hub.open(StreamId(record.id), owner=person.tenant)).wait_end()
            await it.hub.delete(StreamId(record.id), owner=person.tenant)
    workspaces, threads = tables.workspaces, tables.threads
    kept = person.things
    async with it.store.write() as connection:
        for table, kind in ((workspaces, "workspace"), (threads, "thread")):
            mine = table.c.tenant == person.tenant
            await connection.execute(delete(table).where(mine, table.c.id.not_in(kept[kind])))
        for table, kind, name in ((workspaces, "workspace", "books"), (threads, "thread", "talk")):
            renamed = update(table).where(table.c.id == kept[kind][0])
            await connection.execute(renamed.values(slug=f"{person.name}-{name}"))


# ---------------------------------------------------------------------- the walk

KINDS: dict[str, tuple[str, ...]] = {
    "adds": ("file",),
    "addToWorkspaces": ("workspace",),
    "after": ("cursor",),
    "apiSessionId": ("label",),
    "before": ("stream", "thread", "message", "document", "key", "workspace"),
    "clientId": ("label",),
    "connection_id": ("connection", "live"),
    "currentOrganizationId": ("label",),
    "deletes": ("file",),
    "docPath": ("file",),
    "document": ("document", "unread"),
    "document_id": ("document", "unread"),
    "edit": ("message",),
    "Idempotency-Key": ("idempotency",),
    "key": ("address",),
    "key_id": ("key",),
    "Last-Event-ID": ("cursor",),
    "leaf": ("message",),
    "message_id": ("message",),
    "name": ("file",),
    "prefix": ("key",),
    "projectId": ("label",),
    "regenerate": ("message",),
    "requestId": ("address",),
    "selected_document_ids": ("document",),
    "session_id": ("session",),
    "sessionId": ("label",),
    "slug": ("workspace", "thread"),
    "slugs": ("thread",),
    "startingId": ("message",),
    "stream_id": ("stream", "live"),
    "task_id": ("task", "live"),
    "thread": ("thread",),
    "thread_slug": ("thread",),
    "workspace": ("workspace", "label"),
    "workspaceId": ("label", "workspace"),
    "x-client-id": ("label",),
}
"""Whose name may be an id, and of what. A `message` is one only in an address."""

PLAIN = frozenset(
    """
    all attachments buffer_size bufferSize budget_cost budget_period budget_tokens chatMode chatModel chatProvider
    confidential content contentString context dialect end expires_in_s fallback file files flushInterval folder
    folderName format frequency_penalty grace_s history history_tokens history_turns include_usage ip limit logprobs
    maxTokens max_completion_tokens max_tokens maxRetries message messages metadata mime min_score mode model n
    openAiHistory openAiPrompt openAiTemp options orderBy organization params parts passages path pinStatus pinned
    presence_penalty priority project prompt provider purpose q query queryRefusalResponse question reasoning_effort
    refusal requests_per_minute reset response_format role scopes scoreThreshold search_mode seed similarityThreshold
    start state status stop stream stream_options system_prompt targets temperature textContent title
    tokens_per_minute tool_call_id tool_calls tool_choice tools topN top_logprobs top_p ttl_s user userId version
    X-Fallback X-Linger-S X-Priority fallbacks max_context_tokens strategy timeouts
""".split()  # noqa: SIM905 - ninety words, a line each or none
)
"""Names that say nothing of whose something is: texts, bounds, figures. `userId` is kept and never looked up."""

NOTHING_TO_NAME = {
    "list_models": "models are the same for all callers",
    "get_model": "models are the same for all callers",
    "health": "a probe",
    "ready": "a probe",
    "get_me": "tells of the caller alone",
    "create_ticket": "a ticket is the caller's own, whatever address it is for",
    "create_key": "administers keys of the caller's own organisation; whose they may be has its own test",
    "list_routes": "routes are shared by all callers",
    "get_route": "routes are shared by all callers",
    "put_route": "routes are shared by all callers; only administrators of everything may",
    "delete_route": "routes are shared by all callers; only administrators of everything may",
    "anything_auth": "tells whether the key holds",
    "anything_workspaces": "a list of the caller's own",
    "anything_pages_workspaces": "a list of the caller's own",
    "anything_create_workspace": "makes one of the caller's own",
    "anything_pages_create_workspace": "makes one of the caller's own",
    "anything_documents": "a list of the caller's own",
    "get_upload_statistics": "figures of the caller's own",
    "get_upload_statistics_below_api": "figures of the caller's own",
    "create_chat_session": "makes one of the caller's own",
    "create_chat_session_below_api": "makes one of the caller's own",
}


@dataclass(frozen=True, eq=False)
class Operation:
    method: str
    path: str
    id: str
    parameters: list[dict[str, Any]]
    bodies: dict[str, dict[str, Any]]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Slot(NamedTuple):
    """A place in a request where an id can stand."""

    operation: Operation
    place: str
    name: str
    kinds: tuple[str, ...]
    wrapped: str = ""

    def __str__(self) -> str:
        return f"{self.operation} {self.place}:{self.name}"


def operations(description: Mapping[str, Any]) -> list[Operation]:
    found = []
    for path, methods in description["paths"].items():
        for method, said in methods.items():
            bodies = {
                kind: _resolved(description, content["schema"])
                for kind, content in said.get("requestBody", {}).get("content", {}).items()
            }
            found.append(Operation(method.upper(), path, said["operationId"], said.get("parameters", []), bodies))
    return found


def _resolved(description: Mapping[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = description["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    for choice in schema.get("anyOf", schema.get("oneOf", ())):
        if "properties" in (found := _resolved(description, choice)):
            return found
    return schema


def slots_of(operation: Operation) -> Iterator[Slot]:
    """Every place. Raises for a name that is not known."""
    if operation.id in NOTHING_TO_NAME:
        return
    for parameter in operation.parameters:
        name, place = parameter["name"], parameter["in"]
        kinds = _kinds(name, place, operation)
        if kinds:
            yield Slot(operation, place, name, kinds)
    for kind, schema in operation.bodies.items():
        place = {"application/json": "body", "multipart/form-data": "form"}.get(kind)
        for name, field in schema.get("properties", {}).items() if place else ():
            if kinds := _kinds(name, place or "", operation):
                yield Slot(operation, place or "", name, kinds, "list" if _is_list(field) else "")


def _kinds(name: str, place: str, operation: Operation) -> tuple[str, ...]:
    if place == "path" and name == "message":
        return ("message",)
    if operation.id == "list_all_connections" and name in ("clientId", "sessionId"):
        # A filter of the caller's own rows by words of its own: the walk has made some with these very words.
        return ()
    if (place != "path" and name == "name") or name in PLAIN or (place == "path" and name == "model"):
        return ()
    assert name in KINDS, f"{operation}: is {name!r} ({place}) an id? tell in KINDS or in PLAIN"
    kinds = KINDS[name]
    if name == "slug" and place == "path":
        return ("workspace",)
    return kinds


def _is_list(field: Mapping[str, Any]) -> bool:
    return field.get("type") == "array" or any(each.get("type") == "array" for each in field.get("anyOf", ()))


# ---------------------------------------------------------------------- calls

# What a request needs so that it comes as far as the id.
_FIELDS: dict[str, Any] = {
    "content": "hello",
    "message": "hello",
    "question": "hello",
    "query": "hello",
    "messages": [{"role": "user", "content": "hello"}],
    "textContent": "hello",
    "metadata": {"title": "hello"},
    "title": "changed",
    "name": "changed",
    "pinned": True,
    "pinStatus": True,
    "model": "quick",
    "path": "/v1/me",
}
_QUERY: dict[str, str] = {
    "start": "2020-01-01T00:00:00Z",
    "end": "2100-01-01T00:00:00Z",
    "message": "hello",
    "question": "hello",
    "prompt": "hello",
    "q": "hello",
}


class Answer(NamedTuple):
    """`shape`: what two answers must have in common that tell nothing of what was named."""

    status: int
    body: str
    shape: tuple[object, ...]


async def call(
    it: Chatting, person: Person, operation: Operation, values: Mapping[Slot, str], method: str = ""
) -> Answer:
    """`values`: what stands where; everything else is the caller's own."""
    by_place: dict[tuple[str, str], Slot] = {(slot.place, slot.name): slot for slot in values}

    def value_of(place: str, name: str) -> str | None:
        slot = by_place.get((place, name))
        return values[slot] if slot is not None else None

    path, query, headers = operation.path, {}, dict(person.headers)
    for parameter in operation.parameters:
        name, place = parameter["name"], parameter["in"]
        value = value_of(place, name)
        match place:
            case "path":
                path = path.replace(f"{{{name}}}", quote(value or _own(person, operation, name), safe=""))
            case "query" if value is not None:
                query[name] = value
            case "query" if name in _QUERY and (parameter["schema"].get("type") != "integer"):
                query[name] = _QUERY[name]
            case "header" if value is not None:
                headers[name] = value
    more = _body(person, operation, value_of)
    response = await it.client.request(method or operation.method, path, params=query, headers=headers, **more)
    return Answer(response.status_code, response.text, _shape(response, list(values.values())))


def _own(person: Person, operation: Operation, name: str) -> str:
    if name == "model":
        return "quick"
    if name == "folder":
        return "custom-documents"
    kinds = ("message",) if name == "message" else ("workspace",) if name == "slug" else KINDS[name]
    if name in ("slug", "workspace"):
        return f"{person.name}-books"
    if name == "thread_slug":
        return f"{person.name}-talk"
    return person.first(kinds[0])


def _body(person: Person, operation: Operation, value_of: Any) -> dict[str, Any]:
    if "multipart/form-data" in operation.bodies:
        names = operation.bodies["multipart/form-data"].get("properties", {})
        fields = {name: value for name in names if (value := value_of("form", name)) is not None}
        return {"files": {"file": ("hello.txt", b"hello there", "text/plain")}, "data": fields}
    if "application/json" not in operation.bodies:
        return {}
    schema = operation.bodies["application/json"]
    properties = schema.get("properties", {})
    body: dict[str, Any] = {name: value for name, value in _FIELDS.items() if name in properties}
    if "provider" in properties and "model" in body:
        del body["model"]
    if operation.id.startswith("import"):
        body = {"messages": _FIELDS["messages"]}
    for name, field in properties.items():
        value = value_of("body", name)
        if value is None:
            if name in schema.get("required", ()) and name not in body:
                body[name] = [] if _is_list(field) else person.first(KINDS[name][0])
            continue
        body[name] = [_typed(value, field)] if _is_list(field) else _typed(value, field)
        if name == "regenerate":
            body.pop("content", None)
    return {"json": body}


def _typed(value: str, field: Mapping[str, Any]) -> str | int:
    kinds = {each.get("type") for each in (field, *field.get("anyOf", ()), field.get("items", {}))}
    return int(value) if "integer" in kinds and value.isdecimal() else value


_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HEX = re.compile(r"[0-9a-f]{16,}")
_TIME = re.compile(r"\d+[-/.:T ,]+(?=\d)")
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e-?\d+)?")
_OF_EACH = frozenset({"date", "content-length", "x-request-id"})


def _shape(response: httpx.Response, sent: list[str]) -> tuple[object, ...]:
    body = response.text
    for value in sorted(sent, key=len, reverse=True):
        for written in {value, json.dumps(value)[1:-1], quote(value), quote(value, safe="")}:
            body = body.replace(written, "<sent>")
    body = _NUMBER.sub("#", _TIME.sub("", _HEX.sub("<hex>", _ID.sub("<id>", body))))
    headers = tuple(sorted(name for name in response.headers if name not in _OF_EACH))
    return response.status_code, response.headers.get("content-type"), headers, body


def never_was(value: str, turn: int) -> str:
    """One of the same form, which nobody has: ids of the same millisecond, numbers out of everyone's reach."""
    if _ID.fullmatch(value):
        return f"{value[:24]}{turn:012x}"
    if value.isdecimal():
        return str(int(value) + _NEVER + turn)
    if found := _ID.search(value):
        return value.replace(found[0], never_was(found[0], turn))
    if value.startswith("hw"):
        return value[:-4] + f"{turn:04d}"[-4:]
    return f"{value}{turn}"

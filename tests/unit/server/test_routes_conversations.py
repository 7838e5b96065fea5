"""Our own chat API: every route, and each way in which it refuses."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Any

import httpx
import jwt
import pytest

from headwater.chat.backend import BackendSettings
from headwater.chat.settings import ChatSettings
from headwater.dialects import DIALECTS
from headwater.errors import ProviderRejected
from headwater.events import Done, Text, Usage
from headwater.identity import IdentitySettings
from headwater.ids import new_stream_id
from headwater.request import ChatRequest
from headwater.server import ServerSettings
from headwater.server.routes_conversations import current
from headwater.sse import Parser
from headwater.streams import NewStream, Writer
from tests.integration.chat_kit import QUIET, ChatModels, Chatting, chatting
from tests.unit.chat.backing import Gate, backed

UNKNOWN = new_stream_id(1)
SECRET = "s" * 32
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class Gated:
    def __init__(self) -> None:
        self.gate = asyncio.Event()

    async def __call__(self, writer: Writer, request: ChatRequest) -> None:
        writer.write([Text("half")])
        await self.gate.wait()
        writer.write([Text(" and half"), Usage(3, 4), Done("stop")])


async def says(writer: Writer, request: ChatRequest) -> None:
    writer.write([Text(f"answer {request.messages[-1]['content']}"), Usage(1, 2), Done("stop")])


async def breaks(writer: Writer, request: ChatRequest) -> None:
    writer.write([Text("half")])
    await writer.drain()
    raise ProviderRejected("the model is gone", status=503, provider="scripted")


async def refuses(writer: Writer, request: ChatRequest) -> None:
    raise ProviderRejected("no such deployment", status=400, provider="scripted")


def served(gated: Gated | None = None, settings: BackendSettings = QUIET, **more: Any) -> Any:
    models = ChatModels({"m": says, "gated": gated or Gated(), "breaks": breaks, "refuses": refuses})
    return chatting(models, settings=settings, **more)


async def call(it: Chatting, method: str, path: str, body: object = None, *, status: int = 200, **headers: str) -> Any:
    """The JSON of an answer with this status."""
    response = await it.client.request(method, f"/v1{path}", json=body, headers=headers)
    assert response.status_code == status, response.text
    return response.json() if response.content else None


async def refused(it: Chatting, method: str, path: str, body: object = None, *, status: int = 400) -> tuple[str, Any]:
    """Code and parameter of an error in OpenAI's form."""
    told = (await call(it, method, path, body, status=status))["error"]
    assert told["message"]
    return told["code"], told["param"]


async def begun(it: Chatting, workspace: str = "default", **fields: object) -> str:
    return str((await call(it, "POST", f"/workspaces/{workspace}/threads", fields, status=201))["id"])


async def asked(it: Chatting, thread: str, content: object = "", **fields: object) -> Any:
    """Question and answer, once the answer is whole."""
    body = {"content": content, "stream": False, **fields}
    told = await call(it, "POST", f"/threads/{thread}/messages", body, status=201)
    await it.ended(told["stream_id"])
    return {**told, "answer": await call(it, "GET", f"/messages/{told['answer']['id']}")}


async def contents(it: Chatting, thread: str, query: str = "") -> list[str]:
    return [message["content"] for message in (await call(it, "GET", f"/threads/{thread}/messages{query}"))["data"]]


# ---------------------------------------------------------------------- workspaces


async def test_workspaces_come_and_go() -> None:
    async with served() as it:
        assert await call(it, "GET", "/workspaces") == {"object": "list", "data": [], "has_more": False}
        response = await it.client.post("/v1/workspaces", json={"name": "Ferry handbook", "temperature": 0.2})
        made = response.json()
        assert (response.status_code, response.headers["location"]) == (201, f"/v1/workspaces/{made['id']}")
        assert response.headers["cache-control"] == "no-store"
        assert (made["object"], made["number"], made["slug"]) == ("workspace", 1, "ferry-handbook")
        assert (made["temperature"], made["mode"], made["metadata"]) == (0.2, "chat", {})
        assert TIME.fullmatch(made["created_at"])
        for ref in (made["id"], "ferry-handbook"):
            assert await call(it, "GET", f"/workspaces/{ref}") == made
        changes = {"temperature": None, "mode": "query", "slug": "ferry", "metadata": {"colour": "blue"}}
        changed = await call(it, "PATCH", "/workspaces/ferry-handbook", changes)
        assert {name: changed[name] for name in changes} == changes
        assert changed["name"] == "Ferry handbook"
        assert (await call(it, "GET", "/workspaces/default"))["slug"] == "default"
        assert (await call(it, "DELETE", "/workspaces/ferry", status=204)) is None
        assert await refused(it, "GET", "/workspaces/ferry", status=404) == ("not_found", "workspace_id")


async def test_workspaces_are_listed_newest_first() -> None:
    async with served() as it:
        for name in "abc":
            await call(it, "POST", "/workspaces", {"name": name}, status=201)
        first = await call(it, "GET", "/workspaces?limit=2")
        assert ([each["name"] for each in first["data"]], first["has_more"]) == (["c", "b"], True)
        rest = await call(it, "GET", f"/workspaces?limit=2&before={first['data'][-1]['id']}")
        assert ([each["name"] for each in rest["data"]], rest["has_more"]) == (["a"], False)
        assert (await refused(it, "GET", f"/workspaces?before={UNKNOWN}", status=404))[0] == "not_found"
        assert (await refused(it, "GET", "/workspaces?limit=0"))[1] == "limit"


NO_WORKSPACES: list[tuple[Any, int, str | None]] = [
    ({}, 400, "name"), ({"name": ""}, 400, "name"), ({"name": " "}, 400, "name"), ({"name": 5}, 400, "name"),
    ({"name": "a", "tenant": "bob"}, 400, "tenant"), ({"name": "a", "self": 1}, 400, "self"),
    ({"name": "a", "slug": "no slug"}, 400, "slug"), ({"name": "a", "slug": None}, 400, "slug"),
    ({"name": "a", "temperature": 3}, 400, "temperature"), ({"name": "a", "mode": "agent"}, 400, "mode"),
    ({"name": "a", "metadata": {"a": "b" * 70_000}}, 400, "metadata"), ([], 400, None),
    ({"name": "a", "slug": "taken"}, 409, "slug"),
]  # fmt: skip


async def test_what_is_no_workspace() -> None:
    async with served() as it:
        await call(it, "POST", "/workspaces", {"name": "x", "slug": "taken"}, status=201)
        for body, status, param in NO_WORKSPACES:
            assert (await refused(it, "POST", "/workspaces", body, status=status))[1] == param, body
            if isinstance(body, dict) and body.get("name") == "a":
                changes = {name: value for name, value in body.items() if name != "name"}
                told = await refused(it, "PATCH", "/workspaces/default", changes, status=status)
                assert told[1] == param, changes
        assert [each["slug"] for each in (await call(it, "GET", "/workspaces"))["data"]] == ["default", "taken"]


async def test_there_are_only_so_many() -> None:
    settings = BackendSettings(chat=ChatSettings(titles="words", max_workspaces=2, max_threads=3))
    async with served(settings=settings) as it:
        statuses = await asyncio.gather(*(it.client.post("/v1/workspaces", json={"name": "a"}) for _ in range(5)))
        assert sorted(response.status_code for response in statuses) == [201, 201, 409, 409, 409]
        assert await refused(it, "POST", "/workspaces", {"name": "b"}, status=409) == ("limit_reached", None)
        statuses = await asyncio.gather(*(it.client.post("/v1/workspaces/a/threads") for _ in range(5)))
        assert sorted(response.status_code for response in statuses) == [201, 201, 201, 409, 409]
        file = {"messages": [{"role": "user", "content": "hello"}]}
        assert (await refused(it, "POST", "/workspaces/a/import", file, status=409))[0] == "limit_reached"
        [thread, *_] = (await call(it, "GET", "/threads"))["data"]
        await call(it, "DELETE", f"/threads/{thread['id']}", status=204)
        await call(it, "POST", "/workspaces/a/import", file, status=201)


# ---------------------------------------------------------------------- threads


async def test_threads_come_and_go() -> None:
    async with served() as it:
        response = await it.client.post("/v1/workspaces/default/threads")
        bare = response.json()
        assert response.headers["location"] == f"/v1/threads/{bare['id']}"
        assert (bare["object"], bare["title"], bare["title_source"], bare["live"]) == ("thread", "", "", [])
        assert (bare["leaf_id"], bare["messages"]) == (None, 0)
        thread = await begun(it, title="Ferries", slug="f", model="m", metadata={"a": 1})
        shown = await call(it, "GET", f"/threads/{thread}")
        assert (shown["slug"], shown["title_source"], shown["model"], shown["metadata"]) == ("f", "user", "m", {"a": 1})
        changed = await call(it, "PATCH", f"/threads/{thread}", {"title": "Boats", "metadata": {}})
        assert (changed["title"], changed["metadata"], changed["slug"]) == ("Boats", {}, "f")
        await begun(it, (await call(it, "POST", "/workspaces", {"name": "other"}, status=201))["slug"])
        assert [each["title"] for each in (await call(it, "GET", "/workspaces/default/threads"))["data"]] == [
            "Boats",
            "",
        ]
        page = await call(it, "GET", "/threads?limit=2")
        assert ([each["title"] for each in page["data"]], page["has_more"]) == (["", "Boats"], True)
        rest = await call(it, "GET", f"/threads?limit=2&before={page['data'][-1]['id']}")
        assert ([each["id"] for each in rest["data"]], rest["has_more"]) == ([bare["id"]], False)
        await call(it, "DELETE", f"/threads/{thread}", status=204)
        assert (await refused(it, "GET", f"/threads/{thread}", status=404)) == ("not_found", "thread_id")


NO_THREADS: list[tuple[Any, int, str | None]] = [
    ({"titel": "a"}, 400, None), ({"title": 5}, 400, "title"), ({"title": "a" * 501}, 400, "title"),
    ({"slug": ""}, 400, "slug"), ({"slug": "taken"}, 409, "slug"), ({"metadata": []}, 400, "metadata"),
    ({"model": "m" * 501}, 400, "model"), ({"title": None}, 400, "title"), ([], 400, None),
]  # fmt: skip


async def test_what_is_no_thread() -> None:
    async with served() as it:
        thread = await begun(it)
        await begun(it, slug="taken")
        for body, status, param in NO_THREADS:
            for method, path in (("POST", "/workspaces/default/threads"), ("PATCH", f"/threads/{thread}")):
                assert (await refused(it, method, path, body, status=status))[1] == param, body
        assert len((await call(it, "GET", "/threads"))["data"]) == 2


async def test_nothing_is_there_that_is_not_there() -> None:
    async with served() as it:
        thread = await begun(it)
        message = (await asked(it, thread, "1"))["answer"]["id"]
        other = await begun(it)
        for method, path, body in (
            ("GET", f"/workspaces/{UNKNOWN}", None), ("PATCH", "/workspaces/no", {}),
            ("DELETE", "/workspaces/no", None),
            ("GET", "/workspaces/no/threads", None), ("POST", "/workspaces/no/threads", {}),
            ("POST", "/workspaces/no/import", {"messages": []}), ("GET", f"/threads?before={UNKNOWN}", None),
            ("GET", "/search?q=a&workspace=no", None),
            ("PATCH", f"/threads/{UNKNOWN}", {}), ("DELETE", f"/threads/{UNKNOWN}", None),
            ("GET", f"/threads/{UNKNOWN}/messages", None), ("POST", f"/threads/{UNKNOWN}/messages", {"content": "1"}),
            ("POST", f"/threads/{UNKNOWN}/cancel", None), ("GET", f"/threads/{UNKNOWN}/export", None),
            ("POST", f"/threads/{UNKNOWN}/leaf", {"message_id": message}),
            ("POST", f"/threads/{other}/leaf", {"message_id": message}),
            ("GET", f"/threads/{other}/messages?leaf={message}", None),
            ("GET", f"/threads/{other}/messages?before={message}", None),
            ("GET", f"/threads/{thread}/messages?before={UNKNOWN}", None),
            ("GET", f"/messages/{UNKNOWN}", None), ("DELETE", f"/messages/{UNKNOWN}", None),
            ("GET", "/threads/%00", None), ("GET", "/workspaces/%00", None),
        ):  # fmt: skip
            assert (await refused(it, method, path, body, status=404))[0] == "not_found", path


def token(who: str, scope: str = "chat documents") -> dict[str, str]:
    claims = {"sub": who, "scope": scope, "exp": time.time() + 600}
    return {"authorization": f"Bearer {jwt.encode(claims, SECRET, 'HS256')}"}


async def test_another_tenants_are_not_there() -> None:
    async with served(server=ServerSettings(), identity=IdentitySettings(jwt_secret=SECRET)) as it:
        it.client.headers.update(token("ann"))
        thread = await begun(it)
        response = await it.client.post(f"/v1/threads/{thread}/messages", json={"content": "1"})
        message = response.headers["x-message-id"]
        it.client.headers.update(token("bob"))
        assert (await call(it, "GET", "/threads"))["data"] == []
        assert (await call(it, "GET", "/search?q=1"))["data"] == []
        for path in (f"/threads/{thread}", f"/threads/{thread}/messages", f"/messages/{message}"):
            await refused(it, "GET", path, status=404)
        for path in (f"/threads/{thread}", f"/messages/{message}"):
            await refused(it, "DELETE", path, status=404)
        await refused(it, "POST", f"/threads/{thread}/messages", {"content": "2"}, status=404)
        it.client.headers.update(token("ann"))
        assert await contents(it, thread) == ["1", "answer 1"]


async def test_scopes_say_who_may_what() -> None:
    async with served(server=ServerSettings(), identity=IdentitySettings(jwt_secret=SECRET)) as it:
        await refused(it, "GET", "/threads", status=401)
        it.client.headers.update(token("ann", "read"))
        await call(it, "GET", "/threads")
        for method, path in (
            ("POST", "/workspaces"), ("POST", "/workspaces/default/threads"), ("POST", "/documents"),
            ("POST", "/threads/a/messages"), ("DELETE", "/messages/a"), ("POST", "/search"),
        ):  # fmt: skip
            assert (await refused(it, method, path, {}, status=403))[0] == "insufficient_scope"
        it.client.headers.update(token("ann", "documents"))
        for path in ("/workspaces", "/threads", "/threads/a", "/messages/a", "/search?q=a"):
            assert (await refused(it, "GET", path, status=403))[0] == "insufficient_scope"


# ---------------------------------------------------------------------- asking


def frames(response: httpx.Response) -> list[Any]:
    return [(message.event, json.loads(message.data)) for message in Parser().feed(response.content)]


async def test_an_answer_is_streamed_and_kept() -> None:
    async with served() as it:
        thread = await begun(it)
        response = await it.client.post(f"/v1/threads/{thread}/messages", json={"content": "1"})
        assert response.headers["content-type"].startswith("text/event-stream")
        assert "".join(data["text"] for event, data in frames(response) if event == "text") == "answer 1"
        listed = await call(it, "GET", f"/threads/{thread}/messages")
        [question, answer] = listed["data"]
        assert (listed["object"], listed["has_more"]) == ("list", False)
        assert answer["id"] == response.headers["x-message-id"]
        assert answer["stream_id"] == response.headers["x-stream-id"]
        assert (question["role"], question["content"], question["stream_id"]) == ("user", "1", None)
        assert (answer["role"], answer["status"], answer["content"]) == ("assistant", "done", "answer 1")
        assert (answer["finish_reason"], answer["provider"], answer["model"]) == ("stop", "scripted", "m")
        assert (answer["usage"]["completion_tokens"], answer["error"], answer["sources"]) == (2, None, [])
        assert (answer["metadata"]["confidence"], answer["metadata"]["hallucination"]) == (None, None)
        assert answer["metadata"]["hallucination_reason"] == "no documents were used"
        assert answer["siblings"] == {"index": 0, "count": 1, "ids": [answer["id"]]}
        assert TIME.fullmatch(answer["finished_at"])
        shown = await call(it, "GET", f"/threads/{thread}")
        assert (shown["title"], shown["leaf_id"], shown["messages"]) == ("1", answer["id"], 2)


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
async def test_an_answer_comes_in_any_dialect(dialect: str) -> None:
    async with served() as it:
        thread = await begun(it)
        response = await it.client.post(f"/v1/threads/{thread}/messages", json={"content": "1", "dialect": dialect})
        assert response.status_code == 200
        assert "answer" in response.text
        again = await it.client.get(f"/v1/streams/{response.headers['x-stream-id']}/events?dialect={dialect}")
        assert "answer" in again.text


async def test_an_answer_is_joined_by_its_stream() -> None:
    gated = Gated()
    async with served(gated) as it:
        thread = await begun(it)
        body = {"content": "1", "model": "gated", "stream": False}
        response = await it.client.post(f"/v1/threads/{thread}/messages", json=body)
        told = response.json()
        assert response.status_code == 201
        assert response.headers["location"] == f"/v1/messages/{told['answer']['id']}"
        assert told["object"] == "thread.turn"
        stream = told["stream_id"]
        assert (told["question"]["content"], told["answer"]["status"]) == ("1", "streaming")
        await (await it.hub.open(stream, owner="")).wait_head(10.0)
        live = [{"stream_id": stream, "message_id": told["answer"]["id"], "status": "streaming"}]
        assert (await call(it, "GET", f"/threads/{thread}"))["live"] == live
        assert [each["live"] for each in (await call(it, "GET", "/threads"))["data"]] == [live]
        listed = (await call(it, "GET", "/workspaces/default/threads"))["data"]
        assert [each["live"] for each in listed] == [live]
        assert (await call(it, "PATCH", f"/threads/{thread}", {"title": "a"}))["live"] == live
        [_, answer] = (await call(it, "GET", f"/threads/{thread}/messages"))["data"]
        assert (answer["content"], answer["status"], answer["stream_id"]) == ("half", "streaming", stream)
        assert answer["finished_at"] is None
        assert "half" in (await it.client.get(f"/v1/threads/{thread}/export?format=markdown")).text
        gated.gate.set()
        joined = await it.client.get(f"/v1/streams/{stream}/events")
        assert "".join(data["text"] for event, data in frames(joined) if event == "text") == "half and half"
        assert (await call(it, "GET", f"/messages/{answer['id']}"))["content"] == "half and half"
        assert (await call(it, "GET", f"/threads/{thread}"))["live"] == []


async def test_asked_once_more_with_its_key_it_is_the_same_answer() -> None:
    async with served() as it:
        thread = await begun(it)
        place, key = f"/v1/threads/{thread}/messages", {"Idempotency-Key": "one"}
        first = await it.client.post(place, json={"content": "1"}, headers=key)
        cursor = Parser().feed(first.content)[-2].id
        again = await it.client.post(place, json={"content": "1"}, headers=key)
        assert again.content == first.content
        assert again.headers["x-message-id"] == first.headers["x-message-id"]
        rest = await it.client.post(place, json={"content": "1"}, headers=key | {"Last-Event-ID": cursor})
        assert [event for event, _ in frames(rest)] == ["done"]
        gone = await it.client.post(
            place, json={"content": "1"}, headers=key | {"Last-Event-ID": Parser().feed(first.content)[-1].id}
        )
        assert gone.status_code == 204
        told = await it.client.post(place, json={"content": "1", "stream": False}, headers=key)
        assert (told.status_code, told.json()["answer"]["content"]) == (200, "answer 1")
        other = await it.client.post(place, json={"content": "2"}, headers=key)
        assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
        await call(it, "DELETE", f"/messages/{told.json()['question']['id']}", status=204)
        told = await it.client.post(place, json={"content": "1", "stream": False}, headers=key)
        assert told.status_code == 404
        assert (await it.client.post(place, json={"content": "1"}, headers=key)).content == first.content
        assert len(it.models.asked) == 1


async def test_parameters_and_parts_reach_the_model() -> None:
    async with served() as it:
        thread = await begun(it)
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
        told = await asked(
            it, thread, [{"type": "text", "text": "what is"}, image, {"type": "text", "text": "this?"}],
            params={"temperature": 0.5, "max_tokens": 7}, priority="high", fallback="off", passages=0,
        )  # fmt: skip
        [request] = it.models.asked
        assert request.params == {"temperature": 0.5, "max_tokens": 7}
        assert request.fallback is False
        assert request.messages[-1]["content"] == [{"type": "text", "text": "what is\nthis?"}, image]
        assert (told["question"]["content"], told["question"]["parts"]) == ("what is\nthis?", [image])
        await call(it, "PATCH", "/workspaces/default", {"temperature": 0.1})
        await asked(it, thread, "1")
        assert it.models.asked[-1].params == {"temperature": 0.1}
        assert await contents(it, thread, "?limit=1") == ["answer 1"]


NO_QUESTIONS: list[tuple[Any, int, str | None]] = [
    ({}, 400, "content"), ({"content": ""}, 400, "content"), ({"content": " \n"}, 400, "content"),
    ({"content": 5}, 400, "content"), ({"content": None}, 400, "content"), ({"content": "1", "x": 1}, 400, None),
    ({"content": "1" * 200_001}, 400, "content"), ({"content": [{"text": "a"}]}, 400, "content[0].type"),
    ({"content": [{"type": "text"}]}, 400, "content[0].text"), ({"content": []}, 400, "content"),
    ({"content": [{"type": "image_url"}] * 11}, 400, "content"), ({"content": ["a"]}, 400, "content[0]"),
    ({"content": "1", "dialect": "morse"}, 400, "dialect"), ({"content": "1", "model": "no"}, 404, "model"),
    ({"content": "1", "mode": "agent"}, 400, "mode"), ({"content": "1", "search_mode": "x"}, 400, "search_mode"),
    ({"content": "1", "passages": 101}, 400, "passages"), ({"content": "1", "priority": "x"}, 400, "priority"),
    ({"content": "1", "params": {"temperature": "hot"}}, 400, "params.temperature"),
    ({"content": "1", "params": {"model": "m"}}, 400, "params.model"),
    ({"content": "1", "params": {"n": 2}}, 400, "params.n"), ({"content": "1", "params": []}, 400, "params"),
    ({"content": "1", "selected_document_ids": [UNKNOWN]}, 404, "selected_document_ids"),
    ({"content": "1", "selected_document_ids": [1] * 101}, 400, "selected_document_ids"),
    ({"content": "1", "edit": UNKNOWN}, 404, "edit"), ({"regenerate": UNKNOWN}, 404, "regenerate"),
    ({"content": "1", "regenerate": UNKNOWN}, 400, "content"),
    ({"edit": UNKNOWN, "regenerate": UNKNOWN}, 400, "regenerate"),
]  # fmt: skip


async def test_what_cannot_be_asked() -> None:
    async with served() as it:
        thread = await begun(it)
        for body, status, param in NO_QUESTIONS:
            _, told = await refused(it, "POST", f"/threads/{thread}/messages", body, status=status)
            assert told == param, body
        assert await contents(it, thread, "?all=true") == []


async def test_a_body_that_is_no_question() -> None:
    async with served() as it:
        place = f"/v1/threads/{await begun(it)}/messages"
        deep = b'{"content":"1","params":{"a":' + b"[" * 200 + b"]" * 200 + b"}}"
        for content in (b"", b"[]", b"{", b"\xff", deep, b'{"content":' + b"[" * 5000):
            assert (await it.client.post(place, content=content)).status_code == 400
        response = await it.client.post(place, json={"content": "1"}, headers={"Idempotency-Key": "ä".encode()})
        assert response.status_code == 400
        assert (await it.client.get("/v1/threads?all=maybe")).status_code == 200
        assert (await it.client.get(f"{place}?all=maybe")).status_code == 400
        assert (await it.client.put(place)).status_code == 405


async def test_a_provider_that_fails_is_told_and_kept() -> None:
    async with served() as it:
        thread = await begun(it)
        answer = (await asked(it, thread, "1", model="breaks"))["answer"]
        assert (answer["status"], answer["content"]) == ("failed", "half")
        assert (answer["error"]["message"], answer["error"]["status"]) == ("the model is gone", 503)
        response = await it.client.post(
            f"/v1/threads/{thread}/messages", json={"content": "2", "model": "refuses", "dialect": "openai_chat"}
        )
        assert (response.status_code, response.json()["error"]["message"]) == (400, "no such deployment")
        last = (await call(it, "GET", f"/threads/{thread}/messages"))["data"][-1]
        assert (last["status"], last["content"]) == ("failed", "")


async def test_a_viewer_that_leaves_does_not_stop_the_answer() -> None:
    gated = Gated()
    async with served(gated) as it:
        thread = await begun(it)
        body = {"content": "1", "model": "gated"}
        async with it.client.stream("POST", f"/v1/threads/{thread}/messages", json=body) as response:
            stream = response.headers["x-stream-id"]
            async for chunk in response.aiter_bytes():
                if b"half" in chunk:
                    break
        gated.gate.set()
        await it.ended(stream)
        assert await contents(it, thread) == ["1", "half and half"]


# ---------------------------------------------------------------------- branches


async def test_branches() -> None:
    async with served() as it:
        thread = await begun(it)
        first = await asked(it, thread, "1")
        second = await asked(it, thread, "2")
        again = await asked(it, thread, regenerate=second["answer"]["id"])
        assert again["question"]["id"] == second["question"]["id"]
        ids = [second["answer"]["id"], again["answer"]["id"]]
        assert again["answer"]["siblings"] == {"index": 1, "count": 2, "ids": ids}
        edited = await asked(it, thread, "1b", edit=first["question"]["id"])
        assert edited["question"]["siblings"]["index"] == 1
        assert await contents(it, thread) == ["1b", "answer 1b"]
        assert await contents(it, thread, f"?leaf={ids[0]}") == ["1", "answer 1", "2", "answer 2"]
        everything = await call(it, "GET", f"/threads/{thread}/messages?all=true")
        assert [message["content"] for message in everything["data"]] == [
            "1", "answer 1", "2", "answer 2", "answer 2", "1b", "answer 1b",
        ]  # fmt: skip
        assert (await refused(it, "GET", f"/threads/{thread}/messages?all=true&leaf={ids[0]}"))[1] == "leaf"
        shown = await call(it, "POST", f"/threads/{thread}/leaf", {"message_id": first["question"]["id"]})
        assert (shown["leaf_id"], shown["messages"]) == (ids[1], 7)
        assert await contents(it, thread) == ["1", "answer 1", "2", "answer 2"]
        await call(it, "DELETE", f"/messages/{second['question']['id']}", status=204)
        assert await contents(it, thread) == ["1", "answer 1"]
        for body in ({}, {"message_id": 5}, {"message_id": ""}, {"message_id": "a" * 65}):
            await refused(it, "POST", f"/threads/{thread}/leaf", body)


async def test_messages_are_read_page_by_page() -> None:
    async with served() as it:
        thread = await begun(it)
        for number in "123":
            await asked(it, thread, number)
        for query in ("", "&all=true"):
            page = await call(it, "GET", f"/threads/{thread}/messages?limit=4{query}")
            seen = [[message["content"] for message in page["data"]]]
            assert page["has_more"]
            page = await call(it, "GET", f"/threads/{thread}/messages?limit=4&before={page['data'][0]['id']}{query}")
            seen.insert(0, [message["content"] for message in page["data"]])
            assert not page["has_more"]
            assert seen == [["1", "answer 1"], ["2", "answer 2", "3", "answer 3"]]
            last = await call(it, "GET", f"/threads/{thread}/messages?before={page['data'][0]['id']}{query}")
            assert last == {"object": "list", "data": [], "has_more": False}


async def test_what_is_at_work_is_stopped() -> None:
    async with served() as it:
        threads = [await begun(it) for _ in range(3)]
        streams = {}
        for thread in threads:
            body = {"content": "1", "model": "gated", "stream": False}
            told = await call(it, "POST", f"/threads/{thread}/messages", body, status=201)
            await (await it.hub.open(told["stream_id"], owner="")).wait_head(10.0)
            streams[thread] = told["stream_id"]
        [stopped] = (await call(it, "POST", f"/threads/{threads[0]}/cancel"))["data"]
        assert (stopped["status"], stopped["content"]) == ("cancelled", "half")
        assert (await call(it, "POST", f"/threads/{threads[0]}/cancel"))["data"] == []
        await call(it, "DELETE", f"/threads/{threads[1]}", status=204)
        assert (await call(it, "GET", f"/streams/{streams[threads[1]]}"))["status"] == "cancelled"
        await call(it, "DELETE", "/workspaces/default", status=204)
        assert (await call(it, "GET", f"/streams/{streams[threads[2]]}"))["status"] == "cancelled"
        assert (await call(it, "GET", "/threads"))["data"] == []


async def test_a_message_that_is_deleted_takes_its_answer_along() -> None:
    async with served() as it:
        thread = await begun(it)
        body = {"content": "1", "model": "gated", "stream": False}
        told = await call(it, "POST", f"/threads/{thread}/messages", body, status=201)
        await call(it, "DELETE", f"/messages/{told['question']['id']}", status=204)
        assert (await call(it, "GET", f"/streams/{told['stream_id']}"))["status"] == "cancelled"
        assert (await call(it, "GET", f"/threads/{thread}"))["leaf_id"] is None


# ---------------------------------------------------------------------- files and search


async def test_a_thread_goes_out_and_comes_in_again() -> None:
    async with served() as it:
        thread = await begun(it, title='Über/"ferries"\n')
        first = await asked(it, thread, "# one")
        await asked(it, thread, "two", edit=first["question"]["id"])
        response = await it.client.get(f"/v1/threads/{thread}/export")
        assert response.headers["content-type"] == "application/json"
        disposition = response.headers["content-disposition"]
        assert re.fullmatch(
            r'attachment; filename="uber-ferries-[\d-]+\.json"; filename\*=UTF-8\'\'uber-ferries-[\d-]+\.json',
            disposition,
        )
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in response.headers["content-security-policy"]
        copy = await call(it, "POST", "/workspaces/default/import", response.json(), status=201)
        assert copy["id"] != thread
        assert copy["title"] == 'Über/"ferries"'
        assert await contents(it, copy["id"]) == ["two", "answer two"]
        assert await contents(it, copy["id"], "?all=true") == ["# one", "answer # one", "two", "answer two"]
        text = await it.client.get(f"/v1/threads/{thread}/export?format=markdown")
        assert text.headers["content-type"] == "text/markdown; charset=utf-8"
        assert text.text.startswith('# Über/"ferries"\n')
        assert (await refused(it, "GET", f"/threads/{thread}/export?format=pdf"))[1] == "format"


async def test_what_is_no_file_of_a_conversation() -> None:
    async with served() as it:
        bodies: tuple[Any, ...] = (
            [],
            {},
            {"format": "x", "messages": []},
            {"messages": [{"role": "robot"}]},
            {"messages": 5},
        )
        for body in bodies:
            await refused(it, "POST", "/workspaces/default/import", body)
        assert (await call(it, "GET", "/threads"))["data"] == []


async def test_what_was_said_is_found() -> None:
    async with served() as it:
        thread = await begun(it, title="Boats")
        told = await asked(it, thread, "When does the FÊRRY leave?")
        found = await call(it, "GET", "/search?q=ferry%20leave&limit=1")
        assert (found["object"], found["has_more"]) == ("list", True)
        [hit] = found["data"]
        assert (hit["object"], hit["thread"]["id"], hit["thread"]["title"]) == ("search.hit", thread, "Boats")
        assert hit["message"]["id"] == told["answer"]["id"]
        assert hit["snippet"]["text"][hit["snippet"]["start"] : hit["snippet"]["end"]] == "FÊRRY"
        [hit] = (await call(it, "GET", "/search?q=boats&workspace=default"))["data"]
        assert hit["message"] is None
        other = await call(it, "POST", "/workspaces", {"name": "b"}, status=201)
        assert (await call(it, "GET", f"/search?q=boats&workspace={other['id']}"))["data"] == []
        for query in ("", "?q=", "?q=%20", f"?q={'a' * 201}", "?q=" + "+".join("abcdefghijklmnopqr")):
            assert (await refused(it, "GET", f"/search{query}"))[1] == "q"


# ---------------------------------------------------------------------- the description


async def test_the_description_is_whole() -> None:
    """Every schema that is named is there, and every route of ours tells what it answers."""
    async with served() as it:
        described = (await it.client.get("/openapi.json")).json()
        schemas = described["components"]["schemas"]
        named = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(described)))
        assert named <= set(schemas)
        for name in ("AskBody", "MessageView", "ThreadView", "WorkspaceView", "NewWorkspace", "DocumentView"):
            assert schemas[name]["properties"]
        paths = described["paths"]
        assert set(paths["/v1/threads/{thread}"]) == {"get", "patch", "delete"}
        assert set(paths["/v1/search"]) == {"get", "post"}
        assert paths["/v1/threads/{thread}/messages"]["post"]["responses"]["201"]


async def test_an_answer_that_is_deleted_while_it_is_looked_at_is_left_out() -> None:
    """The page is still worth showing: a 404 would hide the whole conversation."""
    gate = Gate()
    async with backed(ChatModels({"m": gate})) as world:
        asked = await world.backend.ask(world.ask(), NewStream())
        await gate.reached.wait()
        messages = await world.messages()
        assert asked.turn is not None
        await world.backend.conversations.messages.delete("", asked.turn.answer.id)
        gate.open.set()
        await asked.channel.wait_end()
        assert [message.role for message in await current(world.backend, messages)] == ["user"]

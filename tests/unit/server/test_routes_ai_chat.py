"""`/api/ai-chat/…`: whose conversation it is, which model answers, and what is refused with which words."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import jwt
import pytest
from fastapi import FastAPI

from headwater.chat.settings import AiChatSettings, ChatSettings
from headwater.chat.starts import Starts
from headwater.errors import UnknownItem
from headwater.events import Done, Text, Usage
from headwater.identity import IdentitySettings
from headwater.request import ChatRequest
from headwater.server import ServerSettings
from headwater.server.answering import Answering
from headwater.server.ports import Services
from headwater.server.routes_ai_chat import nest_error, routes
from headwater.streams import StreamSettings, Writer
from tests.integration.chat_kit import ChatModels, Chatting, chatting

STREAM, SSE = "/api/ai-chat/stream", "/api/ai-chat/stream-sse"
SECRET = "a secret that is long enough for HS256"


async def answers(writer: Writer, request: ChatRequest) -> None:
    writer.write([Text("Hello"), Usage(1, 1), Done("stop")])
    await asyncio.sleep(0)


@pytest.fixture
async def it() -> AsyncIterator[Chatting]:
    async with chatting(ChatModels({"m": answers, "ai/gpt-3.5-turbo": answers, "ai/m": answers})) as running:
        yield running


@asynccontextmanager
async def api(
    it: Chatting, ai: AiChatSettings, server: ServerSettings | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """The routes alone, with settings of their own, in this process."""
    services = Services(it.hub, it.models, server or ServerSettings(), it.backend)
    app = FastAPI()
    app.include_router(routes(services, Answering(services, it.backend, Starts(it.store)), ai))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        yield client


def prompt(it: Chatting) -> list[str]:
    """What was said before the question, of the last request that reached a model."""
    return [str(message["content"]) for message in it.models.asked[-1].messages[1:-1]]


async def ask(client: httpx.AsyncClient, message: str = "Hi", **body: Any) -> httpx.Response:
    response = await client.post(STREAM, json={"message": message, **body})
    assert response.status_code == 200, response.text
    return response


# ---------------------------------------------------------------------- whose conversation


async def test_one_session_in_two_projects_is_two_conversations(it: Chatting) -> None:
    places = [{}, {"projectId": "p"}, {"projectId": "q"}, {"currentOrganizationId": "p"}, {"workspaceId": "w"}]
    for place in places:
        await ask(it.client, "first", sessionId="s", **place)
        assert prompt(it) == []
    for place in places:
        await ask(it.client, "second", sessionId="s", **place)
        assert prompt(it) == ["first", "Hello"]
    threads = await it.backend.conversations.threads.list("")
    assert {"session_id": "s", "project_id": "q"} in [thread.metadata for thread in threads]
    assert len(threads) == len(places)


async def test_any_text_names_a_session(it: Chatting) -> None:
    for session in ("../../x", "a b", "é\x00", "s" * 200, '"; drop table'):
        await ask(it.client, "first", sessionId=session)
        await ask(it.client, "second", sessionId=session)
        assert prompt(it) == ["first", "Hello"]


async def test_without_a_session_nothing_is_kept(it: Chatting) -> None:
    for session in ({}, {"sessionId": None}, {"sessionId": " "}):
        await ask(it.client, **session)
        assert prompt(it) == []
    assert await it.backend.conversations.threads.list("") == []


async def test_a_history_of_the_callers_own_is_the_prompts(it: Chatting) -> None:
    own = [{"role": "user", "content": f"question {at}", "id": 1} for at in range(30)]
    for session in ({}, {"sessionId": "s"}):
        await ask(it.client, history=[{"role": "system", "content": "Be brief."}, *own], **session)
        asked = it.models.asked[-1].messages
        assert asked[0]["content"] == f"{ChatSettings().system_prompt}\n\nBe brief."
        assert str(asked[1]["content"]).startswith("question 0\n\nquestion 1\n\n")
    # An empty one, as the reference's hook sends it, is none.
    await ask(it.client, history=[], sessionId="s")
    assert prompt(it) == ["Hi", "Hello"]


async def test_documents_of_the_workspace_are_cited(it: Chatting) -> None:
    await it.upload("ferry.txt", "The ferry leaves at nine in the morning. " * 5, workspace="island")
    response = await ask(it.client, "When does the ferry leave?", workspaceId="island")
    assert '"type":"sources"' in response.text
    assert "nine in the morning" in str(it.models.asked[-1].messages[0]["content"])


async def test_parameters_reach_the_model_from_body_options_and_query(it: Chatting) -> None:
    await ask(it.client, temperature=0.5, options={"maxTokens": 5})
    assert it.models.asked[-1].params == {"temperature": 0.5, "max_tokens": 5}
    history = json.dumps([{"role": "user", "content": "before"}])
    query = {"message": "Hi", "temperature": "0.25", "maxTokens": "7", "model": "m", "history": history}
    assert (await it.client.get(SSE, params=query)).status_code == 200
    assert it.models.asked[-1].params == {"temperature": 0.25, "max_tokens": 7}
    assert it.models.asked[-1].messages[1]["content"] == "before\n\nHi"


async def test_an_idempotency_key_asks_once(it: Chatting) -> None:
    headers, body = {"Idempotency-Key": "k"}, {"message": "Hi", "sessionId": "s"}
    first, second = [await it.client.post(STREAM, json=body, headers=headers) for _ in range(2)]
    assert first.headers["x-stream-id"] == second.headers["x-stream-id"]
    assert first.text == second.text
    assert len(it.models.asked) == 1
    other = await it.client.post(STREAM, json=body | {"message": "Ho"}, headers=headers)
    assert (other.status_code, other.json()["statusCode"]) == (422, 422)


# ---------------------------------------------------------------------- settings


async def test_switched_off_both_routes_answer_503(it: Chatting) -> None:
    async with api(it, AiChatSettings(enabled=False)) as client:
        for response in (await client.post(STREAM, json={"message": "Hi"}), await client.get(SSE)):
            assert response.status_code == 503
            assert response.json() == {
                "statusCode": 503,
                "message": "the AI is switched off (ai_enabled)",
                "error": "Service Unavailable",
            }


@pytest.mark.parametrize(
    ("settings", "named", "model"),
    [
        (AiChatSettings(), None, "m"),
        (AiChatSettings(model="ai/m"), None, "ai/m"),
        (AiChatSettings(model="gpt-3.5-turbo", provider="ai"), None, "ai/gpt-3.5-turbo"),
        (AiChatSettings(model="gpt-3.5-turbo", provider="ai"), "m", "ai/m"),
    ],
)
async def test_the_model_of_the_routes(it: Chatting, settings: AiChatSettings, named: str | None, model: str) -> None:
    async with api(it, settings) as client:
        await ask(client, model=named)
        assert it.models.asked[-1].model == model


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b"{}", "message"),
        (b'{"message": ""}', "length >= 1"),
        (b'{"message": " "}', "the message is empty"),
        (b'{"message": 1}', "Expected `str`"),
        (b'{"message": "x", "temperature": 3}', "$.temperature"),
        (b'{"message": "x", "history": [{"role": "tool", "content": "x"}]}', "role must be one of"),
        (b'{"message": "x", "sessionId": "%s"}' % (b"s" * 201), "sessionId has more than 200 characters"),
        (b'{"message": "x", "workspaceId": "%s"}' % (b"s" * 201), "workspaceId has more than"),
        (b'{"message": "x", "projectId": "%s"}' % (b"s" * 201), "projectId has more than"),
        (b'{"message": "x", "currentOrganizationId": "%s"}' % (b"s" * 201), "currentOrganizationId has more than"),
        (b'{"message": "%s"}' % (b"x" * 200_001), "longer than 200000"),
    ],
)
async def test_what_is_wrong_is_told_as_nest_does(it: Chatting, body: bytes, words: str) -> None:
    response = await it.client.post(STREAM, content=body)
    assert (response.status_code, response.headers["content-type"]) == (400, "application/json")
    told = response.json()
    assert (told["statusCode"], told["error"]) == (400, "Bad Request")
    assert words in told["message"]
    assert it.models.asked == []


async def test_an_unknown_model_is_404_and_leaves_no_message(it: Chatting) -> None:
    response = await it.client.post(STREAM, json={"message": "Hi", "sessionId": "s", "model": "nobody"})
    assert response.json() == {"statusCode": 404, "message": "there is no model 'nobody'", "error": "Not Found"}
    [thread] = await it.backend.conversations.threads.list("")
    assert thread.messages == 0


async def test_there_are_only_so_many_messages(it: Chatting) -> None:
    async with api(it, AiChatSettings(), ServerSettings(max_messages=1)) as client:
        history = [{"role": "user", "content": "x"}] * 2
        response = await client.post(STREAM, json={"message": "Hi", "history": history})
        assert (response.status_code, response.json()["message"]) == (400, "more than 1 messages")


@pytest.mark.parametrize("query", ["", "?message=", "?message=x&history=[", "?message=x&maxTokens=0"])
async def test_the_query_is_checked_as_well(it: Chatting, query: str) -> None:
    response = await it.client.get(SSE + query)
    assert (response.status_code, response.json()["statusCode"]) == (400, 400)


@pytest.mark.parametrize(
    ("site", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)]
)
async def test_a_link_of_another_site_asks_nothing(it: Chatting, site: str, status: int) -> None:
    headers = {"sec-fetch-site": site, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    response = await it.client.get(f"{SSE}?message=x", headers=headers)
    assert response.status_code == status
    assert len(it.models.asked) == (status == 200)


async def test_nobody_is_let_in_when_all_places_are_taken() -> None:
    streams = StreamSettings(heartbeat_s=30.0, grace_s=0.5, max_connections=0)
    async with chatting(ChatModels({"m": answers}), streams=streams) as it:
        response = await it.client.post(STREAM, json={"message": "Hi"})
        assert (response.status_code, response.json()["error"]) == (503, "Service Unavailable")


# ---------------------------------------------------------------------- callers


def token(**claims: object) -> dict[str, str]:
    return {"Authorization": "Bearer " + jwt.encode({"exp": 4_000_000_000, "sub": "ann", **claims}, SECRET)}


@pytest.fixture
async def signed() -> AsyncIterator[Chatting]:
    settings = IdentitySettings(jwt_secret=SECRET, jwt_tenant="organization")
    async with chatting(ChatModels({"m": answers}), server=ServerSettings(), identity=settings) as running:
        yield running


async def test_an_organization_is_one_of_the_callers(signed: Chatting) -> None:
    member = token(org="acme", orgs=["beta"])
    for organization, status in (("acme", 200), ("beta", 200), ("other", 403), ("", 200)):
        body = {"message": "Hi", "currentOrganizationId": organization}
        response = await signed.client.post(STREAM, json=body, headers=member)
        assert response.status_code == status
    query = {"message": "Hi", "currentOrganizationId": "other"}
    response = await signed.client.get(SSE, params=query, headers=member)
    assert response.json() == {
        "statusCode": 403,
        "message": "the caller does not belong to this organisation",
        "error": "Forbidden",
    }


async def test_sessions_are_a_tenants_own(signed: Chatting) -> None:
    for organization in ("acme", "beta"):
        response = await signed.client.post(
            STREAM, json={"message": "Hi", "sessionId": "s"}, headers=token(org=organization)
        )
        assert response.status_code == 200
        assert prompt(signed) == []
    with pytest.raises(UnknownItem):
        await signed.backend.conversations.threads.get("", 1)


async def test_a_ticket_opens_the_eventsource(signed: Chatting) -> None:
    who = token(org="acme")
    ticket = (await signed.client.post("/v1/tickets", json={"path": SSE}, headers=who)).json()["ticket"]
    response = await signed.client.get(SSE, params={"message": "Hi", "ticket": ticket})
    assert response.status_code == 200
    assert (await signed.client.get(SSE, params={"message": "Hi"})).status_code == 401


async def test_who_may_only_read_asks_nothing(signed: Chatting) -> None:
    reader = token(org="acme", scope="read")
    calls: list[Callable[[], Any]] = [
        lambda: signed.client.get(f"{SSE}?message=x", headers=reader),
        lambda: signed.client.post(STREAM, json={"message": "x"}, headers=reader),
    ]
    for call in calls:
        assert (await call()).status_code == 403


def test_a_status_without_a_name() -> None:
    assert nest_error("gone", "provider_rejected", 529) == {"statusCode": 529, "message": "gone", "error": "Error"}

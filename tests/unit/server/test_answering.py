"""Questions by HTTP: starts by GET, keys, budgets; with a real server, database and sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from headwater.events import Done, Text, Usage
from headwater.identity import IdentitySettings
from headwater.identity.meters import Meters
from headwater.identity.principal import Meter, Principal
from headwater.request import ChatRequest
from headwater.sse import Message, Parser
from headwater.streams import Writer
from tests.integration.chat_kit import ChatModels, Chatting, chatting

PATH = "/api/ai-chat/stream-sse"


async def says(writer: Writer, request: ChatRequest) -> None:
    writer.write([Text("At nine."), Usage(9, 2), Done("stop")])


@pytest.fixture
async def served() -> AsyncIterator[Chatting]:
    async with chatting(ChatModels({"m": says})) as running:
        yield running


def messages_of(response: httpx.Response) -> list[Message]:
    return Parser().feed(response.content)


async def get(served: Chatting, *, last: str = "", **query: str) -> httpx.Response:
    headers = {"Last-Event-ID": last} if last else {}
    return await served.client.get(PATH, params={"message": "When?"} | query, headers=headers)


async def test_each_get_is_a_new_answer(served: Chatting) -> None:
    one, other = await get(served), await get(served)
    assert one.headers["x-stream-id"] != other.headers["x-stream-id"]
    assert len(served.models.asked) == 2


async def test_a_cursor_names_the_stream_that_it_is_a_position_in(served: Chatting) -> None:
    one, other = await get(served), await get(served)
    for response in (one, other):
        first = messages_of(response)[0].id
        assert first
        again = await get(served, last=first)
        assert again.headers["x-stream-id"] == response.headers["x-stream-id"]
        assert messages_of(again) == messages_of(response)[1:]
    assert len(served.models.asked) == 2


async def test_a_cursor_of_nothing_is_a_new_answer_from_its_beginning(served: Chatting) -> None:
    response = await get(served, last="7.3")
    assert response.status_code == 200
    assert "At nine." in response.text
    assert len(served.models.asked) == 1


async def test_a_named_start_is_one_answer(served: Chatting) -> None:
    one, again = await get(served, key="k"), await get(served, key="k")
    other = await get(served, key="other")
    assert one.headers["x-stream-id"] == again.headers["x-stream-id"] != other.headers["x-stream-id"]
    assert len(served.models.asked) == 2


async def test_two_named_starts_at_once_are_one_answer(served: Chatting) -> None:
    """Two tabs of one page, or a browser that connects again before the first answer's head has come."""
    responses = await asyncio.gather(*(get(served, key="k") for _ in range(4)))
    assert len({response.headers["x-stream-id"] for response in responses}) == 1
    assert len(served.models.asked) == 1
    # Whatever the epochs that the losers noted: the cursor of the one answer still names it.
    first = messages_of(responses[0])[0].id
    again = await get(served, key="k", last=str(first))
    assert again.headers["x-stream-id"] == responses[0].headers["x-stream-id"]
    assert len(served.models.asked) == 1


async def test_a_named_start_that_was_noted_but_never_made_is_made(served: Chatting) -> None:
    """The server was killed in between, or had no room."""
    served.models.scripts.clear()
    refused = await get(served, key="k", model="m")
    assert refused.status_code == 404
    served.models.scripts["m"] = says
    made = await get(served, key="k", model="m")
    again = await get(served, key="k", model="m")
    assert made.headers["x-stream-id"] == again.headers["x-stream-id"]
    assert len(served.models.asked) == 1


@pytest.mark.parametrize(("model", "given_back"), [("m", []), ("none", ["held:1"])])
async def test_what_was_set_aside_comes_back_where_no_stream_came_of_it(
    served: Chatting, model: str, given_back: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    async def admits(*args: object) -> list[str]:
        return ["key:k", "held:1"]

    caller = Principal("", frozenset({"chat"}), meters=(Meter("key:k", tokens_per_minute=10_000),))
    monkeypatch.setattr("headwater.server.accept.principal_of", lambda request: caller)
    monkeypatch.setattr(Meters, "admit", admits)
    monkeypatch.setattr(Meters, "give_back", lambda self, names: told.extend(names))
    response = await get(served, model=model)
    assert response.status_code == (404 if given_back else 200)
    assert [name for name in told if name.startswith("held:")] == given_back
    if not given_back:
        assert served.models.asked[0].meters == ["key:k", "held:1"]


async def test_a_post_is_answered_once_a_key(served: Chatting) -> None:
    headers = {"Idempotency-Key": "k"}
    path = "/api/ai-chat/stream"
    responses = [await served.client.post(path, json={"message": "When?"}, headers=headers) for _ in range(2)]
    assert len({response.headers["x-stream-id"] for response in responses}) == 1
    assert messages_of(responses[0]) == messages_of(responses[1])
    assert len(served.models.asked) == 1


async def test_who_comes_back_with_a_key_is_not_refused_for_a_limit() -> None:
    """P9: the answer is there and was counted; a client that lost its connection asks for it again at once."""
    callers = IdentitySettings(api_keys=("k",), user_requests_per_minute=1)
    async with chatting(ChatModels({"m": says}), identity=callers) as it:
        it.client.headers["Authorization"] = "Bearer k"
        path, ask = "/v1/threads/{}/messages", {"content": "When?"}
        thread = (await it.client.post("/v1/workspaces/default/threads", json={})).json()["id"]
        first = await it.client.post(path.format(thread), json=ask, headers={"Idempotency-Key": "a"})
        assert first.status_code == 200, first.text
        other = await it.client.post(path.format(thread), json=ask, headers={"Idempotency-Key": "b"})
        assert other.status_code == 429
        again = await it.client.post(path.format(thread), json=ask, headers={"Idempotency-Key": "a"})
        assert again.status_code == 200
        assert again.headers["x-stream-id"] == first.headers["x-stream-id"]

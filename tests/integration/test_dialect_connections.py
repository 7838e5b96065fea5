"""What a connection of references 001 and 002 meets besides the answer: leaving, silence, shutdown, no room, a reset.

In this process, where the producer and the hub can be looked at; the cut-anywhere tests are beside this file.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from headwater.events import Done, Text, Usage
from headwater.request import ChatRequest
from headwater.sse import Message, Parser
from headwater.streams import StreamSettings, Writer

from .kit import Running, connected, eventually, messages_of, running

BODY = {"messages": [{"role": "user", "content": "Hi"}]}
PIECES = ["Grüß ", "dich", "!\n", "😀"]
ANSWER = "".join(PIECES)


async def answers(writer: Writer, request: ChatRequest) -> None:
    for piece in PIECES:
        writer.write([Text(piece)])
        await asyncio.sleep(0)
    writer.write([Usage(1, 4), Done("stop")])


async def endless(writer: Writer, request: ChatRequest) -> None:
    while True:
        writer.write([Text("x")])
        await asyncio.sleep(0.01)


async def hangs(writer: Writer, request: ChatRequest) -> None:
    writer.write([Text("begun")])
    await asyncio.Event().wait()


SCRIPTS = {"answers": answers, "endless": endless, "hangs": hangs}


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running(SCRIPTS) as server:
        yield server


def started_in(dialect: str, model: str = "answers") -> bytes:
    return json.dumps(BODY | {"model": model, "dialect": dialect, "stream": True}).encode()


def on_message(messages: list[Message]) -> list[dict[str, Any]]:
    """What an EventSource with `onmessage` alone is told: events without a name."""
    return [json.loads(message.data) for message in messages if message.event == "message"]


async def test_an_event_source_of_001_reads_the_answer_and_is_then_told_to_stop(server: Running) -> None:
    """It comes back by itself after every end, and only 204 keeps it away."""
    response = await server.client.post("/v1/streams", content=started_in("ai_chat"))
    url = f"/v1/streams/{response.headers['x-stream-id']}/events?dialect=ai_chat"
    messages = messages_of((await server.client.get(url)).content)
    told = on_message(messages)
    assert "".join(data.get("content", "") for data in told) == ANSWER
    assert [data["done"] for data in told] == [False] * (len(told) - 1) + [True]
    assert (await server.client.get(url, headers={"Last-Event-ID": messages[-1].id})).status_code == 204


@pytest.mark.parametrize("dialect", ["ai_chat", "streaming"])
async def test_a_stream_started_in_one_of_them_is_the_same_everywhere(server: Running, dialect: str) -> None:
    """P5. What is sent as it is made and what an ended stream tells are the same text in any dialect."""
    response = await server.client.post("/v1/streams", content=started_in(dialect))
    assert (response.status_code, response.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    stream = response.headers["x-stream-id"]
    live = [json.loads(message.data) for message in messages_of(response.content)]
    assert "".join(data.get("content", "") for data in live) == ANSWER
    for other, field in (("ai_chat", "content"), ("streaming", "delta"), ("events", "text")):
        again = await server.client.get(f"/v1/streams/{stream}/events?dialect={other}")
        data = [json.loads(message.data) for message in messages_of(again.content)]
        assert "".join(str(part.get(field, "")) for part in data) == ANSWER


@pytest.mark.parametrize("dialect", ["ai_chat", "streaming"])
async def test_an_unknown_cursor_is_answered_with_a_reset_and_everything(server: Running, dialect: str) -> None:
    response = await server.client.post("/v1/streams", content=started_in(dialect))
    url = f"/v1/streams/{response.headers['x-stream-id']}/events?dialect={dialect}"
    replay = messages_of((await server.client.get(url, headers={"Last-Event-ID": "9.9"})).content)
    assert (replay[0].event, replay[0].id) == ("reset", "")
    assert replay[1:] == messages_of((await server.client.get(url)).content)
    # 001's reader takes every `data:` line, whatever its event: this one must look like nothing to it.
    if dialect == "ai_chat":
        assert json.loads(replay[0].data) == {"done": False, "reset": "epoch_changed"}


@pytest.mark.parametrize("dialect", ["ai_chat", "streaming"])
async def test_a_client_that_leaves_in_mid_answer_is_noticed(server: Running, dialect: str) -> None:
    """The reference (002) registers its close handler after the stream has ended. Here leaving ends it (linger 0)."""
    async with connected(server) as client:
        client.send("POST", "/v1/streams", started_in(dialect, "endless"), x_linger_s="0")
        await client.head()
        while b"x" not in await client.chunk():
            pass
        assert server.hub.viewers == 1
    async with asyncio.timeout(10):
        await server.models.made[-1].ended.wait()
    assert server.models.made[-1].cancelled
    await eventually(lambda: server.hub.viewers == 0)


async def test_a_silent_stream_of_002_has_heartbeat_events() -> None:
    settings = StreamSettings(heartbeat_s=0.05, grace_s=0.1)
    async with running(SCRIPTS, streams=settings) as server, connected(server) as client:
        client.send("POST", "/v1/streams", started_in("streaming", "hangs"))
        _, headers = await client.head()
        parser = Parser()
        messages: list[Message] = []
        async with asyncio.timeout(10):
            while not messages or messages[-1].event != "heartbeat":
                messages += parser.feed(await client.chunk())
        assert json.loads(messages[-1].data)["connectionId"] == headers["x-stream-id"]
        assert messages[-1].id == messages[-2].id  # a heartbeat moves no cursor


async def test_a_server_that_goes_away_tells_002_to_reconnect() -> None:
    settings = StreamSettings(grace_s=0.05, retry_ms=777)
    async with running(SCRIPTS, streams=settings) as server, connected(server) as client:
        client.send("POST", "/v1/streams", started_in("streaming", "hangs"))
        _, headers = await client.head()
        server.server.stop()
        messages = messages_of(await client.body(headers))
    assert (messages[-1].event, json.loads(messages[-1].data)["retry"]) == ("reconnect", 777)
    assert not {message.event for message in messages} & {"complete", "error"}
    assert messages[-1].id == messages[-2].id


async def test_without_room_a_returning_client_of_002_is_told_to_reconnect() -> None:
    settings = StreamSettings(max_connections=1, retry_ms=1234, grace_s=0.1)
    async with running(SCRIPTS, streams=settings) as server, connected(server) as client:
        client.send("POST", "/v1/streams", started_in("streaming", "hangs"))
        _, headers = await client.head()
        url = f"/v1/streams/{headers['x-stream-id']}/events?dialect=streaming"
        back = await server.client.get(url, headers={"Last-Event-ID": "1.0"})
        assert back.status_code == 200
        assert back.text.startswith("retry: 1234\n\n")
        [message] = messages_of(back.content)
        assert (message.event, json.loads(message.data)["retry"]) == ("reconnect", 1234)

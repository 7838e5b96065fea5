"""The routes of reference 002 on a real server: what its document promises, for clients as it describes them.

Its own code changes the status before it sends, so `complete` and `error` never go out; its ids are random, so nothing
resumes; its close handler is registered after the end; most of its quality figures are 0. Each is a test here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from headwater.events import Done, Text, Usage
from headwater.logs import SqliteLog
from headwater.request import ChatRequest, decode_request
from headwater.sse import Message, Parser
from headwater.streams import StreamSettings, Writer

from .connections_kit import (
    ANSWER,
    LONG,
    MESSAGES,
    MODEL,
    REQUEST,
    Served,
    content_of,
    messages_of,
    other,
    serving,
)
from .kit import Script, connected, eventually


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving() as served:
        yield served


# ---------------------------------------------------------------------- the document's own tests


async def test_create_connection(served: Served) -> None:
    connection = await served.create()
    assert connection["status"] == "connecting"
    assert connection["provider"] == "openai"
    assert connection["model"] == "gpt-3.5-turbo"
    assert connection["clientId"] == "test-client"
    assert connection["requestId"] == "test-request"
    assert connection["metadata"]["userAgent"].startswith("python-httpx")
    assert connection["metadata"]["ip"] == "127.0.0.1"
    assert (connection["metadata"]["bytesReceived"], connection["metadata"]["chunksReceived"]) == (0, 0)
    assert "averageLatency" not in connection["metadata"]
    assert connection["options"] == {
        "bufferSize": 8192,
        "flushInterval": 100.0,
        "heartbeatInterval": 30_000.0,
        "compression": False,
        "encryption": False,
    }
    assert connection["createdAt"] == connection["metadata"]["connectedAt"] == connection["updatedAt"]
    assert served.running.models.made == []  # nothing is asked before the start


async def test_start_stream_sends_start_then_chunks_then_complete(served: Served) -> None:
    """The reference's `complete` never goes out, as the status is changed before it is sent."""
    connection = await served.create()
    path = f"/streaming/connections/{connection['id']}"
    started = await served.client.post(f"{path}/start", json=REQUEST)
    assert started.status_code == 200
    assert started.json()["data"]["id"] == connection["id"]
    assert started.json()["data"]["status"] in ("connected", "streaming", "completed")
    messages = messages_of((await served.client.get(f"{path}/events")).content)
    assert messages[0].event == "start"
    assert json.loads(messages[0].data)["connectionId"] == connection["id"]
    assert content_of(messages) == ANSWER
    end = json.loads(messages[-1].data)
    assert messages[-1].event == "complete"
    assert (end["finishReason"], end["totalChunks"], end["totalBytes"]) == ("stop", 4, len(ANSWER.encode()))


# ---------------------------------------------------------------------- clients as its controller implies


async def test_a_post_is_answered_with_the_events_at_once(served: Served) -> None:
    response = await served.client.post("/streaming/stream", json=REQUEST, headers={"x-client-id": "header"})
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    messages = messages_of(response.content)
    assert [messages[0].event, messages[-1].event] == ["start", "complete"]
    assert content_of(messages) == ANSWER
    answer = (await served.get(f"/{response.headers['x-stream-id']}"))["data"]
    assert (answer["status"], answer["content"], answer["requestId"]) == ("completed", ANSWER, "test-request")


async def test_the_controllers_query_and_header_fill_what_the_body_lacks(served: Served) -> None:
    bare = {"messages": MESSAGES, "temperature": 0.5, "maxTokens": 9, "priority": "high", "userId": "somebody"}
    response = await served.client.post(
        "/streaming/connections?requestId=r-1&sessionId=s-1&provider=openai&model=gpt-3.5-turbo",
        json=bare,
        headers={"x-client-id": "c-1"},
    )
    connection = response.json()["data"]
    assert [connection[name] for name in ("requestId", "clientId", "sessionId")] == ["r-1", "c-1", "s-1"]
    assert "userId" not in connection  # who asks is known from the login, not from the body
    await served.client.post(f"/streaming/connections/{connection['id']}/start")
    record = await served.running.hub.log.get(connection["id"])
    assert record is not None
    request = decode_request(record.request)
    assert request.params == {"temperature": 0.5, "max_tokens": 9}
    assert (request.priority, request.model) == ("high", MODEL)


async def cut_in_mid_answer(served: Served, method: str, url: str, **arguments: Any) -> tuple[bytes, str, str]:
    """What a client has when its connection is cut: whole frames, the last id, the connection's id."""
    data = b""
    async with served.client.stream(method, url, **arguments) as response:
        assert response.status_code == 200, await response.aread()
        stream = response.headers["x-stream-id"]
        async for piece in response.aiter_bytes():
            data += piece
            if data.count(b"event: chunk") > 20:
                break
    whole = data[: data.rindex(b"\n\n") + 2]
    return whole, messages_of(whole)[-1].id, stream


def paced(pause: asyncio.Event) -> Script:
    """The long answer, which waits in its middle."""

    async def script(writer: Writer, request: ChatRequest) -> None:
        for number, piece in enumerate(LONG):
            if number == len(LONG) // 2:
                await pause.wait()
            writer.write([Text(piece)])
            await asyncio.sleep(0)
        writer.write([Usage(1, 200), Done("stop")])

    return script


@pytest.mark.parametrize("way", ["post", "events", "get", "get with requestId"])
async def test_a_cut_client_gets_exactly_the_rest(way: str) -> None:
    """Random ids could not resume. The rest is, byte for byte, what an uncut client was sent after that place."""
    pause = asyncio.Event()
    async with serving(scripts={"paced": paced(pause)}) as served:
        method, url, arguments = "GET", "", {}
        query = {"messages": json.dumps(MESSAGES), "model": "paced"}
        if way == "post":
            method, url, arguments = "POST", "/streaming/stream", {"json": {"messages": MESSAGES}}
        elif way == "events":
            connection = await served.create(**other("paced"))
            url = f"/streaming/connections/{connection['id']}/events"
        else:
            named = {"requestId": "r-1"} if way != "get" else {}
            url = f"/streaming/stream?{urlencode(query | named)}"
        async with connected(served.running) as uncut:
            if way == "post":
                first, last_id, stream = await cut_in_mid_answer(served, method, url, **arguments)
                uncut.send("GET", f"/streaming/connections/{stream}/events")
            else:
                first, last_id, stream = await cut_in_mid_answer(served, method, url)
                uncut.send("GET", f"/streaming/connections/{stream}/events")
            await uncut.head()
            back = f"/streaming/connections/{stream}/events" if way == "post" else url
            async with served.client.stream("GET", back, headers={"Last-Event-ID": last_id}) as again:
                assert again.headers["x-stream-id"] == stream
                pause.set()
                rest = await again.aread()
            whole = await uncut.chunks()
        assert len(served.running.models.made) == 1
        assert content_of(messages_of(first)) + content_of(messages_of(rest)) == "".join(LONG)
        # Cut where one frame of the uncut viewer ends, both have the same bytes from there on.
        later = f"id: {messages_of(rest)[-20].id}\n".encode()
        assert rest.split(later)[1] == whole.split(later)[1]
        # An EventSource comes back after every end, and is told to stop.
        end = messages_of(rest)[-1].id
        assert (await served.client.get(back, headers={"Last-Event-ID": end})).status_code == 204


async def test_every_place_of_an_ended_answer_has_the_same_rest(served: Served) -> None:
    response = await served.client.post("/streaming/stream", json=REQUEST)
    url = f"/streaming/connections/{response.headers['x-stream-id']}/events"
    frames = [frame + b"\n\n" for frame in (await served.client.get(url)).content.split(b"\n\n")[:-1]]
    for position in range(len(frames) - 1):
        [message] = messages_of(frames[position])
        for place in ({"headers": {"Last-Event-ID": message.id}}, {"params": {"after": message.id}}):
            rest = (await served.client.get(url, **place)).content  # type: ignore[arg-type]
            assert content_of(messages_of(rest)) == content_of(messages_of(b"".join(frames[position + 1 :])))
            assert messages_of(rest)[-1] == messages_of(frames[-1])[-1]


async def test_an_event_source_without_a_cursor_asks_anew_unless_its_address_names_the_answer(served: Served) -> None:
    query = urlencode({"messages": json.dumps(MESSAGES), "model": MODEL})
    ids = [(await served.client.get(f"/streaming/stream?{query}")).headers["x-stream-id"] for _ in range(2)]
    assert len(set(ids)) == 2
    for name in ("requestId=r", "key=k"):
        ids = [(await served.client.get(f"/streaming/stream?{query}&{name}")).headers["x-stream-id"] for _ in range(2)]
        assert len(set(ids)) == 1
    # A cursor of no answer of this address: a new one, with the news in-band.
    gone = await served.client.get(f"/streaming/stream?{query}", headers={"Last-Event-ID": "77.3"})
    assert messages_of(gone.content)[0].event == "reset"
    assert content_of(messages_of(gone.content)) == ANSWER
    assert len(served.running.models.made) == 5


async def test_an_idempotency_key_is_one_answer(served: Served) -> None:
    headers = {"Idempotency-Key": "k-1"}
    asked = [served.client.post("/streaming/stream", json=REQUEST, headers=headers) for _ in range(5)]
    answers = await asyncio.gather(*asked)
    assert len({answer.headers["x-stream-id"] for answer in answers}) == 1
    # Producers were made for all, and one of them ran.
    assert sum(made.ended.is_set() for made in served.running.models.made) == 1
    assert len(served.connections) == 0
    refused = await served.client.post("/streaming/stream", json=REQUEST | {"maxTokens": 3}, headers=headers)
    assert refused.status_code == 422
    assert refused.json()["code"] == "idempotency_key_reused"


async def test_a_client_that_leaves_in_mid_answer_is_noticed(served: Served) -> None:
    """The reference registers its close handler after the stream has ended."""
    async with connected(served.running) as client:
        body = json.dumps(REQUEST | other("endless")).encode()
        client.send("POST", "/streaming/stream", body, x_linger_s="0")
        await client.head()
        while b"x" not in await client.chunk():
            pass
    async with asyncio.timeout(10):
        await served.running.models.made[-1].ended.wait()
    assert served.running.models.made[-1].cancelled


async def test_heartbeats_name_the_connection() -> None:
    settings = StreamSettings(heartbeat_s=0.05, grace_s=0.1)
    async with serving(streams=settings) as served, connected(served.running) as client:
        connection = await served.create(**other("hangs"))
        client.send("GET", f"/streaming/connections/{connection['id']}/events")
        await client.head()
        parser, messages = Parser(), list[Message]()
        async with asyncio.timeout(10):
            while not messages or messages[-1].event != "heartbeat":
                messages += parser.feed(await client.chunk())
        assert json.loads(messages[-1].data)["connectionId"] == connection["id"]
        assert messages[-1].id == messages[-2].id


# ---------------------------------------------------------------------- starting


async def test_twenty_starts_at_once_are_one_answer(served: Served) -> None:
    connection = await served.create()
    path = f"/streaming/connections/{connection['id']}/start"
    answers = await asyncio.gather(*(served.client.post(path) for _ in range(20)))
    assert [answer.status_code for answer in answers] == [200] * 20
    assert {answer.json()["data"]["id"] for answer in answers} == {connection["id"]}
    assert len(served.running.models.made) == 1
    assert (await served.client.post(path)).status_code == 200
    assert len(served.running.models.made) == 1


async def test_a_start_that_was_refused_can_be_tried_again() -> None:
    settings = StreamSettings(max_streams=1, max_queued=0, grace_s=0.1)
    async with serving(streams=settings) as served:
        first, second = await served.create(**other("hangs")), await served.create()
        await served.client.post(f"/streaming/connections/{first['id']}/start")
        path = f"/streaming/connections/{second['id']}"
        for method, url in (("POST", f"{path}/start"), ("GET", f"{path}/events")):
            refused = await served.client.request(method, url)
            assert (refused.status_code, refused.json()["code"]) == (429, "queue_full")
            assert refused.json()["success"] is False
            assert int(refused.headers["retry-after"]) >= 1
        assert (await served.client.delete(f"/streaming/connections/{first['id']}")).status_code == 200
        assert (await served.client.post(f"{path}/start")).status_code == 200


async def test_a_started_connection_survives_a_restart(tmp_path: Path) -> None:
    log = await SqliteLog.open(tmp_path, durability="commit")
    async with serving(log=log) as served:
        connection = await served.create(metadata={"sessionId": "s-1"})
        path = f"/streaming/connections/{connection['id']}"
        live = messages_of((await served.client.get(f"{path}/events")).content)
        before = (await served.client.get(f"{path}/events")).content
        assert (content_of(messages_of(before)), messages_of(before)[-1]) == (content_of(live), live[-1])
        waiting = await served.create()
        await eventually(lambda: len(served.connections) == 1)
        looked = await served.client.delete(path)
    log = await SqliteLog.open(tmp_path, durability="commit")
    async with serving(log=log) as served:
        assert (await served.client.get(f"{path}/events")).content == before
        again = (await served.get("", status="completed"))["data"]
        assert [one["id"] for one in again] == [connection["id"]]
        assert again[0] == looked.json()["data"]
        assert again[0]["sessionId"] == "s-1"
        assert again[0]["metadata"]["chunksReceived"] == 4
        assert again[0]["metadata"]["bytesReceived"] == len(ANSWER.encode())
        assert again[0]["metadata"]["averageLatency"] == 10.0  # (50 - 10) ms / 4 pieces
        answer = (await served.get(f"/{connection['id']}"))["data"]
        assert (answer["content"], answer["metadata"]["chunks"]) == (ANSWER, 4)
        assert (await served.client.post(f"{path}/start")).status_code == 200
        assert served.running.models.made == []
        # One that nobody had started was not kept.
        assert (await served.client.get(f"/streaming/connections/{waiting['id']}")).status_code == 404


async def test_an_answer_that_a_restart_cut_off_is_told_as_failed(tmp_path: Path) -> None:
    log = await SqliteLog.open(tmp_path, durability="commit")
    async with serving(log=log, streams=StreamSettings(grace_s=0.0)) as served:
        connection = await served.create(**other("hangs"))
        path = f"/streaming/connections/{connection['id']}"
        await served.client.post(f"{path}/start")
        await eventually(lambda: served.running.models.made != [])
    log = await SqliteLog.open(tmp_path, durability="commit")
    async with serving(log=log) as served:
        messages = messages_of((await served.client.get(f"{path}/events")).content)
        assert (messages[-1].event, json.loads(messages[-1].data)["reason"]) == ("error", "interrupted")
        assert (await served.get(f"/{connection['id']}"))["data"]["status"] == "error"


# ---------------------------------------------------------------------- looking


async def test_the_answer_so_far(served: Served) -> None:
    connection = await served.create()
    path = f"/{connection['id']}"
    pending = (await served.get(path))["data"]
    assert pending == {
        "id": connection["id"],
        "requestId": "test-request",
        "status": "pending",
        "content": "",
        "metadata": {"chunks": 0, "provider": "openai", "model": "gpt-3.5-turbo"},
        "events": [],
        "createdAt": connection["createdAt"],
    }
    frames = messages_of((await served.client.get(f"/streaming/connections{path}/events")).content)
    answer = (await served.get(path, limit=1000))["data"]
    assert answer["status"] == "completed"
    assert answer["content"] == ANSWER
    assert answer["metadata"] == {
        "chunks": 4,
        "tokens": 4,
        "tokensSource": "exact",
        "latency": 10.0,
        "provider": "scripted",
        "model": MODEL,
        "finishReason": "stop",
    }
    assert answer["completedAt"] >= answer["createdAt"]
    assert [event["type"] for event in answer["events"]][::6] == ["start", "metadata"]
    assert answer["events"][-1]["eventId"] == frames[-1].id
    assert answer["events"][-1]["data"] == json.loads(frames[-1].data)
    assert all(event["timestamp"] == event["data"]["timestamp"] for event in answer["events"])
    page = (await served.get(path, limit=2, after=answer["events"][1]["eventId"]))["data"]
    assert page["events"] == answer["events"][2:4]
    assert page["content"] == ANSWER
    assert (await served.get(path, limit=0))["data"]["events"] == []


async def test_while_it_streams(served: Served) -> None:
    connection = await served.create(**other("hangs"))
    path = f"/{connection['id']}"
    await served.client.post(f"/streaming/connections{path}/start")
    async with asyncio.timeout(10):
        while (await served.get(path))["data"]["content"] != "begun":  # noqa: ASYNC110 - over HTTP there is no event
            await asyncio.sleep(0.005)
    answer = (await served.get(path))["data"]
    assert answer["status"] == "streaming"
    assert answer["metadata"]["chunks"] == 1
    assert answer["metadata"]["latency"] >= 0
    assert not {"tokens", "finishReason"} & answer["metadata"].keys()
    assert "completedAt" not in answer
    [listed] = (await served.get(""))["data"]
    assert (listed["status"], listed["metadata"]["bytesReceived"]) == ("streaming", 5)
    assert listed["metadata"]["averageLatency"] >= 0
    assert listed["metadata"]["lastActivity"] >= listed["createdAt"]


async def test_a_failed_answer_keeps_its_text_and_its_reason(served: Served) -> None:
    """The reference's `error` never goes out, as the status is changed before it is sent."""
    connection = await served.create(**other("fails"))
    path = f"/streaming/connections/{connection['id']}"
    messages = messages_of((await served.client.get(f"{path}/events")).content)
    assert messages[-1].event == "error"
    assert "complete" not in {message.event for message in messages}
    assert json.loads(messages[-1].data)["error"] == "the model is gone"
    answer = (await served.get(f"/{connection['id']}"))["data"]
    assert (answer["status"], answer["content"]) == ("error", "half")
    [listed] = (await served.get("", status="error"))["data"]
    assert listed["id"] == connection["id"]


async def test_the_list_by_status_and_page(served: Served) -> None:
    ended = await served.create()
    await served.client.get(f"/streaming/connections/{ended['id']}/events")
    hanging = [(await served.create(**other("silent")))["id"] for _ in range(3)]
    for id in hanging:
        await served.client.post(f"/streaming/connections/{id}/start")
    await served.client.post("/v1/streams", json={"model": "silent", "messages": MESSAGES})  # no connection
    waiting = [(await served.create())["id"] for _ in range(2)]

    async def ids(**parameters: Any) -> list[str]:
        return [one["id"] for one in (await served.get("", **parameters))["data"]]

    newest = sorted([*hanging, *waiting], reverse=True)
    assert await ids() == newest
    assert await ids(status="connecting") == sorted(waiting, reverse=True)
    running = await ids(status="streaming") + await ids(status="connected")
    assert sorted(running) == sorted(hanging)
    assert await ids(status="completed") == [ended["id"]]
    assert await ids(status="error") == await ids(status="disconnected") == []
    found: list[str] = []
    page = await served.get("", limit=2)
    while True:
        found += [one["id"] for one in page["data"]]
        assert len(page["data"]) <= 2
        if "before" not in page:
            break
        page = await served.get("", limit=2, before=page["before"])
    assert found == newest


async def test_metrics_over_a_period(served: Served) -> None:
    """Most of the reference's figures return 0."""
    connection = await served.create()
    path = f"/{connection['id']}"
    period = {"start": "2020-01-01T00:00:00Z", "end": "2999-01-01"}
    nothing = (await served.get(f"{path}/metrics", **period))["data"]
    assert nothing["performance"] == {"totalChunks": 0, "totalBytes": 0}
    assert nothing["quality"] == {}
    assert nothing["period"] == {"start": "2020-01-01T00:00:00.000Z", "end": "2999-01-01T00:00:00.000Z"}
    await served.client.get(f"/streaming/connections{path}/events")
    metrics = (await served.get(f"{path}/metrics", **period))["data"]
    size = len(ANSWER.encode())
    assert metrics["connectionId"] == connection["id"]
    assert metrics["performance"]["totalChunks"] == 4
    assert metrics["performance"]["totalBytes"] == size
    assert metrics["performance"]["averageChunkSize"] == size / 4
    answer = (await served.get(path))["data"]
    assert metrics["period"]["end"] == answer["completedAt"]
    took = _ms(metrics["period"]["end"]) - _ms(metrics["period"]["start"])
    assert metrics["quality"] == {
        "completionRate": 1.0,
        "errorRate": 0.0,
        "averageStreamDuration": pytest.approx(took, abs=0.01),
    }
    if took:
        assert metrics["performance"]["chunksPerSecond"] == pytest.approx(4000 / took)
        assert metrics["performance"]["bytesPerSecond"] == pytest.approx(size * 1000 / took)
    elsewhere = (await served.get(f"{path}/metrics", start="2020-01-01", end="2020-01-02T00:00:00+02:00"))["data"]
    assert elsewhere["performance"] == {"totalChunks": 0, "totalBytes": 0}


def _ms(text: str) -> float:
    return datetime.fromisoformat(text).astimezone(UTC).timestamp() * 1000


# ---------------------------------------------------------------------- closing


async def test_closing_stops_the_model(served: Served) -> None:
    connection = await served.create(**other("endless"))
    path = f"/streaming/connections/{connection['id']}"
    await served.client.post(f"{path}/start")
    await eventually(lambda: served.running.models.made != [])
    closed = await served.client.delete(path)
    assert closed.status_code == 200
    assert closed.json()["data"]["status"] == "disconnected"
    await served.running.models.made[0].ended.wait()
    assert served.running.models.made[0].cancelled
    messages = messages_of((await served.client.get(f"{path}/events")).content)
    assert (messages[-1].event, json.loads(messages[-1].data)["finishReason"]) == ("complete", "cancelled")
    answer = (await served.get(f"/{connection['id']}"))["data"]
    assert (answer["status"], answer["metadata"]["finishReason"]) == ("completed", "cancelled")
    [listed] = (await served.get("", status="disconnected"))["data"]
    assert listed["id"] == connection["id"]
    assert (await served.get(f"/{connection['id']}/metrics", start="2020-01-01", end="2999-01-01"))["data"][
        "quality"
    ].items() >= {"completionRate": 0.0, "errorRate": 0.0}.items()


async def test_closing_what_was_not_started_forgets_it_and_what_has_ended_stays(served: Served) -> None:
    waiting = await served.create()
    closed = await served.client.delete(f"/streaming/connections/{waiting['id']}")
    assert (closed.status_code, closed.json()["data"]["status"]) == (200, "disconnected")
    assert (await served.client.delete(f"/streaming/connections/{waiting['id']}")).status_code == 404
    response = await served.client.post("/streaming/stream", json=REQUEST)
    ended = await served.client.delete(f"/streaming/connections/{response.headers['x-stream-id']}")
    assert ended.json()["data"]["status"] == "completed"

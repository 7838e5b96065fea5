"""The routes of reference 002: other tenants, refusals in its own form, hooks and the description."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlencode

import pytest

from headwater.errors import LogUnavailable
from headwater.events import Done, Error, Text
from headwater.server import ServerSettings
from headwater.server.connection_shapes import StreamCompleted, StreamFailure, StreamMetrics, StreamTold
from headwater.server.connections import ConnectionSettings
from headwater.streams import StreamSettings

from .connections_kit import (
    ANSWER,
    MESSAGES,
    MODEL,
    REQUEST,
    Served,
    content_of,
    messages_of,
    other,
    serving,
)
from .kit import connected, eventually


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving() as served:
        yield served


# ---------------------------------------------------------------------- tenants


@pytest.mark.parametrize("started", [False, True])
async def test_another_owners_connection_looks_like_none(served: Served, started: bool) -> None:
    ann, bob = {"x-user": "ann"}, {"x-user": "bob"}
    created = await served.client.post("/streaming/connections", json=REQUEST | other("silent"), headers=ann)
    id = created.json()["data"]["id"]
    path = f"/streaming/connections/{id}"
    if started:
        assert (await served.client.post(f"{path}/start", headers=ann)).status_code == 200
    times = "start=2020-01-01&end=2021-01-01"
    for method, url in (
        ("GET", path),
        ("GET", f"{path}/events"),
        ("GET", f"{path}/metrics?{times}"),
        ("POST", f"{path}/start"),
        ("DELETE", path),
    ):
        refused = await served.client.request(method, url, headers=bob)
        assert refused.status_code == 404, (method, url)
        assert refused.json() == {
            "success": False,
            "error": "no such connection",
            "code": "not_found",
            "param": "connection_id",
        }
    assert (await served.client.get("/streaming/connections", headers=bob)).json() == {"success": True, "data": []}
    [mine] = (await served.client.get("/streaming/connections", headers=ann)).json()["data"]
    assert mine["id"] == id
    assert (await served.client.delete(path, headers=ann)).status_code == 200


async def test_the_same_address_of_two_owners_is_two_answers(served: Served) -> None:
    url = "/streaming/stream?" + urlencode({"messages": json.dumps(MESSAGES), "model": MODEL, "requestId": "r"})
    ids = {(await served.client.get(url, headers={"x-user": user})).headers["x-stream-id"] for user in ("ann", "bob")}
    assert len(ids) == 2


# ---------------------------------------------------------------------- refusals


def long_name(name: str) -> dict[str, Any]:
    return {"json": REQUEST | {name: "x" * 257}}


BAD: list[tuple[str, str, dict[str, Any], str | None]] = [
    ("POST", "/streaming/connections", {"content": b"{"}, None),
    ("POST", "/streaming/connections", {"content": b"[]"}, None),
    ("POST", "/streaming/connections", {"json": {"model": "x"}}, "messages"),
    ("POST", "/streaming/connections", {"json": REQUEST | {"messages": []}}, "messages"),
    ("POST", "/streaming/connections", {"json": REQUEST | {"bufferSize": 8193}}, "options.bufferSize"),
    ("POST", "/streaming/connections", {"json": REQUEST | {"flushInterval": 100.5}}, "options.flushInterval"),
    ("POST", "/streaming/connections", {"json": REQUEST | {"flushInterval": -1}}, "flushInterval"),
    ("POST", "/streaming/connections", {"json": REQUEST | {"metadata": {"priority": "urgent"}}}, "metadata.priority"),
    ("POST", "/streaming/connections", long_name("clientId"), "clientId"),
    ("POST", "/streaming/stream", {"content": b"{"}, None),
    ("POST", "/streaming/stream", {"json": REQUEST, "headers": {"X-Linger-S": "soon"}}, "X-Linger-S"),
    ("POST", "/streaming/stream", {"json": REQUEST, "headers": {"X-Priority": "soon"}}, "X-Priority"),
    ("POST", "/streaming/stream", {"json": REQUEST, "headers": {"Idempotency-Key": ""}}, "Idempotency-Key"),
    ("GET", "/streaming/stream", {}, "messages"),
    ("GET", "/streaming/stream?messages=%5B", {}, "messages"),
    ("GET", "/streaming/connections?status=open", {}, "status"),
    ("GET", "/streaming/connections?limit=201", {}, "limit"),
    ("GET", "/streaming/connections/" + "x" * 65, {}, "connection_id"),
    ("GET", "/streaming/connections/x?limit=-1", {}, "limit"),
    ("GET", "/streaming/connections/x/metrics", {}, "start"),
    ("GET", "/streaming/connections/x/metrics?start=2020-01-01", {}, "end"),
    ("GET", "/streaming/connections/x/metrics?start=yesterday&end=2020-01-01", {}, "start"),
    ("GET", "/streaming/connections/x/metrics?start=2020-01-01&end=0001-01-01T00:00:00%2B23:00", {}, "end"),
    ("GET", "/streaming/connections/x/metrics?start=2020-01-02&end=2020-01-01", {}, "end"),
]


@pytest.mark.parametrize(("method", "url", "arguments", "param"), BAD)
async def test_a_wrong_request_is_refused_in_this_form(
    served: Served, method: str, url: str, arguments: dict[str, Any], param: str | None
) -> None:
    refused = await served.client.request(method, url, **arguments)
    assert refused.status_code == 400, refused.text
    told = refused.json()
    assert (told["success"], told["code"], told.get("param")) == (False, "invalid_request", param)
    assert isinstance(told["error"], str)
    assert refused.headers["content-length"] == str(len(refused.content))
    assert "x-request-id" in refused.headers
    assert len(served.connections) == 0


async def test_what_is_not_there(served: Served) -> None:
    unknown = await served.client.post("/streaming/stream", json=REQUEST | other("none"))
    assert (unknown.status_code, unknown.json()["code"]) == (404, "model_not_found")
    assert len(served.connections) == 0
    connection = await served.create(**other("none"))
    path = f"/streaming/connections/{connection['id']}"
    refused = await served.client.post(f"{path}/start")
    assert (refused.status_code, refused.json()["code"]) == (404, "model_not_found")
    assert (await served.get(f"/{connection['id']}"))["data"]["status"] == "pending"
    plain = (await served.client.post("/v1/streams", json={"model": MODEL, "messages": MESSAGES})).json()["id"]
    assert (await served.client.get(f"/streaming/connections/{plain}")).status_code == 404
    nowhere = await served.client.get("/streaming/nowhere")
    assert (nowhere.status_code, nowhere.json()["code"]) == (404, "not_found")
    wrong = await served.client.put("/streaming/connections")
    assert (wrong.status_code, wrong.json()["success"]) == (405, False)
    # Other routes keep their own form.
    assert (await served.client.get("/v1/streams/none")).json()["error"]["code"] == "stream_not_found"


async def test_bodies_that_are_too_large_declared_or_not() -> None:
    async with serving(settings=ServerSettings(max_body_bytes=200, max_messages=1)) as served:
        large = json.dumps(REQUEST | {"context": "x" * 400}).encode()

        async def in_pieces() -> AsyncIterator[bytes]:
            yield large[:150]
            yield large[150:]

        for content in (large, in_pieces()):
            refused = await served.client.post("/streaming/connections", content=content)
            assert (refused.status_code, refused.json()["code"]) == (413, "body_too_large")
            assert refused.json()["success"] is False
        many = await served.client.post("/streaming/stream", json={"messages": MESSAGES * 2})
        assert (many.status_code, many.json()["param"]) == (400, "messages")


async def test_there_is_room_for_so_many() -> None:
    async with serving(limits=ConnectionSettings(max_connections=2)) as served:
        first = await served.create()
        await served.client.post("/streaming/stream", json=REQUEST)  # ended, so it takes no room
        await eventually(lambda: len(served.connections) == 1)
        started = await served.create(**other("silent"))
        await served.client.post(f"/streaming/connections/{started['id']}/start")
        for url in ("/streaming/connections", "/streaming/stream"):
            refused = await served.client.post(url, json=REQUEST)
            assert refused.status_code == 503
            assert refused.json() == {
                "success": False,
                "error": "Maximum connections reached",
                "code": "too_many_connections",
            }
            assert int(refused.headers["retry-after"]) >= 1
        await served.client.delete(f"/streaming/connections/{first['id']}")
        assert (await served.create())["status"] == "connecting"


async def test_without_room_for_viewers_a_returning_one_is_sent_to_reconnect() -> None:
    async with (
        serving(streams=StreamSettings(max_connections=1, retry_ms=1234, grace_s=0.1)) as served,
        connected(served.running) as client,
    ):
        connection = await served.create(**other("hangs"))
        path = f"/streaming/connections/{connection['id']}/events"
        client.send("GET", path)
        await client.head()
        refused = await served.client.get(path)
        assert (refused.status_code, refused.json()["code"]) == (503, "too_many_connections")
        assert refused.json()["success"] is False
        back = await served.client.get(path, headers={"Last-Event-ID": "1.0"})
        assert back.status_code == 200
        [message] = messages_of(back.content)
        assert (message.event, json.loads(message.data)["retry"]) == ("reconnect", 1234)


async def test_a_server_that_drains_takes_no_new_ones_but_shows_what_there_is(served: Served) -> None:
    response = await served.client.post("/streaming/stream", json=REQUEST)
    served.running.hub.accepting = False
    refused = await served.client.post("/streaming/connections", json=REQUEST)
    assert (refused.status_code, refused.json()["code"]) == (503, "shutting_down")
    assert int(refused.headers["retry-after"]) >= 1
    path = f"/streaming/connections/{response.headers['x-stream-id']}"
    assert (await served.client.post(f"{path}/start")).status_code == 200
    assert content_of(messages_of((await served.client.get(f"{path}/events")).content)) == ANSWER
    served.running.hub.accepting = True


async def test_a_log_that_fails_is_told_without_its_own_words(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(stream: str) -> None:
        raise LogUnavailable("/secret/path is gone")

    monkeypatch.setattr(served.running.hub.log, "get", away)
    refused = await served.client.get("/streaming/connections/x")
    assert refused.status_code == 503
    assert refused.json() == {
        "success": False,
        "error": "the stream log cannot do this now",
        "code": "log_unavailable",
    }


async def test_a_fault_of_the_server_has_this_form_too(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(stream: str) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(served.running.hub.log, "get", broken)
    refused = await served.client.get("/streaming/connections/x")
    assert refused.status_code == 500
    assert refused.json() == {"success": False, "error": "internal server error", "code": "internal_error"}


async def test_a_link_of_another_site_starts_nothing(served: Served) -> None:
    url = "/streaming/stream?" + urlencode({"messages": json.dumps(MESSAGES)})
    for site in ("cross-site", "same-site"):
        refused = await served.client.get(url, headers={"sec-fetch-mode": "navigate", "sec-fetch-site": site})
        assert (refused.status_code, refused.json()["code"]) == (403, "origin_refused")
    typed = await served.client.get(url, headers={"sec-fetch-mode": "navigate", "sec-fetch-site": "none"})
    assert typed.status_code == 200


async def test_options_are_echoed_as_they_are_kept() -> None:
    async with serving(streams=StreamSettings(flush_ms=7.0, grace_s=0.1)) as served:
        for asked, kept in ((0, 7.0), (50, 50.0), (100, 100.0)):
            connection = await served.create(options={"bufferSize": 1024, "flushInterval": asked})
            assert connection["options"]["bufferSize"] == 1024
            assert connection["options"]["flushInterval"] == kept


# ---------------------------------------------------------------------- hooks and description


async def test_hooks_by_the_documents_names(served: Served) -> None:
    hooks = served.connections.hooks
    told: list[tuple[str, Any]] = []

    def note(name: str) -> Callable[[Any], object]:
        return lambda subject: told.append((name, subject))

    hooks.on("connection_created", note("created"))
    hooks.on("stream_event", note("event"))
    hooks.on("stream_completed", note("completed"))
    hooks.on("stream_error", note("error"))
    hooks.on("metrics_updated", note("metrics"))
    hooks.on("connection_closed", note("closed"))
    response = await served.client.post("/streaming/stream", json=REQUEST)
    await eventually(lambda: told[-1][0] == "closed")
    names = [name for name, _ in told]
    assert names[0] == "created"
    assert names[-3:] == ["completed", "metrics", "closed"]
    assert set(names[1:-3]) == {"event"}
    events = [subject for name, subject in told if name == "event"]
    assert all(isinstance(event, StreamTold) for event in events)
    assert {event.connection_id for event in events} == {response.headers["x-stream-id"]}
    assert "".join(event.event.text for event in events if isinstance(event.event, Text)) == ANSWER
    assert events[-1].event == Done("stop")
    completed, metrics, closed = (subject for _, subject in told[-3:])
    assert isinstance(completed, StreamCompleted)
    assert isinstance(metrics, StreamMetrics)
    assert (completed.finish_reason, completed.connection, closed.status) == ("stop", closed, "completed")
    assert metrics.performance.total_chunks == 4

    told.clear()
    await served.client.post("/streaming/stream", json=REQUEST | other("fails"))
    await eventually(lambda: told[-1][0] == "closed")
    [failure] = [subject for name, subject in told if name == "error"]
    assert isinstance(failure, StreamFailure)
    assert (failure.error.message, failure.connection.status) == ("the model is gone", "error")
    assert isinstance(events[-1].event, Done | Error)
    assert "completed" not in [name for name, _ in told]


async def test_a_callback_that_raises_breaks_nothing(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    def broken(subject: object) -> None:
        raise RuntimeError("of the application")

    closed: list[object] = []
    for name in ("connection_created", "stream_event", "stream_completed", "metrics_updated", "connection_closed"):
        served.connections.hooks.on(name, broken)  # type: ignore[call-overload]
    served.connections.hooks.on("connection_closed", closed.append)
    response = await served.client.post("/streaming/stream", json=REQUEST)
    assert content_of(messages_of(response.content)) == ANSWER
    await eventually(lambda: closed != [])
    assert "a callback for stream_event failed" in caplog.text


async def test_without_a_callback_for_events_nobody_follows_a_stream(served: Served) -> None:
    connection = await served.create(**other("hangs"))
    await served.client.post(f"/streaming/connections/{connection['id']}/start")
    await eventually(lambda: served.running.models.made != [])
    assert served.running.hub.viewers == 0
    served.connections.hooks.on("stream_event", lambda told: None)
    second = await served.create(**other("hangs"))
    await served.client.post(f"/streaming/connections/{second['id']}/start")
    await eventually(lambda: served.running.hub.viewers == 1)


async def test_the_description_covers_these_routes(served: Served) -> None:
    description = (await served.client.get("/openapi.json")).json()
    paths = {path: set(item) for path, item in description["paths"].items() if path.startswith("/streaming/")}
    assert paths == {
        "/streaming/connections": {"get", "post"},
        "/streaming/connections/{connection_id}": {"get", "delete"},
        "/streaming/connections/{connection_id}/start": {"post"},
        "/streaming/connections/{connection_id}/events": {"get"},
        "/streaming/connections/{connection_id}/metrics": {"get"},
        "/streaming/stream": {"get", "post"},
    }
    operation = description["paths"]["/streaming/stream"]["post"]
    assert operation["responses"]["422"]["content"]["application/json"]["schema"]["title"] == "StreamErrorBody"
    assert "422" not in description["paths"]["/streaming/connections"]["get"]["responses"]
    text = json.dumps([description["paths"][path] for path in paths])
    assert "$ref" not in text
    assert "later release" in text

"""`/v1/streams`: starting, watching, resuming, listing, cancelling and deleting over real sockets."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator

import pytest

from headwater.events import Done, Text, Usage
from headwater.request import ChatRequest
from headwater.server import ServerSettings
from headwater.streams import StreamSettings, Writer

from .kit import Running, connected, eventually, messages_of, running

BODY = {"model": "hello", "messages": [{"role": "user", "content": "Hi"}]}
PIECES = [f"piece {n} \n" for n in range(6)]


async def hello(writer: Writer, request: ChatRequest) -> None:
    for piece in PIECES:
        writer.write([Text(piece)])
        await writer.drain()
        await asyncio.sleep(0)
    writer.write([Usage(3, 5), Done("stop")])


async def hangs(writer: Writer, request: ChatRequest) -> None:
    writer.write([Text("begun")])
    await asyncio.Event().wait()


SCRIPTS = {"hello": hello, "hangs": hangs}


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running(SCRIPTS) as it:
        yield it


async def start(server: Running, model: str = "hello", **headers: str) -> str:
    response = await server.client.post("/v1/streams", json=BODY | {"model": model}, headers=headers)
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


async def ended(server: Running, stream: str) -> None:
    await server.client.get(f"/v1/streams/{stream}/events")


async def test_a_stream_is_a_resource_from_acceptance(server: Running) -> None:
    response = await server.client.post("/v1/streams", json=BODY)
    info = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/v1/streams/{info['id']}"
    assert response.headers["x-stream-id"] == info["id"]
    assert info["events"] >= 1
    assert info["cursor"].startswith("1.")
    await ended(server, info["id"])
    info = (await server.client.get(response.headers["location"])).json()
    assert (info["status"], info["finish_reason"], info["model"], info["provider"]) == (
        "done", "stop", "hello", "scripted",
    )  # fmt: skip
    assert info["usage"]["prompt_tokens"] == 3
    assert info["finished_at"] > info["created_at"]
    assert info["error"] is None
    assert info["viewers"] == 0


async def test_a_known_key_answers_200_with_the_same_stream(server: Running) -> None:
    key = {"Idempotency-Key": "k"}
    first = await server.client.post("/v1/streams", json=BODY, headers=key)
    second = await server.client.post("/v1/streams", json=BODY, headers=key)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["id"] == second.json()["id"]


@pytest.mark.parametrize(
    ("extra", "headers"), [({"stream": True}, {}), ({}, {"Accept": "text/event-stream"})], ids=["option", "accept"]
)
@pytest.mark.parametrize("dialect", ["events", "openai_chat"])
async def test_the_answer_can_be_had_at_once_in_any_dialect(
    server: Running, extra: dict[str, object], headers: dict[str, str], dialect: str
) -> None:
    response = await server.client.post("/v1/streams", json=BODY | extra | {"dialect": dialect}, headers=headers)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache, no-transform"
    assert response.headers["x-accel-buffering"] == "no"
    last = messages_of(response.content)[-1]
    assert (last.event, last.data) == (
        ("done", '{"type":"done","reason":"stop"}') if dialect == "events" else ("message", "[DONE]")
    )
    info = (await server.client.get(f"/v1/streams/{response.headers['x-stream-id']}")).json()
    assert info["dialect"] == dialect


async def test_one_log_is_read_in_every_dialect(server: Running) -> None:
    """Promise P5."""
    stream = await start(server)
    await ended(server, stream)
    native = messages_of((await server.client.get(f"/v1/streams/{stream}/events")).content)
    openai = messages_of((await server.client.get(f"/v1/streams/{stream}/events?dialect=openai_chat")).content)
    assert "".join(json.loads(m.data)["text"] for m in native if m.event == "text") == "".join(PIECES)
    assert native[-1].id == openai[-1].id


async def test_last_event_id_wins_over_after(server: Running) -> None:
    """A browser's EventSource reconnects to the same address, with the newer position in the header."""
    stream = await start(server)
    await ended(server, stream)
    url = f"/v1/streams/{stream}/events"
    after = messages_of((await server.client.get(url, params={"after": "1.3"})).content)
    assert json.loads(after[0].data)["text"] == "".join(PIECES[3:])
    both = await server.client.get(url, params={"after": "1.0"}, headers={"Last-Event-ID": "1.3"})
    assert messages_of(both.content) == after


async def test_a_cursor_at_the_end_is_answered_204(server: Running) -> None:
    """It stops a browser's EventSource, which otherwise reconnects for ever."""
    stream = await start(server)
    await ended(server, stream)
    end = (await server.client.get(f"/v1/streams/{stream}")).json()["cursor"]
    response = await server.client.get(f"/v1/streams/{stream}/events", headers={"Last-Event-ID": end})
    assert (response.status_code, response.content) == (204, b"")


@pytest.mark.parametrize("cursor", ["1.999", "7.1", "nonsense", "-1", "1.2; drop", "\x00", "9" * 5000])
async def test_an_unknown_cursor_is_told_in_band_and_replayed(server: Running, cursor: str) -> None:
    """Unknown cursor, client stuck for ever: mercure #704. A request with a cursor crashes the worker: nchan #676."""
    stream = await start(server)
    await ended(server, stream)
    response = await server.client.get(f"/v1/streams/{stream}/events", params={"after": cursor})
    messages = messages_of(response.content)
    assert response.status_code == 200
    assert messages[0].event == "reset"
    assert messages[1].event == "start"
    assert messages[-1].event == "done"


async def test_many_viewers_join_at_any_moment_and_read_the_same(server: Running) -> None:
    """Replay→live hand-off gap: mercure #178; resumable-stream PR #41."""
    stream = await start(server)
    texts = []

    async def watch(delay: int) -> None:
        for _ in range(delay):
            await asyncio.sleep(0)
        got = messages_of((await server.client.get(f"/v1/streams/{stream}/events")).content)
        texts.append("".join(json.loads(m.data)["text"] for m in got if m.event == "text"))

    await asyncio.gather(*(watch(delay) for delay in range(20)))
    assert texts == ["".join(PIECES)] * 20


async def test_cancel_ends_the_stream_and_its_producer(server: Running) -> None:
    """Promise P4. Stop does not stop a local model: open-webui #1567, #16251."""
    stream = await start(server, "hangs")
    watching = asyncio.create_task(server.client.get(f"/v1/streams/{stream}/events"))
    await eventually(lambda: server.hub.viewers == 1)
    response = await server.client.post(f"/v1/streams/{stream}/cancel")
    assert (response.status_code, response.json()["status"]) == (200, "cancelled")
    await asyncio.wait_for(server.models.made[0].ended.wait(), 5)
    assert server.models.made[0].cancelled
    assert json.loads(messages_of((await watching).content)[-1].data) == {"type": "done", "reason": "cancelled"}
    assert (await server.client.post(f"/v1/streams/{stream}/cancel")).json()["status"] == "cancelled"


async def test_delete_is_for_ended_streams(server: Running) -> None:
    stream = await start(server, "hangs")
    refused = await server.client.delete(f"/v1/streams/{stream}")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "stream_still_running")
    await server.client.post(f"/v1/streams/{stream}/cancel")
    assert (await server.client.delete(f"/v1/streams/{stream}")).status_code == 204
    for method, path in (("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("DELETE", "")):
        gone = await server.client.request(method, f"/v1/streams/{stream}{path}")
        assert (gone.status_code, gone.json()["error"]["code"]) == (404, "stream_not_found"), method + path


async def test_listing_pages_and_filters(server: Running) -> None:
    streams = [await start(server, model) for model in ("hello", "hangs", "hello")]
    for stream in (streams[0], streams[2]):
        await ended(server, stream)
    first = (await server.client.get("/v1/streams", params={"limit": 2})).json()
    assert (first["object"], first["has_more"], len(first["data"])) == ("list", True, 2)
    rest = (await server.client.get("/v1/streams", params={"before": first["data"][-1]["id"]})).json()
    assert rest["has_more"] is False
    assert {info["id"] for info in first["data"] + rest["data"]} == set(streams)
    running_now = (await server.client.get("/v1/streams", params={"state": "unfinished"})).json()["data"]
    assert [info["id"] for info in running_now] == [streams[1]]
    finished = (await server.client.get("/v1/streams", params={"state": "finished"})).json()["data"]
    assert {info["id"] for info in finished} == {streams[0], streams[2]}


async def test_streams_of_another_key_look_unknown() -> None:
    async with running(SCRIPTS, settings=ServerSettings(api_keys=("ada", "bob"))) as server:
        ada, bob = {"Authorization": "Bearer ada"}, {"x-api-key": "bob"}
        stream = (await server.client.post("/v1/streams", json=BODY, headers=ada)).json()["id"]
        for method, path in (("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("DELETE", "")):
            hidden = await server.client.request(method, f"/v1/streams/{stream}{path}", headers=bob)
            assert (hidden.status_code, hidden.json()["error"]["code"]) == (404, "stream_not_found"), method + path
        assert (await server.client.get("/v1/streams", headers=bob)).json()["data"] == []
        assert (await server.client.get(f"/v1/streams/{stream}", headers=ada)).status_code == 200

        key = {"Idempotency-Key": "the same"}
        ids = {
            (await server.client.post("/v1/streams", json=BODY, headers=who | key)).json()["id"] for who in (ada, bob)
        }
        assert len(ids) == 2


async def test_without_room_new_viewers_get_503_and_returning_ones_a_retry() -> None:
    """204, 404, 410 and 503 stop a browser's EventSource for good, so a returning viewer never gets one of them."""
    async with running(SCRIPTS, streams=StreamSettings(max_connections=1, retry_ms=1234, grace_s=0.1)) as server:
        stream = await start(server, "hangs")
        async with connected(server) as client:
            client.send("GET", f"/v1/streams/{stream}/events")
            await client.head()
            new = await server.client.get(f"/v1/streams/{stream}/events")
            assert (new.status_code, new.json()["error"]["code"]) == (503, "too_many_connections")
            assert int(new.headers["retry-after"]) >= 1
            back = await server.client.get(f"/v1/streams/{stream}/events", headers={"Last-Event-ID": "1.0"})
            assert (back.status_code, back.text) == (200, "retry: 1234\n\n")
        await eventually(lambda: server.hub.viewers == 0)
        async with server.client.stream("GET", f"/v1/streams/{stream}/events") as again:
            assert again.status_code == 200


async def test_heartbeats_are_comments() -> None:
    """60 s load balancers kill thinking models: litellm #34374, bifrost #5010."""
    async with running(SCRIPTS, streams=StreamSettings(heartbeat_s=0.1, grace_s=0.1)) as server:
        stream = await start(server, "hangs")
        async with connected(server) as client:
            client.send("GET", f"/v1/streams/{stream}/events")
            await client.head()
            async with asyncio.timeout(10):
                while await client.chunk() != b": hb\n\n":
                    pass


async def test_parameters_out_of_bounds_are_named(server: Running) -> None:
    stream = await start(server)
    for path, param in (
        ("/v1/streams?limit=0", "limit"),
        ("/v1/streams?limit=1001", "limit"),
        ("/v1/streams?state=maybe", "state"),
        (f"/v1/streams/{stream}/events?dialect=morse", "dialect"),
        (f"/v1/streams/{stream}/events?include_usage=perhaps", "include_usage"),
        (f"/v1/streams/{'x' * 100}", "stream_id"),
    ):
        response = await server.client.get(path)
        assert (response.status_code, response.json()["error"]["param"]) == (400, param), path
    response = await server.client.post("/v1/streams", json=BODY | {"dialect": "morse"})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "dialect")
    assert len(server.models.made) == 1


async def test_the_description_is_complete(server: Running) -> None:
    schema = (await server.client.get("/openapi.json")).json()
    assert set(schema["paths"]) == {
        "/v1/chat/completions", "/v1/models", "/v1/models/{model}", "/v1/streams", "/v1/streams/{stream_id}",
        "/v1/streams/{stream_id}/events", "/v1/streams/{stream_id}/cancel", "/health", "/ready",
        "/v1/me", "/v1/tickets", "/v1/keys", "/v1/keys/{key_id}", "/v1/keys/{key_id}/rotate",
    }  # fmt: skip
    for operations in schema["paths"].values():
        for operation in operations.values():
            assert operation["summary"]
            assert all("x-request-id" in {h.lower() for h in a["headers"]} for a in operation["responses"].values())
    watch = schema["paths"]["/v1/streams/{stream_id}/events"]["get"]
    assert "text/event-stream" in watch["responses"]["200"]["content"]
    assert "Last-Event-ID" in {p["name"] for p in watch["parameters"]}
    refs = {ref.split('"')[0] for ref in json.dumps(schema).split("#/components/schemas/")[1:]}
    assert refs <= set(schema["components"]["schemas"])
    page = await server.client.get("/", follow_redirects=True)
    assert str(page.url).endswith("/api-docs")
    assert "//" not in page.text.replace("<!--", "").replace("-->", "")  # no other host, no other scheme
    for asset in re.findall(r'"(/api-docs/assets/[^"]+)"', page.text):
        assert (await server.client.get(asset)).status_code == 200

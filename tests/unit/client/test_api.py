"""The HTTP API as methods: what goes over the wire, and what comes of the answers."""

from __future__ import annotations

import json

import httpx
import pytest

from headwater.client import HeadwaterClient
from headwater.errors import (
    AccessError,
    ConfigError,
    ConnectionLost,
    StreamStillRunning,
    UnexpectedAnswer,
    UnknownStream,
)
from headwater.events import Error, Usage

from .scripted import STREAM, answer, in_turn, info, refused, serving


async def test_info_of_an_ended_stream() -> None:
    error = {"type": "error", "reason": "interrupted", "message": "m"}
    usage = {"type": "usage", "prompt_tokens": 1, "completion_tokens": 2}
    said = answer(
        200, info(status="failed", finished_at="2026-01-01T00:00:01Z", error=error, usage=usage, cursor="1.4")
    )
    async with serving(in_turn(said)) as server, HeadwaterClient(server.url + "/") as client:
        known = await client.info(STREAM)
    assert (known.status, known.cursor, known.error) == ("failed", "1.4", Error("interrupted", "m"))
    assert known.usage == Usage(1, 2)
    assert [(r.method, r.target) for r in server.requests] == [("GET", f"/v1/streams/{STREAM}")]


async def test_list_pages_by_id() -> None:
    said = answer(200, {"object": "list", "data": [info(), info(id="b")], "has_more": False})
    async with serving(in_turn(said, said)) as server, HeadwaterClient(server.url) as client:
        assert [known.id for known in await client.list()] == [STREAM, "b"]
        await client.list(state="finished", before="b", limit=2)
    assert [r.query for r in server.requests] == [
        {"state": "any", "limit": "100"},
        {"state": "finished", "limit": "2", "before": "b"},
    ]


async def test_cancel_delete_and_models() -> None:
    models = answer(200, {"object": "list", "data": [{"id": "a", "object": "model"}, {"id": "b"}]})
    script = in_turn(answer(200, info(status="cancelled")), answer(204), models)
    async with serving(script) as server, HeadwaterClient(server.url) as client:
        assert (await client.cancel(STREAM)).status == "cancelled"
        await client.delete(STREAM)
        assert await client.models() == ["a", "b"]
    assert [(r.method, r.path) for r in server.requests] == [
        ("POST", f"/v1/streams/{STREAM}/cancel"),
        ("DELETE", f"/v1/streams/{STREAM}"),
        ("GET", "/v1/models"),
    ]


async def test_the_key_is_sent_and_a_wrong_one_is_typed() -> None:
    async with (
        serving(in_turn(refused(401, "invalid_api_key"))) as server,
        HeadwaterClient(server.url, "secret") as client,
    ):
        with pytest.raises(AccessError):
            await client.models()
    assert server.requests[0].headers["authorization"] == "Bearer secret"
    assert server.requests[0].headers["user-agent"].startswith("headwater-python/")


async def test_no_key_no_header() -> None:
    async with serving(in_turn(refused(404, "stream_not_found"))) as server, HeadwaterClient(server.url) as client:
        with pytest.raises(UnknownStream):
            await client.info(STREAM)
    assert "authorization" not in server.requests[0].headers


async def test_a_running_stream_is_not_deleted() -> None:
    script = in_turn(refused(409, "stream_still_running"))
    async with serving(script) as server, HeadwaterClient(server.url) as client:
        with pytest.raises(StreamStillRunning):
            await client.delete(STREAM)


async def test_an_id_cannot_leave_its_path() -> None:
    async with serving(in_turn(refused(404, "stream_not_found"))) as server, HeadwaterClient(server.url) as client:
        with pytest.raises(UnknownStream):
            await client.delete("../models?x=/é")
    assert server.requests[0].target == "/v1/streams/..%2Fmodels%3Fx%3D%2F%C3%A9"


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"data":[{}]}', b"\xff"])
async def test_an_answer_of_something_else_is_typed(body: bytes) -> None:
    async with serving(in_turn(answer(200, body))) as server, HeadwaterClient(server.url) as client:
        with pytest.raises(UnexpectedAnswer, match="not understood"):
            await client.models()


async def test_a_server_that_is_not_there() -> None:
    async with serving(in_turn()) as server:
        pass
    async with HeadwaterClient(server.url) as client:
        with pytest.raises(ConnectionLost, match="cannot be reached") as caught:
            await client.models()
    assert isinstance(caught.value.__cause__, httpx.ConnectError)


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://host", ""])
def test_an_address_that_is_no_url(url: str) -> None:
    with pytest.raises(ConfigError):
        HeadwaterClient(url)


async def test_a_given_httpx_client_is_used_and_left_open() -> None:
    async with httpx.AsyncClient(headers={"x-mine": "1"}) as own, serving(in_turn(answer(200, {"data": []}))) as server:
        async with HeadwaterClient(server.url, http=own) as client:
            assert await client.models() == []
        assert not own.is_closed
    assert server.requests[0].headers["x-mine"] == "1"


async def test_what_a_start_sends() -> None:
    async with serving(in_turn(answer(201, info()))) as server, HeadwaterClient(server.url) as client:
        stream = client.stream(
            model="m",
            messages=[{"role": "user", "content": "é\ud800"}],
            temperature=0.5,
            linger_s=0,
            idempotency_key="mine",
        )
        assert stream.stream_id is None
        assert await stream.start() == STREAM
        assert await stream.start() == stream.stream_id == STREAM
    (sent,) = server.requests
    assert (sent.method, sent.target, sent.headers["content-type"]) == ("POST", "/v1/streams", "application/json")
    assert (sent.headers["idempotency-key"], sent.headers["x-linger-s"]) == ("mine", "0")
    assert json.loads(sent.body) == {
        "model": "m",
        "messages": [{"role": "user", "content": "é\ud800"}],
        "temperature": 0.5,
    }


async def test_each_start_has_its_own_key() -> None:
    async with (
        serving(in_turn(answer(201, info()), answer(201, info()))) as server,
        HeadwaterClient(server.url) as client,
    ):
        await client.stream(messages=[]).start()
        await client.stream(messages=[]).start()
    one, other = (request.headers["idempotency-key"] for request in server.requests)
    assert one != other
    assert "x-linger-s" not in server.requests[0].headers
    assert json.loads(server.requests[0].body)["model"] is None

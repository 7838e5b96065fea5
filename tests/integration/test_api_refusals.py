"""What is refused, with which status and in which words: bodies, heads, keys, hosts and origins, slow senders."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator

import httpx
import pytest

from headwater.events import Done, Text
from headwater.request import ChatRequest
from headwater.server import ServerSettings
from headwater.server.handoff import HttpLimits
from headwater.streams import Writer

from .kit import Connection, Running, connected, running

MESSAGES = [{"role": "user", "content": "Hi"}]
BODY = {"model": "hello", "messages": MESSAGES}
CHAT = "/v1/chat/completions"


async def hello(writer: Writer, request: ChatRequest) -> None:
    writer.write([Text("Hello"), Done("stop")])


SCRIPTS = {"hello": hello}


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running(SCRIPTS, limits=HttpLimits(max_header_bytes=8192)) as it:
        yield it


def error_of(response: httpx.Response) -> tuple[int, str, str]:
    error = response.json()["error"]
    assert set(error) == {"message", "type", "code", "param"}
    assert response.headers["x-request-id"]
    return response.status_code, error["type"], error["code"]


@pytest.mark.parametrize("path", [CHAT, "/v1/streams"])
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"\xff\xfe", b'{"a":' + b"[" * 50_000, b'{"messages":[{"role":"user"}],"n":"x"}', b"{}"]
)
async def test_a_malformed_body_is_400(server: Running, path: str, body: bytes) -> None:
    response = await server.client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert error_of(response) == (400, "invalid_request_error", "invalid_request")
    assert server.models.made == []


async def test_an_unknown_model_is_404(server: Running) -> None:
    response = await server.client.post(CHAT, json=BODY | {"model": "nowhere"})
    assert error_of(response) == (404, "not_found_error", "model_not_found")


async def test_unknown_routes_and_methods_have_the_same_form(server: Running) -> None:
    assert error_of(await server.client.get("/v1/nowhere")) == (404, "not_found_error", "not_found")
    assert error_of(await server.client.get("/nowhere")) == (404, "not_found_error", "not_found")
    refused = await server.client.put(CHAT)
    assert error_of(refused) == (405, "invalid_request_error", "method_not_allowed")
    assert refused.headers["allow"] == "POST"


async def test_a_declared_body_above_the_bound_is_413(server: Running) -> None:
    response = await server.client.post(CHAT, content=b"x" * (10 * 2**20))
    assert error_of(response) == (413, "invalid_request_error", "body_too_large")


async def test_an_undeclared_body_above_the_bound_is_413(server: Running) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(160):
            yield b"x" * 65_536

    response = await server.client.post(CHAT, content=pieces())
    assert error_of(response) == (413, "invalid_request_error", "body_too_large")


@pytest.mark.parametrize(
    ("name", "value"),
    [("X-Linger-S", "-1"), ("X-Linger-S", "nan"), ("X-Linger-S", "soon"), ("X-Linger-S", "1e9"),
     ("Idempotency-Key", ""), ("Idempotency-Key", "k" * 256), ("Idempotency-Key", "\xe9")],
)  # fmt: skip
async def test_a_header_out_of_bounds_is_named(server: Running, name: str, value: str) -> None:
    response = await server.client.post(CHAT, json=BODY, headers={name: value.encode("latin-1")})  # type: ignore[dict-item]
    assert error_of(response) == (400, "invalid_request_error", "invalid_request")
    assert response.json()["error"]["param"] == name


async def test_too_many_messages_are_refused() -> None:
    async with running(SCRIPTS, settings=ServerSettings(max_messages=2)) as server:
        response = await server.client.post(CHAT, json=BODY | {"messages": MESSAGES * 3})
        assert response.status_code == 400
        assert response.json()["error"]["param"] == "messages"


async def test_keys_are_asked_for_and_checked() -> None:
    async with running(SCRIPTS, settings=ServerSettings(api_keys=("one", "two"))) as server:
        get = server.client.get
        missing = await get("/v1/models")
        assert error_of(missing) == (401, "authentication_error", "invalid_api_key")
        assert missing.headers["www-authenticate"] == "Bearer"
        for wrong in ({"Authorization": "Bearer three"}, {"Authorization": "Basic one"}, {"x-api-key": ""}):
            assert (await get("/v1/models", headers=wrong)).status_code == 401
        for right in ({"Authorization": "Bearer one"}, {"authorization": "bearer two"}, {"x-api-key": "two"}):
            assert (await get("/v1/models", headers=right)).status_code == 200
        assert (await get("/v1/nowhere")).status_code == 401
        for path in ("/health", "/ready", "/openapi.json", "/api-docs"):
            assert (await get(path)).status_code == 200


SINGLE_USER = ServerSettings(single_user=True, cors_origins=("https://app.example",), allowed_hosts=("box.lan",))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost"}, 200),
        ({"Host": "127.0.0.1:8000"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Host": "app.localhost:8000"}, 200),
        ({"Host": "BOX.lan:8000"}, 200),
        ({"Host": "evil.example"}, 403),  # DNS rebinding
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "localhost.evil.example"}, 403),
        ({"Host": "192.168.1.2"}, 403),
        ({"Host": "localhost:8000", "Origin": "http://localhost:8000"}, 200),
        ({"Host": "localhost:8000", "Origin": "http://localhost:3000"}, 403),  # another program's page
        ({"Origin": "https://app.example"}, 200),
        ({"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, 403),
    ],
)
async def test_single_user_mode_answers_this_machine_only(headers: dict[str, str], status: int) -> None:
    async with running(SCRIPTS, settings=SINGLE_USER) as server:
        response = await server.client.get("/v1/models", headers=headers)
        assert response.status_code == status
        if status == 403:
            assert error_of(response) == (403, "permission_error", "origin_refused")


async def test_probes_may_come_by_any_name() -> None:
    async with running(SCRIPTS, settings=SINGLE_USER) as server:
        for path in ("/health", "/ready"):
            assert (await server.client.get(path, headers={"Host": "10.0.0.7"})).status_code == 200


async def test_a_form_of_another_site_cannot_post() -> None:
    async with running(SCRIPTS, settings=SINGLE_USER) as server:
        for headers in (
            {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
            {"Origin": "https://evil.example", "Content-Type": "text/plain"},
        ):
            assert (await server.client.post(CHAT, json=BODY, headers=headers)).status_code == 403
        assert server.models.made == []


@pytest.mark.parametrize("keys", [(), ("secret",)])
async def test_cors_allows_the_configured_origins_only(keys: tuple[str, ...]) -> None:
    settings = ServerSettings(cors_origins=("https://app.example",), api_keys=keys, single_user=not keys)
    async with running(SCRIPTS, settings=settings) as server:
        ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,last-event-id"}
        allowed = await server.client.options(CHAT, headers=ask | {"Origin": "https://app.example"})
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == "https://app.example"
        assert "access-control-allow-credentials" not in allowed.headers
        refused = await server.client.options(CHAT, headers=ask | {"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in refused.headers

        auth = {"Authorization": "Bearer secret"}
        answer = await server.client.post(
            CHAT, json=BODY | {"stream": True}, headers=auth | {"Origin": "https://app.example"}
        )
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        exposed = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
        assert exposed == {
            "x-stream-id", "x-message-id", "x-request-id", "retry-after", "location", "content-disposition",
        }  # fmt: skip
        if keys:
            unknown = await server.client.get("/v1/models", headers={"Origin": "https://app.example"})
            assert unknown.status_code == 401
            assert unknown.headers["access-control-allow-origin"] == "https://app.example"


async def test_any_origin_is_allowed_without_credentials() -> None:
    async with running(SCRIPTS, settings=ServerSettings(cors_origins=("*",), single_user=True)) as server:
        answer = await server.client.get("/v1/models", headers={"Origin": "https://anything.example"})
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers


async def test_request_ids_are_kept_where_they_are_sane(server: Running) -> None:
    kept = await server.client.get("/health", headers={"X-Request-Id": "abc-123"})
    assert kept.headers["x-request-id"] == "abc-123"
    for bad in ("x" * 129, "a b", "\xe9"):
        fresh = await server.client.get("/health", headers={"X-Request-Id": bad.encode("latin-1")})  # type: ignore[dict-item]
        assert len(fresh.headers["x-request-id"]) == 32


async def test_a_fault_of_ours_is_500_without_details_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async with running(SCRIPTS) as server:
        server.models.list = None  # type: ignore[assignment,method-assign]
        with caplog.at_level(logging.ERROR):
            response = await server.client.get("/v1/models", headers={"X-Request-Id": "find-me"})
        assert error_of(response) == (500, "api_error", "internal_error")
        assert "NoneType" not in response.text
        assert len(caplog.records) == 1
        assert "find-me" in caplog.text
        assert "TypeError" in caplog.text


# ------------------------------------------------------------------ on the wire, below ASGI


async def flood(client: Connection, piece: bytes) -> None:
    for _ in range(400):  # 25 MB, more than the buffers between us take
        client.writer.write(piece)
        await client.writer.drain()


async def test_a_giant_header_is_431_whether_it_ends_or_not(server: Running) -> None:
    for data in (
        b"GET /health HTTP/1.1\r\nhost: x\r\nbig: " + b"x" * 9000 + b"\r\n\r\n",
        b"GET /health HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 2000 + b"\r\n",
        b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n",
    ):
        async with connected(server) as client:
            client.writer.write(data)
            status, headers = await client.head()
            assert (status, headers["connection"]) == (431, "close")
            assert json.loads(await client.body(headers))["error"]["code"] == "header_too_large"
            assert await client.reader.read() == b""
    async with connected(server) as client:
        client.writer.write(b"GET /health HTTP/1.1\r\nhost: x\r\nbig: ")
        with pytest.raises(ConnectionError):
            await flood(client, b"x" * 65_536)


async def test_a_head_below_the_bound_arrives_in_pieces(server: Running) -> None:
    async with connected(server) as client:
        client.writer.write(b"GET /health HTTP/1.1\r\nhost: localhost\r\n")
        for _ in range(50):
            client.writer.write(b"a: " + b"b" * 100 + b"\r\n")
            await client.writer.drain()
            await asyncio.sleep(0)
        client.writer.write(b"\r\n")
        assert (await client.head())[0] == 200


async def test_what_is_not_http_is_400_in_our_form(server: Running) -> None:
    async with connected(server) as client:
        client.writer.write(b"HELO mail.example\r\n\r\n")
        status, headers = await client.head()
        assert status == 400
        assert json.loads(await client.body(headers))["error"]["code"] == "invalid_http"
        assert await client.reader.read() == b""


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /health HT",
        b"GET /health HTTP/1.1\r\nhost: x\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n",
    ],
)
async def test_a_sender_that_dawdles_is_408(sent: bytes) -> None:
    """Slowloris: head and body have one deadline together, however they trickle."""
    async with running(SCRIPTS, limits=HttpLimits(read_timeout_s=0.2)) as server, connected(server) as client:
        client.writer.write(sent)
        status, headers = await client.head()
        assert (status, headers["connection"]) == (408, "close")
        assert json.loads(await client.body(headers))["error"]["code"] == "request_timeout"
        assert await client.reader.read() == b""


async def test_a_connection_that_sends_nothing_is_closed_without_a_word() -> None:
    async with running(SCRIPTS, limits=HttpLimits(read_timeout_s=0.1)) as server, connected(server) as client:
        assert await client.reader.read() == b""


async def test_the_deadline_is_for_reading_only() -> None:
    go = asyncio.Event()

    async def slow(writer: Writer, request: ChatRequest) -> None:
        await go.wait()
        writer.write([Text("late"), Done("stop")])

    async with running({"slow": slow}, limits=HttpLimits(read_timeout_s=0.05)) as server, connected(server) as client:
        client.send("POST", CHAT, json.dumps({"messages": MESSAGES}).encode())
        await asyncio.sleep(0.15)  # three times the deadline
        go.set()
        assert (await client.head())[0] == 200


async def test_pipelined_requests_are_answered_in_order(server: Running) -> None:
    async with connected(server) as client:
        body = json.dumps(BODY | {"stream": True}).encode()
        client.send("POST", CHAT, body)
        client.send("GET", "/health")
        client.send("POST", CHAT, body)
        for expected in ("text/event-stream; charset=utf-8", "application/json", "text/event-stream; charset=utf-8"):
            status, headers = await client.head()
            assert (status, headers["content-type"]) == (200, expected)
            assert await client.body(headers)


async def test_a_client_that_leaves_while_it_sends_leaves_nothing(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        async with connected(server) as client:
            client.send("POST", CHAT, b"", content_length="1000")
            client.writer.write(b"{")
            await client.writer.drain()
        assert (await server.client.get("/health")).status_code == 200
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert server.models.made == []


async def test_allow_names_all_that_a_path_takes(server: Running) -> None:
    """RFC 9110 section 15.5.6; a path has several routes, one for each method or two."""
    answer = await server.client.patch("/v1/streams")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")
    answer = await server.client.put("/v1/streams/x")
    assert answer.headers["allow"] == "DELETE, GET"

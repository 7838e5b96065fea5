"""Request ids, and exceptions that nobody expected."""

from __future__ import annotations

import logging

import pytest
from starlette.types import Receive, Scope, Send

from headwater.log_context import REQUEST_ID
from headwater.server.envelope import MAX_PATH_CHARACTERS, Envelope

from .asgi import Exchange, http_scope, ok


async def test_ids_are_fresh_or_the_callers() -> None:
    ids = []
    for headers in ({}, {}, {"X-Request-Id": "mine"}, {"X-Request-Id": "two\x7flines"}, {"X-Request-Id": ""}):
        exchange = Exchange(http_scope(headers=headers))
        await exchange.run(Envelope(ok))
        assert exchange.headers["x-request-id"] == exchange.scope["headwater.request_id"]
        ids.append(exchange.headers["x-request-id"])
    assert len(set(ids)) == 5
    assert ids[2] == "mine"


async def test_before_the_answer_a_fault_is_500(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("a secret")

    exchange = Exchange(http_scope(headers={"X-Request-Id": "here"}))
    with caplog.at_level(logging.ERROR):
        await exchange.run(Envelope(broken))
    assert exchange.status == 500
    assert b"secret" not in exchange.body
    assert [record.getMessage() for record in caplog.records] == ["request here failed: GET /"]


async def test_after_its_start_a_fault_goes_to_the_server_with_the_id() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError("half way")

    exchange = Exchange(http_scope(headers={"X-Request-Id": "here"}))
    with pytest.raises(ValueError, match="half way") as caught:
        await exchange.run(Envelope(broken))
    assert caught.value.__notes__ == ["request here"]
    assert len(exchange.sent) == 1


async def test_other_protocols_pass() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert "headwater.request_id" not in scope

    await Envelope(app)({"type": "lifespan"}, None, None)  # type: ignore[arg-type]


async def test_each_request_has_a_line_where_that_is_wanted(caplog: pytest.LogCaptureFixture) -> None:
    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        assert REQUEST_ID.get() == scope["headwater.request_id"]
        headers = [(b"X-Stream-Id", b"s1")]
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        await send({"type": "http.response.body"})

    caplog.set_level(logging.INFO, "headwater.access")
    await Exchange(http_scope()).run(Envelope(ok))
    assert not caplog.records
    scope = http_scope(path="/a\nb", headers={"X-Request-Id": "r1"})
    scope["raw_path"], scope["query_string"] = b"/a%0Ab", b"q=private"
    await Exchange(scope).run(Envelope(stream, tells=True))
    scope = http_scope(path="/" + "x" * 600)
    scope["raw_path"], scope["client"] = None, None
    await Exchange(scope).run(Envelope(ok, tells=True))
    first, second = (vars(record) for record in caplog.records)
    told = [first[name] for name in ("request_id", "stream_id", "method", "path", "status")]
    assert told == ["r1", "s1", "GET", "/a%0Ab", 201]
    assert first["duration_ms"] >= 0
    assert "private" not in str(first)
    assert (len(second["path"]), second["client"], "stream_id" in second) == (MAX_PATH_CHARACTERS, "", False)

"""Request ids, and exceptions that nobody expected."""

from __future__ import annotations

import logging

import pytest
from starlette.types import Receive, Scope, Send

from headwater.server.envelope import Envelope

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

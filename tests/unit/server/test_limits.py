"""Bounds under any ASGI server."""

from __future__ import annotations

import pytest
from starlette.types import Receive, Scope, Send

from headwater.errors import BodyTooLarge
from headwater.server.limits import RequestLimits

from .asgi import Exchange, http_scope, ok


def limited() -> RequestLimits:
    return RequestLimits(ok, max_body_bytes=10, max_header_bytes=100)


@pytest.mark.parametrize(("length", "status"), [("10", 200), ("11", 413), ("9" * 19, 413)])
async def test_a_declared_body(length: str, status: int) -> None:
    exchange = Exchange(http_scope(headers={"Content-Length": length}))
    await exchange.run(limited())
    assert exchange.status == status


async def test_a_declared_body_is_not_counted_again() -> None:
    seen: list[Receive] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(receive)

    exchange = Exchange(http_scope(headers={"Content-Length": "3"}))
    await RequestLimits(app, max_body_bytes=10, max_header_bytes=100)(exchange.scope, exchange.receive, exchange.send)
    assert seen == [exchange.receive]


@pytest.mark.parametrize("headers", [{}, {"Content-Length": "x"}, {"Content-Length": "1" * 30}])
async def test_an_undeclared_body_is_counted(headers: dict[str, str]) -> None:
    fits = Exchange(http_scope(headers=headers), [b"12345", b"67890"])
    await fits.run(limited())
    assert fits.status == 200
    with pytest.raises(BodyTooLarge):
        await Exchange(http_scope(headers=headers), [b"12345", b"67890", b"!"]).run(limited())


async def test_a_head() -> None:
    small = Exchange(http_scope("/x", headers={"a": "b" * 80}))
    await small.run(limited())
    assert small.status == 200
    for scope in (
        http_scope("/x", headers={"a": "b" * 100}),
        http_scope("/" + "x" * 100),
        http_scope(query="x" * 101),
    ):
        exchange = Exchange(scope)
        await exchange.run(limited())
        assert exchange.status == 431


async def test_a_server_that_gives_no_raw_path_and_other_protocols() -> None:
    exchange = Exchange(http_scope() | {"raw_path": None})
    await exchange.run(limited())
    assert exchange.status == 200

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "lifespan"

    await RequestLimits(app, max_body_bytes=1, max_header_bytes=1)({"type": "lifespan"}, None, None)  # type: ignore[arg-type]

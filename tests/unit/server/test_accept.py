"""What a request's headers say about the stream that it starts."""

from __future__ import annotations

from starlette.requests import Request

from headwater.server.accept import cursor_of, owner_of

from .asgi import http_scope


def test_the_newer_position_wins() -> None:
    assert cursor_of(Request(http_scope(headers={"Last-Event-ID": "1.2"})), "1.1") == "1.2"
    assert cursor_of(Request(http_scope()), "1.1") == "1.1"
    assert cursor_of(Request(http_scope(headers={"Last-Event-ID": ""})), "1.1") == "1.1"
    assert cursor_of(Request(http_scope()), "") is None


def test_the_owner_is_nobody_without_login() -> None:
    assert owner_of(Request(http_scope())) == ""
    assert owner_of(Request(http_scope() | {"headwater.owner": "ada"})) == "ada"

"""What a request's headers say about the stream that it starts."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence

import pytest
from starlette.requests import Request

from headwater.dialects import DIALECTS
from headwater.errors import IdempotencyMismatch, InputError
from headwater.logs import MemoryLog
from headwater.request import ChatRequest, decode_request
from headwater.server import ModelCard, Resolved, ServerSettings
from headwater.server.accept import accept, cursor_of, owner_of
from headwater.server.ports import Services
from headwater.streams import Accepted, Hub, Producer, StreamSettings, Writer

from .asgi import http_scope


def test_the_newer_position_wins() -> None:
    assert cursor_of(Request(http_scope(headers={"Last-Event-ID": "1.2"})), "1.1") == "1.2"
    assert cursor_of(Request(http_scope()), "1.1") == "1.1"
    assert cursor_of(Request(http_scope(headers={"Last-Event-ID": ""})), "1.1") == "1.1"
    assert cursor_of(Request(http_scope()), "") is None


def test_the_owner_is_nobody_without_login() -> None:
    assert owner_of(Request(http_scope())) == ""
    assert owner_of(Request(http_scope() | {"headwater.owner": "ada"})) == "ada"


class Nothing:
    async def run(self, writer: Writer) -> None:
        return


class OneModel:
    """A directory of one model. `asked` holds what its producers were made for."""

    def __init__(self) -> None:
        self.asked: list[ChatRequest] = []

    async def resolve(self, model: str | None) -> Resolved:
        return Resolved("public", "somebody", self._make)

    async def list(self) -> Sequence[ModelCard]:
        return []

    def _make(self, request: ChatRequest) -> Producer:
        self.asked.append(request)
        return Nothing()


@pytest.fixture
async def services() -> AsyncIterator[Services]:
    hub = Hub(MemoryLog(), StreamSettings())
    await hub.start()
    yield Services(hub, OneModel(), ServerSettings())
    await hub.shutdown(0)


async def start(services: Services, headers: dict[str, str] | None = None, **fields: object) -> Accepted:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "temperature": 1} | fields
    decoded = DIALECTS["openai_chat"].decode(json.dumps(body).encode())
    return await accept(services, Request(http_scope(headers=headers)), decoded)


def asked(services: Services) -> list[ChatRequest]:
    assert isinstance(services.models, OneModel)
    return services.models.asked


@pytest.mark.parametrize(
    ("headers", "fields", "expected"),
    [
        ({}, {}, ("normal", True)),
        ({}, {"priority": "low", "fallback": False}, ("low", False)),
        ({"X-Priority": "high", "X-Fallback": "off"}, {}, ("high", False)),
        ({"X-Priority": "high", "X-Fallback": "on"}, {"priority": "low", "fallback": "off"}, ("high", True)),
    ],
    ids=["neither", "body", "headers", "both"],
)
async def test_priority_and_fallback_come_from_body_and_headers(
    services: Services, headers: dict[str, str], fields: dict[str, object], expected: tuple[str, bool]
) -> None:
    """The provider's call and the stored request, from which a restart goes on, both know of them."""
    accepted = await start(services, headers, **fields)
    (made,) = asked(services)
    assert (made.priority, made.fallback) == expected
    assert (made.model, made.params) == ("public", {"temperature": 1})
    assert decode_request(accepted.channel.record.request) == made


@pytest.mark.parametrize(
    ("header", "word"),
    [("X-Priority", "urgent"), ("X-Priority", ""), ("X-Priority", "1"), ("X-Fallback", "true"), ("X-Fallback", "")],
)
async def test_a_wrong_word_in_a_header_is_named(services: Services, header: str, word: str) -> None:
    with pytest.raises(InputError, match="must be one of") as caught:
        await start(services, {header: word})
    assert caught.value.param == header
    assert asked(services) == []


async def test_a_retry_may_be_more_urgent_and_is_still_the_same_request(services: Services) -> None:
    """P9: a key stands for what was asked, not for how it was to be answered."""
    key = {"Idempotency-Key": "k"}
    first = await start(services, key, priority="low")
    again = await start(services, key | {"X-Priority": "high", "X-Fallback": "off"}, fallback=True)
    assert (first.created, again.created) == (True, False)
    assert again.channel.id == first.channel.id
    with pytest.raises(IdempotencyMismatch):
        await start(services, key, temperature=2)
    assert len(asked(services)) == 1

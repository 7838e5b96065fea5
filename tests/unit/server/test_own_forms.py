"""What is no request passes untouched; the forms themselves are shown with the routes that have one."""

from __future__ import annotations

import pytest
from starlette.types import Message, Receive, Scope, Send

from headwater.server.own_forms import OwnForms, Place, Refused


def form(refused: Refused) -> dict[str, object]:
    return {"said": refused.message}


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
async def test_only_requests_have_errors_to_form(kind: str) -> None:
    """A lifespan has no path, and the application it starts must get it."""
    seen: list[tuple[Scope, Send]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope, send))

    async def receive() -> Message:
        raise AssertionError("nobody asked")

    async def send(message: Message) -> None:
        raise AssertionError("nobody said anything")

    scope: Scope = {"type": kind}
    await OwnForms(app, places=[Place("/", form)])(scope, receive, send)
    assert seen == [(scope, send)]

"""OpenAI-compatible routes: what the official SDKs call."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.types import ASGIApp

from ..dialects import DIALECTS, Decoded, dialect_named
from ..dialects.base import json_line
from ..errors import UnknownModel
from ..events import Error
from ..streams import Accepted, Channel
from . import openapi
from .accept import accept
from .errors import CLIENT_CLOSED_REQUEST, event_response
from .ports import ModelCard, Services
from .responses import before_disconnect
from .scopes import check_scope
from .watching import watch_accepted

_DECODE = DIALECTS["openai_chat"].decode


def routes(services: Services) -> APIRouter:
    """`/v1/chat/completions` and `/v1/models`."""
    router = APIRouter(tags=["OpenAI"])

    @router.post("/v1/chat/completions", **openapi.CHAT_COMPLETIONS)
    async def create_chat_completion(request: Request) -> ASGIApp:
        """Answer a chat. With `stream: true` the frames carry ids: come back with the last one to get the rest."""
        check_scope(request, "chat")
        decoded = _DECODE(await request.body())
        accepted = await accept(services, request, decoded)
        if decoded.stream:
            return stream_response(services, request, decoded, accepted)
        return await whole_response(services, request, decoded, accepted.channel)

    @router.get("/v1/models", **openapi.LIST_MODELS)
    async def list_models() -> Response:
        """All models that can be asked for now."""
        cards = await services.models.list()
        return json_response({"object": "list", "data": [_card(card) for card in cards]})

    @router.get("/v1/models/{model:path}", **openapi.GET_MODEL)
    async def get_model(model: str) -> Response:
        """One model by its public name."""
        for card in await services.models.list():
            if card.id == model:
                return json_response(_card(card))
        raise UnknownModel(f"there is no model {model!r}", param="model")

    return router


def stream_response(services: Services, request: Request, decoded: Decoded, accepted: Accepted) -> ASGIApp:
    """The answer as it is made, in the dialect that was asked for."""
    return watch_accepted(services, request, accepted, decoded.dialect, decoded.options)


async def whole_response(services: Services, request: Request, decoded: Decoded, channel: Channel) -> Response:
    """The answer in one piece. A caller that leaves while it is made is a viewer that leaves."""
    hub = services.hub
    with hub.hold(channel):
        if not await before_disconnect(request.receive, channel.wait_end()):
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        headers = {"X-Stream-Id": channel.id}
        if isinstance(channel.terminal, Error):
            return event_response(channel.terminal, headers)
        events = await hub.read_all(channel)
    assemble = dialect_named(decoded.dialect).assemble
    assert assemble is not None  # noqa: S101 - the routes of such dialects alone lead here
    return json_response(assemble(channel, events, decoded.options.choices), headers=headers)


def json_response(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(json_line(value), status, headers, "application/json")


def _card(card: ModelCard) -> dict[str, object]:
    return {"id": card.id, "object": "model", "created": card.created, "owned_by": card.owned_by}

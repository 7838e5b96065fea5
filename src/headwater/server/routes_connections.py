"""The routes of reference 002: connections that are created, started, watched, measured and closed.

Their answers are `{"success": true, "data": …}`, their errors `{"success": false, "error": "message", "code": "…"}`;
`own_forms` gives all errors below `/streaming/` the form of `connection_form`.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response
from starlette.types import ASGIApp

from ..cursor import parse_cursor
from ..dialects import EncodeOptions
from ..dialects.base import json_line
from ..dialects.streaming import NAME, StreamRequestBody, decode_body, decode_query, understood
from ..errors import InputError
from ..events import JsonObject, StreamId
from ..request import ChatRequest, prompt_characters
from ..streams import Accepted, NewStream
from . import openapi_connections as openapi
from .accept import as_headers_say, check_room, cursor_of, metered, new_stream, owner_of, resolved
from .all_connections import AllConnections
from .connection_facts import Bounds, Facts, facts_from, facts_of, keep
from .connection_shapes import ConnectionStatus
from .connections import Begin, Connections
from .links import check_no_link
from .own_forms import Refused
from .ports import Services
from .routes_all_connections import all_connections, period_of
from .scopes import check_scope
from .viewer_facts import facts_of_viewer
from .watching import watch_accepted

PREFIX = "/streaming/"

# Of the epoch of a stream that a GET started: the rest names it, these bits are for its further attempts and for
# rebuilt logs.
_ATTEMPT_BITS = 8

ConnectionId = Annotated[str, Path(description="Id of the connection.", max_length=64)]


def routes(services: Services, connections: Connections) -> APIRouter:
    """`/streaming/…`, and `/v1/connections`, which tells of the same connections and of all others."""
    router = APIRouter()
    router.include_router(_below_streaming(services, connections))
    router.include_router(all_connections(services.hub, connections))
    return router


def _below_streaming(services: Services, connections: Connections) -> APIRouter:
    router = APIRouter(tags=["streaming"])
    everything = AllConnections(services.hub, connections)
    _add_starting(router, services, connections, everything)
    _add_looking(router, connections, everything)
    _add_at_once(router, _AtOnce(services, connections))
    return router


def _add_starting(router: APIRouter, services: Services, connections: Connections, everything: AllConnections) -> None:
    @router.post("/streaming/connections", **openapi.CREATE)
    async def create_connection(request: Request) -> Response:
        """Create a connection; nothing is asked of a model before its start, for which it waits five minutes."""
        check_scope(request, "chat")
        body = decode_body(await request.body(), request.query_params)
        connection = connections.create(owner_of(request), body, _facts(services, request, body))
        place = f"{request.scope.get('root_path', '')}/streaming/connections/{connection.id}"
        return _answer(connection, status=201, headers={"X-Stream-Id": connection.id, "Location": place})

    @router.post("/streaming/connections/{connection_id}/start", **openapi.START)
    async def start_connection(request: Request, connection_id: ConnectionId) -> Response:
        """Start the answer to the request that the connection was created with. Started again, it is the same one."""
        check_scope(request, "chat")
        owner = owner_of(request)
        await connections.start(connection_id, owner, _begin(services, request))
        connection = await connections.connection(connection_id, owner)
        return _answer(connection, headers={"X-Stream-Id": connection.id})

    @router.get("/streaming/connections/{connection_id}/events", **openapi.WATCH)
    async def watch_connection(
        request: Request,
        connection_id: ConnectionId,
        after: Annotated[str | None, Query(description="Cursor to continue after; `Last-Event-ID` wins.")] = None,
    ) -> ASGIApp:
        """Watch the answer from its start, or from after a cursor. A connection that was not started is started."""
        check_scope(request, "chat")
        if cursor_of(request, after) is None:
            check_room(services, request)
        accepted = await connections.start(connection_id, owner_of(request), _begin(services, request))
        return _watch(services, request, accepted)

    @router.delete("/streaming/connections/{connection_id}", **openapi.CLOSE)
    async def close_connection(request: Request, connection_id: ConnectionId) -> Response:
        """Stop the answer, or forget a connection that was not started. One that has ended stays as it is."""
        check_scope(request, "chat")
        return _answer(await everything.close(connection_id, owner_of(request)))


def _add_looking(router: APIRouter, connections: Connections, everything: AllConnections) -> None:
    @router.get("/streaming/connections", **openapi.LIST)
    async def list_connections(
        request: Request,
        status: Annotated[ConnectionStatus | None, Query(description="Only these; without it, the open ones.")] = None,
        limit: Annotated[int, Query(ge=1, le=200, description="At most so many.")] = 100,
        before: Annotated[str | None, Query(max_length=64, description="Only those older than this id.")] = None,
    ) -> Response:
        """Your connections, newest first: those made here, and all other clients that watch a stream of yours."""
        check_scope(request, "chat")
        listed = await everything.listed(owner_of(request), status=status, limit=limit, before=before or None)
        more = {} if listed.before is None else {"before": listed.before}
        return _json({"success": True, "data": listed.data} | more)

    @router.get("/streaming/connections/{connection_id}", **openapi.GET)
    async def get_connection(
        request: Request,
        connection_id: ConnectionId,
        limit: Annotated[int, Query(ge=0, le=1000, description="How many events.")] = 100,
        after: Annotated[
            str | None, Query(description="Events after this cursor; the content is always whole.")
        ] = None,
    ) -> Response:
        """The answer so far."""
        check_scope(request, "chat")
        return _answer(await connections.response(connection_id, owner_of(request), limit=limit, after=after))

    @router.get("/streaming/connections/{connection_id}/metrics", **openapi.METRICS)
    async def get_connection_metrics(
        request: Request,
        connection_id: ConnectionId,
        start: Annotated[str | None, Query(description="RFC 3339; without an offset in UTC.")] = None,
        end: Annotated[str | None, Query(description="RFC 3339; without an offset in UTC.")] = None,
    ) -> Response:
        """What was measured of the connection in a period."""
        check_scope(request, "chat")
        for name, text in (("start", start), ("end", end)):
            if not text:
                raise InputError(f"{name} is needed: an RFC 3339 time", param=name)
        start_ms, end_ms = period_of(start, end)
        owner = owner_of(request)
        return _answer(await everything.metrics(connection_id, owner, start_ms=start_ms, end_ms=end_ms))


def _add_at_once(router: APIRouter, at_once: _AtOnce) -> None:
    @router.post("/streaming/stream", **openapi.STREAM)
    async def stream_connection(request: Request) -> ASGIApp:
        """Create a connection, start it, and answer with its events. `Idempotency-Key` is obeyed."""
        check_scope(request, "chat")
        return await at_once.post(request, decode_body(await request.body(), request.query_params))

    @router.get("/streaming/stream", **openapi.STREAM_GET)
    async def stream_connection_get(request: Request) -> ASGIApp:
        """The same for EventSource, which comes back to the same address: with a cursor it gets the rest.

        An address with `requestId` or `key` is one answer, also where it is asked again without a cursor.
        """
        check_scope(request, "chat", reads=False)
        check_no_link(request)
        return await at_once.get(request, decode_query(request.query_params))


class _AtOnce:
    """One step for the controller of the reference: create, start and watch."""

    def __init__(self, services: Services, connections: Connections) -> None:
        self._services = services
        self._connections = connections

    async def post(self, request: Request, body: StreamRequestBody) -> ASGIApp:
        new = new_stream(self._services, request, NAME)
        if new.idempotency_key:
            new = msgspec.structs.replace(new, fingerprint=_digest(_question(body)))
        return await self._stream(request, body, new)

    async def get(self, request: Request, body: StreamRequestBody) -> ASGIApp:
        """The address and the epoch in the cursor name the stream, so the log alone knows which one it was."""
        new = new_stream(self._services, request, NAME)
        name = request.query_params.get("key") or request.query_params.get("requestId") or ""
        address = _digest((name, _question(body), body.request_id, body.client_id, body.metadata.session_id))
        position = parse_cursor(cursor_of(request, request.query_params.get("after")) or "")
        number = 0
        if not name:
            number = position.epoch >> _ATTEMPT_BITS if position is not None else secrets.randbits(30)
        new = msgspec.structs.replace(
            new,
            idempotency_key=f"{PREFIX}{address}:{number}",
            fingerprint=address,
            epoch=(number << _ATTEMPT_BITS) + 1,
        )
        return await self._stream(request, body, new)

    async def _stream(self, request: Request, body: StreamRequestBody, new: NewStream) -> ASGIApp:
        facts = _facts(self._services, request, body)
        known = await self._services.hub.find(new) if new.idempotency_key else None
        if known is not None:
            return _watch(self._services, request, Accepted(known, False))
        check_room(self._services, request)
        owner = owner_of(request)
        connection = self._connections.create(owner, body, facts)
        try:
            accepted = await self._connections.start(connection.id, owner, _begin(self._services, request, new))
        except BaseException:
            self._connections.abandon(connection.id)
            raise
        return _watch(self._services, request, accepted)


def _watch(services: Services, request: Request, accepted: Accepted) -> ASGIApp:
    """By whom the connection was made for, in the frames that it asked for."""
    facts = facts_of(accepted.channel.record)
    pace = None if facts is None else facts.pace
    return watch_accepted(services, request, accepted, NAME, EncodeOptions(), carries=True, pace=pace)


def _begin(services: Services, request: Request, made: NewStream | None = None) -> Begin:
    """How a connection's stream is made for this request. `made`: with which key, where its id alone is not enough."""
    if made is None:
        # Whoever starts it again gets it by its id.
        made = msgspec.structs.replace(new_stream(services, request, NAME), idempotency_key="")
    new = made

    async def begin(stream: StreamId, body: StreamRequestBody, facts: Facts) -> Accepted:
        check_scope(request, "chat", reads=False)
        asked = _as_headers_say(request, understood(body).request)
        if len(asked.messages) > services.settings.max_messages:
            raise InputError(f"more than {services.settings.max_messages} messages", param="messages")
        characters = prompt_characters(asked)
        async with metered(services, request, characters) as count:
            chat = msgspec.structs.replace(asked, meters=count.names)
            chat, provider, producer = await resolved(services, chat, new.owner)
            whole = msgspec.structs.replace(
                new,
                id=stream,
                model=chat.model,
                provider=provider,
                request=keep(chat, facts),
                prompt_characters=characters,
                priority=chat.priority,
            )
            accepted = await services.hub.create(whole, producer)
            count.spent = accepted.created
        return accepted

    return begin


def _as_headers_say(request: Request, asked: ChatRequest) -> ChatRequest:
    fallback, priority = as_headers_say(request, asked.fallback, asked.priority)
    return msgspec.structs.replace(asked, fallback=fallback, priority=priority)


def _facts(services: Services, request: Request, body: StreamRequestBody) -> Facts:
    """Raises `InputError`."""
    told = msgspec.structs.replace(body, client_id=body.client_id or request.headers.get("x-client-id"))
    settings = services.settings
    bounds = Bounds(settings.max_buffer_bytes, settings.max_flush_interval_ms, services.hub.settings.flush_ms)
    client = facts_of_viewer(request.scope)
    return msgspec.structs.replace(
        facts_from(told, bounds), user_id=client.user, user_agent=client.user_agent, ip=client.ip
    )


def _question(body: StreamRequestBody) -> object:
    """What is asked, not how it is answered: a retry may hurry where the first call did not."""
    asked = understood(body).request
    return [asked.model, asked.messages, asked.params]


def _digest(value: object) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()


def _answer(data: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return _json({"success": True, "data": data}, status=status, headers=headers)


def _json(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(json_line(value), status, headers, "application/json")


def connection_form(refused: Refused) -> JsonObject:
    """An error in this reference's form."""
    param = {} if refused.param is None else {"param": refused.param}
    return {"success": False, "error": refused.message, "code": refused.code} | param

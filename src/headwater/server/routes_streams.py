"""Native routes: streams as resources that can be started, watched, resumed, listed, cancelled and deleted."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response
from starlette.types import ASGIApp

from ..dialects import DIALECTS, EncodeOptions, dialect_named
from ..events import StreamId
from ..streams import Hub, StreamRecord
from . import openapi
from .accept import accept, cursor_of, owner_of, wants_stream
from .ports import Services
from .responses import EventStreamResponse
from .routes_openai import json_response, stream_response
from .scopes import check_scope

_DECODE = DIALECTS["events"].decode
# Of the tasks by which documents are read (`documents.ingest.KIND`, which plain streaming shall not load).
_READING = "ingest"

AnyStreamId = Annotated[str, Path(description="Id of the stream, as in `X-Stream-Id`.", max_length=64)]


class _Params(msgspec.Struct):
    n: int | None = None


class _Task(msgspec.Struct):
    kind: str = ""


class _Stored(msgspec.Struct):
    """The few facts of a stored request that are needed here; the rest, which may be megabytes, is not built."""

    params: _Params = msgspec.field(default_factory=_Params)
    task: _Task | None = None


_decode_stored = msgspec.json.Decoder(_Stored).decode

STREAM_ID = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"


def routes(services: Services) -> APIRouter:
    """`/v1/streams` and below."""
    router = APIRouter(tags=["streams"])
    _add_starting(router, services)
    _add_watching(router, services)
    _add_managing(router, services)
    return router


def _add_starting(router: APIRouter, services: Services) -> None:
    hub = services.hub

    @router.post("/v1/streams", **openapi.CREATE_STREAM)
    async def create_stream(request: Request) -> ASGIApp:
        """Start a stream and tell its place; with `stream`, or `Accept: text/event-stream`, send the answer itself."""
        check_scope(request, "chat")
        decoded = _DECODE(await request.body())
        dialect_named(decoded.dialect)
        accepted = await accept(services, request, decoded)
        channel = accepted.channel
        if wants_stream(request, decoded):
            return stream_response(services, request, decoded, accepted)
        info = await hub.info(StreamId(channel.id), owner=owner_of(request))
        place = f"{request.scope.get('root_path', '')}/v1/streams/{channel.id}"
        headers = {"X-Stream-Id": channel.id, "Location": place}
        return json_response(info, status=201 if accepted.created else 200, headers=headers)


def _add_watching(router: APIRouter, services: Services) -> None:
    hub = services.hub

    @router.get("/v1/streams", **openapi.LIST_STREAMS)
    async def list_streams(
        request: Request,
        state: Annotated[Literal["any", "unfinished", "finished"], Query(description="Which streams.")] = "any",
        limit: Annotated[int, Query(ge=1, le=1000, description="At most so many.")] = 100,
        before: Annotated[
            str | None, Query(description="Only streams older than this id, for paging.", pattern=STREAM_ID)
        ] = None,
    ) -> Response:
        """Your streams, newest first."""
        check_scope(request, "chat")
        older_than = None if before is None else StreamId(before)
        # One more than asked for tells whether there are more, without a second query.
        found = await hub.list(owner=owner_of(request), state=state, before=older_than, limit=limit + 1)
        return json_response({"object": "list", "data": found[:limit], "has_more": len(found) > limit})

    @router.get("/v1/streams/{stream_id}", **openapi.GET_STREAM)
    async def get_stream(request: Request, stream_id: AnyStreamId) -> Response:
        """What is known of a stream."""
        await _check(request, hub, stream_id)
        return json_response(await hub.info(StreamId(stream_id), owner=owner_of(request)))

    @router.get("/v1/streams/{stream_id}/events", **openapi.WATCH_STREAM)
    async def watch_stream(
        request: Request,
        stream_id: AnyStreamId,
        dialect: Annotated[str, Query(description="Wire format: " + ", ".join(DIALECTS))] = "events",
        after: Annotated[str | None, Query(description="Cursor to continue after; `Last-Event-ID` wins.")] = None,
        include_usage: Annotated[bool, Query(description="Whether `openai_chat` frames end with usage.")] = False,
    ) -> ASGIApp:
        """Watch a stream from its start, or from after a cursor, in any dialect."""
        encoding = dialect_named(dialect)
        channel = await hub.open(StreamId(stream_id), owner=owner_of(request))
        check_scope(request, _scope_of(channel.record))
        cursor = cursor_of(request, after)
        if channel.at_end(cursor):
            return Response(status_code=204, headers={"X-Stream-Id": channel.id})
        options = EncodeOptions(include_usage=include_usage, choices=_choices(channel.record.request))
        return EventStreamResponse(
            hub,
            channel,
            encoding.encoder(options),
            cursor=cursor,
            dialect=dialect,
            compression=services.compression,
        )


def _add_managing(router: APIRouter, services: Services) -> None:
    hub = services.hub

    @router.post("/v1/streams/{stream_id}/cancel", **openapi.CANCEL_STREAM)
    async def cancel_stream(request: Request, stream_id: AnyStreamId) -> Response:
        """Stop generating. An ended stream stays as it is."""
        await _check(request, hub, stream_id)
        return json_response(await hub.cancel(StreamId(stream_id), owner=owner_of(request)))

    @router.delete("/v1/streams/{stream_id}", **openapi.DELETE_STREAM)
    async def delete_stream(request: Request, stream_id: AnyStreamId) -> Response:
        """Forget an ended stream with all its events."""
        await _check(request, hub, stream_id)
        await hub.delete(StreamId(stream_id), owner=owner_of(request))
        return Response(status_code=204)


async def _check(request: Request, hub: Hub, stream_id: str) -> None:
    """Raises `UnknownStream`, `ScopeMissing`."""
    check_scope(request, _scope_of(await hub.record(StreamId(stream_id), owner=owner_of(request))))


def _scope_of(record: StreamRecord) -> str:
    """What a caller needs who looks at a stream or ends it: that of what made it."""
    task = _decode_stored(record.request).task if record.request else None
    return "documents" if task is not None and task.kind == _READING else "chat"


def _choices(stored_request: bytes) -> int:
    """How many answers were asked for; streams that an application made itself have no request and one answer."""
    return (_decode_stored(stored_request).params.n or 1) if stored_request else 1

"""The description of the routes of reference 002; its schemas come from the structs that make the answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from starlette.responses import Response

from ..dialects.streaming import StreamRequestBody
from ..events import JsonObject
from .connection_shapes import StreamConnection, StreamMetrics, StreamResponse
from .openapi_parts import EVENTS, JSON, REQUEST_ID, RETRY_AFTER, any_value, describe_header


class StreamErrorBody(msgspec.Struct):
    """`code` is stable and for programs; `param` names the field at fault."""

    success: Literal[False]
    error: str
    code: str
    param: str | msgspec.UnsetType = msgspec.UNSET


class ConnectionAnswer(msgspec.Struct):
    success: Literal[True]
    data: StreamConnection


class ConnectionListAnswer(msgspec.Struct):
    """`before`: ask again with it for the older ones; left out where there are no more."""

    success: Literal[True]
    data: list[StreamConnection]
    before: str | msgspec.UnsetType = msgspec.UNSET


class ResponseAnswer(msgspec.Struct):
    success: Literal[True]
    data: StreamResponse


class MetricsAnswer(msgspec.Struct):
    success: Literal[True]
    data: StreamMetrics


_ERRORS = {
    400: "The request is wrong; `param` names the field.",
    401: "No API key, or an unknown one.",
    403: "Host or Origin is not allowed (single-user mode), or the key may not do this.",
    404: "No such connection, or another caller's; or no such model.",
    408: "The request did not arrive in time.",
    413: "The body is too large.",
    422: "The Idempotency-Key was used before with another request.",
    429: "Too many streams, or a limit of the key, or the provider's own.",
    431: "The request's head is too large.",
    500: "A fault of the server.",
    502: "It cannot be told what serves the model.",
    503: "Too many connections, shutting down, or the log cannot do it now.",
}
_ALWAYS = (400, 401, 403, 408, 431, 500)
_LOOKING = (*_ALWAYS, 404, 503)
_STARTING = (*_LOOKING, 429, 502)


def _inline(schema: object, definitions: JsonObject) -> object:
    """A schema without references: nothing of it has to be entered anywhere."""
    if isinstance(schema, list):
        return [_inline(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    reference = schema.get("$ref")
    if isinstance(reference, str):
        return _inline(definitions[reference.rpartition("/")[2]], definitions)
    return {key: _inline(item, definitions) for key, item in schema.items()}


def _schema(kind: type) -> JsonObject:
    [schema], definitions = msgspec.json.schema_components((kind,), schema_hook=any_value)
    inlined = _inline(schema, definitions)
    assert isinstance(inlined, dict)  # noqa: S101 - of a struct
    return inlined


_STREAM_ID = {"X-Stream-Id": describe_header("Id of the connection and of its stream.")} | REQUEST_ID


def _answer(description: str, kind: type, headers: Mapping[str, object] = REQUEST_ID) -> JsonObject:
    return {"description": description, "headers": headers, "content": {JSON: {"schema": _schema(kind)}}}


def _streamed(description: str) -> JsonObject:
    return {"description": description, "headers": _STREAM_ID, "content": EVENTS}


_NOTHING_MORE: JsonObject = {
    "description": "The cursor is at the end of an ended stream: nothing more will come.",
    "headers": _STREAM_ID,
}


def _parameter(
    name: str, description: str, schema: JsonObject, *, place: str = "header", required: bool = False
) -> JsonObject:
    return {"name": name, "in": place, "required": required, "description": description, "schema": schema}


def _text(name: str, description: str, *, place: str = "query") -> JsonObject:
    return _parameter(name, description, {"type": "string"}, place=place)


_LAST_EVENT_ID = _text("Last-Event-ID", "Cursor to continue after.", place="header")
_START_HEADERS = [
    _parameter(
        "X-Linger-S",
        "How long the stream lives on after its last viewer left, in seconds.",
        {"type": "number", "minimum": 0, "maximum": 86400},
    ),
    _parameter(
        "X-Priority",
        "Where the request waits when there is no free slot; wins over `priority` in the body.",
        {"type": "string", "enum": ["low", "normal", "high"]},
    ),
    _parameter(
        "X-Fallback",
        "Whether another target of the model's route may answer.",
        {"type": "string", "enum": ["on", "off"]},
    ),
]
_KEY = _parameter(
    "Idempotency-Key",
    "Repeated, it finds the stream that it started: nothing is generated twice.",
    {"type": "string", "minLength": 1, "maxLength": 255},
)
_IN_QUERY = [
    _text("requestId", "Your id of the request; where the body has none."),
    _text("clientId", "Your id of the client; where the body has none. `x-client-id` is asked last."),
    _text("provider", "Where the body has none; needs `model`."),
    _text("model", "Where the body has none."),
    _text("sessionId", "Where the body has none."),
    _text("x-client-id", "Your id of the client.", place="header"),
]
_MESSAGES = _parameter("messages", "The messages, as JSON.", {"type": "string"}, place="query")
_PROMPT = _text("prompt", "A question, in place of `messages`.")
_AFTER = _text("after", "Cursor to continue after; `Last-Event-ID` wins.")
_ONE_ANSWER = _text("key", "A name of your choice: the same address is the same answer, also without a cursor.")
_BODY: JsonObject = {"required": True, "content": {JSON: {"schema": _schema(StreamRequestBody)}}}


def _operation(
    answers: dict[int | str, JsonObject],
    errors: tuple[int, ...],
    *,
    status: int = 200,
    body: bool = False,
    parameters: list[JsonObject] | None = None,
) -> dict[str, Any]:
    """Keyword arguments of a route's decorator."""
    extra: JsonObject = {"requestBody": _BODY} if body else {}
    if parameters:
        extra["parameters"] = parameters
    refused: dict[int | str, JsonObject] = {
        error: _answer(_ERRORS[error], StreamErrorBody, REQUEST_ID | (RETRY_AFTER if error in (429, 503) else {}))
        for error in sorted(errors)
    }
    if 502 in errors:
        refused["default"] = _answer("A provider's own 4xx or 5xx keeps its status.", StreamErrorBody)
    return {
        "response_model": None,
        "response_class": Response,
        "status_code": status,
        "responses": answers | refused,
        "openapi_extra": extra,
    }


CREATE = _operation(
    {
        201: _answer(
            "The connection, `connecting`.",
            ConnectionAnswer,
            _STREAM_ID | {"Location": describe_header("Where the connection is.")},
        )
    },
    (*_ALWAYS, 413, 503),
    status=201,
    body=True,
    parameters=_IN_QUERY,
)
START = _operation(
    {200: _answer("The connection, started.", ConnectionAnswer, _STREAM_ID)}, _STARTING, parameters=_START_HEADERS
)
WATCH = _operation(
    {200: _streamed("Everything after the cursor, then what comes."), 204: _NOTHING_MORE},
    _STARTING,
    parameters=[_LAST_EVENT_ID, *_START_HEADERS],
)
GET = _operation({200: _answer("The answer so far.", ResponseAnswer)}, _LOOKING)
LIST = _operation({200: _answer("Your connections.", ConnectionListAnswer)}, (*_ALWAYS, 503))
METRICS = _operation({200: _answer("The figures.", MetricsAnswer)}, _LOOKING)
CLOSE = _operation({200: _answer("The connection, `disconnected`, or as it had ended.", ConnectionAnswer)}, _LOOKING)
STREAM = _operation(
    {200: _streamed("The answer as it is made."), 204: _NOTHING_MORE},
    (*_STARTING, 413, 422),
    body=True,
    parameters=[*_IN_QUERY, _AFTER, _KEY, _LAST_EVENT_ID, *_START_HEADERS],
)
STREAM_GET = _operation(
    {200: _streamed("The answer as it is made, or its rest."), 204: _NOTHING_MORE},
    (*_STARTING, 422),
    parameters=[_MESSAGES, _PROMPT, *_IN_QUERY, _ONE_ANSWER, _AFTER, _LAST_EVENT_ID, *_START_HEADERS],
)

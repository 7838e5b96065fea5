"""The API's description: what each route takes and answers, as FastAPI cannot see it from raw responses.

Schemas come from the very structs that decode and encode, so the description cannot drift from the code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.responses import Response

from ..dialects.events import StreamBody
from ..dialects.openai_chat import ChatBody
from ..events import JsonObject
from ..streams import StreamInfo
from ..tables import RouteTable
from .accept import FALLBACKS, PRIORITIES
from .ports import RouteCard

_REF = "#/components/schemas/{name}"
_JSON, _SSE = "application/json", "text/event-stream"


class ErrorDetail(msgspec.Struct):
    """`type` follows the status; `code` is stable and for programs; `param` names the field at fault."""

    message: str
    type: str
    code: str
    param: str | None


class ErrorBody(msgspec.Struct):
    error: ErrorDetail


class Model(msgspec.Struct):
    id: str
    object: str
    created: int
    owned_by: str


class ModelList(msgspec.Struct):
    object: str
    data: list[Model]


class StreamList(msgspec.Struct):
    """`has_more`: ask again with `before` set to the last id."""

    object: str
    data: list[StreamInfo]
    has_more: bool


class RouteList(msgspec.Struct):
    object: str
    data: list[RouteCard]


class Health(msgspec.Struct):
    status: str
    version: str


class Readiness(msgspec.Struct):
    """`reasons`: `not_accepting` (starting or draining), `log_failing`."""

    status: str
    reasons: list[str]


class ChatCompletion(msgspec.Struct):
    """OpenAI's `chat.completion` object."""

    id: str
    object: str
    created: int
    model: str
    choices: list[JsonObject]
    usage: JsonObject | None = None
    system_fingerprint: str | None = None


_BODIES = (
    ErrorBody, Model, ModelList, StreamInfo, StreamList, RouteCard, RouteList, RouteTable, Health, Readiness,
    ChatCompletion, ChatBody, StreamBody,
)  # fmt: skip

_ERRORS = {
    400: "The request is wrong; `param` names the field.",
    401: "No API key, or an unknown one.",
    403: "Host or Origin is not allowed (single-user mode), or this needs an admin key.",
    404: "Not found, or another caller's.",
    408: "The request did not arrive in time.",
    409: "The stream is still running, or the route stands in the settings file.",
    413: "The body is too large.",
    422: "The Idempotency-Key was used before with another request.",
    429: "Too many streams, or the provider's own limit.",
    431: "The request's head is too large.",
    500: "A fault of the server or of the application's stream.",
    502: "The provider failed.",
    503: "No room now, shutting down, or it cannot be stored.",
    504: "The provider did not answer in time.",
}
_PROVIDERS_OWN = "A provider's own 4xx or 5xx keeps its status."
_ALWAYS = (400, 401, 403, 408, 431, 500)
_STARTING = (*_ALWAYS, 404, 413, 422, 429, 502, 503, 504)


def _header(description: str, kind: str = "string") -> JsonObject:
    return {"description": description, "schema": {"type": kind}}


_REQUEST_ID = {"X-Request-Id": _header("Id of this request, yours where you sent a sane one.")}
_STREAM_ID = {"X-Stream-Id": _header("Id of the stream.")} | _REQUEST_ID
_RETRY_AFTER = {"Retry-After": _header("Seconds to wait before the next try.", "integer")}


def _json(name: str) -> JsonObject:
    return {_JSON: {"schema": {"$ref": _REF.format(name=name)}}}


def _answer(
    description: str, *bodies: str, headers: Mapping[str, JsonObject] = _REQUEST_ID, sse: bool = False
) -> dict[str, Any]:
    content: JsonObject = {}
    for name in bodies:
        content |= _json(name)
    if sse:
        content[_SSE] = {"schema": {"type": "string", "description": "Frames; `id:` is the cursor to resume after."}}
    answer: dict[str, Any] = {"description": description, "headers": headers}
    return answer | {"content": content} if content else answer


def _errors(statuses: tuple[int, ...]) -> dict[int | str, dict[str, Any]]:
    answers: dict[int | str, dict[str, Any]] = {
        status: _answer(
            _ERRORS[status], "ErrorBody", headers=_REQUEST_ID | (_RETRY_AFTER if status in (429, 503) else {})
        )
        for status in sorted(statuses)
    }
    if 502 in statuses:
        answers["default"] = _answer(_PROVIDERS_OWN, "ErrorBody", headers=_REQUEST_ID | _RETRY_AFTER)
    return answers


def _parameter(name: str, description: str, schema: JsonObject) -> JsonObject:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


_LAST_EVENT_ID = _parameter("Last-Event-ID", "Cursor to continue after.", {"type": "string"})
_START_HEADERS = [
    _parameter(
        "Idempotency-Key",
        "Repeated, it finds the stream that it started: nothing is generated twice.",
        {"type": "string", "minLength": 1, "maxLength": 255},
    ),
    _LAST_EVENT_ID,
    _parameter(
        "X-Linger-S",
        "How long the stream lives on after its last viewer left, in seconds.",
        {"type": "number", "minimum": 0, "maximum": 86400},
    ),
    _parameter(
        "X-Priority",
        "Where the request waits when there is no free slot; wins over `priority` in the body.",
        {"type": "string", "enum": list(PRIORITIES), "default": "normal"},
    ),
    _parameter(
        "X-Fallback",
        "Whether another target of the model's route may answer; wins over `fallback` in the body.",
        {"type": "string", "enum": list(FALLBACKS), "default": "on"},
    ),
]


def _operation(
    answers: dict[int | str, dict[str, Any]],
    errors: tuple[int, ...],
    *,
    status: int = 200,
    body: str | None = None,
    parameters: list[JsonObject] | None = None,
    open_to_all: bool = False,
) -> dict[str, Any]:
    """Keyword arguments of a route's decorator."""
    extra: dict[str, Any] = {}
    if body:
        extra["requestBody"] = {"required": True, "content": _json(body)}
    if parameters:
        extra["parameters"] = parameters
    if open_to_all:
        extra["security"] = []
    return {
        "response_model": None,
        "response_class": Response,
        "status_code": status,
        "responses": answers | _errors(errors),
        "openapi_extra": extra,
    }


_NOTHING_MORE = _answer("The cursor is at the end of an ended stream: nothing more will come.", headers=_STREAM_ID)

CHAT_COMPLETIONS = _operation(
    {200: _answer("The answer.", "ChatCompletion", headers=_STREAM_ID, sse=True), 204: _NOTHING_MORE},
    _STARTING,
    body="ChatBody",
    parameters=_START_HEADERS,
)
LIST_MODELS = _operation({200: _answer("The models.", "ModelList")}, (*_ALWAYS, 502))
GET_MODEL = _operation({200: _answer("The model.", "Model")}, (*_ALWAYS, 404, 502))
CREATE_STREAM = _operation(
    {
        201: _answer(
            "The stream was started.",
            "StreamInfo",
            headers=_STREAM_ID | {"Location": _header("Where the stream is.")},
        ),
        200: _answer(
            "The Idempotency-Key was known and this is its stream; or its frames, where these were asked for.",
            "StreamInfo",
            headers=_STREAM_ID,
            sse=True,
        ),
        204: _NOTHING_MORE,
    },
    _STARTING,
    status=201,
    body="StreamBody",
    parameters=_START_HEADERS,
)
LIST_STREAMS = _operation({200: _answer("Your streams.", "StreamList")}, (*_ALWAYS, 503))
GET_STREAM = _operation({200: _answer("The stream.", "StreamInfo")}, (*_ALWAYS, 404, 503))
WATCH_STREAM = _operation(
    {200: _answer("Everything after the cursor, then what comes.", headers=_STREAM_ID, sse=True), 204: _NOTHING_MORE},
    (*_ALWAYS, 404, 503),
    parameters=[_LAST_EVENT_ID],
)
CANCEL_STREAM = _operation({200: _answer("The stream, ended.", "StreamInfo")}, (*_ALWAYS, 404, 503))
DELETE_STREAM = _operation({204: _answer("It is gone.")}, (*_ALWAYS, 404, 409, 503), status=204)
LIST_ROUTES = _operation({200: _answer("The routes.", "RouteList")}, _ALWAYS)
GET_ROUTE = _operation({200: _answer("The route.", "RouteCard")}, (*_ALWAYS, 404))
_ROUTE_PLACE = _REQUEST_ID | {"Location": _header("Where the route is.")}
PUT_ROUTE = _operation(
    {
        200: _answer("The route, replaced.", "RouteCard", headers=_ROUTE_PLACE),
        201: _answer("The route, made.", "RouteCard", headers=_ROUTE_PLACE),
    },
    (*_ALWAYS, 409, 413, 503),
    body="RouteTable",
)
DELETE_ROUTE = _operation({204: _answer("It is gone.")}, (*_ALWAYS, 404, 409, 503), status=204)
HEALTH = _operation({200: _answer("The process serves.", "Health")}, (), open_to_all=True)
READY = _operation(
    {
        200: _answer("New streams are taken.", "Readiness"),
        503: _answer("New streams are not taken now.", "Readiness"),
    },
    (),
    open_to_all=True,
)


def install(app: FastAPI, bodies: Sequence[type] = (), *, keys_needed: bool) -> None:
    """Make `/openapi.json` complete: schemas of our structs, security schemes, no 422s of FastAPI's.

    `bodies`: further structs that operations name. `keys_needed`: whether nobody gets in without a key or a token; keys
    of the database may be made at any time.
    """

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _describe(app, bodies, keys_needed)
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]


def _describe(app: FastAPI, bodies: Sequence[type], keys_needed: bool) -> dict[str, Any]:
    schema = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
    )
    _, components = msgspec.json.schema_components((*_BODIES, *bodies), schema_hook=_any_value, ref_template=_REF)
    schema["components"] = {"schemas": components}
    for path in schema["paths"].values():
        for operation in path.values():
            answers = operation["responses"]
            if "ErrorBody" not in str(answers.get("422", "ErrorBody")):
                del answers["422"]
    schema["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        "ticket": {"type": "apiKey", "in": "query", "name": "ticket"},
    }
    schema["security"] = [{"bearer": []}, {"x-api-key": []}, {"ticket": []}, *([] if keys_needed else [{}])]
    return schema


def _any_value(kind: type) -> JsonObject:
    """`object` in a struct stands for any JSON value."""
    if kind is object:
        return {"description": "any JSON value"}
    raise NotImplementedError(kind)

"""The API's description: what each route takes and answers, as FastAPI cannot see it from raw responses.

Schemas come from the very structs that decode and encode, so the description cannot drift from the code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from ..dialects.events import StreamBody
from ..dialects.openai_chat import ChatBody
from ..events import JsonObject
from ..streams import StreamInfo
from ..tables import RouteTable
from .openapi_parts import (
    ALWAYS,
    LAST_EVENT_ID,
    NOTHING_MORE,
    REF,
    REQUEST_ID,
    START_HEADERS,
    STARTING,
    STREAM_ID,
    any_value,
    describe_answer,
    describe_header,
    describe_operation,
)
from .ports import RouteCard


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

CHAT_COMPLETIONS = describe_operation(
    {200: describe_answer("The answer.", "ChatCompletion", headers=STREAM_ID, sse=True), 204: NOTHING_MORE},
    STARTING,
    body="ChatBody",
    parameters=START_HEADERS,
)
LIST_MODELS = describe_operation({200: describe_answer("The models.", "ModelList")}, (*ALWAYS, 502))
GET_MODEL = describe_operation({200: describe_answer("The model.", "Model")}, (*ALWAYS, 404, 502))
CREATE_STREAM = describe_operation(
    {
        201: describe_answer(
            "The stream was started.",
            "StreamInfo",
            headers=STREAM_ID | {"Location": describe_header("Where the stream is.")},
        ),
        200: describe_answer(
            "The Idempotency-Key was known and this is its stream; or its frames, where these were asked for.",
            "StreamInfo",
            headers=STREAM_ID,
            sse=True,
        ),
        204: NOTHING_MORE,
    },
    STARTING,
    status=201,
    body="StreamBody",
    parameters=START_HEADERS,
)
LIST_STREAMS = describe_operation({200: describe_answer("Your streams.", "StreamList")}, (*ALWAYS, 503))
GET_STREAM = describe_operation({200: describe_answer("The stream.", "StreamInfo")}, (*ALWAYS, 404, 503))
WATCH_STREAM = describe_operation(
    {
        200: describe_answer("Everything after the cursor, then what comes.", headers=STREAM_ID, sse=True),
        204: NOTHING_MORE,
    },
    (*ALWAYS, 404, 503),
    parameters=[LAST_EVENT_ID],
)
CANCEL_STREAM = describe_operation({200: describe_answer("The stream, ended.", "StreamInfo")}, (*ALWAYS, 404, 503))
DELETE_STREAM = describe_operation({204: describe_answer("It is gone.")}, (*ALWAYS, 404, 409, 503), status=204)
LIST_ROUTES = describe_operation({200: describe_answer("The routes.", "RouteList")}, ALWAYS)
GET_ROUTE = describe_operation({200: describe_answer("The route.", "RouteCard")}, (*ALWAYS, 404))
_ROUTE_PLACE = REQUEST_ID | {"Location": describe_header("Where the route is.")}
PUT_ROUTE = describe_operation(
    {
        200: describe_answer("The route, replaced.", "RouteCard", headers=_ROUTE_PLACE),
        201: describe_answer("The route, made.", "RouteCard", headers=_ROUTE_PLACE),
    },
    (*ALWAYS, 409, 413, 503),
    body="RouteTable",
)
DELETE_ROUTE = describe_operation({204: describe_answer("It is gone.")}, (*ALWAYS, 404, 409, 503), status=204)
HEALTH = describe_operation({200: describe_answer("The process serves.", "Health")}, (), open_to_all=True)
READY = describe_operation(
    {
        200: describe_answer("New streams are taken.", "Readiness"),
        503: describe_answer("New streams are not taken now.", "Readiness"),
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
    _, components = msgspec.json.schema_components((*_BODIES, *bodies), schema_hook=any_value, ref_template=REF)
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

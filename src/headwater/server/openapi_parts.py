"""What descriptions of routes are made of: answers, errors, headers and parameters that many have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from ..events import JsonObject
from .accept import FALLBACKS, PRIORITIES

REF = "#/components/schemas/{name}"
JSON, SSE = "application/json", "text/event-stream"

# As OpenAPI 3.2 describes a stream, event by event, and FastAPI its own: a `schema` would be that of the whole body,
# of which the best that could be said is that it is a text.
EVENTS: JsonObject = {
    SSE: {
        "itemSchema": {
            "type": "object",
            "required": ["data"],
            "properties": {
                "id": {"type": "string", "description": "The cursor to resume after."},
                "event": {"type": "string"},
                "data": {"type": "string"},
                "retry": {"type": "integer", "minimum": 0},
            },
        }
    }
}
"""Content of an answer whose frames are sent as they are made."""

ERRORS = {
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
PROVIDERS_OWN = "A provider's own 4xx or 5xx keeps its status."
ALWAYS = (400, 401, 403, 408, 431, 500)
STARTING = (*ALWAYS, 404, 413, 422, 429, 502, 503, 504)


def describe_header(description: str, kind: str = "string") -> JsonObject:
    """A header of an answer; `kind` is the schema's type."""
    return {"description": description, "schema": {"type": kind}}


REQUEST_ID = {"X-Request-Id": describe_header("Id of this request, yours where you sent a sane one.")}
STREAM_ID = {"X-Stream-Id": describe_header("Id of the stream.")} | REQUEST_ID
RETRY_AFTER = {"Retry-After": describe_header("Seconds to wait before the next try.", "integer")}


def json_content(name: str) -> JsonObject:
    """A struct of the description's components, as JSON."""
    return {JSON: {"schema": {"$ref": REF.format(name=name)}}}


def describe_answer(
    description: str, *bodies: str, headers: Mapping[str, JsonObject] = REQUEST_ID, sse: bool = False
) -> dict[str, Any]:
    """`bodies`: structs of the components that the answer may be. `sse`: whether it may be a stream of events."""
    content: JsonObject = {}
    for name in bodies:
        content |= json_content(name)
    if sse:
        content |= EVENTS
    answer: dict[str, Any] = {"description": description, "headers": headers}
    return answer | {"content": content} if content else answer


def describe_errors(statuses: tuple[int, ...]) -> dict[int | str, dict[str, Any]]:
    """In the API's own form. With 502 there are a provider's own, too."""
    answers: dict[int | str, dict[str, Any]] = {
        status: describe_answer(
            ERRORS[status], "ErrorBody", headers=REQUEST_ID | (RETRY_AFTER if status in (429, 503) else {})
        )
        for status in sorted(statuses)
    }
    if 502 in statuses:
        answers["default"] = describe_answer(PROVIDERS_OWN, "ErrorBody", headers=REQUEST_ID | RETRY_AFTER)
    return answers


def describe_parameter(name: str, description: str, schema: JsonObject) -> JsonObject:
    """A header that may be sent."""
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


LAST_EVENT_ID = describe_parameter("Last-Event-ID", "Cursor to continue after.", {"type": "string"})
START_HEADERS = [
    describe_parameter(
        "Idempotency-Key",
        "Repeated, it finds the stream that it started: nothing is generated twice.",
        {"type": "string", "minLength": 1, "maxLength": 255},
    ),
    LAST_EVENT_ID,
    describe_parameter(
        "X-Linger-S",
        "How long the stream lives on after its last viewer left, in seconds.",
        {"type": "number", "minimum": 0, "maximum": 86400},
    ),
    describe_parameter(
        "X-Priority",
        "Where the request waits when there is no free slot; wins over `priority` in the body.",
        {"type": "string", "enum": list(PRIORITIES), "default": "normal"},
    ),
    describe_parameter(
        "X-Fallback",
        "Whether another target of the model's route may answer; wins over `fallback` in the body.",
        {"type": "string", "enum": list(FALLBACKS), "default": "on"},
    ),
]


def describe_operation(
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
        extra["requestBody"] = {"required": True, "content": json_content(body)}
    if parameters:
        extra["parameters"] = parameters
    if open_to_all:
        extra["security"] = []
    return {
        "response_model": None,
        "response_class": Response,
        "status_code": status,
        "responses": answers | describe_errors(errors),
        "openapi_extra": extra,
    }


NOTHING_MORE = describe_answer(
    "The cursor is at the end of an ended stream: nothing more will come.", headers=STREAM_ID
)


def any_value(kind: type) -> JsonObject:
    """`object` in a struct stands for any JSON value."""
    if kind is object:
        return {"description": "any JSON value"}
    raise NotImplementedError(kind)

"""The description of the routes of reference 003, made from the structs that they decode and encode."""

from __future__ import annotations

from typing import Any

import msgspec

from ..dialects.typed import TypedBody
from ..events import JsonObject
from .openapi_own import in_form
from .openapi_parts import (
    ALWAYS,
    LAST_EVENT_ID,
    NOTHING_MORE,
    REQUEST_ID,
    START_HEADERS,
    STARTING,
    STREAM_ID,
    describe_answer,
    describe_header,
    describe_operation,
)
from .typed_shapes import (
    TypedDocument,
    TypedDocumentList,
    TypedMessageList,
    TypedPreview,
    TypedProcessing,
    TypedSession,
    TypedSessionBody,
    TypedSessionChanges,
    TypedSessionList,
    TypedStatistics,
    TypedUpload,
)


class FastApiError(msgspec.Struct):
    """An error as FastAPI answers it."""

    detail: str


BODIES = (
    TypedBody, TypedDocument, TypedDocumentList, TypedMessageList, TypedPreview, TypedProcessing, TypedSession,
    TypedSessionBody, TypedSessionChanges, TypedSessionList, TypedStatistics, TypedUpload, FastApiError,
)  # fmt: skip
"""For the schemas of the description."""

_FORM: JsonObject = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "confidential": {"type": "boolean", "description": "Never to be sent to an external provider."},
        "session_id": {"type": "integer", "minimum": 1, "description": "The conversation that alone sees it."},
    },
}
_SAVED = REQUEST_ID | {"Location": describe_header("Where it is.")}


def _described(*arguments: Any, **more: Any) -> dict[str, Any]:
    return in_form(describe_operation(*arguments, **more), "FastApiError")


_UNREAD: dict[int | str, dict[str, Any]] = {
    409: describe_answer("The reading of the document was stopped.", "ErrorBody"),
    415: describe_answer("The document is of no type that can be read.", "ErrorBody"),
    422: describe_answer("The document's text cannot be had.", "ErrorBody"),
}


def _upload(status: int, answers: dict[int | str, dict[str, Any]]) -> dict[str, Any]:
    described = _described(answers, (*ALWAYS, 404, 413, 429, 503), status=status)
    content = {
        "multipart/form-data": {"schema": _FORM},
        "application/octet-stream": {"schema": {"type": "string", "minLength": 1}},
    }
    described["openapi_extra"]["requestBody"] = {"required": True, "content": content}
    return described


_FRAMES = 'Frames `data: {"type": …}` from `start` to `done`, with `error` before that where it failed.'
_ASKED = {200: describe_answer(_FRAMES, headers=STREAM_ID, sse=True), 204: NOTHING_MORE}

ASK = _described(_ASKED, STARTING, body="TypedBody", parameters=START_HEADERS)
ASK_GET = _described(_ASKED, STARTING, parameters=START_HEADERS)

CREATE_SESSION = _described(
    {201: describe_answer("The session.", "TypedSession", headers=_SAVED)},
    (*ALWAYS, 413, 503),
    status=201,
    body="TypedSessionBody",
)
CREATE_SESSION["openapi_extra"]["requestBody"]["required"] = False
LIST_SESSIONS = _described({200: describe_answer("The sessions.", "TypedSessionList")}, (*ALWAYS, 404, 503))
GET_SESSION = _described({200: describe_answer("The session.", "TypedSession")}, (*ALWAYS, 404, 503))
CHANGE_SESSION = _described(
    {200: describe_answer("The session.", "TypedSession")}, (*ALWAYS, 404, 413, 503), body="TypedSessionChanges"
)
DELETE_SESSION = _described({204: describe_answer("It is gone.")}, (*ALWAYS, 404, 503), status=204)
LIST_MESSAGES = _described({200: describe_answer("The messages.", "TypedMessageList")}, (*ALWAYS, 404, 503))

UPLOAD = _upload(200, {200: describe_answer("The document, processed.", "TypedDocument", headers=STREAM_ID), **_UNREAD})
UPLOAD_ASYNC = _upload(
    202, {202: describe_answer("The task that processes the document.", "TypedUpload", headers=STREAM_ID | _SAVED)}
)
PROCESSING = _described(
    {
        200: describe_answer(
            "How far it is; or as frames, where these were asked for.", "TypedProcessing", headers=STREAM_ID, sse=True
        ),
        204: NOTHING_MORE,
    },
    (*ALWAYS, 404, 503),
    parameters=[LAST_EVENT_ID],
)
WATCH_PROCESSING = _described(
    {200: describe_answer(_FRAMES, headers=STREAM_ID, sse=True), 204: NOTHING_MORE},
    (*ALWAYS, 404, 503),
    parameters=[LAST_EVENT_ID],
)
LIST_DOCUMENTS = _described({200: describe_answer("The documents.", "TypedDocumentList")}, (*ALWAYS, 404, 503))
STATISTICS = _described({200: describe_answer("The figures.", "TypedStatistics")}, (*ALWAYS, 503))
PREVIEW = _described({200: describe_answer("The text.", "TypedPreview")}, (*ALWAYS, 404, 503))
DELETE_DOCUMENT = _described({204: describe_answer("It is gone.")}, (*ALWAYS, 404, 503), status=204)

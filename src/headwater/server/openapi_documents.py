"""The description of our own documents API, made from the structs that its routes decode and encode."""

from __future__ import annotations

from typing import Any

from ..events import JsonObject
from . import document_views as views
from .openapi_conversations import PLACE, with_errors
from .openapi_parts import (
    ALWAYS,
    LAST_EVENT_ID,
    NOTHING_MORE,
    REQUEST_ID,
    STREAM_ID,
    describe_answer,
    describe_header,
    describe_operation,
)

BODIES = (
    views.DocumentView, views.DocumentList, views.VersionView, views.VersionList, views.DocumentText,
    views.StatisticsView, views.PassageView, views.PassageList, views.DocumentChanges, views.SearchBody,
)  # fmt: skip
"""For the schemas of the description."""

_STORED = (*ALWAYS, 404, 503)
_CHANGED = (*_STORED, 413)
_SAID = {409: "The workspace holds as many documents as it may."}

_FILE: JsonObject = {"type": "string", "format": "binary", "description": "The document; several fields are several."}
_FIELDS: dict[str, JsonObject] = {
    "name": {"type": "string", "maxLength": 500, "description": "Of one file, in place of its own."},
    "workspace": {"type": "string", "maxLength": 128, "description": "Id or slug; else `default`."},
    "thread": {"type": "string", "maxLength": 64, "description": "Id of the thread that alone sees it."},
    "pinned": {"type": "boolean", "description": "Part of every prompt, as far as it fits."},
    "confidential": {"type": "boolean", "description": "It goes to no external provider."},
    "metadata": {"type": "string", "description": "A JSON object that is kept with it."},
}


def _shown(name: str, description: str) -> dict[int | str, dict[str, Any]]:
    return {200: describe_answer(description, name)}


def _taking(operation: dict[str, Any], *fields: str) -> dict[str, Any]:
    """With a document as its body: in a form, or by itself with the fields in the address."""
    schemas = {name: _FIELDS[name] for name in fields}
    properties: JsonObject = {"file": _FILE, **schemas}
    form: JsonObject = {"type": "object", "required": ["file"], "properties": properties, "additionalProperties": False}
    whole: JsonObject = {"schema": {"type": "string", "format": "binary"}}
    operation["openapi_extra"]["requestBody"] = {
        "required": True,
        "content": {"multipart/form-data": {"schema": form}, "application/octet-stream": whole},
    }
    operation["openapi_extra"]["parameters"] = [
        {"name": name, "in": "query", "required": False, "description": schema["description"], "schema": schema}
        for name, schema in schemas.items()
    ]
    return operation


_FOLLOWED = STREAM_ID | PLACE
_TAKEN = describe_answer(
    "The documents, which are being read; `stream_id` tells how far.", "DocumentList", headers=_FOLLOWED
)


def _upload(*fields: str) -> dict[str, Any]:
    frames = describe_answer("Where it was asked for: the progress.", headers=STREAM_ID, sse=True)
    return _taking(with_errors({200: frames, 202: _TAKEN}, (*_CHANGED, 409, 429), _SAID, status=202), *fields)


UPLOAD = _upload(*_FIELDS)
UPLOAD_TO_WORKSPACE = _upload(*(name for name in _FIELDS if name != "workspace"))
UPLOAD_VERSION = _taking(
    describe_operation(
        {200: describe_answer("The same bytes once more: nothing has changed.", "DocumentList"), 202: _TAKEN},
        (*_CHANGED, 429),
        status=202,
    )
)
LIST_DOCUMENTS = describe_operation(_shown("DocumentList", "The documents."), _STORED)
STATISTICS = describe_operation(_shown("StatisticsView", "The figures."), _STORED)
GET_DOCUMENT = describe_operation(_shown("DocumentView", "The document."), _STORED)
CHANGE_DOCUMENT = describe_operation(_shown("DocumentView", "The document."), _CHANGED, body="DocumentChanges")
DELETE_DOCUMENT = describe_operation({204: describe_answer("It is gone.")}, _STORED, status=204)
_SAVED = REQUEST_ID | {"Content-Disposition": describe_header("`attachment`, with a name for the file.")}
GET_CONTENT = describe_operation(
    {200: describe_answer("The bytes, in the type that they were uploaded with.", headers=_SAVED)}, _STORED
)
GET_CONTENT["responses"][200]["content"] = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
GET_TEXT = describe_operation(_shown("DocumentText", "The text."), _STORED)
LIST_VERSIONS = describe_operation(_shown("VersionList", "The versions."), _STORED)
PROGRESS = describe_operation(
    {200: describe_answer("The stages of the reading.", headers=STREAM_ID, sse=True), 204: NOTHING_MORE},
    _STORED,
    parameters=[LAST_EVENT_ID],
)
SEARCH = describe_operation(_shown("PassageList", "The passages."), _CHANGED, body="SearchBody")

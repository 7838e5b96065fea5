"""The description of our own chat API, made from the structs that its routes decode and encode."""

from __future__ import annotations

from typing import Any

from ..chat.exporting import FORMAT
from ..chat.records import WorkspaceChanges
from ..events import JsonObject
from . import conversation_bodies as bodies
from . import conversation_views as views
from .openapi_own import query
from .openapi_parts import (
    ALWAYS,
    NOTHING_MORE,
    REQUEST_ID,
    START_HEADERS,
    STARTING,
    STREAM_ID,
    describe_answer,
    describe_errors,
    describe_header,
    describe_operation,
)

BODIES = (
    WorkspaceChanges, bodies.NewWorkspace, bodies.NewThread, bodies.ThreadChanges, bodies.AskBody, bodies.LeafBody,
    views.WorkspaceView, views.WorkspaceList, views.ThreadView, views.ThreadList, views.MessageView, views.MessageList,
    views.Asked, views.FoundList,
)  # fmt: skip
"""For the schemas of the description."""

_STORED = (*ALWAYS, 404, 503)
_CHANGED = (*_STORED, 413)
_SAID = {409: "The name is in use, or there are as many as there may be."}


def with_errors(
    answers: dict[int | str, dict[str, Any]], statuses: tuple[int, ...], said: dict[int, str], **more: Any
) -> dict[str, Any]:
    """An operation whose errors with a status in `said` have words of their own."""
    operation = describe_operation(answers, statuses, **more)
    for status, words in said.items():
        if status in statuses:
            operation["responses"][status] = describe_errors((status,))[status] | {"description": words}
    return operation


def _described(answers: dict[int | str, dict[str, Any]], statuses: tuple[int, ...], **more: Any) -> dict[str, Any]:
    return with_errors(answers, statuses, _SAID, **more)


def _shown(name: str, description: str) -> dict[int | str, dict[str, Any]]:
    return {200: describe_answer(description, name)}


def _made(name: str, description: str) -> dict[int | str, dict[str, Any]]:
    return {201: describe_answer(description, name, headers=PLACE)}


PLACE = REQUEST_ID | {"Location": describe_header("Where it is.")}
_GONE: dict[int | str, dict[str, Any]] = {204: describe_answer("It is gone.")}

LIST_WORKSPACES = _described(_shown("WorkspaceList", "The workspaces."), _STORED)
CREATE_WORKSPACE = _described(
    _made("WorkspaceView", "The workspace."), (*_CHANGED, 409), status=201, body="NewWorkspace"
)
GET_WORKSPACE = _described(_shown("WorkspaceView", "The workspace."), _STORED)
CHANGE_WORKSPACE = _described(_shown("WorkspaceView", "The workspace."), (*_CHANGED, 409), body="WorkspaceChanges")
DELETE_WORKSPACE = _described(_GONE, _STORED, status=204)

LIST_ALL_THREADS = _described(_shown("ThreadList", "The threads."), _STORED)
LIST_THREADS = _described(_shown("ThreadList", "The threads."), _STORED)
CREATE_THREAD = _described(_made("ThreadView", "The thread."), (*_CHANGED, 409), status=201, body="NewThread")
CREATE_THREAD["openapi_extra"]["requestBody"]["required"] = False
GET_THREAD = _described(_shown("ThreadView", "The thread."), _STORED)
CHANGE_THREAD = _described(_shown("ThreadView", "The thread."), (*_CHANGED, 409), body="ThreadChanges")
DELETE_THREAD = _described(_GONE, _STORED, status=204)

IMPORT_THREAD = _described(_made("ThreadView", "The thread."), (*_CHANGED, 409), status=201)
_FILE: JsonObject = {
    "type": "object",
    "required": ["messages"],
    "properties": {
        "format": {
            "type": "string",
            "enum": [FORMAT],
            "description": "`headwater-thread`; without it, messages in OpenAI's shape.",
        },
        "messages": {"type": "array", "items": {"type": "object"}},
    },
}
IMPORT_THREAD["openapi_extra"]["requestBody"] = {"required": True, "content": {"application/json": {"schema": _FILE}}}
_SAVED = REQUEST_ID | {"Content-Disposition": describe_header("`attachment`, with a name for the file.")}
EXPORT_THREAD = _described({200: describe_answer("The file.", headers=_SAVED)}, _STORED)
EXPORT_THREAD["responses"][200]["content"] = {
    "application/json": {"schema": {"type": "object"}},
    "text/markdown": {"schema": {"type": "string"}},
}

LIST_MESSAGES = _described(_shown("MessageList", "The messages."), _STORED)
GET_MESSAGE = _described(_shown("MessageView", "The message."), _STORED)
DELETE_MESSAGE = _described(_GONE, _STORED, status=204)
SWITCH_BRANCH = _described(_shown("ThreadView", "The thread."), _CHANGED, body="LeafBody")
CANCEL_THREAD = _described(_shown("MessageList", "The answers that were stopped, as they are kept."), _STORED)
_MESSAGE_ID = STREAM_ID | {"X-Message-Id": describe_header("Id of the answer's message.")}
ASK = _described(
    {
        200: describe_answer(
            "The answer's frames; with `stream` false, the question that this Idempotency-Key asked before.",
            "Asked",
            headers=_MESSAGE_ID,
            sse=True,
        ),
        201: describe_answer("The question and its answer, which is being made.", "Asked", headers=_MESSAGE_ID | PLACE),
        204: NOTHING_MORE,
    },
    STARTING,
    body="AskBody",
    parameters=[*START_HEADERS, query("after", "Cursor to continue after; `Last-Event-ID` wins.", {"type": "string"})],
)

SEARCH = _described(_shown("FoundList", "What was found."), _STORED)

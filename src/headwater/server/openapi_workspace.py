"""The description of reference 000's routes, and where each of them is.

The developer API is below `/api/v1`. The routes of AnythingLLM's own pages are at the root and, the same once more,
below `/api`; the description shows the first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from fastapi import APIRouter

from ..dialects.workspace import WorkspaceBody
from ..events import JsonObject
from . import workspace_shapes as shapes
from .openapi_parts import (
    ERRORS,
    LAST_EVENT_ID,
    NOTHING_MORE,
    REF,
    REQUEST_ID,
    RETRY_AFTER,
    START_HEADERS,
    STREAM_ID,
    describe_answer,
    describe_operation,
)

F = TypeVar("F", bound=Callable[..., Any])

BODIES = (
    WorkspaceBody, shapes.AnythingQuestion, shapes.AnythingAnswer, shapes.AnythingFailure, shapes.AnythingHistory,
    shapes.AnythingWorkspaceChanges, shapes.AnythingWorkspaceAnswer, shapes.AnythingWorkspaces,
    shapes.AnythingWorkspaceFound, shapes.AnythingWorkspaceShown, shapes.AnythingNewThread,
    shapes.AnythingThreadChanges, shapes.AnythingThreadSlugs, shapes.AnythingCut, shapes.AnythingThreadAnswer,
    shapes.AnythingThreads, shapes.AnythingEmbeddings, shapes.AnythingPin, shapes.AnythingRawText,
    shapes.AnythingSearch, shapes.AnythingSearchAnswer, shapes.AnythingUploaded, shapes.AnythingFiles,
    shapes.AnythingFileFound, shapes.AnythingMessageOnly, shapes.AnythingAuth,
)  # fmt: skip
"""For the schemas of the description."""


class At(NamedTuple):
    """One address of a route. `name` is unique in the whole application."""

    path: str
    name: str
    shown: bool = True


def developer(name: str, path: str) -> tuple[At, ...]:
    return (At(f"/api/v1{path}", f"anything_{name}"),)


def pages(name: str, path: str) -> tuple[At, ...]:
    """Of AnythingLLM's own pages."""
    return (At(path, f"anything_pages_{name}"), At(f"/api{path}", f"anything_pages_api_{name}", False))


def both(name: str, path: str) -> tuple[At, ...]:
    return (*developer(name, path), *pages(name, path))


def route(router: APIRouter, method: str, places: tuple[At, ...], operation: dict[str, Any]) -> Callable[[F], F]:
    """A decorator: the function answers at all of `places`."""

    def add(endpoint: F) -> F:
        for place in places:
            router.add_api_route(
                place.path,
                endpoint,
                methods=[method],
                name=place.name,
                include_in_schema=place.shown,
                **_at(place.path, operation),
            )
        return endpoint

    return add


# Where the layers before the routes have which form; elsewhere the API's own.
_EARLY = (
    ("/workspace/", "AnythingAnswer"), ("/api/workspace/", "AnythingAnswer"), ("/api/v1/", "AnythingFailure"),
)  # fmt: skip
# Of an answer that is told anew at each of its addresses: the form in which the route itself refuses.
_REFUSED = "x-refused-as"


def _at(path: str, operation: dict[str, Any]) -> dict[str, Any]:
    """With what is said there to a request that does not get as far as the route (see `chat_routes.PLACES`)."""
    early = next((form for prefix, form in _EARLY if path.startswith(prefix)), "ErrorBody")
    answers = {}
    for status, answer in operation["responses"].items():
        schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
        if _REFUSED in schema:
            names = dict.fromkeys((schema[_REFUSED], early))
            either: JsonObject = {"anyOf": [{"$ref": REF.format(name=name)} for name in names]}
            answer = answer | {"content": {"application/json": {"schema": either}}}
        answers[status] = answer
    return operation | {"responses": answers}


_ALWAYS = (400, 401, 403, 408, 431, 500)
_STORED = (*_ALWAYS, 404, 503)
_CHANGED = (*_STORED, 409, 413)
_ASKED = (*_CHANGED, 415, 422, 429, 502, 504)
_READ = (*_CHANGED, 415, 422, 429)
_SAID = {
    404: "There is no such workspace, thread or document, or it is another's.",
    409: "The name is in use, or was stopped meanwhile.",
    413: "The body or a document is too large.",
    415: "No type of document that is read here.",
    422: "A document's text cannot be had, or the Idempotency-Key was used before with another request.",
    429: "Too many requests, or a budget is spent.",
}


def _errors(statuses: tuple[int, ...], form: str) -> dict[int | str, dict[str, Any]]:
    """In this form where a route answers; `_at` adds that of a request that does not get that far."""
    answers: dict[int | str, dict[str, Any]] = {}
    for status in sorted(statuses):
        headers = REQUEST_ID | (RETRY_AFTER if status in (429, 503) else {})
        answers[status] = describe_answer({**ERRORS, **_SAID}[status], headers=headers)
        answers[status]["content"] = {"application/json": {"schema": {_REFUSED: form}}}
    if 502 in statuses:
        answers["default"] = {**answers[502], "description": "A provider's own 4xx or 5xx keeps its status."}
    return answers


def _described(
    answers: dict[int | str, dict[str, Any]],
    statuses: tuple[int, ...],
    *,
    form: str = "AnythingFailure",
    body: str | None = None,
    required: bool = True,
    parameters: list[JsonObject] | None = None,
) -> dict[str, Any]:
    operation = describe_operation(_errors(statuses, form) | answers, (), body=body, parameters=parameters)
    if body and not required:
        operation["openapi_extra"]["requestBody"]["required"] = False
    return operation


def _upload() -> dict[str, Any]:
    operation = _described(
        {200: describe_answer("The documents, read.", "AnythingUploaded")}, _READ, form="AnythingUploaded"
    )
    properties: JsonObject = {
        "file": {"type": "string", "format": "binary", "description": "The document."},
        "addToWorkspaces": {"type": "string", "description": "Slugs, with commas between them. Without: `default`."},
        "metadata": {"type": "object", "description": "As JSON: title, docAuthor, description, docSource …"},
    }
    schema: JsonObject = {"type": "object", "required": ["file"], "properties": properties}
    operation["openapi_extra"]["requestBody"] = {
        "required": True,
        "content": {"multipart/form-data": {"schema": schema}},
    }
    return operation


def _stream(body: str) -> dict[str, Any]:
    answers: dict[int | str, dict[str, Any]] = {
        200: describe_answer(
            "The answer's frames; where a quota or a provider refuses, one `abort`.", headers=STREAM_ID, sse=True
        ),
        204: NOTHING_MORE,
    }
    return _described(answers, _ASKED, form="AnythingAnswer", body=body, parameters=START_HEADERS)


def _named(operation: dict[str, Any]) -> dict[str, Any]:
    """The same body, of which the name may not be left out."""
    for content in operation["openapi_extra"]["requestBody"]["content"].values():
        content["schema"] = {"allOf": [content["schema"], {"type": "object", "required": ["name"]}]}
    return operation


def _plain(description: str) -> dict[str, Any]:
    """What Express sends for `sendStatus(200)`."""
    answer = describe_answer(description)
    answer["content"] = {"text/plain": {"schema": {"type": "string", "const": "OK"}}}
    return answer


STREAM_CHAT = _stream("WorkspaceBody")
STREAM_CHAT_PAGES = _stream("AnythingQuestion")
CHAT = _described(
    {200: describe_answer("The answer in one piece.", "AnythingAnswer", headers=STREAM_ID)},
    _ASKED,
    form="AnythingAnswer",
    body="WorkspaceBody",
    parameters=[each for each in START_HEADERS if each is not LAST_EVENT_ID],
)
CHATS = _described({200: describe_answer("Both sides of each chat.", "AnythingHistory")}, _STORED)
CUT_CHATS = _described({200: _plain("They are gone.")}, _CHANGED, body="AnythingCut")

_WORKSPACE: dict[int | str, dict[str, Any]] = {200: describe_answer("The workspace.", "AnythingWorkspaceAnswer")}
CREATE_WORKSPACE = _named(_described(_WORKSPACE, _CHANGED, body="AnythingWorkspaceChanges"))
UPDATE_WORKSPACE = _described(_WORKSPACE, _CHANGED, body="AnythingWorkspaceChanges")
LIST_WORKSPACES = _described({200: describe_answer("All workspaces, oldest first.", "AnythingWorkspaces")}, _STORED)
FIND_WORKSPACE = _described({200: describe_answer("A list of the one.", "AnythingWorkspaceFound")}, _STORED)
SHOW_WORKSPACE = _described({200: describe_answer("The workspace.", "AnythingWorkspaceShown")}, _STORED)
DELETE_WORKSPACE = _described({200: _plain("It is gone.")}, _STORED)

_THREAD: dict[int | str, dict[str, Any]] = {200: describe_answer("The thread.", "AnythingThreadAnswer")}
CREATE_THREAD = _described(_THREAD, _CHANGED, body="AnythingNewThread", required=False)
UPDATE_THREAD = _described(_THREAD, _CHANGED, body="AnythingThreadChanges")
LIST_THREADS = _described({200: describe_answer("The last active first.", "AnythingThreads")}, _STORED)
DELETE_THREAD = _described({200: _plain("It is gone.")}, _STORED)
DELETE_THREADS = _described({200: _plain("They are gone.")}, _CHANGED, body="AnythingThreadSlugs")

UPLOAD = _upload()
UPLOAD_TEXT = _described(
    {200: describe_answer("The document, read.", "AnythingUploaded")},
    _READ,
    form="AnythingUploaded",
    body="AnythingRawText",
)
LIST_DOCUMENTS = _described({200: describe_answer("Each document once.", "AnythingFiles")}, _STORED)
GET_DOCUMENT = _described({200: describe_answer("The document.", "AnythingFileFound")}, _STORED)
UPDATE_EMBEDDINGS = _described(
    {200: describe_answer("The workspace; `message` says what could not be added.", "AnythingWorkspaceAnswer")},
    _READ,
    body="AnythingEmbeddings",
)
UPDATE_PIN = _described({200: describe_answer("It is done.", "AnythingMessageOnly")}, _CHANGED, body="AnythingPin")
SEARCH = _described(
    {200: describe_answer("Passages, best first.", "AnythingSearchAnswer")}, _CHANGED, body="AnythingSearch"
)
AUTH = _described({200: describe_answer("The key is good.", "AnythingAuth")}, _ALWAYS)

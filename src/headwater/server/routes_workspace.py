"""Reference 000: the routes of AnythingLLM's developer API and of its own pages, over the chat backend.

What is asked, and what was, is in `routes_workspace_chat`; threads and documents have modules of their own, too.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from msgspec import UNSET
from starlette.responses import Response

from ..chat.backend import Backend
from ..chat.records import Workspace
from ..dialects.base import check, decode_object
from ..errors import InputError
from ..events import JsonObject
from . import openapi_workspace as openapi
from . import routes_workspace_chat, routes_workspace_documents, routes_workspace_threads
from .accept import owner_of
from .answering import Answering
from .openapi_workspace import both, developer, pages, route
from .own_errors import route_class
from .ports import Services
from .routes_openai import json_response
from .routes_workspace_chat import Slug, failure_form
from .scopes import check_scope
from .workspace_files import Files, document_card
from .workspace_places import Places
from .workspace_shapes import (
    AnythingAuth,
    AnythingWorkspace,
    AnythingWorkspaceAnswer,
    AnythingWorkspaceChanges,
    AnythingWorkspaceFound,
    AnythingWorkspaces,
    AnythingWorkspaceShown,
)
from .workspace_views import thread_name, workspace_card

_PRIVATE = {"Cache-Control": "no-store"}


def routes(services: Services, answering: Answering) -> APIRouter:
    """`/workspace…`, the same below `/api`, and the developer API below `/api/v1`."""
    places = Places(answering.backend)
    files = Files(answering.backend, places)
    router = APIRouter()
    for part in (
        *routes_workspace_chat.routes(answering, places),
        routes_workspace_threads.routes(answering.backend, places),
        *routes_workspace_documents.routes(answering.backend, places, files),
        _workspaces(answering.backend, places, files),
    ):
        router.include_router(part)
    return router


def _workspaces(backend: Backend, places: Places, files: Files) -> APIRouter:
    router = APIRouter(tags=["AnythingLLM"], route_class=route_class(failure_form))
    cards = Cards(backend, places, files)
    _add_reading(router, places, cards)
    _add_changing(router, backend, places, cards)
    return router


def _add_reading(router: APIRouter, places: Places, cards: Cards) -> None:
    @route(router, "GET", developer("auth", "/auth"), openapi.AUTH)
    async def check_auth(request: Request) -> Response:
        """Whether the key is good; a bad one is answered 401."""
        return json_response(AnythingAuth(True))

    @route(router, "GET", both("workspaces", "/workspaces"), openapi.LIST_WORKSPACES)
    async def list_workspaces(request: Request) -> Response:
        """All workspaces, with the names of their threads."""
        check_scope(request, "chat")
        workspaces = await places.all_workspaces(owner_of(request))
        return json_response(AnythingWorkspaces([await cards.listed(each) for each in workspaces]), headers=_PRIVATE)

    @route(router, "GET", developer("workspace", "/workspace/{slug}"), openapi.FIND_WORKSPACE)
    async def find_workspace(request: Request, slug: Slug) -> Response:
        """A workspace with its documents and threads, in a list."""
        check_scope(request, "chat")
        workspace = await places.workspace(owner_of(request), slug)
        return json_response(AnythingWorkspaceFound([await cards.whole(workspace)]), headers=_PRIVATE)

    @route(router, "GET", pages("workspace", "/workspace/{slug}"), openapi.SHOW_WORKSPACE)
    async def show_workspace(request: Request, slug: Slug) -> Response:
        """A workspace with its documents and threads."""
        check_scope(request, "chat")
        workspace = await places.workspace(owner_of(request), slug)
        return json_response(AnythingWorkspaceShown(await cards.whole(workspace)), headers=_PRIVATE)


def _add_changing(router: APIRouter, backend: Backend, places: Places, cards: Cards) -> None:
    workspaces = backend.conversations.workspaces

    @route(router, "POST", both("create_workspace", "/workspace/new"), openapi.CREATE_WORKSPACE)
    async def create_workspace(request: Request) -> Response:
        """Make a workspace; its slug is made from its name."""
        check_scope(request, "chat")
        changes = await _changes(request)
        if changes.name is UNSET:
            raise InputError("name cannot be null", param="name")
        fields = fields_of(changes)
        workspace = await places.create(owner_of(request), str(fields.pop("name")), fields)
        return json_response(AnythingWorkspaceAnswer(await cards.listed(workspace), "Workspace created"))

    @route(router, "POST", both("update_workspace", "/workspace/{slug}/update"), openapi.UPDATE_WORKSPACE)
    async def update_workspace(request: Request, slug: Slug) -> Response:
        """Change what is named; null gives a choice back to the server's settings."""
        check_scope(request, "chat")
        fields = fields_of(await _changes(request))
        workspace = await places.workspace(owner_of(request), slug)
        if not fields:
            return json_response(AnythingWorkspaceAnswer(await cards.whole(workspace), "No valid fields to update!"))
        workspace = await workspaces.update(workspace.tenant, workspace.id, **fields)  # type: ignore[arg-type]
        return json_response(AnythingWorkspaceAnswer(await cards.whole(workspace), None))

    @route(router, "DELETE", both("delete_workspace", "/workspace/{slug}"), openapi.DELETE_WORKSPACE)
    async def delete_workspace(request: Request, slug: Slug) -> Response:
        """Delete a workspace with its threads, chats and documents."""
        check_scope(request, "chat")
        check_scope(request, "documents")
        workspace = await places.workspace(owner_of(request), slug)
        await backend.stop(workspace.tenant, await workspaces.delete(workspace.tenant, workspace.id))
        return Response("OK", media_type="text/plain")


class Cards:
    """Workspaces as they are shown, with what is in them."""

    def __init__(self, backend: Backend, places: Places, files: Files) -> None:
        self._settings = backend.settings.chat
        self._places = places
        self._files = files

    async def listed(self, workspace: Workspace) -> AnythingWorkspace:
        threads = await self._places.named_threads(workspace.tenant, workspace)
        return workspace_card(workspace, self._settings, threads=list(map(thread_name, threads)))

    async def whole(self, workspace: Workspace) -> AnythingWorkspace:
        threads = await self._places.named_threads(workspace.tenant, workspace)
        return workspace_card(
            workspace,
            self._settings,
            documents=[document_card(each, workspace) for each in await self._files.of_workspace(workspace)],
            threads=list(map(thread_name, threads)),
        )


async def _changes(request: Request) -> AnythingWorkspaceChanges:
    """Numbers may come as text, as a page's form has them. Raises `InputError`."""
    given = decode_object(await request.body())
    if given.get("name") is None:
        given.pop("name", None)
    return check(given, AnythingWorkspaceChanges, strict=False)


_FIELDS = {
    "name": "name",
    "open_ai_temp": "temperature",
    "open_ai_history": "history_turns",
    "open_ai_prompt": "system_prompt",
    "similarity_threshold": "min_score",
    "chat_model": "model",
    "top_n": "passages",
    "query_refusal_response": "refusal",
}
_TEXTS = frozenset({"system_prompt", "model", "refusal"})


def fields_of(changes: AnythingWorkspaceChanges) -> JsonObject:
    """What a workspace's own fields become: only what is named."""
    fields: JsonObject = {}
    for name, field in _FIELDS.items():
        value = getattr(changes, name)
        if value is not UNSET:
            fields[field] = "" if value is None and field in _TEXTS else value
    if changes.chat_mode is not UNSET:
        fields["mode"] = "query" if changes.chat_mode == "query" else "chat"
    if changes.chat_provider in (None, "default") and "model" not in fields:
        fields["model"] = ""
    return fields

"""Our own chat API: workspaces, their threads, and a search through what was said. Messages: see `routes_messages`.

Every thread tells which of its answers are being made, so that whoever opens it can join them.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from ..chat.backend import AtWork, Backend
from ..chat.conversations.search import MAX_TEXT_CHARACTERS
from ..chat.conversations.slugs import slug_of
from ..chat.exporting import export_json, export_markdown
from ..chat.importing import parse_import
from ..chat.records import Message, Thread, Workspace, WorkspaceChanges
from ..dialects.base import decode_object, json_line
from ..errors import InputError, UnknownItem
from . import openapi_conversations as openapi
from .accept import owner_of
from .answering import Answering
from .conversation_bodies import (
    NewThread,
    NewWorkspace,
    ThreadChanges,
    read_body,
    read_changes,
    read_workspace,
)
from .conversation_views import (
    FoundList,
    ThreadList,
    ThreadView,
    WorkspaceList,
    found_view,
    thread_view,
    workspace_view,
)
from .downloads import download
from .ports import Services
from .routes_openai import json_response
from .scopes import check_scope

PRIVATE = {"Cache-Control": "no-store"}
MAX_PAGE = 500

WorkspaceRef = Annotated[
    str, Path(description="Id or slug of the workspace; `default` is made when it is first named.", max_length=128)
]
ThreadId = Annotated[str, Path(description="Id of the thread.", max_length=64)]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="At most so many.")]
Before = Annotated[str | None, Query(max_length=64, description="Only what comes after this id, for paging.")]


def routes(services: Services, answering: Answering) -> APIRouter:
    """`/v1/workspaces`, `/v1/threads`, `GET /v1/search` and below, but for what is about single messages."""
    router = APIRouter(tags=["conversations"])
    backend = answering.backend
    _add_workspaces(router, backend)
    _add_workspace(router, backend)
    _add_threads(router, backend)
    _add_thread(router, backend)
    _add_files(router, backend)
    _add_search(router, backend)
    return router


def _add_workspaces(router: APIRouter, backend: Backend) -> None:
    workspaces = backend.conversations.workspaces

    @router.get("/v1/workspaces", **openapi.LIST_WORKSPACES)
    async def list_workspaces(request: Request, limit: Limit = 100, before: Before = None) -> Response:
        """Your workspaces, newest first."""
        check_scope(request, "chat")
        found = await workspaces.newest(owner_of(request), limit=limit + 1, before=before)
        views = WorkspaceList(list(map(workspace_view, found[:limit])), len(found) > limit)
        return json_response(views, headers=PRIVATE)

    @router.post("/v1/workspaces", **openapi.CREATE_WORKSPACE)
    async def create_workspace(request: Request) -> Response:
        """Make a workspace."""
        check_scope(request, "chat")
        tenant, fields = owner_of(request), read_workspace(await request.body(), NewWorkspace)
        async with backend.room(tenant, "workspaces"):
            workspace = await workspaces.create(tenant, **fields)  # type: ignore[arg-type]
        headers = PRIVATE | {"Location": place_of(request, f"workspaces/{workspace.id}")}
        return json_response(workspace_view(workspace), status=201, headers=headers)


def _add_workspace(router: APIRouter, backend: Backend) -> None:
    workspaces = backend.conversations.workspaces

    @router.get("/v1/workspaces/{workspace}", **openapi.GET_WORKSPACE)
    async def get_workspace(request: Request, workspace: WorkspaceRef) -> Response:
        """One workspace."""
        check_scope(request, "chat")
        return json_response(workspace_view(await backend.workspace(owner_of(request), workspace)), headers=PRIVATE)

    @router.patch("/v1/workspaces/{workspace}", **openapi.CHANGE_WORKSPACE)
    async def change_workspace(request: Request, workspace: WorkspaceRef) -> Response:
        """Change what is named of a workspace."""
        check_scope(request, "chat")
        fields = read_workspace(await request.body(), WorkspaceChanges)
        found = await backend.workspace(owner_of(request), workspace)
        changed = await workspaces.update(found.tenant, found.id, **fields)  # type: ignore[arg-type]
        return json_response(workspace_view(changed), headers=PRIVATE)

    @router.delete("/v1/workspaces/{workspace}", **openapi.DELETE_WORKSPACE)
    async def delete_workspace(request: Request, workspace: WorkspaceRef) -> Response:
        """Delete a workspace with its threads and documents. What is at work in it is cancelled."""
        check_scope(request, "chat")
        check_scope(request, "documents")
        found = await workspaces.get(owner_of(request), workspace)
        await backend.stop(found.tenant, await workspaces.delete(found.tenant, found.id))
        return Response(status_code=204)


def _add_threads(router: APIRouter, backend: Backend) -> None:
    threads = backend.conversations.threads

    async def page(tenant: str, workspace: Workspace | None, limit: int, before: str | None) -> Response:
        within = None if workspace is None else workspace.id
        found = await threads.list(tenant, workspace_id=within, limit=limit + 1, before=before)
        working = await backend.at_work(tenant)
        views = ThreadList([thread_view(thread, working) for thread in found[:limit]], len(found) > limit)
        return json_response(views, headers=PRIVATE)

    @router.get("/v1/threads", **openapi.LIST_ALL_THREADS)
    async def list_threads(request: Request, limit: Limit = 100, before: Before = None) -> Response:
        """Your threads in all workspaces, the last active first."""
        check_scope(request, "chat")
        return await page(owner_of(request), None, limit, before)

    @router.get("/v1/workspaces/{workspace}/threads", **openapi.LIST_THREADS)
    async def list_workspace_threads(
        request: Request, workspace: WorkspaceRef, limit: Limit = 100, before: Before = None
    ) -> Response:
        """The threads of a workspace, the last active first."""
        check_scope(request, "chat")
        found = await backend.workspace(owner_of(request), workspace)
        return await page(found.tenant, found, limit, before)

    @router.post("/v1/workspaces/{workspace}/threads", **openapi.CREATE_THREAD)
    async def create_thread(request: Request, workspace: WorkspaceRef) -> Response:
        """Begin a conversation."""
        check_scope(request, "chat")
        body = read_body(await request.body(), NewThread, optional=True)
        found = await backend.workspace(owner_of(request), workspace)
        async with backend.room(found.tenant, "threads"):
            thread = await threads.create(
                found.tenant, found.id, title=body.title, slug=body.slug, model=body.model, metadata=body.metadata
            )
        return created_response(request, thread)


def _add_thread(router: APIRouter, backend: Backend) -> None:
    threads = backend.conversations.threads

    @router.get("/v1/threads/{thread}", **openapi.GET_THREAD)
    async def get_thread(request: Request, thread: ThreadId) -> Response:
        """One thread. `live` names the answers that are being made in it, and the streams to join."""
        check_scope(request, "chat")
        return json_response(await live_view(backend, await the_thread(backend, request, thread)), headers=PRIVATE)

    @router.patch("/v1/threads/{thread}", **openapi.CHANGE_THREAD)
    async def change_thread(request: Request, thread: ThreadId) -> Response:
        """Change what is named of a thread. A title that is given here is not replaced by the server."""
        check_scope(request, "chat")
        changes = read_changes(read_body(await request.body(), ThreadChanges))
        found = await the_thread(backend, request, thread)
        changed = await threads.update(found.tenant, found.id, **changes)  # type: ignore[arg-type]
        return json_response(await live_view(backend, changed), headers=PRIVATE)

    @router.delete("/v1/threads/{thread}", **openapi.DELETE_THREAD)
    async def delete_thread(request: Request, thread: ThreadId) -> Response:
        """Delete a thread with its messages and its own documents. What is at work in it is cancelled."""
        check_scope(request, "chat")
        found = await the_thread(backend, request, thread)
        await backend.stop(found.tenant, await threads.delete(found.tenant, found.id))
        return Response(status_code=204)


def _add_files(router: APIRouter, backend: Backend) -> None:
    @router.get("/v1/threads/{thread}/export", **openapi.EXPORT_THREAD)
    async def export_thread(
        request: Request,
        thread: ThreadId,
        form: Annotated[
            Literal["json", "markdown"],
            Query(alias="format", description="`json`: all branches, to be imported; `markdown`: what is current."),
        ] = "json",
    ) -> Response:
        """A thread as a file to save."""
        check_scope(request, "chat")
        found = await the_thread(backend, request, thread)
        everything = await current(backend, await backend.conversations.messages.all(found.tenant, found.id))
        if form == "json":
            content = await asyncio.to_thread(lambda: json_line(export_json(found, everything)))
            return download(content, f"{_file_name(found)}.json", "application/json")
        text = await asyncio.to_thread(export_markdown, found, everything)
        content = text.encode("utf-8", "replace")
        return download(content, f"{_file_name(found)}.md", "text/markdown; charset=utf-8")

    @router.post("/v1/workspaces/{workspace}/import", **openapi.IMPORT_THREAD)
    async def import_thread(request: Request, workspace: WorkspaceRef) -> Response:
        """Make a thread of a file that was exported here, or of `messages` in OpenAI's shape."""
        check_scope(request, "chat")
        content = await request.body()
        imported = await asyncio.to_thread(lambda: parse_import(decode_object(content)))
        found = await backend.workspace(owner_of(request), workspace)
        async with backend.room(found.tenant, "threads"):
            thread = await backend.conversations.import_thread(found.tenant, found.id, imported)
        return created_response(request, thread)


def _add_search(router: APIRouter, backend: Backend) -> None:
    @router.get("/v1/search", **openapi.SEARCH)
    async def search_conversations(
        request: Request,
        q: Annotated[str, Query(max_length=MAX_TEXT_CHARACTERS, description="Words that all are to be there.")],
        workspace: Annotated[str | None, Query(max_length=128, description="Id or slug: only there.")] = None,
        limit: Annotated[int, Query(ge=1, le=50, description="At most so many.")] = 20,
    ) -> Response:
        """Messages and titles with all of the words, without regard to case and accents; newest first."""
        check_scope(request, "chat")
        tenant = owner_of(request)
        within = None if workspace is None else (await backend.workspace(tenant, workspace)).id
        try:
            hits = await backend.conversations.search(tenant, q, workspace_id=within, limit=limit + 1)
        except InputError as exc:
            raise InputError(exc.message, param="q") from exc
        return json_response(FoundList(list(map(found_view, hits[:limit])), len(hits) > limit), headers=PRIVATE)


# ---------------------------------------------------------------------- what the routes of messages need as well


async def the_thread(backend: Backend, request: Request, thread: str) -> Thread:
    """Raises `UnknownItem`."""
    return await backend.conversations.threads.get(owner_of(request), thread)


async def live_view(backend: Backend, thread: Thread) -> ThreadView:
    """With the answers that are being made in it."""
    return thread_view(thread, await backend.at_work(thread.tenant, thread_id=thread.id))


async def current(backend: Backend, messages: list[Message]) -> list[Message]:
    """Those that are being made with their text so far, or as they ended; without those that were deleted meanwhile."""
    shown = []
    for message in messages:
        try:
            shown.append(await backend.settler.current(message) if message.status == "streaming" else message)
        except UnknownItem:
            continue
    return shown


def created_response(request: Request, thread: Thread) -> Response:
    """For a thread that was just made: nothing is at work in it."""
    nothing: list[AtWork] = []
    headers = PRIVATE | {"Location": place_of(request, f"threads/{thread.id}")}
    return json_response(thread_view(thread, nothing), status=201, headers=headers)


def place_of(request: Request, path: str) -> str:
    return f"{request.scope.get('root_path', '')}/v1/{path}"


def _file_name(thread: Thread) -> str:
    began = datetime.fromtimestamp(thread.created_ms / 1000, UTC)
    return f"{slug_of(thread.title, otherwise='conversation')}-{began:%Y-%m-%d}"

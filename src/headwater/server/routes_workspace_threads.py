"""Threads of a workspace (reference 000)."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from ..chat.backend import Backend
from ..dialects.base import check, decode_object
from ..errors import UnknownItem
from . import openapi_workspace as openapi
from .accept import owner_of
from .openapi_workspace import both, pages, route
from .own_errors import route_class
from .routes_openai import json_response
from .routes_workspace_chat import Slug, ThreadSlug, failure_form
from .scopes import check_scope
from .workspace_places import Places
from .workspace_shapes import (
    AnythingNewThread,
    AnythingThreadAnswer,
    AnythingThreadChanges,
    AnythingThreads,
    AnythingThreadSlugs,
)
from .workspace_views import thread_card

_PRIVATE = {"Cache-Control": "no-store"}


def routes(backend: Backend, places: Places) -> APIRouter:
    router = APIRouter(tags=["AnythingLLM"], route_class=route_class(failure_form))
    _add_threads(router, backend, places)
    _add_deleting(router, backend, places)
    return router


def _add_threads(router: APIRouter, backend: Backend, places: Places) -> None:
    threads = backend.conversations.threads

    @route(router, "GET", pages("threads", "/workspace/{slug}/threads"), openapi.LIST_THREADS)
    async def list_threads(request: Request, slug: Slug) -> Response:
        """The workspace's threads, at most 1000."""
        check_scope(request, "chat")
        tenant = owner_of(request)
        workspace = await places.workspace(tenant, slug)
        named = await places.named_threads(tenant, workspace)
        default = await places.known_thread(tenant, workspace, None)
        # A question and an answer are one chat.
        count = 0 if default is None else default.messages // 2
        return json_response(AnythingThreads([thread_card(each, workspace) for each in named], count), headers=_PRIVATE)

    @route(router, "POST", both("create_thread", "/workspace/{slug}/thread/new"), openapi.CREATE_THREAD)
    async def create_thread(request: Request, slug: Slug) -> Response:
        """Make a thread. Without a name it is named after its first question."""
        check_scope(request, "chat")
        content = await request.body()
        new = check(decode_object(content), AnythingNewThread, strict=False) if content else AnythingNewThread()
        workspace = await places.workspace(owner_of(request), slug)
        thread = await places.create_thread(
            workspace.tenant, workspace, name=new.name or "", slug=new.slug, user_id=new.user_id
        )
        return json_response(AnythingThreadAnswer(thread_card(thread, workspace), None))

    @route(
        router, "POST", both("update_thread", "/workspace/{slug}/thread/{thread_slug}/update"), openapi.UPDATE_THREAD
    )
    async def update_thread(request: Request, slug: Slug, thread_slug: ThreadSlug) -> Response:
        """Rename a thread."""
        check_scope(request, "chat")
        changes = check(decode_object(await request.body()), AnythingThreadChanges)
        workspace = await places.workspace(owner_of(request), slug)
        thread = await places.thread(workspace.tenant, workspace, thread_slug)
        if changes.name is None:
            return json_response(AnythingThreadAnswer(thread_card(thread, workspace), "No valid fields to update!"))
        thread = await threads.update(thread.tenant, thread.id, title=changes.name)
        return json_response(AnythingThreadAnswer(thread_card(thread, workspace), None))


def _add_deleting(router: APIRouter, backend: Backend, places: Places) -> None:
    threads = backend.conversations.threads

    @route(router, "DELETE", both("delete_thread", "/workspace/{slug}/thread/{thread_slug}"), openapi.DELETE_THREAD)
    async def delete_thread(request: Request, slug: Slug, thread_slug: ThreadSlug) -> Response:
        """Delete a thread with its chats."""
        check_scope(request, "chat")
        workspace = await places.workspace(owner_of(request), slug)
        thread = await places.thread(workspace.tenant, workspace, thread_slug)
        await backend.stop(thread.tenant, await threads.delete(thread.tenant, thread.id))
        return Response("OK", media_type="text/plain")

    place = pages("delete_threads", "/workspace/{slug}/thread-bulk-delete")

    @route(router, "DELETE", place, openapi.DELETE_THREADS)
    async def delete_threads(request: Request, slug: Slug) -> Response:
        """Delete several threads; those that are not there are gone already."""
        check_scope(request, "chat")
        body = check(decode_object(await request.body()), AnythingThreadSlugs)
        workspace = await places.workspace(owner_of(request), slug)
        for each in body.slugs:
            try:
                thread = await places.thread(workspace.tenant, workspace, each)
                await backend.stop(thread.tenant, await threads.delete(thread.tenant, thread.id))
            except UnknownItem:
                continue
        return Response("OK", media_type="text/plain")

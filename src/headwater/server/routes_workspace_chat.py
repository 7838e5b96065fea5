"""Asking in a workspace, and what was said there (reference 000)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

import msgspec
from fastapi import APIRouter, Path, Query, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp

from ..chat.asking import Ask
from ..chat.records import Message, Thread, Workspace
from ..dialects.base import check, decode_object
from ..dialects.workspace import NAME, WorkspaceBody
from ..errors import BudgetExhausted, InputError, ProviderError, RateLimited, UnknownItem
from ..events import Error, JsonObject
from ..streams import Channel
from ..streams.fold import fold
from ..streams.log import Query as LogQuery
from . import openapi_workspace as openapi
from .accept import owner_of
from .answering import Answering
from .openapi_workspace import both, developer, pages, route
from .own_errors import route_class
from .responses import before_disconnect
from .routes_openai import json_response
from .scopes import check_scope
from .workspace_attachments import Attachments
from .workspace_places import MAX_SESSION_CHARACTERS, Places
from .workspace_shapes import AnythingCut, AnythingHistory
from .workspace_views import (
    Chat,
    StreamFacts,
    abort_card,
    answer_card,
    chats_of,
    frame,
    history_of,
    memory_reset_card,
    reset_card,
)

Slug = Annotated[str, Path(description="The workspace's slug.", max_length=128)]
ThreadSlug = Annotated[str, Path(description="The thread's slug.", max_length=128)]

# AnythingLLM's command, for pages that know no other way.
RESET_COMMAND = "/reset"
# What only the developer API takes.
_DEVELOPERS_OWN = ("mode", "sessionId", "userId", "reset")
_PRIVATE = {"Cache-Control": "no-store"}
_SSE_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}


class _Place(NamedTuple):
    workspace: Workspace
    thread: Thread


def abort_form(message: str, code: str, status: int) -> JsonObject:
    """Errors of asking."""
    told: JsonObject = msgspec.to_builtins(abort_card(message))
    return told


def failure_form(message: str, code: str, status: int) -> JsonObject:
    """Errors of everything else."""
    return {"message": message, "error": message}


def routes(answering: Answering, places: Places) -> Sequence[APIRouter]:
    asking = APIRouter(tags=["AnythingLLM"], route_class=route_class(abort_form))
    reading = APIRouter(tags=["AnythingLLM"], route_class=route_class(failure_form))
    chats = _Chats(answering, places)
    _add_developers(asking, chats)
    _add_pages(asking, chats)
    _add_history(reading, chats)
    _add_cutting(reading, chats)
    return asking, reading


def _add_developers(router: APIRouter, chats: _Chats) -> None:
    @route(router, "POST", developer("stream_chat", "/workspace/{slug}/stream-chat"), openapi.STREAM_CHAT)
    async def stream_chat(request: Request, slug: Slug) -> ASGIApp:
        """Ask in a workspace. `sessionId` keeps conversations apart, `reset` begins one anew."""
        return await chats.stream(request, slug, None, own=await developers_body(request))

    place = developer("stream_chat_thread", "/workspace/{slug}/thread/{thread_slug}/stream-chat")

    @route(router, "POST", place, openapi.STREAM_CHAT)
    async def stream_chat_thread(request: Request, slug: Slug, thread_slug: ThreadSlug) -> ASGIApp:
        """Ask in a thread."""
        return await chats.stream(request, slug, thread_slug, own=await developers_body(request))

    @route(router, "POST", developer("chat", "/workspace/{slug}/chat"), openapi.CHAT)
    async def chat(request: Request, slug: Slug) -> Response:
        """Ask in a workspace, and get the answer in one piece."""
        return await chats.whole(request, slug, None)

    @route(router, "POST", developer("chat_thread", "/workspace/{slug}/thread/{thread_slug}/chat"), openapi.CHAT)
    async def chat_thread(request: Request, slug: Slug, thread_slug: ThreadSlug) -> Response:
        """Ask in a thread, and get the answer in one piece."""
        return await chats.whole(request, slug, thread_slug)


def _add_pages(router: APIRouter, chats: _Chats) -> None:
    @route(router, "POST", pages("stream_chat", "/workspace/{slug}/stream-chat"), openapi.STREAM_CHAT_PAGES)
    async def stream_chat_pages(request: Request, slug: Slug) -> ASGIApp:
        """Ask in a workspace's default thread."""
        return await chats.stream(request, slug, None, own=await pages_body(request))

    place = pages("stream_chat_thread", "/workspace/{slug}/thread/{thread_slug}/stream-chat")

    @route(router, "POST", place, openapi.STREAM_CHAT_PAGES)
    async def stream_chat_thread_pages(request: Request, slug: Slug, thread_slug: ThreadSlug) -> ASGIApp:
        """Ask in a thread."""
        return await chats.stream(request, slug, thread_slug, own=await pages_body(request))


def _add_history(router: APIRouter, chats: _Chats) -> None:
    @route(router, "GET", developer("chats", "/workspace/{slug}/chats"), openapi.CHATS)
    async def list_chats(
        request: Request,
        slug: Slug,
        limit: Annotated[int, Query(ge=1, le=1000, description="Chats at most.")] = 100,
        order_by: Annotated[
            Literal["asc", "desc"], Query(alias="orderBy", description="`desc`: the newest first.")
        ] = "asc",
        session: Annotated[
            str | None,
            Query(alias="apiSessionId", description="Of this session only.", max_length=MAX_SESSION_CHARACTERS),
        ] = None,
    ) -> Response:
        """What was asked in a workspace, outside of threads, and answered."""
        workspace, thread = await chats.known(request, slug, session or None)
        found = await chats.of(thread)
        wanted = found[:limit] if order_by == "asc" else found[::-1][:limit]
        return json_response(AnythingHistory(history_of(wanted, workspace)), headers=_PRIVATE)

    @route(router, "GET", pages("chats", "/workspace/{slug}/chats"), openapi.CHATS)
    async def list_chats_pages(request: Request, slug: Slug) -> Response:
        """The whole default thread. An answer with `status` `streaming` is joined by its `streamId`."""
        workspace, thread = await chats.known(request, slug, None)
        return json_response(AnythingHistory(history_of(await chats.of(thread), workspace)), headers=_PRIVATE)

    @route(router, "GET", both("chats_thread", "/workspace/{slug}/thread/{thread_slug}/chats"), openapi.CHATS)
    async def list_thread_chats(request: Request, slug: Slug, thread_slug: ThreadSlug) -> Response:
        """The whole thread. An answer with `status` `streaming` is joined by its `streamId`."""
        workspace, thread = await chats.named(request, slug, thread_slug)
        return json_response(AnythingHistory(history_of(await chats.of(thread), workspace)), headers=_PRIVATE)


def _add_cutting(router: APIRouter, chats: _Chats) -> None:
    @route(router, "DELETE", pages("cut_chats", "/workspace/{slug}/delete-edited-chats"), openapi.CUT_CHATS)
    async def cut_chats(request: Request, slug: Slug) -> Response:
        """Forget a chat of the default thread and all after it, as before an edited question is asked."""
        _, thread = await chats.known(request, slug, None)
        return await chats.cut(request, thread)

    place = pages("cut_thread_chats", "/workspace/{slug}/thread/{thread_slug}/delete-edited-chats")

    @route(router, "DELETE", place, openapi.CUT_CHATS)
    async def cut_thread_chats(request: Request, slug: Slug, thread_slug: ThreadSlug) -> Response:
        """Forget a chat of the thread and all after it, as before an edited question is asked."""
        _, thread = await chats.named(request, slug, thread_slug)
        return await chats.cut(request, thread)


async def developers_body(request: Request) -> WorkspaceBody:
    """Raises `InputError`, also for an empty message that resets nothing."""
    check_scope(request, "chat")
    given = {name: value for name, value in decode_object(await request.body()).items() if value is not None}
    if given.get("mode") == "automatic":
        # Tools where the model has some; there are none here.
        given["mode"] = "chat"
    session = given.get("sessionId")
    if isinstance(session, int) and not isinstance(session, bool):
        given["sessionId"] = str(session)
    body = check(given, WorkspaceBody)
    if body.session_id is not None and len(body.session_id) > MAX_SESSION_CHARACTERS:
        raise InputError(f"sessionId is longer than {MAX_SESSION_CHARACTERS} characters", param="sessionId")
    if not body.message.strip() and not body.reset:
        raise InputError("Message is empty.", param="message")
    return body


async def pages_body(request: Request) -> WorkspaceBody:
    """The message and its files, whatever else there is. Raises `InputError`."""
    check_scope(request, "chat")
    given = decode_object(await request.body())
    body = check(
        {name: value for name, value in given.items() if value is not None and name not in _DEVELOPERS_OWN},
        WorkspaceBody,
    )
    if not body.message.strip():
        raise InputError("Message is empty.", param="message")
    return body


class _Chats:
    def __init__(self, answering: Answering, places: Places) -> None:
        self._answering = answering
        self._backend = answering.backend
        self._places = places
        settings = answering.backend.settings
        self._attachments = Attachments(settings.chat, settings.ingest)

    # ------------------------------------------------------------------ asking

    async def stream(self, request: Request, slug: str, thread_slug: str | None, *, own: WorkspaceBody) -> ASGIApp:
        place = await self._place(request, slug, thread_slug, own)
        if own.reset is None and own.message.strip() == RESET_COMMAND:
            await self._places.clear(place.thread)
            return _frames(memory_reset_card())
        if own.reset:
            await self._reset(request, place.thread)
            if not own.message.strip():
                return _frames(reset_card())
        try:
            return await self._answering.answer(request, await self._ask(place, own), NAME)
        except (BudgetExhausted, RateLimited, ProviderError) as exc:
            # AnythingLLM's pages show the words of an `abort`, and of an error status only its number.
            return _frames(abort_card(exc.message))

    async def whole(self, request: Request, slug: str, thread_slug: str | None) -> Response:
        body = await developers_body(request)
        place = await self._place(request, slug, thread_slug, body)
        if body.reset:
            await self._reset(request, place.thread)
            if not body.message.strip():
                return json_response(reset_card())
        asked = await self._answering.ask(request, await self._ask(place, body), NAME)
        return await self._whole(request, asked.channel)

    async def _place(self, request: Request, slug: str, thread_slug: str | None, body: WorkspaceBody) -> _Place:
        tenant = owner_of(request)
        workspace = await self._places.workspace(tenant, slug)
        if thread_slug is None:
            # As in AnythingLLM, an empty session is none.
            thread = await self._places.conversation(tenant, workspace, body.session_id or None)
        else:
            thread = await self._places.thread(tenant, workspace, thread_slug)
        return _Place(workspace, thread)

    async def _ask(self, place: _Place, body: WorkspaceBody) -> Ask:
        return Ask(
            workspace=place.workspace,
            thread=place.thread,
            message=body.message,
            parts=await self._attachments.parts(body),
            mode=body.mode,
        )

    async def _reset(self, request: Request, thread: Thread) -> None:
        """The conversation begins anew. But a retry finds its stream by its key, and must not forget what it asked."""
        key = request.headers.get("idempotency-key")
        if key:
            known = LogQuery(owner=thread.tenant, idempotency_key=key, limit=1)
            if await self._backend.hub.log.find(known):
                return
        await self._places.clear(thread)

    async def _whole(self, request: Request, channel: Channel) -> Response:
        hub, headers = self._backend.hub, {"X-Stream-Id": channel.id, **_PRIVATE}
        with hub.hold(channel):
            if not await before_disconnect(request.receive, channel.wait_end()):
                raise ClientDisconnect
            terminal = channel.terminal
            events = await hub.read_all(channel)
        if isinstance(terminal, Error):
            return json_response(abort_card(terminal.message, id=channel.id), status=terminal.status, headers=headers)
        facts = StreamFacts(channel.id, channel.model, channel.created_ms, channel.epoch, fold(events))
        return json_response(answer_card(facts, events), headers=headers)

    # ------------------------------------------------------------------ reading

    async def known(self, request: Request, slug: str, session: str | None) -> tuple[Workspace, Thread | None]:
        """What is asked outside of threads; None: nothing was."""
        check_scope(request, "chat")
        tenant = owner_of(request)
        workspace = await self._places.workspace(tenant, slug)
        return workspace, await self._places.known_thread(tenant, workspace, session)

    async def named(self, request: Request, slug: str, thread_slug: str) -> tuple[Workspace, Thread]:
        check_scope(request, "chat")
        tenant = owner_of(request)
        workspace = await self._places.workspace(tenant, slug)
        return workspace, await self._places.thread(tenant, workspace, thread_slug)

    async def of(self, thread: Thread | None) -> list[Chat]:
        return [] if thread is None else chats_of(await self._backend.messages(thread))

    async def cut(self, request: Request, thread: Thread | None) -> Response:
        """Raises `InputError`, `UnknownItem`."""
        body = check(decode_object(await request.body()), AnythingCut, strict=False)
        message = await self._message(thread, body.starting_id)
        first = message.parent_id if message.role == "assistant" and message.parent_id else message.id
        streams = await self._backend.conversations.messages.delete(message.tenant, first)
        await self._backend.stop(message.tenant, streams)
        return Response("OK", media_type="text/plain")

    async def _message(self, thread: Thread | None, number: int) -> Message:
        if thread is not None:
            message = await self._backend.conversations.messages.get(thread.tenant, number)
            if message.thread_id == thread.id:
                return message
        raise UnknownItem("message", param="startingId")


def _frames(payload: object) -> Response:
    """A stream of one frame, which nobody can come back to."""
    return Response(frame(payload), headers=_SSE_HEADERS)

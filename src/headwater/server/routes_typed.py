"""The conversations of reference 003: sessions by number, their messages, and answers as typed messages.

All is at the reference's own addresses and below `/api`; errors are FastAPI's `{"detail": …}`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response
from starlette.types import ASGIApp

from ..chat.asking import Ask
from ..chat.backend import Backend
from ..chat.message_handler import check_selected, session_ask
from ..chat.places import Places
from ..chat.records import Message, Thread
from ..chat.turn import SearchMode
from ..dialects import EncodeOptions
from ..dialects.base import check, decode_object
from ..dialects.typed import NAME, TypedBody, decode_body
from ..errors import InputError, UnknownItem
from ..events import JsonObject
from ..store.numbers import MAX_NUMBER
from . import openapi_typed
from .accept import cursor_of, owner_of
from .answering import Answering
from .own_errors import route_class
from .ports import Services
from .routes_openai import json_response
from .scopes import check_scope
from .typed_shapes import (
    TypedMessageList,
    TypedSessionBody,
    TypedSessionChanges,
    TypedSessionList,
    message_card,
    session_card,
)

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

SessionId = Annotated[int, Path(ge=1, le=MAX_NUMBER, description="Number of the session.")]
Limit = Annotated[int, Query(ge=1, le=500, description="At most so many.")]
Before = Annotated[int | None, Query(ge=1, le=MAX_NUMBER, description="Only those before this id, for paging.")]
PRIVATE = {"Cache-Control": "no-store"}


def detail(message: str, code: str, status: int) -> JsonObject:
    """As FastAPI answers its own errors."""
    return {"detail": message}


def router() -> APIRouter:
    return APIRouter(tags=["document assistant"], route_class=route_class(detail))


def both(router: APIRouter, method: str, path: str, described: dict[str, Any]) -> Callable[[Endpoint], Endpoint]:
    """The endpoint at `path` and below `/api`."""

    def add(endpoint: Endpoint) -> Endpoint:
        add_one = router.add_api_route
        add_one(path, endpoint, methods=[method], name=endpoint.__name__, **described)
        add_one(f"/api{path}", endpoint, methods=[method], name=f"{endpoint.__name__}_below_api", **described)
        return endpoint

    return add


def routes(services: Services, answering: Answering) -> APIRouter:
    """`/chat/…` and `/api/chat/…`."""
    found = router()
    # Before those whose first part is a session's number.
    _add_sessions(found, answering.backend)
    _add_answers(found, answering)
    _add_messages(found, answering.backend)
    return found


def _add_answers(router: APIRouter, answering: Answering) -> None:
    backend = answering.backend

    @both(router, "POST", "/chat/{session_id}/stream", openapi_typed.ASK)
    async def ask_chat_session(request: Request, session_id: SessionId) -> ASGIApp:
        """Answer a question in a session, which is made when it is first used."""
        check_scope(request, "chat")
        body = decode_body(await request.body())
        ask = await _ask(backend, request, session_id, body)
        return await answering.answer(request, ask, NAME, EncodeOptions(session_id=session_id))

    @router.get("/api/chat/{session_id}/stream", **openapi_typed.ASK_GET)
    async def ask_chat_session_get(
        request: Request,
        session_id: SessionId,
        question: Annotated[str | None, Query(description="What is asked.")] = None,
        model: Annotated[str | None, Query(description="The model; else the session's, else the default.")] = None,
        search_mode: Annotated[SearchMode, Query(description="Of which documents.")] = "all",
        selected_document_ids: Annotated[str, Query(description="Ids with commas between them.")] = "",
        after: Annotated[str | None, Query(description="Cursor to continue after; `Last-Event-ID` wins.")] = None,
        key: Annotated[str | None, Query(description="Names one answer: again, it is the same stream.")] = None,
    ) -> ASGIApp:
        """The same for EventSource, which comes back to the same address: with a cursor it gets the rest."""
        check_scope(request, "chat", reads=False)
        if question is None:
            raise InputError("question is needed in the address: ?question=…", param="question")
        selected = [part.strip() for part in selected_document_ids.split(",") if part.strip()]
        body = TypedBody(question=question, model=model, search_mode=search_mode, selected_document_ids=[*selected])
        ask = await _ask(backend, request, session_id, body)
        return await answering.answer_get(request, ask, NAME, EncodeOptions(session_id=session_id))


async def _ask(backend: Backend, request: Request, session_id: int, body: TypedBody) -> Ask:
    ask = await session_ask(backend, owner_of(request), session_id, question=body.question)
    selected = tuple(body.selected_document_ids)
    if cursor_of(request, request.query_params.get("after")) is None:
        # Who comes back for the rest of an answer must get it, even if a document has gone meanwhile.
        await check_selected(backend, ask, selected)
    return msgspec.structs.replace(ask, model=body.model or "", search_mode=body.search_mode, selected=selected)


def _add_sessions(router: APIRouter, backend: Backend) -> None:
    threads, places = backend.conversations.threads, Places(backend)

    @both(router, "POST", "/chat/chat_sessions", openapi_typed.CREATE_SESSION)
    async def create_chat_session(request: Request) -> Response:
        """Create a session."""
        check_scope(request, "chat")
        content = await request.body()
        body = check(decode_object(content), TypedSessionBody) if content else TypedSessionBody()
        thread = await places.create(owner_of(request), title=body.title, model=body.model)
        place = f"{request.scope.get('root_path', '')}/chat/chat_sessions/{thread.number}"
        return json_response(session_card(thread), status=201, headers=PRIVATE | {"Location": place})

    @both(router, "GET", "/chat/chat_sessions", openapi_typed.LIST_SESSIONS)
    async def list_chat_sessions(request: Request, limit: Limit = 100, before: Before = None) -> Response:
        """Your sessions, the last active first."""
        check_scope(request, "chat")
        tenant = owner_of(request)
        last = None if before is None else (await _session(backend, request, before)).id
        found = await threads.list(tenant, limit=limit + 1, before=last)
        cards = TypedSessionList(list(map(session_card, found[:limit])), len(found) > limit)
        return json_response(cards, headers=PRIVATE)

    @both(router, "GET", "/chat/chat_sessions/{session_id}", openapi_typed.GET_SESSION)
    async def get_chat_session(request: Request, session_id: SessionId) -> Response:
        """One session."""
        check_scope(request, "chat")
        return json_response(session_card(await _session(backend, request, session_id)), headers=PRIVATE)

    @both(router, "PATCH", "/chat/chat_sessions/{session_id}", openapi_typed.CHANGE_SESSION)
    async def change_chat_session(request: Request, session_id: SessionId) -> Response:
        """Change a session's title or model."""
        check_scope(request, "chat")
        changes = check(decode_object(await request.body()), TypedSessionChanges)
        thread = await _session(backend, request, session_id)
        thread = await threads.update(thread.tenant, thread.id, title=changes.title, model=changes.model)
        return json_response(session_card(thread), headers=PRIVATE)

    @both(router, "DELETE", "/chat/chat_sessions/{session_id}", openapi_typed.DELETE_SESSION)
    async def delete_chat_session(request: Request, session_id: SessionId) -> Response:
        """Delete a session with its messages and its own documents. What is being answered in it is cancelled."""
        check_scope(request, "chat")
        thread = await _session(backend, request, session_id)
        await backend.stop(thread.tenant, await threads.delete(thread.tenant, thread.id))
        return Response(status_code=204)


def _add_messages(router: APIRouter, backend: Backend) -> None:
    @both(router, "GET", "/chat/{session_id}/messages", openapi_typed.LIST_MESSAGES)
    async def list_session_messages(
        request: Request, session_id: SessionId, limit: Limit = 100, before: Before = None
    ) -> Response:
        """The newest messages of a session, the oldest of them first. An answer under way has its text so far."""
        check_scope(request, "chat")
        thread = await _session(backend, request, session_id)
        found = await _page(backend, thread, limit=limit + 1, before=before)
        cards = TypedMessageList(list(map(message_card, found[-limit:])), len(found) > limit)
        return json_response(cards, headers=PRIVATE)


async def _session(backend: Backend, request: Request, number: int) -> Thread:
    """Raises `UnknownItem`."""
    try:
        return await backend.conversations.threads.get(owner_of(request), number)
    except UnknownItem as exc:
        raise UnknownItem("thread", param="session_id", message="no such session") from exc


async def _page(backend: Backend, thread: Thread, *, limit: int, before: int | None) -> list[Message]:
    """Raises `UnknownItem` where `before` is no message of this thread."""
    messages = backend.conversations.messages
    leaf_id = None
    if before is not None:
        leaf_id = (await messages.get(thread.tenant, before)).parent_id
        if leaf_id is None:
            return []
    path = await messages.path(thread.tenant, thread.id, leaf_id, limit=limit)
    current = backend.settler.current
    return [await current(message) if message.status == "streaming" else message for message in path]

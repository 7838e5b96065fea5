"""Our own chat API: asking, and the messages of a thread with their branches."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response
from starlette.types import ASGIApp

from ..chat.asking import Ask, Asked
from ..chat.backend import Backend
from ..chat.message_handler import check_selected
from ..chat.records import Message, Thread
from ..dialects import EncodeOptions, dialect_named, typed
from ..errors import InputError, UnknownItem
from ..streams import Accepted
from . import conversation_views as views
from . import openapi_conversations as openapi
from .accept import cursor_of, owner_of
from .answering import Answering
from .conversation_bodies import AskBody, LeafBody, errors_named, read_body, read_params, read_question
from .conversation_views import MessageList, MessageView, message_view
from .ports import Services
from .routes_conversations import PRIVATE, Before, Limit, ThreadId, current, live_view, place_of, the_thread
from .routes_openai import json_response
from .scopes import check_scope
from .watching import watch_accepted

MessageId = Annotated[str, Path(description="Id of the message.", max_length=64)]


def routes(services: Services, answering: Answering) -> APIRouter:
    """`/v1/threads/{thread}/messages`, `…/leaf`, `…/cancel`, and `/v1/messages/{message}`."""
    router = APIRouter(tags=["conversations"])
    _add_reading(router, answering.backend)
    _add_asking(router, services, answering)
    _add_branches(router, answering.backend)
    return router


def _add_reading(router: APIRouter, backend: Backend) -> None:
    messages = backend.conversations.messages

    @router.get("/v1/threads/{thread}/messages", **openapi.LIST_MESSAGES)
    async def list_thread_messages(
        request: Request,
        thread: ThreadId,
        limit: Limit = 100,
        before: Before = None,
        leaf: Annotated[
            str | None, Query(max_length=64, description="The branch that ends in this message; else the current one.")
        ] = None,
        everything: Annotated[bool, Query(alias="all", description="The messages of all branches.")] = False,
    ) -> Response:
        """The newest messages of a thread, the oldest of them first. An answer being made has its text so far."""
        check_scope(request, "chat")
        if everything and leaf is not None:
            raise InputError("all branches, or the one that ends in a leaf: not both", param="leaf")
        found = await the_thread(backend, request, thread)
        last = None if before is None else await _of_thread(backend, found, before)
        if everything:
            number = None if last is None else last.number
            page = await messages.all(found.tenant, found.id, limit=limit + 1, before=number)
        elif last is None:
            page = await messages.path(found.tenant, found.id, leaf, limit=limit + 1)
        elif last.parent_id is None:
            page = []
        else:
            page = await messages.path(found.tenant, found.id, last.parent_id, limit=limit + 1)
        shown = await _views(backend, found, page[-limit:])
        return json_response(MessageList(shown, len(page) > limit), headers=PRIVATE)

    @router.get("/v1/messages/{message}", **openapi.GET_MESSAGE)
    async def get_message(request: Request, message: MessageId) -> Response:
        """One message. An answer that is being made has its text so far."""
        check_scope(request, "chat")
        found = await messages.get(owner_of(request), message)
        return json_response(await _view(backend, found), headers=PRIVATE)


def _add_asking(router: APIRouter, services: Services, answering: Answering) -> None:
    backend = answering.backend

    @router.post("/v1/threads/{thread}/messages", **openapi.ASK)
    async def ask(request: Request, thread: ThreadId) -> ASGIApp:
        """Ask in a thread: a question, an edited one, or the same once more.

        Repeated with its `Idempotency-Key` it is the same answer, from where the cursor says.
        """
        check_scope(request, "chat")
        body = read_body(await request.body(), AskBody)
        dialect_named(body.dialect)
        found = await the_thread(backend, request, thread)
        with errors_named(_names(body)):
            question = await _ask(backend, request, found, body)
            asked = await answering.ask(request, question, body.dialect, watched=body.stream)
        if not body.stream:
            return await _told(backend, request, asked)
        accepted = Accepted(asked.channel, asked.created)
        options = EncodeOptions(session_id=found.number)
        response = watch_accepted(services, request, accepted, body.dialect, options)
        answer = await _answer_of(backend, asked)
        if answer is not None and isinstance(response, Response):
            response.headers["X-Message-Id"] = answer.id
        return response


def _names(body: AskBody) -> dict[str, str]:
    names = {"message": "content", "attachments": "content", "document_id": "selected_document_ids"}
    return names | {"message_id": "edit" if body.edit is not None else "regenerate"}


async def _ask(backend: Backend, request: Request, thread: Thread, body: AskBody) -> Ask:
    """Raises `InputError`, `UnknownItem`."""
    question, params = read_question(body), read_params(body.params)
    workspace = await backend.conversations.workspaces.get(thread.tenant, thread.workspace_id)
    ask = Ask(
        workspace=workspace,
        thread=thread,
        message=question.text,
        parts=question.parts,
        edit=body.edit,
        regenerate=body.regenerate,
        model=body.model or "",
        params=params,
        mode=body.mode,
        search_mode=body.search_mode,
        selected=tuple(body.selected_document_ids),
        passages=body.passages,
        fallback=body.fallback not in (False, "off"),
        priority=body.priority,
        tells_whole=body.dialect == typed.NAME,
    )
    if cursor_of(request, request.query_params.get("after")) is None:
        # Who comes back for the rest of an answer must get it, even if a document has gone meanwhile.
        await check_selected(backend, ask, ask.selected)
    return ask


async def _answer_of(backend: Backend, asked: Asked) -> Message | None:
    """None where the question was asked before, and deleted since."""
    if asked.turn is not None:
        return asked.turn.answer
    return await backend.conversations.messages.by_stream(asked.channel.id)


async def _told(backend: Backend, request: Request, asked: Asked) -> Response:
    """Question and answer as they are now. Raises `UnknownItem`."""
    answer = await _answer_of(backend, asked)
    if answer is None or answer.parent_id is None:
        raise UnknownItem("message", message="this was asked before, and deleted since")
    question = await backend.conversations.messages.get(answer.tenant, answer.parent_id)
    stream = asked.channel.id
    told = views.Asked(stream, await _view(backend, question), await _view(backend, answer))
    headers = PRIVATE | {"X-Stream-Id": stream, "X-Message-Id": answer.id}
    headers["Location"] = place_of(request, f"messages/{answer.id}")
    return json_response(told, status=201 if asked.created else 200, headers=headers)


def _add_branches(router: APIRouter, backend: Backend) -> None:
    messages = backend.conversations.messages

    @router.post("/v1/threads/{thread}/leaf", **openapi.SWITCH_BRANCH)
    async def switch_branch(request: Request, thread: ThreadId) -> Response:
        """Go on with another branch: after the newest message below the one that is named."""
        check_scope(request, "chat")
        body = read_body(await request.body(), LeafBody)
        found = await the_thread(backend, request, thread)
        changed = await messages.set_leaf(found.tenant, found.id, body.message_id)
        return json_response(await live_view(backend, changed), headers=PRIVATE)

    @router.post("/v1/threads/{thread}/cancel", **openapi.CANCEL_THREAD)
    async def cancel_thread(request: Request, thread: ThreadId) -> Response:
        """Stop the answers that are being made in a thread. What there is of them is kept."""
        check_scope(request, "chat")
        found = await the_thread(backend, request, thread)
        working = await backend.at_work(found.tenant, thread_id=found.id)
        await backend.stop(found.tenant, [each.stream.id for each in working])
        stopped = await _views(backend, found, [each.message for each in working])
        return json_response(MessageList(stopped, False), headers=PRIVATE)

    @router.delete("/v1/messages/{message}", **openapi.DELETE_MESSAGE)
    async def delete_message(request: Request, message: MessageId) -> Response:
        """Delete a message and all that is below it. What is being answered there is cancelled."""
        check_scope(request, "chat")
        tenant = owner_of(request)
        await backend.stop(tenant, await messages.delete(tenant, message))
        return Response(status_code=204)


async def _of_thread(backend: Backend, thread: Thread, message_id: str) -> Message:
    """Raises `UnknownItem`."""
    message = await backend.conversations.messages.get(thread.tenant, message_id)
    if message.thread_id != thread.id:
        raise UnknownItem("message", param="before")
    return message


async def _views(backend: Backend, thread: Thread, messages: list[Message]) -> list[MessageView]:
    """Of one thread's messages, as they are now."""
    branches = await backend.conversations.messages.branches(thread.tenant, thread.id)
    now = await current(backend, messages)
    # One that was deleted between the two queries is left out.
    return [message_view(message, branches[message.id]) for message in now if message.id in branches]


async def _view(backend: Backend, message: Message) -> MessageView:
    if message.status == "streaming":
        message = await backend.settler.current(message)
    return message_view(message, await backend.conversations.messages.siblings(message.tenant, message.id))

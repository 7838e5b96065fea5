"""The routes of reference 001: `POST /api/ai-chat/stream` and, for EventSource, `GET /api/ai-chat/stream-sse`."""

from __future__ import annotations

from http import HTTPStatus

import msgspec
from fastapi import APIRouter, Request
from starlette.types import ASGIApp

from ..chat.ai_service import ROLES, as_told, params_of
from ..chat.asking import Ask
from ..chat.history import Past
from ..chat.places import Places, check_label
from ..chat.records import Thread, Workspace
from ..chat.settings import AiChatSettings
from ..dialects.ai_chat import NAME, AiChatBody, AiChatMessage, decode_body, decode_query
from ..errors import InputError, OrganizationRefused, SwitchedOff
from ..events import JsonObject
from . import openapi_ai_chat
from .accept import owner_of, principal_of
from .answering import Answering
from .own_errors import route_class
from .ports import Services
from .scopes import check_scope


def nest_error(message: str, code: str, status: int) -> JsonObject:
    """As NestJS's own exception filter answers."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:  # a provider's own status
        phrase = "Error"
    return {"statusCode": status, "message": message, "error": phrase}


def routes(services: Services, answering: Answering, settings: AiChatSettings = AiChatSettings()) -> APIRouter:  # noqa: B008 - frozen
    """`/api/ai-chat/…`."""
    router = APIRouter(tags=["ai-chat"], route_class=route_class(nest_error))
    chat = _AiChat(services, answering, settings)

    @router.post("/api/ai-chat/stream", **openapi_ai_chat.STREAM)
    async def stream_ai_chat(request: Request) -> ASGIApp:
        """Answer a message. `model`, `temperature` and `maxTokens` may also be in an object `options`.

        With `sessionId` the conversation is kept, and earlier messages come from it unless `history` has some.
        """
        check_scope(request, "chat")
        chat.check_enabled()
        ask = await chat.ask(request, decode_body(await request.body()))
        return await answering.answer(request, ask, NAME)

    @router.get("/api/ai-chat/stream-sse", **openapi_ai_chat.STREAM_SSE)
    async def stream_ai_chat_sse(request: Request) -> ASGIApp:
        """The same for EventSource, which comes back to the same address: with a cursor it gets the rest."""
        check_scope(request, "chat", reads=False)
        chat.check_enabled()
        ask = await chat.ask(request, decode_query(request.query_params))
        return await answering.answer_get(request, ask, NAME)

    return router


class _AiChat:
    """From a body to a question. All raise `InputError`."""

    def __init__(self, services: Services, answering: Answering, settings: AiChatSettings) -> None:
        self._max_messages = services.settings.max_messages
        self._system = answering.backend.settings.chat.system_prompt
        self._places = Places(answering.backend)
        self._settings = settings

    def check_enabled(self) -> None:
        """Raises `SwitchedOff`."""
        if not self._settings.enabled:
            raise SwitchedOff("the AI is switched off (ai_enabled)")

    async def ask(self, request: Request, body: AiChatBody) -> Ask:
        """Raises `OrganizationRefused` as well."""
        history = self._history(body.history)
        organization = check_label(body.current_organization_id, param="currentOrganizationId")
        _check_organization(request, organization)
        workspace_label = check_label(body.workspace_id, param="workspaceId")
        session = check_label(body.session_id, param="sessionId")
        project = check_label(body.project_id, param="projectId")
        workspace = await self._places.workspace(owner_of(request), workspace_label)
        thread = await self._thread(workspace, session, project, organization) if session else None
        return Ask(
            workspace=as_told(workspace, history, before=workspace.system_prompt or self._system)
            if history
            else workspace,
            thread=thread,
            message=body.message,
            # Without any of the caller's own, the thread's; clients send an empty list where they keep none.
            history=history or (None if thread is not None else []),
            model=self._settings.model_of(body.model),
            params=params_of(body),
        )

    async def _thread(self, workspace: Workspace, session: str, project: str, organization: str) -> Thread:
        told = {"session_id": session, "project_id": project, "organization_id": organization}
        metadata: JsonObject = {name: value for name, value in told.items() if value}
        return await self._places.thread(workspace, [session, project, organization], metadata)

    def _history(self, messages: list[AiChatMessage]) -> list[Past]:
        if len(messages) > self._max_messages:
            raise InputError(f"more than {self._max_messages} messages", param="history")
        for at, message in enumerate(messages):
            if message.role not in ROLES:
                raise InputError(f"role must be one of: {', '.join(sorted(ROLES))}", param=f"history[{at}].role")
        return [Past(**msgspec.structs.asdict(message)) for message in messages]


def _check_organization(request: Request, organization: str) -> None:
    """Whoever belongs to none, as without a login, may name any: it is no more than a name then."""
    principal = principal_of(request)
    if not organization or principal is None or not principal.organization:
        return
    if organization != principal.organization and organization not in principal.organizations:
        raise OrganizationRefused("the caller does not belong to this organisation")

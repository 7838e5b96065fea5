"""The routes of the chat backend, imported where there is one: those of the references, and our own."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter

from ..chat.backend import Backend
from ..events import JsonObject
from . import (
    openapi_ai_chat,
    openapi_conversations,
    openapi_documents,
    openapi_typed,
    openapi_workspace,
    routes_ai_chat,
    routes_conversations,
    routes_documents,
    routes_messages,
    routes_typed,
    routes_typed_documents,
    routes_workspace,
)
from .answering import Answering
from .own_errors import Form
from .own_forms import FormOf, Place
from .ports import ChatServices, Services
from .routes_ai_chat import nest_error
from .routes_typed import detail
from .routes_workspace_chat import abort_form

BODIES = (
    *openapi_ai_chat.BODIES, *openapi_typed.BODIES, *openapi_workspace.BODIES,
    *openapi_conversations.BODIES, *openapi_documents.BODIES,
)  # fmt: skip
"""For the schemas of the description."""


def _in(form: Form) -> FormOf:
    return lambda refused: form(refused.message, refused.code, refused.status)


def _anything_form(message: str, code: str, status: int) -> JsonObject:
    """AnythingLLM's developer API has either name, by the route."""
    return {"error": message, "message": message}


PLACES = (
    Place("/api/ai-chat/", _in(nest_error)),
    *(Place(prefix, _in(detail)) for prefix in ("/chat/", "/api/chat/", "/docs/", "/api/docs/")),
    *(Place(prefix, _in(abort_form)) for prefix in ("/workspace/", "/api/workspace/")),
    Place("/api/v1/", _in(_anything_form)),
)
"""Where errors have a reference's own form, also those that no route makes."""


def chat_routers(services: Services, chat: ChatServices) -> Sequence[APIRouter]:
    """In the order in which they are matched."""
    backend: Backend = chat.backend
    answering = Answering(services, backend, chat.starts)
    return [
        routes_workspace.routes(services, answering),
        routes_ai_chat.routes(services, answering, chat.ai),
        routes_typed.routes(services, answering),
        routes_typed_documents.routes(services, answering),
        routes_conversations.routes(services, answering),
        routes_messages.routes(services, answering),
        routes_documents.routes(services, answering),
    ]

"""The description of the routes of reference 001."""

from __future__ import annotations

import msgspec

from ..chat.places import MAX_LABEL_CHARACTERS
from ..dialects.ai_chat import AiChatBody
from ..events import JsonObject
from .openapi_own import in_form, query
from .openapi_parts import (
    LAST_EVENT_ID,
    NOTHING_MORE,
    START_HEADERS,
    STARTING,
    STREAM_ID,
    describe_answer,
    describe_operation,
)


class NestError(msgspec.Struct):
    """An error as NestJS answers it. `error` is the status in words."""

    statusCode: int  # noqa: N815 - NestJS's own spelling
    message: str
    error: str


BODIES = (AiChatBody, NestError)
"""For the schemas of the description."""

_FRAMES = 'Frames `data: {"content": …, "done": false}` to `{"done": true}` or `{"error": …, "done": true}`.'
_LABEL: JsonObject = {"type": "string", "maxLength": MAX_LABEL_CHARACTERS}
_QUERY = [
    query("message", "What is asked.", {"type": "string", "minLength": 1}, required=True),
    query("history", "Earlier messages, as JSON text: `[{role, content}]`.", {"type": "string"}),
    query("sessionId", "The conversation; without it nothing is kept.", _LABEL),
    query("workspaceId", "Id or slug of the workspace, made where there is none.", _LABEL),
    query("projectId", "Where the conversation belongs.", _LABEL),
    query("currentOrganizationId", "Where the conversation belongs; one of the caller's.", _LABEL),
    query("model", "The model; without it the server's for these routes.", {"type": "string"}),
    query("temperature", "From 0 to 2.", {"type": "number", "minimum": 0, "maximum": 2}),
    query("maxTokens", "Tokens of the answer at most.", {"type": "integer", "minimum": 1}),
    query("after", "Cursor to continue after; `Last-Event-ID` wins.", {"type": "string"}),
    query("key", "Names one answer: the same address again is the same stream.", {"type": "string"}),
]

STREAM = in_form(
    describe_operation(
        {200: describe_answer(_FRAMES, headers=STREAM_ID, sse=True), 204: NOTHING_MORE},
        STARTING,
        body="AiChatBody",
        parameters=START_HEADERS,
    ),
    "NestError",
)
STREAM_SSE = in_form(
    describe_operation(
        {200: describe_answer(_FRAMES, headers=STREAM_ID, sse=True), 204: NOTHING_MORE},
        STARTING,
        parameters=[*_QUERY, *(one for one in START_HEADERS if one is not LAST_EVENT_ID), LAST_EVENT_ID],
    ),
    "NestError",
)

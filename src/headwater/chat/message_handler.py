"""Reference 003's `handle_chat_message_stream`: a question to a numbered session, answered as the wire has it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Literal, TypedDict

import msgspec

from ..dialects import EncodeOptions
from ..dialects.typed import NAME, encoder
from ..errors import HeadwaterError, InputError, UnknownItem
from ..events import JsonObject
from ..following import follow_channel
from ..sse import Parser
from ..store.texts import storable
from ..streams import NewStream
from .ai_service import safe_message
from .asking import Ask
from .backend import Backend
from .places import Places
from .records import Thread, Workspace
from .turn import SearchMode

MAX_SELECTED = 100


class TypedMessage(TypedDict, total=False):
    """One message of the stream. What `content` is depends on `type`: text, cited passages or facts."""

    type: Literal["start", "status", "sources", "chunk", "metadata", "done", "error"]
    session_id: int
    model: str
    content: str | list[JsonObject] | JsonObject
    chunks_used: int


_decode = msgspec.json.Decoder(TypedMessage).decode


async def handle_chat_message_stream(
    backend: Backend,
    session_id: int,
    question: str,
    *,
    model: str | None = None,
    search_mode: SearchMode = "all",
    selected_document_ids: Sequence[int | str] = (),
    tenant: str = "",
) -> AsyncGenerator[TypedMessage, None]:
    """Ask, and yield the answer's messages to `done`. An unknown session is made on first use.

    Nothing is raised that a user should read: whatever cannot be answered is an `error` message, which `done` follows.
    Question and answer are kept in the session's thread. Who leaves before the end is a viewer that leaves: the answer
    is made, and kept, all the same.
    """
    try:
        ask = await session_ask(backend, tenant, session_id, question=storable(question))
        await check_selected(backend, ask, selected_document_ids)
        ask = msgspec.structs.replace(
            ask, model=model or "", search_mode=search_mode, selected=tuple(selected_document_ids)
        )
        asked = await backend.ask(ask, NewStream(owner=tenant, dialect=NAME))
        encoding = encoder(EncodeOptions(session_id=session_id))(asked.channel)
        async with aclosing(follow_channel(backend.hub, asked.channel, None)) as events:
            async for event in events:
                for message in Parser().feed(encoding.encode(0, event)):
                    yield _decode(message.data)
    except HeadwaterError as exc:
        yield {"type": "error", "content": safe_message(exc)}
        yield {"type": "done"}


async def session_ask(backend: Backend, tenant: str, number: int, *, question: str) -> Ask:
    """A question to the session of this number. Raises `InputError`, `UnknownItem`."""
    if not question.strip():
        raise InputError("the question is empty", param="question")
    workspace, thread = await Places(backend).numbered(tenant, number)
    return Ask(workspace=workspace, thread=thread, message=question, tells_whole=True)


async def check_selected(backend: Backend, ask: Ask, selected: Sequence[int | str]) -> None:
    """Raises `UnknownItem` for a document that the question cannot see, `InputError` for too many."""
    if len(selected) > MAX_SELECTED:
        raise InputError(f"more than {MAX_SELECTED} documents are selected", param="selected_document_ids")
    for ref in selected:
        document = await backend.shelf.get(ask.workspace.tenant, ref)
        if not _is_seen(document.workspace_id, document.thread_id, ask.workspace, ask.thread):
            raise UnknownItem("document", param="selected_document_ids")


def _is_seen(workspace_id: str, thread_id: str | None, workspace: Workspace, thread: Thread | None) -> bool:
    return workspace_id == workspace.id and thread_id in (None, thread.id if thread is not None else None)

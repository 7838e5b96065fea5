"""Records of the chat backend as reference 000 shows them. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import uuid4

from msgspec import UNSET, UnsetType

from ..chat.quoting import one_line
from ..chat.records import Message, Thread, Workspace
from ..chat.settings import ChatSettings
from ..dialects.base import json_line
from ..dialects.workspace import WorkspaceAttachment, cited, metrics
from ..events import Event, JsonObject, Reasoning, text_of
from ..instants import rfc3339
from ..streams import Fold
from .workspace_shapes import (
    AnythingAnswer,
    AnythingDocument,
    AnythingMessage,
    AnythingThread,
    AnythingThreadName,
    AnythingWorkspace,
)

UNNAMED_THREAD = "Thread"
RESET_DONE = "Chat history was reset!"
MEMORY_RESET_DONE = "Chat memory was reset!"

# What a text file's part begins with; a history shows the file again by it.
_FILE = re.compile(
    r'Attached file "(?P<name>[^"\n]*)":\n=== BEGIN FILE \w+ ===\n(?P<text>.*)\n=== END FILE \w+ ===', re.DOTALL
)
_DATA_URL = re.compile(r"data:(?P<type>[^;,]*)[^,]*;base64,")


class StreamFacts(NamedTuple):
    """What is left of a stream whose answer was kept: as much of a `StreamView` as `metrics` reads."""

    id: str
    model: str
    created_ms: int
    epoch: int
    fold: Fold


def workspace_card(
    workspace: Workspace,
    settings: ChatSettings,
    *,
    documents: list[AnythingDocument] | UnsetType = UNSET,
    threads: list[AnythingThreadName] | UnsetType = UNSET,
) -> AnythingWorkspace:
    turns, passages, score = workspace.history_turns, workspace.passages, workspace.min_score
    return AnythingWorkspace(
        id=workspace.number,
        name=workspace.name,
        slug=workspace.slug,
        created_at=rfc3339(workspace.created_ms),
        last_updated_at=rfc3339(workspace.updated_ms),
        open_ai_temp=workspace.temperature,
        open_ai_history=settings.history_turns if turns is None else turns,
        open_ai_prompt=workspace.system_prompt or settings.system_prompt,
        similarity_threshold=settings.min_score if score is None else score,
        top_n=settings.passages if passages is None else passages,
        chat_mode=workspace.mode,
        chat_model=workspace.model or None,
        query_refusal_response=workspace.refusal or None,
        documents=documents,
        threads=threads,
    )


def thread_card(thread: Thread, workspace: Workspace) -> AnythingThread:
    return AnythingThread(
        id=thread.number,
        name=thread.title or UNNAMED_THREAD,
        slug=thread.slug,
        user_id=user_of(thread),
        workspace_id=workspace.number,
        created_at=rfc3339(thread.created_ms),
        last_updated_at=rfc3339(thread.updated_ms),
    )


def thread_name(thread: Thread) -> AnythingThreadName:
    return AnythingThreadName(user_of(thread), thread.slug, thread.title or UNNAMED_THREAD)


def user_of(thread: Thread) -> int | None:
    """Whose thread it is, by the number that the caller gave."""
    user = thread.metadata.get("user_id")
    return user if isinstance(user, int) else None


class Chat(NamedTuple):
    """A question and its answer; either may be missing, as in a thread that came from elsewhere."""

    question: Message | None
    answer: Message | None


def chats_of(path: Sequence[Message]) -> list[Chat]:
    """A path of messages as AnythingLLM counts: one chat a question."""
    chats: list[Chat] = []
    for message in path:
        if message.role == "user":
            chats.append(Chat(message, None))
        elif message.role == "assistant":
            asked = chats.pop().question if chats and chats[-1].answer is None else None
            chats.append(Chat(asked, message))
    return chats


def history_of(chats: Sequence[Chat], workspace: Workspace) -> list[AnythingMessage]:
    """Both sides of each chat, in the order of `chats`."""
    told: list[AnythingMessage] = []
    for question, answer in chats:
        if question is not None:
            told.append(_asked(question, question.number if answer is None else answer.number))
        if answer is not None:
            told.append(_answered(answer, workspace))
    return told


def _asked(question: Message, number: int) -> AnythingMessage:
    return AnythingMessage(
        role="user",
        content=question.content,
        sent_at=question.created_ms // 1000,
        chat_id=number,
        attachments=[attachment_of(part, at) for at, part in enumerate(question.parts, 1)],
    )


def _answered(answer: Message, workspace: Workspace) -> AnythingMessage:
    refused = bool(answer.metadata.get("refused"))
    return AnythingMessage(
        role="assistant",
        content=with_thoughts(answer.reasoning, answer.content),
        sent_at=answer.created_ms // 1000,
        chat_id=answer.number,
        type="query" if refused else workspace.mode,
        sources=list(map(cited, answer.sources)),
        metrics=metrics(_facts(answer)) if answer.usage is not None else {},
        status=answer.status,
        stream_id=answer.stream_id or UNSET,
        error=answer.error.message if answer.error is not None else UNSET,
    )


def with_thoughts(reasoning: str, text: str) -> str:
    """As the frames of a stream add up."""
    return f"<think>{reasoning}</think>{text}" if reasoning else text


def _facts(answer: Message) -> StreamFacts:
    fold = Fold()
    fold.served, fold.usage, fold.provider = answer.metadata, answer.usage, answer.provider
    return StreamFacts(answer.stream_id, answer.model, answer.created_ms, 1, fold)


def answer_card(view: StreamFacts, events: Sequence[Event]) -> AnythingAnswer:
    """A stream that came to its end, in one piece."""
    chat_id = (view.fold.served or {}).get("chat_id")
    thoughts = "".join(event.text for event in events if isinstance(event, Reasoning) and event.choice == 0)
    return AnythingAnswer(
        id=view.id,
        type="textResponse",
        text_response=with_thoughts(thoughts, text_of(events)),
        sources=list(map(cited, view.fold.sources)),
        close=True,
        error=None,
        chat_id=chat_id if isinstance(chat_id, int) else UNSET,
        metrics=metrics(view),
    )


def abort_card(message: str, *, id: str = "") -> AnythingAnswer:
    return AnythingAnswer(
        id=id or str(uuid4()), type="abort", text_response=None, sources=[], close=True, error=message
    )


def reset_card() -> JsonObject:
    """What the developer API answers to a `reset` without a message."""
    return {
        "id": str(uuid4()),
        "type": "textResponse",
        "textResponse": RESET_DONE,
        "sources": [],
        "attachments": [],
        "close": True,
        "error": None,
        "metrics": {},
    }


def memory_reset_card() -> JsonObject:
    """What AnythingLLM's own pages get for `/reset`: they clear their history by `action`."""
    return {
        "uuid": str(uuid4()),
        "type": "textResponse",
        "textResponse": MEMORY_RESET_DONE,
        "sources": [],
        "close": True,
        "error": False,
        "action": "reset_chat",
    }


def frame(payload: object) -> bytes:
    """One frame of a stream that has no cursor."""
    return b"data: %b\n\n" % json_line(payload)


def attachment_of(part: JsonObject, number: int) -> WorkspaceAttachment:
    """A stored content part as the attachment that it came from; images keep no name."""
    match part:
        case {"type": "image_url", "image_url": {"url": str(url)}}:
            mime = _media_type(url)
            return WorkspaceAttachment(f"image-{number}.{mime.partition('/')[2] or 'bin'}", mime, url)
        case {"type": "file", "file": {"filename": str(name), "file_data": str(url)}}:
            return WorkspaceAttachment(name, _media_type(url), url)
        case {"type": "text", "text": str(text)} if found := _FILE.fullmatch(text):
            return WorkspaceAttachment(found["name"], "text/plain", _data_url(found["text"].encode(), "text/plain"))
    return WorkspaceAttachment(
        f"part-{number}.json", "application/json", _data_url(json_line(part), "application/json")
    )


def file_part(name: str, quoted: str) -> JsonObject:
    """A text file as a part of the prompt. `quoted` is fenced with the label `FILE`."""
    safe = one_line(name, 200).replace('"', "'")
    return {"type": "text", "text": f'Attached file "{safe}":\n{quoted}'}


def _media_type(url: str) -> str:
    found = _DATA_URL.match(url)
    return (found["type"] if found else "") or "application/octet-stream"


def _data_url(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def date_text(unix_ms: int) -> str:
    """As AnythingLLM writes `published`: `1/16/2024, 3:07:00 PM`, here in UTC."""
    moment = datetime.fromtimestamp(unix_ms / 1000, UTC)
    hour = moment.hour % 12 or 12
    return f"{moment.month}/{moment.day}/{moment.year}, {hour}:{moment:%M:%S} {'PM' if moment.hour >= 12 else 'AM'}"

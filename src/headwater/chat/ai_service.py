"""Reference 001's `AiService` in Python: answers as async generators, each a durable stream behind them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import TypedDict

import msgspec

from ..dialects.ai_chat import AiChatOptions
from ..dialects.base import check
from ..errors import HeadwaterError, InputError, LogError, StreamFailed
from ..events import Error, Event, JsonObject, StreamId, Text
from ..following import follow_channel
from ..identity import tenant_path
from ..store.texts import storable
from ..streams import Channel, NewStream
from .asking import Ask
from .backend import Backend
from .history import Past
from .places import Places
from .records import Workspace
from .turn import past_of

_log = logging.getLogger(__name__)

# The caller has chosen its messages: all of them go into the prompt.
_ALL_TURNS, _ALL_TOKENS = 10_000, 100_000_000
SYSTEM_ROLES = frozenset({"system", "developer"})
ROLES = SYSTEM_ROLES | {"user", "assistant"}


class ChatChunk(TypedDict, total=False):
    """A piece of the answer (`content`), its end (`done`), or what went wrong (`error`, which ends it as well)."""

    content: str
    done: bool
    error: str


class AIService:
    """Answers of one `tenant`. `model`: of calls that name none; "": the workspace's, else the server's default.

    `workspace`: id or slug of the one whose documents the answers may cite and whose system prompt applies where
    `messages` have none; "": the default one. `passages`: how many at most; 0: no documents; None: as it says itself.

    `messages` have OpenAI's shape, with the roles system, user and assistant; the last is the user's. `user_id` is
    whose usage it is: the meter of that user's own tokens counts it; "" counts for nobody. `options`: `model`,
    `temperature` (0 to 2), `maxTokens` or `max_tokens`.

    Every answer is a stream in the hub while it is made, which others of the tenant may watch. Who leaves a generator
    before its end (`aclose`, or a task that is cancelled) cancels the answer; what was made of it stays in the log.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        tenant: str = "",
        model: str = "",
        workspace: str = "",
        passages: int | None = None,
    ) -> None:
        self._backend = backend
        self._tenant = tenant
        self._model = model
        self._workspace = workspace
        self._passages = passages

    async def stream_chat(
        self,
        messages: Sequence[Mapping[str, object]],
        user_id: str,
        options: Mapping[str, object] | None = None,
    ) -> AsyncGenerator[str, None]:
        """The answer's text, piece by piece. Raises as `Asking.ask`, and `StreamFailed` in its middle."""
        channel = await self._ask(messages, user_id, _checked(options))
        try:
            async with aclosing(follow_channel(self._backend.hub, channel, None)) as events:
                async for event in events:
                    if text := _text(event):
                        yield text
        except (GeneratorExit, asyncio.CancelledError):
            # Not even a second cancellation may leave it running.
            await asyncio.shield(asyncio.ensure_future(self._cancel(channel)))
            raise

    async def stream_chat_with_metadata(
        self,
        messages: Sequence[Mapping[str, object]],
        user_id: str,
        options: Mapping[str, object] | None = None,
    ) -> AsyncGenerator[ChatChunk, None]:
        """The same as the reference's objects. The last one has `done` true, and `error` where the answer failed."""
        async with aclosing(self.stream_chat(messages, user_id, options)) as texts:
            try:
                async for text in texts:
                    yield {"content": text, "done": False}
            except HeadwaterError as exc:
                yield {"error": safe_message(exc), "done": True}
                return
        yield {"done": True}

    async def _ask(self, messages: Sequence[Mapping[str, object]], user_id: str, options: AiChatOptions) -> Channel:
        history, question = split_messages(messages)
        workspace = await Places(self._backend).workspace(self._tenant, self._workspace)
        ask = Ask(
            workspace=as_told(workspace, history, before=""),
            message=question.content,
            parts=question.parts,
            history=history,
            model=options.model or self._model,
            params=params_of(options),
            passages=self._passages,
            meters=[f"user:{tenant_path(user=user_id)}"] if user_id else [],
        )
        asked = await self._backend.ask(ask, NewStream(owner=self._tenant, dialect="ai_chat"))
        return asked.channel

    async def _cancel(self, channel: Channel) -> None:
        try:
            await self._backend.hub.cancel(StreamId(channel.id), owner=self._tenant)
        except HeadwaterError as exc:
            # Whoever left is told nothing any more.
            _log.warning("the answer of stream %s could not be cancelled: %s", channel.id, exc.message)


def split_messages(messages: Sequence[Mapping[str, object]]) -> tuple[list[Past], Past]:
    """The history, and the question at its end. Raises `InputError`."""
    past: list[Past] = []
    for at, message in enumerate(messages):
        found = past_of(dict(message))
        if found.role not in ROLES:
            raise InputError(f"role must be one of: {', '.join(sorted(ROLES))}", param=f"messages[{at}].role")
        past.append(msgspec.structs.replace(found, content=storable(found.content)))
    if not past or past[-1].role != "user":
        raise InputError("the last message must be the user's", param="messages")
    return past[:-1], past[-1]


def as_told(workspace: Workspace, history: Sequence[Past], *, before: str) -> Workspace:
    """The workspace as it is for a caller with messages of its own: all of them count, and so do its system messages.

    These stand after the words `before`, and in place of the workspace's own.
    """
    told = [message.content for message in history if message.role in SYSTEM_ROLES and message.content.strip()]
    system = "\n\n".join([*filter(None, [before]), *told]) if told else workspace.system_prompt
    return msgspec.structs.replace(
        workspace, system_prompt=system, history_turns=_ALL_TURNS, history_tokens=_ALL_TOKENS
    )


def params_of(options: AiChatOptions) -> JsonObject:
    """OpenAI-named parameters of what is set."""
    params: JsonObject = {"temperature": options.temperature, "max_tokens": options.max_tokens}
    return {name: value for name, value in params.items() if value is not None}


def safe_message(error: HeadwaterError) -> str:
    """What a user may read: a log's own words name files of this machine."""
    return "the stream log cannot do this now" if isinstance(error, LogError) else error.message


def _checked(options: Mapping[str, object] | None) -> AiChatOptions:
    named = {"maxTokens" if name == "max_tokens" else name: value for name, value in (options or {}).items()}
    return check(named, AiChatOptions)


def _text(event: Event) -> str:
    """Of the first choice. Raises `StreamFailed`."""
    match event:
        case Text(text=text, choice=0):
            return text
        case Error(reason=reason, message=message):
            raise StreamFailed(message, reason=reason)
        case _:
            return ""

"""A question to a conversation, and how it becomes a stream."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple
from weakref import WeakValueDictionary

import msgspec

from ..documents.search.searcher import MAX_RESULTS
from ..errors import InputError, StoreUnavailable, UnknownItem
from ..events import JsonObject, StreamId
from ..ids import new_stream_id
from ..request import ChatRequest, Priority, encode_request, prompt_characters
from ..streams import Channel, Hub, NewStream, Producer
from .conversations import Conversations
from .history import Past, select_history
from .ports import Judge, Models, Passages, Resolved
from .records import Message, Thread, Turn, Workspace
from .settings import ChatSettings
from .settling import Settler
from .turn import Plan, SearchMode, TurnProducer, past_of

# Where documents and threads are that name no workspace.
DEFAULT_WORKSPACE = "default"


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked, and where.

    `thread` None: the answer is kept in no conversation. `history`: the caller's own, in place of the thread's.
    `edit`: a question that this one stands beside; `regenerate`: a question, or an answer to it, that gets another
    answer (then `message` and `parts` are the question's). Whatever is None or "" is the workspace's, else the
    setting's. `passages` 0: no documents. `meters`: whose budgets it counts against.
    """

    workspace: Workspace
    thread: Thread | None = None
    message: str = ""
    parts: list[JsonObject] = []
    history: list[Past] | None = None
    edit: str | int | None = None
    regenerate: str | int | None = None
    model: str = ""
    params: JsonObject = {}
    mode: Literal["chat", "query"] | None = None
    search_mode: SearchMode = "all"
    selected: tuple[int | str, ...] = ()
    passages: int | None = None
    fallback: bool = True
    priority: Priority = "normal"
    meters: list[str] = []
    tells_whole: bool = False


class Asked(NamedTuple):
    """The answer's stream. `turn`: its messages; None where it is kept in no conversation, or was asked before."""

    channel: Channel
    created: bool
    turn: Turn | None


class _Place(NamedTuple):
    """Where a question stands: after which message, and what came before it."""

    parent_id: str | None
    before: list[Message]
    content: str
    parts: list[JsonObject]


class Asking:
    def __init__(
        self,
        hub: Hub,
        models: Models,
        conversations: Conversations,
        settler: Settler,
        settings: ChatSettings,
        *,
        passages: Passages | None = None,
        judge: Judge | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._hub = hub
        self._models = models
        self._conversations = conversations
        self._settler = settler
        self._settings = settings
        self._passages = passages
        self._judge = judge
        self._clock_ms = clock_ms
        # By thread. A lock that nobody holds or waits for is forgotten.
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._accepting: set[asyncio.Task[Asked]] = set()

    async def ask(self, ask: Ask, new: NewStream) -> Asked:
        """Accept a question; `new` says how its stream is made (owner, dialect, linger, idempotency key).

        The messages are stored before the stream is, and taken back where it is refused. Raises `InputError`,
        `UnknownItem`, `Overloaded`, `LogError`, `StoreUnavailable`.
        """
        known = await self.known(ask, new)
        if known is not None:
            return known
        if new.idempotency_key:
            new = msgspec.structs.replace(new, fingerprint=_fingerprint(ask))
        resolved = await self._models.resolve(self._model(ask))
        if ask.thread is None:
            return await self._begin(ask, new, resolved)
        # One after the other in a thread: a turn that is taken back takes along whatever was put below it meanwhile.
        turns = self._turns.setdefault(ask.thread.id, asyncio.Lock())
        await turns.acquire()
        accepting = asyncio.get_running_loop().create_task(self._accept(ask, ask.thread, new, resolved))
        self._accepting.add(accepting)
        accepting.add_done_callback(lambda task: self._accepted(task, turns))
        # Goes on when its caller leaves: there would be rows without a stream, or one that nobody takes back.
        return await asyncio.shield(accepting)

    async def known(self, ask: Ask, new: NewStream) -> Asked | None:
        """What this key has begun already: it is answered whatever its caller may ask anew. Raises `InputError`."""
        self._check(ask)
        if not new.idempotency_key:
            return None
        found = await self._hub.find(msgspec.structs.replace(new, fingerprint=_fingerprint(ask)))
        return None if found is None else Asked(found, False, None)

    async def close(self) -> None:
        """Wait for what is being accepted for callers that have left."""
        if self._accepting:
            await asyncio.wait(self._accepting)

    def _accepted(self, task: asyncio.Task[Asked], turns: asyncio.Lock) -> None:
        self._accepting.discard(task)
        turns.release()
        if not task.cancelled():
            task.exception()  # its caller may have left

    async def _accept(self, ask: Ask, thread: Thread, new: NewStream, resolved: Resolved) -> Asked:
        known = await self._hub.find(new) if new.idempotency_key else None
        if known is not None:
            return Asked(known, False, None)
        thread = await self._conversations.threads.get(thread.tenant, thread.id)
        ask = msgspec.structs.replace(ask, thread=thread)
        return await self._begin(await self._not_anew(ask, thread, new), new, resolved)

    async def _not_anew(self, ask: Ask, thread: Thread, new: NewStream) -> Ask:
        """Where an earlier attempt of this key has put the question into the thread: another answer to that one."""
        failed = await self._hub.last_attempt(new) if new.idempotency_key else None
        answer = await self._conversations.messages.by_stream(failed.id) if failed is not None else None
        if answer is None or answer.thread_id != thread.id:
            return ask
        return msgspec.structs.replace(ask, edit=None, regenerate=answer.id)

    async def _begin(self, ask: Ask, new: NewStream, resolved: Resolved) -> Asked:
        place = await self._place(ask)
        if not place.content.strip() and not place.parts:
            raise InputError("the message is empty", param="message")
        stream = new.id or new_stream_id(self._clock_ms())
        history = self._history(ask, place, resolved)
        messages = _prompt(history, place)
        request = ChatRequest(
            resolved.model, messages, dict(self._params(ask)), ask.fallback, ask.priority, meters=ask.meters
        )
        # What the provider cannot take is refused before anything is stored.
        resolved.producer_factory(request)
        with self._settler.opening(stream):
            turn = await self._add_turn(ask, place, stream, resolved)
            plan = self._plan(ask, place, turn, new.owner, resolved)
            plan = msgspec.structs.replace(plan, confidential=any(past.confidential for past in history))
            request = msgspec.structs.replace(request, task=msgspec.to_builtins(plan))
            return await self._create(request, resolved, msgspec.structs.replace(new, id=stream), turn)

    async def ground(self, request: ChatRequest, tenant: str, *, local: bool) -> tuple[ChatRequest, Producer]:
        """`request` as a turn of no conversation, about the documents of the tenant's default workspace.

        `local`: of its model, see `Resolved`.
        """
        settings, last = self._settings, past_of(request.messages[-1]) if request.messages else None
        if last is None or last.role != "user":
            raise InputError("the last message must be the user's question", param="messages")
        workspace = await self._conversations.workspaces.find_or_create(tenant, DEFAULT_WORKSPACE)
        plan = Plan(
            tenant=tenant,
            workspace_id=workspace.id,
            local=local,
            question=last.content,
            limit=settings.passages,
            min_score=settings.min_score,
            passages_tokens=settings.passages_tokens,
            pinned_tokens=settings.pinned_tokens,
            signals=settings.signals,
        )
        request = msgspec.structs.replace(request, task=msgspec.to_builtins(plan))
        return request, TurnProducer(request, models=self._models, passages=self._passages, judge=self._judge)

    async def _create(self, request: ChatRequest, resolved: Resolved, new: NewStream, turn: Turn | None) -> Asked:
        new = msgspec.structs.replace(
            new,
            model=resolved.model,
            provider=resolved.provider_name,
            request=encode_request(request),
            prompt_characters=prompt_characters(request),
            priority=request.priority,
        )
        producer = TurnProducer(request, models=self._models, passages=self._passages, judge=self._judge)
        try:
            channel, created = await self._hub.create(new, producer)
        except Exception:
            await self._take_back(turn)
            raise
        if not created:
            await self._take_back(turn)
            return Asked(channel, False, None)
        if turn is not None and await self._is_gone(turn.answer):
            # Deleted before the stream was there to be cancelled.
            await self._hub.cancel(StreamId(channel.id), owner=new.owner)
            raise UnknownItem("thread", message="the conversation was deleted meanwhile")
        return Asked(channel, True, turn)

    async def _is_gone(self, answer: Message) -> bool:
        try:
            return await self._conversations.messages.by_stream(answer.stream_id) is None
        except StoreUnavailable:
            # It is being answered: whoever were told otherwise would ask again, and pay twice.
            return False

    async def _take_back(self, turn: Turn | None) -> None:
        if turn is not None:
            await self._conversations.messages.take_back(turn)

    def _check(self, ask: Ask) -> None:
        settings = self._settings
        if len(ask.message) > settings.max_message_characters:
            most = settings.max_message_characters
            raise InputError(f"the message is longer than {most} characters", param="message")
        if len(ask.parts) > settings.max_attachments:
            raise InputError(f"there are more than {settings.max_attachments} attachments", param="attachments")
        for at, part in enumerate(ask.parts):
            if len(msgspec.json.encode(part)) > settings.max_attachment_bytes * 4 // 3 + 1024:
                raise InputError(
                    f"the attachment is larger than {settings.max_attachment_bytes} bytes", param=f"attachments[{at}]"
                )

    def _model(self, ask: Ask) -> str | None:
        return ask.model or (ask.thread.model if ask.thread is not None else "") or ask.workspace.model or None

    def _params(self, ask: Ask) -> JsonObject:
        temperature = ask.workspace.temperature
        return ({} if temperature is None else {"temperature": temperature}) | ask.params

    async def _place(self, ask: Ask) -> _Place:
        thread = ask.thread
        if thread is None:
            if ask.edit is not None or ask.regenerate is not None:
                raise InputError("there is no conversation to go back in", param="thread")
            return _Place(None, [], ask.message, ask.parts)
        if ask.regenerate is not None:
            question = await self._question(thread, ask.regenerate)
            before = await self._path(thread, question.parent_id)
            return _Place(question.id, before, question.content, question.parts)
        parent_id = thread.leaf_id
        if ask.edit is not None:
            parent_id = (await self._question(thread, ask.edit)).parent_id
        return _Place(parent_id, await self._path(thread, parent_id), ask.message, ask.parts)

    async def _question(self, thread: Thread, ref: str | int) -> Message:
        messages = self._conversations.messages
        message = await messages.get(thread.tenant, ref)
        if message.role == "assistant" and message.parent_id is not None:
            message = await messages.get(thread.tenant, message.parent_id)
        if message.thread_id != thread.id or message.role != "user":
            raise InputError("this is no question of the conversation", param="message_id")
        return message

    async def _path(self, thread: Thread, leaf_id: str | None) -> list[Message]:
        if leaf_id is None:
            return []
        path = await self._conversations.messages.path(thread.tenant, thread.id, leaf_id)
        return [await self._settler.current(message) if message.status == "streaming" else message for message in path]

    def _history(self, ask: Ask, place: _Place, resolved: Resolved) -> list[Past]:
        settings, workspace = self._settings, ask.workspace
        past = ask.history if ask.history is not None else [_past(message) for message in place.before]
        return select_history(
            past,
            turns=settings.history_turns if workspace.history_turns is None else workspace.history_turns,
            tokens=settings.history_tokens if workspace.history_tokens is None else workspace.history_tokens,
            external=not resolved.local,
        )

    async def _add_turn(self, ask: Ask, place: _Place, stream: StreamId, resolved: Resolved) -> Turn | None:
        if ask.thread is None:
            return None
        return await self._conversations.messages.add_turn(
            ask.thread.tenant,
            ask.thread.id,
            parent_id=place.parent_id,
            content=place.content,
            parts=place.parts,
            stream_id=stream,
            model=resolved.model,
            regenerate=ask.regenerate is not None,
        )

    def _plan(self, ask: Ask, place: _Place, turn: Turn | None, tenant: str, resolved: Resolved) -> Plan:
        settings, workspace = self._settings, ask.workspace
        limit = ask.passages if ask.passages is not None else workspace.passages
        limit = settings.passages if limit is None else limit
        return Plan(
            tenant=tenant,
            workspace_id=workspace.id,
            thread_id=ask.thread.id if ask.thread is not None else "",
            answer_id=turn.answer.id if turn is not None else "",
            number=turn.answer.number if turn is not None else 0,
            local=resolved.local,
            mode=ask.mode or workspace.mode,
            refusal=workspace.refusal or settings.query_refusal,
            system=workspace.system_prompt or settings.system_prompt,
            question=place.content,
            search_mode=ask.search_mode,
            selected=ask.selected,
            limit=min(limit, MAX_RESULTS),
            min_score=settings.min_score if workspace.min_score is None else workspace.min_score,
            passages_tokens=settings.passages_tokens,
            pinned_tokens=settings.pinned_tokens,
            signals=settings.signals,
            tells_whole=ask.tells_whole,
        )


def _past(message: Message) -> Past:
    return Past(
        role=message.role,
        content=message.content,
        parts=message.parts,
        included=message.included,
        confidential=message.confidential,
    )


def _prompt(history: Sequence[Past], place: _Place) -> list[JsonObject]:
    """Without passages: history and question. The system's words are in the plan."""
    spoken = [*history, Past(role="user", content=place.content, parts=place.parts)]
    return [{"role": each.role, "content": _content(each.content, each.parts)} for each in spoken]


def _content(text: str, parts: Sequence[JsonObject]) -> str | list[JsonObject]:
    return [{"type": "text", "text": text}, *parts] if parts else text


def _fingerprint(ask: Ask) -> str:
    """Of what is asked, and where; not of how it is answered."""
    asked = (
        ask.workspace.id,
        ask.thread.id if ask.thread is not None else "",
        ask.message, ask.parts, ask.history, ask.edit, ask.regenerate, ask.model, ask.params, ask.mode, ask.search_mode,
        ask.selected,
    )  # fmt: skip
    return hashlib.sha256(msgspec.json.encode(asked, order="sorted")).hexdigest()

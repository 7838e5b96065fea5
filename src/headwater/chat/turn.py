"""The producer of a conversation's answer: look up passages, build the prompt, run the model's own producer, judge.

Everything that a crash must not change is in the request that the log keeps (`Plan`), and in the `sources` that the
log holds: a turn that is taken up builds the very prompt that it built before.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

from ..documents.records import Found, Mode, Query, Results, Scope
from ..errors import HeadwaterError, InputError, Interrupted, LogCorrupt
from ..events import Done, Event, JsonObject, Metadata, Source, Sources, Status, Text, Usage, text_of
from ..request import ChatRequest, decode_request, prompt_characters
from ..streams import Fold, Producer, Writer
from ..streams.fold import CHARACTERS_PER_TOKEN, served_by
from .aside import Aside
from .ending import HeldEnd
from .history import Past
from .ports import Judge, Models, Passages, Resolved
from .prompt import Prompt, build_messages
from .signals import Signals, assess

_logger = logging.getLogger(__name__)

SearchMode: TypeAlias = Mode
NOT_WHOLE = "the answer has not come to its end"
SWITCHED_OFF = "switched off"
NOTHING_FOUND = "nothing was found to answer from"
_REFUSED: JsonObject = {"refused": True, "confidence_reason": NOTHING_FOUND, "hallucination_reason": NOTHING_FOUND}
_REASONS = ("confidence_reason", "hallucination_reason")


class Plan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a turn is, besides the canonical request: kept with it, as `ChatRequest.task`.

    `thread_id` "": the answer is kept in no conversation. `number`: of the answer's message, for clients whose ids are
    numbers. `local`: whether the prompt was made for a model that keeps data here. `tells_whole`: whether the answer's
    text is told once more at its end. `limit`: passages at most; 0 looks nothing up. `confidential`: whether earlier
    answers in the prompt are.
    """

    tenant: str = ""
    workspace_id: str = ""
    thread_id: str = ""
    answer_id: str = ""
    number: int = 0
    local: bool = False
    confidential: bool = False
    mode: Literal["chat", "query"] = "chat"
    refusal: str = ""
    system: str = ""
    question: str = ""
    search_mode: SearchMode = "all"
    selected: tuple[int | str, ...] = ()
    limit: int = 0
    min_score: float = 0.0
    passages_tokens: int = 0
    pinned_tokens: int = 0
    signals: bool = True
    tells_whole: bool = False

    @property
    def scope(self) -> Scope:
        return Scope(self.tenant, self.workspace_id, self.thread_id or None)


def plan_of(request: ChatRequest) -> Plan:
    """Raises `msgspec.ValidationError`."""
    return msgspec.convert(request.task, Plan)


class TurnProducer:
    """See `streams.ports.Producer`. `resumed`: what goes on with an answer of a dead process that has content.

    `whole`: the end of one that was only still to be judged.
    """

    def __init__(
        self,
        request: ChatRequest,
        *,
        models: Models,
        passages: Passages | None,
        judge: Judge | None = None,
        resumed: Producer | None = None,
        whole: Done | None = None,
    ) -> None:
        self._request = request
        self._plan = plan_of(request)
        self._models = models
        self._passages = passages
        self._judge = judge
        self._resumed = resumed
        self._whole = whole

    async def run(self, writer: Writer) -> None:
        plan = self._plan
        if self._whole is not None:
            await self._end(writer, self._whole)
            return
        if writer.fold.served is None:
            writer.write([Metadata(_facts(plan))])
        sources = writer.fold.sources or await self._look_up(writer)
        if writer.fold.has_content:
            grounded = grounded_request(self._request, sources)
            producer = await self._resumed_producer(grounded)
        elif plan.mode == "query" and not sources:
            writer.write([Metadata(_REFUSED), Text(plan.refusal), Usage(0, 0), Done("stop")])
            return
        else:
            grounded = grounded_request(self._request, sources)
            producer = await self._producer(grounded)
            writer.write([Status("generating", "Generating response...")])
        await self._answer(writer, producer, grounded)

    async def _resumed_producer(self, grounded: ChatRequest) -> Producer:
        if self._resumed is None:
            raise Interrupted("The server stopped while this answer was being generated.")
        if self._plan.local:
            await self._resolve(grounded)
        return self._resumed

    async def _producer(self, grounded: ChatRequest) -> Producer:
        return (await self._resolve(grounded)).producer_factory(grounded)

    async def _resolve(self, grounded: ChatRequest) -> Resolved:
        resolved = await self._models.resolve(grounded.model)
        if self._plan.local and not resolved.local:
            # Since the prompt was made, the route began to lead elsewhere; what is confidential in it must not.
            raise Interrupted("the model's route has changed; ask again")
        return resolved

    async def _look_up(self, writer: Writer) -> list[Source]:
        """Passages for the prompt, as sources of the stream; also says how long it took."""
        plan = self._plan
        if self._passages is None or not plan.limit:
            return []
        writer.write([Status("searching", "Searching documents...")])
        began = time.perf_counter()
        results = await self._found(self._passages)
        took_ms = round((time.perf_counter() - began) * 1000, 1)
        prompt = _prompt(self._request, plan, list(map(source_of, results.found)))
        told: JsonObject = {"ms": took_ms, "passages": len(prompt.used), "ways": list(results.ways)}
        if results.withheld:
            told["withheld"] = results.withheld
        if results.problem:
            told["problem"] = results.problem
        events: list[Event] = [Status("searched", _searched(len(prompt.used), took_ms, results), data=told)]
        if prompt.used:
            events.append(Sources(prompt.used))
        writer.write(events)
        return prompt.used

    async def _found(self, passages: Passages) -> Results:
        plan = self._plan
        query = Query(
            scope=plan.scope,
            text=plan.question,
            mode=plan.search_mode,
            selected=plan.selected,
            limit=plan.limit,
            min_score=plan.min_score,
            confidential=plan.local,
        )
        room = plan.pinned_tokens * CHARACTERS_PER_TOKEN
        pinned = await passages.pinned(plan.scope, confidential=plan.local, limit_characters=room)
        results = await passages.search(query)
        known = {found.passage_id for found in pinned.found}
        return msgspec.structs.replace(
            results,
            found=[*pinned.found, *(found for found in results.found if found.passage_id not in known)],
            withheld=results.withheld + pinned.withheld,
        )

    async def _answer(self, writer: Writer, producer: Producer, grounded: ChatRequest) -> None:
        end = HeldEnd(writer, prompt_characters(grounded))
        await producer.run(end)
        await self._end(writer, end.done or Done("stop"))

    async def _end(self, writer: Writer, done: Done) -> None:
        # Silence is no fault any more: no token is awaited.
        writer.control.watch(None)
        facts = await self._judged(writer, done) if self._plan.signals or self._plan.tells_whole else {}
        writer.write([Metadata(facts), done] if facts else [done])

    async def _judged(self, writer: Writer, done: Done) -> JsonObject:
        """What is found out about the whole answer. Whatever goes wrong here must not cost the answer its end."""
        facts: JsonObject = {}
        try:
            events = await writer.control.history()
            text = text_of(events)
            if self._plan.tells_whole:
                facts["total_response"] = text
            if not self._plan.signals:
                return facts
            told: JsonObject = msgspec.to_builtins(await self._signals(writer, events, text))
        except HeadwaterError as exc:
            _logger.warning("an answer could not be judged: %s", exc.message)
            told = dict.fromkeys(_REASONS, exc.message)
        except Exception:
            _logger.exception("an answer could not be judged")
            told = dict.fromkeys(_REASONS, "it could not be judged")
        return facts | told

    async def _signals(self, writer: Writer, events: Sequence[Event], text: str) -> Signals:
        sources = writer.fold.sources
        # Milliseconds as a rule, half a second at the bounds.
        signals = await asyncio.to_thread(
            assess, text, sources, logprobs=logprobs_of(events), question=self._plan.question
        )
        if self._judge is None or not sources or not text:
            return signals
        plan = self._plan
        # An answer that is kept nowhere has no id, and must not get the opinion of another one.
        aside = Aside(plan.tenant, self._request.meters, key=f"judge:{plan.answer_id}" if plan.answer_id else "")
        confidential = plan.confidential or is_confidential(sources)
        # The judge's answer needs a slot; where this one has the last, they would wait for each other.
        writer.control.lend_slot(True)
        try:
            return await self._judge.improve(signals, text, sources, confidential=confidential, aside=aside)
        finally:
            writer.control.lend_slot(False)


def grounded_request(request: ChatRequest, sources: Sequence[Source]) -> ChatRequest:
    """The request that a provider gets: passages in the prompt, and beside it for models that read them as data."""
    prompt = _prompt(request, plan_of(request), sources)
    return msgspec.structs.replace(request, messages=prompt.messages, sources=list(prompt.used), task=None)


def _prompt(request: ChatRequest, plan: Plan, sources: Sequence[Source]) -> Prompt:
    *earlier, last = [message for message in request.messages if message.get("role") != "system"]
    question = last.get("content")
    if not isinstance(question, str | list):
        raise InputError("the last message has no content", param="messages")
    return build_messages(
        system=plan.system,
        history=[past_of(message) for message in earlier],
        question=question,
        sources=sources,
        budget_tokens=plan.passages_tokens + plan.pinned_tokens,
    )


def past_of(message: JsonObject) -> Past:
    """One message in OpenAI's shape as a part of the history."""
    content, role = message.get("content"), str(message.get("role"))
    if not isinstance(content, list):
        return Past(role=role, content=content if isinstance(content, str) else "")
    texts = [str(part.get("text") or "") for part in content if isinstance(part, dict) and part.get("type") == "text"]
    parts = [part for part in content if isinstance(part, dict) and part.get("type") != "text"]
    return Past(role=role, content="\n".join(texts), parts=parts)


def source_of(found: Found) -> Source:
    """A passage as viewers see it: offsets count in the text of the document's version."""
    where: JsonObject = {
        "document_id": found.document_number,
        "document": found.document_id,
        "title": found.document_name,
        "version": found.version,
        "start": found.start,
        "end": found.end,
    }
    if found.page is not None:
        where["page"] = found.page
    if found.section:
        where["section"] = found.section
    if found.pinned:
        where["pinned"] = True
    if found.confidential:
        where["confidential"] = True
    score = round(found.score, 4)
    return Source(text=found.text, id=str(found.passage_id), title=found.document_name, score=score, metadata=where)


def is_confidential(sources: Sequence[Source]) -> bool:
    """Whether an answer from these may hold text of a confidential document."""
    return any((source.metadata or {}).get("confidential") for source in sources)


def has_confidential_history(request: bytes) -> bool:
    """Whether a turn's prompt held earlier answers that are confidential: its own may repeat them."""
    if b'"confidential":true' not in request:
        return False
    try:
        return plan_of(decode_request(request)).confidential
    except (LogCorrupt, msgspec.ValidationError):
        return True


def logprobs_of(events: Sequence[Event]) -> list[float]:
    """Of the first choice's tokens, where the provider told them (OpenAI's `logprobs.content`)."""
    found: list[float] = []
    for event in events:
        if type(event) is not Text or event.choice != 0 or event.logprobs is None:
            continue
        content = event.logprobs.get("content")
        for token in content if isinstance(content, list) else ():
            value = token.get("logprob") if isinstance(token, dict) else None
            if isinstance(value, int | float):
                found.append(float(value))
    return found


def _facts(plan: Plan) -> JsonObject:
    """What is known before the answer; the signals are told at its end, if it comes to one."""
    facts: JsonObject = {"search_mode": plan.search_mode, "mode": plan.mode} if plan.limit else {}
    if plan.number:
        facts["chat_id"] = plan.number
    why = NOT_WHOLE if plan.signals else SWITCHED_OFF
    return facts | {"confidence": None, "confidence_reason": why, "hallucination": None, "hallucination_reason": why}


def _searched(used: int, took_ms: float, results: Results) -> str:
    passages = "1 passage" if used == 1 else f"{used} passages"
    withheld = f", {results.withheld} confidential left out" if results.withheld else ""
    return f"Found {passages} in {took_ms:g} ms{withheld}"


def whole_end(fold: Fold) -> Done | None:
    """The end of an answer that came to it in a dead process, and was held back to be judged (see `ending`).

    That it did, its attempts tell, as routing tells them at the end only: usage alone may have come before the text
    broke off. What goes on with a whole answer would say more, and be paid for.
    """
    served = fold.served or {}
    if fold.usage is None or not fold.has_content or not served_by(served):
        return None
    return msgspec.convert({"type": "done", "reason": served.get("finish_reason", "stop")}, Done)


def resumed_turn(
    request: ChatRequest, *, models: Models, passages: Passages | None, judge: Judge | None, provider: str, fold: Fold
) -> TurnProducer | None:
    """A turn that a dead process left. None where its answer cannot be gone on with."""
    resumed = None
    whole = whole_end(fold)
    if fold.has_content and whole is None:
        resumed = models.take_up(grounded_request(request, fold.sources), provider, fold)
        if resumed is None:
            return None
    return TurnProducer(request, models=models, passages=passages, judge=judge, resumed=resumed, whole=whole)

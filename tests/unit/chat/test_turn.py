"""The producer of a conversation's answer, with a scripted model and scripted passages over a real hub."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec
import pytest

from headwater.chat.aside import Aside
from headwater.chat.ports import Resolved
from headwater.chat.signals import Signals
from headwater.chat.turn import (
    Plan,
    TurnProducer,
    grounded_request,
    logprobs_of,
    past_of,
    plan_of,
    resumed_turn,
    source_of,
)
from headwater.documents.records import Found, Query, Results, Scope
from headwater.errors import InputError, ProviderError, StoreUnavailable
from headwater.events import Done, Error, Event, JsonObject, Metadata, Source, Sources, Status, Text, Usage
from headwater.logs import MemoryLog
from headwater.request import ChatRequest, decode_request, encode_request
from headwater.streams import Fold, Hub, NewStream, Producer, StreamSettings, Writer, fold

Script = Callable[[Writer], Awaitable[None]]


def found(text: str, *, passage: int = 1, score: float = 0.5, **fields: object) -> Found:
    known = {
        "document_id": "d", "document_number": 7, "document_name": "a.md", "page": None, "section": "",
        "start": 0, "end": len(text), "confidential": False, "pinned": False, "version": 1,
    }  # fmt: skip
    return Found(passage_id=passage, text=text, score=score, **(known | fields))  # type: ignore[arg-type]


class Shelf:
    def __init__(self, *results: Found, pinned: Sequence[Found] = (), withheld: int = 0, problem: str = "") -> None:
        self.results = Results(list(results), withheld=withheld, problem=problem)
        self.pins = Results(list(pinned))
        self.asked: list[Query] = []
        self.error: Exception | None = None

    async def search(self, query: Query) -> Results:
        self.asked.append(query)
        if self.error is not None:
            raise self.error
        return self.results

    async def pinned(self, scope: Scope, *, confidential: bool, limit_characters: int) -> Results:
        return self.pins


class Models:
    def __init__(self, script: Script, *, local: bool = False) -> None:
        self.script = script
        self.local = local
        self.asked: list[ChatRequest] = []
        self.taken_up: list[ChatRequest] = []

    async def resolve(self, model: str | None) -> Resolved:
        return Resolved(model or "m", "p", self._make, self.local)

    def take_up(self, request: ChatRequest, provider: str, fold: Fold) -> Producer | None:
        self.taken_up.append(request)
        return None if provider == "cannot" else self._make(request)

    def _make(self, request: ChatRequest) -> Producer:
        self.asked.append(request)
        return Scripted(self.script)


class Scripted:
    def __init__(self, script: Script) -> None:
        self.script = script

    async def run(self, writer: Writer) -> None:
        await self.script(writer)


class Judge:
    async def improve(
        self, signals: Signals, answer: str, sources: Sequence[Source], *, confidential: bool, aside: Aside
    ) -> Signals:
        self.told = (answer, confidential, aside)
        return msgspec.structs.replace(signals, hallucination=0.25, hallucination_method="judge")


async def says(writer: Writer) -> None:
    writer.write([Text("The ferry leaves at nine [1]."), Usage(9, 7), Done("stop")])


def request_for(question: str = "When does the ferry leave?", **plan: object) -> ChatRequest:
    fields = {"question": question, "limit": 4, "passages_tokens": 500, "number": 12, "system": "Be brief."} | plan
    task = msgspec.to_builtins(Plan(**fields))  # type: ignore[arg-type]
    earlier: list[JsonObject] = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    return ChatRequest("m", [*earlier, {"role": "user", "content": question}], task=task)


async def run(producer: Producer) -> list[Event]:
    hub = Hub(MemoryLog(), StreamSettings(grace_s=0.1))
    await hub.start()
    try:
        channel, _ = await hub.create(NewStream(), producer)
        await channel.wait_end()
        return (await hub.read_all(channel))[1:]
    finally:
        await hub.shutdown()


async def turn(models: Models, shelf: Shelf | None = None, judge: Judge | None = None, **plan: object) -> list[Event]:
    return await run(TurnProducer(request_for(**plan), models=models, passages=shelf, judge=judge))  # type: ignore[arg-type]


def facts_in(events: Sequence[Event]) -> JsonObject:
    return {name: value for event in events if isinstance(event, Metadata) for name, value in event.data.items()}


def statuses(events: Sequence[Event]) -> list[str]:
    return [event.stage for event in events if isinstance(event, Status)]


async def test_a_whole_turn() -> None:
    models, shelf = Models(says), Shelf(found("The ferry leaves at nine.", section="Times", page=3))
    events = await turn(models, shelf)
    assert statuses(events) == ["searching", "searched", "generating"]
    assert [type(event) for event in events[-3:]] == [Usage, Metadata, Done]
    [sources] = [event for event in events if isinstance(event, Sources)]
    assert sources.items[0].metadata is not None
    assert sources.items[0].metadata["page"] == 3
    facts = facts_in(events)
    assert facts["chat_id"] == 12
    assert facts["hallucination"] == 0.0
    assert isinstance(facts["confidence"], float)
    [asked] = models.asked
    assert asked.task is None
    assert asked.sources == sources.items
    assert "The ferry leaves at nine." in str(asked.messages[0]["content"])
    assert [message["role"] for message in asked.messages] == ["system", "user", "assistant", "user"]


async def test_search_time_and_what_was_left_out_are_told() -> None:
    events = await turn(Models(says), Shelf(found("a ferry"), withheld=2, problem="no vectors now"))
    [searched] = [event for event in events if isinstance(event, Status) and event.stage == "searched"]
    assert searched.message.startswith("Found 1 passage in ")
    assert searched.message.endswith(", 2 confidential left out")
    assert searched.data is not None
    assert searched.data.keys() == {"ms", "passages", "ways", "withheld", "problem"}


async def test_confidential_passages_are_asked_for_only_where_they_stay_here() -> None:
    for local in (True, False):
        shelf = Shelf()
        await turn(Models(says, local=local), shelf, local=local)
        assert shelf.asked[0].confidential is local


async def test_a_route_that_no_longer_stays_here_gets_nothing() -> None:
    """The prompt was made while it did; confidential text may be in it."""
    models = Models(says, local=False)
    events = await turn(models, Shelf(), local=True)
    assert isinstance(events[-1], Error)
    assert events[-1].reason == "interrupted"
    assert not models.asked


async def test_pinned_documents_come_first_and_once() -> None:
    shelf = Shelf(found("two", passage=2), found("one", passage=1), pinned=[found("one", passage=1, pinned=True)])
    events = await turn(Models(says), shelf)
    [sources] = [event for event in events if isinstance(event, Sources)]
    assert [item.text for item in sources.items] == ["one", "two"]
    assert (sources.items[0].metadata or {})["pinned"] is True


async def test_a_query_that_finds_nothing_is_refused_without_asking_the_model() -> None:
    models = Models(says)
    events = await turn(models, Shelf(), mode="query", refusal="Nothing here.")
    assert not models.asked
    assert events[-3:] == [Text("Nothing here."), Usage(0, 0), Done("stop")]
    facts = facts_in(events)
    assert facts["refused"] is True
    assert facts["mode"] == "query"
    assert facts["confidence_reason"] == facts["hallucination_reason"] == "nothing was found to answer from"


async def test_a_chat_that_finds_nothing_answers_all_the_same() -> None:
    models = Models(says)
    events = await turn(models, Shelf(), mode="chat")
    assert not any(isinstance(event, Sources) for event in events)
    assert facts_in(events)["hallucination_reason"]
    assert models.asked[0].messages[0] == {"role": "system", "content": "Be brief."}


async def test_without_passages_nothing_is_looked_up() -> None:
    for shelf, limit in ((None, 4), (Shelf(), 0)):
        events = await turn(Models(says), shelf, limit=limit)
        assert statuses(events) == ["generating"]


async def test_signals_can_be_switched_off() -> None:
    facts = facts_in(await turn(Models(says), Shelf(found("x")), signals=False))
    assert facts["confidence"] is None
    assert facts["confidence_reason"] == facts["hallucination_reason"] == "switched off"


async def test_an_answer_that_breaks_off_says_that_nobody_judged_it() -> None:
    async def breaks(writer: Writer) -> None:
        writer.write([Text("The ferry")])
        raise ProviderError("gone")

    events = await turn(Models(breaks), Shelf(found("x")))
    assert isinstance(events[-1], Error)
    assert facts_in(events)["confidence_reason"] == "the answer has not come to its end"


async def test_the_whole_text_is_told_once_more_where_a_dialect_wants_it() -> None:
    facts = facts_in(await turn(Models(says), tells_whole=True, signals=False))
    assert facts["total_response"] == "The ferry leaves at nine [1]."


async def test_the_judge_has_the_last_word() -> None:
    judge = Judge()
    secret = found("The ferry leaves at nine.", confidential=True)
    events = await turn(Models(says, local=True), Shelf(secret), judge, local=True, tenant="t", answer_id="a")
    assert facts_in(events)["hallucination"] == 0.25
    assert judge.told == ("The ferry leaves at nine [1].", True, Aside("t", [], key="judge:a"))


async def test_a_judge_is_not_asked_about_an_answer_without_sources() -> None:
    judge = Judge()
    await turn(Models(says), Shelf(), judge)
    assert not hasattr(judge, "told")


async def test_a_search_that_fails_fails_the_answer() -> None:
    shelf = Shelf()
    shelf.error = StoreUnavailable("away")
    events = await turn(Models(says), shelf)
    assert isinstance(events[-1], Error)
    assert events[-1].reason == "store_unavailable"


async def test_a_turn_without_content_is_begun_again_with_the_sources_that_were_shown() -> None:
    request, shelf = request_for(), Shelf(found("another passage"))
    shown = [source_of(found("The ferry leaves at nine."))]
    state = fold([Metadata({"chat_id": 12}), Sources(shown)])
    models = Models(says)
    producer = resumed_turn(request, models=models, passages=shelf, judge=None, provider="p", fold=state)
    assert producer is not None
    events = await run(Continued(producer, [Metadata({"chat_id": 12}), Sources(shown)]))
    assert not shelf.asked
    assert models.asked[0].sources == shown
    assert events[-1] == Done("stop")


async def test_an_answer_is_gone_on_with_from_the_same_prompt() -> None:
    request, shown = request_for(), [source_of(found("The ferry leaves at nine."))]
    begun: list[Event] = [Metadata({"chat_id": 12}), Sources(shown), Text("The ferry ")]
    models = Models(says)
    producer = resumed_turn(request, models=models, passages=None, judge=None, provider="p", fold=fold(begun))
    assert producer is not None
    assert models.taken_up == [grounded_request(request, shown)]
    events = await run(Continued(producer, begun))
    assert [event.text for event in events if isinstance(event, Text)] == [
        "The ferry ",
        "The ferry leaves at nine [1].",
    ]
    assert events[-1] == Done("stop")


async def test_an_answer_that_nothing_can_go_on_with_is_not_taken_up() -> None:
    begun = fold([Text("The ferry ")])
    models = Models(says)
    assert resumed_turn(request_for(), models=models, passages=None, judge=None, provider="cannot", fold=begun) is None


class Continued:
    """Puts into the log what a dead process had written, then runs the heir."""

    def __init__(self, producer: Producer, before: Sequence[Event]) -> None:
        self.producer = producer
        self.before = before

    async def run(self, writer: Writer) -> None:
        writer.write(self.before)
        await self.producer.run(writer)


def test_what_a_source_tells_of_its_passage() -> None:
    full = found("text", page=2, section="A > B", pinned=True, confidential=True)
    source = source_of(full)
    assert source.metadata == {
        "document_id": 7, "document": "d", "title": "a.md", "version": 1, "start": 0, "end": 4, "page": 2,
        "section": "A > B", "pinned": True, "confidential": True,
    }  # fmt: skip
    assert (source.id, source.title, source.score) == ("1", "a.md", 0.5)


def test_history_from_messages() -> None:
    image: JsonObject = {"type": "image_url", "image_url": {"url": "data:,"}}
    past = past_of({"role": "user", "content": [{"type": "text", "text": "a"}, image, {"type": "text", "text": "b"}]})
    assert (past.role, past.content, past.parts) == ("user", "a\nb", [image])
    assert past_of({"role": "assistant", "content": None}).content == ""


def test_logprobs_of_the_first_choice() -> None:
    def token(value: object) -> JsonObject:
        return {"content": [{"token": "x", "logprob": value}]}

    events = [
        Text("a", logprobs=token(-0.5)), Text("b"), Text("c", choice=1, logprobs=token(-9.0)),
        Text("d", logprobs={"content": None}), Text("e", logprobs=token("no")), Done("stop"),
    ]  # fmt: skip
    assert logprobs_of(events) == [-0.5]


def test_a_last_message_without_content_is_refused() -> None:
    request = ChatRequest("m", [{"role": "user", "content": None}], task=msgspec.to_builtins(Plan()))
    with pytest.raises(InputError):
        grounded_request(request, [])


def test_a_turn_survives_the_log() -> None:
    """What is stored beside the stream is enough to build it again."""
    request = request_for(selected=(1, "d"), search_mode="hybrid", tenant="t", workspace_id="w", thread_id="x")
    stored = decode_request(encode_request(request))
    assert plan_of(stored) == plan_of(request)
    assert stored.messages == request.messages


async def test_a_begun_answer_that_nothing_goes_on_with_says_why_it_ends() -> None:
    """Generated anew, its text would stand behind what was shown already."""
    models = Models(says)
    producer = TurnProducer(request_for(), models=models, passages=None)
    events = await run(Continued(producer, [Metadata({"chat_id": 12}), Text("The ferry ")]))
    assert isinstance(events[-1], Error)
    assert (events[-1].reason, models.asked) == ("interrupted", [])
    assert [event.text for event in events if isinstance(event, Text)] == ["The ferry "]

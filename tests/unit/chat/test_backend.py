"""The backend as one thing: answers in Python, titles, judges, and what is taken up after a crash."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from headwater.chat import backend as module
from headwater.chat.aside import KIND, Aside, Asides
from headwater.chat.backend import meters_of
from headwater.chat.turn import Plan
from headwater.documents.reading import read_document
from headwater.documents.records import Query as Find
from headwater.documents.records import Scope
from headwater.documents.search import Searcher
from headwater.errors import HeadwaterError, InputError, ProviderError, StoreUnavailable
from headwater.events import Done, Error, Event, JsonObject, Metadata, StreamId, Text, Usage
from headwater.ids import new_stream_id
from headwater.request import ChatRequest, decode_request, encode_request
from headwater.store import open_store
from headwater.store.database import database_url
from headwater.streams import Fold, NewStream, StreamRecord, StreamSettings, Writer, fold
from headwater.streams.log import Query
from tests.integration.chat_kit import ChatModels
from tests.integration.kit import ScriptedProducer, eventually
from tests.unit.documents.shelving import Subjects

from .backing import QUIET, WITHIN_S, Gate, World, backed, says

TITLED = msgspec.structs.replace(QUIET, titles="model")
JUDGED = msgspec.structs.replace(QUIET, judge_model="judge", judge_timeout_s=5.0)
DOCUMENT = "The ferry leaves at nine. It costs twelve crowns."


async def cites(writer: Writer, request: ChatRequest) -> None:
    writer.write([Text("The ferry leaves at noon [1]."), Usage(9, 2), Done("stop")])


async def finds_fault(writer: Writer, request: ChatRequest) -> None:
    writer.write([Text("[1]"), Usage(9, 2), Done("stop")])


async def titled(writer: Writer, request: ChatRequest) -> None:
    """A model that answers, and when it is asked for a title gives one."""
    asks = "Write a title" in str(request.messages[0])
    writer.write([Text("Ferry times" if asks else "At nine."), Usage(9, 2), Done("stop")])


async def title_of(world: World) -> tuple[str, str]:
    thread = await world.again()
    return thread.title, thread.title_source


async def asides(world: World) -> list[StreamRecord]:
    records = await world.log.find(Query(owner="", limit=100))
    return [record for record in records if KIND in str(decode_request(record.request).task)]


# ------------------------------------------------------------------------------------------------ answers in Python


async def test_an_answer_is_followed_to_its_end_and_again_by_its_key() -> None:
    async with backed(ChatModels({"m": says})) as world:
        for _ in range(2):
            events = [event async for event in world.backend.answer(world.ask(), key="k")]
            assert events[-1] == Done("stop")
            assert any(event == Text("At nine.") for event in events)
        assert len(world.models.asked) == 1


# ----------------------------------------------------------------------------------------------------------- titles


async def test_a_thread_is_named_by_its_first_answer_only() -> None:
    async with backed(ChatModels({"m": titled}), chat=TITLED) as world:
        await world.settled((await world.backend.ask(world.ask(), NewStream())).channel.id)
        await eventually(lambda: len(world.models.asked) == 2)
        await _idle(world)
        assert await title_of(world) == ("Ferry times", "model")
        await world.settled((await world.backend.ask(world.ask("And back?"), NewStream())).channel.id)
        await _idle(world)
        assert len(await asides(world)) == 1


async def _idle(world: World) -> None:
    """Every title that was asked for is there, or is not to be had."""
    if tasks := set(world.backend._naming._tasks):
        await asyncio.wait(tasks, timeout=5)


@pytest.mark.parametrize(("titles", "title"), [("off", ("", "")), ("words", ("When does it leave", "words"))])
async def test_titles_may_be_of_words_or_none(titles: str, title: tuple[str, str]) -> None:
    chat = msgspec.structs.replace(QUIET, titles=titles)
    async with backed(ChatModels({"m": titled}), chat=chat) as world:
        asked = await world.backend.ask(world.ask("When does it leave?"), NewStream())
        await world.settled(asked.channel.id)
        await world.backend.settler.close()
        found, source = await title_of(world)
        assert (found.rstrip("?"), source) == title
        assert await asides(world) == []


async def test_a_title_that_cannot_be_had_leaves_the_one_of_words() -> None:
    async def fails(writer: Writer, request: ChatRequest) -> None:
        if "Write a title" in str(request.messages[0]):
            raise ProviderError("away")
        await says(writer, request)

    async with backed(ChatModels({"m": fails}), chat=TITLED) as world:
        await world.settled((await world.backend.ask(world.ask(), NewStream())).channel.id)
        await eventually(lambda: len(world.models.asked) == 2)
        await _idle(world)
        assert (await title_of(world))[1] == "words"


async def test_a_bug_in_naming_is_nobodys_but_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(text: str) -> str:
        raise RuntimeError("a bug")

    monkeypatch.setattr("headwater.chat.naming.clean_title", broken)
    async with backed(ChatModels({"m": titled}), chat=TITLED) as world:
        await world.settled((await world.backend.ask(world.ask(), NewStream())).channel.id)
        await eventually(lambda: len(world.models.asked) == 2)
        await _idle(world)
        assert (await title_of(world))[1] == "words"


async def test_a_model_that_says_nothing_usable_names_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def dots(writer: Writer, request: ChatRequest) -> None:
        writer.write([Text("..."), Done("stop")])

    async with backed(ChatModels({"m": dots}), chat=TITLED) as world:
        await world.settled((await world.backend.ask(world.ask("?"), NewStream())).channel.id)
        await eventually(lambda: len(world.models.asked) == 2)
        await _idle(world)
        assert await title_of(world) == ("", "")


async def test_a_failed_answer_names_nothing() -> None:
    async def fails(writer: Writer, request: ChatRequest) -> None:
        raise ProviderError("away")

    async with backed(ChatModels({"m": fails}), chat=TITLED) as world:
        await world.settled((await world.backend.ask(world.ask(), NewStream())).channel.id)
        await world.backend.settler.close()
        assert await title_of(world) == ("", "")


async def test_a_confidential_answer_is_named_by_no_model_that_is_elsewhere() -> None:
    """The route led here when it was asked, and leads elsewhere by the time it is to be named."""
    gate = Gate("The code is ")
    models = ChatModels({"m": gate}, local={"m"})
    async with backed(models, chat=TITLED) as world:
        await world.upload("The code is 4711.", confidential=True)
        asked = await world.backend.ask(world.ask("What is the code?", passages=3), NewStream())
        await gate.reached.wait()
        models.local = frozenset()
        gate.open.set()
        message = await world.settled(asked.channel.id)
        assert message.confidential
        await world.backend.settler.close()
        await _idle(world)
        assert (await title_of(world))[1] == "words"
        assert await asides(world) == []


async def test_titles_asked_for_while_all_stops_are_not_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is settled at the very end still asks for one."""
    async with backed(ChatModels({"m": titled}), chat=TITLED) as world:
        settler = world.backend.settler
        assert settler._task is not None
        settler._task.cancel()
        await asyncio.wait((settler._task,))
        asked = await world.backend.ask(world.ask(), NewStream())
        await asked.channel.wait_end()
    assert [task for task in asyncio.all_tasks() if task.get_name() == "headwater-title"] == []


# ------------------------------------------------------------------------------------------------------ the judge


async def _judged(world: World, **fields: object) -> dict[str, object]:
    asked = await world.backend.ask(world.ask("When does the ferry leave?", passages=3, **fields), NewStream())
    await asked.channel.wait_end()
    record = await world.log.get(StreamId(asked.channel.id))
    assert record is not None
    assert record.ended is not None
    return record.ended.metadata or {}


async def test_a_judge_model_is_asked_about_each_answer() -> None:
    """Also about those that are kept in no conversation, and so have no id to tell them apart."""
    verdicts = iter(["[1]", "[]"])

    async def judges(writer: Writer, request: ChatRequest) -> None:
        writer.write([Text(next(verdicts)), Usage(1, 1), Done("stop")])

    async with backed(ChatModels({"m": cites, "judge": judges}), chat=JUDGED) as world:
        await world.upload(DOCUMENT)
        facts = [await _judged(world, thread=None, model="m") for _ in range(2)]
        assert [fact["hallucination_method"] for fact in facts] == ["judge", "judge"]
        assert facts[0]["hallucination"] != facts[1]["hallucination"]


async def test_a_judge_elsewhere_reads_nothing_confidential() -> None:
    async with backed(ChatModels({"m": cites, "judge": finds_fault}, local={"m"}), chat=JUDGED) as world:
        await world.upload(DOCUMENT, confidential=True)
        facts = await _judged(world, model="m")
        assert facts["hallucination_method"] != "judge"
        assert await asides(world) == []


@pytest.mark.parametrize("confidential", [False, True])
async def test_a_judge_elsewhere_reads_no_answer_from_a_confidential_history(confidential: bool) -> None:
    async with backed(ChatModels({"m": cites, "judge": finds_fault}, local={"m"}), chat=JUDGED) as world:
        await world.upload(DOCUMENT)
        question = "When does the ferry leave?"
        plan = Plan(
            workspace_id=world.workspace.id,
            confidential=confidential,
            local=True,
            question=question,
            limit=3,
            passages_tokens=500,
        )
        task: JsonObject = msgspec.to_builtins(plan)
        request = ChatRequest("m", [{"role": "user", "content": question}], task=task)
        record = StreamRecord(StreamId("s"), 0, request=encode_request(request), provider="scripted")
        producer = world.backend.recover(record, Fold())
        assert producer is not None
        channel, _ = await world.hub.create(NewStream(request=record.request), producer)
        await channel.wait_end()
        assert ((channel.fold.served or {})["hallucination_method"] == "judge") is not confidential
        assert bool(await asides(world)) is not confidential


async def test_whoever_stops_an_answer_stops_its_judge() -> None:
    """Nobody else reads what it says, and it is paid for."""
    gate = Gate("")
    models = ChatModels({"m": cites, "judge": gate})
    async with backed(models, chat=JUDGED) as world:
        await world.upload(DOCUMENT)
        ask = world.ask("When does the ferry leave?", passages=3, model="m")
        asked = await world.backend.ask(ask, NewStream())
        await gate.reached.wait()
        await world.hub.cancel(StreamId(asked.channel.id), owner="")
        await eventually(lambda: not world.hub.live)
        assert models.made[-1].cancelled


async def test_a_judge_that_says_nothing_in_time_is_stopped_and_the_answer_ends() -> None:
    gate = Gate("")
    models = ChatModels({"m": cites, "judge": gate})
    async with backed(models, chat=msgspec.structs.replace(JUDGED, judge_timeout_s=0.05)) as world:
        await world.upload(DOCUMENT)
        facts = await _judged(world, model="m")
        assert facts["hallucination_method"] != "judge"
        await eventually(lambda: not world.hub.live)
        assert models.made[-1].cancelled


async def test_a_judge_takes_longer_than_two_tokens_may_and_needs_no_slot_of_its_own() -> None:
    """With one slot, answer and judge would wait for each other."""
    gate = Gate("")
    limits = StreamSettings(grace_s=0.0, max_streams=1)
    async with backed(ChatModels({"m": cites, "judge": gate}), chat=JUDGED, streams=limits) as world:
        await world.upload(DOCUMENT)
        ask = world.ask("When does the ferry leave?", passages=3, model="m")
        asked = await world.backend.ask(ask, NewStream())
        async with asyncio.timeout(WITHIN_S):
            await gate.reached.wait()
        generation = world.hub._generations.get(asked.channel.id)
        assert generation is not None
        assert generation.writer.watchdog is None
        gate.open.set()
        assert await asked.channel.wait_end() == Done("stop")


async def test_a_bug_in_judging_costs_no_answer_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **fields: object) -> object:
        raise RecursionError("a bug")

    monkeypatch.setattr("headwater.chat.turn.assess", broken)
    async with backed(ChatModels({"m": cites})) as world:
        asked = await world.backend.ask(world.ask(tells_whole=True), NewStream())
        assert await asked.channel.wait_end() == Done("stop")
        facts = asked.channel.fold.served or {}
        assert facts["confidence_reason"] == facts["hallucination_reason"] == "it could not be judged"
        assert facts["total_response"] == "The ferry leaves at noon [1]."


async def test_an_error_in_judging_keeps_the_whole_text_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: object, **fields: object) -> object:
        raise StoreUnavailable("away")

    monkeypatch.setattr("headwater.chat.turn.assess", fails)
    async with backed(ChatModels({"m": cites})) as world:
        asked = await world.backend.ask(world.ask(tells_whole=True), NewStream())
        await asked.channel.wait_end()
        facts = asked.channel.fold.served or {}
        assert (facts["total_response"], facts["confidence_reason"]) == ("The ferry leaves at noon [1].", "away")


# --------------------------------------------------------------------------------------------------------- asides


@pytest.mark.parametrize("end", [Done("cancelled"), Error("provider_error", "away"), Done("stop")])
async def test_an_aside_that_did_not_come_to_its_end_is_no_answer(end: Done | Error) -> None:
    async def part(writer: Writer, request: ChatRequest) -> None:
        writer.write([Text("Ferry ti") if end != Done("stop") else Text(" "), end])

    async with backed(ChatModels({"m": part})) as world:
        with pytest.raises(HeadwaterError):
            await Asides(world.hub, world.models).ask(Aside(""), "m", [], timeout_s=5.0)


async def test_an_aside_that_must_stay_here_goes_nowhere_else() -> None:
    async with backed(ChatModels({"m": says})) as world:
        with pytest.raises(InputError):
            await Asides(world.hub, world.models).ask(Aside("", local=True), "m", [], timeout_s=5.0)
        assert world.models.asked == []


async def test_two_who_ask_aside_under_one_key_are_told_the_same() -> None:
    async with backed(ChatModels({"m": says})) as world:
        ask = Asides(world.hub, world.models).ask
        told = await asyncio.gather(*(ask(Aside("", key="k"), "m", [], timeout_s=5.0) for _ in range(2)))
        assert told == ["At nine.", "At nine."]
        assert len(world.models.asked) == 1


# --------------------------------------------------------------------------------------------------- after a crash


async def test_an_aside_is_not_taken_up_by_the_next_process(tmp_path: Path) -> None:
    """Nobody waits for it any more; and what it was told may be confidential, and its route lead elsewhere by now."""
    gate = Gate("")
    store = await open_store(database_url(None, tmp_path))
    models = ChatModels({"m": gate}, local={"m"})
    async with backed(models, store=store) as world:
        log = world.log
        asking = asyncio.create_task(Asides(world.hub, models).ask(Aside("", local=True), "m", [], timeout_s=60.0))
        await gate.reached.wait()
        world.hub.accepting = False
        await world.hub.shutdown()
        with pytest.raises(HeadwaterError):
            await asking
    models.local = frozenset()
    async with backed(models, store=store, log=log) as world:
        [record] = await asides(world)
        await (await world.hub.open(record.id, owner="")).wait_end()
        assert len(models.asked) == 1
    await store.close()


def _record(task: JsonObject | None, request: bytes | None = None) -> StreamRecord:
    asked = ChatRequest("m", [{"role": "user", "content": "Hi"}], task=task, meters=["key:k"])
    return StreamRecord(StreamId("s"), 0, request=encode_request(asked) if request is None else request, provider="p")


async def test_what_goes_on_with_which_stream() -> None:
    async with backed(ChatModels({"m": says}, resumes=True)) as world:
        backend = world.backend
        plain = backend.recover(_record(None), Fold())
        assert type(plain).__name__ == "_Counted"
        turn = backend.recover(_record(msgspec.to_builtins(Plan(question="Hi"))), Fold())
        assert type(turn).__name__ == "TurnProducer"
        reading = backend.recover(_record({"kind": "ingest", "tenant": "", "document_id": "d", "version": 1}), Fold())
        assert type(reading).__name__ == "IngestProducer"
        assert backend.recover(_record({"kind": KIND}), Fold()) is None
        assert backend.recover(_record(None, b"{"), Fold()) is None
        assert meters_of(_record(None)) == ["key:k"]
        assert meters_of(_record(None, b'{"meters":[')) == []


@pytest.mark.parametrize("reason", ["stop", "length"])
async def test_a_whole_answer_that_was_still_to_be_judged_is_not_gone_on_with(reason: str) -> None:
    """Its end was held back when the process died. Asked to go on, a model would say more, and be paid for it."""
    asked = ChatRequest("m", [{"role": "user", "content": "Hi"}], task=msgspec.to_builtins(Plan(question="Hi")))
    attempts: JsonObject = {"attempts": [{"outcome": "done", "provider": "p"}]}
    told = attempts | ({"finish_reason": reason} if reason != "stop" else {})
    before: list[Event] = [Text("At nine."), Usage(9, 2), Metadata(told)]
    async with backed(ChatModels({"m": says}, resumes=True)) as world:
        record = StreamRecord(StreamId("s"), 0, request=encode_request(asked), provider="p")
        heir = world.backend.recover(record, fold(before))
        assert heir is not None

        class Continued:
            async def run(self, writer: Writer) -> None:
                writer.write(before)
                assert heir is not None
                await heir.run(writer)

        channel, _ = await world.hub.create(NewStream(request=record.request), Continued())
        assert await channel.wait_end() == Done(reason)  # type: ignore[arg-type]
        assert world.models.asked == []
        assert (channel.fold.served or {})["confidence_reason"]
        assert channel.fold.usage == Usage(9, 2)


async def test_usage_alone_does_not_make_an_answer_whole() -> None:
    """It may come before the text breaks off: what is cut must not look like success."""
    asked = ChatRequest("m", [{"role": "user", "content": "Hi"}], task=msgspec.to_builtins(Plan(question="Hi")))
    record = StreamRecord(StreamId("s"), 0, request=encode_request(asked), provider="p")
    async with backed(ChatModels({"m": says})) as world:
        assert world.backend.recover(record, fold([Text("At "), Usage(9, 1)])) is None


# ------------------------------------------------------------------------------------------------------- upkeep


async def test_old_conversations_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UPKEEP_INTERVAL_S", 0.0)
    chat = msgspec.structs.replace(QUIET, conversation_max_age_s=0.001)
    async with backed(ChatModels({}), chat=chat) as world:
        expire, gone = world.backend.conversations.expire, asyncio.Event()

        async def told(older_than_ms: int) -> int:
            if await expire(older_than_ms):
                gone.set()
            return 0

        monkeypatch.setattr(world.backend.conversations, "expire", told)
        await world.backend.conversations.threads.create("", world.workspace.id)
        async with asyncio.timeout(5):
            await gone.wait()


@pytest.mark.parametrize("error", [StoreUnavailable("away"), RuntimeError("a bug")])
async def test_an_upkeep_that_fails_is_tried_again(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UPKEEP_INTERVAL_S", 0.0)
    chat = msgspec.structs.replace(QUIET, conversation_max_age_s=1e9)
    async with backed(ChatModels({}), chat=chat) as world:
        tries = 0

        async def fails(older_than_ms: int) -> int:
            nonlocal tries
            tries += 1
            raise error

        monkeypatch.setattr(world.backend.conversations, "expire", fails)
        await eventually(lambda: tries > 1)


async def test_a_document_that_cannot_be_taken_up_keeps_nobody_from_starting(tmp_path: Path) -> None:
    """More documents wait than streams may: the server must start, and each of them say what became of it."""
    store = await open_store(database_url(None, tmp_path))
    async with backed(ChatModels({}), store=store) as world:
        scope = Scope("", world.workspace.id)
        for number in range(3):
            await world.backend.shelf.add(scope, name=f"{number}.md", media_type="", content=b"# Ferry")
    limits = StreamSettings(grace_s=0.0, max_streams=1, max_queued=0)
    async with backed(ChatModels({}), store=store, streams=limits) as world:
        documents = await world.backend.shelf.list(Scope("", world.workspace.id))
        assert sum(document.status == "failed" for document in documents) == 2
    await store.close()


async def test_documents_that_wait_for_a_worker_are_not_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def slow(content: bytes, **fields: object) -> object:
        reached.set()
        await go_on.wait()
        return await read_document(content, **fields)  # type: ignore[arg-type]

    monkeypatch.setattr("headwater.documents.ingest.read_document", slow)
    async with backed(ChatModels({})) as world:
        shelf, scope = world.backend.shelf, Scope("", world.workspace.id)
        content, loaded = shelf.content, []

        async def counted(*args: object) -> object:
            loaded.append(args)
            return await content(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(shelf, "content", counted)
        channels = []
        for number in range(3):
            document = await shelf.add(scope, name=f"{number}.md", media_type="", content=b"# Ferry")
            channels.append((await world.backend.ingest.begin(document)).channel)
        await reached.wait()
        await eventually(lambda: all(channel.status == "streaming" for channel in channels))
        assert len(loaded) == 1
        go_on.set()
        for channel in channels:
            assert await channel.wait_end() == Done("stop")


async def test_the_same_bytes_while_they_are_being_read_are_not_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, times = asyncio.Event(), 0

    async def slow(content: bytes, **fields: object) -> object:
        nonlocal times
        times += 1
        await go_on.wait()
        return await read_document(content, **fields)  # type: ignore[arg-type]

    monkeypatch.setattr("headwater.documents.ingest.read_document", slow)
    async with backed(ChatModels({})) as world:
        shelf, ingest = world.backend.shelf, world.backend.ingest
        document = await shelf.add(Scope("", world.workspace.id), name="a.md", media_type="", content=b"# Ferry")
        first = await ingest.begin(document)
        await eventually(lambda: times == 1)
        again = await ingest.begin(await shelf.add_version("", document.id, b"# Ferry"))
        assert again.channel.id == first.channel.id
        go_on.set()
        assert await first.channel.wait_end() == Done("stop")
        assert times == 1


# ------------------------------------------------------------------------------------------------------ embedding


class Hasty(Subjects):
    """An embedder that takes so long that the document is gone meanwhile."""

    def __init__(self, meanwhile: Callable[[], Awaitable[object]]) -> None:
        super().__init__()
        self._meanwhile = meanwhile

    async def embed(self, texts: Sequence[str]) -> list[bytes]:
        await self._meanwhile()
        return await super().embed(texts)


async def test_documents_from_before_there_was_a_model_get_their_vectors() -> None:
    async with backed(ChatModels({})) as world:
        documents = [await world.upload(text) for text in ("A dog.", "A ship.", "Money.")]
        world.backend.searcher = Searcher(world.store, Subjects())
        await world.backend._embed_missing()
        assert await world.backend.searcher.unembedded() == []
        results = await world.backend.searcher.search(Find(Scope("", world.workspace.id), "hound", limit=1))
        assert [found.document_id for found in results.found] == [documents[0].id]


async def test_the_upkeep_ends_where_no_vector_can_be_made() -> None:
    """Asked again at once it would ask the embedding service for ever."""
    async with backed(ChatModels({})) as world:
        document = await world.upload("A dog.")
        embedder = Hasty(lambda: world.backend.shelf.delete("", document.id))
        world.backend.searcher = Searcher(world.store, embedder)
        await world.backend._embed_missing()
        assert embedder.asked == ["A dog."]


async def test_an_embedder_is_closed_with_the_backend() -> None:
    """Its connections would stay open for as long as the process lives."""
    embedder = Subjects()
    async with backed(ChatModels({})) as world:
        world.backend._embedder = embedder
    assert embedder.closed


# -------------------------------------------------------------------------------------------------------- at work


async def test_only_answers_whose_stream_goes_on_are_at_work() -> None:
    """A row may be behind: its process is gone, or has not settled it yet."""
    gate = Gate()
    async with backed(ChatModels({"m": gate})) as world:
        asked = await world.backend.ask(world.ask(), NewStream())
        await gate.reached.wait()
        ended = (await world.hub.create(NewStream(), ScriptedProducer(says, ChatRequest("m", [])))).channel
        await ended.wait_end()
        for stream in (ended.id, new_stream_id(1)):
            await world.backend.conversations.messages.add_turn(
                "", world.thread.id, parent_id=None, content="q", stream_id=stream
            )
        for thread_id in (None, world.thread.id):
            working = await world.backend.at_work("", thread_id=thread_id)
            assert [each.stream.id for each in working] == [asked.channel.id]
        gate.open.set()
        await world.settled(asked.channel.id)
        assert await world.backend.at_work("") == []

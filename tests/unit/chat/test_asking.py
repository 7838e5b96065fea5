"""From a question to its stream: what is stored, what the prompt holds, and that nothing is asked or kept twice."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from headwater.chat.history import Past
from headwater.chat.ports import Resolved
from headwater.chat.records import Message, Settled
from headwater.chat.turn import plan_of
from headwater.errors import (
    IdempotencyMismatch,
    InputError,
    LogUnavailable,
    ProviderUnreachable,
    QueueFull,
    StoreUnavailable,
    UnknownItem,
    UnknownModel,
)
from headwater.events import Done, Error, StreamId, Text
from headwater.request import ChatRequest, decode_request
from headwater.streams import NewStream, StreamSettings, Writer
from tests.integration.chat_kit import EXTRACTIVE, ChatModels
from tests.integration.kit import eventually

from .backing import QUIET, WITHIN_S, Gate, World, backed, says


def texts(messages: list[Message]) -> list[tuple[str, str, str]]:
    return [(message.role, message.content, message.status) for message in messages]


QUESTION = ("user", "When does it leave?", "done")
ANSWERED = [QUESTION, ("assistant", "At nine.", "done")]


# ---------------------------------------------------------------------------------------------------- a question


async def test_a_question_and_its_answer_are_kept() -> None:
    async with backed(ChatModels({"m": says})) as world:
        channel, created, turn = await world.backend.ask(world.ask(), NewStream())
        assert created
        assert turn is not None
        assert turn.answer.stream_id == channel.id
        await world.settled(channel.id)
        assert texts(await world.messages()) == ANSWERED
        [asked] = world.models.asked
        assert asked.messages == [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "When does it leave?"},
        ]


async def test_the_next_question_knows_the_ones_before() -> None:
    async with backed(ChatModels({"m": says})) as world:
        await world.settled((await world.backend.ask(world.ask(), NewStream())).channel.id)
        await world.again()
        await world.settled((await world.backend.ask(world.ask("And back?"), NewStream())).channel.id)
        assert [message["content"] for message in world.models.asked[-1].messages] == [
            "Be brief.", "When does it leave?", "At nine.", "And back?",
        ]  # fmt: skip


async def test_a_question_after_an_answer_under_way_has_its_text_so_far() -> None:
    gate = Gate()
    async with backed(ChatModels({"slow": gate, "m": says})) as world:
        first = await world.backend.ask(world.ask(model="slow"), NewStream())
        await gate.reached.wait()
        await world.hub.read_all(first.channel)
        await world.again()
        second = await world.backend.ask(world.ask("And back?", model="m"), NewStream())
        await second.channel.wait_end()
        assert [message["content"] for message in world.models.asked[-1].messages][1:] == [
            "When does it leave?", "At ", "And back?",
        ]  # fmt: skip
        gate.open.set()
        await world.settled(first.channel.id)


async def test_without_a_thread_nothing_is_kept_and_the_callers_history_counts() -> None:
    async with backed(ChatModels({"m": says})) as world:
        ask = world.ask(thread=None, history=[Past("user", "Hi"), Past("assistant", "Hello")])
        channel, created, turn = await world.backend.ask(ask, NewStream())
        await channel.wait_end()
        assert created
        assert turn is None
        assert await world.messages() == []
        assert [message["content"] for message in world.models.asked[0].messages] == [
            "Be brief.", "Hi", "Hello", "When does it leave?",
        ]  # fmt: skip


async def test_attachments_go_with_the_question() -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    async with backed(ChatModels({"m": says})) as world:
        asked = await world.backend.ask(world.ask("", parts=[part]), NewStream())
        await world.settled(asked.channel.id)
        assert world.models.asked[0].messages[-1]["content"] == [{"type": "text", "text": ""}, part]
        assert (await world.messages())[0].parts == [part]


async def test_the_workspace_the_thread_and_the_question_choose_model_and_parameters() -> None:
    async with backed(ChatModels({"a": says, "b": says, "c": says})) as world:
        workspaces, threads = world.backend.conversations.workspaces, world.backend.conversations.threads
        world.workspace = await workspaces.update(
            "",
            world.workspace.id,
            model="a",
            temperature=0.5,
            passages=3,
            min_score=0.7,
            refusal="No.",
            system_prompt="S",
        )
        for thread_model, asked_model, chosen in (("", "", "a"), ("b", "", "b"), ("b", "c", "c")):
            await threads.update("", world.thread.id, model=thread_model)
            await world.again()
            ask = world.ask(model=asked_model, params={"max_tokens": 7}, passages=None)
            asked = await world.backend.ask(ask, NewStream())
            await world.settled(asked.channel.id)
            request = world.models.asked[-1]
            assert (request.model, request.params) == (chosen, {"temperature": 0.5, "max_tokens": 7})
            plan = plan_of(decode_request(asked.channel.record.request))
            assert (plan.limit, plan.min_score, plan.refusal, plan.system) == (3, 0.7, "No.", "S")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"message": "x" * 11}, "message"),
        ({"message": "  "}, "message"),
        ({"parts": [{}] * 3}, "attachments"),
        ({"parts": [{}, {"text": "x" * 1500}]}, "attachments[1]"),
        ({"thread": None, "edit": "x"}, "thread"),
        ({"thread": None, "regenerate": "x"}, "thread"),
    ],
)
async def test_what_is_refused_leaves_nothing(fields: dict[str, object], param: str) -> None:
    chat = msgspec.structs.replace(QUIET, max_message_characters=10, max_attachments=2, max_attachment_bytes=100)
    async with backed(ChatModels({"m": says}), chat=chat) as world:
        with pytest.raises(InputError) as caught:
            ask = msgspec.structs.replace(world.ask("short"), **fields)
            await world.backend.ask(ask, NewStream())
        assert caught.value.param == param
        assert await world.messages() == []


# ---------------------------------------------------------------------------------------------- edit, regenerate


async def test_an_edited_question_stands_beside_the_old_one() -> None:
    async with backed(ChatModels({"m": says})) as world:
        first = await world.backend.ask(world.ask(), NewStream())
        await world.settled(first.channel.id)
        assert first.turn is not None
        assert first.turn.question is not None
        await world.again()
        edited = await world.backend.ask(world.ask("And back?", edit=first.turn.question.number), NewStream())
        await world.settled(edited.channel.id)
        assert [message["content"] for message in world.models.asked[-1].messages] == ["Be brief.", "And back?"]
        siblings = await world.backend.conversations.messages.siblings("", first.turn.question.id)
        assert siblings.count == 2


@pytest.mark.parametrize("which", ["question", "answer"])
async def test_another_answer_to_the_same_question(which: str) -> None:
    async with backed(ChatModels({"m": says})) as world:
        first = await world.backend.ask(world.ask(), NewStream())
        await world.settled(first.channel.id)
        assert first.turn is not None
        message = getattr(first.turn, which)
        await world.again()
        again = await world.backend.ask(world.ask("", regenerate=message.id), NewStream())
        await world.settled(again.channel.id)
        assert world.models.asked[-1].messages == world.models.asked[0].messages
        assert again.turn is not None
        assert again.turn.question is None
        assert texts(await world.messages()) == ANSWERED


async def test_only_questions_of_the_same_conversation_can_be_asked_anew() -> None:
    async with backed(ChatModels({"m": says})) as world:
        messages, threads = world.backend.conversations.messages, world.backend.conversations.threads
        other = await threads.create("", world.workspace.id)
        elsewhere = await messages.add("", other.id, parent_id=None, role="user", content="x")
        greeting = await messages.add("", world.thread.id, parent_id=None, role="assistant", content="Hello")
        for ref in (elsewhere.id, greeting.id):
            with pytest.raises(InputError) as caught:
                await world.backend.ask(world.ask(edit=ref), NewStream())
            assert caught.value.param == "message_id"


# -------------------------------------------------------------------------------------------------- refused streams


async def test_a_stream_that_is_refused_takes_its_messages_back() -> None:
    gate = Gate()
    limits = StreamSettings(grace_s=0.0, max_streams=1, max_queued=0)
    async with backed(ChatModels({"m": gate}), streams=limits) as world:
        first = await world.backend.ask(world.ask(), NewStream())
        await world.again()
        with pytest.raises(QueueFull):
            await world.backend.ask(world.ask("And back?"), NewStream())
        assert [message.content for message in await world.messages()] == ["When does it leave?", ""]
        gate.open.set()
        await world.settled(first.channel.id)


async def test_an_unknown_model_leaves_nothing() -> None:
    async with backed(ChatModels({"m": says})) as world:
        with pytest.raises(UnknownModel):
            await world.backend.ask(world.ask(model="x"), NewStream())
        assert await world.messages() == []


async def test_whatever_goes_wrong_with_the_stream_takes_its_messages_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only errors that are raised on purpose: else the answer would be `streaming` until somebody looks."""
    async with backed(ChatModels({"m": says})) as world:

        async def broken(*args: object) -> None:
            raise RuntimeError("a bug")

        monkeypatch.setattr(world.hub, "create", broken)
        with pytest.raises(RuntimeError):
            await world.backend.ask(world.ask(), NewStream())
        assert await world.messages() == []


async def test_a_reader_between_the_rows_and_the_stream_does_not_end_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows come first. Who reads the conversation at that very moment finds no stream, and must not call it lost."""
    async with backed(ChatModels({"m": says})) as world:
        create = world.hub.create

        async def read_first(*args: object) -> object:
            [_, answer] = await world.backend.messages(await world.again())
            assert (answer.status, answer.content) == ("streaming", "")
            assert [message.id for message in await world.backend.live(world.thread)] == [answer.id]
            await world.backend.settler.reconcile()
            return await create(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(world.hub, "create", read_first)
        asked = await world.backend.ask(world.ask(), NewStream())
        await world.settled(asked.channel.id)
        assert texts(await world.messages()) == ANSWERED


# ------------------------------------------------------------------------------------------- callers that leave


@pytest.mark.parametrize("key", ["", "k"])
async def test_a_caller_that_leaves_while_the_stream_is_made_leaves_no_half_of_it(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with backed(ChatModels({"m": says})) as world:
        messages = world.backend.conversations.messages
        add, added, go_on = messages.add_turn, asyncio.Event(), asyncio.Event()

        async def slow(*args: object, **fields: object) -> object:
            turn = await add(*args, **fields)  # type: ignore[arg-type]
            added.set()
            await go_on.wait()
            return turn

        monkeypatch.setattr(messages, "add_turn", slow)
        asking = asyncio.create_task(world.backend.ask(world.ask(), NewStream(idempotency_key=key)))
        await added.wait()
        asking.cancel()
        await asyncio.wait((asking,))
        assert asking.cancelled()
        go_on.set()
        [_, answer] = await world.messages()
        await eventually(lambda: bool(world.models.asked), within_s=WITHIN_S)
        await world.settled(answer.stream_id)
        assert texts(await world.messages()) == ANSWERED


async def test_the_second_of_two_with_one_key_may_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    async with backed(ChatModels({"m": says})) as world:
        create, reached, go_on = world.hub.create, asyncio.Event(), asyncio.Event()

        async def slow(*args: object) -> object:
            reached.set()
            await go_on.wait()
            return await create(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(world.hub, "create", slow)
        new = NewStream(idempotency_key="k")
        first = asyncio.create_task(world.backend.ask(world.ask(), new))
        await reached.wait()
        second = asyncio.create_task(world.backend.ask(world.ask(), new))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.wait((second,))
        go_on.set()
        asked = await first
        await world.settled(asked.channel.id)
        everything = await world.backend.conversations.messages.all("", world.thread.id)
        assert texts(everything) == ANSWERED


# -------------------------------------------------------------------------------------------------- idempotency


async def test_two_at_once_with_one_key_are_one_answer() -> None:
    async with backed(ChatModels({"m": says})) as world:
        new = NewStream(idempotency_key="k")
        one, other = await asyncio.gather(*(world.backend.ask(world.ask(), new) for _ in range(2)))
        assert one.channel.id == other.channel.id
        assert sorted((one.created, other.created)) == [False, True]
        await world.settled(one.channel.id)
        assert texts(await world.backend.conversations.messages.all("", world.thread.id)) == ANSWERED
        assert len(world.models.asked) == 1


async def test_a_key_is_for_one_question() -> None:
    async with backed(ChatModels({"m": says})) as world:
        new = NewStream(idempotency_key="k")
        first = await world.backend.ask(world.ask(), new)
        await world.settled(first.channel.id)
        await world.again()
        again = await world.backend.ask(world.ask(), new)
        assert (again.channel.id, again.created, again.turn) == (first.channel.id, False, None)
        with pytest.raises(IdempotencyMismatch):
            await world.backend.ask(world.ask("Another"), new)
        assert texts(await world.messages()) == ANSWERED


async def test_a_retry_after_a_failure_asks_no_second_time_in_the_conversation() -> None:
    """The key's stream failed before any content: it is tried again, but the question is asked already."""
    fails = True

    async def sometimes(writer: Writer, request: ChatRequest) -> None:
        if fails:
            raise ProviderUnreachable("away")
        await says(writer, request)

    async with backed(ChatModels({"m": sometimes})) as world:
        new = NewStream(idempotency_key="k", retry=True)
        for _ in range(2):
            first = await world.backend.ask(world.ask(), new)
            await world.settled(first.channel.id)
            await world.again()
        fails = False
        second = await world.backend.ask(world.ask(), new)
        assert second.created
        await world.settled(second.channel.id)
        assert texts(await world.messages()) == ANSWERED
        assert world.models.asked[-1].messages == world.models.asked[0].messages


async def test_a_retry_whose_failed_question_was_deleted_asks_it() -> None:
    async def fails(writer: Writer, request: ChatRequest) -> None:
        raise ProviderUnreachable("away")

    async with backed(ChatModels({"m": fails})) as world:
        new = NewStream(idempotency_key="k", retry=True)
        first = await world.backend.ask(world.ask(), new)
        await world.settled(first.channel.id)
        await world.backend.conversations.messages.clear("", world.thread.id)
        await world.again()
        second = await world.backend.ask(world.ask(), new)
        await world.settled(second.channel.id)
        assert [message.role for message in await world.messages()] == ["user", "assistant"]


# -------------------------------------------------------------------------------------------------- confidential


async def _answered(world: World, question: str, *, confidential: bool) -> None:
    """A turn of the past."""
    messages = world.backend.conversations.messages
    turn = await messages.add_turn(
        "", world.thread.id, parent_id=(await world.again()).leaf_id, content=question, stream_id="old", model="local"
    )
    done = Settled(content="The code is 4711.", status="done", finished_ms=1, confidential=confidential)
    assert await messages.settle(turn.answer.stream_id, done) is not None
    await world.again()


async def test_confidential_answers_stay_out_of_prompts_that_leave() -> None:
    async with backed(ChatModels({"local": says, "far": says}, local={"local"})) as world:
        await _answered(world, "What is the code?", confidential=True)
        for model, told in (("local", True), ("far", False)):
            asked = await world.backend.ask(world.ask("Again?", model=model, regenerate=None), NewStream())
            await world.settled(asked.channel.id)
            assert ("4711" in str(world.models.asked[-1].messages)) is told


async def test_an_answer_from_a_confidential_history_is_confidential_itself() -> None:
    """It may repeat what it was told: "say that again in German" finds no passage, and says it all the same."""

    async def repeats(writer: Writer, request: ChatRequest) -> None:
        writer.write([Text("Der Code ist 4711."), Done("stop")])

    async with backed(ChatModels({"local": repeats, "far": says}, local={"local"})) as world:
        await _answered(world, "What is the code?", confidential=True)
        asked = await world.backend.ask(world.ask("In German?", model="local"), NewStream())
        answer = await world.settled(asked.channel.id)
        assert answer.confidential
        await world.again()
        asked = await world.backend.ask(world.ask("Thanks!", model="far"), NewStream())
        await world.settled(asked.channel.id)
        assert "4711" not in str(world.models.asked[-1].messages)


async def test_an_answer_under_way_from_a_confidential_history_is_confidential() -> None:
    gate = Gate("Der Code ist 4711")
    async with backed(ChatModels({"local": gate, "far": says}, local={"local"})) as world:
        await _answered(world, "What is the code?", confidential=True)
        asked = await world.backend.ask(world.ask("In German?", model="local"), NewStream())
        await gate.reached.wait()
        await world.again()
        far = await world.backend.ask(world.ask("Thanks!", model="far"), NewStream())
        await far.channel.wait_end()
        assert "4711" not in str(world.models.asked[-1].messages)
        gate.open.set()
        await world.settled(asked.channel.id)


# ---------------------------------------------------------------------------------------------- plain requests


async def test_a_plain_request_is_grounded_in_the_default_workspace() -> None:
    async with backed(ChatModels({})) as world:
        world.workspace = await world.backend.conversations.workspaces.find_or_create("", "default")
        await world.upload("The ferry leaves at nine.")
        request = ChatRequest(EXTRACTIVE, [{"role": "user", "content": "When does the ferry leave?"}])
        grounded, producer = await world.backend.ground(request, "", local=True)
        assert grounded.task is not None
        channel, _ = await world.hub.create(NewStream(), producer)
        assert await channel.wait_end() == Done("stop")
        assert "nine" in str(await world.hub.read_all(channel))


async def test_a_plain_request_to_a_route_that_can_leave_is_answered_without_what_is_confidential() -> None:
    class Mixed(ChatModels):
        """Extractive first, and another when it fails: not local."""

        async def resolve(self, model: str | None) -> Resolved:
            return (await super().resolve(EXTRACTIVE))._replace(local=False)

    async with backed(Mixed({})) as world:
        world.workspace = await world.backend.conversations.workspaces.find_or_create("", "default")
        await world.upload("The ferry leaves at nine.")
        await world.upload("The ferry leaves at ten, and the code is 4711.", confidential=True)
        request = ChatRequest(EXTRACTIVE, [{"role": "user", "content": "When does the ferry leave?"}])
        _, producer = await world.backend.ground(request, "", local=False)
        channel, _ = await world.hub.create(NewStream(), producer)
        end = await channel.wait_end()
        assert not isinstance(end, Error), end
        told = str(await world.hub.read_all(channel))
        assert "nine" in told
        assert "4711" not in told


@pytest.mark.parametrize("messages", [[], [{"role": "assistant", "content": "Hi"}]])
async def test_a_plain_request_must_ask_something(messages: list[dict[str, object]]) -> None:
    async with backed(ChatModels({})) as world:
        with pytest.raises(InputError) as caught:
            await world.backend.ground(ChatRequest(EXTRACTIVE, messages), "", local=True)
        assert caught.value.param == "messages"


async def test_a_log_that_cannot_take_the_stream_leaves_nothing() -> None:
    limits = StreamSettings(grace_s=0.0, log_retry_s=0.0)
    async with backed(ChatModels({"m": says}), streams=limits) as world:

        async def away(appends: object) -> object:
            raise LogUnavailable("away")

        commit = world.log.commit
        world.log.commit = away  # type: ignore[method-assign, assignment]
        with pytest.raises(LogUnavailable):
            await world.backend.ask(world.ask(), NewStream(id=StreamId("s")))
        world.log.commit = commit  # type: ignore[method-assign]
        assert await world.messages() == []


# --------------------------------------------------------------------------------------- between rows and stream


async def test_a_conversation_that_is_deleted_before_its_stream_is_there_is_not_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with backed(ChatModels({"m": Gate()})) as world:
        create = world.hub.create

        async def deletes(*args: object) -> object:
            await world.backend.conversations.threads.delete("", world.thread.id)
            return await create(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(world.hub, "create", deletes)
        with pytest.raises(UnknownItem):
            await world.backend.ask(world.ask(), NewStream())
        await eventually(lambda: not world.hub.live)


async def test_a_database_that_goes_away_after_the_stream_was_made_is_no_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Told that it failed, the caller would ask again, and be answered twice."""

    async def away(stream: str) -> object:
        raise StoreUnavailable("away")

    async with backed(ChatModels({"m": says})) as world:
        with monkeypatch.context() as patch:
            patch.setattr(world.backend.conversations.messages, "by_stream", away)
            asked = await world.backend.ask(world.ask(), NewStream())
        assert asked.created
        await world.settled(asked.channel.id)


async def test_another_process_may_have_been_faster_with_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    async with backed(ChatModels({"m": says})) as world:
        first = await world.backend.ask(world.ask(), NewStream())
        await world.settled(first.channel.id)

        async def known(*args: object) -> object:
            return first.channel, False

        monkeypatch.setattr(world.hub, "create", known)
        asked = await world.backend.ask(world.ask(), NewStream())
        assert (asked.created, asked.turn) == (False, None)
        assert texts(await world.messages()) == ANSWERED


async def test_a_stop_waits_for_what_is_being_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would take its rows back from a database that is closed."""
    async with backed(ChatModels({"m": says})) as world:
        create, reached, go_on = world.hub.create, asyncio.Event(), asyncio.Event()

        async def slow(*args: object) -> object:
            reached.set()
            await go_on.wait()
            return await create(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(world.hub, "create", slow)
        asking = asyncio.create_task(world.backend.ask(world.ask(), NewStream()))
        await reached.wait()
        asking.cancel()
        await world.hub.shutdown()
        closing = asyncio.create_task(world.backend.asking.close())
        await asyncio.sleep(0)
        assert not closing.done()
        go_on.set()
        await closing
        assert await world.messages() == []


async def test_a_question_outside_a_conversation_that_is_refused_touches_no_conversation() -> None:
    gate = Gate()
    limits = StreamSettings(grace_s=0.0, max_streams=1, max_queued=0)
    async with backed(ChatModels({"m": gate}), streams=limits) as world:
        first = await world.backend.ask(world.ask(), NewStream())
        with pytest.raises(QueueFull):
            await world.backend.ask(world.ask("And back?", thread=None), NewStream())
        assert [message.content for message in await world.messages()] == ["When does it leave?", ""]
        gate.open.set()
        await world.settled(first.channel.id)


async def test_a_loop_that_ends_while_a_question_is_accepted_ends_in_silence() -> None:
    """It cancels what it runs, in any order: neither a traceback, nor a thread that takes no more questions."""
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
    async with backed(ChatModels({"m": says})) as world:
        commit, reached = world.log.commit, asyncio.Event()

        async def hangs(appends: object) -> object:
            reached.set()
            return await asyncio.Event().wait()

        world.log.commit = hangs  # type: ignore[method-assign, assignment]
        asking = asyncio.create_task(world.backend.ask(world.ask(), NewStream()))
        await reached.wait()
        [accepting] = world.backend.asking._accepting
        accepting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        world.log.commit = commit  # type: ignore[method-assign]
        assert not world.backend.asking._accepting
        assert not any(lock.locked() for lock in world.backend.asking._turns.values())
    assert told == []

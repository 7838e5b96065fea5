"""What the chat backend promises of conversations, over real files and a real hub: nothing asked is lost or doubled."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headwater.chat.asking import Ask, Asked
from headwater.chat.backend import Backend, BackendSettings
from headwater.chat.records import Message, Thread, Workspace
from headwater.chat.settings import REFUSAL, ChatSettings
from headwater.errors import Overloaded, ProviderRejected, QueueFull, UnknownItem
from headwater.events import Done, StreamId, Text, Usage, text_of
from headwater.request import ChatRequest
from headwater.streams import NewStream, StreamSettings, Writer

from .chat_kit import ChatModels, Chatting, chatting
from .kit import eventually

FERRY = "The ferry to the island leaves at nine in the morning from the north quay. " * 6
SECRET = "The vault's combination for the ferry company is 4711, known to nobody outside. " * 6


class Gated:
    """Says `half`, waits until `gate` is open, and says the rest. Taken up, it goes on where the text stands."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.runs = 0

    async def __call__(self, writer: Writer, request: ChatRequest) -> None:
        self.runs += 1
        if not writer.fold.has_content:
            writer.write([Text("half")])
        await self.gate.wait()
        writer.write([Text(" and half"), Usage(3, 4), Done("stop")])


class Waiting:
    """Says nothing before `gate` is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()

    async def __call__(self, writer: Writer, request: ChatRequest) -> None:
        await self.gate.wait()
        writer.write([Text("at last"), Usage(1, 1), Done("stop")])


async def says(writer: Writer, request: ChatRequest) -> None:
    writer.write([Text(f"answer {request.messages[-1]['content']}"), Usage(1, 2), Done("stop")])


async def quotes(writer: Writer, request: ChatRequest) -> None:
    writer.write([Text("The ferry leaves at nine in the morning [1]."), Usage(1, 2), Done("stop")])


async def breaks(writer: Writer, request: ChatRequest) -> None:
    writer.write([Text("half")])
    await writer.drain()
    raise ProviderRejected("the model is gone", status=503, provider="scripted")


async def place(it: Chatting, slug: str = "handbook", **fields: Any) -> tuple[Workspace, Thread]:
    workspaces, threads = it.backend.conversations.workspaces, it.backend.conversations.threads
    workspace = await workspaces.find_or_create("", slug)
    if fields:
        workspace = await workspaces.update("", workspace.id, **fields)
    return workspace, await threads.create("", workspace.id)


async def ask(it: Chatting, at: tuple[Workspace, Thread], message: str = "", *, key: str = "", **fields: Any) -> Asked:
    """The thread as the caller last saw it may be old."""
    question = Ask(workspace=at[0], thread=at[1], message=message, **fields)
    return await it.backend.ask(question, NewStream(idempotency_key=key, retry=True))


async def answered(it: Chatting, at: tuple[Workspace, Thread], message: str = "", **fields: Any) -> Message:
    """The answer, whole and kept."""
    asked = await ask(it, at, message, **fields)
    await asked.channel.wait_end()
    return await kept(it, asked)


async def kept(it: Chatting, asked: Asked) -> Message:
    messages = it.backend.conversations.messages
    message = await messages.by_stream(asked.channel.id)
    assert message is not None
    return await it.backend.settler.current(message) if message.status == "streaming" else message


async def path(it: Chatting, thread: Thread) -> list[Message]:
    return await it.backend.messages(await it.backend.conversations.threads.get("", thread.id))


async def has_begun(asked: Asked) -> None:
    await asked.channel.wait_head(10.0)


# ---------------------------------------------------------------------- killed in mid-answer


async def test_an_answer_of_a_dead_process_goes_on(tmp_path: Path) -> None:
    models = ChatModels({"m": Gated()}, resumes=True)
    async with chatting(models, data_dir=tmp_path, grace_s=0) as it:
        at = await place(it)
        await has_begun(await ask(it, at, "how much?"))
    gated = Gated()
    gated.gate.set()
    async with chatting(ChatModels({"m": gated}, resumes=True), data_dir=tmp_path) as it:
        [question, answer] = await path(it, at[1])
        await it.ended(answer.stream_id)
        [question, answer] = await path(it, at[1])
        assert (question.content, answer.status, answer.content) == ("how much?", "done", "half and half")
        assert answer.finish_reason == "stop"
        assert await it.backend.live(at[1]) == []
        assert gated.runs == 1
        assert await it.backend.conversations.messages.streaming() == []


async def test_an_answer_that_cannot_go_on_fails_and_keeps_what_was_seen(tmp_path: Path) -> None:
    async with chatting(ChatModels({"m": Gated()}), data_dir=tmp_path, grace_s=0) as it:
        at = await place(it)
        await has_begun(await ask(it, at, "how much?"))
    async with chatting(ChatModels({"m": Gated()}), data_dir=tmp_path) as it:
        await eventually_settled(it)
        [_, answer] = await path(it, at[1])
        assert (answer.status, answer.content) == ("failed", "half")
        assert answer.error is not None
        assert (answer.error.reason, answer.error.retryable) == ("interrupted", True)
        assert answer.usage is not None
        assert not it.models.asked


async def test_an_answer_that_had_not_begun_is_begun_again(tmp_path: Path) -> None:
    async with chatting(ChatModels({"m": Waiting()}), data_dir=tmp_path, grace_s=0) as it:
        at = await place(it)
        await ask(it, at, "how much?")
        await eventually(lambda: len(it.models.asked) == 1)
    waiting = Waiting()
    waiting.gate.set()
    async with chatting(ChatModels({"m": waiting}), data_dir=tmp_path) as it:
        await eventually_settled(it)
        [question, answer] = await path(it, at[1])
        assert (question.content, answer.status, answer.content) == ("how much?", "done", "at last")


async def test_a_turn_that_is_taken_up_has_the_prompt_that_it_had(tmp_path: Path) -> None:
    """Its passages are in the log: not looked up again, though the document has gone meanwhile."""
    async with chatting(ChatModels({"m": Gated()}, resumes=True), data_dir=tmp_path, grace_s=0) as it:
        document = await it.upload("ferry.txt", FERRY, workspace="handbook")
        at = await place(it)
        await has_begun(await ask(it, at, "when does the ferry leave?"))
        [before] = it.models.asked
        assert "nine in the morning" in str(before.messages)
        await it.backend.shelf.delete("", document.id)
    gated = Gated()
    gated.gate.set()
    async with chatting(ChatModels({"m": gated}, resumes=True), data_dir=tmp_path) as it:
        await eventually_settled(it)
        [again] = it.models.asked
        assert (again.messages, again.sources) == (before.messages, before.sources)
        assert (await path(it, at[1]))[-1].sources == before.sources


async def test_a_prompt_for_this_machine_is_not_taken_up_elsewhere(tmp_path: Path) -> None:
    """The route was local when the passages were put in, and is not any more."""
    async with chatting(ChatModels({"m": Gated()}, local=("m",), resumes=True), data_dir=tmp_path, grace_s=0) as it:
        await it.upload("vault.txt", SECRET, workspace="handbook", confidential=True)
        at = await place(it)
        await has_begun(await ask(it, at, "what is the vault's combination?"))
    gated = Gated()
    gated.gate.set()
    async with chatting(ChatModels({"m": gated}, resumes=True), data_dir=tmp_path) as it:
        await eventually_settled(it)
        answer = (await path(it, at[1]))[-1]
        assert (answer.status, answer.content, answer.confidential) == ("failed", "half", True)
        assert answer.error is not None
        assert "route has changed" in answer.error.message
        assert not it.models.asked


async def eventually_settled(it: Chatting) -> None:
    """Whatever an earlier process left has come to its end, without anybody reading it."""
    messages = it.backend.conversations.messages
    async with asyncio.timeout(10.0):
        while await messages.streaming():  # noqa: ASYNC110 - settled by a task that tells nobody
            await asyncio.sleep(0.01)


# ---------------------------------------------------------------------- ends other than the good one


async def test_a_cancelled_answer_keeps_its_text() -> None:
    async with chatting(ChatModels({"m": Gated()})) as it:
        at = await place(it)
        asked = await ask(it, at, "how much?")
        await has_begun(asked)
        [live] = await it.backend.live(at[1])
        assert (live.content, live.stream_id) == ("half", asked.channel.id)
        assert [(each.message.id, each.stream.status) for each in await it.backend.at_work("")] == [
            (live.id, "streaming")
        ]
        await it.backend.stop("", [asked.channel.id, "00000000-0000-7000-8000-000000000000"])
        answer = await kept(it, asked)
        assert (answer.status, answer.content, answer.finish_reason) == ("cancelled", "half", "cancelled")
        assert it.models.made[0].cancelled
        assert await it.backend.at_work("", thread_id=at[1].id) == []


async def test_a_provider_that_breaks_leaves_what_it_said() -> None:
    async with chatting(ChatModels({"m": breaks, "n": says})) as it:
        at = await place(it)
        answer = await answered(it, at, "how much?")
        assert (answer.status, answer.content) == ("failed", "half")
        assert answer.error is not None
        assert (answer.error.status, answer.error.provider) == (503, "scripted")
        await answered(it, at, "again", model="n")
        assert [message.content for message in await path(it, at[1])] == ["how much?", "half", "again", "answer again"]


@pytest.mark.parametrize("notices", ["reader", "hub", "both"])
async def test_an_end_is_kept_whoever_notices_it_first(notices: str) -> None:
    async with chatting(ChatModels({"m": says})) as it:
        at = await place(it)
        asked = await ask(it, at, "1")
        await asked.channel.wait_end()
        message = await it.backend.conversations.messages.by_stream(asked.channel.id)
        assert message is not None
        settler = it.backend.settler
        match notices:
            case "reader":
                answer = await settler.current(message)
            case "hub":
                await eventually_settled(it)
                # As a reader has it who looked before.
                answer = await settler.current(msgspec.structs.replace(message, status="streaming"))
            case _:
                first, answer = await asyncio.gather(settler.current(message), settler.current(message))
                assert first == answer
        assert (answer.status, answer.content) == ("done", "answer 1")
        assert await settler.settle(StreamId(asked.channel.id)) is None


# ---------------------------------------------------------------------- branches


async def test_regenerate_and_edit_make_siblings() -> None:
    async with chatting(ChatModels({"m": says})) as it:
        messages = it.backend.conversations.messages
        at = await place(it)
        first = await answered(it, at, "1")
        second = await answered(it, at, "2")
        again = await answered(it, at, regenerate=second.id)
        assert again.parent_id == second.parent_id
        assert (await messages.siblings("", again.id)).ids == [second.id, again.id]
        assert [message.id for message in await path(it, at[1])][-1] == again.id
        edited = await answered(it, at, "1b", edit=first.id)
        question = await messages.get("", edited.parent_id or "")
        assert question.parent_id is None
        assert (await messages.siblings("", question.id)).ids == [first.parent_id, question.id]
        assert [message.content for message in await path(it, at[1])] == ["1b", "answer 1b"]
        assert [str(message["content"]) for message in it.models.asked[-1].messages if message["role"] != "system"] == [
            "1b"
        ]
        assert (await messages.set_leaf("", at[1].id, first.id)).leaf_id == again.id
        assert [message.content for message in await path(it, at[1])] == ["1", "answer 1", "2", "answer 2"]


# ---------------------------------------------------------------------- asked once


async def test_twenty_at_once_with_one_key_are_one_answer() -> None:
    async with chatting(ChatModels({"m": says})) as it:
        at = await place(it)
        thread = at[1]
        first = await answered(it, at, "0")

        async def post() -> Any:
            body = {"content": "1", "stream": False}
            return await it.client.post(
                f"/v1/threads/{thread.id}/messages", json=body, headers={"Idempotency-Key": "one"}
            )

        responses = await asyncio.gather(*(post() for _ in range(20)))
        assert sorted(response.status_code for response in responses) == [200] * 19 + [201]
        assert len({response.json()["stream_id"] for response in responses}) == 1
        everything = await it.backend.conversations.messages.all("", thread.id)
        assert [message.content for message in everything[:3]] == ["0", "answer 0", "1"]
        assert len(everything) == 4
        assert everything[2].parent_id == first.id
        assert len(it.models.asked) == 2
        assert [message.id for message in await path(it, thread)][-1] == everything[3].id


async def test_twenty_at_once_in_the_library_are_one_answer_too() -> None:
    async with chatting(ChatModels({"m": says})) as it:
        at = await place(it)
        asked = await asyncio.gather(*(ask(it, at, "1", key="one") for _ in range(20)))
        assert [each.created for each in asked].count(True) == 1
        assert len(await it.backend.conversations.messages.all("", at[1].id)) == 2


async def test_a_refused_stream_takes_its_messages_back() -> None:
    busy = StreamSettings(heartbeat_s=30.0, grace_s=0.5, max_streams=1, max_queued=0)
    async with chatting(ChatModels({"m": Gated(), "n": says}), streams=busy) as it:
        at, other = await place(it), await place(it)
        running = await ask(it, other, "slow")
        await has_begun(running)
        with pytest.raises(QueueFull):
            await ask(it, at, "1", model="n")
        assert await it.backend.conversations.messages.all("", at[1].id) == []
        assert (await it.backend.conversations.threads.get("", at[1].id)).leaf_id is None
        await it.backend.stop("", [running.channel.id])
        answer = await answered(it, at, "1", model="n")
        assert answer.content == "answer 1"
        assert len(await path(it, at[1])) == 2


class _Hub:
    """The hub, but for what a test does before a stream is made."""

    def __init__(self, hub: Any, before: Any) -> None:
        self._hub = hub
        self._before = before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hub, name)

    async def create(self, *arguments: Any) -> Any:
        await self._before()
        return await self._hub.create(*arguments)


def hook(backend: Backend, before: Any) -> None:
    backend.asking._hub = _Hub(backend.hub, before)  # type: ignore[assignment]


async def test_what_is_asked_while_another_is_refused_stays() -> None:
    """The second question must not stand below an answer that is about to be taken back."""
    async with chatting(ChatModels({"m": says})) as it:
        at = await place(it)
        calls = 0
        has_rows, refuse = asyncio.Event(), asyncio.Event()

        async def before() -> None:
            nonlocal calls
            calls += 1
            if calls == 1:
                has_rows.set()
                await refuse.wait()
                raise Overloaded("no room")

        hook(it.backend, before)
        refused = asyncio.create_task(ask(it, at, "1"))
        await has_rows.wait()
        thread = await it.backend.conversations.threads.get("", at[1].id)
        assert thread.leaf_id is not None
        second = asyncio.create_task(ask(it, (at[0], thread), "2"))
        # It looks the model up before it has to wait.
        await asyncio.sleep(0)
        refuse.set()
        with pytest.raises(Overloaded):
            await refused
        await (await second).channel.wait_end()
        assert [message.content for message in await path(it, thread)] == ["2", "answer 2"]


async def test_a_conversation_that_is_deleted_while_it_is_asked_costs_no_answer() -> None:
    async with chatting(ChatModels({"m": Gated()})) as it:
        at = await place(it)

        async def before() -> None:
            streams = await it.backend.conversations.threads.delete("", at[1].id)
            await it.backend.stop("", streams)

        hook(it.backend, before)
        with pytest.raises(UnknownItem, match="deleted meanwhile"):
            await ask(it, at, "1")
        [stream] = await it.hub.list(owner="")
        assert stream.status == "cancelled"


# ---------------------------------------------------------------------- titles


async def test_a_title_of_words_is_there_at_once() -> None:
    async with chatting(ChatModels({"m": says})) as it:
        at = await place(it)
        await answered(it, at, "When does the ferry leave?")
        thread = await it.backend.conversations.threads.get("", at[1].id)
        assert (thread.title, thread.title_source) == ("When does the ferry leave?", "words")
        assert len(await it.hub.list(owner="")) == 1


async def test_a_models_title_is_a_stream_of_its_own() -> None:
    async def names(writer: Writer, request: ChatRequest) -> None:
        is_title = "title" in str(request.messages).lower()
        writer.write([Text("Ferry times" if is_title else "at nine"), Usage(1, 2), Done("stop")])

    settings = BackendSettings(chat=ChatSettings(titles="model"))
    async with chatting(ChatModels({"m": names}), settings=settings) as it:
        at = await place(it)
        asked = await ask(it, at, "When does the ferry leave?")
        await asked.channel.wait_end()
        threads = it.backend.conversations.threads
        async with asyncio.timeout(10.0):
            while (await threads.get("", at[1].id)).title_source != "model":  # noqa: ASYNC110 - named by a task
                await asyncio.sleep(0.01)
        assert (await threads.get("", at[1].id)).title == "Ferry times"
        assert text_of(await it.hub.read_all(asked.channel)) == "at nine"
        assert [message.content for message in await path(it, at[1])] == ["When does the ferry leave?", "at nine"]
        assert len(await it.hub.list(owner="")) == 2
        # A title that a person gives is not replaced.
        await threads.update("", at[1].id, title="Mine")
        await answered(it, at, regenerate=(await path(it, at[1]))[-1].id)
        assert (await threads.get("", at[1].id)).title == "Mine"


# ---------------------------------------------------------------------- what reaches the prompt


def said(request: ChatRequest) -> list[tuple[str, str]]:
    return [
        (str(message["role"]), str(message["content"])) for message in request.messages if message["role"] != "system"
    ]


async def test_the_newest_turns_that_fit_reach_the_prompt() -> None:
    async with chatting(ChatModels({"m": says})) as it:
        at = await place(it, history_turns=2)
        for number in "1234":
            await answered(it, at, number)
        assert said(it.models.asked[-1]) == [
            ("user", "2"), ("assistant", "answer 2"), ("user", "3"), ("assistant", "answer 3"), ("user", "4"),
        ]  # fmt: skip
        workspace = await it.backend.conversations.workspaces.update("", at[0].id, history_turns=0)
        await answered(it, (workspace, at[1]), "5")
        assert said(it.models.asked[-1]) == [("user", "5")]


async def test_a_workspace_may_want_more_passages_than_a_search_gives() -> None:
    async with chatting(ChatModels({"m": quotes})) as it:
        await it.upload("ferry.txt", FERRY, workspace="handbook")
        at = await place(it, passages=1000)
        assert (await answered(it, at, "when does the ferry leave?")).status == "done"


async def test_what_is_confidential_stays_on_this_machine() -> None:
    """Neither as a passage nor as what an earlier answer said of it."""
    async with chatting(ChatModels({"far": says, "near": says}, local=("near",))) as it:
        await it.upload("vault.txt", SECRET, workspace="handbook", confidential=True)
        await it.upload("ferry.txt", FERRY, workspace="handbook")
        at = await place(it)
        question = "what is the vault's combination of the ferry company?"
        near = await answered(it, at, question, model="near")
        assert "4711" in str(it.models.asked[-1].messages)
        assert near.confidential
        far = await answered(it, at, question, model="far")
        sent = it.models.asked[-1]
        assert "4711" not in str(sent.messages) + str(sent.sources)
        assert said(sent) == [("user", said(sent)[-1][1])]
        assert not far.confidential
        told = await it.hub.read_all(await it.hub.open(StreamId(far.stream_id), owner=""))
        assert "confidential left out" in str(told)
        # What stayed here comes back where it stays here.
        await answered(it, at, "and once more?", model="near")
        assert near.content in str(it.models.asked[-1].messages)


async def test_a_refused_query_is_kept_and_not_remembered() -> None:
    async with chatting(ChatModels({"m": says})) as it:
        at = await place(it, mode="query")
        refused = await answered(it, at, "what is the meaning of life?")
        assert (refused.status, refused.content, refused.included) == ("done", REFUSAL, False)
        assert refused.metadata["refused"] is True
        assert not it.models.asked
        await answered(it, at, "and now?", mode="chat")
        assert said(it.models.asked[-1]) == [("user", "and now?")]
        assert [message.content for message in await path(it, at[1])][:2] == ["what is the meaning of life?", REFUSAL]


async def test_sources_and_signals_are_kept() -> None:
    async with chatting(ChatModels({"m": quotes})) as it:
        document = await it.upload("ferry.txt", FERRY, workspace="handbook")
        at = await place(it)
        answer = await answered(it, at, "when does the ferry leave?")
        assert answer.sources
        assert answer.sources[0].title == "ferry.txt"
        assert (answer.sources[0].metadata or {})["document"] == document.id
        assert answer.metadata["hallucination"] == 0.0
        assert isinstance(answer.metadata["confidence"], float)
        assert answer.metadata["confidence_method"]
        assert answer.usage is not None
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (1, 2)
        assert "total_response" not in answer.metadata


async def test_signals_can_be_switched_off() -> None:
    settings = BackendSettings(chat=ChatSettings(titles="off", signals=False))
    async with chatting(ChatModels({"m": says}), settings=settings) as it:
        at = await place(it)
        answer = await answered(it, at, "1")
        assert answer.metadata["confidence_reason"] == "switched off"
        assert (await it.backend.conversations.threads.get("", at[1].id)).title == ""

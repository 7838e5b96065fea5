"""Reference 000: clients written like AnythingLLM's own pages and its documented calls, against the real server."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from headwater.chat.settings import REFUSAL
from headwater.errors import ProviderRejected, ProviderUnreachable
from headwater.events import Done, Reasoning, Text, Usage
from headwater.identity import IdentitySettings
from headwater.request import ChatRequest
from headwater.sse import Message, Parser
from headwater.streams import Writer

from .chat_kit import ChatModels, Chatting, chatting

NODE = Path(__file__).parent.parent / "node"
WORDS = [f"word{number} " for number in range(60)]
ANSWER = "".join(WORDS)


class Gate:
    """A model that stops after `before` words until the test lets it go on."""

    def __init__(self, before: int = 20) -> None:
        self.before = before
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def __call__(self, writer: Writer, request: ChatRequest) -> None:
        for at, word in enumerate(WORDS):
            if at == self.before:
                self.reached.set()
                await self.opened.wait()
            writer.write([Text(word)])
        writer.write([Usage(7, len(WORDS)), Done("stop")])


async def steady(writer: Writer, request: ChatRequest) -> None:
    for word in WORDS:
        writer.write([Text(word)])
        await writer.drain()
    writer.write([Usage(7, len(WORDS)), Done("stop")])


class Page:
    """What a page of AnythingLLM has of a chat: it reads frames as they come, and tells by `type` what they mean."""

    def __init__(self) -> None:
        self.content = ""
        self.sources: list[dict[str, Any]] = []
        self.statuses: list[str] = []
        self.chat_id: int | None = None
        self.metrics: dict[str, Any] = {}
        self.error: str | None = None
        self.loading = True
        self.last_event_id: str | None = None
        self.stream_id = ""
        self._parser = Parser()

    async def send(self, client: httpx.AsyncClient, path: str, *, leave_after: int | None = None, **body: Any) -> None:
        """`leave_after`: bytes of the response, then the tab is closed."""
        async with client.stream("POST", path, json={"attachments": [], **body}) as response:
            assert response.status_code == 200, await response.aread()
            assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
            self.stream_id = response.headers.get("x-stream-id", "")
            await self._read(response.aiter_bytes(1), leave_after)

    async def join(self, client: httpx.AsyncClient, stream: str, last_event_id: str | None = None) -> None:
        headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
        place = f"/v1/streams/{stream}/events"
        async with client.stream("GET", place, params={"dialect": "workspace"}, headers=headers) as response:
            assert response.status_code == 200
            await self._read(response.aiter_bytes(), None)

    async def _read(self, chunks: AsyncIterator[bytes], leave_after: int | None) -> None:
        read = 0
        async for chunk in chunks:
            for message in self._parser.feed(chunk):
                self._handle(message)
            read += len(chunk)
            if leave_after is not None and read >= leave_after:
                return

    def _handle(self, message: Message) -> None:
        told = json.loads(message.data)
        assert told.get("uuid") or told.get("id")
        if message.id:
            self.last_event_id = message.id
        match told["type"]:
            case "abort":
                self.error, self.loading = told["error"], False
            case "statusResponse":
                self.statuses.append(told["textResponse"])
            case "textResponse":
                self.content, self.loading = told["textResponse"], False
            case "textResponseChunk":
                self.content += told["textResponse"]
                self.sources = told["sources"] or self.sources
            case "finalizeResponseStream":
                self.chat_id, self.metrics, self.loading = told["chatId"], told["metrics"], False
            case other:
                pytest.fail(f"no page knows {other}")


async def history(it: Chatting, path: str = "/workspace/default/chats") -> list[dict[str, Any]]:
    response = await it.client.get(path)
    assert response.status_code == 200, response.text
    return list(response.json()["history"])


# ---------------------------------------------------------------------- the page, and a reload in mid-answer


async def test_a_page_gets_the_answer_and_its_history() -> None:
    async with chatting(ChatModels({"m": steady})) as it:
        page = Page()
        await page.send(it.client, "/workspace/default/stream-chat", message="Tell me.")
        assert (page.content, page.loading, page.error) == (ANSWER, False, None)
        assert page.statuses[0] == "Searching documents..." and page.statuses[-1] == "Generating response..."
        assert page.metrics["total_tokens"] == 67 and page.metrics["model"] == "m"
        asked, answered = await history(it)
        assert (asked["role"], asked["content"], asked["chatId"]) == ("user", "Tell me.", page.chat_id)
        assert (answered["role"], answered["content"], answered["chatId"]) == ("assistant", ANSWER, page.chat_id)
        assert answered["status"] == "done" and answered["streamId"] == page.stream_id
        assert answered["metrics"]["completion_tokens"] == 60


@pytest.mark.parametrize("prefix", ["", "/api"])
async def test_a_reload_in_mid_answer_gets_exactly_the_rest(prefix: str) -> None:
    gate = Gate()
    async with chatting(ChatModels({"m": gate})) as it:
        page, reloaded = Page(), Page()
        sending = asyncio.create_task(page.send(it.client, f"{prefix}/workspace/default/stream-chat", message="Tell."))
        await gate.reached.wait()
        while len(page.content) < len("".join(WORDS[:20])):  # noqa: ASYNC110 - the reader has no event of its own
            await asyncio.sleep(0)
        sending.cancel()
        await asyncio.wait((sending,))
        assert page.content == "".join(WORDS[:20]) and page.loading
        # What the page finds after the reload, before it joins.
        *_, half = await history(it, f"{prefix}/workspace/default/chats")
        assert (half["status"], half["content"], half["streamId"]) == ("streaming", page.content, page.stream_id)
        joining = asyncio.create_task(reloaded.join(it.client, half["streamId"], page.last_event_id))
        gate.opened.set()
        await joining
        assert page.content + reloaded.content == ANSWER
        assert not reloaded.loading and reloaded.error is None
        *_, whole = await history(it)
        assert (whole["content"], whole["status"], whole["chatId"]) == (ANSWER, "done", reloaded.chat_id)


@pytest.mark.parametrize("seed", range(6))
async def test_a_cut_at_any_byte_loses_and_repeats_nothing(seed: int) -> None:
    rng = random.Random(seed)
    async with chatting(ChatModels({"m": steady})) as it:
        page, reloaded = Page(), Page()
        await page.send(
            it.client, "/workspace/default/stream-chat", leave_after=rng.randrange(1, 9000), message="Tell me."
        )
        await reloaded.join(it.client, page.stream_id, page.last_event_id)
        assert page.content + reloaded.content == ANSWER
        assert not reloaded.loading
        assert (await history(it))[-1]["content"] == ANSWER


async def test_a_page_that_kept_nothing_joins_from_the_start() -> None:
    gate = Gate()
    async with chatting(ChatModels({"m": gate})) as it:
        page, reloaded = Page(), Page()
        await page.send(it.client, "/workspace/default/stream-chat", leave_after=1, message="Tell me.")
        await gate.reached.wait()
        *_, half = await history(it)
        gate.opened.set()
        await reloaded.join(it.client, half["streamId"])
        assert reloaded.content == ANSWER


@pytest.mark.node
async def test_a_page_in_javascript_is_reloaded_in_mid_answer() -> None:
    async with chatting(ChatModels({"m": steady})) as it:
        running = await asyncio.create_subprocess_exec(
            "node", "workspace.mjs", it.url, "7", cwd=NODE, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await running.communicate()
        told = json.loads(output)
        assert told["before"] and told["before"] + told["after"] == ANSWER
        assert told["types"][-1] == "finalizeResponseStream"
        assert (await history(it))[-1]["chatId"] == told["final"]["chatId"]


# ---------------------------------------------------------------------- the developer API


async def curl(*arguments: str) -> str:
    running = await asyncio.create_subprocess_exec(
        "curl", "--silent", "--no-buffer", *arguments, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await running.communicate()
    return output.decode()


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
async def test_curl_as_the_developer_api_documents_it() -> None:
    async with chatting(ChatModels({"m": steady})) as it:
        as_json = ("-H", "Content-Type: application/json")
        made = await curl("-X", "POST", f"{it.url}/api/v1/workspace/new", *as_json, "-d", '{"name": "My Workspace"}')
        assert json.loads(made)["workspace"]["slug"] == "my-workspace"
        body = json.dumps({"message": "Tell me.", "mode": "chat", "sessionId": "s1", "reset": False})
        place = f"{it.url}/api/v1/workspace/my-workspace/stream-chat"
        frames = [json.loads(line[5:]) for line in (await curl("-X", "POST", place, *as_json, "-d", body)).split("\n")
                  if line.startswith("data:")]  # fmt: skip
        assert "".join(each["textResponse"] for each in frames if each["type"] == "textResponseChunk") == ANSWER
        assert frames[-1]["type"] == "finalizeResponseStream"
        whole = json.loads(
            await curl("-X", "POST", f"{it.url}/api/v1/workspace/my-workspace/chat", *as_json, "-d", body)
        )
        assert (whole["type"], whole["textResponse"], whole["close"], whole["error"]) == (
            "textResponse", ANSWER, True, None,
        )  # fmt: skip
        told = json.loads(await curl(f"{it.url}/api/v1/workspace/my-workspace/chats?apiSessionId=s1&orderBy=desc"))
        assert [each["chatId"] for each in told["history"]] == [whole["chatId"]] * 2 + [frames[-1]["chatId"]] * 2


async def test_sessions_threads_and_the_default_thread_are_apart() -> None:
    async with chatting(ChatModels({"m": steady})) as it:
        base = "/api/v1/workspace/default"
        made = (await it.client.post(f"{base}/thread/new", json={"name": "Mine", "slug": "mine", "userId": 5})).json()
        assert made["thread"] | {"createdAt": "", "lastUpdatedAt": ""} == {
            "id": made["thread"]["id"], "name": "Mine", "slug": "mine", "user_id": 5, "workspace_id": 1,
            "createdAt": "", "lastUpdatedAt": "",
        }  # fmt: skip
        for place, body in (
            ("chat", {"message": "default"}),
            ("chat", {"message": "session", "sessionId": "a"}),
            ("chat", {"message": "other", "sessionId": 7}),
            ("thread/mine/chat", {"message": "thread"}),
        ):
            assert (await it.client.post(f"{base}/{place}", json=body)).status_code == 200
        for place, asked in (
            ("chats", "default"),
            ("chats?apiSessionId=a", "session"),
            ("chats?apiSessionId=7", "other"),
            ("thread/mine/chats", "thread"),
        ):
            told = await history(it, f"{base}/{place}")
            assert [each["content"] for each in told] == [asked, ANSWER]
        assert await history(it, f"{base}/chats?apiSessionId=nobody") == []
        listed = (await it.client.get("/workspace/default/threads")).json()
        assert [each["slug"] for each in listed["threads"]] == ["mine"] and listed["defaultThreadChatCount"] == 1


async def test_history_is_as_long_as_the_workspace_says() -> None:
    models = ChatModels({"m": steady})
    async with chatting(models) as it:
        await it.client.post("/api/v1/workspace/new", json={"name": "Short", "openAiHistory": 1})
        for number in range(3):
            await it.client.post("/api/v1/workspace/short/chat", json={"message": f"question {number}"})
        asked = [message["content"] for message in models.asked[-1].messages if message["role"] == "user"]
        assert asked == ["question 1", "question 2"]


async def test_reset_begins_a_conversation_anew() -> None:
    models = ChatModels({"m": steady})
    async with chatting(models) as it:
        place = "/api/v1/workspace/default/stream-chat"
        await Page().send(it.client, place, message="first")
        page = Page()
        await page.send(it.client, place, message="second", reset=True)
        assert page.content == ANSWER
        assert [message["content"] for message in models.asked[-1].messages if message["role"] == "user"] == ["second"]
        assert [each["content"] for each in await history(it)] == ["second", ANSWER]
        page = Page()
        await page.send(it.client, place, message="", reset=True)
        assert (page.content, page.loading) == ("Chat history was reset!", False)
        assert await history(it) == []
        await Page().send(it.client, place, message="third")
        page = Page()
        await page.send(it.client, "/workspace/default/stream-chat", message="/reset")
        assert page.content == "Chat memory was reset!" and await history(it) == []


async def test_a_retry_of_a_reset_forgets_nothing() -> None:
    models = ChatModels({"m": steady})
    async with chatting(models) as it:
        call = {"json": {"message": "again", "reset": True}, "headers": {"Idempotency-Key": "k1"}}
        first = await it.client.post("/api/v1/workspace/default/chat", **call)  # type: ignore[arg-type]
        second = await it.client.post("/api/v1/workspace/default/chat", **call)  # type: ignore[arg-type]
        assert first.json() == second.json()
        assert len(models.asked) == 1 and len(await history(it)) == 2


async def test_reset_cancels_what_is_still_answered() -> None:
    gate = Gate()
    models = ChatModels({"m": gate})
    async with chatting(models) as it:
        page = Page()
        await page.send(it.client, "/workspace/default/stream-chat", leave_after=1, message="Tell me.")
        await gate.reached.wait()
        answer = await it.client.post("/api/v1/workspace/default/chat", json={"reset": True})
        assert answer.json()["textResponse"] == "Chat history was reset!"
        assert models.made[0].cancelled


# ---------------------------------------------------------------------- what goes wrong


async def failing(writer: Writer, request: ChatRequest) -> None:
    writer.write([Text("the first "), Text("words")])
    await writer.drain()
    raise ProviderRejected("you exceeded your current quota", status=429, provider="scripted")


async def refusing(writer: Writer, request: ChatRequest) -> None:
    raise ProviderRejected("you exceeded your current quota", status=429, provider="scripted")


async def test_a_provider_that_fails_in_the_middle_is_an_abort_and_the_part_is_kept() -> None:
    async with chatting(ChatModels({"m": failing})) as it:
        page = Page()
        await page.send(it.client, "/workspace/default/stream-chat", message="Tell me.")
        assert page.content == "the first words" and not page.loading
        assert page.error is not None and "quota" in page.error
        answered = (await history(it))[-1]
        assert (answered["content"], answered["status"]) == ("the first words", "failed")
        assert "quota" in answered["error"]
        whole = await it.client.post("/api/v1/workspace/default/chat", json={"message": "Tell me."})
        assert whole.status_code == 429 and whole.json()["type"] == "abort" and "quota" in whole.json()["error"]


async def test_a_provider_that_fails_at_once_is_an_abort_with_status_200() -> None:
    async with chatting(ChatModels({"m": refusing})) as it:
        page = Page()
        await page.send(it.client, "/workspace/default/stream-chat", message="Tell me.")
        assert page.content == "" and page.error is not None and "quota" in page.error


class Unreachable(ChatModels):
    async def resolve(self, model: str | None) -> Any:
        raise ProviderUnreachable("the provider cannot be reached", provider="scripted")


async def test_a_provider_that_cannot_be_asked_is_an_abort_frame() -> None:
    async with chatting(Unreachable({"m": steady})) as it:
        page = Page()
        await page.send(it.client, "/workspace/default/stream-chat", message="Tell me.")
        assert page.error == "the provider cannot be reached" and not page.loading
        assert await history(it) == []
        whole = await it.client.post("/api/v1/workspace/default/chat", json={"message": "Tell me."})
        assert whole.status_code == 502 and whole.json()["error"] == "the provider cannot be reached"


async def test_a_cancelled_answer_is_finalised_and_kept() -> None:
    gate = Gate()
    async with chatting(ChatModels({"m": gate})) as it:
        page = Page()
        sending = asyncio.create_task(page.send(it.client, "/workspace/default/stream-chat", message="Tell me."))
        await gate.reached.wait()
        while not page.stream_id:  # noqa: ASYNC110 - the reader has no event of its own
            await asyncio.sleep(0)
        await it.client.post(f"/v1/streams/{page.stream_id}/cancel")
        await sending
        assert page.content == "".join(WORDS[:20]) and not page.loading and page.error is None
        answered = (await history(it))[-1]
        assert (answered["status"], answered["content"]) == ("cancelled", page.content)


# ---------------------------------------------------------------------- who asks


ADMIN = {"Authorization": "Bearer an-admin-key-of-the-settings"}


async def key(it: Chatting, **order: Any) -> dict[str, str]:
    made = await it.client.post("/v1/keys", json=order, headers=ADMIN)
    assert made.status_code == 201, made.text
    return {"Authorization": f"Bearer {made.json()['key']}"}


async def test_keys_tell_who_asks_and_what_may_be_done() -> None:
    identity = IdentitySettings(admin_keys=(ADMIN["Authorization"].removeprefix("Bearer "),))
    async with chatting(ChatModels({"m": steady}), identity=identity) as it:
        assert (await it.client.get("/api/v1/auth")).status_code == 401
        ann, reader = await key(it, user="ann"), await key(it, user="ann", scopes=["read"])
        asker, bob = await key(it, user="ann", scopes=["chat"]), await key(it, user="bob")
        assert (await it.client.get("/api/v1/auth", headers=ann)).json() == {"authenticated": True}
        ask = {"message": "Tell me."}
        await it.client.post("/workspace/new", json={"name": "Ann's"}, headers=ann)
        assert (await it.client.post("/api/v1/workspace/ann-s/chat", json=ask, headers=asker)).status_code == 200
        read = await it.client.get("/api/v1/workspace/ann-s/chats", headers=reader)
        assert len(read.json()["history"]) == 2
        assert (await it.client.post("/api/v1/workspace/ann-s/chat", json=ask, headers=reader)).status_code == 403
        for call in (it.client.post("/api/v1/workspace/ann-s/chat", json=ask, headers=bob),
                     it.client.get("/api/v1/workspace/ann-s/chats", headers=bob)):  # fmt: skip
            assert (await call).status_code == 404
        files = {"file": ("a.txt", b"text")}
        refused = await it.client.post("/api/v1/document/upload", files=files, headers=asker)
        assert (refused.status_code, refused.json()["success"]) == (403, False)
        refused = await it.client.delete("/workspace/ann-s", headers=asker)
        assert (refused.status_code, set(refused.json())) == (403, {"message", "error"})


async def test_a_spent_quota_is_an_abort_frame() -> None:
    identity = IdentitySettings(admin_keys=(ADMIN["Authorization"].removeprefix("Bearer "),))
    async with chatting(ChatModels({"m": steady}), identity=identity) as it:
        limited = await key(it, user="ann", requests_per_minute=1)
        async with httpx.AsyncClient(base_url=it.url, headers=limited) as client:
            page = Page()
            await page.send(client, "/workspace/default/stream-chat", message="Tell me.")
            assert page.content == ANSWER
            page = Page()
            await page.send(client, "/workspace/default/stream-chat", message="And then?")
            assert page.error and not page.loading and page.content == ""
            whole = await client.post("/api/v1/workspace/default/chat", json={"message": "And then?"})
            assert whole.status_code == 429 and whole.json()["error"] == page.error
            assert int(whole.headers["retry-after"]) > 0
            told = (await client.get("/workspace/default/chats")).json()["history"]
            assert [each["content"] for each in told] == ["Tell me.", ANSWER]


# ---------------------------------------------------------------------- documents


FERRY = "The ferry to the island leaves at noon.\n\nIt returns at six in the evening.\n"


async def upload(it: Chatting, **fields: str) -> dict[str, Any]:
    response = await it.client.post(
        "/api/v1/document/upload", files={"file": ("ferry.txt", FERRY.encode(), "text/plain")}, data=fields
    )
    assert response.status_code == 200, response.text
    told = response.json()
    assert (told["success"], told["error"]) == (True, None)
    [document] = told["documents"]
    return dict(document)


async def test_an_answer_cites_the_documents_in_its_closing_chunk() -> None:
    async with chatting(ChatModels({"m": steady})) as it:
        document = await upload(it, metadata='{"title": "Timetable", "docAuthor": "Harbour"}')
        assert (document["title"], document["docAuthor"], document["wordCount"]) == ("Timetable", "Harbour", 15)
        page = Page()
        await page.send(it.client, "/workspace/default/stream-chat", message="When does the ferry leave?")
        assert page.content == ANSWER
        assert page.sources and "ferry" in page.sources[0]["text"]
        assert (await history(it))[-1]["sources"] == page.sources
        whole = await it.client.post("/api/v1/workspace/default/chat", json={"message": "When does the ferry leave?"})
        assert whole.json()["sources"][0]["text"] == page.sources[0]["text"]


async def test_query_mode_refuses_without_documents_and_asks_no_model() -> None:
    models = ChatModels({"m": steady})
    async with chatting(models) as it:
        page = Page()
        await page.send(
            it.client, "/api/v1/workspace/default/stream-chat", message="When does the ferry leave?", mode="query"
        )
        assert (page.content, page.loading, page.sources) == (REFUSAL, False, [])
        assert models.asked == []
        await page.send(it.client, "/workspace/default/stream-chat", message="And then?")
        assert [each["content"] for each in models.asked[0].messages if each["role"] == "user"] == ["And then?"]
        refused = (await history(it))[1]
        assert (refused["content"], refused["type"]) == (REFUSAL, "query")


async def test_thoughts_are_part_of_the_text_in_stream_and_history() -> None:
    async def thinking(writer: Writer, request: ChatRequest) -> None:
        writer.write([Reasoning("first "), Reasoning("this"), Text("so "), Text("that")])
        writer.write([Usage(1, 4), Done("stop")])

    async with chatting(ChatModels({"m": thinking})) as it:
        page = Page()
        await page.send(it.client, "/workspace/default/stream-chat", message="Think.")
        assert page.content == "<think>first this</think>so that"
        assert (await history(it))[-1]["content"] == page.content
        whole = await it.client.post("/api/v1/workspace/default/chat", json={"message": "Think."})
        assert whole.json()["textResponse"] == page.content


async def test_a_location_goes_to_other_workspaces_and_back() -> None:
    async with chatting(ChatModels({"m": steady})) as it:
        document = await upload(it)
        location = document["location"]
        assert location == f"custom-documents/ferry.txt-{document['id']}.json"
        for name in ("One", "Two"):
            await it.client.post("/workspace/new", json={"name": name})
            base = f"/api/v1/workspace/{name.lower()}"
            added = (await it.client.post(f"{base}/update-embeddings", json={"adds": [location, location]})).json()
            assert added["message"] is None
            assert [each["docpath"] for each in added["workspace"]["documents"]] == [location]
            found = (await it.client.post(f"{base}/vector-search", json={"query": "ferry island"})).json()
            assert "ferry" in found["results"][0]["text"] and found["results"][0]["score"] > 0
        pin = {"docPath": location, "pinStatus": True}
        pinned = await it.client.post("/api/v1/workspace/one/update-pin", json=pin)
        assert pinned.json() == {"message": "Pin status updated successfully"}
        [folder] = (await it.client.get("/api/v1/documents")).json()["localFiles"]["items"]
        [listed] = folder["items"]
        assert (listed["location"], listed["pinnedWorkspaces"], listed["cached"]) == (location, [2], True)
        # The first one goes; a copy still has what it was.
        gone = await it.client.post("/workspace/default/update-embeddings", json={"deletes": [location]})
        assert gone.json()["workspace"]["documents"] == []
        again = await it.client.post("/workspace/default/update-embeddings", json={"adds": [location]})
        assert [each["docpath"] for each in again.json()["workspace"]["documents"]] == [location]
        one = await it.client.get(f"/api/v1/document/{document['name']}")
        assert one.json()["document"]["location"] == location
        unknown = await it.client.post("/workspace/one/update-embeddings", json={"adds": ["custom-documents/no.json"]})
        assert unknown.json()["message"].startswith("1 documents failed to add.")

"""The routes of reference 003: sessions, messages and documents, and what is refused with which words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from headwater.chat.backend import BackendSettings
from headwater.chat.settings import ChatSettings
from headwater.documents.ingest import IngestSettings
from headwater.errors import Interrupted, QueueFull
from headwater.events import Done, Error, Event, Metadata, Source, Sources, Start, Status, StreamId, Text, Usage
from headwater.identity import IdentitySettings
from headwater.request import ChatRequest
from headwater.server import ServerSettings, routes_typed_documents
from headwater.server.typed_shapes import processing_card, told_document
from headwater.streams import StreamSettings, Writer
from tests.integration.chat_kit import ChatModels, Chatting, chatting

FERRY = b"The ferry to the island leaves at nine in the morning. " * 40
SMALL = BackendSettings(
    chat=ChatSettings(titles="words", max_message_characters=100), ingest=IngestSettings(max_document_bytes=5000)
)


async def answers(writer: Writer, request: ChatRequest) -> None:
    writer.write([Sources([Source("text", id="1", title="t")]), Text("Hello"), Usage(1, 1), Done("stop")])
    await asyncio.sleep(0)


async def endless(writer: Writer, request: ChatRequest) -> None:
    writer.write([Text("begun")])
    await asyncio.Event().wait()


@pytest.fixture
async def it() -> AsyncIterator[Chatting]:
    async with chatting(ChatModels({"m": answers, "endless": endless}), settings=SMALL) as running:
        yield running


async def ask(it: Chatting, session: int = 1, **body: Any) -> httpx.Response:
    return await it.client.post(f"/chat/{session}/stream", json={"question": "Hi", **body})


async def begin(it: Chatting, session: int = 1) -> str:
    """An answer that is being made; its stream."""
    async with it.client.stream(
        "POST", f"/chat/{session}/stream", json={"question": "Hi", "model": "endless"}
    ) as response:
        async for piece in response.aiter_text():
            if "begun" in piece:
                break
        return response.headers["x-stream-id"]


async def upload(it: Chatting, name: str = "ferry.txt", content: bytes = FERRY, **fields: str) -> httpx.Response:
    return await it.client.post("/docs/upload_file", files={"file": (name, content)}, data=fields)


# ---------------------------------------------------------------------- sessions


@pytest.mark.parametrize("root", ["", "/api"])
async def test_a_session_is_made_looked_at_changed_and_deleted(it: Chatting, root: str) -> None:
    place = f"{root}/chat/chat_sessions"
    made = await it.client.post(place, json={"title": "Ferries", "model": "m"})
    assert (made.status_code, made.headers["location"]) == (201, "/chat/chat_sessions/1")
    session = made.json()
    assert (session["id"], session["title"], session["model"], session["message_count"]) == (1, "Ferries", "m", 0)
    assert session["created_at"].endswith("Z")
    assert (await it.client.get(f"{place}/1")).json() == session
    changed = (await it.client.patch(f"{place}/1", json={"title": "Boats"})).json()
    assert (changed["title"], changed["model"]) == ("Boats", "m")
    assert (await it.client.patch(f"{place}/1", json={})).json()["title"] == "Boats"
    assert (await it.client.patch(f"{place}/1")).status_code == 400
    assert (await it.client.delete(f"{place}/1")).status_code == 204
    for response in (await it.client.get(f"{place}/1"), await it.client.delete(f"{place}/1")):
        assert (response.status_code, response.json()) == (404, {"detail": "no such session"})


async def test_a_session_without_a_body_is_named_by_its_first_question(it: Chatting) -> None:
    assert (await it.client.post("/chat/chat_sessions")).json()["title"] == ""
    response = await ask(it, 1, question="When does the ferry leave?")
    await it.ended(response.headers["x-stream-id"])
    # The name follows the answer; whoever reads the messages first may not be who gives it.
    async with asyncio.timeout(20):
        while not (session := (await it.client.get("/chat/chat_sessions/1")).json())["title"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert session["message_count"] == 2


async def test_sessions_come_in_pages_the_last_active_first(it: Chatting) -> None:
    for _ in range(3):
        await it.client.post("/chat/chat_sessions")
    await ask(it, 1)
    listed, pages, before = [], 0, ""
    while True:
        page = (await it.client.get(f"/chat/chat_sessions?limit=2{before}")).json()
        listed += [session["id"] for session in page["items"]]
        pages, before = pages + 1, f"&before={listed[-1]}"
        if not page["has_more"]:
            break
    assert (listed, pages) == ([1, 3, 2], 2)
    assert (await it.client.get("/chat/chat_sessions?before=99")).status_code == 404


async def test_deleting_a_session_cancels_what_runs_in_it(it: Chatting) -> None:
    stream = await begin(it)
    await upload(it, session_id="1")
    assert (await it.client.delete("/chat/chat_sessions/1")).status_code == 204
    assert (await it.hub.info(StreamId(stream), owner="")).status == "cancelled"
    assert it.models.made[-1].cancelled
    assert (await it.client.get("/docs/list_documents")).json()["items"] == []
    # A stream that is gone itself is no reason to fail.
    await it.backend.stop("", ["00000000-0000-7000-8000-000000000000"])


# ---------------------------------------------------------------------- answers and messages


async def test_messages_come_in_pages_oldest_first(it: Chatting) -> None:
    for number in range(3):
        await it.ended((await ask(it, question=f"q{number}")).headers["x-stream-id"])
    page = (await it.client.get("/chat/1/messages?limit=4")).json()
    assert ([message["id"] for message in page["items"]], page["has_more"]) == ([3, 4, 5, 6], True)
    page = (await it.client.get("/chat/1/messages?limit=4&before=3")).json()
    assert ([message["id"] for message in page["items"]], page["has_more"]) == ([1, 2], False)
    assert (await it.client.get("/chat/1/messages?before=1")).json() == {"items": [], "has_more": False}
    answer = page["items"][1]
    assert answer["sources"] == [{"text": "text", "score": None, "metadata": {"id": "1", "title": "t"}}]
    assert (answer["model"], answer["status"], answer["stream_id"]) == ("m", "done", None)
    await ask(it, 2)
    for path in ("/chat/2/messages?before=3", "/chat/1/messages?before=99"):
        assert (await it.client.get(path)).status_code == 404


async def test_an_answer_on_its_way_tells_its_stream(it: Chatting) -> None:
    stream = await begin(it)
    [_, answer] = (await it.client.get("/chat/1/messages")).json()["items"]
    assert (answer["stream_id"], answer["status"], answer["content"]) == (stream, "streaming", "begun")
    await it.client.post(f"/v1/streams/{stream}/cancel")
    [_, answer] = (await it.client.get("/chat/1/messages")).json()["items"]
    assert (answer["stream_id"], answer["status"], answer["content"]) == (None, "cancelled", "begun")


async def test_a_number_may_be_a_thread_of_another_workspace(it: Chatting) -> None:
    elsewhere = await it.backend.conversations.workspaces.create("", name="elsewhere", system_prompt="Elsewhere.")
    thread = await it.backend.conversations.threads.create("", elsewhere.id)
    assert (await ask(it, thread.number)).status_code == 200
    assert it.models.asked[-1].messages[0]["content"] == "Elsewhere."


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/chat/1/stream", b"", 400, "not a JSON object"),
        ("/chat/1/stream", b"{}", 400, "question"),
        ("/chat/1/stream", b'{"question": " "}', 400, "the question is empty"),
        ("/chat/1/stream", b'{"question": "x", "search_mode": "none"}', 400, "search_mode"),
        ("/chat/1/stream", b'{"question": "x", "selected_document_ids": "1"}', 400, "selected_document_ids"),
        ("/chat/1/stream", b'{"question": "%s"}' % (b"x" * 101), 400, "longer than 100"),
        ("/chat/1/stream", b'{"question": "x", "model": "nobody"}', 404, "there is no model 'nobody'"),
        ("/chat/1/stream", b'{"question": "x", "selected_document_ids": [7]}', 404, "no such document"),
        ("/chat/0/stream", b'{"question": "x"}', 400, "session_id"),
        ("/chat/x/stream", b'{"question": "x"}', 400, "session_id"),
        ("/chat/9007199254740991/stream", b'{"question": "x"}', 404, "no such thread"),
        ("/chat/chat_sessions", b'{"title": 1}', 400, "title"),
        ("/chat/chat_sessions", b'{"title": "%s"}' % (b"x" * 501), 400, "title"),
    ],
)
async def test_what_is_wrong_is_told_as_fastapi_does(
    it: Chatting, path: str, body: bytes, status: int, words: str
) -> None:
    for root in ("", "/api"):
        response = await it.client.post(root + path, content=body)
        assert response.status_code == status
        [(name, text)] = response.json().items()
        assert name == "detail"
        assert words in text
    assert it.models.asked == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("?question=", 400),
        ("?question=x&search_mode=none", 400),
        ("?question=x&model=nobody", 404),
        ("?question=x&selected_document_ids=7", 404),
        ("?question=x&selected_document_ids=" + ",".join(["1"] * 101), 400),
    ],
)
async def test_the_query_is_checked_as_well(it: Chatting, query: str, status: int) -> None:
    response = await it.client.get(f"/api/chat/1/stream{query}")
    assert (response.status_code, list(response.json())) == (status, ["detail"])


async def test_an_eventsource_gets_its_rest_though_a_document_has_gone(it: Chatting) -> None:
    first, second = [(await upload(it, f"{name}.txt")).json()["id"] for name in "ab"]
    url = f"/api/chat/1/stream?question=ferry&selected_document_ids={first},%20{second},&search_mode=selected_only"
    whole = await it.client.get(url)
    assert '"type":"sources"' in whole.text
    await it.client.delete(f"/docs/{second}")
    rest = await it.client.get(url, headers={"last-event-id": "1.0"})
    assert whole.text.endswith(rest.text)
    assert rest.headers["x-stream-id"] == whole.headers["x-stream-id"]
    assert (await it.client.get(url)).status_code == 404


async def test_a_link_of_another_site_asks_nothing(it: Chatting) -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    response = await it.client.get("/api/chat/1/stream?question=x", headers=headers)
    assert (response.status_code, it.models.asked) == (403, [])


# ---------------------------------------------------------------------- documents


@pytest.mark.parametrize("root", ["", "/api"])
async def test_a_document_is_uploaded_listed_previewed_and_deleted(it: Chatting, root: str) -> None:
    document = (await upload(it, confidential="True")).json()
    told = {name: document[name] for name in ("id", "filename", "status", "confidential", "session_id", "size_bytes")}
    assert told == {
        "id": 1,
        "filename": "ferry.txt",
        "status": "completed",
        "confidential": True,
        "session_id": None,
        "size_bytes": len(FERRY),
    }
    assert document["chunks"] >= 1
    assert (await it.client.get(f"{root}/docs/list_documents")).json() == {"items": [document], "has_more": False}
    statistics = (await it.client.get(f"{root}/docs/stats")).json()
    assert (statistics["documents"], statistics["completed"], statistics["size_bytes"]) == (1, 1, len(FERRY))
    preview = (await it.client.get(f"{root}/docs/1/preview?start=4&end=9")).json()
    assert (preview["text"], preview["start"], preview["end"], preview["has_more"]) == ("ferry", 4, 9, True)
    whole = (await it.client.get(f"{root}/docs/1/preview")).json()
    assert (whole["end"], whole["has_more"]) == (len(FERRY.strip()), False)
    assert (await it.client.delete(f"{root}/docs/1")).status_code == 204
    for response in (await it.client.delete(f"{root}/docs/1"), await it.client.get(f"{root}/docs/1/preview")):
        assert (response.status_code, response.json()) == (404, {"detail": "no such document"})


async def test_a_document_of_a_session_is_its_own(it: Chatting) -> None:
    shared = (await upload(it, "shared.txt")).json()
    own = (await upload(it, "own.txt", session_id="7")).json()
    assert (shared["session_id"], own["session_id"]) == (None, 7)
    listed = (await it.client.get("/docs/list_documents")).json()["items"]
    assert [document["session_id"] for document in listed] == [7, None]
    await it.client.post("/chat/chat_sessions")
    for session, ids in ((7, [2, 1]), (8, [1])):
        listed = (await it.client.get(f"/docs/list_documents?session_id={session}")).json()["items"]
        assert [document["id"] for document in listed] == ids
    assert (await it.client.get("/docs/list_documents?session_id=99")).status_code == 404
    assert (await ask(it, 7, selected_document_ids=[own["id"]])).status_code == 200
    assert (await ask(it, 8, selected_document_ids=[own["id"]])).status_code == 404


async def test_documents_come_in_pages(it: Chatting) -> None:
    for name in "abc":
        await upload(it, f"{name}.txt")
    page = (await it.client.get("/docs/list_documents?limit=2")).json()
    assert ([document["id"] for document in page["items"]], page["has_more"]) == ([3, 2], True)
    page = (await it.client.get("/docs/list_documents?limit=2&before=2")).json()
    assert ([document["id"] for document in page["items"]], page["has_more"]) == ([1], False)


async def test_an_upload_tells_how_far_it_is(it: Chatting) -> None:
    response = await it.client.post("/docs/upload_file_async", files={"file": ("ferry.txt", FERRY)})
    told = response.json()
    assert (response.status_code, told["document_id"], told["status"]) == (202, 1, "processing")
    assert response.headers["location"] == f"/docs/processing/{told['task_id']}/status"
    await it.ended(told["task_id"])
    for root in ("", "/api"):
        place = f"{root}/docs/processing/{told['task_id']}"
        status = (await it.client.get(f"{place}/status")).json()
        assert (status["status"], status["stage"], status["progress"], status["error"]) == ("completed", "", 1.0, None)
        assert {stage["status"] for stage in status["stages"].values()} == {"completed"}
        frames = await it.client.get(f"{place}/status", headers={"accept": "text/event-stream"})
        assert frames.text == (await it.client.get(f"{place}/stream")).text
        rest = await it.client.get(f"{place}/stream", headers={"last-event-id": "1.3"})
        assert frames.text.endswith(rest.text)
        assert len(rest.text) < len(frames.text)


@pytest.mark.parametrize("task", ["nobody", "00000000-0000-7000-8000-000000000000"])
async def test_a_task_that_is_none(it: Chatting, task: str) -> None:
    answer = (await ask(it)).headers["x-stream-id"]
    for name in (task, answer):
        for end in ("status", "stream"):
            response = await it.client.get(f"/docs/processing/{name}/{end}")
            assert (response.status_code, response.json()) == (404, {"detail": "no such task"})


async def test_a_task_whose_document_is_gone_still_tells_of_it(it: Chatting) -> None:
    response = await it.client.post("/docs/upload_file_async", files={"file": ("ferry.txt", FERRY)})
    task = response.json()["task_id"]
    assert (await it.client.delete("/docs/1")).status_code == 204
    status = await it.client.get(f"/docs/processing/{task}/status")
    # Either it was done before, or it was cancelled, or it had told of nothing yet.
    assert status.status_code == 404 or status.json()["status"] in ("completed", "cancelled")
    assert (await it.hub.info(StreamId(task), owner="")).status in ("done", "cancelled")


@pytest.mark.parametrize(
    ("files", "fields", "status", "words"),
    [
        ([("file", ("x.bin", bytes(range(256))))], {}, 415, "binary"),
        ([("file", ("x.txt", b"x" * 5001))], {}, 413, "larger than 5000 bytes"),
        ([("file", ("x.pdf", b"%PDF-1.7 and no more"))], {}, 422, "damaged"),
        ([("file", ("x.txt", b"x")), ("file", ("y.txt", b"y"))], {}, 400, "one file at a time"),
        ([], {}, 400, "no document"),
        ([("file", ("x.txt", b"x"))], {"confidential": "perhaps"}, 400, "true or false"),
        ([("file", ("x.txt", b"x"))], {"session_id": "one"}, 400, "number of a session"),
        ([("file", ("x.txt", b"x"))], {"session_id": "0"}, 400, "number of a session"),
        ([("file", ("x.txt", b"x"))], {"session_id": "9007199254740991"}, 404, "no such thread"),
    ],
)
async def test_what_is_no_document_is_refused_and_not_kept(
    it: Chatting, files: list[Any], fields: dict[str, str], status: int, words: str
) -> None:
    response = await it.client.post("/docs/upload_file", files=files, data=fields)
    assert response.status_code == status
    assert words in response.json()["detail"]
    assert (await it.client.get("/docs/list_documents")).json()["items"] == []


async def test_a_document_as_the_body_itself(it: Chatting) -> None:
    response = await it.client.post(
        "/docs/upload_file?name=notes.md&session_id=3",
        content=b"# Ferries\n\nAt nine.",
        headers={"content-type": "text/markdown"},
    )
    assert (response.json()["filename"], response.json()["session_id"]) == ("notes.md", 3)


async def test_what_cannot_begin_now_is_not_kept(it: Chatting, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: object) -> None:
        raise QueueFull("no room now", retry_after_s=3)

    monkeypatch.setattr(it.backend.ingest, "begin", full)
    response = await upload(it)
    assert (response.status_code, response.json()) == (429, {"detail": "no room now"})
    assert response.headers["retry-after"] == "3"
    assert (await it.client.get("/docs/list_documents")).json()["items"] == []


async def test_a_task_that_waits_for_its_turn_knows_its_document() -> None:
    streams = StreamSettings(heartbeat_s=30.0, grace_s=0.5, max_streams=1)
    async with chatting(ChatModels({"endless": endless}), streams=streams) as it:
        await begin(it)
        made = await it.client.post("/docs/upload_file_async", files={"file": ("ferry.txt", FERRY)})
        place = f"/docs/processing/{made.json()['task_id']}/status"
        status = (await it.client.get(place)).json()
        assert (status["document_id"], status["status"], status["stage"]) == (1, "processing", "upload")
        assert (await it.client.delete("/docs/1")).status_code == 204
        assert (await it.client.get(place)).status_code == 404


class Held:
    """Embeds nothing, and not before it may."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()

    async def embed_document(self, *_: object) -> int:
        self.begun.set()
        await self.gate.wait()
        return 0


@pytest.fixture
def held(it: Chatting, monkeypatch: pytest.MonkeyPatch) -> Held:
    """The last stage of reading waits."""
    holding = Held()
    monkeypatch.setattr(it.backend.ingest, "_embeds", holding)
    return holding


async def test_a_document_deleted_while_it_is_read(it: Chatting, held: Held) -> None:
    uploading = asyncio.create_task(upload(it))
    await held.begun.wait()
    [document] = (await it.client.get("/docs/list_documents")).json()["items"]
    assert (document["status"], document["stage"]) == ("processing", "vectorization")
    status = (await it.client.get(f"/docs/processing/{document['task_id']}/status")).json()
    assert (status["status"], status["stage"], status["progress"]) == ("processing", "vectorization", 0.75)
    assert status["stages"]["vectorization"]["status"] == "processing"
    assert (await it.client.delete("/docs/1")).status_code == 204
    response = await uploading
    assert (response.status_code, response.json()) == (409, {"detail": "reading the document was stopped"})
    status = (await it.client.get(f"/docs/processing/{document['task_id']}/status")).json()
    assert (status["status"], status["stages"]["vectorization"]["status"]) == ("cancelled", "cancelled")


async def test_who_uploads_and_leaves_leaves_the_document(it: Chatting, held: Held) -> None:
    uploading = asyncio.create_task(upload(it))
    await held.begun.wait()
    uploading.cancel()
    await asyncio.wait((uploading,))
    held.gate.set()
    [document] = (await it.client.get("/docs/list_documents")).json()["items"]
    await it.ended(document["task_id"])
    assert (await it.client.get("/docs/stats")).json()["completed"] == 1


@pytest.mark.parametrize(
    "query", ["start=-1", "start=5&end=4", "end=2147483648", "start=99999999999999999999", "end=x"]
)
async def test_a_preview_has_bounds(it: Chatting, query: str) -> None:
    await upload(it)
    response = await it.client.get(f"/docs/1/preview?{query}")
    assert (response.status_code, list(response.json())) == (400, ["detail"])


async def test_a_preview_is_no_longer_than_it_may_be(it: Chatting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes_typed_documents, "MAX_PREVIEW_CHARACTERS", 10)
    await upload(it)
    preview = (await it.client.get("/docs/1/preview?start=4&end=2147483647")).json()
    assert (preview["text"], preview["end"], preview["has_more"]) == ("ferry to t", 14, True)


async def test_a_preview_beyond_the_text_is_empty(it: Chatting) -> None:
    await upload(it)
    preview = (await it.client.get("/docs/1/preview?start=2147483647")).json()
    assert (preview["text"], preview["has_more"]) == ("", False)


@pytest.mark.parametrize("place", ["list_documents", "stats", "upload_file", "upload_file_async"])
async def test_a_place_is_no_document(it: Chatting, place: str) -> None:
    assert (await it.client.delete(f"/docs/{place}")).status_code == 405


async def test_keys_have_documents_of_their_own() -> None:
    identity = IdentitySettings(api_keys=("ann-key", "bob-key"))
    async with chatting(ChatModels({"m": answers}), server=ServerSettings(), identity=identity) as it:
        ann, bob = ({"Authorization": f"Bearer {name}-key"} for name in ("ann", "bob"))
        files = {"file": ("ferry.txt", FERRY)}
        made = await it.client.post("/docs/upload_file_async", files=files, headers=ann)
        task = made.json()["task_id"]
        await it.client.post("/chat/1/stream", json={"question": "Hi"}, headers=ann)
        for path in (f"/docs/processing/{task}/status", "/docs/1/preview", "/chat/1/messages", "/chat/chat_sessions/1"):
            assert (await it.client.get(path, headers=bob)).status_code == 404
        assert (await it.client.get("/docs/list_documents", headers=bob)).json()["items"] == []
        assert (await it.client.get("/docs/1/preview")).status_code == 401


async def test_nobody_is_let_in_when_all_places_are_taken() -> None:
    streams = StreamSettings(heartbeat_s=30.0, grace_s=0.5, max_connections=0)
    async with chatting(ChatModels({"m": answers}), streams=streams) as it:
        response = await ask(it)
        assert (response.status_code, list(response.json())) == (503, ["detail"])


async def test_everything_is_described(it: Chatting) -> None:
    described = (await it.client.get("/openapi.json")).json()
    for path in ("/chat/{session_id}/stream", "/chat/chat_sessions", "/docs/upload_file", "/docs/stats"):
        assert set(described["paths"][path]) == set(described["paths"][f"/api{path}"]) - (
            {"get"} if path.endswith("stream") else set()
        )
    names = [operation["operationId"] for path in described["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names))


# ---------------------------------------------------------------------- progress

EVENTS: list[Event] = [
    Start("s", "", 0),
    Metadata({"document_id": 7}),
    Status("upload", "Received", data={"done": 9, "total": 9, "unit": "byte", "progress": 1.0}),
    Status("extraction", "Reading"),
    Status("extraction", "Reading", data={"done": 1, "total": 4, "unit": "page", "progress": 0.25}),
]


def test_progress_before_anything_was_told() -> None:
    told = processing_card("t", 7, [])
    assert (told.status, told.stage, told.progress, told.stages.upload.status) == (
        "processing",
        "upload",
        0.0,
        "pending",
    )
    assert told_document([]) is None
    assert told_document([Metadata({"pages": 1}), *EVENTS]) == 7


def test_progress_in_the_middle() -> None:
    told = processing_card("t", 7, EVENTS)
    assert (told.status, told.stage, told.progress) == ("processing", "extraction", 0.3125)
    stage = told.stages.extraction
    assert (stage.status, stage.done, stage.total, stage.unit) == ("processing", 1, 4, "page")
    assert (told.stages.upload.status, told.stages.chunking.status) == ("completed", "pending")


@pytest.mark.parametrize(
    ("end", "status", "error"),
    [
        (Error(Interrupted.code, "the server stopped"), "failed", "the server stopped"),
        (Done("cancelled"), "cancelled", None),
    ],
)
def test_progress_that_broke_off(end: Event, status: str, error: str | None) -> None:
    told = processing_card("t", 7, [*EVENTS, end])
    assert (told.status, told.stage, told.error, told.stages.extraction.status) == (status, "", error, status)
    assert (told.progress, told.stages.chunking.status) == (0.3125, "pending")

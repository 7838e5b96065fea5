"""Every failure path of reference 000's routes, over a real server."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import httpx
import pytest

from headwater.chat.backend import BackendSettings
from headwater.chat.settings import ChatSettings
from headwater.documents.ingest import IngestSettings
from headwater.documents.records import Scope
from headwater.events import Done, Text, Usage
from headwater.ids import new_stream_id
from headwater.request import ChatRequest
from headwater.server.openapi_workspace import BODIES
from headwater.server.routes_workspace import fields_of
from headwater.server.routes_workspace_documents import MAX_WORKSPACES
from headwater.server.workspace_shapes import AnythingWorkspaceChanges
from headwater.streams import Writer
from tests.integration.chat_kit import QUIET, ChatModels, Chatting, chatting

TEXT = "The ferry leaves at noon."


async def brief(writer: Writer, request: ChatRequest) -> None:
    writer.write([Text("yes"), Usage(1, 1), Done("stop")])


def served(settings: BackendSettings = QUIET) -> Any:
    return chatting(ChatModels({"m": brief}), settings=settings)


async def post(it: Chatting, path: str, body: object = None, **headers: str) -> httpx.Response:
    return await it.client.post(path, json=body, headers=headers)


async def upload(it: Chatting, path: str = "/api/v1/document/upload", **fields: str) -> httpx.Response:
    return await it.client.post(path, files={"file": ("a.txt", TEXT.encode(), "text/plain")}, data=fields)


# ---------------------------------------------------------------------- asking

ASKING = ("/workspace/{}/stream-chat", "/api/workspace/{}/stream-chat", "/api/v1/workspace/{}/stream-chat",
          "/api/v1/workspace/{}/chat")  # fmt: skip


async def test_what_cannot_be_asked_is_one_abort_object() -> None:
    async with served() as it:
        for path in ASKING:
            for body, status, words in (
                ({"message": ""}, 400, "Message is empty."),
                ({"message": " \n"}, 400, "Message is empty."),
                ({}, 400, "Message is empty."),
                ({"message": 5}, 400, "Expected `str`"),
                ([], 400, "not a JSON object"),
                (
                    {"message": "x", "attachments": [{"name": "a", "mime": "text/plain", "contentString": "no"}]},
                    400,
                    "",
                ),
            ):
                response = await post(it, path.format("default"), body)
                assert response.status_code == status, (path, body, response.text)
                told = response.json()
                assert (told["type"], told["textResponse"], told["sources"], told["close"]) == ("abort", None, [], True)
                assert words in told["error"]
            response = await post(it, path.format("nowhere"), {"message": "x"})
            assert response.status_code == 404
            assert response.json()["error"] == "Workspace nowhere is not a valid workspace."
        # Nothing of it made the default workspace's thread, or anything in it.
        assert (await it.client.get("/workspace/default/chats")).json() == {"history": []}


async def test_an_unknown_thread_is_one_abort_object() -> None:
    async with served() as it:
        for path in ("/workspace/{}/thread/{}/stream-chat", "/api/v1/workspace/{}/thread/{}/stream-chat",
                     "/api/v1/workspace/{}/thread/{}/chat"):  # fmt: skip
            response = await post(it, path.format("default", "none"), {"message": "x"})
            assert (response.status_code, response.json()["error"]) == (404, "Thread none not found.")


async def test_only_developers_choose_mode_session_and_reset() -> None:
    async with served() as it:
        given = {"message": "x", "mode": "nonsense", "sessionId": [], "reset": "no"}
        assert (await post(it, "/workspace/default/stream-chat", given)).status_code == 200
        assert (await post(it, "/workspace/default/stream-chat", {"message": "", "reset": True})).status_code == 400
        cases: tuple[dict[str, Any], ...] = (
            {"mode": "nonsense"}, {"sessionId": []}, {"sessionId": "x" * 1001}, {"reset": "no"},
        )  # fmt: skip
        for wrong in cases:
            response = await post(it, "/api/v1/workspace/default/stream-chat", {"message": "x", **wrong})
            assert (response.status_code, response.json()["type"]) == (400, "abort")
        fine = {"message": "x", "mode": "automatic", "sessionId": None, "reset": False, "userId": 3}
        assert (await post(it, "/api/v1/workspace/default/stream-chat", fine)).status_code == 200


async def test_bounds_of_questions() -> None:
    settings = BackendSettings(
        chat=ChatSettings(titles="off", max_message_characters=10, max_attachments=1, max_threads=1)
    )
    async with served(settings) as it:
        for path in ASKING[:1] + ASKING[2:]:
            assert (await post(it, path.format("default"), {"message": "x" * 11})).status_code == 400
        file = {"name": "a", "mime": "text/plain", "contentString": f"data:;base64,{base64.b64encode(b'x').decode()}"}
        response = await post(it, "/workspace/default/stream-chat", {"message": "x", "attachments": [file, file]})
        assert response.status_code == 400 and "1 attachments" in response.json()["error"]
        response = await post(it, "/api/v1/workspace/default/chat", {"message": "x", "sessionId": "new"})
        assert response.status_code == 409 and "1 threads" in response.json()["error"]


async def test_a_text_file_reaches_the_model_and_is_shown_again() -> None:
    models = ChatModels({"m": brief})
    async with chatting(models) as it:
        url = f"data:text/plain;base64,{base64.b64encode(TEXT.encode()).decode()}"
        file = {"name": "a.txt", "mime": "text/plain", "contentString": url}
        await post(it, "/workspace/default/stream-chat", {"message": "When?", "attachments": [file]})
        asked = models.asked[0].messages[-1]["content"]
        assert isinstance(asked, list) and asked[0] == {"type": "text", "text": "When?"} and TEXT in asked[1]["text"]
        [question, _] = (await it.client.get("/workspace/default/chats")).json()["history"]
        assert question["content"] == "When?" and question["attachments"] == [file]


async def test_a_whole_answer_is_left_when_its_caller_leaves() -> None:
    reached, opened = asyncio.Event(), asyncio.Event()

    async def waits(writer: Writer, request: ChatRequest) -> None:
        reached.set()
        await opened.wait()
        writer.write([Text("late"), Usage(1, 1), Done("stop")])

    async with chatting(ChatModels({"m": waits})) as it:
        asking = asyncio.create_task(post(it, "/api/v1/workspace/default/chat", {"message": "x"}))
        await reached.wait()
        asking.cancel()
        await asyncio.wait((asking,))
        [_, answer] = (await it.client.get("/api/v1/workspace/default/chats")).json()["history"]
        opened.set()
        await it.ended(answer["streamId"])
        [_, answer] = (await it.client.get("/api/v1/workspace/default/chats")).json()["history"]
        assert (answer["status"], answer["content"]) == ("done", "late")


async def test_a_key_used_for_another_question_is_refused() -> None:
    async with served() as it:
        key = {"Idempotency-Key": "k"}
        assert (await post(it, "/api/v1/workspace/default/chat", {"message": "x"}, **key)).status_code == 200
        response = await post(it, "/api/v1/workspace/default/chat", {"message": "y"}, **key)
        assert (response.status_code, response.json()["type"]) == (422, "abort")


# ---------------------------------------------------------------------- history


async def test_history_has_bounds_and_an_order() -> None:
    async with served() as it:
        for number in range(3):
            await post(it, "/api/v1/workspace/default/chat", {"message": f"{number}"})
        for query, asked in (("", "012"), ("?limit=2", "01"), ("?orderBy=desc&limit=2", "21")):
            told = (await it.client.get(f"/api/v1/workspace/default/chats{query}")).json()["history"]
            assert [each["content"] for each in told if each["role"] == "user"] == list(asked)
        for wrong in ("limit=0", "limit=x", "orderBy=up", "apiSessionId=" + "x" * 1001):
            response = await it.client.get(f"/api/v1/workspace/default/chats?{wrong}")
            assert response.status_code == 400 and set(response.json()) == {"message", "error"}
        for missing in ("/workspace/nowhere/chats", "/api/v1/workspace/nowhere/chats",
                        "/workspace/default/thread/none/chats"):  # fmt: skip
            assert (await it.client.get(missing)).status_code == 404


async def test_an_edited_question_takes_what_came_after_it_along() -> None:
    async with served() as it:
        await post(it, "/workspace/default/thread/new", {"slug": "t"})
        other: dict[str, Any] = {}
        for base in ("/workspace/default", "/workspace/default/thread/t"):
            for number in range(3):
                await post(it, f"{base}/stream-chat", {"message": f"{number}"})
            told = (await it.client.get(f"{base}/chats")).json()["history"]
            cut = {"startingId": str(told[2]["chatId"])}
            assert (await it.client.request("DELETE", f"{base}/delete-edited-chats", json=cut)).text == "OK"
            told = (await it.client.get(f"{base}/chats")).json()["history"]
            assert [each["content"] for each in told] == ["0", "yes"]
            other = {"startingId": told[0]["chatId"]}
            for wrong, status in (({"startingId": 10**6}, 404), ({"startingId": 10**30}, 404), ({}, 400)):
                response = await it.client.request("DELETE", f"{base}/delete-edited-chats", json=wrong)
                assert response.status_code == status
        # A chat of another thread, and of a workspace where nothing was asked.
        place = "/workspace/default/delete-edited-chats"
        assert (await it.client.request("DELETE", place, json=other)).status_code == 404
        await post(it, "/workspace/new", {"name": "Empty"})
        place = "/workspace/empty/delete-edited-chats"
        assert (await it.client.request("DELETE", place, json=other)).status_code == 404


# ---------------------------------------------------------------------- workspaces


async def test_workspaces_are_made_changed_listed_and_deleted() -> None:
    async with served() as it:
        assert (await it.client.get("/api/v1/auth")).json() == {"authenticated": True}
        settings = {
            "name": "My Books", "similarityThreshold": 0.7, "openAiTemp": "0.7", "openAiHistory": 5,
            "openAiPrompt": "Be kind.", "queryRefusalResponse": "No.", "chatMode": "query", "topN": 4, "chatModel": "m",
        }  # fmt: skip
        made = (await post(it, "/api/v1/workspace/new", settings)).json()["workspace"]
        assert {name: made[name] for name in settings} == settings | {"openAiTemp": 0.7}
        assert (made["id"], made["slug"]) == (1, "my-books")
        given = {"openAiTemp": None, "chatMode": "automatic", "chatProvider": "default", "openAiPrompt": None}
        changed = await post(it, "/workspace/my-books/update", given)
        told = changed.json()["workspace"]
        assert (told["openAiTemp"], told["chatMode"], told["chatModel"], told["topN"]) == (None, "chat", None, 4)
        assert told["openAiPrompt"] == ChatSettings().system_prompt
        nothing = await post(it, "/workspace/my-books/update", {"pfpFilename": "x"})
        assert nothing.json()["message"] == "No valid fields to update!"
        await post(it, "/workspace/my-books/thread/new", {"name": "One"})
        [listed] = (await it.client.get("/api/v1/workspaces")).json()["workspaces"]
        assert [each["name"] for each in listed["threads"]] == ["One"] and "documents" not in listed
        [found] = (await it.client.get("/api/v1/workspace/my-books")).json()["workspace"]
        shown = (await it.client.get("/workspace/my-books")).json()["workspace"]
        assert found == shown and found["documents"] == []
        assert (await it.client.delete("/api/v1/workspace/my-books")).text == "OK"
        for gone in ("/workspace/my-books", "/api/v1/workspace/my-books"):
            response = await it.client.get(gone)
            assert (response.status_code, response.json()["message"]) == (
                404, "Workspace my-books is not a valid workspace.",
            )  # fmt: skip


async def test_what_is_no_workspace_is_refused() -> None:
    async with served(BackendSettings(chat=ChatSettings(titles="off", max_workspaces=1))) as it:
        cases: list[dict[str, Any]] = [{}, {"name": None}, {"name": ""}, {"name": "x" * 256}]
        cases += [{"name": "a", **more} for more in (
            {"openAiTemp": 3}, {"topN": 0}, {"chatMode": "agent"}, {"openAiHistory": -1}
        )]  # fmt: skip
        for wrong in cases:
            response = await post(it, "/api/v1/workspace/new", wrong)
            assert response.status_code == 400 and response.json()["message"], wrong
        assert (await post(it, "/workspace/new", {"name": "a"})).status_code == 200
        assert (await post(it, "/workspace/new", {"name": "b"})).status_code == 409
        for method, path in (
            ("POST", "/workspace/b/update"),
            ("DELETE", "/workspace/b"),
            ("GET", "/workspace/b/threads"),
        ):
            response = await it.client.request(method, path, json={"name": "c"})
            assert response.status_code == 404


async def test_another_tenants_are_not_there() -> None:
    async with served() as it:
        theirs = await it.backend.conversations.workspaces.create("org:other", name="Theirs")
        for method, path in (
            ("GET", "/workspace/theirs"), ("GET", f"/api/v1/workspace/{theirs.id}"), ("DELETE", "/workspace/theirs"),
            ("POST", "/workspace/theirs/update"), ("POST", "/workspace/theirs/thread/new"),
        ):  # fmt: skip
            response = await it.client.request(method, path, json={})
            assert response.status_code == 404, path
        assert (await it.client.get("/workspaces")).json() == {"workspaces": []}


def test_only_what_is_named_changes() -> None:
    assert fields_of(AnythingWorkspaceChanges()) == {}
    assert fields_of(AnythingWorkspaceChanges(chat_model=None, chat_mode=None)) == {"model": "", "mode": "chat"}
    assert fields_of(AnythingWorkspaceChanges(chat_provider="openai")) == {}
    assert fields_of(AnythingWorkspaceChanges(chat_provider=None, chat_model="m")) == {"model": "m"}


# ---------------------------------------------------------------------- threads


async def test_threads_are_made_renamed_and_deleted() -> None:
    async with served() as it:
        base = "/api/v1/workspace/default/thread"
        assert (await it.client.post(f"{base}/new")).json()["thread"]["name"] == "Thread"
        made = (await post(it, f"{base}/new", {"slug": "My Thread!", "name": "Mine"})).json()["thread"]
        assert (made["slug"], made["name"], made["user_id"]) == ("my-thread", "Mine", None)
        renamed = (await post(it, f"{base}/my-thread/update", {"name": "Ours"})).json()
        assert (renamed["thread"]["name"], renamed["message"]) == ("Ours", None)
        assert (await post(it, f"{base}/my-thread/update", {})).json()["message"] == "No valid fields to update!"
        assert (await it.client.delete(f"{base}/my-thread")).text == "OK"
        for method, path in (("DELETE", "my-thread"), ("POST", "my-thread/update"), ("GET", "my-thread/chats")):
            response = await it.client.request(method, f"{base}/{path}", json={})
            assert (response.status_code, response.json()["message"]) == (404, "Thread my-thread not found.")
        for wrong, status in (({"slug": "default"}, 409), ({"slug": "session.1"}, 409), ({"name": "x" * 501}, 400),
                              ({"userId": "ann"}, 400), ([], 400)):  # fmt: skip
            assert (await post(it, f"{base}/new", wrong)).status_code == status, wrong
        await post(it, f"{base}/new", {"slug": "one"})
        assert (await post(it, f"{base}/new", {"slug": "one"})).status_code == 409


async def test_several_threads_go_at_once() -> None:
    async with served() as it:
        for slug in ("a", "b", "c"):
            await post(it, "/workspace/default/thread/new", {"slug": slug})
        place = "/workspace/default/thread-bulk-delete"
        assert (await it.client.request("DELETE", place, json={"slugs": ["a", "gone", "b"]})).text == "OK"
        threads = (await it.client.get("/workspace/default/threads")).json()["threads"]
        assert [each["slug"] for each in threads] == ["c"]


async def test_deleting_a_thread_stops_what_is_answered_in_it() -> None:
    reached = asyncio.Event()

    async def waits(writer: Writer, request: ChatRequest) -> None:
        reached.set()
        await asyncio.Event().wait()

    models = ChatModels({"m": waits})
    async with chatting(models) as it:
        await post(it, "/workspace/default/thread/new", {"slug": "t"})
        asking = asyncio.create_task(post(it, "/workspace/default/thread/t/stream-chat", {"message": "x"}))
        await reached.wait()
        assert (await it.client.delete("/workspace/default/thread/t")).status_code == 200
        assert "finalizeResponseStream" in (await asking).text and models.made[0].cancelled


# ---------------------------------------------------------------------- documents


async def test_uploads_are_refused_in_the_uploads_form() -> None:
    async with served(BackendSettings(ingest=IngestSettings(max_document_bytes=100))) as it:
        place = "/api/v1/document/upload"
        for fields, status in (
            ({"metadata": "{"}, 400), ({"metadata": "[]"}, 400), ({"addToWorkspaces": "nowhere"}, 404),
            ({"addToWorkspaces": ",".join(map(str, range(MAX_WORKSPACES + 1)))}, 400),
        ):  # fmt: skip
            response = await upload(it, **fields)
            assert response.status_code == status, response.text
            told = response.json()
            assert (told["success"], told["documents"]) == (False, []) and told["error"]
        assert (await it.client.post(place)).status_code == 400
        assert (await it.client.post(place, files={"file": ("a.txt", b"x" * 101)})).status_code == 413
        assert (await it.client.post(place, files={"file": ("a.bin", bytes(range(50)))})).status_code == 415
        broken = await it.client.post("/workspace/default/upload", files={"file": ("a.pdf", b"%PDF-1.7 nonsense")})
        assert broken.status_code == 422 and broken.json()["error"].startswith("a.pdf: ")
        # What could not be read is not there.
        assert (await it.client.get("/api/v1/documents")).json()["localFiles"]["items"][0]["items"] == []


async def test_uploads_go_to_workspaces_and_folders() -> None:
    async with served() as it:
        await post(it, "/workspace/new", {"name": "One"})
        told = (await upload(it, "/api/v1/document/upload/my%20folder", addToWorkspaces="one, default")).json()
        [document] = told["documents"]
        assert document["location"].startswith("my folder/a.txt-")
        assert (await upload(it, "/api/workspace/one/upload")).json()["success"] is True
        [one] = (await it.client.get("/api/v1/workspace/one")).json()["workspace"]
        [default] = (await it.client.get("/api/v1/workspace/default")).json()["workspace"]
        assert [len(one["documents"]), len(default["documents"])] == [2, 1]
        assert json.loads(default["documents"][0]["metadata"])["wordCount"] == 5
        folders = (await it.client.get("/api/v1/documents")).json()["localFiles"]["items"]
        assert {each["name"]: len(each["items"]) for each in folders} == {"custom-documents": 1, "my folder": 1}


async def test_raw_text_is_a_document() -> None:
    async with served() as it:
        place = "/api/v1/document/raw-text"
        told = (await post(it, place, {"textContent": TEXT, "metadata": {"title": "My text", "published": 0}})).json()
        assert told["documents"][0]["title"] == "My text" and told["documents"][0]["wordCount"] == 5
        cases: tuple[dict[str, Any], ...] = (
            {"textContent": TEXT}, {"textContent": "", "metadata": {"title": "a"}},
            {"textContent": TEXT, "metadata": {}}, {"textContent": TEXT, "metadata": {"title": 5}},
        )  # fmt: skip
        for wrong in cases:
            response = await post(it, place, wrong)
            assert (response.status_code, response.json()["success"]) == (400, False)


async def test_documents_that_are_not_there() -> None:
    async with served() as it:
        uploaded = (await upload(it)).json()["documents"][0]
        await post(it, "/workspace/new", {"name": "One"})
        for name in ("nothing.json", uploaded["name"].replace(uploaded["id"], new_stream_id(1))):
            response = await it.client.get(f"/api/v1/document/{name}")
            assert (response.status_code, response.json()["error"]) == (404, f"Document {name} not found.")
        pin = {"docPath": uploaded["location"], "pinStatus": True}
        assert (await post(it, "/workspace/one/update-pin", pin)).status_code == 404
        assert (await post(it, "/workspace/default/update-pin", pin)).status_code == 200
        for place, wrong in (("update-pin", {}), ("update-pin", {"docPath": "x", "pinStatus": "yes"}),
                             ("update-embeddings", {"adds": "x"}), ("update-embeddings", {"adds": [""]}),
                             ("update-embeddings", [])):  # fmt: skip
            assert (await post(it, f"/workspace/default/{place}", wrong)).status_code == 400
        response = await post(it, "/workspace/default/update-embeddings", {"adds": ["x"], "deletes": ["y"]})
        assert response.json()["message"].endswith("x: Document x not found.")


class Held:
    """The only place where documents are read is taken, until the test gives it back."""

    def __init__(self, it: Chatting) -> None:
        self._slots = it.backend.ingest._slots

    async def __aenter__(self) -> None:
        await self._slots.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._slots.release()


async def waiting(it: Chatting) -> str:
    """The location of the document that waits to be read."""
    while True:
        for document in (await it.client.get("/api/v1/workspace/default")).json()["workspace"][0]["documents"]:
            if document["status"] == "processing" and (await it.backend.shelf.get("", document["id"])).stream_id:
                return str(document["docpath"])


async def test_a_document_that_is_taken_away_while_it_is_read() -> None:
    async with served() as it:
        async with Held(it):
            uploading = asyncio.create_task(upload(it))
            location = await waiting(it)
            gone = await post(it, "/workspace/default/update-embeddings", {"deletes": [location]})
            assert gone.json()["workspace"]["documents"] == []
        response = await uploading
        assert (response.status_code, response.json()["error"]) == (409, "a.txt: reading it was stopped")


async def test_an_upload_goes_on_when_its_client_leaves() -> None:
    async with served() as it:
        async with Held(it):
            uploading = asyncio.create_task(upload(it))
            location = await waiting(it)
            uploading.cancel()
            await asyncio.wait((uploading,))
        document = await it.backend.shelf.get("", location[-41:-5])
        await it.ended(document.stream_id)
        [listed] = (await it.client.get("/api/v1/documents")).json()["localFiles"]["items"][0]["items"]
        assert (listed["location"], listed["wordCount"], listed["cached"]) == (location, 5, True)


async def test_where_no_stream_can_be_made_no_document_is_left() -> None:
    async with served() as it:
        it.hub.accepting = False
        response = await upload(it)
        it.hub.accepting = True
        assert (response.status_code, response.json()["success"]) == (503, False)
        assert (await it.client.get("/api/v1/documents")).json()["localFiles"]["items"][0]["items"] == []


async def test_a_copy_that_cannot_be_made_is_told() -> None:
    async with served() as it:
        location = (await upload(it)).json()["documents"][0]["location"]
        await post(it, "/workspace/new", {"name": "One"})
        it.hub.accepting = False
        response = await post(it, "/workspace/one/update-embeddings", {"adds": [location]})
        it.hub.accepting = True
        assert response.status_code == 200 and response.json()["workspace"]["documents"] == []
        assert response.json()["message"].startswith(f"1 documents failed to add.\n\n{location}: ")


async def test_a_single_threads_document_is_no_workspaces() -> None:
    async with served() as it:
        workspace = await it.backend.conversations.workspaces.find_or_create("", "default")
        thread = await it.backend.conversations.threads.create("", workspace.id)
        kept = await it.backend.shelf.add(
            Scope("", workspace.id, thread.id), name="a.txt", media_type="text/plain", content=b"x"
        )
        response = await post(
            it, "/workspace/default/update-embeddings", {"adds": [f"custom-documents/a.txt-{kept.id}.json"]}
        )
        assert "not found" in response.json()["message"]


async def test_documents_of_other_clients_are_listed_with_their_words_counted() -> None:
    async with served() as it:
        document = await it.upload("b.txt", TEXT)
        listed = (await it.client.get("/api/v1/documents")).json()["localFiles"]["items"][0]["items"]
        assert [(each["id"], each["wordCount"]) for each in listed] == [(document.id, 5)]


async def test_search_has_bounds_and_says_where_nothing_is() -> None:
    async with served() as it:
        place = "/api/v1/workspace/default/vector-search"
        assert (await post(it, place, {"query": "ferry"})).json() == {
            "results": [], "message": "No embeddings found for this workspace.",
        }  # fmt: skip
        await upload(it)
        [found] = (await post(it, place, {"query": "ferry", "topN": 1, "scoreThreshold": 0.0})).json()["results"]
        assert found["text"] == TEXT and found["distance"] == pytest.approx(1 - found["score"])
        assert found["metadata"]["title"] == "a.txt" and found["metadata"]["wordCount"] == 5
        assert (await post(it, place, {"query": "nothing like that"})).json() == {"results": []}
        for wrong in ({}, {"query": ""}, {"query": "x", "topN": 0}, {"query": "x", "scoreThreshold": 2}):
            assert (await post(it, place, wrong)).status_code == 400


async def test_the_description_is_whole() -> None:
    async with served() as it:
        described = (await it.client.get("/openapi.json")).json()
        text = json.dumps({path: told for path, told in described["paths"].items() if "workspace" in path})
        names = {kind.__name__ for kind in BODIES}
        refs = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
        assert "AnythingAnswer" in refs and {ref for ref in refs if ref.startswith("Anything")} <= names
        assert "/workspace/{slug}/stream-chat" in described["paths"]
        assert "/api/workspace/{slug}/stream-chat" not in described["paths"]

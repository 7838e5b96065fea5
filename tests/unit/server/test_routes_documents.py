"""Our own documents API: every route, and each way in which it refuses."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest

from headwater.chat.backend import BackendSettings
from headwater.chat.settings import ChatSettings
from headwater.documents.ingest import IngestSettings
from headwater.documents.settings import DocumentSettings
from headwater.errors import InputError, Overloaded
from headwater.events import StreamId
from headwater.ids import new_stream_id
from headwater.server.document_views import read_fields
from headwater.server.downloads import disposition, download
from headwater.server.uploads import takes_document
from headwater.sse import Parser
from tests.integration.chat_kit import QUIET, ChatModels, Chatting, chatting

UNKNOWN = new_stream_id(1)
FERRY = "The ferry to the island leaves at nine in the morning from the north quay. " * 6
BREAD = "The bakery on the square sells rye bread until seven in the evening, except on Mondays. " * 6
TINY = BackendSettings(
    chat=ChatSettings(titles="words"),
    documents=DocumentSettings(max_documents=2),
    ingest=IngestSettings(max_document_bytes=5000),
)


def served(settings: BackendSettings = QUIET) -> Any:
    return chatting(ChatModels({}), settings=settings)


async def call(it: Chatting, method: str, path: str, body: object = None, *, status: int = 200, **more: Any) -> Any:
    """The JSON of an answer with this status."""
    response = await it.client.request(method, f"/v1{path}", json=body, **more)
    assert response.status_code == status, response.text
    return response.json() if response.content else None


async def refused(it: Chatting, method: str, path: str, body: object = None, *, status: int = 400, **more: Any) -> Any:
    """Code and parameter of an error in OpenAI's form."""
    told = (await call(it, method, path, body, status=status, **more))["error"]
    assert told["message"]
    return told["code"], told["param"]


def file(text: str | bytes, name: str = "ferry.txt", kind: str = "text/plain") -> Any:
    return ("file", (name, text.encode() if isinstance(text, str) else text, kind))


async def uploaded(it: Chatting, text: str | bytes = FERRY, path: str = "/documents", **fields: Any) -> Any:
    """One document, read to its end."""
    told = await call(it, "POST", path, status=202, files=[file(text)], data=fields)
    [document] = told["data"]
    await it.ended(document["stream_id"])
    return await call(it, "GET", f"/documents/{document['id']}")


def events(response: httpx.Response) -> list[Any]:
    return [(message.event, json.loads(message.data)) for message in Parser().feed(response.content)]


# ---------------------------------------------------------------------- uploads


async def test_a_document_is_uploaded_and_watched() -> None:
    async with served() as it:
        response = await it.client.post("/v1/documents", files=[file(FERRY)])
        assert response.status_code == 202
        [document] = response.json()["data"]
        assert response.headers["location"] == f"/v1/documents/{document['id']}"
        assert response.headers["x-stream-id"] == document["stream_id"]
        assert (document["object"], document["status"], document["version"]) == ("document", "processing", 0)
        assert (document["newest_version"], document["bytes"], document["name"]) == (1, len(FERRY), "ferry.txt")
        told = events(await it.client.get(f"/v1/streams/{document['stream_id']}/events"))
        stages = list(dict.fromkeys(data["stage"] for event, data in told if event == "status"))
        assert stages == ["upload", "extraction", "chunking", "vectorization"]
        ready = await call(it, "GET", f"/documents/{document['id']}")
        assert (ready["status"], ready["stage"], ready["version"], ready["passages"]) == ("ready", "", 1, 1)
        assert (ready["error"], ready["thread_id"]) == (None, None)
        workspace = await call(it, "GET", "/workspaces/default")
        assert ready["workspace_id"] == workspace["id"]


async def test_an_upload_is_its_own_progress_where_frames_are_wanted() -> None:
    async with served() as it:
        frames = {"Accept": "text/event-stream"}
        response = await it.client.post("/v1/documents", files=[file(FERRY)], headers=frames)
        assert response.headers["content-type"].startswith("text/event-stream")
        assert [event for event, _ in events(response)][-1] == "done"
        two = [file(FERRY), file(BREAD)]
        assert (await refused(it, "POST", "/documents", files=two, headers=frames))[1] == "file"
        assert len((await call(it, "GET", "/workspaces/default/documents"))["data"]) == 1


async def test_several_at_once_and_what_is_said_of_them() -> None:
    async with served() as it:
        await call(it, "POST", "/workspaces", {"name": "b"}, status=201)
        fields = {"workspace": "b", "pinned": "true", "confidential": "on", "metadata": '{"a": 1}'}
        response = await it.client.post("/v1/documents", files=[file(FERRY), file(BREAD, "bread.txt")], data=fields)
        told = response.json()["data"]
        assert "location" not in response.headers
        assert [each["name"] for each in told] == ["ferry.txt", "bread.txt"]
        assert all((each["pinned"], each["confidential"], each["metadata"]) == (True, True, {"a": 1}) for each in told)
        for each in told:
            await it.ended(each["stream_id"])
        listed = await call(it, "GET", "/workspaces/b/documents?limit=1")
        assert ([each["name"] for each in listed["data"]], listed["has_more"]) == (["bread.txt"], True)
        rest = await call(it, "GET", f"/workspaces/b/documents?limit=1&before={listed['data'][0]['id']}")
        assert ([each["name"] for each in rest["data"]], rest["has_more"]) == (["ferry.txt"], False)
        figures = await call(it, "GET", "/workspaces/b/statistics")
        assert (figures["object"], figures["documents"], figures["ready"]) == ("workspace.statistics", 2, 2)


async def test_a_plain_body_is_a_document_too() -> None:
    async with served() as it:
        await call(it, "GET", "/workspaces/default")
        path = "/workspaces/default/documents?name=notes.md&pinned=1"
        told = await call(it, "POST", path, status=202, content=b"# Ferries\n\nAt nine.", headers={"content-type": ""})
        assert (told["data"][0]["name"], told["data"][0]["pinned"]) == ("notes.md", True)
        assert (await call(it, "POST", "/documents", status=202, content=b"a text"))["data"][0]["name"] == "document"


async def test_a_threads_documents_are_its_own() -> None:
    async with served() as it:
        thread = (await call(it, "POST", "/workspaces/default/threads", {}, status=201))["id"]
        other = (await call(it, "POST", "/workspaces/default/threads", {}, status=201))["id"]
        await call(it, "POST", "/workspaces", {"name": "b"}, status=201)
        own = await uploaded(it, BREAD, thread=thread)
        assert own["thread_id"] == thread
        await uploaded(it)
        assert len((await call(it, "GET", "/workspaces/default/documents"))["data"]) == 2
        assert len((await call(it, "GET", f"/workspaces/default/documents?thread={thread}"))["data"]) == 2
        assert len((await call(it, "GET", f"/workspaces/default/documents?thread={other}"))["data"]) == 1
        body = {"query": "rye bread"}
        assert (await call(it, "POST", "/search", body))["data"] == []
        [passage] = (await call(it, "POST", "/search", body | {"thread": thread}))["data"]
        assert passage["document_id"] == own["id"]
        for path in ("/workspaces/b/documents", "/documents"):
            fields = {"thread": thread} | ({"workspace": "b"} if path == "/documents" else {})
            assert (await refused(it, "POST", path, status=404, files=[file(FERRY)], data=fields))[0] == "not_found"
        await refused(it, "GET", f"/workspaces/b/documents?thread={thread}", status=404)
        await call(it, "DELETE", f"/threads/{thread}", status=204)
        await refused(it, "GET", f"/documents/{own['id']}", status=404)


async def test_what_cannot_be_uploaded() -> None:
    async with served(TINY) as it:
        for fields, param in (
            ({"pinned": "perhaps"}, "pinned"), ({"confidental": "true"}, "confidental"),
            ({"metadata": "{"}, "metadata"), ({"metadata": "[]"}, "metadata"), ({"name": "a" * 501}, "name"),
        ):  # fmt: skip
            assert (await refused(it, "POST", "/documents", files=[file(FERRY)], data=fields))[1] == param
        two = [file(FERRY), file(BREAD)]
        assert (await refused(it, "POST", "/documents", files=two, data={"name": "a"}))[1] == "name"
        assert (await refused(it, "POST", "/documents"))[1] == "file"
        assert (await refused(it, "POST", "/documents", files=[("file", (None, b"text"))]))[1] == "file"
        assert (await refused(it, "POST", "/documents", status=413, files=[file("a" * 5001)]))[0] == "body_too_large"
        assert (await refused(it, "POST", "/documents", status=404, files=two, data={"workspace": "no"}))[1]
        assert (await refused(it, "POST", "/workspaces/no/documents", status=404, files=two))[0] == "not_found"
        fields = {"workspace": "b"}
        assert (await refused(it, "POST", "/workspaces/default/documents", files=two, data=fields))[1] == "workspace"
        assert (await call(it, "GET", "/workspaces/default/documents"))["data"] == []


async def test_a_workspace_holds_only_so_many_and_takes_all_or_none() -> None:
    async with served(TINY) as it:
        await uploaded(it)
        two = [file(FERRY), file(BREAD)]
        assert await refused(it, "POST", "/documents", status=409, files=two) == ("limit_reached", None)
        assert len((await call(it, "GET", "/workspaces/default/documents"))["data"]) == 1


async def test_where_no_reading_can_begin_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served() as it:
        begun: list[Any] = []
        begin = it.backend.ingest.begin

        async def once(document: Any) -> Any:
            if begun:
                # Somebody else was faster with this one.
                await it.backend.shelf.delete("", document.id)
                raise Overloaded("no room")
            begun.append(await begin(document))
            return begun[0]

        monkeypatch.setattr(it.backend.ingest, "begin", once)
        files = [file(FERRY), file(BREAD)]
        assert (await refused(it, "POST", "/documents", status=503, files=files))[0] == "overloaded"
        assert (await call(it, "GET", "/workspaces/default/documents"))["data"] == []
        assert (await it.hub.info(StreamId(begun[0].channel.id), owner="")).finished_at is not None


async def test_what_cannot_be_read_says_why() -> None:
    async with served() as it:
        document = await uploaded(it, b"%PDF-1.7 broken")
        assert (document["status"], document["version"]) == ("failed", 0)
        assert document["error"]
        assert (await call(it, "GET", f"/documents/{document['id']}/text"))["text"] == ""


# ---------------------------------------------------------------------- one document


async def test_a_document_changes_and_goes() -> None:
    async with served() as it:
        document = await uploaded(it)
        place = f"/documents/{document['id']}"
        changes = {"name": "times.txt", "pinned": True, "confidential": True, "metadata": {"a": 1}}
        changed = await call(it, "PATCH", place, changes)
        assert {name: changed[name] for name in changes} == changes
        assert await call(it, "PATCH", place, {}) == changed
        for body, param in (({"name": ""}, "name"), ({"name": " "}, "name"), ({"pinned": "yes"}, "pinned"),
                            ({"metadata": None}, "metadata"), ({"status": "ready"}, None),
                            ({"metadata": {"a": "b" * 20_000}}, "metadata")):  # fmt: skip
            assert (await refused(it, "PATCH", place, body))[1] == param, body
        await call(it, "DELETE", place, status=204)
        for method, rest in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/content"), ("GET", "/text"),
                             ("GET", "/versions"), ("POST", "/versions"), ("GET", "/progress")):  # fmt: skip
            assert (await refused(it, method, place + rest, {} if method == "PATCH" else None, status=404))[
                0
            ] == "not_found"


async def test_deleting_stops_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served() as it:
        # Nobody else's turn comes while the only worker is taken.
        await it.backend.ingest._slots.acquire()
        [document] = (await call(it, "POST", "/documents", status=202, files=[file(FERRY)]))["data"]
        await call(it, "DELETE", f"/documents/{document['id']}", status=204)
        assert (await call(it, "GET", f"/streams/{document['stream_id']}"))["status"] in ("cancelled", "failed")
        it.backend.ingest._slots.release()


async def test_an_uploaded_page_never_runs_here() -> None:
    """CWE-79, CWE-434: what a browser would run must be a file to save."""
    async with served() as it:
        page = b"<script>alert(1)</script><p>text</p>"
        files = [("file", ('evil"\r\nSet-Cookie: a=b.html', page, "text/html"))]
        [document] = (await call(it, "POST", "/documents", status=202, files=files))["data"]
        response = await it.client.get(f"/v1/documents/{document['id']}/content")
        assert response.content == page
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["content-security-policy"] == "sandbox; default-src 'none'"
        assert response.headers["content-disposition"].startswith("attachment; ")
        assert "set-cookie" not in response.headers


def test_names_and_types_are_safe_in_headers() -> None:
    assert disposition("größe 1.pdf") == "attachment; filename=\"gr_e 1.pdf\"; filename*=UTF-8''gr%C3%B6%C3%9Fe%201.pdf"
    assert disposition('..\\a/b"c\r\n.txt') == "attachment; filename=\"b_c.txt\"; filename*=UTF-8''b%22c.txt"
    assert disposition("/") == "attachment; filename=\"document\"; filename*=UTF-8''document"
    for kind, told in (("text/html", "text/html"), ("text/plain; charset=utf-8", "text/plain; charset=utf-8"),
                       ("text/html\r\nA: b", "application/octet-stream"), ("", "application/octet-stream"),
                       ("täxt/html", "application/octet-stream")):  # fmt: skip
        assert download(b"", "a", kind).headers["content-type"] == told


async def test_the_text_is_read_in_parts() -> None:
    async with served() as it:
        document = await uploaded(it, "0123456789" * 500)
        place = f"/documents/{document['id']}/text"
        first = await call(it, "GET", place)
        assert (first["object"], first["start"], first["end"], first["has_more"]) == ("document.text", 0, 4000, True)
        part = await call(it, "GET", f"{place}?start=4995&end=6000")
        assert (part["text"], part["start"], part["end"], part["has_more"]) == ("56789", 4995, 5000, False)
        assert (await call(it, "GET", f"{place}?start=2&end=4"))["text"] == "23"
        assert (await call(it, "GET", f"{place}?start=9000"))["text"] == ""
        for query in ("?start=5&end=4", "?end=100001"):
            assert (await refused(it, "GET", place + query))[1] == "end"
        assert (await refused(it, "GET", f"{place}?start=-1"))[1] == "start"
        assert (await refused(it, "GET", f"{place}?version=7", status=404))[0] == "not_found"


async def test_versions_follow_each_other() -> None:
    async with served() as it:
        document = await uploaded(it)
        place = f"/documents/{document['id']}"
        same = await it.client.post(f"/v1{place}/versions", files=[file(FERRY)])
        assert (same.status_code, same.json()["data"][0]["newest_version"]) == (200, 1)
        newer = await uploaded(it, BREAD, f"{place}/versions")
        assert (newer["id"], newer["version"], newer["newest_version"]) == (document["id"], 2, 2)
        versions = (await call(it, "GET", f"{place}/versions"))["data"]
        assert [(each["version"], each["in_force"], each["bytes"]) for each in versions] == [
            (2, True, len(BREAD)), (1, False, len(FERRY)),
        ]  # fmt: skip
        assert re.fullmatch("[0-9a-f]{64}", versions[0]["sha256"])
        assert (await it.client.get(f"/v1{place}/content")).text == BREAD
        assert (await it.client.get(f"/v1{place}/content?version=1")).text == FERRY
        assert (await call(it, "GET", f"{place}/text?version=1&end=9"))["text"] == "The ferry"
        assert (await refused(it, "POST", f"{place}/versions", files=[file(FERRY), file(BREAD)]))[1] == "file"
        assert (await refused(it, "POST", f"{place}/versions"))[1] == "file"
        told = await refused(it, "POST", f"{place}/versions", files=[file(FERRY)], data={"confidential": "true"})
        assert told[1] == "confidential"


async def test_progress_can_be_joined_and_resumed() -> None:
    async with served() as it:
        await it.backend.ingest._slots.acquire()
        [document] = (await call(it, "POST", "/documents", status=202, files=[file(FERRY)]))["data"]
        place, seen, last = f"/v1/documents/{document['id']}/progress", [], ""
        parser = Parser()
        async with it.client.stream("GET", place) as response:
            async for piece in response.aiter_bytes():
                for message in parser.feed(piece):
                    seen.append(json.loads(message.data))
                    last = message.id
                if any(each.get("stage") == "upload" for each in seen):
                    break
        it.backend.ingest._slots.release()
        rest = await it.client.get(place, headers={"Last-Event-ID": last})
        seen += [data for _, data in events(rest)]
        await it.ended(document["stream_id"])
        whole = [data for _, data in events(await it.client.get(f"/v1/streams/{document['stream_id']}/events"))]
        assert seen == whole
        assert (await it.client.get(place)).status_code == 204
        # Who missed only the end still gets it.
        cursor = f"1.{len(whole) - 2}"
        assert [event for event, _ in events(await it.client.get(f"{place}?after={cursor}"))] == ["done"]
        assert (await it.client.get(f"{place}?after=1.{len(whole) - 1}")).status_code == 204
        assert (await refused(it, "GET", f"/documents/{document['id']}/progress?dialect=morse"))[1] == "dialect"
        await it.backend.shelf.set_stream(document["id"], "")
        assert (await it.client.get(place)).status_code == 204


# ---------------------------------------------------------------------- search


async def test_passages_are_found() -> None:
    async with served() as it:
        ferry, bread = await uploaded(it, FERRY), await uploaded(it, BREAD, confidential="true")
        told = await call(it, "POST", "/search", {"query": "when does the ferry leave?", "limit": 3})
        assert (told["object"], told["ways"], told["problem"]) == ("list", ["lexical"], None)
        assert told["ms"] >= 0
        passage = told["data"][0]
        assert (passage["object"], passage["document_id"], passage["document"]) == ("passage", ferry["id"], "ferry.txt")
        text = await call(it, "GET", f"/documents/{ferry['id']}/text?start={passage['start']}&end={passage['end']}")
        assert text["text"] == passage["text"]
        assert 0 < passage["score"] <= 1
        only = {"query": "bread ferry", "mode": "selected_only", "selected_document_ids": [bread["id"]]}
        assert {each["document_id"] for each in (await call(it, "POST", "/search", only))["data"]} == {bread["id"]}
        other = await call(it, "POST", "/workspaces", {"name": "b"}, status=201)
        assert (await call(it, "POST", "/search", {"query": "ferry", "workspace": other["id"]}))["data"] == []


async def test_what_cannot_be_searched() -> None:
    async with served() as it:
        for body, status, param in (
            ({}, 400, "query"), ({"query": ""}, 400, "query"), ({"query": "a" * 10_001}, 400, "query"),
            ({"query": "a", "limit": 0}, 400, "limit"), ({"query": "a", "limit": 101}, 400, "limit"),
            ({"query": "a", "min_score": 2}, 400, "min_score"), ({"query": "a", "mode": "x"}, 400, "mode"),
            ({"query": "a", "workspace": "no"}, 404, "workspace"),
            ({"query": "a", "thread": UNKNOWN}, 404, "thread"),
            ({"query": "a", "mode": "selected_only", "selected_document_ids": [UNKNOWN]}, 404, "selected_document_ids"),
            ({"query": "a", "q": 1}, 400, None),
        ):  # fmt: skip
            assert (await refused(it, "POST", "/search", body, status=status))[1] == param, body


# ---------------------------------------------------------------------- decoding


def test_places_of_uploads() -> None:
    for path in ("/v1/documents", "/v1/documents/a/versions", "/v1/workspaces/a/documents", "/v1/workspaces/a/import"):
        assert takes_document(path)
    for path in (
        "/v1/search",
        "/v1/workspaces",
        "/v1/documents/a",
        "/v1/workspaces/a/threads",
        "/v1/threads/a/messages",
    ):
        assert not takes_document(path)


def test_fields_of_an_upload() -> None:
    assert read_fields({}) == ("", "", "", False, False, {})
    fields = {"workspace": " w ", "thread": "t", "name": "n", "pinned": "Yes", "confidential": "0", "ticket": "x"}
    assert read_fields(fields) == ("w", "t", "n", True, False, {})
    with pytest.raises(InputError, match="no field"):
        read_fields({"x" * 200: ""})


async def test_what_its_first_bytes_show_to_be_no_document_is_refused_at_once() -> None:
    image = b"\x89PNG\r\n\x1a\n" + bytes(50)
    async with served() as it:
        refusal = await refused(it, "POST", "/documents", status=415, files=[file(image, "a.png", "image/png")])
        assert refusal == ("document_refused", None)
        assert (await call(it, "GET", "/workspaces/default/documents"))["data"] == []
        document = await uploaded(it)
        newer = f"/documents/{document['id']}/versions"
        assert (await refused(it, "POST", newer, status=415, files=[file(image)]))[0] == "document_refused"
        assert (await call(it, "GET", f"/documents/{document['id']}"))["newest_version"] == 1


BOUNDARY = "multipart/form-data; boundary=b"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"--b--\r\n"),
        (BOUNDARY, b"no boundary at all"),
        (BOUNDARY, b'--b\r\nContent-Disposition: form-data; filename="a.txt"\r\n\r\ntext\r\n--b--\r\n'),
        (BOUNDARY, b"--b\r\nbad header\r\n\r\ntext\r\n--b--\r\n"),
        (BOUNDARY, b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n\r\n' * 21 + b"--b--\r\n"),
    ],
    ids=["no boundary named", "no boundary there", "no name", "no header", "too many files"],
)
async def test_a_form_that_cannot_be_read_is_the_callers_mistake(kind: str, body: bytes) -> None:
    async with served() as it:
        more = {"content": body, "headers": {"Content-Type": kind}}
        told = (await call(it, "POST", "/documents", status=400, **more))["error"]
        assert told["message"].startswith("the form cannot be read: ")
        assert (await call(it, "GET", "/workspaces/default/documents"))["data"] == []


async def test_a_body_that_is_no_form_is_a_document_within_the_same_bounds() -> None:
    async with served(TINY) as it:
        told = await refused(it, "POST", "/documents?name=a.txt", status=413, content=b"a" * 5001)
        assert told == ("body_too_large", "file")
        assert await named(it, 'attachment; filename="../b.txt"') == "b.txt"


async def test_a_document_may_have_a_name_beyond_ascii() -> None:
    """RFC 6266, section 4.3: who can read `filename*` prefers it. It is what our own downloads send."""
    async with served(TINY) as it:
        assert await named(it, disposition("grüße.txt")) == "grüße.txt"


async def named(it: Chatting, header: str) -> str:
    """What a document is called whose body came under this `Content-Disposition`."""
    headers = {"Content-Disposition": header}
    told = await call(it, "POST", "/documents", status=202, content=FERRY.encode(), headers=headers)
    return str(told["data"][0]["name"])

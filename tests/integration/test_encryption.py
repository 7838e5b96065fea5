"""Encryption at rest with a real server: no known word in any file, and everything is there for who has the key."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from headwater.encryption import KeyRing, new_key
from tests.conformance.logs.stories import assert_intact
from tests.stack import ROOT, Served, Watcher, viewers_client
from tests.upstream import Script, Upstream

from .data_kit import SENTENCE, TENANT, fill, fill_store, read_rows

QUESTION = "Which xylobrook does the quillwater heronry drain into?"
ANSWER = "It drains into the zephyrmere by way of the brontoditch, in spate."
DOCUMENT = "The vellumweir of Ostrabruck was raised by seven cubits."
NAME = "Ledger of the Ostrabruck vellumweir.txt"
WORKSPACE = "Hydronomicon of Quillwater"
# Each stands in one of these, and in nothing else that a server keeps; also as an index would keep it.
WORDS = ("xylobrook", "quillwater", "heronry", "zephyrmere", "brontoditch", "vellumweir", "ostrabruck", "hydronomicon")


def headwater(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HEADWATER_", "OPENAI_"))}
    return subprocess.run(
        [sys.executable, "-m", "headwater", *arguments],
        capture_output=True, text=True, check=False, cwd=ROOT, env=environment | variables, timeout=100,
    )  # fmt: skip


def found_in(directory: Path, words: tuple[str, ...] = WORDS) -> list[tuple[str, str]]:
    """Files of the directory, and the words in them, whatever their case and in the usual encodings."""
    found = []
    for file in sorted(directory.rglob("*")):
        content = file.read_bytes().lower() if file.is_file() else b""
        for word in words:
            forms = (word.encode(), word.encode("utf-16-le"), word.encode().hex().encode())
            found += [(file.name, word) for form in forms if form in content]
    return found


class Place:
    """A server's directory, with the key ring beside it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.ring = directory / "ring.json"

    @property
    def flags(self) -> tuple[str, ...]:
        return ("--data-dir", str(self.data))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return headwater(*arguments, *self.flags, HEADWATER_ENCRYPTION_KEYS_FILE=str(self.ring))

    def served(self, upstream: Upstream, *, encrypted: bool = True) -> Served:
        variables = {"HEADWATER_ENCRYPTION_KEYS_FILE": str(self.ring)} if encrypted else {}
        return Served(self.directory, openai_url=upstream.openai_url, environment=variables)


async def call(client: httpx.AsyncClient, method: str, url: str, **request: Any) -> Any:
    response = await client.request(method, url, **request)
    assert response.status_code < 300, response.text
    return response.json()


async def tell(server: Served, client: httpx.AsyncClient) -> str:
    """A workspace with a document, and a thread with an answered question; the thread's id."""
    workspace = (await call(client, "POST", f"{server.url}/v1/workspaces", json={"name": WORKSPACE}))["id"]
    document = await client.post(
        f"{server.url}/v1/workspaces/{workspace}/documents",
        files={"file": (NAME, (DOCUMENT + " " * 1_200_000).encode(), "text/plain")},
        headers={"accept": "text/event-stream"},
    )
    assert '"reason":"stop"' in document.text.replace(" ", ""), document.text[-500:]
    thread = await call(client, "POST", f"{server.url}/v1/workspaces/{workspace}/threads", json={})
    place = f"{server.url}/v1/threads/{thread['id']}/messages"
    asked = await call(client, "POST", place, json={"content": QUESTION, "stream": False})
    watcher = Watcher(server.url, asked["stream_id"])
    await watcher.read(client, until=lambda seen: seen.terminal is not None)
    assert watcher.text == ANSWER
    return str(thread["id"])


async def assert_told(server: Served, client: httpx.AsyncClient, thread: str) -> None:
    """All of it can be read and found."""
    messages = (await call(client, "GET", f"{server.url}/v1/threads/{thread}/messages"))["data"]
    assert [message["content"] for message in messages] == [QUESTION, ANSWER]
    hits = await call(client, "GET", f"{server.url}/v1/search", params={"q": "ZEPHYRMERE"})
    # The answer, and perhaps the title that a model made of it.
    assert {hit["thread"]["id"] for hit in hits["data"]} == {thread}
    workspaces = (await call(client, "GET", f"{server.url}/v1/workspaces"))["data"]
    assert WORKSPACE in [each["name"] for each in workspaces]
    passages = await call(
        client,
        "POST",
        f"{server.url}/v1/search",
        json={"query": "How high was the vellumweir raised?", "workspace": workspaces[-1]["id"]},
    )
    assert DOCUMENT in passages["data"][0]["text"]


@pytest.mark.timeout(240)
async def test_no_file_of_the_data_directory_holds_a_known_word(tmp_path: Path) -> None:
    place = Place(tmp_path)
    assert place.run("encryption", "rotate").returncode == 0
    async with Upstream(default=Script(text=ANSWER)) as upstream, viewers_client() as client:
        async with place.served(upstream) as server:
            thread = await tell(server, client)
            # Running, with all of it in the write-ahead logs; killed; and started again upon them.
            assert found_in(place.data) == []
            await server.kill()
            assert found_in(place.data) == []
            await server.start()
            await assert_told(server, client, thread)
            assert await server.stop() == 0
        assert found_in(place.data) == []
        checked = place.run("check")
        assert checked.returncode == 0, checked.stdout
        assert "sealed" in checked.stdout

        # Without the ring, with another one, and with one that lost the key: nothing starts, and nothing is lost.
        first = KeyRing.load(place.ring)
        refused = headwater("serve", *place.flags, "--port", "0")
        assert refused.returncode == 2
        assert f"streams.db is encrypted with the key {first.active.name}: set encryption_keys_file" in refused.stderr
        KeyRing([new_key(0)]).save(place.ring)
        refused = place.run("serve", "--port", "0")
        assert refused.returncode == 2
        assert f"needs the key {first.active.name}, and the key ring holds" in refused.stderr
        first.save(place.ring)

        # A new key seals what is new; the older one is needed until everything is sealed anew.
        assert place.run("encryption", "rotate").returncode == 0
        ring = KeyRing.load(place.ring)
        assert ring.keys[1:] == first.keys
        async with place.served(upstream) as server:
            await assert_told(server, client, thread)
            await server.stop()
        KeyRing(ring.keys[:1]).save(place.ring)
        assert "was removed while records still need it" in place.run("serve", "--port", "0").stderr
        ring.save(place.ring)
        before = json.loads(place.run("encryption", "status", "--json").stdout)
        assert before["keys"] == ring.names
        assert before["streams"][first.active.name] > 3
        assert before["chat"][first.active.name] > 10
        assert "" not in before["streams"] | before["chat"]
        done = place.run("encryption", "reencrypt")
        assert done.returncode == 0, done.stderr
        KeyRing(ring.keys[:1]).save(place.ring)
        after = json.loads(place.run("encryption", "status", "--json").stdout)
        assert after["streams"].keys() == after["chat"].keys() == {ring.active.name}
        assert place.run("check").returncode == 0
        async with place.served(upstream) as server:
            await assert_told(server, client, thread)


@pytest.mark.timeout(240)
async def test_what_was_plain_is_sealed_by_reencrypt_and_leaves_no_trace(tmp_path: Path) -> None:
    place = Place(tmp_path)
    async with Upstream(default=Script(text=ANSWER)) as upstream, viewers_client() as client:
        async with place.served(upstream, encrypted=False) as server:
            thread = await tell(server, client)
            await server.stop()
        assert {word for _, word in found_in(place.data)} == set(WORDS)
        assert place.run("encryption", "rotate").returncode == 0
        async with place.served(upstream) as server:
            # Lazily: what is plain is read as it is.
            await assert_told(server, client, thread)
            await server.stop()
        status = place.run("encryption", "status").stdout
        assert "not encrypted" in status
        done = place.run("encryption", "reencrypt")
        assert done.returncode == 0, done.stderr
        # The slugs that were made of names while nothing was encrypted are addresses, and stay.
        left = [(file, word) for file, word in found_in(place.data) if word not in ("hydronomicon", "quillwater")]
        assert left == []
        checked = place.run("check")
        assert checked.returncode == 0, checked.stdout
        async with place.served(upstream) as server:
            await assert_told(server, client, thread)


@pytest.mark.chaos
@pytest.mark.timeout(240)
async def test_reencrypting_goes_on_after_a_kill(tmp_path: Path) -> None:
    place = Place(tmp_path)
    stories = await fill(place.data, crashed=False)
    rows = read_rows(place.data)
    assert place.run("encryption", "rotate").returncode == 0
    killed = 0
    for wait_s in (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5):
        child = (
            "import os, signal, threading, sys\n"
            "from headwater.logs.sqlite import resealing\n"
            "old = resealing.reseal_log\n"
            "def begin(*a, **k):\n"
            f"    threading.Timer({wait_s} * 0.1, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()\n"
            "    return old(*a, **k)\n"
            "resealing.reseal_log = begin\n"
            "from headwater.cli import main; main(sys.argv[1:])"
        )
        variables = {**os.environ, "HEADWATER_ENCRYPTION_KEYS_FILE": str(place.ring)}
        run = [sys.executable, "-c", child, "encryption", "reencrypt", *place.flags]
        status = subprocess.run(run, env=variables, capture_output=True, check=False)  # noqa: ASYNC221
        killed += status.returncode < 0
        checked = place.run("check")
        assert checked.returncode == 0, checked.stdout
    assert killed >= 1
    assert place.run("encryption", "reencrypt").returncode == 0
    assert found_in(place.data, ("heron", "weir opens", "seventeen")) == []
    from headwater.encryption import Sealer
    from headwater.logs import SqliteLog

    log = await SqliteLog.open(place.data, sealer=Sealer(KeyRing.load(place.ring)))
    for story in stories:
        await assert_intact(log, story)
    await log.close()
    assert read_rows(place.data).keys() == rows.keys()


@pytest.mark.postgres
async def test_no_column_of_postgres_holds_a_known_word(postgres: Any, postgres_url: str) -> None:
    from headwater.chat.conversations import Conversations
    from headwater.documents.records import Query, Scope
    from headwater.documents.search import Searcher
    from headwater.encryption import Sealer
    from headwater.errors import ConfigError
    from headwater.integrity.findings import Report
    from headwater.store import open_store
    from headwater.store.database import database_url
    from headwater.store.resealing import count_keys, reseal_store
    from headwater.store.tables import metadata

    url = database_url(postgres_url, Path())
    database = postgres_url.partition("@/")[2].partition("?")[0]
    ring = KeyRing([new_key(1)])

    def dump() -> str:
        tables = " UNION ALL ".join(f"SELECT {table}::text FROM {table}" for table in metadata.tables)  # noqa: S608
        return str(postgres.sql(tables, database=database))

    plain = await open_store(url)
    await fill_store(plain)
    await plain.close()
    assert "weir" in dump()
    assert await reseal_store(url, Sealer(ring), Report()) >= 7
    # Slugs that were made of names while nothing was encrypted are addresses, and stay.
    for word in ("heron", "seventeen", "Ann's", "Closed", "Opening", "weir.txt", "When"):
        assert word not in dump() and word.encode().hex() not in dump()
    with pytest.raises(ConfigError, match="is encrypted with the key"):
        await open_store(url)
    newer = ring.with_key(new_key(2))
    store = await open_store(url, Sealer(newer))
    conversations = Conversations(store)
    [hit] = [hit for hit in await conversations.search(TENANT, "SEVENTEEN") if hit.message]
    assert hit.message is not None
    assert hit.message.content == SENTENCE
    [workspace] = await conversations.workspaces.list(TENANT)
    assert (workspace.name, workspace.system_prompt) == ("Ann's river", SENTENCE)
    results = await Searcher(store).search(Query(Scope(TENANT, workspace.id), "when does the weir open"))
    assert results.found[0].text == SENTENCE
    assert results.found[0].document_name == "weir.txt"
    await store.close()
    assert await reseal_store(url, Sealer(newer), Report()) >= 7
    store = await open_store(url, Sealer(KeyRing(newer.keys[:1])))
    assert (await count_keys(store)).keys() == {newer.active.name}
    await store.close()
